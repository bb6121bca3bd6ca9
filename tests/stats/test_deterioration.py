"""Serious warnings: each where it is true, and where today or the network's optimum is as bad."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import AUC_DIFFERENCE, METRICS
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import AUC, accuracy
from fairfix.stats.calibration_error import calibration_error, calibration_error_estimate
from fairfix.stats.deterioration import Deterioration, deteriorations
from fairfix.stats.linearized_figures import of_decisions

Rates = tuple[float, float, float, float]
"""Shares decided favorably: (group 0, label 0), (0, 1), (1, 0), (1, 1)."""

N = 4_000
rng = np.random.default_rng(0)
SEX, AGE = np.arange(N) % 2, np.arange(N) // 2 % 2
LABEL = (np.arange(N) // 4 % 4 == 0).astype(int)
U = rng.permutation(N) / N


@dataclass(frozen=True)
class Column:
    column: str
    ids: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class Decided:
    problem: Problem
    scores: Tensor
    unmodified: Tensor
    optimum: Tensor
    debiased: Tensor
    groups: tuple[Column, ...]
    probabilities: Tensor | None = None


TODAY: Rates = (0.05, 0.5, 0.1, 0.6)
OPTIMUM: Rates = (0.2, 0.7, 0.3, 0.8)
GOOD: Rates = (0.1, 0.6, 0.1, 0.6)


def by(rates: Rates) -> Tensor:
    return torch.from_numpy(np.array(rates)[2 * SEX + LABEL] > U)


def decided(
    debiased: Rates | Tensor,
    today: Rates = TODAY,
    optimum: Rates = OPTIMUM,
    scores: np.ndarray | None = None,
    columns: tuple[Column, ...] = (),
    clusters: np.ndarray | None = None,
) -> Decided:
    probabilities = torch.full((N,), 0.25, dtype=torch.float64)
    problem = Problem(
        probabilities,
        torch.from_numpy(LABEL),
        torch.from_numpy(SEX),
        ("f", "m"),
        clusters=None if clusters is None else torch.from_numpy(clusters),
    )
    return Decided(
        problem,
        probabilities if scores is None else torch.from_numpy(scores),
        by(today),
        by(optimum),
        debiased if isinstance(debiased, Tensor) else by(debiased),
        (Column("sex", SEX, ("f", "m")), *columns),
    )


def found(rows: Decided, validation: Decided | None = None) -> dict[str, Deterioration]:
    every = deteriorations(validation or rows, rows, Objective())
    return {" ".join(filter(None, (each.what, each.metric, each.column))): each for each in every}


def serious(rows: Decided, validation: Decided | None = None) -> set[str]:
    return {name for name, each in found(rows, validation).items() if each.serious}


def test_a_harmless_result_has_no_serious_warning() -> None:
    assert serious(decided(GOOD)) == set()


def test_accuracy_below_the_majority_class() -> None:
    poor: Rates = (0.4, 0.7, 0.4, 0.7)
    assert "accuracy" in serious(decided(poor))
    found_by = found(decided(poor, optimum=(0.42, 0.75, 0.42, 0.75)))["accuracy"]
    assert not found_by.serious  # the optimum is as inaccurate
    assert found_by.limit == pytest.approx(0.75)
    assert "accuracy" not in found(decided((0.1, 0.9, 0.1, 0.9)))


@pytest.mark.parametrize("rate", [0.01, 0.7])
def test_a_selection_rate_changed_by_more_than_half(rate: float) -> None:
    alike: Rates = (rate, rate, rate, rate)
    assert "selection rate" in serious(decided(alike, optimum=GOOD))
    assert "selection rate" not in serious(decided(alike, optimum=alike))
    assert "selection rate" not in found(decided(alike, today=alike))


def test_a_calibration_error_up_by_more_than_three_hundredths() -> None:
    honest = np.full(N, 0.25)
    high = honest + 0.4 * rng.random(N)
    assert serious(decided(GOOD, scores=high)) == {"calibration error"}
    assert "calibration error" not in found(decided(GOOD, scores=honest + 0.01))
    modeled = replace(decided(GOOD, scores=high), probabilities=torch.from_numpy(honest))
    assert "calibration error" not in found(modeled)  # the score only orders the rows


def test_another_gap_beyond_the_budget() -> None:
    unequal: Rates = (0.3, 0.4, 0.15, 0.8)
    assert {"gap eod sex"} <= serious(decided(unequal))
    before = found(decided(unequal, today=(0.05, 0.2, 0.1, 0.7)))
    assert not before["gap eod sex"].serious  # today's was as large
    assert "gap spd sex" not in before  # the debiased one is the verdict's
    assert not any(name.startswith("gap") for name in found(decided(GOOD)))


def test_a_reversed_gap() -> None:
    reversed_: Rates = (0.1, 0.8, 0.1, 0.6)
    each = found(decided(reversed_))["reversed gap eod sex"]
    assert each.serious
    assert (each.today, each.debiased) == pytest.approx((-0.1, 0.2), abs=0.05)
    assert "reversed gap eod sex" not in serious(decided(reversed_, optimum=(0.2, 0.9, 0.3, 0.8)))
    assert "reversed gap eod sex" not in serious(decided((0.1, 0.61, 0.1, 0.6)))  # by chance


def test_a_gap_between_the_groups_of_another_column() -> None:
    age = Column("age", AGE, ("young", "old"))
    unequal = torch.from_numpy(np.where(AGE == 1, 0.35, 0.1) > U)
    assert {"gap spd age", "gap fprd age"} <= serious(decided(unequal, columns=(age,)))
    assert not any("age" in name for name in serious(decided(GOOD, columns=(age,))))


def test_levelling_down() -> None:
    lower: Rates = (0.02, 0.3, 0.02, 0.3)
    assert "levelling down" in serious(decided(lower))
    kept = decided(lower, optimum=lower)
    assert not found(kept)["levelling down"].serious
    assert "levelling down" not in found(decided((0.1, 0.7, 0.1, 0.6)))


def test_overfitting() -> None:
    rows, tuned = decided((0.02, 0.5, 0.1, 0.6)), decided(GOOD)
    assert "overfitting" in serious(rows, tuned)
    drifted = found(replace(rows, unmodified=rows.debiased), replace(tuned, unmodified=by(GOOD)))
    assert not drifted["overfitting"].serious  # today's gap grew as much
    assert "overfitting" not in found(tuned, tuned)


def test_copies_of_rows_are_no_further_evidence() -> None:
    """Ten copies make a small difference significant unless they are counted as clusters."""
    poor: Rates = (0.32, 0.7, 0.32, 0.7)
    few = np.arange(N) // 400
    assert "accuracy" in serious(decided(poor, optimum=(0.26, 0.7, 0.26, 0.7)))
    rows = decided(poor, optimum=(0.26, 0.7, 0.26, 0.7), clusters=few)
    difference = of_decisions(rows.problem, rows.debiased, lambda c: accuracy(c.total()))
    assert difference.variance(rows.problem.clusters) != pytest.approx(difference.variance())


@pytest.mark.parametrize("weighted", [False, True])
def test_influences_give_the_variance_of_resampled_rows(weighted: bool) -> None:
    rows = decided(TODAY).problem
    weights = 0.5 + rng.random(N) if weighted else np.ones(N)
    rows = replace(rows, weights=torch.from_numpy(weights))
    metric, decisions = METRICS["eod"], by(TODAY)

    def figure(counts: Counts) -> Tensor:
        return metric(counts).value

    one = of_decisions(rows, decisions, figure)
    assert one.influence.sum() == pytest.approx(0.0, abs=1e-9)
    resampled = []
    for _ in range(300):
        index = torch.from_numpy(rng.integers(0, N, N))
        resampled.append(of_decisions(rows.take(index), decisions[index], figure).value)
    assert one.variance() == pytest.approx(np.var(resampled), rel=0.3)


def test_the_calibration_error_is_that_of_fifteen_bins_of_equal_mass() -> None:
    scores = np.sort(rng.random(N))
    rows = replace(decided(GOOD).problem, scores=torch.from_numpy(scores))
    bins = np.array_split(np.arange(N), 15)
    by_hand = sum(len(b) / N * abs(scores[b].mean() - LABEL[b].mean()) for b in bins)
    error = calibration_error(rows, rows.scores)
    assert error.figure.value == pytest.approx(by_hand, abs=1e-3)
    interval = calibration_error_estimate(rows).interval(0.05)
    assert interval.low < error.figure.value < interval.high
    honest = torch.from_numpy(np.full(N, 0.25))
    assert calibration_error(rows, honest).figure.value == pytest.approx(0.0)


def test_figures_of_scores_that_got_worse_are_serious() -> None:
    """One group loses its better ranking; and the other table had shown none of it."""

    def scored(noise: tuple[float, float]) -> np.ndarray:
        z = 3 * LABEL + np.array(noise)[SEX] * np.random.default_rng(5).normal(size=N)
        return np.asarray(1 / (1 + np.exp(-z)))

    before, after = scored((1, 3)), scored((2.5, 3))
    rows = decided(GOOD, scores=after)
    rows = replace(rows, problem=replace(rows.problem, scores=torch.from_numpy(before)))
    seen = replace(rows, scores=torch.from_numpy(before))
    objective = Objective(AUC_DIFFERENCE, performance=AUC)
    every = {each.what: each for each in deteriorations(seen, rows, objective)}
    assert every["levelling down"].serious
    assert "the area under the ROC curve of 'f' went from" in every["levelling down"].detail
    assert every["overfitting"].serious
    assert every["overfitting"].detail.startswith("overfitting: area under the ROC curve is ")
    same = replace(rows, scores=torch.from_numpy(before))
    assert {each.what for each in deteriorations(seen, same, objective)}.isdisjoint(
        {"levelling down", "overfitting"}
    )
