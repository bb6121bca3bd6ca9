"""The soft gap: a differentiable version of every gap metric.

It is the metric with scores in place of decisions: P(decision = 1) becomes the mean score, the true
positive rate the mean score of rows with label 1, and so on. Source: Marcinkevics, Ozkan, Vogt
2022, section 3.1; equations 1 and 2 define it for spd and eod, the other metrics follow likewise.
Areas under the ROC curve compare pairs of rows, by the logistic function of the difference of their
logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.contrasts import difference_gap
from fairfix.metrics.counts import count_cells
from fairfix.metrics.fairness_metrics import Metric
from fairfix.models.scorer import Scorer

SMALLEST_SCORE = 1e-6
TEMPERATURE = 0.5
MOST_PAIRED, FEWEST_PAIRED = 256, 16
"""Rows of the other label that a row is compared with."""
MOST_PAIRS = 2**22


def soft_gap(metric: Metric, scores: Tensor, cells: Tensor) -> Tensor:
    """Return the metric of soft counts as a scalar; 0 is no gap, also for ratios.

    Args:
        metric: of the gap.
        scores: (N,) in [0, 1].
        cells: (N, 2 G), as ``Problem.cells``.
    """
    if metric.of_scores:
        return _soft_area_gap(scores, cells.to(scores.dtype))
    return metric(count_cells(scores, cells.to(scores.dtype))).value - metric.neutral


def _soft_area_gap(scores: Tensor, cells: Tensor) -> Tensor:
    """Return the gap of the soft areas; NaN if a group has rows of one label only."""
    logits = scores.logit(SMALLEST_SCORE)
    areas = torch.stack(
        [
            _soft_area(logits, cells[:, 2 * g + 1], cells[:, 2 * g])
            for g in range(cells.shape[1] // 2)
        ]
    )
    return difference_gap(areas, torch.zeros_like(areas)).value


def _soft_area(logits: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Return the soft area of one group.

    Every row is compared with at most 256 rows of the other label, fewer among many rows. Each
    comparison moves the row alone, so that value and gradient are those of all pairs if there are
    few.

    Args:
        logits: (N,) of the scores.
        positive, negative: (N,) weights of the rows with label 1 and 0 of the group.
    """
    above, below = (
        _compared(logits, own, other, sign)
        for own, other, sign in ((positive, negative, 1), (negative, positive, -1))
    )
    return above + below - below.detach()


def _compared(logits: Tensor, own: Tensor, other: Tensor, sign: int) -> Tensor:
    """Return the mean soft comparison of rows with weights ``own`` with those of ``other``."""
    rows, others = own.nonzero().squeeze(1), other.nonzero().squeeze(1)
    if not len(rows) or not len(others):
        return logits.sum() * torch.nan
    most = max(FEWEST_PAIRED, min(MOST_PAIRED, MOST_PAIRS // len(rows)))
    if len(others) > most:
        ranked = others[logits[others].detach().argsort()]
        others = ranked[torch.linspace(0, len(ranked) - 1, most, device=rows.device).long()]
    difference = logits[rows, None] - logits[others].detach()
    won = torch.sigmoid(sign * difference / TEMPERATURE)
    weights = other[others] / other[others].sum()
    return (own[rows] / own[rows].sum()) @ (won @ weights)


def soft_gap_gradient(
    metric: Metric, scorer: Scorer, problem: Problem, with_respect_to: Sequence[Tensor]
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return scores (N,), the soft gap, and its gradient over all rows of the problem.

    Beyond the scorer's batch size the network runs twice, batch by batch, so that memory stays
    bounded.

    Args:
        metric: of the gap.
        scorer: the network.
        problem: the rows; needs the network.
        with_respect_to: parameters of the network. The gradient of an unused one is 0.
    """
    inputs = problem.inputs
    assert inputs is not None
    if len(inputs) <= scorer.batch_size:
        scores = scorer(inputs.batch())
        value = soft_gap(metric, scores, problem.cells)
        gradient = torch.autograd.grad(value, with_respect_to, allow_unused=True)
        return scores.detach(), value.detach(), _dense(gradient, with_respect_to)
    scores = scorer.score(inputs).requires_grad_()
    value = soft_gap(metric, scores, problem.cells)
    (score_gradient,) = torch.autograd.grad(value, scores)
    total = [torch.zeros_like(p) for p in with_respect_to]
    for rows, batch in inputs.batches(scorer.batch_size):
        part = torch.autograd.grad(
            scorer(batch), with_respect_to, grad_outputs=score_gradient[rows], allow_unused=True
        )
        for summed, more in zip(total, _dense(part, with_respect_to), strict=True):
            summed.add_(more)
    return scores.detach(), value.detach(), total


def _dense(gradient: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(p) if g is None else g for g, p in zip(gradient, like, strict=True)]
