"""``fairfix audit``: every metric, overall and by group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from fairfix.audit import GroupAudit, audit, choose_rule, plain_rule, ruled
from fairfix.case import load
from fairfix.cli.talk import emit, say, show, table
from fairfix.cli.values import Values
from fairfix.debias import WRONG_WAY
from fairfix.errors import UsageError
from fairfix.rates import METRICS, PERFORMANCES
from fairfix.report.document import audit_document
from fairfix.report.markdown import cut, number

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
    if "threshold" in values.given:
        if rule is not None:
            raise UsageError("Rows are cut by --rule or by --threshold: give one.")
        found, where = plain_rule(case), f"score > {values['threshold']:g}"
    else:
        found, where = choose_rule(case, rule)
    case = ruled(case, found)
    say((*case.notes, f"decisions by {where}"), quiet=quiet)
    audits = audit(case, found)
    wrong_way = [a.evaluation.performance["auc"] for a in audits[:1]]
    if wrong_way and wrong_way[0] < WRONG_WAY:
        warning = (
            f"warning: the scores order these rows the wrong way round (AUC {wrong_way[0]:.3f})"
        )
        say([f"{warning}: is the output label right?"], quiet=quiet)
    if json:
        emit(audit_document(case, found, audits))
    elif not quiet:
        for each in audits:
            show(_by_group(each), _metrics(each))
    if audits[0].evaluation.trivial:
        say(["warning: the rule is trivial: it decides nearly all rows alike"], quiet=quiet)


def _by_group(each: GroupAudit) -> Table:
    rows = []
    for g in each.evaluation.groups:
        rates = [
            f"{number(share.value)} (n={share.n})"
            for share in (g.rates[name] for name in ("selection_rate", "tpr", "fpr", "accuracy"))
        ]
        rows.append([g.name, g.rows, cut(g.threshold), *rates, number(g.auc)])
    header = ["group", "rows", "cut", "positive", "true positive rate", "false positive rate"]
    return table(f"By {each.column}", [*header, "accuracy", "AUC"], rows)


def _metrics(each: GroupAudit) -> Table:
    figures = {**each.evaluation.gaps, **each.evaluation.performance}
    rows = [[TITLES[key], key, number(value)] for key, value in figures.items()]
    names = [g.name for g in each.evaluation.groups]
    sign = f"{names[0]} minus {names[1]}" if len(names) == 2 else "largest minus smallest"
    return table(f"{each.column}: {sign}", ["measure", "key", "value"], rows)
