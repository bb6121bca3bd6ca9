"""The sections of a page, each from a report as plain data to what its template shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fairfix._utils.text import shorten, single_line
from fairfix.metrics.registry import title as title_of
from fairfix.report import charts, words
from fairfix.report.charts import Mark, Strips, Trades
from fairfix.report.figures import Figure, budget_band, neutral, thin
from fairfix.report.markdown import STATES

Report = Mapping[str, Any]
Row = dict[str, Any]

ROWS = {"test": "Judged rows, never seen by the method", "validation": "Fitting rows"}
RATES = ("selection_rate", "tpr", "fpr")
SHOWN_GROUPS = 48
SHOWN_HISTOGRAMS = 12
SHOWN_SUBGROUPS = 40
LISTED_STEPS = 40
LISTED_RULES = 200


def aims(report: Report, e: Report) -> dict[str, Figure]:
    """The two figures that the objective is about."""
    metric, performance = report["objective"]["metric"], report["objective"]["performance"]
    return {
        "gap": Figure.of(e["gaps"][metric]),
        "performance": Figure.of(e["performance"][performance]),
    }


def claims(report: Report) -> list[Row]:
    """Every claim, those certified beside it below it."""
    rows = []
    for claim in words.claims(report):
        for depth, each in enumerate([claim, *claim.get("alongside", ())]):
            rows.append({**each, "figure": Figure.of(each), "alongside": depth > 0})
    return rows


def gaps(report: Report) -> dict[str, Any]:
    """The gap as deployed, of identity and debiased, on both kinds of rows."""
    metric = report["objective"]["metric"]
    found = {
        rows: {state: Figure.of(e["gaps"][metric]) for state, e in report["results"][rows].items()}
        for rows in ROWS
    }
    every = [figure for by_state in found.values() for figure in by_state.values()]
    band = budget_band(metric, report["objective"]["budget"])
    strips = Strips.around(every, neutral(metric), band)
    return {
        "axis": strips.axis(),
        "rows": {
            ROWS[rows]: [
                {
                    "label": STATES[state],
                    "strip": strips.strip(Mark(state, figure, STATES[state])),
                    "figure": figure,
                    "performance": aims(report, report["results"][rows][state])["performance"],
                }
                for state, figure in by_state.items()
            ]
            for rows, by_state in found.items()
        },
    }


def groups(
    measured: Mapping[str, Report], names: Mapping[str, str], most: int = SHOWN_GROUPS
) -> dict[str, Any]:
    """Rates by group of the same rows measured once or more; the last are the rows listed.

    Args:
        measured: by the kind of its mark (``svg.SHAPES``).
        names: a label for each group.
        most: so many groups at most, 8 or more.
    """
    kinds = {kind: {group["name"]: group for group in e["groups"]} for kind, e in measured.items()}
    last = kinds[list(kinds)[-1]]
    shown = largest(list(last.values()), most)

    def rate(kind: str, name: str, key: str) -> Figure:
        return Figure.of(kinds[kind][name]["rates"][key])

    def row(name: str, key: str) -> Row:
        found = {kind: rate(kind, name, key) for kind in kinds}
        marks = [Mark(kind, figure, STATES.get(kind, key)) for kind, figure in found.items()]
        return {
            "label": names[name],
            "n": Figure.of(last[name]["rates"][key]).n,
            "figures": list(found.values()),
            "strip": strips.strip(*marks),
        }

    every = [rate(kind, name, key) for kind in kinds for name in shown for key in RATES]
    strips = Strips.around(every, 0.0)
    return {
        "axis": strips.axis(),
        "kinds": {kind: STATES.get(kind, "rate") for kind in kinds},
        "left_out": len(names) - len(shown),
        "rows": {title_of(key): [row(name, key) for name in shown] for key in RATES},
        "counts": [{**last[name], "label": names[name]} for name in shown],
        "shortened": any(single_line(name) != label for name, label in names.items()),
    }


def largest(groups: Sequence[Report], most: int = SHOWN_GROUPS) -> list[str]:
    """The names of the largest groups, and of those with the lowest and highest rates."""
    if len(groups) <= most:
        return [group["name"] for group in groups]
    kept = {g["name"] for g in sorted(groups, key=lambda g: -g["rows"])[: most - 6]}
    for key in RATES:
        known = [g for g in groups if g["rates"][key]["value"] is not None]
        known.sort(key=lambda g: g["rates"][key]["value"])
        kept |= {g["name"] for g in (*known[:1], *known[-1:])}
    return [group["name"] for group in groups if group["name"] in kept]


def change(report: Report, names: Mapping[str, str]) -> dict[str, Any] | None:
    """Who gained and who lost, and what was said of it."""
    change = report.get("change")
    if not change:
        return None
    groups = change.get("groups", [])[:SHOWN_GROUPS]
    shares = [
        (g["lost"] / g["rows"], g["gained"] / g["rows"]) if g["rows"] else (0.0, 0.0)
        for g in groups
    ]
    trades = Trades.up_to(max((share for pair in shares for share in pair), default=0.0))
    return {
        "axis": trades.axis(),
        "groups": [
            {**g, "label": names.get(g["name"], g["name"]), "strip": trades.strip(*pair)}
            for g, pair in zip(groups, shares, strict=True)
        ],
        "said": [*change.get("levelling_down", ()), *change.get("overfitting", ())],
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
    """The steps of the method; None where it took no more than one."""
    method = report["method"]
    steps, chosen = method["trajectory"], method["chosen_step"]
    if len(steps) < 3:
        return None
    position = [i for i, step in enumerate(steps) if step["step"] == chosen]
    gap, performance = charts.trajectory(report)
    return {
        "gap": gap,
        "performance": performance,
        "plane": charts.plane(report),
        "steps": len(steps),
        "undefined": sum(step["gap"] is None for step in steps),
        "listed": [steps[i] for i in thin(len(steps), LISTED_STEPS, position)],
    }


def scores(report: Report, names: Mapping[str, str]) -> dict[str, Any] | None:
    """A histogram of every group's scores with its cuts."""
    histograms = report.get("histograms")
    if not histograms or not histograms["groups"]:
        return None
    known = {name: bins for name, bins in histograms["groups"].items() if name in names}
    shown = list(known)[:SHOWN_HISTOGRAMS]
    shares = [
        n / sum(bins) for name in shown for bins in known[name].values() if sum(bins) for n in bins
    ]
    most = max(shares, default=1.0)
    edges = histograms["edges"]
    return {
        "plots": [
            {
                "label": names[name],
                "drawing": charts.histogram(
                    edges, known[name], _cuts(report, name), names[name], most
                ),
                "said": _said_cuts(report, name),
            }
            for name in shown
        ],
        "left_out": len(known) - len(shown),
        "bins": [
            {
                "from": edges[i],
                "to": edges[i + 1],
                "counts": [
                    known[name][state][i] for name in shown for state in ("unmodified", "debiased")
                ],
            }
            for i in range(len(edges) - 1)
        ],
        "labels": [names[name] for name in shown],
    }


def _cuts(report: Report, name: str) -> dict[str, list[float]]:
    """The cuts of a group before and after that fall among the scores."""
    lottery = report["rule"].get("lottery", {}).get(name)
    found = {state: _threshold(report, state, name) for state in ("unmodified", "debiased")}
    cuts = {state: [] if at is None else [at] for state, at in found.items()}
    if lottery is not None:
        cuts["debiased"] = [at for at, _ in lottery]
    return {state: [at for at in ats if 0 <= at <= 1] for state, ats in cuts.items()}


def _threshold(report: Report, state: str, name: str) -> float | None:
    groups = report["results"]["test"][state]["groups"]
    return next((g["threshold"] for g in groups if g["name"] == name), None)


def _said_cuts(report: Report, name: str) -> str:
    if name in report["rule"].get("lottery", {}):
        return "by lot between the cuts"
    after = _threshold(report, "debiased", name)
    if after is not None and after < 0:
        return "all decided positive"
    return "" if after is None or after < 1 else "all decided negative"


def subgroups(found: Sequence[Report] | None) -> dict[str, Any] | None:
    """The subgroups whose rates differ most from the rest; None where there are none."""
    if not found:
        return None
    shown = found[:SHOWN_SUBGROUPS]
    differences = [
        Figure.of({**each, "value": each["difference"]}) for each in shown
    ]  # low and high are of the difference
    strips = Strips.around(differences, 0.0)
    return {
        "axis": strips.axis(),
        "left_out": len(found) - len(shown),
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
    """Every gap and every performance of the same rows measured once or more."""
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
    """The decision rule: one cut in a sentence, more of them as a table."""
    chances: Iterable[tuple[str, Any]] = rule.get("lottery", {}).items()
    tables = [
        (shorten(name), [f"score > {_exact(at)}: {_exact(chance)}" for at, chance in steps])
        for name, steps in chances
    ]
    cuts = [(shorten(name), _exact(at)) for name, at in rule.get("thresholds", {}).items()]
    return {
        "threshold": _exact(rule["threshold"]) if "threshold" in rule else None,
        "cuts": cuts[:LISTED_RULES],
        "lottery": tables[:LISTED_RULES],
        "left_out": max(0, len(cuts) + len(tables) - LISTED_RULES),
    }


def _exact(value: float) -> str:
    """Every digit: a rule is copied from here."""
    return repr(value)
