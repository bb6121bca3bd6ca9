"""The coverage simulation on few tables, and that it detects faulty intervals."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from dataclasses import fields
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from fairfix.stats.gap_intervals import MetricRates
from fairfix.stats.intervals import Limits
from tests.helpers.paths import ROOT


def load() -> ModuleType:
    """Load the program by path: "coverage" may also be an installed tool."""
    path = ROOT / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_study", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


study: Any = load()
REPETITIONS = 1500


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def faults(rows: list[Any]) -> list[str]:
    """Return the settings whose bounds are broken."""
    return [str(row) for row in rows if not row.passed]


@pytest.mark.parametrize("strict", [False, True])
def test_gaps_keep_their_bounds(rng: np.random.Generator, strict: bool) -> None:
    settings = list(study.gap_settings())[::23]
    assert {setting.metric for setting in settings} >= {"spd", "eod", "aod", "eqodds", "di"}
    rows = [study.simulate(setting, rng, REPETITIONS, strict) for setting in settings]
    assert faults(rows) == []


@pytest.mark.parametrize("strict", [False, True])
def test_performance_keeps_its_bounds(rng: np.random.Generator, strict: bool) -> None:
    assert faults(list(study.performance_rows(rng, REPETITIONS, strict))) == []


def test_changes_of_performance_keep_their_bounds(rng: np.random.Generator) -> None:
    assert faults(list(study.change_rows(rng, REPETITIONS))) == []


def test_the_area_under_the_curve_keeps_its_bounds(rng: np.random.Generator) -> None:
    assert faults(list(study.auc_rows(rng, 300))) == []


def test_rows_needed_give_the_nominal_power(rng: np.random.Generator) -> None:
    assert faults(list(study.power_rows(rng, REPETITIONS))) == []


class Wald(MetricRates):
    """Limits that take the observed rates for the true ones."""

    def limits(self, alpha: float, *, exact: bool = False) -> Limits:
        hits, trials = self.by_contrast()
        share = hits / trials
        z = study.stats.norm.isf(alpha)
        reach = z * np.sqrt((self.coefficients**2 * share * (1 - share) / trials).sum(-1))
        return Limits(self.estimates() - reach, self.estimates() + reach)


class Narrow(MetricRates):
    """80 % limits presented as 90 % limits."""

    def limits(self, alpha: float, *, exact: bool = False) -> Limits:
        return super().limits(2 * alpha, exact=exact)


def check_faulty(wrong: type[MetricRates], setting: Any, rng: np.random.Generator) -> Any:
    cells, share = setting.draw(rng, REPETITIONS)
    made = wrong(**{field.name: getattr(cells, field.name) for field in fields(cells)})
    return study.check_tables(setting, made, share, REPETITIONS, strict=False)


def test_a_wald_interval_breaks_its_bounds_at_extreme_rates(rng: np.random.Generator) -> None:
    rare = study.Setting("spd", ((0.02, 0.07),), ((100, 3000),))
    assert not check_faulty(Wald, rare, rng).passed
    assert check_faulty(MetricRates, rare, rng).passed


def test_an_interval_that_is_too_narrow_breaks_its_bounds(rng: np.random.Generator) -> None:
    common = study.Setting("spd", ((0.5, 0.4),), ((1000, 1000),))
    found = check_faulty(Narrow, common, rng)
    assert not found.passed
    assert found.missed > 0.15
    assert found.certified is not None
    assert found.certified > 0.08
    assert check_faulty(MetricRates, common, rng).passed


def test_rows_of_clusters_that_count_as_independent_are_detected(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    alike = [next(itertools.islice(study.cluster_rows(rng, 60), 3, None))]
    one = study.ClusterIndex.of

    def by_row(clusters: torch.Tensor, groups: torch.Tensor, n_groups: int) -> Any:
        return one(torch.arange(len(clusters)), groups, n_groups)

    monkeypatch.setattr(study.ClusterIndex, "of", by_row)
    alike.append(next(itertools.islice(study.cluster_rows(rng, 60), 3, None)))
    assert [each.passed for each in alike] == [True, False]


def test_too_few_rows_are_detected(rng: np.random.Generator) -> None:
    planned = next(study.power_rows(rng, REPETITIONS))
    fewer = study.PowerResult(planned.setting, 0.05, planned.rows, False, REPETITIONS, 0.7)
    assert planned.passed
    assert not fewer.passed


def test_a_broken_bound_is_shown_and_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setting = study.Setting("spd", ((0.5, 0.4),), ((1000, 1000),))
    monkeypatch.setattr(study, "gap_settings", lambda: iter([setting]))
    monkeypatch.setattr(study, "power_settings", lambda: iter([(setting, 0.2, False)]))
    for part in ("performance_rows", "change_rows", "auc_rows", "cluster_rows"):
        monkeypatch.setattr(study, part, lambda *_: iter([]))
    monkeypatch.setattr(sys, "argv", ["coverage", "--repetitions", "1000"])
    assert study.main() == 0
    shown = capsys.readouterr().out
    assert "| spd | 0.5, 0.4 | 1000, 1000 | 400 |" in shown
    assert "broken**" not in shown
    monkeypatch.setattr(study.Setting, "truth", 0.3)
    assert study.main() == 1
    assert "**broken**" in capsys.readouterr().out
