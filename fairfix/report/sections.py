"""Data of the sections of a report page, for its template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fairfix._utils.text import shorten, single_line
from fairfix.metrics.fairness_metrics import title as title_of
from fairfix.report import audit_charts, charts, sentences
from fairfix.report.charts import GainLossStrips, Mark, Strips
from fairfix.report.figures import Figure, budget_band, neutral, thin
from fairfix.report.markdown import CHANGED, STATES

Report = Mapping[str, Any]
Row = dict[str, Any]

ROWS = {"test": "Test rows (held out)", "validation": "Validation rows"}
RATES = ("selection_rate", "tpr", "fpr")
SHOWN_GROUPS = 48
SHOWN_HISTOGRAMS = 12
SHOWN_SUBGROUPS = 40
LISTED_STEPS = 40
LISTED_RULES = 200
LISTED_LINES = 200


def target_figures(report: Report, e: Report) -> dict[str, Figure]:
    """Return the gap and the performance of the objective."""
    metric, performance = report["objective"]["metric"], report["objective"]["performance"]
    return {
        "gap": Figure.of(e["gaps"][metric]),
        "performance": Figure.of(e["performance"][performance]),
    }


def claims(report: Report) -> list[Row]:
    """Return every claim, each followed by those on its components."""
    rows = []
    for claim in sentences.claims(report):
        for depth, each in enumerate([claim, *claim.get("alongside", ())]):
            rows.append({**each, "figure": Figure.of(each), "alongside": depth > 0})
    return rows


def gaps(report: Report) -> dict[str, Any]:
    """Return the gaps of the three models on test and on validation rows."""
    metric = report["objective"]["metric"]
    figures = {
        rows: {state: Figure.of(e["gaps"][metric]) for state, e in report["results"][rows].items()}
        for rows in ROWS
    }
    flat = [figure for by_state in figures.values() for figure in by_state.values()]
    band = budget_band(metric, report["objective"]["budget"])
    strips = Strips.around(flat, neutral(metric), band)
    return {
        "axis": strips.axis(),
        "rows": {
            ROWS[rows]: [
                {
                    "label": STATES[state],
                    "strip": strips.strip(Mark(state, figure, STATES[state])),
                    "figure": figure,
                    "performance": target_figures(report, report["results"][rows][state])[
                        "performance"
                    ],
                }
                for state, figure in by_state.items()
            ]
            for rows, by_state in figures.items()
        },
    }


def groups(
    measured: Mapping[str, Report], names: Mapping[str, str], limit: int = SHOWN_GROUPS
) -> dict[str, Any]:
    """Return the rates by group, of one or several models on the same rows.

    Args:
        measured: measured decisions by kind (a key of ``svg.SHAPES``); counts are of the last.
        names: label of each group.
        limit: largest number of groups, at least 8.
    """
    kinds = {kind: {group["name"]: group for group in e["groups"]} for kind, e in measured.items()}
    last = kinds[list(kinds)[-1]]
    shown = shown_groups(list(last.values()), limit)

    def rate(kind: str, name: str, key: str) -> Figure:
        return Figure.of(kinds[kind][name]["rates"][key])

    def row(name: str, key: str) -> Row:
        figures = {kind: rate(kind, name, key) for kind in kinds}
        marks = [Mark(kind, figure, STATES.get(kind, key)) for kind, figure in figures.items()]
        return {
            "label": names[name],
            "n": Figure.of(last[name]["rates"][key]).n,
            "figures": list(figures.values()),
            "strip": strips.strip(*marks),
        }

    figures = [rate(kind, name, key) for kind in kinds for name in shown for key in RATES]
    strips = Strips.around(figures, 0.0)
    return {
        "axis": strips.axis(),
        "kinds": {kind: STATES.get(kind, "rate") for kind in kinds},
        "left_out": len(names) - len(shown),
        "rows": {title_of(key): [row(name, key) for name in shown] for key in RATES},
        "counts": [{**last[name], "label": names[name]} for name in shown],
        "shortened": any(single_line(name) != label for name, label in names.items()),
    }


def shown_groups(groups: Sequence[Report], limit: int = SHOWN_GROUPS) -> list[str]:
    """Return the names of the largest groups, and of those with the lowest and highest rates."""
    if len(groups) <= limit:
        return [group["name"] for group in groups]
    kept = {g["name"] for g in sorted(groups, key=lambda g: -g["rows"])[: limit - 6]}
    for key in RATES:
        defined = [g for g in groups if g["rates"][key]["value"] is not None]
        defined.sort(key=lambda g: g["rates"][key]["value"])
        kept |= {g["name"] for g in (*defined[:1], *defined[-1:])}
    return [group["name"] for group in groups if group["name"] in kept]


def change(report: Report, names: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the decisions that changed by group, and the gaps by other columns.

    Statements that are among the warnings of the page are left out.
    """
    change = report.get("change")
    if not change:
        return None
    statements = [*change.get("levelling_down", ()), *change.get("overfitting", ())]
    said = report["warnings"][:LISTED_LINES]
    groups = change.get("groups", [])[:SHOWN_GROUPS]
    shares = [
        (g["lost"] / g["rows"], g["gained"] / g["rows"]) if g["rows"] else (0.0, 0.0)
        for g in groups
    ]
    strips = GainLossStrips.up_to(max((share for pair in shares for share in pair), default=0.0))
    return {
        "axis": strips.axis(),
        "groups": [
            {**g, "label": names.get(g["name"], g["name"]), "strip": strips.strip(*pair)}
            for g, pair in zip(groups, shares, strict=True)
        ],
        "statements": [each for each in statements if each not in said],
        "columns": [
            {
                **c,
                "figures": [Figure.of(c["before"]), Figure.of(c["after"])],
                "by": Figure.of({**c, "value": _difference(c["before"], c["after"])}),
                "left_out": len(c.get("left_out", ())),
            }
            for c in change.get("columns", ())
        ],
    }


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def search(report: Report) -> dict[str, Any] | None:
    """Return the steps of the method; None for fewer than 3."""
    method = report["method"]
    steps, chosen = method["trajectory"], method["chosen_step"]
    if len(steps) < 3:
        return None
    position = [i for i, step in enumerate(steps) if step["step"] == chosen]
    gap, performance = charts.trajectory(report)
    return {
        "gap": gap,
        "performance": performance,
        "plot": charts.gap_against_performance(report),
        "steps": len(steps),
        "undefined": sum(step["gap"] is None for step in steps),
        "listed": [steps[i] for i in thin(len(steps), LISTED_STEPS, position)],
    }


def scores(report: Report, names: Mapping[str, str]) -> dict[str, Any] | None:
    """Return a histogram of the scores of each group, with thresholds."""
    histograms = report.get("histograms")
    if not histograms or not histograms["groups"]:
        return None
    groups = {name: bins for name, bins in histograms["groups"].items() if name in names}
    shown = list(groups)[:SHOWN_HISTOGRAMS]
    shares = [
        n / sum(bins) for name in shown for bins in groups[name].values() if sum(bins) for n in bins
    ]
    largest = max(shares, default=1.0)
    edges = histograms["edges"]
    return {
        "plots": [
            {
                "label": names[name],
                "drawing": charts.histogram(
                    edges, groups[name], _thresholds(report, name), names[name], largest
                ),
                "remark": _threshold_remark(report, name),
            }
            for name in shown
        ],
        "left_out": len(groups) - len(shown),
        "bins": [
            {
                "from": edges[i],
                "to": edges[i + 1],
                "counts": [
                    groups[name][state][i] for name in shown for state in ("unmodified", "debiased")
                ],
            }
            for i in range(len(edges) - 1)
        ],
        "labels": [names[name] for name in shown],
    }


def _thresholds(report: Report, name: str) -> dict[str, list[float]]:
    """Return the thresholds of a group in [0, 1], before and after."""
    randomized = report["rule"].get("lottery", {}).get(name)
    states = {state: _threshold(report, state, name) for state in ("unmodified", "debiased")}
    thresholds = {state: [] if at is None else [at] for state, at in states.items()}
    if randomized is not None:
        thresholds["debiased"] = [at for at, _ in randomized]
    return {state: [at for at in ats if 0 <= at <= 1] for state, ats in thresholds.items()}


def _threshold(report: Report, state: str, name: str) -> float | None:
    groups = report["results"]["test"][state]["groups"]
    return next((g["threshold"] for g in groups if g["name"] == name), None)


def _threshold_remark(report: Report, name: str) -> str:
    if name in report["rule"].get("lottery", {}):
        return "randomized between the thresholds"
    after = _threshold(report, "debiased", name)
    if after is not None and after < 0:
        return "all decided positive"
    return "" if after is None or after < 1 else "all decided negative"


def calibration_change(report: Report, names: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the calibration before and after, of all rows and of each group; None without it."""
    by_state = report.get("calibration")
    if not by_state:
        return None
    before, after = (by_state[state] for state in CHANGED)
    pairs = [dict(zip(CHANGED, pair, strict=True)) for pair in zip(before, after, strict=True)]
    labels = [shorten(before[0]["name"]), *(names[part["name"]] for part in before[1:])]
    kept = {*shown_groups(report["results"]["test"]["debiased"]["groups"], SHOWN_HISTOGRAMS)}
    shown = [
        (label, pair)
        for i, (label, pair) in enumerate(zip(labels, pairs, strict=True))
        if i == 0 or pair["debiased"]["name"] in kept
    ]
    return {
        "parts": [
            {
                "label": label,
                "n": pair["debiased"]["rows"],
                "base": Figure.of(pair["debiased"]["base_rate"]),
                "drawing": audit_charts.reliability(pair, label),
                "states": [
                    {
                        "title": STATES[state],
                        "label": f"{label}, {STATES[state]}",
                        "mean": part["mean_score"],
                        "bias": Figure.of(part["bias"]),
                        "error": part["error"],
                        "by_chance": part["error_by_chance"],
                        "bins": [
                            {**each, "figure": Figure.of(each["rate"])} for each in part["bins"]
                        ],
                    }
                    for state, part in pair.items()
                ],
            }
            for label, pair in shown
        ],
        "left_out": len(pairs) - len(shown),
        "same": before == after,
    }


def subgroups(significant: Sequence[Report] | None) -> dict[str, Any] | None:
    """Return the subgroups whose rates differ from the rest; None if there are none."""
    if not significant:
        return None
    shown = significant[:SHOWN_SUBGROUPS]
    differences = [
        Figure.of({**each, "value": each["difference"]}) for each in shown
    ]  # low and high are of the difference
    strips = Strips.around(differences, 0.0)
    return {
        "axis": strips.axis(),
        "left_out": len(significant) - len(shown),
        "rows": [
            {
                **each,
                "where": [
                    (shorten(column), shorten(value)) for column, value in each["where"].items()
                ],
                "figure": figure,
                "strip": strips.strip(Mark("rest", figure, "difference from the rest")),
            }
            for each, figure in zip(shown, differences, strict=True)
        ],
    }


def metrics(measured: Sequence[Report], chosen: str) -> list[Row]:
    """Return every gap and performance measure, of one or several models on the same rows."""
    return [
        {
            "title": title_of(key),
            "key": key,
            "chosen": key == chosen,
            "figures": [Figure.of(e[kind][key]) for e in measured],
        }
        for kind in ("gaps", "performance")
        for key in measured[0][kind]
    ]


def rule(rule: Report) -> dict[str, Any]:
    """Return the decision rule: one threshold, or a table of thresholds by group."""
    groups: Iterable[tuple[str, Any]] = rule.get("lottery", {}).items()
    randomized = [
        (shorten(name), [f"score > {_exact(at)}: {_exact(chance)}" for at, chance in steps])
        for name, steps in groups
    ]
    thresholds = [(shorten(name), _exact(at)) for name, at in rule.get("thresholds", {}).items()]
    return {
        "threshold": _exact(rule["threshold"]) if "threshold" in rule else None,
        "thresholds": thresholds[:LISTED_RULES],
        "randomized": randomized[:LISTED_RULES],
        "left_out": max(0, len(thresholds) + len(randomized) - LISTED_RULES),
    }


def _exact(value: float) -> str:
    """Return all digits, so that the rule can be copied."""
    return repr(value)
