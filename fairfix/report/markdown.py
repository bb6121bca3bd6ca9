"""Render a report as Markdown, for pull requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from fairfix._utils.text import plain_number, printable
from fairfix.report.figures import Figure, named_figures
from fairfix.report.gate_sentences import HEADER, check_cells
from fairfix.report.reference_table import INTERVALS, reference_table
from fairfix.report.reweighting_tables import reweighting_tables
from fairfix.report.sentences import GOALS_HEADER, goal_rows, headline, promises

STATES = {
    "unmodified": "unmodified model",
    "retuned": "retuned threshold",
    "debiased": "debiased",
}
CHANGED = ("unmodified", "debiased")
ROWS = {"test": "test rows (held out)", "validation": "validation rows"}


def markdown(report: dict[str, Any]) -> str:
    """Return the Markdown of a report document."""
    return "\n\n".join(_sections(report)) + "\n"


def _sections(report: dict[str, Any]) -> Iterable[str]:
    objective, method, results = report["objective"], report["method"], report["results"]
    metric = objective["metric"]
    yield f"# fairfix {method['name']}: {objective['metric_title']} ({metric})"
    yield verdict(report)
    if report["warnings"]:
        yield "## Warnings"
        yield "\n".join(f"- {text(warning)}" for warning in report["warnings"])
    if unchecked := report.get("unchecked"):
        yield "## Unchecked"
        yield "\n".join(f"- {text(each)}" for each in unchecked)
    yield "## Before and after"
    yield _table(
        [
            "rows",
            "model",
            *named_figures(metric, results["test"]["debiased"]["gaps"][metric]),
            objective["performance"],
            "objective",
            "budget met",
        ],
        [
            [
                ROWS[rows],
                STATES[state],
                *map(plain_figure, named_figures(metric, e["gaps"][metric]).values()),
                figure(e["performance"][objective["performance"]]),
                plain_number(e["objective"]),
                "yes" if e["met"] else "no",
            ]
            for rows in ROWS
            for state, e in results[rows].items()
        ],
    )
    if tables := list(reweighting_tables(report)):
        yield "## Weights of training rows"
        for table in tables:
            yield table.caption
            yield _table(table.header, [[text(cell) for cell in cells] for cells in table.rows])
    if goals := goal_rows(report):
        yield "## Goals of the search"
        yield _table(GOALS_HEADER, [[text(cell) for cell in cells] for cells in goals])
    if further := promises(report):
        yield "## Further demands, test rows"
        yield _table(HEADER, [[text(cell) for cell in check_cells(each)] for each in further])
    yield "## By group, test rows"
    yield _groups(results["test"])
    if pairs := reference_table({state: results["test"][state] for state in CHANGED}):
        yield "## By group against the reference group, test rows"
        yield f"{pairs.title[:1].upper()}{text(pairs.title[1:])}. {INTERVALS}"
        yield _table(
            ["group", "rows", *(STATES[state] for state in pairs.kinds)],
            [[text(name), f"{n:,}", *map(plain_figure, row)] for name, n, row in pairs.rows],
        )
    yield "## All metrics, test rows"
    yield _table(
        ["metric", *STATES.values()],
        [
            [key, *(figure(results["test"][state]["gaps"][key]) for state in STATES)]
            for key in results["test"]["debiased"]["gaps"]
        ],
    )
    yield "## Decision rule"
    yield _rule(report)
    yield "## Provenance"
    yield _provenance(report)


def verdict(report: dict[str, Any]) -> str:
    """Return a paragraph on the test rows: figures before and after, and the verdict."""
    objective, test = report["objective"], report["results"]["test"]
    metric, measure = objective["metric"], objective["performance"]
    before, after = test["unmodified"], test["debiased"]
    result = headline(report)
    return (
        f"{result.word}. On {after['rows']} test rows, {metric} changed "
        f"{_from_to(before['gaps'][metric], after['gaps'][metric])} and {measure} "
        f"{_from_to(before['performance'][measure], after['performance'][measure])}. "
        f"{' '.join(result.sentences[1:])}" + rows_needed(report)
    )


def _from_to(before: dict[str, Any], after: dict[str, Any]) -> str:
    return f"from {plain_number(before['value'])} to {plain_number(after['value'])}"


def rows_needed(report: dict[str, Any]) -> str:
    """Return how many rows would certify the budget, or an empty string."""
    needed = headline(report).rows_needed
    if not needed:
        return ""
    rows = ", ".join(f"{count:,} of {text(name)} (here {have:,})" for name, have, count in needed)
    return f" If the true gap equals the estimate, certification needs about {rows}."


def figure(raw: dict[str, Any]) -> str:
    """Return a value of a document with its confidence interval, if it has one."""
    return plain_figure(Figure.of(raw))


def plain_figure(figure: Figure) -> str:
    """Return a figure with its confidence interval, if it has one, in ASCII."""
    value = plain_number(figure.value)
    if figure.value is None or figure.low is None:
        return value
    return f"{value} [{plain_number(figure.low)}, {plain_number(figure.high)}]"


def text(value: object) -> str:
    """Escape a string for Markdown and its tables."""
    line = " ".join(printable(value).split())
    return re.sub(r"[\\`*_\[\]<>|&~]", r"\\\g<0>", line)


def _code(line: str) -> str:
    """Return a code span; its fence is longer than any run of backticks inside."""
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if "`" in line else ""
    return f"{fence}{pad}{' '.join(line.split())}{pad}{fence}"


def _groups(test: dict[str, Any]) -> str:
    rows = []
    for state, e in test.items():
        for g in e["groups"]:
            rates = [
                f"{figure(rate)} (n = {rate['n']})"
                for rate in (g["rates"][name] for name in ("selection_rate", "tpr", "fpr"))
            ]
            rows.append([STATES[state], text(g["name"]), *rates, figure(g["auc"])])
    header = ["model", "group", "selection rate", "true positive rate", "false positive rate"]
    return _table([*header, "AUC"], rows)


def _rule(report: dict[str, Any]) -> str:
    rule = report["rule"]
    groups = text(report["method"]["group_use_sentence"])
    return (
        f"Positive ({text(report['data']['label'])} = {text(rule['positive_label'])}) "
        f"{condition(rule)}, with score = {rule['score']} of {text(rule['output_label'])}; "
        f"{groups}."
    )


def condition(rule: dict[str, Any]) -> str:
    """Return the condition of a positive decision."""
    if "threshold" in rule:
        return f"where score > {rule['threshold']!r}"
    if "thresholds" in rule:
        thresholds = rule["thresholds"].items()
        return "where " + ", ".join(f"{text(name)}: score > {at!r}" for name, at in thresholds)
    return "at random, with this probability: " + "; ".join(
        f"for {text(name)}, "
        + ", else ".join(f"{probability!r} if score > {at!r}" for at, probability in steps)
        for name, steps in rule["lottery"].items()
    )


def _provenance(report: dict[str, Any]) -> str:
    made, data, method = report["made_by"], report["data"], report["method"]
    options = ", ".join(f"{k} = {v}" for k, v in method["options"].items()) or "none"
    lines = [
        f"fairfix {made['fairfix']}, torch {made['torch']}, seed {made['seed']}",
        f"command: {_code(made['command'])}" if made["command"] else "called from Python",
        f"method options: {options}; step {method['chosen_step']} of "
        f"{len(method['trajectory']) - 1} chosen",
        f"table {text(data['table'])}, sha256 {data['table_sha256']}: "
        f"{data['validation_rows']} validation rows",
        f"{data['test_rows']} test rows of "
        + (
            f"{text(data['test_table'])}, sha256 {data['test_table_sha256']}"
            if data["test_table"]
            else f"the same table, held out (share {data['holdout']:g})"
        ),
    ]
    if training := report.get("training"):
        lines.append(
            f"{training['rows']} training rows of {text(training['table'])}, sha256 "
            f"{training['table_sha256']}, used for {training['used_for']}"
        )
    if report["model"]:
        model = report["model"]
        lines.append(
            f"model {text(model['file'])} ({model['format']}), weights sha256 "
            f"{model['weights_sha256_before']} before, {model['weights_sha256_after']} after"
        )
    return "\n".join(f"- {line}" for line in [*lines, *map(text, report["notes"])])


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
