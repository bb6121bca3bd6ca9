"""Which weights carry the gap: a linear model from small changes of the weights to the gap.

Savani, White and Govindarajulu (2020, appendix) multiply all weights by normal draws around 1 and
fit a linear model of the bias to them. The best linear model of small changes is known without any
fit: the gradient. The coefficient of a weight is what the gap of the scores
(``fairfix.methods._soft_gap``) changes by when the weight alone is multiplied by 1 + e, for each e:
weight times gradient. Random draws then say how good that model is, and beside it what a fit to
most of them gives on the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fairfix._utils.progress import tracked
from fairfix.data.problem import Problem
from fairfix.errors import TableError, UsageError
from fairfix.methods._soft_gap import proxy, proxy_gradient
from fairfix.metrics.rates import Metric
from fairfix.models.parameter_names import chosen_parameters
from fairfix.models.scorer import Scorer
from fairfix.models.weight_batches.perturbations import Draws, at_once
from fairfix.models.weight_batches.scoring import many_at_once

FEWEST_DRAWS = 50
HELD_BACK = 0.2  # of the draws, from the fit


@dataclass(frozen=True)
class Weight:
    """One weight: its parameter's name, its place there, and its coefficient."""

    parameter: str
    place: tuple[int, ...]
    coefficient: float


@dataclass(frozen=True)
class Attribution:
    """What each weight of a network does to a gap of its scores.

    Attributes:
        gap: of the scores of the untouched network; of decisions it is ``gap_of_decisions``. Both
            are 0 where there is none: a ratio is taken less 1.
        shapes: of the parameters by name, in the network's order.
        coefficients: (P,) float64, all parameters flat in that order; 0 = no influence.
        draws, sd: how many multiples of the weights were tried, and their standard deviation.
        spread: standard deviation of the gap over the draws.
        r2: share of the variance of the gap over the draws that the coefficients explain, at most
            1; none of the draws was used to find them. NaN where the draws change nothing.
        r2_of_decisions: squared correlation of what they say and the gap of decisions at the cut
            that is deployed, in [0, 1].
        r2_of_fit: R2, on a fifth of the draws, of a linear model that the lasso fitted to the
            others.
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
        """Each parameter's share of the variance that the linear model foresees; they sum to 1."""
        squares = self.coefficients**2
        ends = np.cumsum([math.prod(shape) for shape in self.shapes.values()])
        parts = [part.sum() for part in np.split(squares, ends[:-1])]
        shares = [float(part / _positive(squares.sum())) for part in parts]
        return dict(zip(self.shapes, shares, strict=True))

    def share_of_largest(self, count: int) -> float:
        """The share of that variance that the ``count`` weights of most influence carry."""
        squares = np.sort(self.coefficients**2)[::-1]
        return float(squares[:count].sum() / _positive(squares.sum()))

    def largest(self, count: int) -> tuple[Weight, ...]:
        """The weights of most influence, that of the most first."""
        at = np.argsort(-np.abs(self.coefficients), kind="stable")[:count]
        return tuple(self._weight(int(i)) for i in at)

    def _weight(self, index: int) -> Weight:
        coefficient = float(self.coefficients[index])
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            if index < size:
                place = tuple(int(i) for i in np.unravel_index(index, shape)) if shape else ()
                return Weight(name, place, coefficient)
            index -= size
        raise IndexError(index)


def attribute(
    problem: Problem, metric: Metric, *, draws: int = 1000, sd: float = 0.1, seed: int = 0
) -> Attribution:
    """Attribute a gap to the weights of a network.

    Args:
        problem: needs the network.
        draws: how often all weights are multiplied, at least 50.
        sd: standard deviation of the factors, around 1, > 0.

    Raises:
        UsageError: for draws or a deviation out of range, or a network without parameters.
        TableError: when the problem has scores alone.
    """
    if draws < FEWEST_DRAWS or not 0 < sd < math.inf:
        raise UsageError(f"Attribution needs {FEWEST_DRAWS} draws or more and a finite sd > 0.")
    if problem.scorer is None:
        raise TableError("A gap is attributed to the weights of a network; scores alone have none.")
    scorer, _ = problem.network()
    parameters = chosen_parameters(scorer.network)
    _, gap, gradients = proxy_gradient(metric, scorer, problem, list(parameters.values()))
    coefficients = torch.cat(
        [(p * g).detach().reshape(-1) for p, g in zip(parameters.values(), gradients, strict=True)]
    ).cpu()
    made = Draws(parameters, sd, seed)
    factors = torch.stack([made.factors(i) for i in range(draws)])
    gaps, of_decisions = _gaps(problem, metric, scorer, made, factors)
    changes = factors - 1
    foreseen = (changes @ coefficients).double().numpy() + float(gap)
    return Attribution(
        metric=metric.key,
        gap=float(gap),
        gap_of_decisions=float(proxy(metric, _decisions(problem, problem.scores), problem.cells)),
        shapes={name: tuple(p.shape) for name, p in parameters.items()},
        coefficients=coefficients.double().numpy(),
        draws=draws,
        sd=sd,
        spread=float(gaps.std()),
        r2=_r2(gaps, foreseen),
        r2_of_decisions=_squared_correlation(of_decisions, foreseen),
        r2_of_fit=_r2_of_fit(changes.numpy(), gaps),
    )


def _gaps(
    problem: Problem, metric: Metric, scorer: Scorer, made: Draws, factors: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """The gap of the scores and that of decisions at the deployed cut, of every draw: (draws,)."""
    soft: list[float] = []
    hard: list[float] = []
    for scores in _scores(problem, scorer, made, factors):
        soft += proxy(metric, scores, problem.cells).tolist()
        hard += proxy(metric, _decisions(problem, scores), problem.cells).tolist()
    return np.array(soft), np.array(hard)


def _decisions(problem: Problem, scores: Tensor) -> Tensor:
    """1.0 where a score lies above the deployed cut, else 0.0."""
    return (scores > problem.threshold).double()


def _scores(problem: Problem, scorer: Scorer, made: Draws, factors: Tensor) -> Iterator[Tensor]:
    """The scores (B, N) of all draws with factors (draws, P), B at a time."""
    features, draws = problem.features, len(factors)
    assert features is not None
    versions = many_at_once(scorer, features)
    together = 1 if versions is None else at_once(features)
    for first in tracked(range(0, draws, together), "attribution"):
        if versions is not None:
            yield versions(made.multiplied(factors[first : first + together]))
        else:
            made.make(first)
            yield scorer.score(features).unsqueeze(0)


def _r2(values: np.ndarray, foreseen: np.ndarray) -> float:
    """The share of the variance of the values that is foreseen; NaN where there is none."""
    spread = float(np.square(values - values.mean()).sum())
    return 1 - float(np.square(values - foreseen).sum()) / spread if spread > 0 else math.nan


def _squared_correlation(values: np.ndarray, foreseen: np.ndarray) -> float:
    """In [0, 1]; NaN where either does not vary."""
    if not values.std() or not foreseen.std():
        return math.nan
    return float(np.corrcoef(values, foreseen)[0, 1]) ** 2


def _r2_of_fit(changes: np.ndarray, gaps: np.ndarray) -> float:
    """R2 on the last draws of a lasso that learned from the first ones, its penalty by 3 folds."""
    from sklearn.linear_model import LassoCV

    learned = round(len(gaps) * (1 - HELD_BACK))
    seen, target = np.asfortranarray(changes[:learned]), gaps[:learned]
    largest = float(np.abs(seen.T @ (target - target.mean())).max()) / learned
    if not largest > 0:
        return math.nan
    alphas = np.geomspace(largest, largest / 20, 8)
    fitted = LassoCV(alphas=alphas, cv=3, max_iter=2000).fit(seen, target)
    return _r2(gaps[learned:], fitted.predict(changes[learned:]))


def _positive(total: float) -> float:
    """What shares are taken of; of nothing they are 0."""
    return total if total > 0 else 1.0
