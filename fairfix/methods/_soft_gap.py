"""The soft gap: a differentiable version of every gap metric.

It is the metric with scores in place of decisions: P(decision = 1) becomes the mean score, the true
positive rate the mean score of rows with label 1, and so on. Source: Marcinkevics, Ozkan, Vogt
2022, section 3.1; equations 1 and 2 define it for spd and eod, the other metrics follow likewise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.counts import count_cells
from fairfix.metrics.fairness_metrics import Metric
from fairfix.models.scorer import Scorer


def soft_gap(metric: Metric, scores: Tensor, cells: Tensor) -> Tensor:
    """Return the metric of soft counts as a scalar; 0 is no gap, also for ratios.

    Args:
        metric: of the gap.
        scores: (N,) in [0, 1].
        cells: (N, 2 G), as ``Problem.cells``.
    """
    return metric(count_cells(scores, cells.to(scores.dtype))).value - metric.neutral


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
