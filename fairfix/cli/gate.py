"""``fairfix gate``: checks a model against demands; the exit code is the verdict.

A run that ends before a verdict has another exit code and says so in its files, which never hold
the result of an earlier run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fairfix._utils.text import shorten
from fairfix.cli.ci_outputs import CiOutputs
from fairfix.cli.console import build_table, print_json, print_messages, print_output, wrap
from fairfix.cli.demand_values import also, gate_demands, left_out_warnings
from fairfix.cli.each_label import for_each_label, labels_document
from fairfix.cli.failures import describe_failure
from fairfix.cli.option_values import OptionValues
from fairfix.cli.other_model import other_model
from fairfix.cli.sarif_locations import locations
from fairfix.report.gate_sentences import (
    Document,
    check_intervals,
    check_sentence,
    check_values,
    power_sentence,
)
from fairfix.workflows.audit import choose_rule
from fairfix.workflows.case import Case
from fairfix.workflows.gate.demands import check_baseline
from fairfix.workflows.gate.document import gate_document
from fairfix.workflows.gate.gate import INCONCLUSIVE, OK, VIOLATED, Gate, Judged, gate
from fairfix.workflows.gate.reused_rows import reuse

_BY_SEVERITY = VIOLATED, INCONCLUSIVE, OK
_HEADER = ("demand", "by", "value", "interval", "verdict")


def run(
    *,
    model: str,
    data: Path,
    rule: Path | None,
    junit: Path | None,
    sarif: Path | None,
    json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    ci_outputs = CiOutputs(junit, sarif)
    inputs = (data, *(() if model == "-" else (Path(model),)), *(() if rule is None else (rule,)))
    ci_outputs.remove_stale(inputs)
    try:
        values = OptionValues.collect("gate", given, data, model=model)
        alone = {"rule": rule, "junit": junit, "sarif": sarif}
        if several := for_each_label(values, model, alone):
            judged = {name: _judge(own, model, data, None) for name, own in several.items()}
        else:
            judged = {"": _judge(values, model, data, rule)}
        documents = {name: gate_document(each) for name, each in judged.items()}
        if not several:
            path = None if model == "-" else Path(model)
            ci_outputs.write(documents[""], locations(path, data, values.source))
    except Exception as error:
        ci_outputs.write_failure(describe_failure(error))
        raise
    prefix = {name: f"{name}: " if name else "" for name in judged}
    for name, result in judged.items():
        warned = set(result.warnings)
        said = (*result.notes, *(each for each in result.unchecked if each not in warned))
        print_messages((each if not name else f"{name}: {each}" for each in said), quiet=quiet)
    if json:
        print_json(labels_document(documents) if several else documents[""])
    for name, document in documents.items() if not (json or quiet) else ():
        print_output(*([f"Label {name}"] if name else []))
        _print(document)
    for name, result in judged.items():
        warnings = (f"warning: {prefix[name]}{each}" for each in result.warnings)
        print_messages(warnings, quiet=quiet)
    codes = [result.exit_code for result in judged.values()]
    return next(code for code in _BY_SEVERITY if code in codes)


def _judge(values: OptionValues, model: str, data: Path, rule: Path | None) -> Gate:
    left_out = left_out_warnings(values)
    demands, further, baseline = gate_demands(values), also(values), values["baseline"]
    confidence = values.confidence()
    check_baseline(demands, given=baseline is not None)
    threshold_given = values.threshold_without(rule)
    case = values.measured_case(model, data, rule, threshold_given)
    return gate(
        Judged.by(case, *choose_rule(case, threshold=threshold_given, by_name=True)),
        demands,
        also=further,
        model=model,
        reuse=reuse(case, rule),
        baseline=baseline
        and Judged.by(*other_model(baseline, data, case, values.model_options(), by_name=True)),
        confidence=confidence,
        lenient=values["on_inconclusive"] == "warn",
        require_unseen=bool(values["require_unseen"]),
        no_serious_warnings=bool(values["no_serious_warnings"]),
        notes=values.file_notes,
        warnings=(*values.file_warnings, *left_out),
        unchecked=(*values.file_warnings, *left_out, *_other_rule(case, threshold_given)),
    )


def _other_rule(case: Case, threshold: float | None) -> Iterator[str]:
    """Yield that a threshold replaced the rule of the model."""
    if threshold is not None and case.found.where:
        yield (
            f"decisions are by --threshold {threshold:g}, so the rule in {case.found.where}, which "
            "belongs to the model, is unchecked"
        )


def _print(gate: Document) -> None:
    """Print what the rows can certify, every demand, and the reason of each that is not met."""
    names = [row for power in gate["power"] for row in power["rows"]]
    print_output(
        *(line for power in gate["power"] for line in wrap(power_sentence(power), names=names)),
        build_table("", _HEADER, map(_cells, gate["checks"]), numbers=False),
        *(
            line
            for check in gate["checks"]
            if check["standing"] != "passed"
            for line in wrap(check_sentence(gate, check), names=names)
        ),
        *(line for each in gate["unchecked"] for line in wrap(f"Unchecked: {each}.")),
        *wrap(gate["headline"]),
    )


def _cells(check: Document) -> list[object]:
    warns = check["severity"] == "warn"
    return [
        check["demand"],
        shorten(check["column"] or "all rows"),
        check_values(check),
        check_intervals(check),
        f"{check['verdict']} (warns)" if warns else check["verdict"],
    ]
