"""Studies: the rows are the same however they were made, and the summary is what they say."""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from fairfix.bench.cell_table import cell_table, latest_rows
from fairfix.bench.cells import Cell, ceiling, run_cell
from fairfix.bench.journal import Journal
from fairfix.bench.plan import chosen_methods, own_tasks, part, planned, units
from fairfix.bench.protocols import PROTOCOLS, chosen_datasets, protocol, task
from fairfix.bench.split_statistics import mean_interval
from fairfix.bench.study import Study, dask, local, serial
from fairfix.bench.summary import MethodSummary, method_summaries, summarize
from fairfix.bench.task import Task
from fairfix.bench.training import Recipe, train
from fairfix.cli.app import app
from fairfix.data.table import Columns
from fairfix.errors import OutputError, TableError, UsageError
from fairfix.metrics.objective import Objective
from fairfix.metrics.rates import METRICS
from fairfix.workflows.case import Case, ModelOptions, load
from fairfix.workflows.debias import debias
from tests.helpers.paths import ROOT

SAMPLES = ROOT / "sample_models"
LOH = SAMPLES / "loh"
WRITTEN = (
    *("rows.jsonl", "report.html", "summary.csv"),
    *("cells.csv", "cells.parquet", "networks.csv"),
)
FAST = ["identity", "thresholds", "roc", "prune"]


def case() -> Case:
    return load(
        LOH / "model.pt",
        LOH / "val.csv",
        columns=Columns(privileged="1"),
        options=ModelOptions(arch="mlp:relu-bn", device="cpu"),
    )


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    first = case()
    return own_tasks([(first, first.companion(LOH / "test.csv"))], 2, 0.3)


@pytest.fixture
def small(tasks: list[Task]) -> Study:
    return planned(tasks, [Objective(METRICS["spd"]), Objective(METRICS["eod"])], FAST)


def settled(rows: Any) -> dict[str, dict[str, Any]]:
    """Rows by key, without what may differ between two runs."""
    return {row["key"]: {k: v for k, v in row.items() if k not in ("cost", "host")} for row in rows}


@pytest.fixture(scope="module")
def expected(tasks: list[Task], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    study = planned(tasks, [Objective(METRICS["spd"]), Objective(METRICS["eod"])], FAST)
    journal = Journal(tmp_path_factory.mktemp("study") / "rows.jsonl")
    rows = list(study.run(journal, serial))
    assert settled(rows) == settled(journal.rows())
    assert len(rows) == 2 * 2 * 4
    return settled(rows)


def test_a_cell_is_what_debias_says(tasks: list[Task], expected: dict[str, Any]) -> None:
    """The library, on the files themselves, gives the same figures."""
    first = case()
    outcome = debias(
        first, "prune", Objective(METRICS["eod"]), test=first.companion(LOH / "test.csv"), seed=0
    )
    (row,) = (
        row
        for row in expected.values()
        if (row["method"], row["goal"]["metric"], row["split"]) == ("prune", "eod", 0)
    )
    after = outcome.test.debiased
    assert row["judged"]["debiased"]["gap"] == after.gaps["eod"]
    assert row["judged"]["debiased"]["performance"] == after.performance["balanced_accuracy"]
    assert row["judged"]["original"]["gaps"]["spd"] == outcome.test.unmodified.gaps["spd"]
    assert len(row["trajectory"]) == len(outcome.result.trajectory)


def test_splits_draw_the_same_rows_anew(tasks: list[Task]) -> None:
    first, other = tasks
    assert (len(first.fitting), len(first.judged)) == (len(other.fitting), len(other.judged))

    def rows(each: Task) -> list[bytes]:
        assert each.fitting.features is not None
        assert each.judged.features is not None
        return sorted(r.tobytes() for r in (*each.fitting.features, *each.judged.features))

    assert rows(first) == rows(other)
    assert first.sha256 != other.sha256
    cells = [2 * each.groups + each.labels for each in (first.judged, other.judged)]
    pooled = [np.bincount(cell, minlength=4) for cell in cells]
    share = len(first.judged) / (len(first.judged) + len(first.fitting))
    whole = np.bincount(2 * first.fitting.groups + first.fitting.labels) + pooled[0]
    np.testing.assert_allclose(pooled[1], share * whole, atol=1)


def test_a_resumed_study_repeats_nothing(
    small: Study, expected: dict[str, Any], tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "rows.jsonl")
    begun = small.run(journal, serial)
    for _ in range(5):
        next(begun)
    begun.close()
    with journal.path.open("ab") as file:
        file.write(b'{"version": 3, "key": "torn')
    rest = list(small.run(journal, serial))
    assert len(rest) == len(small.cells) - 5
    assert settled(journal.rows()) == expected
    assert len(list(journal.rows())) == len(small.cells)


def test_a_line_that_is_no_row_is_named(tmp_path: Path) -> None:
    first = json.dumps(row("identity", 0, 0.0, 0.6))
    (tmp_path / "rows.jsonl").write_text(f"{first}\nnonsense\n")
    with pytest.raises(TableError, match=r"rows\.jsonl, line 2: no row of a study"):
        Journal(tmp_path / "rows.jsonl").resume()


@pytest.mark.parametrize("text", ["a list of mine", '{"a": 1}', "[1, 2]\n3", '{"key": "a"}\n'])
def test_a_file_that_is_no_journal_is_left_as_it_is(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(TableError, match=r"rows\.jsonl, line 1: no row of a study"):
        Journal(tmp_path / "rows.jsonl").resume()
    assert (tmp_path / "rows.jsonl").read_text() == text


@pytest.mark.parametrize(
    "damage",
    [
        lambda row: row.pop("judged"),
        lambda row: row["goal"].pop("metric"),
        lambda row: row["judged"]["debiased"].update(gap="abc"),
        lambda row: row.update(overlap=None),
        lambda row: row.update(status=7),
        lambda row: row.update(trajectory=[[0.1]]),
        lambda row: row["judged"]["original"].update(gaps={"spd": "x"}),
    ],
)
def test_a_damaged_row_is_named(damage: Callable[[Any], Any], tmp_path: Path) -> None:
    rows = [row("identity", 0, 0.0, 0.6), row("identity", 1, 0.0, 0.6)]
    rows = json.loads(json.dumps(rows))
    damage(rows[1])
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    ended = CliRunner().invoke(app, ["bench", "--rows", str(path)])
    assert ended.exit_code == 2
    assert "rows.jsonl, line 2: no row of a study" in ended.stderr


def test_processes_give_the_same_rows(small: Study, expected: dict[str, Any]) -> None:
    work = [(cell, small.tasks[cell.task_sha256]) for cell in small.cells]
    assert settled(local(2)(work)) == expected


def test_a_killed_study_goes_on_where_it_was(tmp_path: Path) -> None:
    """kill -9 at random moments; the rows are those of a run that nothing disturbed."""
    command = [
        *(sys.executable, "-m", "fairfix", "bench"),
        *(str(LOH / "model.pt"), str(LOH / "val.csv"), "--methods", "roc,perturb"),
        *("--seeds", "3", "--jobs", "1", "--quiet"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    start = time.perf_counter()
    subprocess.run([*command, "-o", str(whole)], env=environment, check=True)
    taken = time.perf_counter() - start
    moments = random.Random(0)
    for _ in range(3):
        running = subprocess.Popen([*command, "-o", str(torn)], env=environment)
        time.sleep(moments.uniform(0.3, 1.0) * taken)
        running.send_signal(signal.SIGKILL)
        running.wait()
    subprocess.run([*command, "-o", str(torn)], env=environment, check=True)
    ours, theirs = (list(Journal(place / "rows.jsonl").rows()) for place in (torn, whole))
    assert len(ours) == len(theirs) == 12
    assert settled(ours) == settled(theirs)


def test_nothing_outlives_a_killed_study(tmp_path: Path) -> None:
    if not Path("/proc/self/task").is_dir():
        pytest.skip("no /proc to see processes in")
    command = [
        *(sys.executable, "-m", "fairfix", "bench", str(LOH / "model.pt"), str(LOH / "val.csv")),
        *("--methods", "perturb", "--seeds", "40", "--jobs", "2", "--quiet"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen([*command, "-o", str(tmp_path)], env=environment)
    journal = tmp_path / "rows.jsonl"
    wait(lambda: journal.exists() and journal.stat().st_size > 0)
    started = [
        int(child)
        for task in Path(f"/proc/{running.pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert len(started) >= 2
    wait(lambda: not any(alive(pid) for pid in started))


def wait(until: Callable[[], bool], seconds: float = 60) -> None:
    """Until it is so; an error when that takes too long."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet taken note of does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_that_loses_a_worker_gives_the_same_rows(
    small: Study, expected: dict[str, Any], tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed", reason="dask is not installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        journal = Journal(tmp_path / "rows.jsonl")
        rows = small.run(journal, dask(cluster.scheduler_address))
        next(rows)
        victim = next(iter(cluster.workers.values()))
        os.kill(victim.process.pid, signal.SIGKILL)
        list(rows)
    assert settled(journal.rows()) == expected


def test_no_cluster_is_said_plainly(small: Study) -> None:
    pytest.importorskip("distributed", reason="dask is not installed")
    work = [(cell, small.tasks[cell.task_sha256]) for cell in small.cells]
    for place in ("tcp://127.0.0.1:9", "foo"):
        with pytest.raises(UsageError, match=f"No Dask scheduler answers at {place}"):
            next(dask(place)(work))


def test_what_a_method_refuses_is_a_row(tasks: list[Task]) -> None:
    study = planned(tasks[:1], [Objective(METRICS["ad"])], ["thresholds"])
    cell = next(cell for cell in study.cells if cell.method == "thresholds")
    row = run_cell(cell, tasks[0])
    assert row["status"] == "refused"
    assert "not for ad" in row["reason"]
    (line,) = [x for x in cell_table([row]).itertuples() if x.method == "thresholds"]
    assert line.status == "refused"


def test_a_cell_that_breaks_is_a_row_and_is_run_again(
    small: Study, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = small.cells[3]

    def debias_but_one(case: Case, method: str, objective: Objective, **more: Any) -> Any:
        if (method, objective.metric.key) == (broken.method, broken.goal["metric"]):
            raise RuntimeError("boom\nand more")
        return debias(case, method, objective, **more)

    journal = Journal(tmp_path / "rows.jsonl")
    with monkeypatch.context() as patched:
        patched.setattr("fairfix.bench.cells.debias", debias_but_one)
        rows = list(small.run(journal, serial))
    failed = [row for row in rows if row["status"] == "failed"]
    assert {row["reason"] for row in failed} == {"RuntimeError: boom"}
    assert len(rows) == len(small.cells)
    assert len(journal.resume()) == len(small.cells) - len(failed)
    assert len(list(small.run(journal, serial))) == len(failed) == 2
    assert settled(latest_rows(journal.rows())) == expected


def test_two_studies_do_not_write_one_file(small: Study, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "rows.jsonl")
    begun = small.run(journal, serial)
    next(begun)
    with pytest.raises(OutputError, match="Another study is writing"):
        next(small.run(Journal(journal.path), serial))
    begun.close()
    next(small.run(journal, serial))


def test_a_row_that_finds_no_room_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "rows.jsonl")
    journal.append(row("a", 0, 0.0, 0.6))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            journal.append(row("b", 0, 0.0, 0.6))
    assert [each["method"] for each in journal.rows()] == ["a"]
    journal.append(row("c\udcff", 0, 0.0, 0.6))
    assert [each["method"] for each in journal.rows()] == ["a", "c?"]


def test_a_torn_row_longer_than_a_chunk_is_cut_off(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "rows.jsonl")
    journal.append(row("a", 0, 0.0, 0.6))
    whole = journal.path.read_bytes()
    begun = b'{"version": 3, "x": "'
    for torn in (begun + b"x" * 200_000, b"", b"{"):
        journal.path.write_bytes(whole + torn)
        assert journal.resume() == {"a0"}
        assert journal.path.read_bytes() == whole
    journal.path.write_bytes(begun + b"y" * 70_000)
    assert journal.resume() == set()
    assert journal.path.read_bytes() == b""


def test_a_cell_keeps_every_part_of_its_goal(tasks: list[Task]) -> None:
    asked = Objective(METRICS["spd"], budget=0.04, risk=0.1, k=1.2)
    (cell, *_) = planned(tasks[:1], [asked], ["identity"]).cells
    assert cell.objective() == asked


def test_parts_of_an_array_are_the_whole() -> None:
    whole = units(protocol("m22"), [], 3, [])
    assert len(whole) == 9
    assert [unit for i in range(1, 5) for unit in part(whole, i, 4)] == whole
    assert len({unit.seed for unit in whole}) == 3
    with pytest.raises(UsageError, match="1 <= i <= n"):
        part(whole, 5, 4)


def test_protocols_name_what_exists() -> None:
    for each in PROTOCOLS.values():
        assert chosen_datasets(each, []) == each.datasets
        assert set(chosen_methods([], each.methods)) == set(each.methods)
    assert chosen_datasets(protocol("m22"), ["bank"]) == ("bank/age",)
    assert chosen_datasets(protocol("s20"), ["compas"]) == ("compas/sex", "compas/race")
    assert chosen_datasets(protocol("m22"), ["loh/alpha=0.50"]) == ("loh/alpha=0.5",)
    for wrong in ("iris", "loh/beta=1", "adult/age", "zafar/theta=x"):
        with pytest.raises(UsageError):
            chosen_datasets(protocol("m22"), [wrong])


def test_baseline_and_frontier_are_always_there() -> None:
    assert chosen_methods(["prune"], [])[:2] == ["identity", "thresholds"]
    with pytest.raises(UsageError, match="no method 'prun'"):
        chosen_methods(["prun"], [])


def toy(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(n, 4)).astype(np.float32)
    return features, (features[:, 0] + generator.normal(size=n) > 0).astype(np.int64)


def test_training_learns_and_leaves_the_random_state_alone() -> None:
    import torch

    torch.manual_seed(5)
    before = torch.get_rng_state()
    recipe = Recipe(depth=1, width=8, epochs=15, batch=32)
    one, two = (train(toy(600, 0), toy(200, 1), recipe, seed=3) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert set(one) > {"fc0.weight", "bn0.running_mean", "fcs.0.bias", "out.weight"}
    features, labels = toy(500, 2)
    from fairfix.bench.training import Network

    network = Network(4, recipe)
    network.load_state_dict(one)
    decided = network.eval()(torch.from_numpy(features)).squeeze(1) > 0.5
    assert (decided.numpy() == labels).mean() > 0.7


def test_the_best_epoch_is_kept_and_not_the_last() -> None:
    """On stopping rows whose labels are turned round every step is for the worse."""
    import torch

    features, labels = toy(600, 0)
    recipe = Recipe(depth=1, width=8, epochs=12, patience=12, batch=32)
    turned = train((features, labels), (features, 1 - labels), recipe, seed=0)
    longer = train((features, labels), (features, labels), recipe, seed=0)
    assert not torch.equal(turned["out.weight"], longer["out.weight"])
    from fairfix.bench.training import Network

    def loss(state: dict[str, torch.Tensor]) -> float:
        network = Network(4, recipe)
        network.load_state_dict(state)
        logits = network.eval().logit(torch.from_numpy(features)).squeeze(1)
        target = torch.from_numpy(1 - labels).float()
        logits = logits.detach()
        return float(torch.nn.functional.binary_cross_entropy_with_logits(logits, target))

    assert loss(turned) < loss(longer)


def test_a_network_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRFIX_CACHE", str(tmp_path))
    recipe = Recipe(depth=1, width=4, epochs=1)
    first = task("loh/alpha=1", 0, recipe)
    (kept,) = (tmp_path / "networks").iterdir()
    written = kept.stat().st_mtime_ns
    assert task("loh/alpha=1", 0, recipe).sha256 == first.sha256
    assert kept.stat().st_mtime_ns == written
    task("loh/alpha=1", 1, recipe)
    assert len(list((tmp_path / "networks").iterdir())) == 2


def row(
    method: str, split: int, gap: float | None, performance: float, **more: Any
) -> dict[str, Any]:
    """A row as a study leaves it, with made-up figures."""
    met = gap is not None and abs(gap) < 0.05
    evaluation = {
        "rows": 100,
        "gap": gap,
        "performance": performance,
        "objective": performance if met else 0.0,
        "met": met,
        "trivial": False,
        "gaps": {"spd": gap},
        "performances": {"accuracy": performance},
    }
    return {
        "version": 3,
        "key": f"{method}{split}",
        "fairfix": "1.2.3",
        "task": "t",
        "split": split,
        "task_sha256": f"{split}",
        "seed": split,
        "method": method,
        "options": {},
        "status": "done",
        "overlap": 0.0,
        "goal": {
            "metric": "spd",
            "budget": 0.05,
            "margin": None,
            "performance": "balanced_accuracy",
            "kind": "constrained",
            "lambda": 0.75,
            "k": 1.0,
            "risk": None,
        },
        "needs_group": method == "thresholds",
        "judged": {state: dict(evaluation) for state in ("original", "identity", "debiased")},
        "fitting": {state: dict(evaluation) for state in ("original", "identity", "debiased")},
        "ceiling": 0.9,
        "trajectory": [[gap, performance]],
        "chosen": 0,
        "cost": {"seconds": 1.0, "peak_memory_mib": 100.0},
        **more,
    }


@pytest.fixture
def made_up() -> list[dict[str, Any]]:
    generator = np.random.default_rng(0)
    rows = []
    for split in range(12):
        rows.append(row("identity", split, 0.03, 0.6 + 0.01 * generator.random()))
        rows.append(row("prune", split, 0.01, 0.65 + 0.01 * generator.random()))
        rows.append(row("gda", split, 0.06 if split % 2 else 0.04, 0.7))
        rows.append(row("thresholds", split, -0.02, 0.75))
    return rows


def by_method(rows: list[dict[str, Any]]) -> dict[str, MethodSummary]:
    return {line.method: line for line in method_summaries(rows)}


def test_the_summary_by_hand(made_up: list[dict[str, Any]]) -> None:
    lines = by_method(made_up)
    objectives = {
        method: np.array([r["judged"]["debiased"]["objective"] for r in made_up
                          if r["method"] == method])
        for method in ("identity", "prune", "gda", "thresholds")
    }  # fmt: skip
    gda, prune = lines["gda"], lines["prune"]
    assert gda.held == 0.5
    assert gda.objective == tuple(np.quantile(objectives["gda"], [0.5, 0.25, 0.75]))
    assert gda.gap.median == pytest.approx(0.05)
    assert gda.mean_gap == pytest.approx(0.05)
    paired = objectives["prune"] - objectives["identity"]
    low, high = stats.t.interval(
        0.95, 11, loc=paired.mean(), scale=paired.std(ddof=1) / math.sqrt(12)
    )
    assert prune.gain == pytest.approx((paired.mean(), low, high))
    raw = {
        method: stats.ttest_rel(objectives[method], objectives["identity"]).pvalue
        for method in ("prune", "gda", "thresholds")
    }
    assert raw["thresholds"] < raw["prune"] < raw["gda"]
    assert lines["thresholds"].p == pytest.approx(3 * raw["thresholds"])
    assert prune.p == pytest.approx(2 * raw["prune"])
    assert gda.p == pytest.approx(raw["gda"])
    assert prune.gain_shown
    assert not gda.gain_shown
    assert math.isnan(lines["original"].p)
    assert lines["thresholds"].needs_group
    assert [line.needs_group for line in method_summaries(made_up)] == [False] * 4 + [True]
    assert prune.pareto
    assert not lines["identity"].pareto
    assert gda.pareto
    assert lines["thresholds"].pareto


def test_intervals_over_splits_that_share_rows_cover_the_truth() -> None:
    """A value a row with mean 0; data are drawn anew, then split ten times, 30 % judged."""
    generator = np.random.default_rng(0)
    held, naive = 0, 0
    for _ in range(400):
        values = generator.normal(size=300)
        means = np.array([generator.permutation(values)[:90].mean() for _ in range(10)])
        found = mean_interval(means, 90 / 210)
        held += found.low < 0 < found.high
        alone = mean_interval(means)
        naive += alone.low < 0 < alone.high
    assert naive / 400 < 0.75
    assert 0.92 < held / 400 < 0.99


def test_splits_of_the_same_rows_show_less(made_up: list[dict[str, Any]]) -> None:
    apart = by_method(made_up)["prune"]
    shared = by_method([{**each, "overlap": 0.25} for each in made_up])["prune"]
    widths = [line.gain.high - line.gain.value for line in (shared, apart)]
    assert widths[0] / widths[1] == pytest.approx(math.sqrt((1 / 12 + 0.25) / (1 / 12)))
    assert shared.gain.value == apart.gain.value
    assert shared.p > apart.p


def test_tasks_know_which_rows_their_splits_share(tasks: list[Task], small: Study) -> None:
    assert [each.overlap for each in tasks] == [1.0, 1.0]
    assert run_cell(small.cells[0], tasks[0])["overlap"] == 1.0


def test_a_trade_off_is_judged_as_one(made_up: list[dict[str, Any]]) -> None:
    for each in made_up:
        each["goal"] |= {"kind": "tradeoff", "lambda": 0.6}
    lines = method_summaries(made_up)
    found = {line.method: line for line in lines}
    assert {line.objective_name for line in lines} == {"trade-off"}
    assert all(line.smaller_is_better for line in lines)
    worth = [0.6 * g + 0.4 * (1 - 0.7) for g in (0.04, 0.06)]
    assert found["gda"].mean_objective.value == pytest.approx(np.mean(worth))
    assert [line.method for line in lines][:3] == ["prune", "gda", "identity"]
    baseline = np.mean(
        [0.6 * 0.03 + 0.4 * (1 - r["judged"]["debiased"]["performance"])
         for r in made_up if r["method"] == "identity"]
    )  # fmt: skip
    assert found["gda"].gain.value == pytest.approx(baseline - np.mean(worth))
    assert found["gda"].gain_shown


def test_equal_on_every_split_is_no_gain_and_one_difference_no_evidence() -> None:
    rows = [row("identity", s, 0.0, 0.5) for s in range(4)]
    rows += [row("prune", s, 0.0, 0.5) for s in range(4)]
    rows += [row("gda", s, 0.0, 0.6) for s in range(4)]
    lines = by_method(rows)
    assert lines["prune"].gain == (0.0, 0.0, 0.0)
    assert lines["prune"].p == 1.0
    assert math.isnan(lines["gda"].p)
    assert not lines["gda"].gain_shown


def test_goals_and_options_are_not_mixed(made_up: list[dict[str, Any]]) -> None:
    other = [{**each, "goal": {**each["goal"], "budget": 0.1}} for each in made_up]
    tuned = [{**each, "options": {"steps": 3}} for each in made_up if each["method"] == "prune"]
    found = summarize([*made_up, *tuned, *other])
    assert [table.goal.budget for table in found] == [0.05, 0.1]
    assert "prune steps=3" in {line.method for line in found[0].methods}
    assert {line.splits for table in found for line in table.methods} == {12}


def test_a_ratio_is_as_large_as_its_distance_from_one() -> None:
    rows = [row("identity", s, 0.8, 0.7) for s in range(2)]
    for each in rows:
        each["goal"] |= {"metric": "di", "budget": 0.3}
        for state in each["judged"].values():
            state["met"] = True
    (line,) = [line for line in method_summaries(rows) if line.method == "identity"]
    assert line.gap.median == pytest.approx(0.2)
    assert line.mean_objective.value == 0.7


def test_of_a_cell_that_was_run_twice_the_last_row_counts(
    made_up: list[dict[str, Any]],
) -> None:
    first = {**made_up[0], "status": "failed", "reason": "boom", "fairfix": "1.0.0"}
    assert repr(method_summaries([first, *made_up])) == repr(method_summaries(made_up))
    missing = [*made_up[1:], first]
    line = by_method(missing)["identity"]
    assert (line.splits, line.missing) == (11, 1)


def test_what_has_another_source_is_another_task(made_up: list[dict[str, Any]]) -> None:
    """A network that was trained anew has the same name and other rows of figures."""
    other = [
        {**each, "source": "b", "task_sha256": f"b{each['split']}", "seed": each["seed"]}
        for each in made_up
    ]
    found = summarize([*({**each, "source": "a"} for each in made_up), *other])
    assert [table.task for table in found] == ["t", "t (2)"]
    assert {line.splits for table in found for line in table.methods} == {12}
    again = latest_rows(latest_rows([*made_up, *other]))
    assert {each["task"] for each in again} == {"t", "t (2)"}


def test_a_difference_that_never_varies_has_a_value_and_no_interval() -> None:
    rows = [row("identity", s, 0.0, 0.5) for s in range(3)]
    rows += [row("roc", s, 0.0, 0.6) for s in range(3)]
    gain = by_method(rows)["roc"].gain
    assert gain.value == pytest.approx(0.1)
    assert math.isnan(gain.low)
    assert not by_method(rows)["roc"].gain_shown


def test_undefined_figures_are_no_success(made_up: list[dict[str, Any]]) -> None:
    for each in made_up:
        if each["method"] == "gda":
            each["judged"]["debiased"] |= {"gap": None, "objective": 0.0, "met": False}
    gda = by_method(made_up)["gda"]
    assert math.isnan(gda.gap.median)
    assert gda.held == 0
    assert gda.mean_objective.value == 0
    assert not gda.pareto
    for each in made_up:
        each["goal"]["kind"] = "tradeoff"
    assert by_method(made_up)["gda"].mean_objective.value == 1


def test_the_ceiling_is_the_chance_of_a_rule_without_a_gap(tasks: list[Task]) -> None:
    """Simulated: both groups decided alike, how often the gap of new rows fits the budget."""
    fit, judged = tasks[0].cases()
    objective = Objective(METRICS["spd"], budget=0.03)
    found = debias(fit, "thresholds", objective, test=judged).test.debiased
    share = sum(g.tp + g.fp for g in found.groups) / found.rows
    generator = np.random.default_rng(0)
    rates = [generator.binomial(g.rows, share, 200_000) / g.rows for g in found.groups]
    simulated = float((np.abs(rates[0] - rates[1]) < objective.budget).mean())
    said = ceiling(found, objective)
    assert said is not None
    assert said == pytest.approx(simulated, abs=0.02)


def test_cells_are_known_by_what_they_are(small: Study) -> None:
    assert len({cell.key for cell in small.cells}) == len(small.cells)
    first = small.cells[0]
    assert Cell(**first.to_json()).key == first.key
    assert Cell(**{**first.to_json(), "seed": 99}).key != first.key


def test_the_command_runs_resumes_and_sums_up(tmp_path: Path) -> None:
    asked = ["bench", str(LOH / "model.pt"), str(LOH / "val.csv"), "--methods", "roc"]
    asked += ["--seeds", "2", "--jobs", "1", "-o", str(tmp_path / "out")]
    runner = CliRunner()
    first = runner.invoke(app, asked)
    assert first.exit_code == 0, first.stderr
    for name in ("identity", "original", "thresholds", "roc"):
        assert name in first.stdout
    again = runner.invoke(app, [*asked, "--json"])
    assert "6 of 6 cells are done already" in again.stderr
    document = json.loads(again.stdout)
    assert document["cells"] == 6
    assert max(map(len, first.stdout.splitlines())) <= 100
    out = tmp_path / "out"
    assert [line for line in first.stdout.splitlines() if line.startswith("wrote")] == [
        f"wrote {out / name}" for name in WRITTEN
    ]
    assert len((out / "cells.csv").read_text().splitlines()) == 9
    read = pd.read_csv(out / "cells.csv")
    kept = pd.read_parquet(out / "cells.parquet")
    assert list(kept) == list(read)
    assert kept["objective"].tolist() == pytest.approx(read["objective"].tolist())
    listed = pd.read_csv(out / "summary.csv").to_dict("records")
    assert [line["method"] for line in listed] == [line["method"] for line in document["summary"]]
    for one, two in zip(listed, document["summary"], strict=True):
        assert one.keys() == two.keys()
        assert one["mean_objective"] == pytest.approx(two["mean_objective"])
    rows = str(out / "rows.jsonl")
    summed = runner.invoke(
        app, ["bench", "--rows", rows, "--rows", rows, "--json", "-o", str(tmp_path / "other")]
    )
    assert json.loads(summed.stdout) == document
    for name in WRITTEN[1:]:
        assert (tmp_path / "other" / name).read_bytes() == (out / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Give models and a table"),
        (["model.pt"], "Give models and a table"),
        (["a.pt", "b.csv", "--protocol", "m22"], "leave out 'a.pt'"),
        (["a.pt", "b.csv", "--datasets", "compas"], "need a --protocol"),
        (["--protocol", "m23"], "The protocols are m22, s20, not 'm23'"),
        (["--protocol", "m22", "--array", "x"], "An array is i/n"),
        (["--protocol", "m22", "--metrics", ","], "A list of names is empty"),
        (["--protocol", "m22", "--methods", ""], "A list of names is empty"),
        (["--protocol", "m22", "--metrics", "sdp"], "Metrics to debias are spd"),
        (["--protocol", "s20", "--variants", "wide"], "variants of s20 are dropout-0.5"),
        (["--protocol", "m22", "--seeds", "0"], "at least one seed"),
        (["--protocol", "m22", "--budget", "0.1"], "its own goal, networks and rows"),
        (["--backend", "dask"], "--scheduler ADDRESS"),
        (["--scheduler", "tcp://a:1"], "belongs to --backend dask"),
        (["--jobs", "0"], "At least one process"),
        (["--rows", "nothing.jsonl"], "There is no file nothing.jsonl"),
        (["--rows", "nothing.jsonl", "--methods", "roc"], "leave out all but -o"),
        (["a.pt", "b.csv", "--rows", "nothing.jsonl"], "leave out all but -o"),
        (["--rows", "nothing.jsonl", "--budget", "0.1"], "leave out all but -o"),
    ],
)
def test_wrong_questions_get_one_sentence(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, ["bench", *arguments])
    assert ended.exit_code == 2
    assert said in ended.stderr
    assert ended.stdout == ""
    assert not [*tmp_path.iterdir()]  # and nothing is left behind


def test_files_of_other_origin_are_not_replaced(tmp_path: Path) -> None:
    asked = ["bench", str(LOH / "model.pt"), str(LOH / "val.csv"), "--methods", "identity"]
    asked += ["--seeds", "1", "--jobs", "1"]
    mine, study = tmp_path / "mine", tmp_path / "study"
    mine.mkdir()
    (mine / "summary.csv").write_text("my own")
    ended = CliRunner().invoke(app, [*asked, "-o", str(mine)])
    assert ended.exit_code == 2
    assert "summary.csv is of no study that stands there" in ended.stderr
    assert (mine / "summary.csv").read_text() == "my own"
    assert CliRunner().invoke(app, [*asked, "-o", str(study)]).exit_code == 0
    other = tmp_path / "rows.jsonl"
    other.write_bytes((study / "rows.jsonl").read_bytes())
    ended = CliRunner().invoke(app, ["bench", "--rows", str(other), "-o", str(study)])
    assert ended.exit_code == 2
    assert "holds another study" in ended.stderr
    own = str(study / "rows.jsonl")
    assert CliRunner().invoke(app, ["bench", "--rows", own, "-o", str(study)]).exit_code == 0
    other.write_text("")
    ended = CliRunner().invoke(app, ["bench", "--rows", str(other)])
    assert ended.exit_code == 2
    assert "there are no rows to sum up" in ended.stderr


@pytest.mark.parametrize("seed", ["-1", "99999999999999999999999"])
def test_a_seed_out_of_range_is_refused(seed: str, tmp_path: Path) -> None:
    asked = ["bench", str(LOH / "model.pt"), str(LOH / "val.csv"), "--seed", seed]
    ended = CliRunner().invoke(app, [*asked, "-o", str(tmp_path / "out")])
    assert ended.exit_code == 2
    assert f"The seed must be a whole number from 0 to 2**63 - 1, not {seed}" in ended.stderr


def test_a_seed_draws_other_splits() -> None:
    whole = case()
    first, later = (own_tasks([(whole, None)], 2, 0.3, seed) for seed in (0, 1))
    assert [each.split for each in later] == [1, 2]
    assert first[1].sha256 == later[0].sha256
    assert len({each.source for each in (*first, *later)}) == 1
    assert own_tasks([(whole, None)], 1, 0.5)[0].source != first[0].source


def test_a_table_too_small_to_split_is_refused_with_a_remedy(tmp_path: Path) -> None:
    table = pd.read_csv(LOH / "val.csv")
    lone = pd.concat([table[table["group"] == 1].head(200), table[table["group"] == 0].head(1)])
    lone.to_csv(tmp_path / "lone.csv", index=False)
    asked = ["bench", str(LOH / "model.pt"), str(tmp_path / "lone.csv"), "--methods", "identity"]
    asked += ["--privileged", "1", "--arch", "mlp:relu-bn", "--jobs", "1"]
    ended = CliRunner().invoke(app, [*asked, "-o", str(tmp_path / "out")])
    assert ended.exit_code == 2
    assert "too few rows to hold some out for testing" in ended.stderr
    assert not (tmp_path / "out").exists()


def test_the_columns_are_documented(made_up: list[dict[str, Any]]) -> None:
    page = (ROOT / "docs" / "bench.md").read_text(encoding="utf-8")
    _, _, told = page.partition("## What the columns mean\n")
    first = [line.split("|")[1] for line in told.splitlines() if line.startswith("| `")]
    named = [name for cell in first for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(method_summaries(made_up)[0].flat())
