"""``fairfix audit``: every metric, overall and by group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from fairfix.audit import GroupAudit, audit
from fairfix.case import Case, load
from fairfix.cli.talk import emit, say, show, table
from fairfix.cli.values import Values
from fairfix.rates import METRICS, PERFORMANCES
from fairfix.report.document import audit_document
from fairfix.report.markdown import number
from fairfix.rule import DecisionRule
from fairfix.rulefile import find_rule, read_rule

TITLES = {
    **{key: metric.title for key, metric in METRICS.items()},
    "aucd": "AUC difference",
    **{key: measure.title for key, measure in PERFORMANCES.items()},
    "auc": "area under the ROC curve",
}


def run(
    *, model: str, data: Path, rule: Path | None, json: bool, quiet: bool, **given: Any
) -> None:
    values = Values.collect("audit", given, data)
    case = load(
        model,
        data,
        columns=values.columns(),
        options=values.model_options(),
        threshold=values["threshold"],
    )
    found, where = _rule(case, rule, values)
    say((*case.notes, f"decisions by {where}"), quiet=quiet)
    audits = audit(case, found)
    if json:
        emit(audit_document(case, found, audits))
    elif not quiet:
        for each in audits:
            show(_by_group(each), _metrics(each))


def _rule(case: Case, given: Path | None, values: Values) -> tuple[DecisionRule, str]:
    """The rule to audit by; a cut given on the command line comes first."""
    found, where = None, ""
    if "threshold" not in values.given:
        if case.checkpoint is not None:
            found, where = find_rule(case.checkpoint, given)
        elif given is not None:
            found, where = read_rule(given), given.name
    if found is not None:
        return found, f"the rule in {where}"
    cut = values["threshold"]
    plain = DecisionRule(
        threshold=cut,
        positive_label=case.table.favorable,
        output_label=case.output_label,
        output=case.output,
    )
    return plain, f"score > {cut:g} (no rule found or asked for)"


def _by_group(each: GroupAudit) -> Table:
    rows = []
    for g in each.evaluation.groups:
        rates = [
            f"{number(share.value)} (n={share.n})"
            for share in (g.rates[name] for name in ("selection_rate", "tpr", "fpr", "accuracy"))
        ]
        rows.append([g.name, g.rows, f"{g.threshold:.4g}", *rates, number(g.auc)])
    header = ["group", "rows", "cut", "positive", "true positive rate", "false positive rate"]
    return table(f"By {each.column}", [*header, "accuracy", "AUC"], rows)


def _metrics(each: GroupAudit) -> Table:
    figures = {**each.evaluation.gaps, **each.evaluation.performance}
    rows = [[TITLES[key], key, number(value)] for key, value in figures.items()]
    names = [g.name for g in each.evaluation.groups]
    sign = f"{names[0]} minus {names[1]}" if len(names) == 2 else "largest minus smallest"
    return table(f"{each.column}: {sign}", ["measure", "key", "value"], rows)
