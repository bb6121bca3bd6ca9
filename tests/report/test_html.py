"""The HTML pages: content, escaping of untrusted strings, and layout in a browser."""

from __future__ import annotations

import copy
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import fairfix as library
from fairfix._utils.text import format_number, shorten, unique_labels
from fairfix.errors import UsageError
from fairfix.report.figures import Figure, absolute_gap, thin
from fairfix.report.html import audit_html, html
from fairfix.report.svg import Scale
from fairfix.thresholds.rule import DecisionRule
from fairfix.workflows.documents import audit_document, report_document
from tests.helpers.runs import Place

Document = dict[str, Any]

RATES = ("selection_rate", "tpr", "fpr")
KEYS = ("spd", "eod", "aod", "aaod", "eqodds", "fprd", "ad", "di", "aucd")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title><script>alert(1)</script>",
    "{{ 7 * 7 }} {% raw %}",
    "turned \u202e around \x00 \x1b[31m \udcff",
    "W" * 2000,
    "many words " * 200,
)
VOID = {"meta", "br", "link", "img", "hr", "input"}


# Documents.


def evaluation(gap: float | None, performance: float, names: tuple[str, ...]) -> Document:
    def group(i: int, name: str) -> Document:
        rates = {
            key: {"value": 0.2 + 0.1 * j + 0.05 * (i % 7), "n": 400}
            for j, key in enumerate((*RATES, "accuracy"))
        }
        counts = {"tp": 100, "fp": 50.0, "fn": 20, "tn": 230}
        return {"name": name, "rows": 400, "threshold": 0.5, "auc": 0.8, "rates": rates, **counts}

    return {
        "met": gap is not None and abs(gap) < 0.05,
        "objective": performance,
        "rows": 400 * len(names),
        "trivial": False,
        "gaps": dict.fromkeys(KEYS, gap),
        "performance": dict.fromkeys(("balanced_accuracy", "accuracy", "f1", "auc"), performance),
        "groups": [group(i, name) for i, name in enumerate(names)],
    }


def plain(names: tuple[str, ...] = ("female", "male"), steps: int = 12) -> Document:
    """A version 1 report, without confidence intervals."""
    test = {
        "unmodified": evaluation(-0.18, 0.75, names),
        "retuned": evaluation(-0.06, 0.71, names),
        "debiased": evaluation(-0.021, 0.7, names),
    }
    return {
        "schema_version": 1,
        "made_by": {
            "fairfix": "1.2.3",
            "torch": "2",
            "python": "3",
            "command": None,
            "seed": 7,
            "threads": 1,
        },
        "model": {
            "file": "model.pt",
            "format": "state_dict",
            "weights_sha256_before": "a" * 64,
            "weights_sha256_after": "b" * 64,
            "output": "logit",
        },
        "data": {
            "table": "val.csv",
            "table_sha256": "c" * 64,
            "test_table": None,
            "test_table_sha256": None,
            "holdout": 0.3,
            "label": "income",
            "favorable": "high",
            "group": "sex",
            "groups": list(names),
            "privileged": names[1],
            "weight": None,
            "validation_rows": 1500,
            "test_rows": 800,
        },
        "objective": {
            "metric": "spd",
            "metric_title": "statistical parity difference",
            "budget": 0.05,
            "margin": "auto",
            "performance": "balanced_accuracy",
            "kind": "constrained",
            "lambda": None,
            "standard_errors": 1.4,
        },
        "method": {
            "name": "prune",
            "options": {"steps": 3},
            "needs_group": False,
            "changes_weights": True,
            "group_use": "group-blind",
            "group_use_sentence": "group-blind: no input holds the group",
            "protected_inputs": [],
            "chosen_step": 5,
            "trajectory": [
                {
                    "step": i,
                    "gap": None if i == 3 else 0.2 * math.cos(i / 9) / (1 + i / 50),
                    "performance": 0.75 - 0.1 * math.sin(i / 31) ** 2,
                    "utility": 0.5,
                    "threshold": 0.4,
                }
                for i in range(steps)
            ],
        },
        "rule": {
            "version": 1,
            "operator": ">",
            "score": "probability",
            "threshold": 0.3712345,
            "needs_group": False,
            "group_column": None,
            "positive_label": "high",
            "output_label": "high",
            "output": "logit",
            "metric": "spd",
            "budget": 0.05,
            "weights_sha256": "b" * 64,
        },
        "results": {"test": test, "validation": copy.deepcopy(test)},
        "warnings": ["mind the gap"],
        "notes": ["a note"],
    }


def full(
    names: tuple[str, ...] = ("female", "male"), steps: int = 12, verdict: str = "inconclusive"
) -> Document:
    """A report with everything in it."""
    report = plain(names, steps)

    def around(value: float | None, n: int = 400) -> Document:
        low, high = (None, None) if value is None else (value - 0.037, value + 0.041)
        return {"value": value, "low": low, "high": high, "n": n}

    for comparison in report["results"].values():
        for e in comparison.values():
            for kind in ("gaps", "performance"):
                e[kind] = {key: around(value) for key, value in e[kind].items()}
            for group in e["groups"]:
                rates = group["rates"].items()
                group["rates"] = {key: around(rate["value"], rate["n"]) for key, rate in rates}
    parts = [calibrated("all rows", 800), *(calibrated(name, 400) for name in names)]
    report["calibration"] = {"unmodified": parts, "debiased": copy.deepcopy(parts)}
    claim = {
        "metric": "spd",
        "title": "statistical parity difference",
        "budget": 0.05,
        "verdict": verdict,
        "reason": "the interval crosses the budget",
        "rows_needed": dict.fromkeys(names, 12345) if verdict == "inconclusive" else None,
        "test": "two one-sided score tests",
        "alongside": [],
        **around(-0.021),
    }
    beside = {**claim, "metric": "eod", "title": "equal opportunity difference"}
    subgroup = {"rows": 100, "rate": 0.1, "rest": 0.3, "p_adjusted": 0.0002}
    interval = {"difference": -0.2, "low": -0.25, "high": -0.15}
    return report | {
        "schema_version": 2,
        "confidence": 0.95,
        "evidence": {
            "claims": [{**claim, "alongside": [beside]}],
            "certifiable_gap": 0.031,
            "rows_needed": None,
            "rows": 800,
        },
        "change": {
            "groups": [
                {"name": name, "rows": 400, "gained": 40 + i, "lost": 17}
                | {f"{rate}_{when}": 0.4 for rate in RATES for when in ("before", "after")}
                for i, name in enumerate(names)
            ],
            "levelling_down": ["the second group lost"],
            "columns": [
                {"column": "race", "metric": "spd", "before": 0.1, "after": 0.3, "worse": True},
                {"column": "age", "metric": "spd", "before": None, "after": 0.01, "worse": False},
            ],
            "overfitting": ["better on validation rows than sampling error explains"],
        },
        "histograms": {
            "edges": [i / 20 for i in range(21)],
            "groups": {
                name: {"unmodified": list(range(20)), "debiased": [0, *range(19, 0, -1)]}
                for name in names
            },
        },
        "subgroups": [{"where": {"race": names[0], "age": "under 25"}, **subgroup, **interval}],
        "tradeoff_curve": [
            {"probability": p / 10, "performance": 0.8 - 0.02 * p, "gap": 0.02}
            | {"trivial": p == 9, "chosen": p == 7}
            for p in range(1, 10)
        ],
    }


# Reading a page.


class Page(HTMLParser):
    """A page read strictly: every element ends where it must, and nothing is given twice."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never ended: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.tags.append((tag, tuple(names)))
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        assert self.open.pop() == tag

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> ends nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "desc"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def section(text: str, name: str) -> str:
    """The words of one section."""
    found = re.search(rf'<section id="{name}">.*?</section>', text, re.S)
    assert found is not None, name
    return Page(found[0]).text


def verdict_box(text: str) -> str:
    found = re.search(r'<div class="verdict .*?</div>', text, re.S)
    assert found is not None
    return Page(found[0]).text


SECTIONS = {
    *("warnings", "gap", "groups", "confusion", "search", "metrics", "rule", "provenance"),
}
NEWER = {"change", "tradeoff-curve", "scores", "calibration", "subgroups"}


def test_a_page_is_well_formed_and_its_links_lead_somewhere() -> None:
    page = Page(html(full()))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert set(ids) == SECTIONS | NEWER
    assert {href.removeprefix("#") for href in page.values("href")} == set(ids)


def test_the_reader_of_pages_is_strict() -> None:
    for wrong in ("<p><b></p></b>", "<p>", "</p>", '<p id="a" id="b"></p>'):
        with pytest.raises(AssertionError):
            Page(wrong)


def test_an_older_report_shows_what_it_has_and_no_verdict() -> None:
    text = html(plain())
    page = Page(text)
    assert set(page.values("id")) == SECTIONS
    box = verdict_box(text)
    assert box.startswith("No verdict")
    assert "within the budget" in box
    assert "a point estimate is not a verdict" in box
    assert "interval" not in page.text
    assert not re.search(r"certified|violated|inconclusive|too few", page.text, re.I)


def test_the_page_of_a_real_run_holds_its_figures(place: Place) -> None:
    case = library.load(place.model, place.val)
    report = report_document(
        library.debias(case, "prune", budget=0.1, test=place.test), "fairfix <prune>"
    )
    text = html(json.loads(json.dumps(report)))
    page = Page(text)
    for e in report["results"]["test"].values():
        raw = e["gaps"]["spd"]
        value = raw["value"] if isinstance(raw, dict) else raw
        assert format_number(value) in page.text
    assert report["data"]["table_sha256"] in page.text
    assert "fairfix <prune>" in page.text
    assert repr(report["rule"]["threshold"]) in section(text, "rule")


def test_equal_reports_give_equal_pages() -> None:
    assert html(full()) == html(json.loads(json.dumps(full())))


# The verdict.


every_verdict = pytest.mark.parametrize(
    ("verdict", "tone", "words"),
    [
        ("certified", "certified", "It is, with 95 % confidence, within the budget of 0.05"),
        ("violated", "violated", "It is, with 95 % confidence, outside the budget of 0.05"),
        ("inconclusive", "neutral", "neither that it is within the budget of 0.05 nor that"),
        ("too few rows", "neutral", "too few to test the budget of 0.05"),
    ],
)


@every_verdict
def test_the_verdict_is_stated_and_explained(verdict: str, tone: str, words: str) -> None:
    text = html(full(verdict=verdict))
    box = verdict_box(text)
    assert box.startswith(verdict.capitalize())
    assert f'class="verdict {tone}"' in text
    assert words in box
    assert "the interval crosses the budget." in box
    assert "−0.021 (90 % confidence interval −0.058 to 0.020)" in box.replace("\xa0", " ")
    assert ("female : 12,345 (here 400)" in box) == (verdict == "inconclusive")


def test_a_trivial_rule_is_never_plainly_certified() -> None:
    report = full(verdict="certified")
    report["results"]["test"]["debiased"]["trivial"] = True
    box = verdict_box(html(report))
    assert box.startswith("Certified, by a trivial rule")
    assert "decides nearly all rows alike" in box
    assert 'class="verdict amber"' in html(report)


@pytest.mark.parametrize("kind", ["serious_warnings", "unchecked"])
def test_a_certified_result_is_amber_with_a_serious_warning(kind: str) -> None:
    assert 'class="verdict certified"' in html(full(verdict="certified"))
    assert 'class="verdict amber"' in html({**full(verdict="certified"), kind: ["a reason"]})


def test_a_claim_about_another_metric_is_no_verdict() -> None:
    report = full(verdict="certified")
    report["evidence"]["claims"][0]["metric"] = "eod"
    assert verdict_box(html(report)).startswith("No verdict")


def test_undefined_figures_are_shown_as_undefined() -> None:
    report = plain()
    debiased = report["results"]["test"]["debiased"]
    debiased["gaps"]["spd"] = None
    debiased["met"] = False
    debiased["groups"][0]["rates"]["tpr"] = {"value": None, "n": 0}
    debiased["groups"][0]["auc"] = None
    text = html(report)
    assert "An undefined gap meets no budget." in verdict_box(text)
    assert "undefined" in section(text, "gap")
    assert "n = 0" in section(text, "groups")
    assert not re.search(r"\b(nan|none|null)\b", Page(text).text, re.I)


def test_other_columns_show_the_change_and_the_groups_left_out() -> None:
    report = full()
    report["change"]["columns"][0] |= {"low": 0.12, "high": 0.28, "p": 0.01, "left_out": ["x", "y"]}
    words = section(html(report), "change")
    row = "race spd, 2 small groups left out 0.100 0.300 0.200 0.120 to 0.280 significantly larger"
    assert row in words
    assert "age spd undefined 0.010 undefined" in words


def test_subgroups_of_a_report_show_their_rate() -> None:
    report = full()
    report["subgroups"][0]["title"] = "negative decisions where the label is positive"
    words = section(html(report), "subgroups")
    assert "negative decisions where the label is positive , 100 rows" in words
    assert "ositive decisions" not in words


def test_everything_undefined_is_still_a_page() -> None:
    def hollow(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: hollow(v) for k, v in value.items()}
        return None if isinstance(value, float) else value

    report = full()
    for part in ("results", "evidence"):
        report[part] = hollow(report[part])
    report["evidence"]["claims"][0]["budget"] = 0.05
    report["evidence"]["claims"][0]["alongside"][0]["budget"] = 0.05
    report["method"]["trajectory"] = [
        {"step": i, "gap": None, "performance": None, "utility": None, "threshold": None}
        for i in range(5)
    ]
    report["subgroups"] = [
        {"where": {}, "rows": 3, "rate": None, "rest": None, "difference": None, "low": None}
        | {"high": None, "p_adjusted": None}
    ]
    for point in report["tradeoff_curve"]:
        point["performance"] = None
    report["change"]["groups"][0]["rows"] = 0
    Page(html(report))


# What the charts draw.


def strips(text: str, name: str) -> list[ElementTree.Element]:
    found = re.search(rf'<section id="{name}">.*?</section>', text, re.S)
    assert found is not None
    drawn = re.findall(r'<td class="drawn">(.*?)</td>', found[0], re.S)
    return [ElementTree.fromstring(one) for one in drawn]


def axis(text: str, name: str) -> tuple[list[float], list[float]]:
    """The values of the ticks and where they stand, in percent."""
    found = re.search(rf'<section id="{name}">.*?class="drawn".*?(<svg.*?</svg>)', text, re.S)
    assert found is not None
    ticks = list(ElementTree.fromstring(found[1]))
    values = [float((tick.text or "").replace("−", "-")) for tick in ticks]
    return values, [float(tick.attrib["x"].rstrip("%")) for tick in ticks]


def test_marks_whiskers_and_band_match_the_axis() -> None:
    text = html(full())
    values, places = axis(text, "gap")

    def at(value: float) -> float:
        share = (value - values[0]) / (values[-1] - values[0])
        return places[0] + share * (places[-1] - places[0])

    for strip, gap in zip(strips(text, "gap"), (-0.18, -0.06, -0.021) * 2, strict=True):
        mark = next(child for child in strip if child.tag == "svg")
        assert float(mark.attrib["x"].rstrip("%")) == pytest.approx(at(gap), abs=0.1)
        whisker = next(c for c in strip if "whisker" in c.attrib.get("class", ""))
        ends = [float(whisker.attrib[end].rstrip("%")) for end in ("x1", "x2")]
        assert ends == pytest.approx([at(gap - 0.037), at(gap + 0.041)], abs=0.1)
        band = next(c for c in strip if c.attrib.get("class") == "band")
        left, width = (float(band.attrib[k].rstrip("%")) for k in ("x", "width"))
        assert [left, left + width] == pytest.approx([at(-0.05), at(0.05)], abs=0.2)


def test_the_histogram_has_a_bar_for_every_bin_with_rows() -> None:
    text = html(full())
    assert text.count('class="bar"') == 2 * 19
    assert text.count('class="outline"') == 2
    assert (
        text.count('class="threshold unmodified"') == text.count('class="threshold debiased"') == 2
    )


def test_the_tradeoff_curve_marks_trivial_rules_and_skips_dominated_points() -> None:
    report = full()
    report["tradeoff_curve"].append({"probability": 0.05, "performance": 0.3, "trivial": False})
    found = re.search(r'<section id="tradeoff-curve">.*?</section>', html(report), re.S)
    assert found is not None
    line = re.search(r'<path d="([^"]*)" class="curve strong"', found[0])
    assert line is not None
    assert len(re.findall("[ML]", line[1])) == 9
    assert "trivial: decides nearly all rows alike" in found[0]
    assert re.search(r"0\.700 0\.660 chosen", Page(found[0]).text)


def test_randomized_thresholds_are_all_drawn_with_their_probabilities() -> None:
    report = full()
    del report["rule"]["threshold"]
    report["rule"] |= {
        "lottery": {"female": [[0.6, 1.0], [0.2, 0.25]], "male": [[0.7, 0.5]]},
        "salt": "s",
        "id_column": "person",
        "needs_group": True,
        "group_column": "sex",
    }
    for group in report["results"]["test"]["debiased"]["groups"]:
        group["threshold"] = None
    text = html(report)
    assert text.count('class="threshold debiased"') == 3
    words = section(text, "rule")
    assert "score > 0.6: 1.0 else score > 0.2: 0.25" in words
    assert "its id, read from person" in words


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (-0.18, 0.05, ["−0.20", "−0.15", "−0.10", "−0.05", "0.00", "0.05"]),
        (0.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.0, 2000.0, ["0", "500", "1000", "1500", "2000"]),
        (0.5, 0.5, ["0.4990", "0.4995", "0.5000", "0.5005", "0.5010"]),
    ],
)
def test_ticks_are_round_and_hold_the_values(low: float, high: float, ticks: list[str]) -> None:
    scale = Scale.over([low, None, high])
    assert [scale.label(tick) for tick in scale.ticks] == ticks
    assert scale.at(scale.ticks[0]) == 0
    assert scale.at(scale.ticks[-1]) == pytest.approx(100)
    assert scale.low <= low <= high <= scale.high


@pytest.mark.parametrize(
    ("metric", "value", "low", "high", "expected"),
    [
        ("spd", -0.2, -0.3, -0.1, (0.2, 0.1, 0.3)),
        ("spd", -0.02, -0.05, 0.03, (0.02, 0.0, 0.05)),
        ("di", 0.8, 0.5, 1.0, (0.2, 0.0, 0.5)),
        ("di", 1.25, 1.0, 2.0, (0.2, 0.0, 0.5)),
        ("di", 0.0, 0.0, 0.1, (1.0, 0.9, 1.0)),
    ],
)
def test_the_size_of_a_gap(
    metric: str, value: float, low: float, high: float, expected: tuple[float, ...]
) -> None:
    found = absolute_gap(metric, Figure(value, low, high))
    assert (found.value, found.low, found.high) == pytest.approx(expected)


# What comes from files is text and nothing else.


def fill(value: Any, old: str, new: str) -> Any:
    """The same document with a string replaced wherever it is part of one."""
    if isinstance(value, dict):
        return {fill(k, old, new): fill(v, old, new) for k, v in value.items()}
    if isinstance(value, list):
        return [fill(v, old, new) for v in value]
    return value.replace(old, new) if isinstance(value, str) else value


def infested(report: Document, evil: str) -> Document:
    """A report with a string in every place that takes one from a file or a person."""
    marked = fill(copy.deepcopy(report), "female", evil)
    for part, keys in {
        "data": ("table", "test_table", "label", "favorable", "group", "weight"),
        "model": ("file",),
        "made_by": ("command",),
        "rule": ("positive_label", "output_label", "group_column"),
    }.items():
        for key in keys:
            marked[part][key] = evil
    marked["data"]["test_table_sha256"] = "d" * 64
    marked["method"]["options"] = {"why": evil}
    marked["warnings"] = marked["notes"] = [evil]
    marked["change"]["levelling_down"] = marked["change"]["overfitting"] = [f"{evil}."]
    marked["change"]["columns"][0]["column"] = evil
    marked["subgroups"][0]["where"] = {evil: evil}
    marked["evidence"]["claims"][0] |= {"reason": evil, "test": evil, "title": evil}
    marked["rule"] |= {"thresholds": {evil: 0.25}, "needs_group": True}
    del marked["rule"]["threshold"]
    return marked


@pytest.mark.parametrize("warned", [False, True])
def test_levelling_down_is_said_once(warned: bool) -> None:
    report = full()
    (sentence,) = report["change"]["levelling_down"]
    report["warnings"] = [sentence] if warned else []
    text = html(report)
    assert text.count(sentence[0].upper() + sentence[1:]) == 1


@pytest.mark.parametrize("evil", HOSTILE, ids=range(len(HOSTILE)))
def test_a_string_changes_no_element_of_the_page(evil: str) -> None:
    harmless, page = (
        Page(html(infested(full(), name))) for name in (re.sub(r"[^ ]", "x", evil), evil)
    )
    assert page.tags == harmless.tags
    assert not {"script", "img", "link", "iframe"} & {tag for tag, _ in page.tags}
    names = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")} | ({"src", "style"} & names)


def test_controls_are_shown_and_pages_are_utf8() -> None:
    text = html(infested(full(), HOSTILE[5]))
    text.encode("utf-8")
    assert "\u202e" not in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    assert "turned \ufffd around" in Page(text).text


def test_nothing_is_fetched() -> None:
    text = html(full())
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script|<link|<img|\bsrc=", text)


def test_a_page_stays_small() -> None:
    names = tuple(f"{i} " + "long name " * 200 for i in range(60))
    long = full(names, steps=2000)
    long["warnings"] = ["w" * 5000] * 50
    page = html(long)
    assert len(page.encode()) < 1_000_000
    assert len(html(full(steps=2000)).encode()) < 250_000
    assert "Long names are shortened" in Page(page).text


def test_of_many_groups_the_largest_and_the_extreme_are_shown() -> None:
    report = full(tuple(f"town {i}" for i in range(60)))
    groups = report["results"]["test"]["debiased"]["groups"]
    for i, group in enumerate(groups):
        group["rows"] = 1000 - i
    groups[58]["rates"]["tpr"]["value"] = 0.99
    words = section(html(report), "groups")
    assert "town 0 " in words
    assert "town 58 " in words
    assert "town 59 " not in words
    shown = set(re.findall(r"town \d+", words))
    assert f"{60 - len(shown)} smaller groups are left out" in words


def test_an_empty_name_is_called_empty() -> None:
    assert "(empty)" in section(html(full(("", "male"))), "groups")


def test_labels_are_short_and_tell_names_apart() -> None:
    names = ["a" * 100 + str(i) + "b" * 100 for i in range(3)]
    found = unique_labels(names)
    assert len(set(found.values())) == 3
    assert max(map(len, found.values())) <= 52
    assert shorten("ab\ncd") == "ab cd"


def test_thinned_steps_keep_the_ends_and_the_chosen() -> None:
    kept = thin(2000, 40, [777])
    assert {0, 777, 1999} <= set(kept)
    assert len(kept) <= 43
    assert thin(5, 40) == [0, 1, 2, 3, 4]
    assert thin(0, 40) == []


def test_the_lowest_and_the_highest_step_are_drawn_however_many_there_are() -> None:
    report = full(steps=2000)
    report["method"]["trajectory"][1234]["gap"] = -0.9
    found = re.search(r"Gap by step</figcaption>.*?</figure>", html(report), re.S)
    assert found is not None
    assert found[0].count("<circle") <= 2000
    lowest = max(float(y) for y in re.findall(r'cy="([\d.]+)%"', found[0]))
    assert lowest > 89
    assert "step 5: " in found[0]


# An audit.


def estimate(value: float | None, n: int | None = None) -> Document:
    low, high = (None, None) if value is None else (value - 0.03, value + 0.04)
    return {"value": value, "low": low, "high": high} | ({} if n is None else {"n": n})


def calibrated(name: str, rows: int) -> Document:
    return {
        "name": name,
        "rows": rows,
        "base_rate": estimate(0.44),
        "mean_score": 0.51,
        "bias": estimate(0.07),
        "error": 0.071,
        "error_by_chance": 0.022,
        "bins": [
            {
                "from": i / 10,
                "to": (i + 1) / 10,
                "rows": rows // 10,
                "mean_score": (i + 0.5) / 10,
                "rate": estimate(0.1 + 0.08 * i),
            }
            for i in range(10)
        ],
    }


def sweep_point(threshold: float, groups: int = 2) -> Document:
    gap = -max(0.0, threshold) * (1 - threshold)
    rates = [min(1.0, 1 - threshold + 0.01 * i) for i in range(groups)]
    return {"threshold": threshold, "gap": gap, "size": abs(gap), "performance": 0.6 + gap} | {
        "selection_rates": rates
    }


def audited(names: tuple[str, ...] = ("female", "male"), verdict: str = "violated") -> Document:
    """An audit with everything in it."""
    report = full(names, verdict=verdict)
    measured = report["results"]["test"]["debiased"]
    measured["evidence"] = report["evidence"]
    measured["calibration"] = [calibrated("all rows", 800), *(calibrated(n, 400) for n in names)]
    crossed = [f"sex={name} & race=b" for name in names]
    combined = copy.deepcopy(measured["groups"])
    for group, name in zip(combined, crossed, strict=True):
        group["name"] = name
    subgroup = report["subgroups"][0]
    return {
        "schema_version": 2,
        "classes": None,
        "made_by": {"fairfix": "1.2.3", "torch": "2"},
        "table": "test.csv",
        "table_sha256": "c" * 64,
        "rows": 800,
        "rule": report["rule"],
        "confidence": 0.95,
        "groups": {"sex": measured, "<b>race</b>": copy.deepcopy(measured)},
        "intersections": [
            {
                "columns": ["sex", "<b>race</b>"],
                "groups": combined,
                "too_small": crossed[1:],
                "gaps": {"spd": 0.123, "eod": 0.234},
            }
        ],
        "subgroups": {
            "searched": 480,
            "tested": 320,
            "found": [
                {**subgroup, "title": "negative decisions where the label is positive"}
                | {"direction": "lower", "share": 0.2}
            ],
        },
        "threshold_sweep": {
            "metric": "spd",
            "performance": "balanced_accuracy",
            "groups": list(names),
            "current": sweep_point(0.37, len(names)),
            "points": [
                sweep_point(t, len(names)) for t in (-1.0, *(i / 100 for i in range(1, 100)), 1.0)
            ],
        },
        "notes": ["a note"],
    }


AUDIT_SECTIONS = {
    *("column-1", "column-2", "intersections", "thresholds", "subgroups", "rule", "provenance"),
}


def test_an_audit_shows_every_group_column() -> None:
    text = audit_html(audited())
    page = Page(text)
    assert set(page.values("id")) == AUDIT_SECTIONS
    assert {href.removeprefix("#") for href in page.values("href")} == AUDIT_SECTIONS
    words = section(text, "column-2")
    assert words.startswith("By <b>race</b>")
    assert "female n = 400" in words
    assert "0.200 0.163 to 0.241" in words
    assert "Statistical parity difference spd, tested against the budget" in words
    assert "Differences are “female” minus “male”" in words
    assert "inconclusive" not in page.text.lower()


@every_verdict
def test_an_audit_states_its_verdict(verdict: str, tone: str, words: str) -> None:
    text = audit_html(audited(verdict=verdict))
    box = verdict_box(text)
    assert box.startswith(verdict.capitalize())
    assert text.count(f'class="verdict {tone}"') == 2
    assert words in box
    assert "On these 800 rows" in box
    assert not re.search("never saw|test rows", Page(text).text)
    assert "if the estimated gap is at most 0.031" in box
    assert "the probability that at least one of 2 is wrong is higher" in Page(text).text


def test_rows_needed_are_shown_if_no_gap_can_be_certified() -> None:
    report = audited(verdict="too few rows")
    evidence = report["groups"]["sex"]["evidence"]
    evidence |= {"certifiable_gap": None, "rows_needed": {"female": 1234, "male": 2345}}
    box = verdict_box(audit_html(report))
    assert "even a gap of 0 needs about 1,234 of female, 2,345 of male." in box


def test_a_trivial_rule_that_is_audited_is_never_plainly_certified() -> None:
    report = audited(verdict="certified")
    report["groups"]["sex"]["trivial"] = True
    box = verdict_box(audit_html(report))
    assert box.startswith("Certified, by a trivial rule")


def test_one_column_needs_no_list_of_verdicts() -> None:
    report = audited()
    del report["groups"]["<b>race</b>"]
    text = audit_html(report)
    assert 'class="summary"' not in text
    assert "rows by sex." in Page(text).text


def test_the_gap_tested_against_the_budget_is_first_and_has_its_band() -> None:
    report = audited()
    del report["groups"]["<b>race</b>"]
    text = audit_html(report)
    values, places = axis(text, "column-1")

    def at(value: float) -> float:
        share = (value - values[0]) / (values[-1] - values[0])
        return places[0] + share * (places[-1] - places[0])

    (first, second, *_) = strips(text, "column-1")
    for strip in (first, second):
        band = next(c for c in strip if c.attrib.get("class") == "band")
        left, width = (float(band.attrib[k].rstrip("%")) for k in ("x", "width"))
        assert [left, left + width] == pytest.approx([at(-0.05), at(0.05)], abs=0.2)
    whisker = next(c for c in first if "whisker" in c.attrib.get("class", ""))
    ends = [float(whisker.attrib[end].rstrip("%")) for end in ("x1", "x2")]
    assert ends == pytest.approx([at(-0.058), at(0.02)], abs=0.1)


def test_a_ratio_tested_against_a_budget_has_its_own_band() -> None:
    report = audited()
    for measured in report["groups"].values():
        measured["evidence"]["claims"][0]["metric"] = "di"
        measured["gaps"]["di"] = estimate(0.9)
    text = audit_html(report)
    values, places = axis(text, "column-1")
    assert 1.0 in values
    ratio, *others = strips(text, "column-1")
    band = next(c for c in ratio if c.attrib.get("class") == "band")
    left, width = (float(band.attrib[k].rstrip("%")) for k in ("x", "width"))
    slope = (places[-1] - places[0]) / (values[-1] - values[0])
    ends = [places[0] + slope * (value - values[0]) for value in (0.95, 1 / 0.95)]
    assert [left, left + width] == pytest.approx(ends, abs=0.2)
    assert not [c for strip in others for c in strip if c.attrib.get("class") == "band"]


def test_calibration_is_shown_for_all_rows_and_every_group() -> None:
    text = audit_html(audited())
    words = section(text, "column-1")
    assert "all rows n = 800" in words
    assert "0.440 0.410 to 0.480 0.510 0.070 0.040 to 0.110" in words
    assert words.count("error 0.071, by chance 0.022") == 3
    plots = re.findall(r'<svg class="plot square".*?</figure>', text, re.S)
    assert len(plots) == 2 * 3
    whiskers = re.findall(r'<line [^>]*class="whisker rest"[^>]*>', plots[0])
    assert len(whiskers) == 10
    ends = {k: float(v) for k, v in re.findall(r'(x1|y1|y2)="([\d.]+)%"', whiskers[3])}
    assert ends == pytest.approx({"x1": 35, "y1": 100 - 31, "y2": 100 - 38}, abs=0.1)


def matrices(text: str) -> list[tuple[list[float], list[str]]]:
    """The colors and the texts of each confusion matrix."""
    found = re.findall(r'<svg class="confusion".*?</svg>', text, re.S)
    return [
        (
            [float(each) for each in re.findall(r'fill-opacity="([^"]*)"', svg)],
            re.findall(r"<text[^>]*>([^<]*)</text>", svg),
        )
        for svg in found
    ]


def test_confusion_matrices_have_the_counts_of_every_group() -> None:
    report = full()
    female, _ = report["results"]["test"]["debiased"]["groups"]
    female |= {"tp": 1234, "fn": 1, "fp": 0, "tn": 0}
    drawn = matrices(html(report))
    assert len(drawn) == 4  # two groups, before and after
    colors, words = drawn[1]
    assert words[:3] == ["true positives", "1,234", "99.9 %"]
    assert words[3:6] == ["false negatives", "1", "0.1 %"]
    assert words[6:9] == ["false positives", "0", "undefined"]
    assert colors == pytest.approx([0.45 * 1234 / 1235, 0.45 / 1235, 0, 0], abs=0.001)
    others = matrices(audit_html(audited()))
    assert len(others) == 4  # two columns of two groups
    assert others[0][1][:3] == ["true positives", "100", "83.3 %"]


def test_a_report_shows_calibration_before_and_after(place: Place) -> None:
    case = library.load(place.model, place.val)
    outcome = library.debias(case, "prune", test=place.test, subgroups=False)
    report = json.loads(json.dumps(report_document(outcome)))
    rows = outcome.test_rows
    for state, problem in (("unmodified", rows.problem), ("debiased", rows.debiased_problem)):
        parts = report["calibration"][state]
        assert [part["name"] for part in parts] == ["all rows", *problem.group_names]
        scores, labels = problem.scores.double(), problem.labels.double()
        for g, part in enumerate(parts):
            here = (problem.groups == g - 1) if g else (problem.groups >= 0)
            assert part["rows"] == int(here.sum())
            assert part["mean_score"] == pytest.approx(float(scores[here].mean()), abs=1e-6)
            assert part["base_rate"]["value"] == pytest.approx(float(labels[here].mean()))
    shown = section(html(report), "calibration")
    before, after = (report["calibration"][state][0] for state in ("unmodified", "debiased"))
    figures = [
        f"unmodified model {before['mean_score']:.3f} ",
        f"debiased {after['mean_score']:.3f} ",
        f"error {before['error']:.3f} → {after['error']:.3f}",
    ]
    for each in figures:
        assert each in shown
    del report["calibration"]
    assert "calibration" not in Page(html(report)).values("id")


def test_other_models_are_side_by_side_on_the_same_rows(place: Place) -> None:
    case = library.load(place.model, place.val)
    other = library.load(place.model, place.val, threshold=0.3)
    found = library.audit(case, subgroups=False, compare={"old": other})
    report = json.loads(json.dumps(audit_document(found.case, found.rule, found)))
    (old,) = report["compared"]
    alone = library.audit(other, subgroups=False).to_dict()
    (column,) = report["groups"]
    expected = {
        key: value for key, value in alone["groups"][column].items() if key in old["groups"][column]
    }
    assert old["groups"][column] == expected
    (change,) = old["changes"]
    gaps = [each["groups"][column]["gaps"]["spd"]["value"] for each in (old, report)]
    assert [change["before"], change["after"]] == pytest.approx([abs(gap) for gap in gaps])
    assert change["low"] < change["after"] - change["before"] < change["high"]
    kept = [each["groups"][column]["performance"]["balanced_accuracy"] for each in (old, report)]
    assert old["performance_change"]["value"] == pytest.approx(kept[1]["value"] - kept[0]["value"])
    words = section(audit_html(report), "compared")
    for gap in gaps:
        assert format_number(gap) in words
    assert f"minus that of old : {format_number(old['performance_change']['value'])}" in words


def test_a_change_of_a_gap_of_scores_has_no_interval(place: Place) -> None:
    case = library.load(place.model, place.val)
    found = library.audit(case, metric="aucd", subgroups=False, compare={"same": case}).to_dict()
    (change,) = found["compared"][0]["changes"]
    size = abs(found["groups"][change["column"]]["gaps"]["aucd"]["value"])
    assert (change["before"], change["after"]) == (size, size)
    assert (change["low"], change["high"]) == (None, None)


def test_names_from_right_to_left_move_no_number_in_a_sentence() -> None:
    report = audited(("נשים כאן", "male"), "too few rows")
    evidence = report["groups"]["sex"]["evidence"]
    evidence |= {"certifiable_gap": None, "rows_needed": {"נשים כאן": 1234, "male": 2345}}
    assert "1,234 of \u2068נשים כאן\u2069, 2,345 of male" in audit_html(report)


def test_a_sentence_that_begins_with_a_metric_keeps_its_key() -> None:
    report = full()
    report["warnings"] = ["eod is reversed", "the rule is trivial"]
    words = section(html(report), "warnings")
    assert "eod is reversed" in words
    assert "The rule is trivial" in words


def test_models_on_other_rows_are_not_compared(place: Place) -> None:
    case, other = (library.load(place.model, table) for table in (place.val, place.test))
    with pytest.raises(UsageError, match="old was measured on other rows"):
        library.audit(case, subgroups=False, compare={"old": other})


def test_other_thresholds_are_drawn_and_the_one_in_use_is_marked() -> None:
    report = audited()
    text = audit_html(report)
    found = re.search(r'<section id="thresholds">.*?</section>', text, re.S)
    assert found is not None
    assert found[0].count('class="chosen"') == 3
    assert set(re.findall(r'<line x1="([^"]*)"[^>]*class="chosen"', found[0])) == {"37%"}
    lines = re.findall(r'<path d="([^"]*)" class="series s\d" vector', found[0])
    assert len(lines) == 2
    assert {len(re.findall("[ML]", line)) for line in lines} == {101}
    words = Page(found[0]).text
    assert "0.37 −0.233 0.367 0.630 0.640 in use" in words
    assert "must be tested on others" in words


def test_of_many_groups_few_get_a_line() -> None:
    words = section(audit_html(audited(tuple(f"town {i}" for i in range(30)))), "thresholds")
    assert "24 more are in the JSON report" in words
    assert {"town 0", "town 29"} <= set(re.findall(r"town \d+", words))


def test_without_a_shared_threshold_there_are_no_others() -> None:
    report = audited()
    report["threshold_sweep"] = None
    assert "thresholds" not in Page(audit_html(report)).values("id")


def test_intersections_with_too_few_rows_have_no_rates() -> None:
    words = section(audit_html(audited()), "intersections")
    assert "sex and <b>race</b>" in words
    assert "Statistical parity difference 0.123, equal opportunity difference 0.234." in words
    assert "Groups with too few rows: 1." in words
    assert "sex=female & race=b 400 0.200 0.163 to 0.241 n = 400" in words
    assert words.endswith("sex=male & race=b 400 too few rows")


def test_subgroups_show_their_rate_and_rows() -> None:
    report = audited()
    words = section(audit_html(report), "subgroups")
    assert "The search used 480 of these rows; figures and p are from the other 320" in words
    assert "negative decisions where the label is positive , 100 rows" in words
    assert "ositive decisions in" not in words
    report["subgroups"]["found"] = []
    words = section(audit_html(report), "subgroups")
    assert "no subgroup that differs significantly from the rest on the other 320" in words
    assert "no proof that there is none" in words


def test_an_audit_with_nothing_defined_is_still_a_page() -> None:
    def hollow(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: hollow(v) for k, v in value.items()}
        if isinstance(value, list):
            return [hollow(v) for v in value]
        return None if isinstance(value, float) else value

    report = audited()
    for part in ("groups", "intersections", "threshold_sweep", "subgroups"):
        report[part] = hollow(report[part])
    for measured in report["groups"].values():
        measured["evidence"]["claims"][0]["budget"] = 0.05
    for point in (report["threshold_sweep"]["current"], *report["threshold_sweep"]["points"]):
        point["threshold"] = 0.5
        point["selection_rates"] = [None, None]
    report["intersections"][0]["gaps"] = None
    page = Page(audit_html(report))
    assert "undefined" in page.text
    assert not re.search(r"\b(nan|none|null)\b", page.text.replace("there is none", ""), re.I)


def infested_audit(evil: str) -> Document:
    """An audit with a string in every place that takes one from a file."""
    report = fill(audited(), "female", evil)
    report["groups"] = {evil: report["groups"]["sex"]}
    report["table"] = evil
    report["notes"] = [evil]
    report["rule"]["positive_label"] = evil
    report["intersections"][0]["columns"] = [evil, evil]
    report["subgroups"]["found"][0] |= {"where": {evil: evil}, "title": evil}
    report["groups"][evil]["evidence"]["claims"][0] |= {"reason": evil, "test": evil, "title": evil}
    return report


@pytest.mark.parametrize("evil", HOSTILE, ids=range(len(HOSTILE)))
def test_a_string_changes_no_element_of_an_audit(evil: str) -> None:
    harmless = Page(audit_html(infested_audit(re.sub(r"[^ ]", "x", evil))))
    text = audit_html(infested_audit(evil))
    page = Page(text)
    assert page.tags == harmless.tags
    assert not {"script", "img", "link", "iframe"} & {tag for tag, _ in page.tags}
    text.encode("utf-8")
    assert "\u202e" not in text


def test_an_audit_stays_small() -> None:
    names = tuple(f"{i} " + "long name " * 200 for i in range(60))
    report = audited(names)
    measured = report["groups"].pop("sex")
    report["groups"] = {f"column {i}": measured for i in range(10)}
    report["intersections"] *= 45
    assert len(audit_html(report).encode()) < 1_000_000


def test_an_audit_of_a_real_table_is_a_page(place: Place) -> None:
    case = library.load(place.model, place.val)
    rule = DecisionRule(threshold=0.4, output="logit")
    report = json.loads(json.dumps(audit_document(case, rule, library.audit(case, rule))))
    text = audit_html(report)
    assert repr(0.4) in section(text, "rule")
    (measured,) = report["groups"].values()
    claim = measured["evidence"]["claims"][0]
    assert verdict_box(text).startswith(claim["verdict"].capitalize())
    words = section(text, "column-1")
    for figure in (*measured["gaps"].values(), *(p["bias"] for p in measured["calibration"])):
        value, low, high = (format_number(figure[key]) for key in ("value", "low", "high"))
        assert f"{value} {low} to {high}" in words
    assert "in use" in section(text, "thresholds")


# In a browser.

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
MEASURE = """<!doctype html><meta charset="utf-8"><body>%s<pre id="found"></pre><script>
onload = () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, edge = frame.clientWidth;
    const scrolls = e => e && (getComputedStyle(e).overflowX !== "visible" || scrolls(e.parentElement));
    const out = [...page.body.querySelectorAll("body *")].filter(
      e => e.getBoundingClientRect().right > edge + 0.5 && !scrolls(e));
    return {name: frame.name, width: edge, scroll: page.documentElement.scrollWidth,
            out: out.map(e => e.outerHTML.slice(0, 80))};
  });
  document.getElementById("found").textContent = JSON.stringify(found);
};
</script></body>"""  # noqa: E501


def browse(folder: Path, pages: dict[str, str]) -> tuple[dict[str, Document], list[str]]:
    """Lay the pages out at two widths: what sticks out, and what the console says."""
    assert BROWSER is not None
    frames = ""
    for name, text in pages.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
        for width in (360, 1280):
            style = f"width:{width}px;height:900px;border:0"
            frames += f'<iframe name="{name} {width}" src="{name}.html" style="{style}"></iframe>'
    (folder / "measure.html").write_text(MEASURE % frames, encoding="utf-8")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files")
    logs = ("--enable-logging=stderr", "--v=0", f"--user-data-dir={folder / 'profile'}")
    url = (folder / "measure.html").as_uri()
    ended = subprocess.run(
        [BROWSER, *flags, *logs, "--dump-dom", url],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="found">(.*?)</pre>', ended.stdout, re.S)
    assert found is not None
    plain_text = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    measured = {frame["name"]: frame for frame in json.loads(plain_text)}
    return measured, [line for line in ended.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Document], list[str]]:
    if BROWSER is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on this machine")
    return browse(
        tmp_path_factory.mktemp("pages"),
        {
            "full": html(full(steps=300)),
            "plain": html(plain()),
            "audit": audit_html(audited()),
            "audit-evil": audit_html(infested_audit(HOSTILE[0])),
            "audit-wide": audit_html(infested_audit(HOSTILE[6])),
            "audit-wordy": audit_html(infested_audit(HOSTILE[7])),
            "audit-many": audit_html(audited(tuple(f"group number {i}" for i in range(60)))),
            "evil": html(infested(full(), HOSTILE[0])),
            "wide": html(infested(full(), HOSTILE[6])),
            "wordy": html(infested(full(), HOSTILE[7])),
            "many": html(full(tuple(f"group number {i}" for i in range(60)))),
        },
    )


Layout = tuple[dict[str, Document], list[str]]


def test_nothing_overflows_on_narrow_and_wide_screens(laid_out: Layout) -> None:
    for name, frame in laid_out[0].items():
        assert frame["scroll"] <= frame["width"], (name, frame["out"][:5])
        assert frame["out"] == [], name


def test_the_console_stays_silent(laid_out: Layout) -> None:
    assert laid_out[1] == []


@pytest.mark.skipif(BROWSER is None, reason="no browser on this machine")
def test_the_layout_check_detects_overflow_and_console_messages(tmp_path: Path) -> None:
    page = "<body><div style='width:2000px'>wide</div><script>console.error('loud')</script>"
    measured, console = browse(tmp_path, {"bad": page})
    assert measured["bad 1280"]["scroll"] > 1280
    assert measured["bad 360"]["out"]
    assert any("loud" in line for line in console)
