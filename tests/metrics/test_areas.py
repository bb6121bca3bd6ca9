"""Areas under the ROC curve by group, and their variance, by counting pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics as sklearn
import torch

from fairfix.metrics.areas import group_areas
from fairfix.metrics.counts import Counts, design_effect, in_rows
from fairfix.metrics.fairness_metrics import AUC_DIFFERENCE
from fairfix.stats.auc_intervals import PlacementValues
from fairfix.thresholds.score_figures import areas_of
from tests.helpers.toys import Floats, scored_rows


def by_pairs(scores: Floats, positive: Floats, negative: Floats) -> tuple[float, float]:
    """Area and smoothed DeLong variance; a row counts for either label with these weights."""
    won = (scores[:, None] > scores) + (scores[:, None] == scores) / 2
    variance = 0.0
    for values, weights in (
        (won @ negative / negative.sum(), positive),
        (positive @ won / positive.sum(), negative),
    ):
        values, weights = np.append(values, [0, 1]), np.append(weights, [1, 1])
        mean = np.average(values, weights=weights)
        variance += np.average((values - mean) ** 2, weights=weights) / (weights.sum() - 2)
    return float(positive @ won @ negative / positive.sum() / negative.sum()), variance


@pytest.mark.parametrize("levels", [0, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_areas_and_variances_by_counting_pairs(levels: int, weighted: bool) -> None:
    rows = scored_rows(60, 3, levels=levels, weighted=weighted)
    weights = torch.ones(60) if rows.weights is None else in_rows(rows.weights)
    effect = design_effect(rows.groups, 3, rows.weights)
    batch = torch.stack([rows.scores, rows.scores.flip(0)])
    found = group_areas(batch, rows.labels, rows.groups, 3, weights, effect)
    for b, g in np.ndindex(2, 3):
        here = rows.groups == g
        w, y = weights[here].double().numpy(), rows.labels[here].numpy()
        area, variance = by_pairs(batch[b, here].double().numpy(), w * y, w * (1 - y))
        assert float(found.value[b, g]) == pytest.approx(area)
        factor = float(torch.as_tensor(effect).expand(3)[g])
        assert float(found.variance[b, g]) == pytest.approx(factor * variance)
        exact = sklearn.roc_auc_score(y, batch[b, here], sample_weight=w)
        assert area == pytest.approx(exact)


def test_probabilities_of_labels_count_rows_for_either_label_in_part() -> None:
    rows = scored_rows(40, 2, levels=5)
    p = torch.linspace(0.1, 0.9, 40, dtype=torch.float64)
    found = group_areas(rows.scores.unsqueeze(0), p, rows.groups, 2)
    here = (rows.groups == 1).numpy()
    area, variance = by_pairs(
        rows.scores.double().numpy()[here], p.numpy()[here], 1 - p.numpy()[here]
    )
    assert float(found.value[0, 1]) == pytest.approx(area)
    assert float(found.variance[0, 1]) == pytest.approx(variance)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_variance_is_that_of_delong_on_many_rows(weighted: bool) -> None:
    rows = scored_rows(6000, 2, levels=50)
    weights = np.random.default_rng(0).uniform(0.5, 2, 6000) if weighted else None
    if weights is not None:
        rows = replace(rows, weights=torch.from_numpy(weights))
    found = areas_of(rows, rows.scores)
    for g in (0, 1):
        here = (rows.groups == g).numpy()
        exact = PlacementValues.from_scores(
            rows.scores.numpy()[here],
            rows.labels.numpy()[here],
            None if weights is None else weights[here],
        )
        assert float(found.variance[g]) == pytest.approx(exact.variance(np.ones(1)), rel=0.02)


def test_a_group_with_one_label_is_undefined_and_perfect_order_is_uncertain() -> None:
    scores = torch.tensor([[0.1, 0.2, 0.8, 0.9, 0.5, 0.6]])
    labels, groups = torch.tensor([0, 0, 1, 1, 1, 1]), torch.tensor([0, 0, 0, 0, 1, 1])
    found = group_areas(scores, labels, groups, 2)
    assert found.value[0, 0] == 1
    assert found.variance[0, 0] > 0.05
    assert found.value[0, 1].isnan()
    assert found.variance[0, 1].isnan()


def test_the_difference_is_undefined_without_areas_and_never_within_a_budget() -> None:
    counts = Counts(*(torch.ones(2, 3) for _ in range(4)))
    gap = AUC_DIFFERENCE(counts)
    assert gap.size.isnan().all()
    assert torch.equal(gap.probability_within(0.5, 1.0), torch.zeros(2))
