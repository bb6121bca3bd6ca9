"""Limits besides the budget: their formulas, and the chance that several hold, by simulation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fairfix.errors import UsageError
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.group_columns import GroupColumns
from fairfix.metrics.joint_chance import joint_chance
from fairfix.metrics.limits import (
    TODAY,
    AucLimit,
    GapLimit,
    Limit,
    RangeLimit,
    SelectionChangeLimit,
    SmallestRateLimit,
)
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES
from fairfix.metrics.rates import selection_rate, true_positive_rate

SEX = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
RACE = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])
DECIDED = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
COLUMNS = GroupColumns(
    torch.arange(8), SEX, 2, 1.0, {"race": (RACE, 2, 1.0), TODAY: (DECIDED, 2, 1.0)}
)
# Rows of tp, fp, fn and tn by sex, race and decision in use today.
CELLS = np.array(
    [
        [40, 160, 60, 180, 50, 300, 60, 300],
        [20, 90, 40, 130, 30, 150, 40, 140],
        [90, 40, 70, 30, 130, 60, 80, 30],
        [330, 90, 200, 60, 480, 120, 330, 90],
    ],
    float,
)
BALANCED = PERFORMANCES["balanced_accuracy"]


def counts_of(cells: np.ndarray) -> Counts:
    """Counts of cells (..., 4, 8)."""
    tp, fp, fn, tn = (torch.from_numpy(cells[..., side, :].copy()) for side in range(4))
    return COLUMNS.counts(tp, fp, fn, tn)


COUNTS = counts_of(CELLS)


def value(limit: Limit) -> float:
    return float(limit.value(COUNTS))


SPD, EOD, DI = (METRICS[key] for key in ("spd", "eod", "di"))
SPD_AT = abs(value(GapLimit(SPD, 0.05)))
SPD_RACE = abs(value(GapLimit(SPD, 0.05, "race")))
EOD_RACE = abs(value(GapLimit(EOD, 0.05, "race")))
SELECTED = value(RangeLimit(selection_rate))
BALANCED_AT = value(RangeLimit(BALANCED))
CHANGE = abs(value(SelectionChangeLimit(0.5)))

TWO: dict[str, tuple[Limit, ...]] = {
    "gaps of two columns": (
        GapLimit(SPD, SPD_AT + 0.005),
        GapLimit(SPD, SPD_RACE + 0.005, "race"),
    ),
    "the same gap twice": (GapLimit(SPD, SPD_AT + 0.01), GapLimit(SPD, SPD_AT + 0.002)),
    "a gap and a ceiling": (GapLimit(SPD, SPD_AT), RangeLimit(selection_rate, high=SELECTED)),
    "a gap and a floor": (GapLimit(EOD, 0.05), RangeLimit(BALANCED, low=BALANCED_AT - 0.005)),
    "two ends of one rate": (
        RangeLimit(selection_rate, low=SELECTED - 0.005),
        RangeLimit(selection_rate, high=SELECTED + 0.004),
    ),
    "a ratio and a change": (
        GapLimit(DI, 0.03),
        SelectionChangeLimit(CHANGE),
    ),
    "accuracy and performance": (
        RangeLimit(PERFORMANCES["accuracy"], low=BALANCED_AT),
        RangeLimit(PERFORMANCES["f1"], low=0.66),
    ),
}
THREE: dict[str, tuple[Limit, ...]] = {
    "gaps and a floor": (
        GapLimit(SPD, SPD_AT + 0.005),
        GapLimit(EOD, EOD_RACE + 0.01, "race"),
        RangeLimit(BALANCED, low=BALANCED_AT - 0.005),
    ),
    "five": (
        GapLimit(SPD, SPD_AT + 0.01),
        GapLimit(SPD, SPD_RACE + 0.01, "race"),
        GapLimit(EOD, EOD_RACE + 0.01, "race"),
        RangeLimit(selection_rate, high=SELECTED + 0.005),
        SmallestRateLimit(true_positive_rate, 0.62, "race"),
    ),
}


def simulated(limits: tuple[Limit, ...], tables: int = 20_000) -> float:
    """The share of tables drawn around the cells in which all limits hold."""
    drawn = np.random.default_rng(0).multinomial(
        int(CELLS.sum()), CELLS.ravel() / CELLS.sum(), tables
    )
    counts = counts_of(drawn.reshape(tables, 4, 8).astype(float))
    return float(torch.stack([limit.held(counts) for limit in limits]).all(0).double().mean())


@pytest.mark.parametrize("name", TWO)
def test_the_chance_of_two_limits_is_that_of_simulated_tables(name: str) -> None:
    chance, share = float(joint_chance(TWO[name], COUNTS, 1.0)), simulated(TWO[name])
    assert 0.05 < share < 0.95
    assert chance == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("name", THREE)
def test_the_chance_of_more_limits_is_near_that_of_simulated_tables(name: str) -> None:
    chance, share = float(joint_chance(THREE[name], COUNTS, 1.0)), simulated(THREE[name])
    assert 0.05 < share < 0.95
    assert chance == pytest.approx(share, abs=0.04)


def test_correlation_matters() -> None:
    """The chance of one limit given twice is that of the narrower one, not the product."""
    limits = TWO["the same gap twice"]
    single = [float(joint_chance((limit,), COUNTS, 1.0)) for limit in limits]
    assert float(joint_chance(limits, COUNTS, 1.0)) == pytest.approx(min(single), abs=0.01)


def test_figures_are_those_of_the_tables() -> None:
    tp, fp, fn, _ = CELLS
    race = RACE.numpy()
    by_race = [(tp + fp)[race == r].sum() / CELLS[:, race == r].sum() for r in (0, 1)]
    assert value(GapLimit(SPD, 0.1, "race")) == pytest.approx(by_race[0] - by_race[1])
    tpr = [tp[race == r].sum() / (tp + fn)[race == r].sum() for r in (0, 1)]
    assert value(SmallestRateLimit(true_positive_rate, 0.1, "race")) == pytest.approx(min(tpr))
    selected, today = (tp + fp).sum(), CELLS[:, DECIDED.numpy() == 1].sum()
    assert value(SelectionChangeLimit(0.1)) == pytest.approx(selected / today - 1)
    assert value(RangeLimit(selection_rate, low=0.1)) == pytest.approx(selected / CELLS.sum())


def test_the_variance_of_a_change_is_that_of_simulated_tables() -> None:
    limit = SelectionChangeLimit(0.1)
    drawn = np.random.default_rng(1).multinomial(
        int(CELLS.sum()), CELLS.ravel() / CELLS.sum(), 20_000
    )
    found = limit.value(counts_of(drawn.reshape(-1, 4, 8).astype(float)))
    assert float(limit.figures(COUNTS).variance) == pytest.approx(float(found.var()), rel=0.05)


def test_the_area_under_the_curve_has_the_variance_of_hanley_and_mcneil() -> None:
    counts = replace(COUNTS, auc=torch.tensor(0.8))
    figures = AucLimit(low=0.78).figures(counts)
    favorable, unfavorable = (
        float(COUNTS.tp.sum() + COUNTS.fn.sum()),
        float((COUNTS.fp + COUNTS.tn).sum()),
    )
    one, other = 0.8 / 1.2, 2 * 0.64 / 1.8
    spread = 0.16 + (favorable - 1) * (one - 0.64) + (unfavorable - 1) * (other - 0.64)
    expected = spread / (favorable * unfavorable)
    assert float(figures.variance) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", [{}, {"risk": 0.5}, {"margin": 0.0}, {"kind": "tradeoff"}])
def test_a_slack_limit_changes_no_utility(kind: dict[str, Any]) -> None:
    plain = Objective(SPD, 0.3, **kind)
    limited = replace(plain, limits=(RangeLimit(BALANCED, low=0.01), GapLimit(EOD, 0.9, "race")))
    assert float(limited.utility(COUNTS)) == pytest.approx(float(plain.utility(COUNTS)), rel=1e-9)


@pytest.mark.parametrize("kind", [{}, {"risk": 0.1}, {"margin": 0.0}, {"kind": "tradeoff"}])
def test_the_smallest_excess_ranks_highest_where_limits_cannot_hold(kind: dict[str, Any]) -> None:
    many = counts_of(CELLS * 1e6)  # so that chances are negligible
    limits = [(RangeLimit(BALANCED, low=low),) for low in (0.75, 0.8, 0.95)]
    found = [
        float(replace(Objective(SPD, 0.3, **kind), limits=each).utility(many)) for each in limits
    ]
    assert found == sorted(found, reverse=True)
    assert all(np.diff(found) < 0)
    assert max(found) < 0


def test_an_undefined_limit_never_holds() -> None:
    empty = CELLS * (RACE.numpy() == 0)
    objective = Objective(SPD, 0.5, limits=(GapLimit(SPD, 0.9, "race"),))
    assert float(objective.utility(counts_of(empty))) == -math.inf
    assert float(objective.probability_met(counts_of(empty))) == 0
    assert not objective.met(counts_of(empty))


def test_a_floor_above_the_ceiling_is_refused() -> None:
    with pytest.raises(UsageError, match=r"The floor 0\.5 is above the ceiling 0\.4"):
        RangeLimit(selection_rate, 0.5, 0.4)


def test_the_chance_of_many_tables_is_that_of_each() -> None:
    limits = THREE["five"]
    tables = counts_of(np.stack([CELLS, CELLS[::-1], CELLS + 10, CELLS * 2]))
    together = joint_chance(limits, tables, 1.2)
    alone = [float(joint_chance(limits, tables.take(i), 1.2)) for i in range(4)]
    assert together.tolist() == pytest.approx(alone, rel=1e-12)
