"""A gate on GitHub Actions: annotations of the run, and the summary of the step."""

from __future__ import annotations

from collections.abc import Iterable

from fairfix._utils.text import printable
from fairfix.report.gate_words import (
    ENDINGS,
    HEADER,
    Document,
    cells,
    level,
    power_line,
    sentence,
)
from fairfix.report.markdown import text


def commands(gate: Document) -> list[str]:
    """Workflow commands, one a line: an error for what blocks, a warning for what does not."""
    lines = []
    for check in gate["checks"]:
        kind, title = {
            "passed": ("", ""),
            "failed": ("error", "violated"),
            "inconclusive": ("error", f"{check['verdict']}, which is no finding of bias"),
            "warned": ("warning", f"{check['verdict']}, but only warns"),
        }[check["standing"]]
        if kind:
            lines.append(command(kind, sentence(gate, check), title=f"fairfix gate: {title}"))
    lines += [command("warning", each, title="fairfix gate") for each in gate["warnings"]]
    return lines


def command_of_failure(said: str, code: int) -> str:
    """The workflow command of a gate that ended before it could judge."""
    return command("error", said, title=f"fairfix gate did not judge: {ENDINGS[code]}")


def command(kind: str, message: str, *, title: str) -> str:
    """``::kind title=...::message``, each part escaped as the runner undoes it."""
    return f"::{kind} title={_property(title)}::{_data(message)}"


def _data(value: str) -> str:
    """A message: the runner ends it at the line, and undoes percent signs."""
    return printable(value).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    """A property's value: colons and commas would end it."""
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def summary(gate: Document) -> str:
    """Markdown for the summary page of the step."""
    what = "Scores" if gate["model"] == "-" else gate["model"]
    where = (
        f"{what} on {gate['rows']:,} rows of {gate['table']}, decided by {gate['rule_found']}; "
        f"intervals are two-sided at {level(gate)}."
    )
    sections = [
        f"## fairfix gate: {ENDINGS[gate['exit_code']]}",
        _safe(gate["headline"]),
        _safe(where),
        _list(map(power_line, gate["power"])),
        _grid(
            [HEADER, ["---"] * len(HEADER), *(map(_safe, cells(check)) for check in gate["checks"])]
        ),
        _list(sentence(gate, check) for check in gate["checks"] if check["standing"] != "passed"),
        _list(f"warning: {each}" for each in gate["warnings"]),
        _list(gate["notes"]),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def summary_of_failure(said: str, code: int) -> str:
    """Markdown of a gate that ended before it could judge."""
    return f"## fairfix gate did not judge: {ENDINGS[code]}\n\n{_safe(said)}\n"


def _safe(value: str) -> str:
    return text(printable(value))


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_safe(line)}" for line in lines)


def _grid(rows: Iterable[Iterable[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
