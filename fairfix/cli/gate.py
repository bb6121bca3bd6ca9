"""``fairfix gate``: may this model be deployed? The exit code says it, the rest says why.

Whatever ends a run before it could judge is told apart from every verdict: by the exit code, and in
the files, which never hold what an earlier run found.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from fairfix.cli.ci_outputs import Channels
from fairfix.cli.console import emit, say, show, table
from fairfix.cli.exits import failure
from fairfix.cli.option_values import Values
from fairfix.data.table import Columns
from fairfix.report.gate_words import HEADER, Document, cells, power_line, sentence
from fairfix.workflows.audit import choose_rule
from fairfix.workflows.case import ModelOptions, load
from fairfix.workflows.gate.demands import check_baseline
from fairfix.workflows.gate.document import gate_document
from fairfix.workflows.gate.gate import Gate, Judged, gate
from fairfix.workflows.gate.reused_rows import reuse


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
    channels = Channels(junit, sarif)
    inputs = (data, *(() if model == "-" else (Path(model),)), *(() if rule is None else (rule,)))
    channels.clear(inputs)
    try:
        found = _judge(model, data, rule, given)
        document = gate_document(found)
        channels.tell(document)
    except Exception as error:
        channels.tell_failure(failure(error))
        raise
    say(found.notes, quiet=quiet)
    if json:
        emit(document)
    elif not quiet:
        _show(document)
    say((f"warning: {warning}" for warning in found.warnings), quiet=quiet)
    return found.exit_code


def _judge(model: str, data: Path, rule: Path | None, given: dict[str, Any]) -> Gate:
    values = Values.collect("gate", given, data)
    asked, baseline = values.demands(), values["baseline"]
    check_baseline(asked, given=baseline is not None)
    cut = values.cut(rule)
    columns, options, threshold = values.columns(), values.model_options(), values["threshold"]
    case = load(model, data, columns=columns, options=options, threshold=threshold)
    return gate(
        Judged.by(case, *choose_rule(case, rule, cut)),
        asked,
        model=model,
        reuse=reuse(case, rule),
        baseline=baseline and _baseline(baseline, data, columns, options, threshold),
        confidence=values["confidence"],
        strict=bool(values["strict"]),
        lenient=values["on_inconclusive"] == "warn",
    )


def _baseline(
    model: Path, data: Path, columns: Columns, options: ModelOptions, threshold: float
) -> Judged:
    """The same rows as another model decides them, by its own rule."""
    if columns.score is not None:
        ignored = (*columns.ignore, columns.score)
        columns = replace(columns, score=None, ignore=ignored)
    case = load(model, data, columns=columns, options=options, threshold=threshold)
    return Judged.by(case, *choose_rule(case))


def _show(gate: Document) -> None:
    """What the table can show at all, every demand, and why those not certified are not."""
    show(
        *map(power_line, gate["power"]),
        table("", HEADER, map(cells, gate["checks"]), numbers=False),
        *(sentence(gate, check) for check in gate["checks"] if check["standing"] != "passed"),
        gate["headline"],
    )
