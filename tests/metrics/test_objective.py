"""Objectives against their formulas, written out."""

from __future__ import annotations

import math

import pytest
import torch

from fairfix.errors import UsageError
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import (
    Objective,
    chance_constrained,
    constrained,
    risk_constrained,
    trade_off,
)
from fairfix.metrics.performance import PERFORMANCES
from tests.helpers.toys import table

# Balanced accuracy (6/9 + 11/15) / 2 = 0.7, spd -1/16, eod 0.
COUNTS = table(tp=[2, 4], fp=[1, 3], fn=[1, 2], tn=[4, 7])
WORSE_GAP = table(tp=[0, 6], fp=[0, 3], fn=[3, 0], tn=[5, 7])
NO_POSITIVES = table(tp=[0, 4], fp=[1, 3], fn=[0, 2], tn=[4, 7])


def test_the_tables_have_the_gaps_that_the_tests_assume() -> None:
    assert float(METRICS["spd"](COUNTS).value) == 3 / 8 - 7 / 16
    assert float(METRICS["spd"](WORSE_GAP).size) > 0.5
    assert METRICS["eod"](NO_POSITIVES).size.isnan()


@pytest.mark.parametrize(
    ("size", "expected"), [(0.04, 0.8), (0.05, -0.05), (0.3, -0.3), (math.nan, math.nan)]
)
def test_constrained(size: float, expected: float) -> None:
    found = constrained(torch.tensor(0.8), torch.tensor(size), 0.05)
    assert float(found) == pytest.approx(expected, nan_ok=True)


def test_infeasible_points_rank_by_gap_below_all_feasible_ones() -> None:
    performance = torch.tensor([0.99, 0.5, 0.9, 0.0])
    size = torch.tensor([0.3, 0.2, 0.06, 0.01])
    found = constrained(performance, size, 0.05)
    assert found.argsort().tolist() == [0, 1, 2, 3]


def test_trade_off() -> None:
    found = trade_off(torch.tensor(0.8), torch.tensor(0.1), 0.75)
    assert float(found) == pytest.approx(-(0.75 * 0.1 + 0.25 * 0.2))


def test_chance_constrained() -> None:
    gap = METRICS["spd"](COUNTS)
    chance = float(gap.probability_within(0.2, 1.0))
    assert 0 < chance < 1
    found = chance_constrained(torch.tensor(0.7), gap, 0.2, 1.0)
    assert float(found) == pytest.approx(0.7 * chance)


def test_chance_constrained_falls_back_on_the_smallest_gap() -> None:
    many = table(tp=[0, 9000], fp=[0, 9000], fn=[9000, 0], tn=[9000, 0])
    fewer = table(tp=[0, 9000], fp=[4500, 9000], fn=[9000, 0], tn=[4500, 0])
    found = [float(Objective().utility(counts)) for counts in (many, fewer)]
    assert found == pytest.approx([-1, -0.75])


def test_risk_constrained_is_performance_or_minus_the_probability_of_exceeding() -> None:
    gap = METRICS["spd"](COUNTS)
    chance = float(gap.probability_within(0.2, 1.0))
    enough, more = 1 - chance + 1e-6, 1 - chance - 1e-6
    assert float(risk_constrained(torch.tensor(0.7), gap, 0.2, enough, 1.0)) == pytest.approx(0.7)
    assert float(risk_constrained(torch.tensor(0.7), gap, 0.2, more, 1.0)) == pytest.approx(
        chance - 1
    )


def test_risk_constrained_ranks_by_probability_then_by_gap() -> None:
    """A worse gap of fewer rows is likelier to fit than the same of more; then gaps decide."""
    tables = [
        table(tp=[90, 90], fp=[90, 90], fn=[10, 10], tn=[10, 10]),
        table(tp=[9, 8], fp=[9, 9], fn=[1, 2], tn=[1, 1]),
        table(tp=[90, 80], fp=[90, 80], fn=[10, 20], tn=[10, 20]),
        table(tp=[0, 9000], fp=[4500, 9000], fn=[9000, 0], tn=[4500, 0]),
        table(tp=[0, 9000], fp=[0, 9000], fn=[9000, 0], tn=[9000, 0]),
    ]
    objective = Objective(risk=0.4)
    found = [float(objective.utility(counts)) for counts in tables]
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(0.5)
    assert -1 < found[2] < found[1] < 0
    assert found[3:] == pytest.approx([-1.75, -2])


@pytest.mark.parametrize("k", [1.0, 2.0])
def test_k_widens_the_standard_error(k: float) -> None:
    gap = METRICS["spd"](COUNTS)
    objective = Objective(budget=0.1, k=k)
    assert float(objective.probability_met(COUNTS)) == float(gap.probability_within(0.1, k))
    assert float(objective.utility(COUNTS)) == pytest.approx(
        0.7 * float(objective.probability_met(COUNTS))
    )


def test_probability_met_of_an_undefined_gap_is_0() -> None:
    assert float(Objective(METRICS["eod"]).probability_met(NO_POSITIVES)) == 0


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Objective(budget=0.1, margin=0.01), 0.7),
        (Objective(budget=0.07, margin=0.01), -1 / 16),
        (Objective(kind="tradeoff", lambda_=0.25), -(0.25 / 16 + 0.75 * 0.3)),
        (Objective(METRICS["eod"], 0.05, 0.0, PERFORMANCES["accuracy"]), 17 / 24),
        (Objective(METRICS["eod"], 0.05, 0.0, PERFORMANCES["f1"]), 12 / 19),
    ],
)
def test_utility_of_a_table(objective: Objective, expected: float) -> None:
    assert float(objective.utility(COUNTS)) == pytest.approx(expected)


def test_the_default_is_chance_constrained_at_root_two_standard_errors() -> None:
    gap = METRICS["spd"](COUNTS)
    expected = 0.7 * float(gap.probability_within(0.05, math.sqrt(2)))
    assert float(Objective().utility(COUNTS)) == pytest.approx(expected)


def test_a_methods_own_k_is_for_an_objective_without_one() -> None:
    assert Objective().with_default_k(1.2).factor == 1.2
    assert Objective(k=math.sqrt(2)).with_default_k(1.2).factor == math.sqrt(2)


@pytest.mark.parametrize(
    "objective",
    [
        Objective(METRICS["eod"]),
        Objective(METRICS["eod"], risk=0.1),
        Objective(METRICS["eod"], margin=0.0),
        Objective(METRICS["eod"], kind="tradeoff"),
    ],
)
def test_undefined_is_worse_than_everything_and_never_met(objective: Objective) -> None:
    assert float(objective.utility(NO_POSITIVES)) == -math.inf
    assert objective.utility(WORSE_GAP) > -math.inf
    assert not objective.met(NO_POSITIVES)


def test_met_is_strictly_below_the_budget() -> None:
    assert not Objective(budget=1 / 16).met(COUNTS)
    assert Objective(budget=1 / 16 + 1e-9).met(COUNTS)
    assert float(Objective(budget=1 / 16, margin=0.0).utility(COUNTS)) < 0


def test_many_tables_at_once() -> None:
    sides = (torch.stack(pair) for pair in zip(COUNTS.sides, WORSE_GAP.sides, strict=True))
    both = type(COUNTS)(*sides)
    for objective in (
        Objective(),
        Objective(risk=0.7),
        Objective(margin=0.01),
        Objective(kind="tradeoff"),
    ):
        expected = [float(objective.utility(counts)) for counts in (COUNTS, WORSE_GAP)]
        assert objective.utility(both).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"budget": 0.0}, "budget must be in"),
        ({"budget": 1.0}, "budget must be in"),
        ({"budget": math.nan}, "budget must be in"),
        ({"margin": 0.05}, "margin must be at least 0 and below"),
        ({"margin": -0.01}, "margin must be at least 0 and below"),
        ({"margin": math.nan}, "margin must be at least 0 and below"),
        ({"kind": "best"}, "constrained or tradeoff, not 'best'"),
        ({"lambda_": 1.5}, "lambda must be in"),
        ({"lambda_": math.nan}, "lambda must be in"),
        ({"k": 0.0}, "k must be above 0, not 0.0"),
        ({"k": math.inf}, "k must be finite and above 0, not inf"),
        ({"k": math.nan}, "k must be finite and above 0, not nan"),
        ({"risk": 0.0}, "risk must be in .0, 1., not 0.0"),
        ({"risk": 1.0}, "risk must be in .0, 1., not 1.0"),
        ({"risk": math.nan}, "risk must be in .0, 1., not nan"),
        ({"risk": 0.1, "margin": 0.01}, "margin auto and the constrained objective"),
        ({"risk": 0.1, "kind": "tradeoff"}, "margin auto and the constrained objective"),
    ],
)
def test_arguments_out_of_range_are_named(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Objective(**wrong)
