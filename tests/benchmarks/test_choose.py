"""The bed to choose methods on: kept files, figures, reports, and the confirming seeds."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import linprog

from fairfix.bench.synthetic import SyntheticRows, loh, zafar
from fairfix.bench.training import Recipe
from fairfix.errors import UsageError
from fairfix.methods._gap_training import train_jobs
from fairfix.metrics.counts import count_cells
from fairfix.thresholds.shared import best_threshold
from tests.helpers.paths import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks.choose import __main__ as program
from benchmarks.choose import snapshots as snapshot_module
from benchmarks.choose.bed import (
    CHOOSING,
    CONFIRMING,
    Bed,
    Cell,
    cells,
    write_arrays,
    write_file,
)
from benchmarks.choose.bounds import bound
from benchmarks.choose.confirming import RECORD, committed_choice, open_confirming_seeds
from benchmarks.choose.label_models import KINDS, blind_scores, reveals, rule_lines
from benchmarks.choose.peer_results import PEERS, compute_peer_results
from benchmarks.choose.report import clustered_mean, compare_settings, report, summary
from benchmarks.choose.results import (
    Line,
    kept_results,
    objective_of,
    result_path,
    results,
    setting_lines,
)
from benchmarks.choose.settings import Candidates, Setting, all_settings, threshold_counts
from benchmarks.choose.snapshots import snapshot_lines, snapshot_weights, snapshots
from benchmarks.choose.stages import network_scores

CELL = Cell("loh/alpha=1", 0)
NAMES = ("identity", "thresholds")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path, Recipe(depth=1, width=4, epochs=1), fresh_test_rows=300)


def line(method: str, data_set: str, seed: int, tp: int, fp: int) -> Line:
    """A line of 100 favorable and 100 unfavorable rows a group, with equal rates by default."""
    counts = {"tp": (tp, 60), "fp": (fp, 20), "fn": (100 - tp, 40), "tn": (100 - fp, 80)}
    return Line(Cell(data_set, seed), "spd", method, counts)


def test_a_stopped_run_continues_with_what_is_missing(bed: Bed) -> None:
    first = list(results(bed, CELL, NAMES))
    files = {path: path.stat().st_mtime_ns for path in bed.folder.rglob("*") if path.is_file()}
    assert len(files) == 1 + 4  # network; two methods and two metrics
    lost = bed.path("results", CELL, "-eod-thresholds.json")
    lost.unlink()
    assert list(results(bed, CELL, NAMES)) == first
    again = {path: path.stat().st_mtime_ns for path in files}
    assert {path for path in files if again[path] != files[path]} == {lost}
    assert kept_results(bed, [CELL, Cell("loh/alpha=1", 1)], NAMES) == first


def test_scores_are_kept_with_labels_and_groups(bed: Bed) -> None:
    network_scores(bed, CELL)
    with np.load(bed.path("scores", CELL, ".npz")) as kept:
        arrays = dict(kept)
    for part, problem in zip(("validation", "test"), bed.problems(CELL), strict=True):
        for name in ("scores", "labels", "groups"):
            expected = getattr(problem, name).numpy()
            np.testing.assert_array_equal(arrays[f"{part}_{name}"], expected)
    assert len(arrays["test_scores"]) == 300


def test_counts_are_those_of_the_test_rows(bed: Bed) -> None:
    (found,) = (each for each in results(bed, CELL, ["identity"]) if each.metric == "spd")
    _, test = bed.problems(CELL)
    cell = [((test.groups == g) & (test.labels == label)).sum() for label in (0, 1) for g in (0, 1)]
    counts = found.counts
    assert [*counts["fp"], *counts["tp"]] != cell
    for both, (hit, miss) in zip((cell[:2], cell[2:]), (("fp", "tn"), ("tp", "fn")), strict=True):
        assert [h + m for h, m in zip(counts[hit], counts[miss], strict=True)] == both


def test_cells_run_seed_by_seed() -> None:
    order = [(cell.data_set, cell.seed) for cell in cells(["a", "b"], range(2))]
    assert order == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_the_ceiling_is_how_often_equal_rates_hold_the_budget() -> None:
    counts = {"tp": (30, 240), "fp": (0, 0), "fn": (70, 560), "tn": (250, 2000)}
    figures = Line(CELL, "eod", "gda", counts).figures()
    rng = np.random.default_rng(0)
    gaps = rng.binomial(100, 0.3, 200_000) / 100 - rng.binomial(800, 0.3, 200_000) / 800
    simulated = (np.abs(gaps) < 0.05 - 1e-9).mean()
    assert figures["ceiling"] == pytest.approx(simulated, abs=0.01)
    assert figures["held"]
    assert figures["gap"] == 0


def test_figures_of_a_line() -> None:
    held = line("gda", "adult/sex", 0, 64, 24).figures()
    assert held["gap"] == pytest.approx((64 + 24) / 200 - (60 + 20) / 200)
    accuracy = ((64 + 60) / 200 + 1 - (24 + 20) / 200) / 2
    assert held["objective"] == held["balanced_accuracy"] == pytest.approx(accuracy)
    assert held["above_chance"] == pytest.approx(accuracy - 0.5)
    missed = line("gda", "adult/sex", 0, 67, 24).figures()
    assert missed["gap"] == pytest.approx(0.055)
    assert (missed["held"], missed["objective"], missed["above_chance"]) == (False, 0, 0)
    assert missed["family"] == "adult"


def test_errors_are_clustered() -> None:
    values = pd.Series([0.0, 0.2, 0.6, 0.8])
    mean = clustered_mean(values, pd.Series(["a", "a", "b", "b"]))
    # cluster sums of residuals: -0.6 and 0.6
    assert mean.value == pytest.approx(0.4)
    assert mean.error == pytest.approx(math.sqrt(2 / 1 * (0.36 + 0.36)) / 4)
    assert mean.low == pytest.approx(0.4 - 3.0777 * mean.error, abs=1e-4)
    alone = clustered_mean(values, pd.Series(range(4)))
    assert alone.error == pytest.approx(values.std() / 2)
    assert math.isnan(clustered_mean(values, pd.Series([0] * 4)).error)


def test_the_report_against_figures_by_hand() -> None:
    lines = [
        *(line("gda", "adult/sex", seed, 60, 20) for seed in (0, 1)),  # BA 0.7, held
        *(line("gda", "bank/age", seed, 60, 20) for seed in (0, 1)),
        line("new", "adult/sex", 0, 70, 10),  # BA 0.75, gap 0, held
        line("new", "adult/sex", 1, 70, 40),  # gap 0.15, not held
        line("new", "bank/age", 0, 70, 10),
        line("new", "bank/age", 1, 70, 10),
        line("new", "compas/race", 0, 70, 10),  # no gda: left out
    ]
    text = report(lines, "spd", ["new", "gda"])
    assert "adult/sex 2, bank/age 2." in text
    rows = {
        (table, cells[0]): cells[1:]
        for table, part in enumerate(text.split("\n\n"))
        for cells in [row.strip("| ").split(" | ") for row in part.splitlines()]
    }
    # objective of new: 0.75, 0, 0.75, 0.75
    objective, above, held, ceiling, accuracy = rows[1, "new"]
    assert objective.startswith("0.562 ± ")
    assert (above, held) == ("0.188", "0.750")
    assert accuracy == f"{(0.75 * 3 + 0.675) / 4:.3f}"
    assert 0 < float(ceiling) < 1
    assert rows[1, "gda"][0] == "0.700 ± 0.000"
    assert rows[2, "new"][0].startswith("0.375 ± 0.375; 0.50/")
    assert rows[2, "new"][1].startswith("0.750 ± 0.000; 1.00/")
    assert rows[3, "new"][1] == f"-0.325 (0.375; {-0.325 - 3.0777 * 0.375:+.3f})"
    assert rows[3, "new"][2] == "+0.050 (0.000; +0.050)"
    assert "No cell" in report(lines, "eod", ["gda"])


# The confirming seeds.


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    file = tmp_path / "repository" / "choice.toml"
    file.parent.mkdir()
    git(file, "init", "-q")
    commit(file, 'spd = ["gda"]\neod = ["prune", "gda"]\n')
    return file


def git(file: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *words], cwd=file.parent, check=True, capture_output=True)


def commit(file: Path, text: str) -> None:
    file.write_text(text)
    git(file, "add", file.name)
    git(file, "commit", "-q", "-m", "Choose")


def test_a_committed_choice_is_accepted(committed: Path) -> None:
    choice = committed_choice(committed)
    assert choice.named == {"spd": ("gda",), "eod": ("prune", "gda")}
    assert choice.methods == ("gda", "prune")
    assert len(choice.commit) == 40


def test_a_choice_that_is_not_committed_is_refused(committed: Path) -> None:
    committed.write_text('spd = ["prune"]\neod = ["prune"]\n')
    with pytest.raises(UsageError, match="not as committed"):
        committed_choice(committed)
    new = committed.with_name("other.toml")
    new.write_text(committed.read_text())
    with pytest.raises(UsageError, match="not as committed"):
        committed_choice(new)


@pytest.mark.parametrize(
    ("text", "message"),
    [('spd = ["gda"]\n', "no method for eod"), ('spd = ["gda"]\neod = ["gdaa"]\n', "gdaa")],
)
def test_a_choice_without_a_known_method_is_refused(
    committed: Path, text: str, message: str
) -> None:
    commit(committed, text)
    with pytest.raises(UsageError, match=message):
        committed_choice(committed)


def test_the_confirming_seeds_serve_one_choice(committed: Path, tmp_path: Path) -> None:
    choice = committed_choice(committed)
    assert "first time" in open_confirming_seeds(tmp_path, choice)
    record = json.loads((tmp_path / RECORD).read_text())
    assert record["methods"] == ["gda", "prune"]
    assert record["commit"] == choice.commit
    assert "used before" in open_confirming_seeds(tmp_path, choice)
    commit(committed, 'spd = ["prune"]\neod = ["prune"]\n')
    with pytest.raises(UsageError, match="confirm another choice on new seeds"):
        open_confirming_seeds(tmp_path, committed_choice(committed))


def test_confirming_without_a_choice_computes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise UsageError("choice.toml names no method")

    monkeypatch.setattr(program, "committed_choice", refuse)
    with pytest.raises(SystemExit) as stopped:
        program.main(["confirm", "--folder", str(tmp_path)])
    assert stopped.value.code == 2
    assert "names no method" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_reports_never_read_the_confirming_seeds(
    bed: Bed, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, tables in ((CONFIRMING[0], 0), (CHOOSING[0], 1)):
        kept = line("gda", CELL.data_set, seed, 60, 20)
        write_file(result_path(bed, kept.cell, "spd", "gda"), kept.to_json().encode())
        program.main(["report", "--folder", str(bed.folder), "--methods", "gda"])
        assert capsys.readouterr().out.count("| gda | 0.700 |") == tables


def test_peers_run_in_their_own_process_and_continue(bed: Bed, tmp_path: Path) -> None:
    """A stand-in for their Python: it counts its calls and answers for each file."""
    python = tmp_path / "python"
    answer = '{"tp": [1, 2], "fp": [3, 4], "fn": [5, 6], "tn": [7, 8]}'
    python.write_text(
        f"#!/bin/sh\necho $2-$3-$4-$5 >> {tmp_path}/calls\nshift 5\n"
        f"for file; do echo '{answer}'; done\n"
    )
    python.chmod(0o755)
    compute_peer_results(bed, [CELL], python)
    found = kept_results(bed, [CELL], PEERS)
    assert [(each.method, each.metric) for each in found] == [*product(PEERS, ("spd", "eod"))]
    assert found[0].counts == {"tp": (1, 2), "fp": (3, 4), "fn": (5, 6), "tn": (7, 8)}
    result_path(bed, CELL, "eod", "oxonfair").unlink()
    compute_peer_results(bed, [CELL], python)
    calls = (tmp_path / "calls").read_text().split()
    assert calls == [
        *(f"decide-{tool}-{metric}-0.05" for tool, metric in product(PEERS, ("spd", "eod"))),
        "decide-oxonfair-eod-0.05",
    ]
    assert kept_results(bed, [CELL], PEERS) == found


def test_a_peer_that_fails_stops_the_run(bed: Bed, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    with pytest.raises(RuntimeError, match="oxonfair ended with exit code 3"):
        compute_peer_results(bed, [CELL], python)


# Choices offline.


def candidates(n: int = 60) -> Candidates:
    rng = np.random.default_rng(3)
    labels, groups = (torch.from_numpy(rng.integers(2, size=n)) for _ in range(2))
    scores = torch.from_numpy(rng.integers(20, size=(5, n)) / 20).float() * 0.8
    scores[1:3] = (scores[1:3] + 0.2 * labels).clamp(max=1)
    p = torch.from_numpy(rng.uniform(0.1, 0.9, n))
    kinds = ("", "true", "true", "smooth", "smooth")
    return Candidates(scores, labels, groups, {"smooth": p}, kinds)


def test_counts_by_threshold_are_sums_over_the_rows_above_it() -> None:
    c = candidates()
    p = c.probabilities["smooth"]
    thresholds, counts = threshold_counts(c.scores[0], p, c.groups)
    assert len(thresholds) == len(c.scores[0].unique()) + 1
    for at, threshold in enumerate(thresholds.tolist()):
        above = c.scores[0].double() > threshold
        for group in (0, 1):
            here = c.groups == group
            for side, weight, rows in (
                (counts.tp, p, above),
                (counts.fp, 1 - p, above),
                (counts.fn, p, ~above),
                (counts.tn, 1 - p, ~above),
            ):
                assert float(side[at, group]) == pytest.approx(float(weight[rows & here].sum()))


def test_with_labels_the_choice_is_the_best_exact_threshold() -> None:
    c, objective = candidates(), objective_of("spd")
    setting = Setting("true", "labels", objective.factor, 0.0)
    choice = c.best([setting], objective)[setting]
    exact = best_threshold(c.scores[:3], c.labels, c.groups, 2, objective)
    assert choice.snapshot == int(exact.utility.argmax())
    assert choice.utility == pytest.approx(float(exact.utility.max()))
    above = c.scores[choice.snapshot].double()
    assert torch.equal(above > choice.threshold, above > float(exact.threshold[choice.snapshot]))


@pytest.mark.parametrize("metric", ["spd", "eod"])
def test_every_setting_is_the_best_by_brute_force(metric: str) -> None:
    c, objective = candidates(), objective_of(metric)
    settings = [each for each in all_settings() if each.labels != "repaired"]
    assert len(settings) == 10 + 20
    found = c.best(settings, objective)
    assert list(found) == settings
    above = (c.scores[:, None] > torch.linspace(-0.02, 1.02, 27)[:, None]).double()
    for setting in settings[::3]:
        p = c.labels.double() if setting.counted == "labels" else c.probabilities["smooth"]
        cells = torch.stack([weight * (c.groups == g) for g in (0, 1) for weight in (1 - p, p)], 1)
        counts = count_cells(above, cells)
        chance = objective.metric(counts).probability_within(0.05, setting.k)
        utility = (objective.performance(counts) - setting.offset) * chance
        allowed = torch.tensor([kind in ("", setting.labels) for kind in c.kinds])
        assert found[setting].utility == pytest.approx(float(utility[allowed].max()))


def made_up(validation: int, test: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    names = ("eta", "eta_aware", "gamma", "gamma1")
    return {
        f"{part}_{name}": rng.uniform(0.05, 0.95, rows)
        for part, rows in (("validation", validation), ("test", test))
        for name in names
    }


def test_scores_of_the_blind_rule_by_hand() -> None:
    arrays = made_up(6, 2)
    labels, groups = torch.tensor([1, 1, 0, 1, 0, 0]), torch.tensor([1, 1, 1, 0, 0, 0])
    by_metric = {metric: blind_scores(arrays, labels, groups, metric) for metric in ("spd", "eod")}
    for metric, scores in by_metric.items():
        assert scores["validation"].shape == (61, 6)
        assert scores["test"].shape == (61, 2)
        p = arrays["test_eta"]
        plain = p - (1 - p)  # pi is 1 / 2
        np.testing.assert_allclose(scores["test"][30], 1 / (1 + np.exp(-plain)))
        one, other = np.log(1 / scores["test"][[31, 32]] - 1)
        step, gamma = one - other, arrays["test_gamma1" if metric == "eod" else "test_gamma"]
        unfair = (
            p * (gamma / (2 / 6) - (1 - gamma) / (1 / 6))
            if metric == "eod"
            else 2 * gamma - 2 * (1 - gamma)
        )
        np.testing.assert_allclose(step / step[0], -unfair / -unfair[0])
    assert (by_metric["spd"]["test"][0] != by_metric["eod"]["test"][0]).all()


def test_every_setting_of_rules_is_kept(bed: Bed) -> None:
    validation, test = bed.problems(CELL)
    arrays = made_up(len(validation), len(test))
    for kind in KINDS:
        write_arrays(bed.path(f"{kind}-models", CELL, ".npz"), arrays)
    lines = setting_lines(bed, CELL, "spd", "rules", rule_lines)
    assert len({each.method for each in lines}) == len(lines) == 2 * 2 * 5 * 2 + 3 * 4
    assert setting_lines(bed, CELL, "spd", "rules") == lines
    assert setting_lines(bed, CELL, "eod", "rules") == []
    (exact,) = (each for each in lines if each.method == "thresholds k=1.41")
    (own,) = (e for e in results(bed, CELL, ["thresholds"]) if e.metric == "spd")
    assert exact.counts == own.counts
    table = compare_settings(lines, "spd").splitlines()
    assert table[0] == "spd, 1 networks:"
    assert len(table) == 4 + len(lines)
    objectives = [float(row.split(" | ")[1]) for row in table[4:]]
    assert objectives == sorted(objectives, reverse=True)


def test_a_summary_pairs_each_part_of_the_seeds_with_the_baseline() -> None:
    """gda is right on (.60, .20); prune exceeds the budget, or is as gda with 4 rows more."""
    one = [line("gda", "loh/alpha=1", 0, 60, 20), line("prune", "loh/alpha=1", 0, 80, 40)]
    two = [line("gda", "adult/sex", 9, 60, 20), line("prune", "adult/sex", 9, 64, 20)]
    table = summary({"first": one, "second": two}, "spd", ["prune", "gda"]).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in table[2:]]
    assert cells[0][1::4] == ["first, 1 networks", "second, 1 networks"]
    assert [row[1::4] for row in cells[2:]] == [["0.000", "0.710"], ["0.700", "0.700"]]
    assert [row[4::4] for row in cells[2:]] == [["-0.700", "+0.010"], ["", ""]]


def test_columns_that_reveal_the_group_are_found(bed: Bed) -> None:
    validation, _ = bed.problems(CELL)
    assert validation.features is not None
    columns = range(validation.features.shape[1])
    assert [c for c in columns if reveals(validation, c)] == [19]  # the last feature of loh is A


def test_snapshots_are_trained_once_and_every_setting_chosen_from(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_module, "train_jobs", partial(train_jobs, steps=2, every=1))
    lines = setting_lines(bed, CELL, "eod", "snapshots", snapshot_lines)
    assert len({each.method for each in lines}) == len(lines) == 10 + 20 + 20
    monkeypatch.setattr(snapshot_module, "train_jobs", None)
    kept = snapshots(bed, CELL, "eod")
    assert kept["job"].tolist() == [job for job in range(6) for _ in range(2)]
    assert kept["step"].tolist() == [1, 2] * 6
    validation, test = bed.problems(CELL)
    assert torch.equal(validation.labels.double(), kept["p.true"])
    rescored = validation.score(snapshot_weights(kept, 11))
    torch.testing.assert_close(rescored, kept["scores"][11])
    assert snapshot_lines(bed, CELL, "eod") == lines
    (plain,) = (each for each in lines if each.method == "finetune true k=1.41")
    scores = torch.cat([validation.scores[None], kept["scores"][:4]])
    best = best_threshold(scores, validation.labels, validation.groups, 2, objective_of("eod"))
    at = int(best.utility.argmax())
    chosen = test.scores if at == 0 else test.score(snapshot_weights(kept, at - 1))
    counts = test.counts(chosen > float(best.threshold[at]))
    assert plain.counts["tp"] == tuple(map(int, counts.tp))
    assert plain.counts["fp"] == tuple(map(int, counts.fp))


@pytest.mark.parametrize("draw", [partial(loh, alpha=2.5), partial(zafar, theta=0.8, features=1)])
@pytest.mark.parametrize("metric", ["spd", "eod"])
def test_bounds_are_the_optimum_of_a_linear_program(
    draw: partial[SyntheticRows], metric: str
) -> None:
    """The program may decide one row at random, and knows the shares of these rows."""
    rows = draw(3000, seed=4)
    eta, in_inputs = rows.label_probability, "A" in rows.feature_names
    gamma = rows.group if in_inputs else rows.group_probability
    counted = eta if metric == "eod" else np.ones_like(eta)
    gain = eta / eta.sum() / 2 - (1 - eta) / (1 - eta).sum() / 2
    gap = counted * (gamma / (counted @ gamma) - (1 - gamma) / (counted @ (1 - gamma)))
    best = linprog(-gain, A_ub=[gap, -gap], b_ub=[0.05, 0.05], bounds=(0, 1))
    assert bound(rows, metric) == pytest.approx(0.5 - best.fun, abs=0.001)
