"""Write the results of a report into a Hugging Face model card.

A card is Markdown with YAML metadata between two lines of dashes at its top. fairfix replaces one
marked section in each and leaves all other lines unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from fairfix._utils.text import plain_number, printable
from fairfix.report.gate_sentences import check_name
from fairfix.report.markdown import text
from fairfix.report.sentences import amber_sentence, promises

BEGIN, END = "<!-- fairfix:begin -->", "<!-- fairfix:end -->"
YAML_BEGIN, YAML_END = "# fairfix:begin", "# fairfix:end"
_TOP = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*$\n?", re.MULTILINE | re.DOTALL)


def update(card: str, report: dict[str, Any]) -> str:
    """Return the card with the fairfix sections added or replaced.

    If the metadata already has a ``model-index`` from another source, only the Markdown section is
    written.

    Args:
        card: the model card; can be empty.
        report: a debiasing report; its figures on test rows are used.
    """
    card = card.replace("\r\n", "\n")
    top = _TOP.match(card)
    metadata, body = (top[1], card[top.end() :]) if top else ("", card)
    metadata = _without(metadata, YAML_BEGIN, YAML_END)
    index = "\n".join(_model_index(report))
    if index and not re.search(r"^model-index[ \t]*:", metadata, re.MULTILINE):
        metadata += _marked(YAML_BEGIN, index, YAML_END)
    front = f"---\n{metadata}---\n" if metadata else ""
    return front + update_text(body, report)


def update_text(body: str, report: dict[str, Any]) -> str:
    """Return the text of a card, without metadata, with the section added or replaced."""
    return _replaced(body, _marked(BEGIN, _section(report), END).removesuffix("\n"))


def _marked(begin: str, content: str, end: str) -> str:
    return f"{begin}\n{content}\n{end}\n"


def _pattern(begin: str, end: str) -> re.Pattern[str]:
    return re.compile(rf"^{re.escape(begin)}$.*?^{re.escape(end)}$", re.MULTILINE | re.DOTALL)


def _without(within: str, begin: str, end: str) -> str:
    return re.sub(f"(?:{_pattern(begin, end).pattern})\n?", "", within, flags=re.M | re.S)


def _replaced(body: str, section: str) -> str:
    """Return the body with the section replaced, or appended if there is none."""
    pattern = _pattern(BEGIN, END)
    if pattern.search(body):
        return pattern.sub(lambda _: section, body, count=1)
    return f"{body.rstrip()}\n\n{section}\n" if body.strip() else f"\n{section}\n"


def _section(report: dict[str, Any]) -> str:
    objective, data, test = report["objective"], report["data"], report["results"]["test"]
    rows = [
        ["measure", "before", "after", "confidence interval"],
        ["---"] * 4,
        *(
            [name, plain_number(before["value"]), plain_number(after["value"]), _interval(after)]
            for name, before, after in figures(report)
        ),
    ]
    lines = [
        "## Fairness",
        f"Debiased after training with `fairfix {report['method']['name']}` for a "
        f"{objective['metric_title']} within {objective['budget']:g} between the groups of "
        f"{_safe(data['group'])} ({', '.join(map(_safe, data['groups']))}); "
        f"{_safe(report['method']['group_use_sentence'])}.",
        "\n".join(f"| {' | '.join(row)} |" for row in rows),
        f"Measured on {test['debiased']['rows']} test rows, which were not used for debiasing.",
        *_claims(report),
        amber_sentence(report) if _certified(report) else "",
        "\n".join(
            [
                *(f"- {_safe(warning)}" for warning in report["warnings"]),
                *(f"- unchecked: {_safe(each)}" for each in report.get("unchecked", ())),
            ]
        ),
        "These results do not cover other groups, other data, or individuals.",
    ]
    return "\n\n".join(filter(None, lines))


def figures(report: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield name, value before and value after of the metric and the performance measure."""
    objective, test = report["objective"], report["results"]["test"]
    before, after = test["unmodified"], test["debiased"]
    metric, measure = objective["metric"], objective["performance"]
    yield objective["metric_title"], before["gaps"][metric], after["gaps"][metric]
    name = measure.replace("_", " ")
    yield name, before["performance"][measure], after["performance"][measure]


def _certified(report: dict[str, Any]) -> bool:
    return any(claim["verdict"] == "certified" for claim in report["evidence"]["claims"])


def _claims(report: dict[str, Any]) -> Iterable[str]:
    for claim in report["evidence"]["claims"]:
        yield (
            f"{_safe(claim['title'])} within {claim['budget']:g}: **{claim['verdict']}** "
            f"({_safe(claim['reason'])})."
        )
    for check in promises(report):
        yield f"{_safe(check_name(check))}: **{check['verdict']}** ({_safe(check['reason'])})."


def _interval(figure: dict[str, Any]) -> str:
    return f"{plain_number(figure['low'])} to {plain_number(figure['high'])}"


def _model_index(report: dict[str, Any]) -> Iterator[str]:
    """Yield lines of YAML, without undefined figures, for which the format has no value."""
    data, model = report["data"], report["model"]
    table = _quoted(data["test_table"] or data["table"])
    known = [(name, after["value"]) for name, _, after in figures(report)]
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
    """Return a YAML string in double quotes, which accepts JSON escapes."""
    return json.dumps(printable(value), ensure_ascii=False)


def _safe(value: object) -> str:
    return text(printable(value))
