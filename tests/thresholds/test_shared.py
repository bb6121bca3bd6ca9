"""The exact best threshold against all possible thresholds, tried one by one."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts, count
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES
from fairfix.thresholds import shared
from fairfix.thresholds.shared import (
    ALL_POSITIVE,
    NONE_POSITIVE,
    ROUND_OFF,
    SharedThreshold,
    batched_utility,
    best_threshold,
    best_threshold_of,
    cumulative_counts,
    evaluate_all_thresholds,
    sort_descending,
)
from tests.helpers.toys import count_by_hand, scored_rows

KINDS = {
    "constrained": {"margin": 0.01},
    "by chance": {"margin": None},
    "trade-off": {"kind": "tradeoff"},
}


def best_of(
    problem: Problem, objective: Objective, scores: Tensor | None = None
) -> SharedThreshold:
    scores = problem.scores if scores is None else scores
    return best_threshold(
        scores, problem.labels, problem.groups, problem.n_groups, objective, problem.weights
    )


def rows(scores: list[float], labels: list[int], groups: list[int]) -> Problem:
    return Problem(
        torch.tensor(scores), torch.tensor(labels), torch.tensor(groups), ("a", "b")
    )  # fmt: skip


def utility_of_all_thresholds(problem: Problem, objective: Objective) -> float:
    """The best utility over all thresholds."""
    thresholds = torch.cat([torch.tensor([1.0]), problem.scores.unique().flip(0), -torch.ones(1)])
    decisions = problem.scores > thresholds.unsqueeze(1)
    return float(objective.utility(problem.counts(decisions)).max())


def check(best: SharedThreshold, problem: Problem, objective: Objective) -> None:
    """The threshold is the best there is, and has these counts on the scores in float32."""
    assert float(best.utility) == pytest.approx(
        utility_of_all_thresholds(problem, objective), abs=1e-12
    )
    threshold = np.float32(float(best.threshold))
    assert float(threshold) == float(best.threshold)
    decisions = torch.from_numpy(problem.scores.numpy() > threshold)
    found = torch.stack(best.counts.sides).squeeze(1).numpy()
    assert found == pytest.approx(count_by_hand(decisions, problem), abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("performance", PERFORMANCES)
@pytest.mark.parametrize("metric", METRICS)
def test_against_all_thresholds(metric: str, performance: str, kind: str) -> None:
    objective = Objective(
        METRICS[metric], 0.1, performance=PERFORMANCES[performance], **KINDS[kind]
    )
    for n_groups, levels, weighted in itertools.product((2, 3), (0, 12), (False, True)):
        problem = scored_rows(
            48, n_groups, seed=7 * n_groups + levels, levels=levels, weighted=weighted
        )
        check(best_of(problem, objective), problem, objective)


@pytest.mark.parametrize("seed", range(60))
def test_against_all_thresholds_on_random_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = scored_rows(
        int(rng.integers(6, 70)),
        int(rng.integers(2, 4)),
        seed=seed,
        levels=int(rng.choice([0, 2, 5, 20])),
        weighted=bool(rng.integers(2)),
    )
    kind = KINDS[str(rng.choice(list(KINDS)))]
    objective = Objective(METRICS[str(rng.choice(list(METRICS)))], rng.uniform(0.02, 0.5), **kind)
    check(best_of(problem, objective), problem, objective)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_gives_the_same_as_one_by_one(
    weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = scored_rows(50, 3, weighted=weighted)
    rng = np.random.default_rng(1)
    batch = torch.from_numpy(rng.uniform(size=(7, 50)).round(1)).float()
    objective = Objective(budget=0.2)
    alone = [best_of(problem, objective, scores) for scores in batch]
    for at_once in (shared._MAX_CELLS, 1, 50 * 3 * 2 + 3):
        monkeypatch.setattr(shared, "_MAX_CELLS", at_once)
        together = best_of(problem, objective, batch)
        assert torch.equal(together.threshold, torch.cat([best.threshold for best in alone]))
        assert torch.equal(together.utility, torch.cat([best.utility for best in alone]))
        for side, sides in zip(
            together.counts.sides, zip(*(c.counts.sides for c in alone), strict=True), strict=True
        ):
            assert torch.equal(side, torch.cat(sides))
        size = METRICS["spd"](together.counts).probability_within(0.1, 1.0)
        parts = [METRICS["spd"](c.counts).probability_within(0.1, 1.0) for c in alone]
        assert torch.equal(size, torch.cat(parts))


def test_the_order_of_rows_does_not_matter() -> None:
    problem = scored_rows(60, 2, levels=9)
    objective = Objective(budget=0.2)
    best = best_of(problem, objective)
    for seed in range(5):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(60))
        other = best_of(problem.take(order), objective)
        assert torch.equal(other.threshold, best.threshold)
        assert torch.equal(other.utility, best.utility)


def test_the_inputs_are_left_alone() -> None:
    problem = scored_rows(30, 2, weighted=True)
    before = [problem.scores.clone(), problem.labels.clone(), problem.groups.clone()]
    best_of(problem, Objective())
    for old, new in zip(before, (problem.scores, problem.labels, problem.groups), strict=True):
        assert torch.equal(old, new)


def test_a_best_threshold_between_grid_points_is_found() -> None:
    """All scores lie between 0.502 and 0.508."""
    problem = rows([0.502, 0.504, 0.502, 0.504, 0.506, 0.508, 0.506, 0.508],
                   [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 1, 1])  # fmt: skip
    objective = Objective(margin=0.0)
    grid = torch.linspace(0, 1, 101)
    decisions = problem.scores > grid.unsqueeze(1)
    on_grid = objective.utility(count(decisions, problem.labels, problem.groups, 2))
    best = best_of(problem, objective)
    assert float(on_grid.max()) == 0.5
    assert float(best.utility) == 1.0
    assert float(best.threshold) == pytest.approx(0.505)


ACCURACY = Objective(kind="tradeoff", lambda_=0.0, performance=PERFORMANCES["accuracy"])


def test_everyone_positive_is_minus_1_and_no_one_is_1() -> None:
    """With reversed scores, the more frequent label for all rows is most accurate."""
    for label, threshold in ((1, ALL_POSITIVE), (0, NONE_POSITIVE)):
        labels = [label] * 4 + [1 - label]
        scores = [0.0, 0.2, 0.4, 0.6, 1.0] if label else [1.0, 0.8, 0.6, 0.4, 0.0]
        problem = rows(scores, labels, [0, 1, 0, 1, 0])
        best = best_of(problem, ACCURACY)
        assert float(best.threshold) == threshold
        assert bool((problem.scores > best.threshold).all()) is bool(label)
        assert bool((problem.scores > best.threshold).any()) is bool(label)


def test_equal_scores_are_decided_alike() -> None:
    problem = rows([0.5] * 5, [1, 1, 1, 0, 0], [0, 1, 0, 1, 0])
    best = best_of(problem, ACCURACY)
    assert float(best.threshold) == ALL_POSITIVE
    assert float(best.utility) == pytest.approx(-0.4)


def test_of_equally_good_thresholds_the_fewest_positives_win() -> None:
    """The objective is the gap alone, which is 0 with none positive."""
    problem = scored_rows(40, 2)
    only_gap = Objective(kind="tradeoff", lambda_=1.0)
    assert float(best_of(problem, only_gap).threshold) == NONE_POSITIVE


def test_nothing_defined_gives_minus_infinity() -> None:
    problem = rows([0.1, 0.4, 0.6, 0.9], [0, 1, 0, 0], [0, 0, 1, 1])
    assert float(best_of(problem, Objective(METRICS["eod"])).utility) == -math.inf


@pytest.mark.parametrize("score", [1e-30, 1e-6, 0.3, 0.999])
def test_no_threshold_between_scores_within_round_off(score: float) -> None:
    """The labels need a threshold between the middle scores, which must lie far enough apart."""
    for share, allowed in ((0.5 * ROUND_OFF, False), (2 * ROUND_OFF, True)):
        upper = float(np.float32(score * (1 + share)))
        scores = [score / 2, score, upper, min(1.0, score * 2)]
        problem = rows(scores, [0, 0, 1, 1], [0, 1, 0, 1])
        best = best_of(problem, ACCURACY)
        apart = bool((problem.scores > best.threshold.float())[1:3].diff())
        assert apart is allowed
        assert float(best.utility) == pytest.approx(0.0 if allowed else -0.25)


def test_scores_below_the_smallest_normal_number_keep_their_counts() -> None:
    """A sigmoid of -100 is one; the midpoint of two such numbers may round to the upper one."""
    step = 2.0**-149
    for lower in range(20, 40):
        for gap in (1, 2, 3, 15, 16, 17, 39):
            scores = [lower * step, (lower + gap) * step, lower * step, (lower + gap) * step]
            problem = rows(scores, [0, 1, 0, 1], [0, 0, 1, 1])
            best = best_of(problem, ACCURACY)
            decisions = problem.scores > best.threshold.float()
            found = torch.stack(best.counts.sides).squeeze(1).numpy()
            assert np.array_equal(found, count_by_hand(decisions, problem))


@pytest.mark.parametrize("n_groups", [130, 200])
def test_more_groups_than_a_byte_can_number(n_groups: int) -> None:
    rng = np.random.default_rng(0)
    groups = torch.from_numpy(np.arange(4 * n_groups) % n_groups)
    labels = torch.from_numpy(np.arange(4 * n_groups) // n_groups % 2)
    scores = torch.from_numpy(rng.uniform(size=4 * n_groups)).float()
    best = best_threshold(scores, labels, groups, n_groups, ACCURACY)
    expected = count(scores > best.threshold.float(), labels, groups, n_groups)
    assert all(
        torch.equal(found.squeeze(0), side)
        for found, side in zip(best.counts.sides, expected.sides, strict=True)
    )


def test_design_effects_are_kept() -> None:
    problem = scored_rows(40, 2, weighted=True)
    best = best_of(problem, Objective())
    again = count(
        problem.scores > best.threshold.float(), problem.labels, problem.groups, 2, problem.weights
    )
    assert isinstance(best.counts, Counts)
    assert torch.equal(best.counts.design_effect, again.design_effect)


@pytest.mark.parametrize("levels", [0, 6])
@pytest.mark.parametrize("weighted", [False, True])
def test_all_thresholds_descend_and_have_exact_counts(levels: int, weighted: bool) -> None:
    problem = scored_rows(40, 3, levels=levels, weighted=weighted)
    thresholds, counts = evaluate_all_thresholds(problem)
    assert len(thresholds) == len(problem.scores.unique()) + 1
    assert bool((thresholds.diff() < 0).all())
    assert (float(thresholds[0]), float(thresholds[-1])) == (NONE_POSITIVE, ALL_POSITIVE)
    for k, threshold in enumerate(thresholds.float()):
        found = np.array([side[k].tolist() for side in counts.sides])
        expected = count_by_hand(problem.scores > threshold, problem)
        assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [0, 9])
def test_scores_are_sorted_stably_in_descending_order(kind: torch.dtype, levels: int) -> None:
    """Including 0, 1, subnormal numbers, and the largest integer that can be carried."""
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=(3, 500)) if not levels else rng.integers(levels, size=(3, 500)) / 8
    scores[:, :4] = 0, 1e-45, 1, 1e-40
    batch = torch.from_numpy(scores).to(kind)
    before = batch.clone()
    carried = np.sort(rng.choice(2**31 - 1, 500, replace=False))
    carried[-1] = 2**31 - 1
    ordered, moved = sort_descending(batch, torch.from_numpy(carried))
    order = np.argsort(-batch.numpy(), axis=1, kind="stable")
    assert np.array_equal(ordered.numpy(), np.take_along_axis(batch.numpy(), order, 1))
    assert ordered.dtype == kind
    assert np.array_equal(moved.numpy(), carried[order])
    assert torch.equal(batch, before)


def test_minus_zero_is_zero() -> None:
    problem = rows([0.0, -0.0, 0.0, -0.0, 0.5, 0.5], [0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 0, 1])
    ordered, sums = cumulative_counts(problem.scores.unsqueeze(0), problem.labels, 2)
    assert ordered[0].tolist() == [0.5, 0.5, 0, 0, 0, 0]
    assert sums[:, 0].tolist() == [[0, 0, 0, 1, 2, 3, 4], [0, 1, 2, 2, 2, 2, 2]]
    assert float(best_of(problem, ACCURACY).threshold) == 0.25


def test_scores_of_a_transposed_or_picked_tensor() -> None:
    problem = scored_rows(40)
    wide = torch.stack([problem.scores, problem.scores.flip(0)], 1)
    expected = best_of(problem, ACCURACY)
    assert torch.equal(best_of(problem, ACCURACY, wide.t()).threshold[0], expected.threshold[0])
    assert torch.equal(best_of(problem, ACCURACY, wide[:, 0]).threshold, expected.threshold)


@pytest.mark.parametrize("at_once", [1, 7, 64, 2**20])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_chunk_size_does_not_matter(
    weighted: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, objective = scored_rows(60, 3, weighted=weighted, levels=30), Objective(budget=0.2)
    batch = torch.stack([problem.scores, problem.scores.flip(0)])
    expected = best_of(problem, objective, batch)
    _, counts = evaluate_all_thresholds(problem)
    utility = objective.utility(counts)
    monkeypatch.setattr(shared, "_MAX_RATED", at_once)
    found = best_of(problem, objective, batch)
    assert torch.equal(found.threshold, expected.threshold)
    torch.testing.assert_close(found.utility, expected.utility, rtol=1e-13, atol=0)
    torch.testing.assert_close(batched_utility(objective, counts), utility, rtol=1e-13, atol=0)


def test_no_score_vectors_give_no_thresholds() -> None:
    problem = scored_rows(40)
    assert best_of(problem, Objective(), torch.empty(0, 40)).threshold.shape == (0,)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("metric", ["spd", "eod", "ppvd"])
def test_label_probabilities_count_rows_for_both_labels_in_part(
    metric: str, weighted: bool
) -> None:
    """Against the expected counts at every threshold, row by row."""
    problem = scored_rows(60, 3, weighted=weighted)
    p = torch.rand(60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    objective = Objective(METRICS[metric])
    weights = torch.ones(60).double() if problem.weights is None else problem.weights
    weights = weights / weights.mean()
    own = problem.labels, problem.groups, 3, objective, problem.weights
    best = best_threshold(problem.scores, *own, label_probabilities=p)

    def utility(threshold: float) -> float:
        decided = (problem.scores > threshold).double()
        sides = [
            torch.stack([(weights * a * b)[problem.groups == g].sum() for g in range(3)])
            for a, b in ((decided, p), (decided, 1 - p), (1 - decided, p), (1 - decided, 1 - p))
        ]
        effect = problem.design_effect
        return float(objective.utility(Counts(*sides, effect)))

    found = utility(float(best.threshold))
    assert found == pytest.approx(float(best.utility))
    assert found == pytest.approx(max(map(utility, [-1, *problem.scores.tolist()])))
    certain = best_threshold(problem.scores, *own, label_probabilities=problem.labels)
    assert certain.threshold == best_threshold(problem.scores, *own).threshold


@pytest.mark.parametrize("metric", ["spd", "eod"])
def test_copies_in_clusters_count_once_in_standard_errors(metric: str) -> None:
    problem = scored_rows(400, seed=4)
    copies = torch.arange(400).repeat_interleave(5)
    clustered = replace(problem.take(copies), clusters=copies)
    objective = Objective(METRICS[metric])
    alone, found, naive = (
        best_threshold_of(each, each.scores, objective)
        for each in (problem, clustered, replace(clustered, clusters=None))
    )
    assert float(found.utility) == pytest.approx(float(alone.utility), rel=0.02)
    assert float(naive.utility) > 1.02 * float(alone.utility)
