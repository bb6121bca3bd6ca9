"""Gradients of several soft gaps between groups in a network's parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.methods._row_losses import flatten
from fairfix.methods._soft_gap import soft_gap
from fairfix.metrics.contrasts import Contrast
from fairfix.metrics.fairness_metrics import METRICS, Metric
from fairfix.models.inputs import Inputs
from fairfix.models.scorer import Scorer

Relaxation = Callable[[Tensor], Tensor]
"""Turns scores (N,) into soft decisions (N,) in [0, 1], differentiably."""

GUMBEL_TEMPERATURE = 0.5
_SMALLEST_SCORE = 1e-6


def gaps_behind(metric: Metric) -> tuple[Metric, ...]:
    """Return the difference between groups of each rate that a metric compares.

    They can all be 0 at once only if the metric has no gap; that of a metric with several rates can
    cancel, or has a kink at 0. A metric of scores is its own.
    """
    if metric.of_scores:
        return (metric,)
    known = {
        each.rates[0].key: each for each in METRICS.values() if each.contrast is Contrast.DIFFERENCE
    }
    return tuple(
        known.get(rate.key) or Metric(rate.key, rate.title, (rate,)) for rate in metric.rates
    )


def gumbel_decisions(rows: int, seed: int, device: torch.device) -> Relaxation:
    """Return soft decisions by a Gumbel-softmax, with noise that is drawn once.

    The difference of two Gumbel variables has a logistic distribution.

    Args:
        rows: N.
        seed: of the noise.
        device: of the scores.

    Source: Jang, Gu, Poole 2017.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(rows, generator=generator, dtype=torch.float64).logit(_SMALLEST_SCORE)
    noise = noise.to(device)

    def decide(scores: Tensor) -> Tensor:
        logits = scores.logit(_SMALLEST_SCORE)
        return torch.sigmoid((logits + noise.to(scores.dtype)) / GUMBEL_TEMPERATURE)

    return decide


def gap_gradients(
    metrics: Sequence[Metric],
    scorer: Scorer,
    inputs: Inputs,
    problem: Problem,
    parameters: Sequence[Tensor],
    relaxation: Relaxation | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the soft gaps of the rows, (K,), and their gradients, (K, P).

    The network runs twice, batch by batch.

    Args:
        metrics: of the K gaps.
        scorer: the network, in evaluation mode.
        inputs: of the rows of the problem, for this scorer.
        problem: has labels and groups of the rows.
        parameters: of the network, P entries together. The gradient of an unused one is 0.
        relaxation: of scores to soft decisions; None takes the scores.
    """
    scores = scorer.score(inputs).requires_grad_()
    decisions = scores if relaxation is None else relaxation(scores)
    values = [soft_gap(metric, decisions, problem.cells) for metric in metrics]
    by_score = [torch.autograd.grad(value, scores, retain_graph=True)[0] for value in values]
    size = sum(p.numel() for p in parameters)
    totals = torch.zeros(len(metrics), size, dtype=scores.dtype, device=scores.device)
    for rows, batch in inputs.batches(scorer.batch_size):
        batch_scores = scorer(batch)
        for total, factors in zip(totals, by_score, strict=True):
            gradient = torch.autograd.grad(
                batch_scores, parameters, factors[rows], retain_graph=True, allow_unused=True
            )
            total += flatten(gradient, parameters)
    return torch.stack(values).detach().double(), totals
