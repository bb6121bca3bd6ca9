"""The chance that several limits hold together, by a joint normal approximation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from fairfix.metrics.counts import Counts
from fairfix.metrics.limits import Figures, Limit

NEGLIGIBLE = 1e-9
"""Probability that is treated as 0."""

_NEARLY_SURE = 1e-7  # probability of missing a limit whose correlation with others is ignored
_LARGEST_CORRELATION = 0.999
_NO_VARIANCE = 1e-15  # of a rate that is 0 or 1, up to round-off
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)


@dataclass(frozen=True)
class _Bound:
    """The figure of a limit that most likely leaves its range, standardized.

    Attributes:
        low, high: (M,) ends of the range in standard errors from the figure.
        chance: (M,) that the figure is within.
        gradient: (M, C) of the figure by each cell.
    """

    low: Tensor
    high: Tensor
    chance: Tensor
    gradient: Tensor

    def take(self, at: Tensor) -> _Bound:
        return _Bound(self.low[at], self.high[at], self.chance[at], self.gradient[at])


def chances(limits: Sequence[Limit], counts: Counts, k: float) -> Tensor:
    """Return the probability of each limit, (R, ...); 0 if undefined.

    Every figure of a limit is normal around its estimate, with ``k`` times its standard error.
    Figures of one limit are taken as independent, as in ``Gap.probability_within``.
    """
    return torch.stack([_chance(limit.figures(counts), k) for limit in limits])


def joint_chance(
    limits: Sequence[Limit], counts: Counts, k: float, needed: Tensor | float = 0.0
) -> Tensor:
    """Return the probability, (...), that all limits hold on new rows.

    Limits are correlated through the rows that they share. The correlation of two limits is that of
    their least certain figures (of the extreme groups of a gap, say), by the delta method: the
    gradients of both figures by the counts of every cell of joint group, label and decision, whose
    rows vary as in a multinomial sample; row weights and clusters do not change it.

    With two limits the probability is that of the bivariate normal distribution. With more, it is
    the product of the single probabilities and, along the spanning tree of the strongest pairs, of
    P(i and j) / (P(i) P(j)): a Chow-Liu tree, a second-order approximation.

    Args:
        limits: at least one.
        counts: (..., G).
        k: factor on the standard errors.
        needed: (...) probability of interest: where no limit alone can reach it, the product of
            the single probabilities is returned, which cannot either.

    Source: Chow and Liu 1968; Genz 2004 (bivariate normal).
    """
    each = chances(limits, counts, k)
    joint = each.prod(0)
    # Correlation matters only where two limits or more are uncertain and all are possible.
    uncertain = (each < 1 - NEGLIGIBLE).sum(0) > 1
    least = each.amin(0)
    at = uncertain & (least > NEGLIGIBLE) & (least >= needed)
    if len(limits) == 1 or not bool(at.any()):
        return joint
    joint[at] = _correlated(limits, counts.take(at), each[:, at], k)
    return joint


def _correlated(limits: Sequence[Limit], counts: Counts, each: Tensor, k: float) -> Tensor:
    """Return the joint probability (M,) from counts (M, G) and single probabilities (R, M)."""
    bounds = _bounds(limits, counts, k)
    rows = counts.cells()
    variances = [(rows * bound.gradient**2).sum(-1) for bound in bounds]
    varies = [variance > _NO_VARIANCE for variance in variances]
    log_gains = each.new_zeros(len(limits), *each.shape)
    for i, j in combinations(range(len(limits)), 2):
        at = ((each[[i, j]] < 1 - _NEARLY_SURE).all(0) & varies[i] & varies[j]).nonzero().squeeze(1)
        if not len(at):
            continue
        one, other, p, q = bounds[i].take(at), bounds[j].take(at), each[i, at], each[j, at]
        covariance = (rows[at] * one.gradient * other.gradient).sum(-1)
        correlation = covariance / (variances[i][at] * variances[j][at]).sqrt()
        both = _rectangle((one.low, one.high), (other.low, other.high), correlation)
        # The gain of the pair over independence, 1 where there is nothing to correlate.
        gain = (both / (one.chance * other.chance)).nan_to_num(1.0, 1.0, 1.0)
        least = (p + q - 1).clamp(min=NEGLIGIBLE)
        pair = torch.minimum(torch.maximum(p * q * gain, least), torch.minimum(p, q))
        log_gains[i, j, at] = log_gains[j, i, at] = (pair / (p * q)).log()
    joint = each.prod(0) * _strongest_tree(log_gains).exp()
    return torch.minimum(joint, each.amin(0))


def _strongest_tree(weights: Tensor) -> Tensor:
    """Return the sum of the weights (R, R, M) along a spanning tree of largest magnitudes, (M,).

    Prim's algorithm, for all M trees together.
    """
    size, _, m = weights.shape
    total, here = weights.new_zeros(m), torch.arange(m, device=weights.device)
    inside = torch.zeros(size, m, dtype=torch.bool, device=weights.device)
    inside[0] = True
    for _ in range(size - 1):
        edges = weights.abs().masked_fill(~inside.unsqueeze(1) | inside, -1.0)
        chosen = edges.flatten(0, 1).argmax(0)
        total = total + weights.flatten(0, 1)[chosen, here]
        inside[chosen % size, here] = True
    return total


def _bounds(limits: Sequence[Limit], counts: Counts, k: float) -> list[_Bound]:
    cells = counts.cells().detach()
    found = []
    for limit in limits:
        with torch.enable_grad():
            leaf = cells.clone().requires_grad_()
            figures = limit.figures(counts.with_cells(leaf))
            scale = k * figures.variance.detach().sqrt()
            low = (figures.low - figures.value.detach()) / scale
            high = (figures.high - figures.value.detach()) / scale
            within = _within(low, high)
            worst = within.argmin(-1, keepdim=True)
            value = figures.value.gather(-1, worst).sum()
            gradient = None
            if value.requires_grad:
                (gradient,) = torch.autograd.grad(value, leaf, allow_unused=True)
        low, high, chance = (each.gather(-1, worst).squeeze(-1) for each in (low, high, within))
        found.append(
            _Bound(low, high, chance, torch.zeros_like(cells) if gradient is None else gradient)
        )
    return found


def _chance(figures: Figures, k: float) -> Tensor:
    scale = k * figures.variance.sqrt()
    low, high = (figures.low - figures.value) / scale, (figures.high - figures.value) / scale
    return _within(low, high).prod(-1).nan_to_num(0.0)


def _within(low: Tensor, high: Tensor) -> Tensor:
    within: Tensor = torch.special.ndtr(high) - torch.special.ndtr(low)
    return within


def _rectangle(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], correlation: Tensor
) -> Tensor:
    """Return P(first and second standard normal variables lie in their ranges), (M,).

    The derivative by the correlation r is the density at the corners with alternating sign; it is
    integrated over arcsin(r) by 10 Gauss-Legendre nodes.
    """
    angle = correlation.clamp(-_LARGEST_CORRELATION, _LARGEST_CORRELATION).asin()
    nodes, weights = (torch.from_numpy(x).to(angle) for x in (_NODES, _WEIGHTS))
    theta = angle.unsqueeze(-1) * (nodes + 1) / 2
    sine, twice_squared_cosine = theta.sin(), 2 * theta.cos() ** 2
    total = torch.zeros_like(theta)
    for i, x in enumerate(first):
        for j, y in enumerate(second):
            both = (x.isfinite() & y.isfinite()).unsqueeze(-1)
            x_, y_ = x.unsqueeze(-1), y.unsqueeze(-1)
            density = torch.exp(-(x_**2 - 2 * x_ * y_ * sine + y_**2) / twice_squared_cosine)
            total = total + torch.where(both, density, 0.0) * (1 if i == j else -1)
    change = (total * weights).sum(-1) * angle / 2 / (2 * math.pi)
    return _within(*first) * _within(*second) + change
