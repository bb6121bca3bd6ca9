"""Sentences of a report: the verdict on the budget, the sign of a gap, and the objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairfix._utils.number_text import exact_text
from fairfix._utils.text import format_count, plain_number, plural, shorten
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.fairness_metrics import title as title_of
from fairfix.report.figures import Figure, absolute_gap, is_ratio

# The sentence after the estimate, by verdict.
MEANING = {
    "certified": "It is{confidence} within the budget of {budget}, for rows drawn like these.",
    "violated": "It is{confidence} outside the budget of {budget}, for rows drawn like these.",
    "inconclusive": "These rows show neither that it is within the budget of {budget} nor that "
    "it is outside.",
    "too few rows": "These rows are too few to test the budget of {budget}.",
}


@dataclass(frozen=True)
class Headline:
    """The verdict box.

    Attributes:
        tone: "certified", "amber" (certified, but with serious warnings or unchecked points),
            "violated" or "neutral"; selects color and icon.
        word: the verdict, as a heading.
        sentences: the estimate, the meaning of the verdict, and its reason.
        rows_needed: for each group its name, its number of rows, and the number of rows that would
            certify the budget; empty if no number would.
    """

    tone: str
    word: str
    sentences: tuple[str, ...]
    rows_needed: tuple[tuple[str, float | None, float], ...] = ()


def claims(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the claims of a report, the debiased metric first; none in a version 1 report."""
    unsorted: list[dict[str, Any]] = list(report.get("evidence", {}).get("claims", ()))
    return sorted(unsorted, key=lambda claim: claim["metric"] != report["objective"]["metric"])


GOALS_HEADER = ("goal", "by", "validation rows", "probability", "verdict on test rows")


def goal_rows(report: Mapping[str, Any]) -> list[list[str]]:
    """Return the goals of the search under ``GOALS_HEADER``, then all together; empty without."""
    found = report.get("goals")
    if not found:
        return []
    rows = [
        [
            each["goal"],
            each["column"] or "all rows",
            plain_number(each["value"]),
            f"{each['probability']:.2f}",
            each["verdict"] or "-",
        ]
        for each in found["goals"]
    ]
    return [*rows, ["all together", "-", "-", f"{found['probability']:.2f}", "-"]]


def promises(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the further demands of a report; none in a report of an earlier version."""
    return list(report.get("evidence", {}).get("promises", ()))


def confidence(report: Mapping[str, Any]) -> float | None:
    """Return 1 - alpha of each one-sided test; None in a version 1 report."""
    level = report.get("confidence")
    return None if level is None else float(level)


def interval_name(report: Mapping[str, Any]) -> str:
    """Return "90 % confidence interval": two-sided at 1 - 2 alpha."""
    level = confidence(report)
    if level is None:
        return "confidence interval"
    return f"{round(200 * level - 100, 6):g}\N{NO-BREAK SPACE}% confidence interval"


def headline(report: Mapping[str, Any]) -> Headline:
    """Return the verdict on the debiased metric, on test rows."""
    after = report["results"]["test"]["debiased"]
    matching = [c for c in claims(report) if c["metric"] == report["objective"]["metric"]]
    if not matching:
        sentences = (*_point_estimate(report), *_trivial(after))
        return Headline("neutral", _heading("No verdict", after), sentences)
    estimate = _test_estimate(report, Figure.of(matching[0]))
    return _headline(report, matching[0], after, estimate)


def audit_headline(report: Mapping[str, Any], measured: Mapping[str, Any]) -> Headline:
    """Return the verdict of an audit on one of its group columns."""
    claim = measured["evidence"]["claims"][0]
    where = f"On these {format_count(measured['rows'])} rows"
    estimate = _estimate(report, where, claim["metric"], claim["title"], Figure.of(claim))
    return _headline(report, claim, measured, estimate)


def _headline(
    report: Mapping[str, Any], claim: Mapping[str, Any], measured: Mapping[str, Any], estimate: str
) -> Headline:
    tone = claim["verdict"] if claim["verdict"] in ("certified", "violated") else "neutral"
    amber = amber_sentence(report) if tone == "certified" else ""
    if tone == "certified" and (amber or measured["trivial"]):
        tone = "amber"
    return Headline(
        tone,
        _heading(claim["verdict"], measured),
        (estimate, _meaning(report, claim), *_trivial(measured), *([amber] if amber else [])),
        _rows_needed(claim, measured["groups"]),
    )


def reservations(serious_warnings: Sequence[str], unchecked: Sequence[str]) -> str:
    """Return why a certified result is amber: numbers of warnings and of unchecked points."""
    parts = []
    if serious_warnings:
        parts.append(plural(len(serious_warnings), "serious warning", "serious warnings"))
    if unchecked:
        parts.append(plural(len(unchecked), "point is", "points are") + " unchecked")
    return "; ".join(parts)


def amber_sentence(report: Mapping[str, Any]) -> str:
    """Return why what is certified in a report or an audit is amber; empty if it is green."""
    doubts = reservations(report.get("serious_warnings", ()), report.get("unchecked", ()))
    return f"Amber, not green: {doubts}." if doubts else ""


def _trivial(measured: Mapping[str, Any]) -> tuple[str, ...]:
    if not measured["trivial"]:
        return ()
    return ("The rule is trivial: it decides nearly all rows alike, which meets any budget.",)


def _heading(verdict: str, after: Mapping[str, Any]) -> str:
    trivial = ", by a trivial rule" if after["trivial"] and verdict == "certified" else ""
    return verdict[:1].upper() + verdict[1:] + trivial


def _test_estimate(report: Mapping[str, Any], figure: Figure) -> str:
    rows = format_count(report["results"]["test"]["debiased"]["rows"])
    metric, title = report["objective"]["metric"], report["objective"]["metric_title"]
    return _estimate(report, f"On {rows} test rows", metric, title, figure)


def _estimate(
    report: Mapping[str, Any], where: str, metric: str, title: str, figure: Figure
) -> str:
    interval = f" ({interval_name(report)} {figure.interval})" if figure.interval else ""
    gap = f", a gap of {absolute_gap(metric, figure).text}" if is_ratio(metric) else ""
    return f"{where}, the {title} is {figure.text}{interval}{gap}."


def _meaning(report: Mapping[str, Any], claim: Mapping[str, Any]) -> str:
    level = confidence(report)
    meaning = MEANING.get(claim["verdict"], "The budget is {budget}.").format(
        confidence="" if level is None else f", with {round(100 * level, 6):g} % confidence,",
        budget=exact_text(claim["budget"]),
    )
    return f"{meaning.removesuffix('.')}: {claim['reason']}." if claim.get("reason") else meaning


def _point_estimate(report: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the estimate of a report without evidence and what it means."""
    objective, after = report["objective"], report["results"]["test"]["debiased"]
    figure = Figure.of(after["gaps"][objective["metric"]])
    if figure.value is None:
        meaning = "An undefined gap meets no budget."
    else:
        where = "within" if after["met"] else "outside"
        meaning = (
            f"This point estimate is {where} the budget of "
            f"{exact_text(objective['budget'])}. The report has "
            "no confidence limits, and a point estimate is not a verdict."
        )
    return _test_estimate(report, figure), meaning


def _rows_needed(
    claim: Mapping[str, Any], groups: list[dict[str, Any]]
) -> tuple[tuple[str, float | None, float], ...]:
    rows = {group["name"]: group["rows"] for group in groups}
    needed = claim.get("rows_needed") or {}
    return tuple((name, rows.get(name), count) for name, count in needed.items())


def certifiable_sentence(report: Mapping[str, Any]) -> str | None:
    """Return the largest gap that the rows can certify, as a sentence; None without evidence."""
    evidence = report.get("evidence")
    if not evidence:
        return None
    if evidence["certifiable_gap"] is not None:
        return (
            "These rows can certify the budget if the estimated gap is at most "
            f"{evidence['certifiable_gap']:.4f}."
        )
    needed = evidence["rows_needed"]
    if not needed:
        return "These rows cannot certify the budget, whatever the estimate."
    rows = ", ".join(f"{format_count(n)} of {shorten(name)}" for name, n in needed.items())
    return (
        "These rows cannot certify the budget, whatever the estimate: even a gap of 0 needs "
        f"about {rows}."
    )


def sign_sentence(report: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Return what is subtracted from or divided by what in the metric, with group labels."""
    metric, groups = report["objective"]["metric"], report["data"]["groups"]
    title = title_of(metric)
    entry = METRICS.get(metric)
    if entry is not None and not entry.signed:
        return f"{title} has no sign."
    if len(groups) != 2:
        contrast = "smallest divided by largest" if is_ratio(metric) else "largest minus smallest"
        return f"{title}: {contrast} of {len(groups)} groups."
    first, second = (names.get(group, shorten(group)) for group in groups)
    return f"{title}: “{first}” {'divided by' if is_ratio(metric) else 'minus'} “{second}”."


def audit_sign_sentence(names: Mapping[str, str]) -> str:
    """Return what is subtracted from or divided by what in an audit, with group labels."""
    if len(names) == 2:
        first, second = names.values()
        difference, ratio = f"“{first}” minus “{second}”", f"“{first}” divided by “{second}”"
    else:
        difference, ratio = "largest minus smallest group", "smallest divided by largest"
    return f"Differences are {difference}; the ratio is {ratio}."


def objective_phrase(objective: Mapping[str, Any]) -> str:
    """Return what the method optimized, without a final period."""
    performance = title_of(objective["performance"])
    if objective["kind"] == "tradeoff":
        return (
            f"minimize {objective['lambda']:g} times the absolute gap plus "
            f"{1 - objective['lambda']:g} times (1 - {performance})"
        )
    risk, margin = objective.get("risk"), objective["margin"]
    if isinstance(risk, float):
        probability = f"{100 * (1 - risk):g} %"
        return (
            f"maximize {performance} where the true gap is within the budget with a probability of "
            f"{probability}"
        )
    condition = (
        "weighted by the probability that the true gap is within the budget"
        if margin == "auto"
        else f"with a gap on validation rows below the budget minus {margin:g}"
    )
    preset = f" (risk {risk})" if isinstance(risk, str) else ""
    return f"maximize {performance}, {condition}{preset}"
