"""Attribution of a network's gap to its weights by a linear model of small weight changes.

Savani, White and Govindarajulu (2020, appendix) multiply all weights by normal draws around 1 and
fit a linear model of the bias to them. The best linear model of small changes needs no fit: it is
the gradient. The coefficient of a weight is weight times gradient, the change of the score gap
(``fairfix.methods._soft_gap``) per e when that weight alone is multiplied by 1 + e. Random draws
then measure how good the linear model is, next to a linear model fitted to most of the draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fairfix._utils.progress import track
from fairfix.data.problem import Problem
from fairfix.errors import TableError, UsageError
from fairfix.methods._soft_gap import soft_gap, soft_gap_gradient
from fairfix.metrics.fairness_metrics import Metric
from fairfix.models.parameter_names import select_parameters
from fairfix.models.scorer import Scorer
from fairfix.models.weight_batches.perturbations import RandomPerturbations, batch_size
from fairfix.models.weight_batches.scoring import batch_scorer

MIN_DRAWS = 50
HELD_OUT = 0.2  # share of the draws that the fitted model is evaluated on


@dataclass(frozen=True)
class AttributedWeight:
    """One weight: its parameter, its index in that parameter, and its coefficient."""

    parameter: str
    index: tuple[int, ...]
    coefficient: float


@dataclass(frozen=True)
class WeightAttribution:
    """Contribution of each weight of a network to a gap.

    Attributes:
        gap: gap of the scores of the unmodified network, 0 = no gap (a ratio minus 1);
            ``gap_of_decisions`` is that of its decisions.
        shapes: parameter shapes by name, in network order.
        coefficients: (P,) float64, all parameters flattened in that order; 0 = no influence.
        draws, sd: number of random multiples of the weights, and standard deviation of the factors.
        spread: standard deviation of the score gap over the draws.
        r2: share of the variance of the score gap over the draws that the coefficients explain, at
            most 1; they were not fitted to any draw. NaN if the draws change nothing.
        r2_of_decisions: squared correlation of the predicted gap with the gap of decisions at the
            threshold in use, in [0, 1].
        r2_of_fit: R2 on a fifth of the draws of a lasso fitted to the other draws.
    """

    metric: str
    gap: float
    gap_of_decisions: float
    shapes: dict[str, tuple[int, ...]]
    coefficients: np.ndarray
    draws: int
    sd: float
    spread: float
    r2: float
    r2_of_decisions: float
    r2_of_fit: float

    def by_parameter(self) -> dict[str, float]:
        """Return each parameter's share of the predicted variance; the shares sum to 1."""
        squares = self.coefficients**2
        ends = np.cumsum([math.prod(shape) for shape in self.shapes.values()])
        sums = [part.sum() for part in np.split(squares, ends[:-1])]
        shares = [float(part / _positive(squares.sum())) for part in sums]
        return dict(zip(self.shapes, shares, strict=True))

    def share_of_largest(self, count: int) -> float:
        """Return the share of the predicted variance in the ``count`` most influential weights."""
        squares = np.sort(self.coefficients**2)[::-1]
        return float(squares[:count].sum() / _positive(squares.sum()))

    def largest(self, count: int) -> tuple[AttributedWeight, ...]:
        """Return the most influential weights, the largest first."""
        order = np.argsort(-np.abs(self.coefficients), kind="stable")[:count]
        return tuple(self._weight(int(i)) for i in order)

    def _weight(self, flat_index: int) -> AttributedWeight:
        coefficient = float(self.coefficients[flat_index])
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            if flat_index < size:
                index = tuple(int(i) for i in np.unravel_index(flat_index, shape)) if shape else ()
                return AttributedWeight(name, index, coefficient)
            flat_index -= size
        raise IndexError(flat_index)


def attribute_gap(
    problem: Problem, metric: Metric, *, draws: int = 1000, sd: float = 0.1, seed: int = 0
) -> WeightAttribution:
    """Attribute a gap to the weights of a network.

    Args:
        problem: rows with a network.
        draws: number of random multiples of all weights, at least 50.
        sd: standard deviation of the factors around 1, > 0.

    Raises:
        UsageError: if ``draws`` or ``sd`` is out of range, or the network has no parameters.
        TableError: if the problem has scores only.
    """
    if draws < MIN_DRAWS or not 0 < sd < math.inf:
        raise UsageError(
            f"Attribution needs at least {MIN_DRAWS} draws and a finite sd > 0, not {draws} and "
            f"{sd}."
        )
    if problem.scorer is None:
        raise TableError(
            "Attribution needs a network: scores have no weights. Give a model instead of a score "
            "column."
        )
    scorer, _ = problem.network()
    parameters = select_parameters(scorer.network)
    _, gap, gradients = soft_gap_gradient(metric, scorer, problem, list(parameters.values()))
    coefficients = torch.cat(
        [(p * g).detach().reshape(-1) for p, g in zip(parameters.values(), gradients, strict=True)]
    ).cpu()
    perturbations = RandomPerturbations(parameters, sd, seed)
    factors = torch.stack([perturbations.factors(i) for i in range(draws)])
    gaps, decision_gaps = _drawn_gaps(problem, metric, scorer, perturbations, factors)
    changes = factors - 1
    predicted = (changes @ coefficients).double().numpy() + float(gap)
    return WeightAttribution(
        metric=metric.key,
        gap=float(gap),
        gap_of_decisions=float(
            soft_gap(metric, _decisions(problem, problem.scores), problem.cells)
        ),
        shapes={name: tuple(p.shape) for name, p in parameters.items()},
        coefficients=coefficients.double().numpy(),
        draws=draws,
        sd=sd,
        spread=float(gaps.std()),
        r2=_r2(gaps, predicted),
        r2_of_decisions=_squared_correlation(decision_gaps, predicted),
        r2_of_fit=_r2_of_lasso(changes.numpy(), gaps),
    )


def _drawn_gaps(
    problem: Problem,
    metric: Metric,
    scorer: Scorer,
    perturbations: RandomPerturbations,
    factors: Tensor,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gap of the scores and that of the decisions for every draw, each (draws,)."""
    score_gaps: list[float] = []
    decision_gaps: list[float] = []
    for scores in _drawn_scores(problem, scorer, perturbations, factors):
        score_gaps += soft_gap(metric, scores, problem.cells).tolist()
        decision_gaps += soft_gap(metric, _decisions(problem, scores), problem.cells).tolist()
    return np.array(score_gaps), np.array(decision_gaps)


def _decisions(problem: Problem, scores: Tensor) -> Tensor:
    """Return 1.0 where a score exceeds the threshold in use, else 0.0."""
    return (scores > problem.threshold).double()


def _drawn_scores(
    problem: Problem, scorer: Scorer, perturbations: RandomPerturbations, factors: Tensor
) -> Iterator[Tensor]:
    """Yield the scores (B, N) of the draws with factors (draws, P), B draws at a time."""
    inputs, draws = problem.inputs, len(factors)
    assert inputs is not None
    batched = batch_scorer(scorer, inputs)
    batch = 1 if batched is None else batch_size(inputs, scorer.parameters())
    for first in track(range(0, draws, batch), "attribution"):
        if batched is not None:
            yield batched(perturbations.scaled(factors[first : first + batch]))
        else:
            perturbations.apply(first)
            yield scorer.score(inputs).unsqueeze(0)


def _r2(values: np.ndarray, predicted: np.ndarray) -> float:
    """Return the explained share of the variance of the values; NaN if they do not vary."""
    total = float(np.square(values - values.mean()).sum())
    return 1 - float(np.square(values - predicted).sum()) / total if total > 0 else math.nan


def _squared_correlation(values: np.ndarray, predicted: np.ndarray) -> float:
    """Return a value in [0, 1]; NaN if either argument does not vary."""
    if not values.std() or not predicted.std():
        return math.nan
    return float(np.corrcoef(values, predicted)[0, 1]) ** 2


def _r2_of_lasso(changes: np.ndarray, gaps: np.ndarray) -> float:
    """Return R2 on the last draws of a lasso fitted to the others; 3 folds select its penalty."""
    from sklearn.linear_model import LassoCV

    fitted = round(len(gaps) * (1 - HELD_OUT))
    inputs, target = np.asfortranarray(changes[:fitted]), gaps[:fitted]
    largest_alpha = float(np.abs(inputs.T @ (target - target.mean())).max()) / fitted
    if not largest_alpha > 0:
        return math.nan
    alphas = np.geomspace(largest_alpha, largest_alpha / 20, 8)
    lasso = LassoCV(alphas=alphas, cv=3, max_iter=2000).fit(inputs, target)
    return _r2(gaps[fitted:], lasso.predict(changes[fitted:]))


def _positive(total: float) -> float:
    """Return the total, or 1 if it is 0, so that shares of nothing are 0."""
    return total if total > 0 else 1.0
