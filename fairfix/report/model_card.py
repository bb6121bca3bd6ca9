"""The part of a Hugging Face model card that says what was measured.

A card is Markdown, with YAML metadata between two lines of dashes at its top. One marked part of
each belongs to fairfix and is replaced as a whole; every other line stays as it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from fairfix._utils.text import plain_number, printable
from fairfix.report.markdown import text

BEGIN, END = "<!-- fairfix:begin -->", "<!-- fairfix:end -->"
YAML_BEGIN, YAML_END = "# fairfix:begin", "# fairfix:end"
_TOP = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*$\n?", re.MULTILINE | re.DOTALL)


def update(card: str, report: dict[str, Any]) -> str:
    """The card with what a debiasing report measured in place of what it said before.

    Figures are those of the judged rows. Where the metadata has a ``model-index`` of somebody else,
    it stays and only the Markdown is written. ``card`` may be empty.
    """
    card = card.replace("\r\n", "\n")
    top = _TOP.match(card)
    metadata, body = (top[1], card[top.end() :]) if top else ("", card)
    metadata = _without(metadata, YAML_BEGIN, YAML_END)
    index = "\n".join(_model_index(report))
    if index and not re.search(r"^model-index[ \t]*:", metadata, re.MULTILINE):
        metadata += _marked(YAML_BEGIN, index, YAML_END)
    section = _marked(BEGIN, _section(report), END).removesuffix("\n")
    front = f"---\n{metadata}---\n" if metadata else ""
    return front + _replaced(body, section)


def _marked(begin: str, content: str, end: str) -> str:
    return f"{begin}\n{content}\n{end}\n"


def _pattern(begin: str, end: str) -> re.Pattern[str]:
    return re.compile(rf"^{re.escape(begin)}$.*?^{re.escape(end)}$", re.MULTILINE | re.DOTALL)


def _without(within: str, begin: str, end: str) -> str:
    return re.sub(f"(?:{_pattern(begin, end).pattern})\n?", "", within, flags=re.M | re.S)


def _replaced(body: str, section: str) -> str:
    """The body with the section where one stood, else at its end."""
    pattern = _pattern(BEGIN, END)
    if pattern.search(body):
        return pattern.sub(lambda _: section, body, count=1)
    return f"{body.rstrip()}\n\n{section}\n" if body.strip() else f"\n{section}\n"


def _section(report: dict[str, Any]) -> str:
    objective, data, judged = report["objective"], report["data"], report["results"]["test"]
    need = "needs" if report["rule"]["needs_group"] else "does not need"
    rows = [
        ["measure", "before", "after", "interval"],
        ["---"] * 4,
        *(
            [name, plain_number(before["value"]), plain_number(after["value"]), _interval(after)]
            for name, before, after in _figures(report)
        ),
    ]
    lines = [
        "## Fairness",
        f"Changed after training by `fairfix {report['method']['name']}` for "
        f"{objective['metric_title']} within {objective['budget']:g} between groups of "
        f"{_safe(data['group'])} ({', '.join(map(_safe, data['groups']))}). A decision {need} "
        "the group.",
        "\n".join(f"| {' | '.join(row)} |" for row in rows),
        f"Measured on {judged['debiased']['rows']} rows that were not used for it.",
        *_claims(report),
        "\n".join(f"- {_safe(warning)}" for warning in report["warnings"]),
        "It says nothing of other groups, other data, or single persons.",
    ]
    return "\n\n".join(filter(None, lines))


def _figures(report: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """The metric and the performance: name, before, after."""
    objective, judged = report["objective"], report["results"]["test"]
    before, after = judged["unmodified"], judged["debiased"]
    metric, measure = objective["metric"], objective["performance"]
    yield objective["metric_title"], before["gaps"][metric], after["gaps"][metric]
    name = measure.replace("_", " ")
    yield name, before["performance"][measure], after["performance"][measure]


def _claims(report: dict[str, Any]) -> Iterable[str]:
    for claim in report["evidence"]["claims"]:
        yield (
            f"{_safe(claim['title'])} within {claim['budget']:g}: **{claim['verdict']}** "
            f"({_safe(claim['reason'])})."
        )


def _interval(figure: dict[str, Any]) -> str:
    return f"{plain_number(figure['low'])} to {plain_number(figure['high'])}"


def _model_index(report: dict[str, Any]) -> Iterator[str]:
    """Lines of YAML; an undefined figure is left out, for the format knows no such value."""
    data, model = report["data"], report["model"]
    table = _quoted(data["test_table"] or data["table"])
    known = [(name, after["value"]) for name, _, after in _figures(report)]
    metrics = [(name, value) for name, value in known if value is not None]
    if not metrics:
        return
    yield "model-index:"
    yield f"- name: {_quoted(model['file'] if model else data['table'])}"
    yield "  results:"
    yield "  - task:"
    yield "      type: tabular-classification"
    yield "    dataset:"
    yield f"      type: {table}"
    yield f"      name: {table}"
    yield "    metrics:"
    for name, value in metrics:
        yield f"    - type: {_quoted(name.replace(' ', '_'))}"
        yield f"      name: {_quoted(name)}"
        yield f"      value: {value!r}"


def _quoted(value: str) -> str:
    """A YAML string in double quotes, which take JSON's escapes."""
    return json.dumps(printable(value), ensure_ascii=False)


def _safe(value: object) -> str:
    return text(printable(value))
