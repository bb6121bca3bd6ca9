"""Verdict, power and influences of metrics of scores, on the rows of a problem."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics as sklearn
import torch

from fairfix.data.problem import Problem
from fairfix.metrics.fairness_metrics import AUC_DIFFERENCE, METRICS
from fairfix.metrics.objective import Objective
from fairfix.stats.auc_claim import auc_gap_claim
from fairfix.stats.auc_figures import of_auc, of_auc_gap
from fairfix.stats.auc_levelling_down import auc_levelling_down
from fairfix.stats.gap_claims import gap_claim, gap_power
from fairfix.stats.overfitting import overfitting
from fairfix.stats.power import power_analysis
from fairfix.stats.verdicts import Verdict, claim
from tests.helpers.toys import scored_rows


def decided(problem: Problem) -> torch.Tensor:
    return problem.scores > 0.5


@pytest.mark.parametrize("weighted", [False, True])
def test_claims_are_those_of_decisions_or_of_scores(weighted: bool) -> None:
    problem = scored_rows(400, 2, weighted=weighted)
    counts = problem.clustered_counts(decided(problem))
    of_decisions = gap_claim(METRICS["eod"], problem, decided(problem), 0.2)
    assert of_decisions == claim("eod", counts, problem.group_names, 0.2)
    found = gap_claim(AUC_DIFFERENCE, problem, decided(problem), 0.2)
    weights = None if problem.weights is None else problem.weights.numpy()
    columns = problem.scores.numpy(), problem.labels.numpy(), problem.groups.numpy()
    assert found == auc_gap_claim(*columns, problem.group_names, 0.2, weights=weights)
    power = gap_power(METRICS["eod"], problem, decided(problem), 0.2)
    assert power == power_analysis("eod", counts, problem.group_names, 0.2)


def test_the_certifiable_auc_difference_is_certified() -> None:
    problem = scored_rows(2000, 2, seed=1)
    found = gap_power(AUC_DIFFERENCE, problem, decided(problem), 0.2).certifiable_gap
    assert found is not None
    seen = gap_claim(AUC_DIFFERENCE, problem, decided(problem), 0.2)
    half_width = (seen.interval.high - seen.interval.low) / 2
    assert found == pytest.approx(0.2 - half_width)
    just, not_quite = (abs(seen.value) + half_width * factor for factor in (1.03, 0.97))
    verdicts = [
        gap_claim(AUC_DIFFERENCE, problem, decided(problem), b).verdict for b in (just, not_quite)
    ]
    assert verdicts == [Verdict.CERTIFIED, Verdict.INCONCLUSIVE]


def test_the_rows_needed_certify_four_times_of_five() -> None:
    """On rows that are drawn again without a gap."""
    rng = np.random.default_rng(0)

    def drawn(n: int) -> Problem:
        cells = np.arange(n) % 4
        scores = 1 / (1 + np.exp(-rng.normal(cells % 2 * 1.2)))
        columns = (scores, cells % 2, cells // 2)
        return Problem(*(torch.from_numpy(each) for each in columns), ("u", "p"))

    first = drawn(400)
    needed = gap_power(AUC_DIFFERENCE, first, decided(first), 0.06).rows_needed
    assert needed is not None
    n = sum(needed.values())
    assert needed["u"] == needed["p"] > 400
    kinds = [
        gap_claim(AUC_DIFFERENCE, p, decided(p), 0.06).verdict
        for p in (drawn(n) for _ in range(60))
    ]
    assert kinds.count(Verdict.CERTIFIED) / 60 == pytest.approx(0.8, abs=0.15)
    half = gap_power(AUC_DIFFERENCE, first, decided(first), 0.06, share=0.5).rows_needed
    assert half is not None
    assert half["u"] == pytest.approx(needed["u"], rel=0.01)


def test_a_group_of_one_label_has_no_power() -> None:
    problem = scored_rows(40, 2)
    problem = replace(problem, labels=torch.where(problem.groups == 1, 1, problem.labels))
    found = gap_power(AUC_DIFFERENCE, problem, decided(problem), 0.1)
    assert (found.certifiable_gap, found.rows_needed) == (None, None)
    assert math.isnan(of_auc_gap(problem, problem.scores).value)


def areas(problem: Problem) -> list[float]:
    """The area of each group."""
    found = []
    for g in range(problem.n_groups):
        here = problem.groups == g
        weights = None if problem.weights is None else problem.weights[here]
        found.append(
            sklearn.roc_auc_score(problem.labels[here], problem.scores[here], sample_weight=weights)
        )
    return found


@pytest.mark.parametrize("weighted", [False, True])
def test_influences_give_areas_their_gap_and_the_variance_of_both(weighted: bool) -> None:
    problem = scored_rows(300, 3, seed=4, levels=30, weighted=weighted)
    whole, gap = of_auc(problem, problem.scores), of_auc_gap(problem, problem.scores)
    expected = sklearn.roc_auc_score(problem.labels, problem.scores, sample_weight=problem.weights)
    assert whole.value == pytest.approx(expected)
    by_group = areas(problem)
    high, low = int(np.argmax(by_group)), int(np.argmin(by_group))
    assert gap.value == pytest.approx(by_group[high] - by_group[low])
    rng = np.random.default_rng(0)
    draws = [problem.take(torch.from_numpy(rng.integers(0, 300, 300))) for _ in range(200)]
    resampled = [of_auc(again, again.scores).value for again in draws]
    assert whole.variance() ** 0.5 == pytest.approx(np.std(resampled), rel=0.15)
    between = [by[high] - by[low] for by in map(areas, draws)]
    assert gap.variance() ** 0.5 == pytest.approx(np.std(between), rel=0.15)


def test_a_small_auc_difference_only_on_validation_rows_is_overfitting() -> None:
    rows = scored_rows(1200, 2, seed=5)
    noise = torch.from_numpy(np.random.default_rng(1).random(1200)).float()
    worse = replace(rows, scores=torch.where(rows.groups == 0, noise, rows.scores))
    objective = Objective(AUC_DIFFERENCE)
    said = overfitting(rows, decided(rows), worse, decided(rows), objective)
    gaps = [of_auc_gap(each, each.scores).value for each in (rows, worse)]
    assert said[0].sentence.startswith(
        f"overfitting: abs(aucd) is {gaps[0]:.3f} on the 1,200 validation rows and {gaps[1]:.3f}"
    )
    assert overfitting(rows, decided(rows), rows, decided(rows), objective) == ()


def levelled(change: tuple[float, float]) -> tuple[str, ...]:
    """From areas of .9 and .7, with this change of the noise in the scores of each group."""
    rng = np.random.default_rng(3)
    labels, groups = np.arange(1200) % 2, np.arange(1200) // 2 % 2
    noise, spread = rng.normal(size=1200), np.array([1.0, 2.0])

    def scores(sd: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(1 / (1 + np.exp(-2 * labels - noise * sd[groups])))

    before = Problem(scores(spread), torch.from_numpy(labels), torch.from_numpy(groups), ("u", "p"))
    return auc_levelling_down(before, scores(spread + np.array(change)))


def test_a_smaller_difference_because_a_group_lost_is_levelling_down() -> None:
    (said,) = levelled((0.8, 0.0))
    assert said.startswith("levelling down: abs(aucd) shrank from ")
    assert "the area under the ROC curve of 'u' went from 0.9" in said
    assert "of 'p'" not in said
    assert said.endswith("no group gained significantly")


@pytest.mark.parametrize("change", [(0.5, -0.8), (0.0, -0.8), (-0.3, 0.0), (0.0, 0.0)])
def test_a_group_that_gains_or_a_larger_difference_is_not(change: tuple[float, float]) -> None:
    assert levelled(change) == ()
