"""Terminal summary of a debiasing report: before and after, by group, the rule, the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from fairfix._utils.text import format_count, plain_number, shorten
from fairfix.cli.console import build_table, wrap
from fairfix.cli.reference_groups import reference_groups
from fairfix.report.figures import named_figures
from fairfix.report.gate_sentences import check_intervals, check_values
from fairfix.report.markdown import ROWS, STATES, plain_figure
from fairfix.report.reference_table import reference_table
from fairfix.report.sentences import GOALS_HEADER, Headline, goal_rows, headline, promises
from fairfix.workflows.save import Destination

_MAX_WARNING = 140  # characters; the report has the full text
_RATES = {
    "selection_rate": "positive",
    "tpr": "true positive rate",
    "fpr": "false positive rate",
}


def summary(report: dict[str, Any]) -> Iterator[Table | str]:
    """Yield the tables and lines that the terminal shows of a report."""
    yield from _not_met(report)
    title = report["objective"]["metric_title"]
    method = report["method"]
    yield from wrap(f"{method['name']} for {title}; {method['group_use_sentence']}.")
    for rows in ROWS:
        yield _comparison(report, rows)
    yield _by_group(report["results"]["test"])
    if pairs := reference_table({"debiased": report["results"]["test"]["debiased"]}):
        yield reference_groups(pairs)
    if goals := goal_rows(report):
        shown = [[goal, shorten(by), *rest] for goal, by, *rest in goals]
        yield build_table("Goals of the search", GOALS_HEADER, shown, numbers=False)
    if further := promises(report):
        yield _promises(further)
    yield from _rule(report["rule"])
    yield from _verdict(headline(report))
    for each in report.get("unchecked", ()):
        yield from wrap(f"Unchecked: {each}.")


def _not_met(report: dict[str, Any]) -> Iterator[str]:
    """Yield that the budget is not met on the validation rows, if so."""
    objective, after = report["objective"], report["results"]["validation"]["debiased"]
    if not after["met"]:
        yield from wrap(
            f"Budget not met: the {objective['metric_title']} of this result is not within "
            f"{objective['budget']:g} on the validation rows."
        )


def short_warnings(warnings: list[str]) -> Iterator[str]:
    """Yield warnings as lines; a long one ends after a clause and refers to the report."""
    for warning in warnings:
        yield f"warning: {_first_clauses(warning) if len(warning) > _MAX_WARNING else warning}"


def _first_clauses(text: str) -> str:
    """Return the start of a text up to the end of a clause, with no bracket left open."""
    start = text[:_MAX_WARNING]
    clause = max(start.rfind(mark) for mark in (", ", "; ", ": "))
    if clause <= 0:
        return text
    kept = start[:clause]
    if kept.count("(") > kept.count(")"):
        kept = kept[: kept.rfind("(")].rstrip()
    return f"{kept}, ... (more in the report)"


def written_files(destination: Destination) -> Iterator[str]:
    """Yield lines that name the written files: the first in full, its companions by their ends."""
    first, *others = destination.paths
    stem = destination.rule.with_name(destination.rule.name.removesuffix("rule.json"))
    yield f"wrote {first}"
    companions = [path for path in others if path != destination.export]
    if companions:
        ends = [f".{path.name.removeprefix(stem.name)}" for path in companions]
        yield "wrote its " + " and ".join(filter(None, [", ".join(ends[:-1]), ends[-1]]))
    if destination.export is not None:
        yield f"wrote {destination.export}"


def _comparison(report: dict[str, Any], rows: str) -> Table:
    objective, results = report["objective"], report["results"][rows]
    metric, measure = objective["metric"], objective["performance"]
    header = [
        "model",
        *named_figures(metric, results["debiased"]["gaps"][metric]),
        measure.replace("_", " "),
    ]
    tradeoff = objective["kind"] == "tradeoff"
    if tradeoff:
        header.append("objective")
    return build_table(
        f"{ROWS[rows].capitalize()}: {results['debiased']['rows']}",
        [*header, f"within {objective['budget']:g}"],
        [
            [
                STATES[state],
                *(
                    plain_figure(each)
                    for each in named_figures(metric, evaluation["gaps"][metric]).values()
                ),
                plain_number(evaluation["performance"][measure]["value"]),
                *([plain_number(evaluation["objective"])] if tradeoff else []),
                "yes" if evaluation["met"] else "no",
            ]
            for state, evaluation in results.items()
        ],
    )


def _by_group(test: dict[str, Any]) -> Table:
    return build_table(
        "By group, test rows: before -> after",
        ["group", "rows", *_RATES.values()],
        [
            [before["name"], before["rows"], *_changes(before["rates"], after["rates"])]
            for before, after in zip(
                test["unmodified"]["groups"], test["debiased"]["groups"], strict=True
            )
        ],
    )


def _promises(checks: list[dict[str, Any]]) -> Table:
    return build_table(
        "Further demands, test rows",
        ["demand", "by", "value", "interval", "verdict"],
        [
            [
                each["demand"],
                shorten(each["column"] or "all rows"),
                check_values(each),
                check_intervals(each),
                each["verdict"],
            ]
            for each in checks
        ],
        numbers=False,
    )


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [
        f"{plain_number(before[name]['value'])} -> {plain_number(after[name]['value'])}"
        for name in _RATES
    ]


def _rule(rule: Mapping[str, Any]) -> Iterator[str]:
    """Yield when a rule decides positive, thresholds with 4 significant digits."""
    if "threshold" in rule:
        yield f"Positive if score > {rule['threshold']:.4g}."
        return
    if "thresholds" in rule:
        yield "Positive if:"
        conditions = {name: f"score > {value:.4g}" for name, value in rule["thresholds"].items()}
    else:
        yield "Positive with probability:"
        conditions = {
            name: ", else ".join(f"{chance:.4g} if score > {at:.4g}" for at, chance in steps)
            for name, steps in rule["lottery"].items()
        }
    for name, condition in conditions.items():
        yield from wrap(f"  {shorten(name)}: {condition}", indent="    ", names=[shorten(name)])


def _verdict(verdict: Headline) -> Iterator[str]:
    text = " ".join([f"{verdict.word}.", *verdict.sentences])
    needed = [
        f"{format_count(rows)} of {shorten(name)} (here {format_count(have)})"
        for name, have, rows in verdict.rows_needed
    ]
    if needed:
        text += (
            f" If the true gap is the one seen, it takes about {', '.join(needed)} to certify it."
        )
    yield from wrap(text, names=needed)
