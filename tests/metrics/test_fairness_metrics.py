"""Metrics from one entry, built in or from outside the package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import fairfix
from fairfix.errors import UsageError
from fairfix.metrics import METRICS, Contrast, Metric, Rate, get, register
from tests.helpers.paths import ROOT, SAMPLES
from tests.helpers.toys import table

SPECIFICITY = Rate("tnr", "true negative rate", ("tn",), ("fp", "tn"))
# Two groups of 10 and 20 rows: specificity 4/5 and 6/8.
HAND = table(tp=[3, 9], fp=[1, 2], fn=[2, 3], tn=[4, 6])


@pytest.fixture
def registered() -> Iterator[Metric]:
    metric = register(Metric("tnrd", "true negative rate difference", (SPECIFICITY,)))
    yield metric
    del METRICS._known["tnrd"]


def test_a_registered_metric_is_counted_by_hand(registered: Metric) -> None:
    gap = METRICS["tnrd"](HAND)
    assert float(gap.value) == pytest.approx(4 / 5 - 6 / 8)
    assert registered.rates[0].rows == "rows with an unfavorable label"
    assert registered.rates[0].direction == -1


@pytest.mark.parametrize("method", ["prune", "thresholds", "gda"])
def test_a_registered_metric_works_in_methods_and_evidence(
    registered: Metric, method: str, tmp_path: Path
) -> None:
    loh = SAMPLES / "loh"
    case = fairfix.load(loh / "model.pt", loh / "val.csv", arch="mlp:relu-bn", privileged=1)
    options = {"epochs": 3} if method == "gda" else {}
    outcome = fairfix.debias(case, method, metric="tnrd", budget=0.2, **options)
    fprd = outcome.test.debiased.gaps["fprd"]
    assert outcome.test.debiased.gaps["tnrd"] == pytest.approx(-fprd)
    assert outcome.evidence.claim.metric == "tnrd"
    written = fairfix.save(outcome, tmp_path / "made.pt")
    report = json.loads(written.report.read_text())
    assert report["objective"]["metric_title"] == "true negative rate difference"
    assert "true negative rate difference" in written.html.read_text()


def test_a_registered_metric_works_in_audit_and_gate(registered: Metric) -> None:
    loh = SAMPLES / "loh"
    case = fairfix.load(loh / "model.pt", loh / "test.csv", arch="mlp:relu-bn", privileged=1)
    (column,) = fairfix.audit(case, metric="tnrd", budget=0.9).groups
    assert column.claim.metric == "tnrd"
    assert np.isfinite(column.intervals.gaps["tnrd"].low)
    found = fairfix.gate(case, {"tnrd": 0.9})
    assert [check.key for check in found.checks] == ["tnrd"]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (Metric("spd", "again", (SPECIFICITY,)), "There is a metric or measure 'spd' already"),
        (Metric("auc", "again", (SPECIFICITY,)), "There is a metric or measure 'auc' already"),
    ],
)
def test_a_key_that_is_taken_is_refused(metric: Metric, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        register(metric)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Metric("a b", "title", (SPECIFICITY,)),
        lambda: Metric("Upper", "title", (SPECIFICITY,)),
        lambda: Metric("x", "title", ()),
        lambda: Metric("x", "title", (SPECIFICITY,), Contrast.LARGEST),
        lambda: Metric("x", "title", (SPECIFICITY, SPECIFICITY)),
        lambda: Rate("x", "title", ("tp",), ("fp", "tn")),
        lambda: Rate("x", "title", (), ("fp", "tn")),
        lambda: Rate("x", "title", ("tp", "fn"), ("tp", "fn")),
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        make()  # type: ignore[operator]


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="Unknown metric 'sdp'; did you mean 'spd'"):
        get("sdp")


@pytest.mark.parametrize("key", METRICS)
def test_the_band_holds_the_values_within_the_budget(key: str) -> None:
    metric, rng = METRICS[key], np.random.default_rng(0)
    low, high = metric.band(0.2)
    for _ in range(200):
        value = float(metric(table(*rng.integers(1, 40, (4, 2)))).value)
        assert (metric.size(value) < 0.2) == (low < value < high or low == value == 0)


@pytest.mark.parametrize("key", METRICS)
def test_the_direction_of_a_rate_is_what_more_positive_decisions_do(key: str) -> None:
    rng = np.random.default_rng(1)
    for rate in METRICS[key].rates:
        steps = []
        for _ in range(300):
            tp, fp, fn, tn = rng.integers(1, 30, 4)
            up_tp, up_fp = (fn > 1), rng.integers(0, 2) * (tn > 1)
            after = table([tp + up_tp], [fp + up_fp], [fn - up_tp], [tn - up_fp])
            before = table([tp], [fp], [fn], [tn])
            steps.append(float(rate(after).value - rate(before).value))
        rises, falls = max(steps) > 1e-12, min(steps) < -1e-12
        if rate.fixed_trials:
            assert rate.direction == (0 if rises and falls else 1 if rises else -1)
        else:
            assert rate.direction == 0


INSTALLED = """
from fairfix.metrics import Metric, Rate
tnrd = Metric("tnrd", "specificity gap", (Rate("tnr", "specificity", ("tn",), ("fp", "tn")),))
"""


def test_an_installed_package_adds_a_metric_to_the_command_line(tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "more_metrics-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: more-metrics\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fairfix.metrics]\ntnrd = more_metrics:tnrd\n")
    (site / "more_metrics.py").write_text(INSTALLED)
    path = os.pathsep.join([str(site), str(ROOT), os.environ.get("PYTHONPATH", "")])

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fairfix", *map(str, words)],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    loh = SAMPLES / "loh"
    audit = run("audit", loh / "model.pt", loh / "test.csv", "--json")
    assert audit.returncode == 0, audit.stderr
    (measured,) = json.loads(audit.stdout)["groups"].values()
    assert measured["gaps"]["tnrd"]["value"] == pytest.approx(-measured["gaps"]["fprd"]["value"])
    gate = run("gate", loh / "model.pt", loh / "test.csv", "--budget", "tnrd=0.9")
    assert gate.returncode == 0, gate.stdout + gate.stderr
    assert "gap of tnrd < 0.9" in gate.stdout


def test_ppv_changes_are_those_of_two_ratio_estimators() -> None:
    """The variance of a paired change of the predictive value, against resampled rows."""
    from fairfix.data.problem import Problem
    from fairfix.stats.other_attributes import column_changes
    from fairfix.workflows.evidence import Group

    rng = np.random.default_rng(5)
    n = 4000
    groups, scores = rng.integers(0, 2, n), rng.random(n)
    labels = (rng.random(n) < 0.2 + 0.5 * scores + 0.2 * groups * (scores > 0.6)).astype(int)
    problem = Problem(
        torch.from_numpy(scores).float(), torch.from_numpy(labels), torch.from_numpy(groups),
        ("a", "b"),
    )  # fmt: skip
    before, after = problem.scores > 0.4, problem.scores > 0.7
    own = Group("g", groups, ("a", "b"))
    (found,) = column_changes(problem, before, after, METRICS["ppvd"], [own])

    def change(rows: np.ndarray) -> float:
        sizes = []
        for decided in (before, after):
            d = decided.numpy()[rows]
            y, g = labels[rows], groups[rows]
            ppv = [y[d & (g == k)].mean() for k in (0, 1)]
            sizes.append(abs(ppv[0] - ppv[1]))
        return sizes[1] - sizes[0]

    draws = [change(rng.integers(0, n, n)) for _ in range(400)]
    half = (found.high - found.low) / 2
    assert half == pytest.approx(1.96 * np.std(draws), rel=0.15)
