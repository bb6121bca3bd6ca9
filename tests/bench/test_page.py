"""The study page: figures match the summary, text is escaped, and a browser lays it out."""

from __future__ import annotations

import base64
import copy
import json
import math
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from fairfix.bench.attribution_summary import summarize_attributions
from fairfix.bench.base_network_summary import summarize_base_networks
from fairfix.bench.charts import LABEL_SIZES, BoxStrips, point_labels, step_charts
from fairfix.bench.page import SHOWN_TABLES, page
from fairfix.bench.split_statistics import Quartiles
from fairfix.bench.summary import summarize
from fairfix.bench.sweep import sweeps
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.performance import PERFORMANCES
from fairfix.report.svg import LogScale, Scale
from tests.report.test_html import BROWSER, HOSTILE, Layout, Page, browse, section

Row = dict[str, Any]

METHODS = ("identity", "thresholds", "roc", "eqodds", "prune", "gda")
AWARE = ("thresholds", "roc", "eqodds", "caleqodds")
MORE = ("caleqodds", "perturb", "layerwise", "adversarial", "finetune", "fairif")


def study(
    tasks: tuple[str, ...] = ("compas/race",),
    metrics: tuple[str, ...] = ("spd",),
    methods: tuple[str, ...] = METHODS,
    splits: int = 8,
    steps: int = 30,
    **goal: Any,
) -> list[Row]:
    """Return rows of a study with figures drawn with a fixed seed."""
    random = np.random.default_rng(7)
    return [
        _row(random, task, split, metric, m, method, steps, goal)
        for task in tasks
        for split in range(splits)
        for metric in metrics
        for m, method in enumerate(methods)
    ]


def _row(
    random: np.random.Generator,
    task: str,
    split: int,
    metric: str,
    m: int,
    method: str,
    steps: int,
    goal: dict[str, Any],
) -> Row:
    def evaluation(gap: float, performance: float) -> Row:
        met = abs(gap) < 0.05
        return {
            "rows": 1200,
            "gap": gap,
            "performance": performance,
            "objective": performance if met else 0.0,
            "met": met,
            "trivial": method == "identity",
        }

    debiased = evaluation(random.normal(0.01, 0.03), 0.55 + 0.03 * m + random.normal(0, 0.01))
    states = {
        "unmodified": evaluation(-0.2, 0.7)
        | {
            "gaps": {each: -0.2 + 0.01 * split * i for i, each in enumerate(METRICS)},
            "performances": dict.fromkeys([*PERFORMANCES, "auc"], 0.7 + 0.01 * split),
        },
        "retuned": evaluation(0.02, 0.55),
        "debiased": debiased,
    }
    taken = 1 if method == "identity" else 2 if method in AWARE else steps
    return {
        "version": 2,
        "key": f"{task} {split} {metric} {method}",
        "fairfix": "1.2.3",
        "task": task,
        "split": split,
        "task_sha256": f"{task} {split}",
        "method": method,
        "seed": split,
        "goal": {
            "metric": metric,
            "budget": 0.05,
            "margin": None,
            "performance": "balanced_accuracy",
            "kind": "constrained",
            "lambda": 0.75,
            "k": 1.0,
            "risk": None,
            **goal,
        },
        "options": {},
        "overlap": 0.25,
        "status": "done",
        "needs_group": method in AWARE,
        "test": states,
        "validation": states,
        "ceiling": 0.91,
        "trajectory": [[0.2 - 0.004 * i, 0.7 - 0.002 * i] for i in range(taken)],
        "chosen": taken // 2,
        "warnings": [],
        "cost": {"seconds": 0.02 * 4**m, "cpu_seconds": 1.0, "peak_memory_mib": 300.0},
    }


def refused(row: Row, reason: str, status: str = "refused") -> Row:
    kept = {key: row[key] for key in row if key not in ("test", "validation", "cost")}
    return kept | {"method": "layerwise", "status": status, "reason": reason}


def measured(row: Row, parameter: str = "fc.weight") -> Row:
    """Return the row of a weight attribution."""
    kept = refused(row, "", "measured") | {"method": "attribution", "options": {}}
    random = np.random.default_rng(row["split"])
    coefficients = base64.b64encode(random.normal(size=500).astype("<f4").tobytes()).decode()
    figures = ("gap", "gap_of_decisions", "spread", "r2", "r2_of_decisions", "r2_of_fit")
    return kept | {
        "attribution": dict.fromkeys(figures, 0.9)
        | {
            "draws": 1000,
            "sd": 0.1,
            "shares": {parameter: 0.75, "other": 0.25},
            "share_of_largest": {"10": 0.2, "100": 0.6, "1000": 0.9},
            "coefficients": coefficients,
        }
    }


def sweep(values: tuple[float, ...] = (0, 0.5, 1, 2.5)) -> list[Row]:
    return study(tuple(f"loh/alpha={value:g}" for value in values), splits=4)


def table_rows(text: str, class_: str) -> list[list[str]]:
    """Return the text of every body row with figures in the first table of a class."""
    found = re.search(rf'<table class="{class_}">.*?</table>', text, re.S)
    assert found is not None
    rows = re.findall(r"<tr>(.*?)</tr>", found[0], re.S)
    cells = [re.findall(r"<t[dh][^>]*>.*?</t[dh]>", row, re.S) for row in rows]
    return [[Page(cell).text for cell in row] for row in cells if "<td" in "".join(row)]


def written(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def interval(figure: tuple[float, float, float]) -> str:
    value, low, high = map(written, figure)
    return f"{value} {low} to {high}"


# Figures and text.


def test_the_figures_of_the_page_are_those_of_the_summary() -> None:
    rows = study()
    (table,) = summarize(rows)
    found = table_rows(page(rows), "figures")
    assert [row[0].removesuffix(" Pareto front") for row in found] == [
        line.method for line in table.methods
    ]
    for (name, mean, gap, performance, held, gain, p, trivial, *_), line in zip(
        found, table.methods, strict=True
    ):
        assert name.endswith("Pareto front") == line.pareto
        assert mean == interval(line.mean_objective)
        assert gap == interval(line.gap)
        assert performance == interval(line.performance)
        assert held.split()[0] == f"{line.held:.2f}"
        assert trivial == f"{line.trivial:.2f}"
        if line.method == "identity":
            assert gain == p == ""
        else:
            assert gain.removeprefix("+") == interval(line.gain)
            assert gain.startswith("+") == (line.gain.value > 0)
        if line.method not in ("identity", "unmodified"):
            assert p == ("< 0.001" if line.p < 0.001 else written(line.p))


def test_ranks_mark_methods_that_need_the_group_and_gains_not_shown() -> None:
    rows = study()
    (table,) = summarize(rows)
    words = section(page(rows), "table-1")
    first, second = words.index("Group-free"), words.index("Needs the group column at prediction")
    for line in table.methods:
        place = words.index(f"{line.method} ", first)
        assert (place > second) == line.needs_group
    assert any(not line.gain_shown for line in table.methods if line.method == "gda")
    assert "gda no gain over identity shown" in words
    assert "identity trivial on most splits" in words


def test_a_trade_off_is_named_and_ranks_the_smallest_first() -> None:
    rows = study(kind="tradeoff", performance="accuracy")
    words = section(page(rows), "table-1")
    assert "0.75 × absolute statistical parity difference + 0.25 × (1 − accuracy)" in words
    assert "smaller is better" in words
    means = [float(row[1].split()[0]) for row in table_rows(page(rows), "figures")]
    free = [line for line in summarize(rows)[0].methods if not line.needs_group]
    assert means[: len(free)] == sorted(means[: len(free)])
    assert 'class="contour"' in page(rows)
    assert 'class="contour"' not in page(study())
    assert "within the budget" not in words


def test_a_refusal_is_listed_once_with_its_reason() -> None:
    rows = study()
    more = [refused(row, "not for <spd>") for row in rows if row["method"] == "prune"]
    text = page([*rows, *more, refused(study(splits=9)[-1], "RuntimeError: boom", "failed")])
    words = section(text, "refused")
    assert words.count("not for <spd>") == 1
    assert "layerwise on compas/race refused (8 cells): not for <spd>" in words
    assert "failed (1 cell): RuntimeError: boom" in words
    assert "48 with a result, 8 refused, 1 failed" in Page(text).text


def test_a_study_without_any_result_has_a_page() -> None:
    only = [refused(row, "no") for row in study()]
    assert "No cell has a result" in Page(page(only)).text
    assert "No cell has a result" in Page(page([])).text


def test_undefined_figures_are_shown_as_undefined() -> None:
    rows = study()
    for row in rows:
        if row["method"] == "gda":
            row["test"] = {
                **row["test"],
                "debiased": {**row["test"]["debiased"], "gap": None, "met": False},
            }
    row = next(row for row in table_rows(page(rows), "figures") if row[0].startswith("gda"))
    assert row[1] == "0.000 0.000 to 0.000"
    assert row[2] == "undefined"


def test_many_tables_are_listed_and_the_first_drawn() -> None:
    rows = study(tuple(f"model {i}" for i in range(SHOWN_TABLES + 3)), splits=2, steps=3)
    text = page(rows)
    ids = Page(text).values("id")
    assert f"table-{SHOWN_TABLES}" in ids
    assert f"table-{SHOWN_TABLES + 1}" not in ids
    assert "3 more tables are in summary.csv" in Page(text).text
    assert f"model {SHOWN_TABLES + 2}" in section(text, "overview")


def test_links_have_targets_and_equal_rows_give_equal_pages() -> None:
    rows = [*study(), *sweep()]
    text = page(rows)
    found = Page(text)
    ids = found.values("id")
    assert len(ids) == len(set(ids))
    assert {href.removeprefix("#") for href in found.values("href")} == set(ids)
    assert page(json.loads(json.dumps(rows))) == text


# Base networks.


def test_base_networks_are_summarized_over_splits() -> None:
    rows = study(("a", "b"), ("spd", "eod"), splits=6)
    found = summarize_base_networks(rows)
    listed = table_rows(re.sub(r".*<section id=.networks.>", "", page(rows), flags=re.S), "strips")
    assert [(row[0], *row[2:]) for row in listed] == [
        (
            f"{each.task} {METRICS[metric].title}",
            f"{written(each.gaps[metric].mean())} sd {written(each.gaps[metric].std(ddof=1))}",
            f"{written(0.725)} sd {written(np.std(0.01 * np.arange(6), ddof=1))}",
        )
        for each in found
        for metric in ("spd", "eod")
    ]
    assert 'id="networks"' not in page(study(splits=1))


def test_weight_attribution_is_shown_on_request() -> None:
    rows = study(splits=4)
    more = [measured(row) for row in rows if row["method"] == "identity"]
    words = section(page([*rows, *more]), "weights")
    (found,) = summarize_attributions(more)
    low, high = found.singular_range
    assert "compas/race statistical parity difference, n = 4" in words
    assert f"{low:.2f} to {high:.2f}" in words
    assert "fc.weight 0.75" in words
    assert 'id="weights"' not in page(rows)
    assert section(page([*rows, *more]), "table-1") == section(page(rows), "table-1")
    assert "24 with a result, 4 weight attributions" in Page(page([*rows, *more])).text


# Sweeps.


def test_tasks_that_differ_in_a_number_are_a_sweep() -> None:
    names = ("loh/alpha=10", "loh/alpha=2", "loh/alpha=2 wide", "zafar/theta=1", "a/b=x", "m.pt")
    found = sweeps(summarize(study((*names, "loh/alpha=nan"), ("spd", "eod"), splits=2)))
    assert [(each.name, each.parameter, each.goal.metric) for each in found] == [
        ("loh", "alpha", "spd"),
        ("loh", "alpha", "eod"),
    ]
    assert [value for value, _ in found[0].summaries] == [2, 10]
    assert [table.task for _, table in found[0].summaries] == ["loh/alpha=2", "loh/alpha=10"]


def test_a_sweep_draws_one_line_per_method_and_lists_its_medians() -> None:
    rows = sweep()
    text = page(rows)
    found = re.search(r'<section id="sweep-1">.*?</section>', text, re.S)
    assert found is not None
    methods = {line.method for table in summarize(rows) for line in table.methods}
    drawn = re.findall(r'<path d="(M[^"]*)" class="sweep-line [^"]*" vector', found[0])
    assert len(drawn) == 2 * len(methods)
    assert {d.count("L") for d in drawn} == {3}
    medians = {
        (table.task, line.method): line.objective.median
        for table in summarize(rows)
        for line in table.methods
    }
    listed = re.search(r"<details>.*?</details>", found[0], re.S)
    assert listed is not None
    for name, *figures in table_rows(listed[0].replace("<table>", '<table class="x">'), "x"):
        assert figures == [
            written(medians[f"loh/alpha={value:g}", name]) for value in (0, 0.5, 1, 2.5)
        ]


# Charts.


def test_methods_are_plotted_where_the_axes_say() -> None:
    rows = study()
    (table,) = summarize(rows)
    found = re.search(r'<svg class="plot tall plane".*?</svg>\s*</figure>', page(rows), re.S)
    assert found is not None
    root = ElementTree.fromstring(found[0].removesuffix("</figure>").strip())
    marks = {
        (mark.find("path/title").text or "").partition(":")[0]: mark  # type: ignore[union-attr]
        for mark in root.findall("svg")
        if mark.find("path/title") is not None
    }
    ticks: dict[str, list[tuple[float, float]]] = {"x": [], "y": []}
    for text in root.findall("text"):
        axis = {"middle": "x", "end": "y"}.get(text.attrib.get("class", ""))
        if axis is not None:
            value = float((text.text or "").replace("−", "-"))
            ticks[axis].append((value, float(text.attrib[axis].rstrip("%"))))

    def at(axis: str, value: float) -> float:
        (low, start), (high, end) = ticks[axis][0], ticks[axis][-1]
        return start + (value - low) / (high - low) * (end - start)

    assert marks.keys() == {line.method for line in table.methods}
    for line in table.methods:
        mark = marks[line.method]
        x, y = (float(mark.attrib[key].rstrip("%")) for key in "xy")
        assert x == pytest.approx(at("x", line.mean_performance), abs=0.2)
        assert y == pytest.approx(at("y", line.mean_gap), abs=0.2)


def test_labels_do_not_overlap() -> None:
    places = [(f"method {i}", 50 + 0.1 * i, 80 + 0.1 * i) for i in range(12)]
    for drawn, letters in zip(point_labels(places), LABEL_SIZES, strict=True):
        found = [e for e in ElementTree.fromstring(drawn) if e.tag == "text"]
        boxes = [
            letters.box(
                str(e.text),
                float(e.attrib["x"].rstrip("%")),
                float(e.attrib["y"].rstrip("%")),
                1 if "start" in e.attrib["class"] else -1,
            )
            for e in found
        ]
        assert len(boxes) == 12
        pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.left < b.right]
        crossing = [
            (a, b) for a, b in pairs
            if b.left < a.right and abs(a.top - b.top) < 0.9 * letters.height
        ]  # fmt: skip
        assert crossing == []


def test_a_box_spans_the_quartiles() -> None:
    values = [0.1, 0.2, 0.3, 0.4, math.nan]
    strip = ElementTree.fromstring(
        BoxStrips(Scale(0.0, 1.0, 0.5)).strip(values, Quartiles(0.25, 0.175, 0.325), "title")
    )
    box = next(e for e in strip if e.attrib.get("class") == "box")
    assert (box.attrib["x"], box.attrib["width"]) == ("17.5%", "15%")
    assert [e.attrib["cx"] for e in strip if e.tag == "circle"] == ["10%", "20%", "30%", "40%"]
    assert next(e for e in strip if e.attrib.get("class") == "median").attrib["x1"] == "25%"


def test_a_step_chart_shows_the_median_of_the_splits_that_reached_it() -> None:
    goal = summarize(study())[0].goal
    runs = [(np.array([[g, 0.5]] * n), 1) for g, n in ((0.1, 6), (-0.2, 6), (0.3, 4), (0.4, 2))]
    drawn = step_charts(goal, runs)
    assert drawn is not None
    line = re.search(r'<path d="([^"]*)" class="curve strong"', drawn.gap)
    assert line is not None
    down = [float(point.split()[1]) for point in re.split("[ML]", line[1])[1:]]
    assert len(down) == 6  # the last two steps exist in half of the splits
    top, bottom = 0.4, 0.0

    def value(y: float) -> float:
        return bottom + (top - bottom) * (1 - y / 100)

    medians = [0.25, 0.25, 0.2, 0.2, 0.15, 0.15]
    assert [value(y) for y in down] == pytest.approx(medians, abs=0.01)
    assert step_charts(goal, [(np.array([[0.1, 0.5]] * 2), 1)]) is None
    undefined = step_charts(goal, [(np.array([[math.nan, 0.5]] * 5), 1)])
    assert undefined is not None


def test_seconds_are_on_a_logarithmic_scale() -> None:
    scale = LogScale.over([0.02, 3.0])
    assert [scale.label(tick) for tick in scale.ticks] == ["0.01", "0.1", "1", "10"]
    assert [scale.at(x) for x in (0.01, 0.1, 10.0, 99.0, 0.0)] == pytest.approx(
        [0, 100 / 3, 100, 100, 0]
    )
    assert LogScale.over([1.0, 1000.0]).ticks == [1, 10, 100, 1000]
    assert LogScale.over([]).ticks == [1, 10]


# Text from files is escaped.


def with_hostile_text(evil: str) -> list[Row]:
    rows = copy.deepcopy(study(splits=2))
    for row in rows:
        row |= {"task": evil, "fairfix": evil}
        if row["method"] == "gda":
            row["options"] = {"why": evil}
    measured_rows = [measured(row, evil) for row in rows if row["method"] == "identity"]
    sweep_rows = [{**row, "task": f"{evil}/{name}"} for row in rows for name in ("k=1", "k=2")]
    return [*rows, *sweep_rows, *measured_rows, refused(rows[0], evil)]


@pytest.mark.parametrize("evil", HOSTILE, ids=range(len(HOSTILE)))
def test_a_string_changes_no_element_of_the_page(evil: str) -> None:
    evil = evil.encode(errors="replace").decode()  # as in a journal
    plain = re.sub(r"[^ /=]", "x", evil)
    harmless, found = (Page(page(with_hostile_text(name))) for name in (plain, evil))
    assert found.tags == harmless.tags
    assert not {"script", "img", "link", "iframe"} & {tag for tag, _ in found.tags}
    names = {name for _, attributes in found.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")} | ({"src", "style"} & names)


def test_nothing_is_fetched_and_a_large_page_stays_small() -> None:
    tasks = ("adult/sex", "bank/age", "compas/race")
    text = page(study(tasks, ("spd", "eod"), (*METHODS, *MORE), splits=20, steps=500))
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script|<link|<img|\bsrc=", text)
    assert len(text.encode()) < 1_000_000
    Page(text)


# In a browser.


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    if BROWSER is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on this machine")
    gone = [refused(study()[0], "a long reason " * 40)]
    return browse(
        tmp_path_factory.mktemp("pages"),
        {
            "study": page([*study(methods=(*METHODS, *MORE)), *gone]),
            "networks": page([*study(), *map(measured, study())]),
            "tradeoff": page(study(kind="tradeoff")),
            "sweep": page(sweep()),
            "evil": page(with_hostile_text(HOSTILE[0])),
            "wide": page(with_hostile_text(HOSTILE[6])),
            "empty": page([]),
        },
    )


def test_nothing_overflows_on_narrow_and_wide_screens(laid_out: Layout) -> None:
    for name, frame in laid_out[0].items():
        assert frame["scroll"] <= frame["width"], (name, frame["out"][:5])
        assert frame["out"] == [], name


def test_the_console_stays_silent(laid_out: Layout) -> None:
    assert laid_out[1] == []
