"""The threshold explorer: embedded counts, figures of the script, and the page in a browser."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fairfix as library
from fairfix.data.problem import Problem
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.performance import PERFORMANCES
from fairfix.report.explorer import Explored, ExploredColumn, explorer_section, script
from fairfix.report.html import audit_html, html
from fairfix.stats.confidence import DEFAULT_CONFIDENCE
from fairfix.stats.rate_estimates import group_rate_intervals
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.score_bins import score_bins, score_edges
from fairfix.workflows.audit import Audit
from fairfix.workflows.case import Case
from fairfix.workflows.documents import audit_document, report_document
from fairfix.workflows.explored import explored_audit, explored_outcome
from tests.helpers.browser import BROWSER, Tab, browser
from tests.helpers.runs import Place, Run

Data = dict[str, Any]
NODE, PDFTOTEXT = shutil.which("node"), shutil.which("pdftotext")
AXE = os.environ.get("AXE")
EVIL = "</script><script>alert(1)</script><!--<script>\u2028&lt;"
CLAIM = {"metric": "spd", "budget": 0.05}
GATE = "fairfix gate MODEL NEW_ROWS.csv"
PR = "Precision-recall by group"


def problem(
    n: int = 600, groups: int = 2, *, weights: bool = False, labeled: bool = True, seed: int = 0
) -> Problem:
    rng = np.random.default_rng(seed)
    group = np.arange(n) % groups
    score = np.clip(rng.normal(0.45 + 0.1 * group / groups, 0.2, n), 0, 1).astype(np.float32)
    label = (rng.random(n) < score).astype(np.int64) if labeled else np.zeros(n, np.int64)
    return Problem(
        scores=torch.from_numpy(score),
        labels=torch.from_numpy(label),
        groups=torch.from_numpy(group),
        group_names=tuple(f"group {g}" for g in range(groups)),
        weights=torch.from_numpy(rng.uniform(0.2, 3, n)) if weights else None,
        labeled=labeled,
    )


def explored(rows: Problem, *thresholds: float, **other: Any) -> Explored:
    edges = score_edges(rows.scores, thresholds)
    column = ExploredColumn("sex", score_bins(rows, edges), None)
    rule = DecisionRule(threshold=0.5).to_json()
    given = {"exact": False, "clustered": False, "sweep": None, "gate": GATE} | other
    return Explored((column,), rule, 0.5, 0.05, **given)


def embedded(text: str) -> Data:
    """The data of a page."""
    (found,) = re.findall(
        r'<script type="application/json" id="explorer-data">(.*?)</script>', text
    )
    data: Data = json.loads(found)
    return data


def data_of(found: Explored) -> Data:
    data: Data = json.loads(explorer_section(found, CLAIM, "balanced_accuracy")["data"])
    return data


# Counts.


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("groups", [2, 3])
def test_counts_at_every_threshold_are_those_of_its_decisions(groups: int, weights: bool) -> None:
    rows = problem(groups=groups, weights=weights)
    edges = score_edges(rows.scores, [0.123, 0.5])
    found = score_bins(rows, edges).counts()
    assert {-1.0, 0.123, 0.5, 1.0} <= set(edges)
    assert list(edges) == sorted(edges)
    for k, edge in enumerate(edges):
        expected = rows.counts(rows.scores > edge)
        for here, there in zip(found.take(k).sides, expected.sides, strict=True):
            torch.testing.assert_close(here, there, rtol=0, atol=1e-9 if weights else 0)


def test_thresholds_are_quantiles_in_short_decimals() -> None:
    rows = problem(20_000)
    edges = score_edges(rows.scores)
    assert 480 < len(edges) <= 514
    above = score_bins(rows, edges).above.sum(1)
    assert float((above[:-1] - above[1:]).max()) < 3 * 20_000 / 512 + int((rows.scores == 0).sum())
    assert np.median([len(repr(edge)) for edge in edges]) <= 7


def test_few_rows_have_few_thresholds() -> None:
    assert len(score_edges(problem(200).scores)) <= 22
    assert score_edges(torch.full((50,), 0.3)) == (-1.0, 1.0)


@pytest.mark.parametrize("labeled", [True, False])
def test_groups_with_fewer_than_ten_rows_of_a_label_are_left_out(labeled: bool) -> None:
    rows = problem(groups=3, labeled=labeled)
    few = (rows.groups != 2) | (rows.labels == 0) & (torch.arange(600) < (30 if labeled else 27))
    found = score_bins(rows.take(few), score_edges(rows.scores))
    assert (found.groups, found.left_out) == (("group 0", "group 1"), ("group 2",))
    assert found.above.shape[1] == 4


# The page.


@pytest.fixture(scope="module")
def audited_case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    rng = np.random.default_rng(1)
    folder = tmp_path_factory.mktemp("scores")
    lines = ["score,label,sex,race"]
    for i in range(600):
        score = round(float(np.clip(rng.normal(0.4 + 0.2 * (i % 2), 0.2), 0, 1)), 4)
        lines.append(f"{score},{int(rng.random() < score)},{'fm'[i % 2]},{'abc'[i % 3]}")
    (folder / "rows.csv").write_text("\n".join(lines))
    return library.load(
        None, folder / "rows.csv", score="score", group=["sex", "race"], privileged="m"
    )


def audit_page(case: Case, rule: DecisionRule) -> str:
    found: Audit = library.audit(case, rule, subgroups=False, compare={"today": case})
    document = audit_document(case, rule, found)
    return audit_html(document, explored_audit(case, rule, DEFAULT_CONFIDENCE, document))


@pytest.fixture(scope="module")
def page(audited_case: Case) -> str:
    return audit_page(audited_case, DecisionRule(threshold=0.4))


def test_an_audit_page_embeds_the_counts_of_every_column(page: str, audited_case: Case) -> None:
    data = embedded(page)
    assert [column["name"] for column in data["columns"]] == ["sex", "race"]
    scores = audited_case.problem.scores.numpy()
    labels = audited_case.problem.labels.numpy()
    for column, group in zip(data["columns"], audited_case.table.groups, strict=True):
        assert column["names"] == list(group.names)
        assert column["start"] == [0.4] * len(group.names)
        for g, cells in enumerate(column["above"]):
            for label, above in enumerate(cells):
                here = scores[(group.ids == g) & (labels == label)]
                assert above == [int((here > edge).sum()) for edge in data["edges"]]


def test_the_command_that_tests_a_choice_runs_with_the_roles_of_the_audit(
    audited_case: Case, page: str, fairfix: Run, tmp_path: Path
) -> None:
    found = re.search(r'<code id="explorer-command">([^<]*)</code>', page)
    assert found is not None
    words = shlex.split(found[1])
    assert words[:5] == ["fairfix", "gate", "NEW_ROWS.csv", "--score", "score"]
    assert words[5:11] == ["--privileged", "m", "--group", "sex", "--group", "race"]
    new = tmp_path / "new.csv"
    draws = np.random.default_rng(1).random((400, 2))
    lines = [f"{s},{int(y < s)},{'fm'[i % 2]},{'abc'[i % 3]}" for i, (s, y) in enumerate(draws)]
    new.write_text("\n".join(["score,label,sex,race", *lines]))
    ended = fairfix(*(str(new) if word == "NEW_ROWS.csv" else word for word in words[1:]))
    assert ended.code in (0, 1, 3), ended.err


def test_the_policy_allows_the_script_of_the_page_alone(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe-inline" not in policy[1].partition("script-src")[2]
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    assert scripts == [script()]
    assert not re.search(r"https?:|fetch\(|XMLHttp|import\(|\beval\b|innerHTML", scripts[0])
    assert len(scripts[0].encode()) < 20_000


def test_without_data_a_page_has_no_script(audited_case: Case) -> None:
    rule = DecisionRule(threshold=0.4)
    document = audit_document(audited_case, rule, library.audit(audited_case, rule))
    assert "<script" not in audit_html(document)
    assert "script-src" not in audit_html(document)


def test_hostile_names_stay_inside_the_data(audited_case: Case) -> None:
    found = explored(problem())
    column = replace(found.columns[0], name=EVIL)
    column = replace(column, bins=replace(column.bins, groups=(EVIL, "b")))
    rule = {**found.rule, "group_column": EVIL}
    rule_of = DecisionRule(threshold=0.4)
    document = audit_document(audited_case, rule_of, library.audit(audited_case, rule_of))
    text = audit_html(document, replace(found, columns=(column,), rule=rule))
    assert len(re.findall(r"<script\b", text)) == text.count("</script>") == 2
    assert "<!--<" not in text
    data = embedded(text)
    assert data["columns"][0]["names"] == [EVIL, "b"]
    assert data["rule"]["group_column"] == EVIL


def test_a_report_has_an_explorer_of_its_test_rows(place: Place) -> None:
    case = library.load(place.model, place.val)
    outcome = library.debias(case, "thresholds", test=place.test, subgroups=False)
    data = embedded(html(report_document(outcome), explored_outcome(outcome)))
    column = data["columns"][0]
    at = [data["edges"].index(value) for value in column["start"]]
    groups = outcome.test.debiased.groups
    assert column["names"] == [group.name for group in groups]
    for cells, i, group in zip(column["above"], at, groups, strict=True):
        assert (cells[1][i], cells[0][i]) == (group.tp, group.fp)
    written = library.save(outcome, place.folder / "new.pt")
    assert embedded(written.html.read_text(encoding="utf-8")) == data


def test_randomized_thresholds_have_no_position(audited_case: Case) -> None:
    rule = DecisionRule(
        randomized_thresholds={"f": ((0.6, 1.0), (0.2, 0.3)), "m": ((0.5, 1.0),)},
        group_column="sex",
        salt="s",
    )
    document = audit_document(
        audited_case, DecisionRule(threshold=0.5), library.audit(audited_case, subgroups=False)
    )
    found = explored_audit(audited_case, rule, DEFAULT_CONFIDENCE, document)
    assert found is not None
    assert [column.in_use for column in found.columns] == [None, None]
    assert "randomized or by another column; the sliders begin at 0.5" in audit_html(
        document, found
    )


# The script in a real engine.


def run(data: Data, expression: str) -> Any:
    """The value of an expression of the script's functions ``E``, the data and its column."""
    if NODE is None:
        pytest.skip("no node on this machine")
    code = f"const data = {json.dumps(data)}, column = data.columns[0];\n{script()}\n"
    code += f"process.stdout.write(JSON.stringify({expression}))"
    ended = subprocess.run([NODE, "-"], input=code, capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


@pytest.mark.parametrize(
    ("groups", "weights", "exact"), [(2, False, False), (3, True, False), (2, False, True)]
)
def test_figures_equal_those_of_python(groups: int, weights: bool, exact: bool) -> None:
    rows = problem(groups=groups, weights=weights)
    found = explored(rows, exact=exact)
    data = data_of(found)
    # Not where a group has no decision of a kind: weighted rows leave round-off in Python there.
    chosen = list(range(9 if weights else 0, len(data["edges"]) - (9 if weights else 0), 3))
    raw = run(
        data,
        f"""{chosen}.map(i => {{
          const at = column.groups.map((_, g) => Math.max(0, i - g));
          const counts = E.counts(column, at);
          return {{
            gaps: data.metrics.map(m => [m.key, E.gap(m, data, counts)]),
            performance: data.performances.map(([k]) => [k, E.performance(k, E.total(counts))]),
            rates: counts.map((c, g) => data.shown.map(key => {{
              const s = E.share(data.rates[key], c, data.labeled);
              return [key, E.value(s), E.interval(s.hits, s.trials, data, column.effects[g])];
            }})),
          }};
        }})""",
    )
    confidence = replace(DEFAULT_CONFIDENCE, exact=exact)
    for i, figures in zip(chosen, raw, strict=True):
        at = torch.tensor([data["edges"][max(0, i - g)] for g in range(groups)])
        counts = rows.counts(rows.scores.double() > at.double()[rows.groups])
        for key, value in figures["gaps"]:
            gap = METRICS[key](counts)
            for name, expected in (("value", gap.value), ("size", gap.size)):
                assert_equal(value[name], float(expected))
        for key, value in figures["performance"]:
            assert_equal(value, float(PERFORMANCES[key](counts)))
        for of_group, intervals in zip(
            figures["rates"], group_rate_intervals(counts, confidence), strict=True
        ):
            for key, _, ends in of_group:
                assert ends == pytest.approx([intervals[key].low, intervals[key].high], abs=1e-9)


def assert_equal(found: float | None, expected: float) -> None:
    """JSON has null for NaN and infinity."""
    if found is None:
        assert not np.isfinite(expected)
    else:
        assert found == pytest.approx(expected, abs=1e-12)


def test_the_chosen_rule_decides_as_the_explorer_counts() -> None:
    rows = problem()
    data = data_of(explored(rows))
    both = run(data, "[[9, 9], [9, 14]].map(at => [E.rule(data, column, at), at, "
                     "E.counts(column, at), E.command(data, column, at)])")  # fmt: skip
    for raw, at, counts, command in both:
        rule = DecisionRule.from_json(raw)
        decided = rule.decide(rows.scores, rows.groups, rows.group_names)
        assert rows.counts(decided).tp.tolist() == [count["tp"] for count in counts]
        threshold = f"--threshold {data['edges'][9]}"
        how = threshold if len(set(at)) == 1 else "--rule chosen.rule.json"
        assert command == f"fairfix gate MODEL NEW_ROWS.csv {how} --budget spd=0.05"


def test_the_tradeoff_curve_has_no_dominated_point() -> None:
    rows = problem()
    data = data_of(explored(rows))
    points = run(data, "E.tradeoff(data, column)")
    gaps, kept = ([point[key] for point in points] for key in ("gap", "performance"))
    assert gaps == sorted(gaps)
    assert kept == sorted(set(kept))
    counts = score_bins(rows, tuple(data["edges"])).counts()
    assert kept[-1] == pytest.approx(float(PERFORMANCES["balanced_accuracy"](counts).max()))


def operating_points(text: str) -> dict[str, list[tuple[float, float]]]:
    """The visible operating points of each chart by its vertical rate, in percent."""
    found: dict[str, list[tuple[float, float]]] = {"tpr": [], "ppv": []}
    marks = re.findall(
        r'<svg x="([^"%]+)%" y="([^"%]+)%" overflow="visible" visibility="visible" '
        r'data-group="\d+" data-x="\w+" data-y="(\w+)">',
        text,
    )
    for x, y, rate in marks:
        found[rate].append((float(x), float(y)))
    return found


def test_curves_by_group_have_the_rates_of_the_thresholds_in_use() -> None:
    rows = problem(groups=3)
    found = explored(rows, 0.5)
    column = replace(found.columns[0], in_use=(0.5, 0.5, 1.0))
    section = explorer_section(replace(found, columns=(column,)), CLAIM, "accuracy")
    counts = rows.counts(rows.scores > 0.5)
    expected: dict[str, list[tuple[float, float]]] = {"tpr": [], "ppv": []}
    for tp, fp, fn, tn in zip(*(side.tolist() for side in counts.sides), strict=True):
        expected["tpr"].append((100 * fp / (fp + tn), 100 - 100 * tp / (tp + fn)))
        expected["ppv"].append((100 * tp / (tp + fn), 100 - 100 * tp / (tp + fp)))
    expected["tpr"][2] = (0, 100)
    del expected["ppv"][2]  # no positive decisions
    points = operating_points("".join(section["curves"].values()))
    for rate, places in expected.items():
        assert points[rate] == [pytest.approx(place, abs=0.051) for place in places]
    lines = re.findall(r'd="([^"]*)" class="series s0"', section["curves"][PR])
    assert [line.count("M") for line in lines] == [1]


def test_a_group_has_the_same_line_on_every_chart() -> None:
    section = explorer_section(
        explored(problem(groups=3)), CLAIM, "accuracy", ["other", "group 2", "group 0"]
    )
    assert section["curve_labels"] == [(1, "group 2"), (2, "group 0")]
    for drawing in section["curves"].values():
        assert re.findall(r'class="series (s\d)"', drawing) == ["s1", "s2"]


# In a browser.


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    if BROWSER is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on this machine")
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def words(tab: Tab, name: str) -> str:
    return " ".join(tab.value(f"document.getElementById('explorer-{name}').innerText").split())


def test_the_keyboard_moves_thresholds(tab: Tab, page: str, tmp_path: Path) -> None:
    file = tmp_path / "audit.html"
    file.write_text(page, encoding="utf-8")
    tab.open(file)
    data = embedded(page)
    at = data["edges"].index(0.4)
    assert tab.value("document.getElementById('explorer-panel').hidden") is False
    tab.value("document.getElementById('explorer-all').focus()")
    tab.press("ArrowRight", "ArrowRight")
    threshold = data["edges"][at + 2]
    assert f"--threshold {threshold} " in words(tab, "command")
    assert tab.value("document.activeElement.getAttribute('aria-valuetext')") == f"{threshold:.4g}"
    female, male = (
        [cells[label][at + 2] for label in (1, 0)] for cells in data["columns"][0]["above"]
    )
    shown = tab.value("document.getElementById('explorer-counts').textContent")
    assert f"f{female[0]}{female[1]}" in shown
    marks = tab.value("[...document.querySelectorAll('#explorer svg[data-y=ppv]')]"
                      ".map(mark => mark.getAttribute('y'))")  # fmt: skip
    precision = [yes / (yes + no) for yes, no in (female, male)]
    assert marks == [f"{100 - 100 * each!r}%" for each in precision]
    sizes = [cells[0][0] + cells[1][0] for cells in data["columns"][0]["above"]]
    spd = sum(female) / sizes[0] - sum(male) / sizes[1]
    assert f"{spd:.3f}".replace("-", "\u2212") in words(tab, "gaps")
    assert f"Statistical parity difference {spd:.3f}".replace("-", "\u2212") in words(tab, "status")

    tab.value("document.getElementById('explorer-each').focus()")
    tab.press(" ")
    assert tab.value("document.querySelectorAll('#explorer-sliders input').length") == 2
    tab.value("document.getElementById('explorer-at-1').focus()")
    tab.press("Home")
    rule = json.loads(tab.value("document.getElementById('explorer-rule').textContent"))
    assert rule["thresholds"] == {"f": threshold, "m": -1.0}
    tab.value("document.getElementById('explorer-reset').click()")
    assert "--threshold 0.4 " in words(tab, "command")
    tab.value("const c = document.getElementById('explorer-column'); c.value = '1';"
              "c.dispatchEvent(new Event('change'))")  # fmt: skip
    assert words(tab, "sign") == "Gaps are largest minus smallest."
    assert tab.console == []


@pytest.fixture(scope="module")
def pages(page: str, audited_case: Case) -> dict[str, str]:
    outcome = library.debias(audited_case, "thresholds", subgroups=False)
    return {"audit": page, "report": html(report_document(outcome), explored_outcome(outcome))}


@pytest.mark.skipif(AXE is None, reason="AXE does not name axe.min.js of the npm package axe-core")
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("kind", ["audit", "report"])
def test_axe_finds_no_violation(
    tab: Tab, pages: dict[str, str], tmp_path: Path, kind: str, width: int, dark: bool
) -> None:
    file = tmp_path / f"{kind}.html"
    file.write_text(pages[kind], encoding="utf-8")
    tab.show(width, dark=dark)
    tab.open(file)
    tab.value("for (const part of document.querySelectorAll('details')) part.open = true; 0")
    assert AXE is not None
    tab.value(f"{Path(AXE).read_text(encoding='utf-8')}; 0")
    found = tab.value("axe.run().then(run => run.violations.map(each => [each.id, "
                      "each.nodes.map(node => node.html)]))")  # fmt: skip
    assert found == []


@pytest.mark.parametrize("kind", ["audit", "report"])
def test_in_print_no_heading_ends_a_page_and_nothing_is_folded(
    tab: Tab, pages: dict[str, str], tmp_path: Path, kind: str
) -> None:
    if PDFTOTEXT is None:
        pytest.skip("no pdftotext on this machine")
    file, printed = tmp_path / "page.html", tmp_path / "page.pdf"
    file.write_text(pages[kind], encoding="utf-8")
    tab.open(file)
    headings = set(tab.value("[...document.querySelectorAll('h2, h3, figcaption')]"
                             ".map(each => each.innerText.split('\\n')[0].trim())"))  # fmt: skip
    legends = tab.value("[...document.querySelectorAll('svg.plot ~ .legend, .plots + .legend')]"
                        ".map(each => each.innerText)")  # fmt: skip
    printed.write_bytes(tab.pdf())
    ended = subprocess.run(
        [PDFTOTEXT, "-layout", printed, "-"], capture_output=True, text=True, check=True
    )
    sheets = [sheet.split("\n") for sheet in ended.stdout.split("\f") if sheet.strip()]
    for sheet in sheets:
        first, last = (line.strip() for line in (sheet[0], [each for each in sheet if each][-1]))
        assert not any(re.fullmatch(rf"[▼▶▾▸]?\s*{re.escape(each)}", last) for each in headings)
        assert first.split() not in [legend.split() for legend in legends]
    for heading, axis in {
        "ROC by group": "True positive rate",
        "Precision-recall by group": "Recall (true positive rate)",
        "Gap by threshold": "Statistical parity difference",
        "Selection rate by threshold": "Shared threshold",
    }.items():
        (found,) = [text for sheet in sheets if heading in (text := "\n".join(sheet))]
        assert axis in found, (heading, found)
    assert "SHA-256" in ended.stdout  # in a folded section


def test_without_scripts_the_charts_are_there(tab: Tab, page: str, tmp_path: Path) -> None:
    file = tmp_path / "audit.html"
    file.write_text(page, encoding="utf-8")
    tab.use_scripts(False)
    try:
        tab.open(file)
        shown = tab.value("document.body.innerText")
        assert "The sliders need JavaScript" in shown
        plots = "[...document.querySelectorAll('#explorer svg.plot')]"
        assert tab.value(f"{plots}.filter(each => each.checkVisibility()).length") == 5
        assert tab.value("document.getElementById('explorer-panel').offsetHeight") == 0
    finally:
        tab.use_scripts(True)
