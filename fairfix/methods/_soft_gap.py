"""Differentiable stand-ins for the gap: the same metric of soft counts (Marcinkevics 2022, 3.1).

With scores in the place of decisions, P(decision = 1) becomes the mean score, TPR the mean score of
label-1 rows, and so on: eqs. 1 and 2 of the paper for spd and eod, and likewise for every metric.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.counts import count_cells
from fairfix.metrics.registry import Metric
from fairfix.models.scorer import Scorer

BATCH = 65_536


def proxy(metric: Metric, scores: Tensor, cells: Tensor) -> Tensor:
    """The metric's value on soft counts of scores (N,) with ``cells`` (N, 2 G); 0 = no gap.

    A scalar; the disparate impact ratio is taken less 1.
    """
    return metric(count_cells(scores, cells.to(scores.dtype))).value - metric.neutral


def proxy_gradient(
    metric: Metric, scorer: Scorer, problem: Problem, with_respect_to: Sequence[Tensor]
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Scores (N,), the proxy, and its gradient over all rows of the problem.

    Beyond ``BATCH`` rows the network runs twice, batch by batch, so that memory stays bounded.
    """
    features = problem.features
    assert features is not None
    if len(features) <= BATCH:
        scores = scorer(features)
        value = proxy(metric, scores, problem.cells)
        gradient = torch.autograd.grad(value, with_respect_to, allow_unused=True)
        return scores.detach(), value.detach(), _dense(gradient, with_respect_to)
    scores = scorer.score(features, BATCH).requires_grad_()
    value = proxy(metric, scores, problem.cells)
    (pull,) = torch.autograd.grad(value, scores)
    total = [torch.zeros_like(p) for p in with_respect_to]
    for rows, weight in zip(features.split(BATCH), pull.split(BATCH), strict=True):
        part = torch.autograd.grad(
            scorer(rows), with_respect_to, grad_outputs=weight, allow_unused=True
        )
        for summed, more in zip(total, _dense(part, with_respect_to), strict=True):
            summed.add_(more)
    return scores.detach(), value.detach(), total


def _dense(gradient: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(p) if g is None else g for g, p in zip(gradient, like, strict=True)]
