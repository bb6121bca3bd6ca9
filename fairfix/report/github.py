"""Render a gate document for GitHub Actions: annotations and the step summary."""

from __future__ import annotations

from collections.abc import Iterable

from fairfix._utils.text import printable
from fairfix.report.gate_sentences import (
    EXIT_CODE_NAMES,
    HEADER,
    Document,
    check_cells,
    check_sentence,
    interval_level,
    power_sentence,
)
from fairfix.report.markdown import text


def commands(gate: Document) -> list[str]:
    """Return workflow commands: errors for checks that fail the gate, and warnings."""
    lines = []
    for check in gate["checks"]:
        kind, title = {
            "passed": ("", ""),
            "failed": ("error", "violated"),
            "inconclusive": ("error", f"{check['verdict']}, not a finding of bias"),
            "warned": ("warning", f"{check['verdict']}, warning only"),
        }[check["standing"]]
        if kind:
            lines.append(command(kind, check_sentence(gate, check), title=f"fairfix gate: {title}"))
    lines += [command("warning", each, title="fairfix gate") for each in gate["warnings"]]
    if gate["exit_code"] == 0:
        title = "fairfix gate passed, but unchecked"
        lines += [command("warning", each, title=title) for each in gate["unchecked"]]
    return lines


def failure_command(message: str, code: int) -> str:
    """Return the workflow command of a gate that failed before it reached a verdict."""
    title = f"fairfix gate reached no verdict: {EXIT_CODE_NAMES[code]}"
    return command("error", message, title=title)


def command(kind: str, message: str, *, title: str) -> str:
    """Return ``::kind title=...::message`` with both parts escaped."""
    return f"::{kind} title={_property(title)}::{_data(message)}"


def _data(value: str) -> str:
    """Escape a message, which ends at the end of the line."""
    return printable(value).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    """Escape the value of a property, which ends at a colon or comma."""
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def summary(gate: Document) -> str:
    """Return the Markdown of the step summary."""
    model = "Scores" if gate["model"] == "-" else gate["model"]
    subject = (
        f"{model} on {gate['rows']:,} rows of {gate['table']}, decided by {gate['rule_found']}; "
        f"confidence intervals are two-sided at {interval_level(gate)}."
    )
    sections = [
        f"## fairfix gate: {EXIT_CODE_NAMES[gate['exit_code']]}",
        _safe(gate["headline"]),
        _safe(subject),
        _list(map(power_sentence, gate["power"])),
        _grid(
            [
                HEADER,
                ["---"] * len(HEADER),
                *(map(_safe, check_cells(check)) for check in gate["checks"]),
            ]
        ),
        _list(
            check_sentence(gate, check) for check in gate["checks"] if check["standing"] != "passed"
        ),
        _list(f"unchecked: {each}" for each in gate["unchecked"]),
        _list(f"warning: {each}" for each in gate["warnings"]),
        _list(gate["notes"]),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def failure_summary(message: str, code: int) -> str:
    """Return the step summary of a gate that failed before it reached a verdict."""
    return f"## fairfix gate reached no verdict: {EXIT_CODE_NAMES[code]}\n\n{_safe(message)}\n"


def _safe(value: str) -> str:
    return text(printable(value))


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_safe(line)}" for line in lines)


def _grid(rows: Iterable[Iterable[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
