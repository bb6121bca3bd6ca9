"""A report in words: the verdict on the budget and never more than that, and how to read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairfix._utils.text import format_count, shorten
from fairfix.metrics.registry import METRICS
from fairfix.metrics.registry import title as title_of
from fairfix.report.figures import Figure, is_ratio

# The sentence after the figure, by the verdict on it.
MEANING = {
    "certified": "It is shown{sure} to lie within the budget of {budget:g}, for rows drawn as "
    "these were.",
    "violated": "It is shown{sure} to lie outside the budget of {budget:g}, for rows drawn as "
    "these were.",
    "inconclusive": "These rows show neither that it lies within the budget of {budget:g} nor that "
    "it lies outside.",
    "too few rows": "These rows are too few to hold it against the budget of {budget:g}.",
}


@dataclass(frozen=True)
class Headline:
    """The verdict box.

    Attributes:
        tone: ``certified``, ``violated``, ``open``, which picks color and sign.
        word: the verdict, as a heading.
        sentences: what it means and why, in order.
        rows_needed: (group's name, rows at hand, rows needed), where a number of rows would do.
    """

    tone: str
    word: str
    sentences: tuple[str, ...]
    rows_needed: tuple[tuple[str, float | None, float], ...] = ()


def claims(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The claims of a report, the metric that was debiased first; none in an older report."""
    found: list[dict[str, Any]] = list(report.get("evidence", {}).get("claims", ()))
    return sorted(found, key=lambda claim: claim["metric"] != report["objective"]["metric"])


def confidence(report: Mapping[str, Any]) -> float | None:
    """1 - alpha of each one-sided test; None in an older report."""
    given = report.get("confidence")
    return None if given is None else float(given)


def interval_name(report: Mapping[str, Any]) -> str:
    """``90 % interval``: two-sided where each one-sided test has confidence 95 %."""
    sure = confidence(report)
    return (
        "interval"
        if sure is None
        else f"{round(200 * sure - 100, 6):g}\N{NO-BREAK SPACE}% interval"
    )


def headline(report: Mapping[str, Any]) -> Headline:
    """The verdict on the metric that was debiased, on the judged rows."""
    after = report["results"]["test"]["debiased"]
    found = [c for c in claims(report) if c["metric"] == report["objective"]["metric"]]
    if not found:
        return Headline("open", _word("No verdict", after), (*_estimate(report), *_trivial(after)))
    return _judged(report, found[0], after, _measured(report, Figure.of(found[0])))


def audit_headline(report: Mapping[str, Any], measured: Mapping[str, Any]) -> Headline:
    """The verdict of an audit on one of its group columns."""
    claim = measured["evidence"]["claims"][0]
    where = f"On these {format_count(measured['rows'])} rows"
    return _judged(report, claim, measured, _said(report, where, claim["title"], Figure.of(claim)))


def _judged(
    report: Mapping[str, Any], claim: Mapping[str, Any], measured: Mapping[str, Any], said: str
) -> Headline:
    return Headline(
        claim["verdict"] if claim["verdict"] in ("certified", "violated") else "open",
        _word(claim["verdict"], measured),
        (said, _meaning(report, claim), *_trivial(measured)),
        _rows_needed(claim, measured["groups"]),
    )


def _trivial(measured: Mapping[str, Any]) -> tuple[str, ...]:
    if not measured["trivial"]:
        return ()
    alike = "it decides nearly all rows alike, as any rule may to fit a budget."
    return (f"The rule is trivial: {alike}",)


def _word(verdict: str, after: Mapping[str, Any]) -> str:
    trivially = ", by a trivial rule" if after["trivial"] and verdict == "certified" else ""
    return verdict[:1].upper() + verdict[1:] + trivially


def _measured(report: Mapping[str, Any], figure: Figure) -> str:
    rows = format_count(report["results"]["test"]["debiased"]["rows"])
    where = f"On {rows} rows the method never saw"
    return _said(report, where, report["objective"]["metric_title"], figure)


def _said(report: Mapping[str, Any], where: str, title: str, figure: Figure) -> str:
    interval = f" ({interval_name(report)} {figure.interval})" if figure.interval else ""
    return f"{where}, the {title} is {figure.text}{interval}."


def _meaning(report: Mapping[str, Any], claim: Mapping[str, Any]) -> str:
    sure = confidence(report)
    meaning = MEANING.get(claim["verdict"], "The budget is {budget:g}.").format(
        sure="" if sure is None else f" with {round(100 * sure, 6):g} % confidence",
        budget=claim["budget"],
    )
    return f"{meaning.removesuffix('.')}: {claim['reason']}." if claim.get("reason") else meaning


def _estimate(report: Mapping[str, Any]) -> tuple[str, ...]:
    """What a report without evidence can say: where the point estimate lies."""
    objective, after = report["objective"], report["results"]["test"]["debiased"]
    figure = Figure.of(after["gaps"][objective["metric"]])
    if figure.value is None:
        says = "An undefined gap fits no budget."
    else:
        where = "within" if after["met"] else "outside"
        says = (
            f"That point estimate lies {where} the budget of {objective['budget']:g}; this report "
            "does not say how sure it is, and a point estimate is no verdict."
        )
    return _measured(report, figure), says


def _rows_needed(
    claim: Mapping[str, Any], groups: list[dict[str, Any]]
) -> tuple[tuple[str, float | None, float], ...]:
    here = {group["name"]: group["rows"] for group in groups}
    needed = claim.get("rows_needed") or {}
    return tuple((name, here.get(name), rows) for name, rows in needed.items())


def certifiable(report: Mapping[str, Any]) -> str | None:
    """What these rows can certify at all, as a sentence; None in an older report."""
    found = report.get("evidence")
    if not found:
        return None
    if found["certifiable_gap"] is not None:
        return (
            "These rows can certify the budget when the gap seen is at most "
            f"{found['certifiable_gap']:.4f}."
        )
    needed = found["rows_needed"]
    if not needed:
        return "These rows cannot certify the budget, whatever gap they show."
    rows = ", ".join(f"{format_count(n)} of {shorten(name)}" for name, n in needed.items())
    return (
        "These rows cannot certify the budget, whatever gap they show: without any gap it takes "
        f"about {rows}."
    )


def gap_words(report: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """How the metric's sign is to be read, with the groups' names."""
    metric, groups = report["objective"]["metric"], report["data"]["groups"]
    title = title_of(metric)
    entry = METRICS.get(metric)
    if entry is not None and not entry.signed:
        return f"{title} has no sign."
    if len(groups) != 2:
        ends = "smallest divided by largest" if is_ratio(metric) else "largest minus smallest"
        return f"{title}: {ends} of {len(groups)} groups."
    first, second = (names.get(group, shorten(group)) for group in groups)
    return f"{title}: “{first}” {'divided by' if is_ratio(metric) else 'minus'} “{second}”."


def sign_words(names: Mapping[str, str]) -> str:
    """How the signs of an audit's gaps are to be read, with the groups' names."""
    if len(names) == 2:
        first, second = names.values()
        signed, ratio = f"“{first}” minus “{second}”", f"“{first}” divided by “{second}”"
    else:
        signed, ratio = "largest minus smallest group", "smallest divided by largest"
    return f"Differences are {signed}; the ratio is {ratio}."


def objective_words(objective: Mapping[str, Any]) -> str:
    """What the method was after."""
    performance = title_of(objective["performance"])
    if objective["kind"] == "tradeoff":
        return (
            f"{objective['lambda']:g} times the size of the gap, plus "
            f"{1 - objective['lambda']:g} times (1 - {performance}), as small as possible"
        )
    risk, margin = objective.get("risk"), objective["margin"]
    if risk is not None:
        fits = f"{100 * (1 - risk):g} %"
        return f"the best {performance} where the true gap fits the budget with a chance of {fits}"
    said = (
        "weighed by the chance that the true gap fits the budget"
        if margin == "auto"
        else f"with a gap below the budget less a margin of {margin:g} on the fitting rows"
    )
    return f"the best {performance}, {said}"
