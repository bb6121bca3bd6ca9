"""Two synthetic problems with known unfairness (Marcinkevics, Ozkan, Vogt 2022, appendix D.1).

Every seed draws new rows from the same distribution, so rows of two seeds can serve as training and
test rows. Group 1 is privileged. Global random state is neither read nor changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fairfix.errors import UsageError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CATEGORIES = 10
_MEANS = np.array([[-2.0, -2.0], [2.0, 2.0]])  # Zafar's two classes in the plane, by label
_COVARIANCES = np.array([[[10.0, 1.0], [1.0, 3.0]], [[5.0, 1.0], [1.0, 5.0]]])
_MAP_SEED = 0  # the map from the plane to the features is the same for all rows and seeds


@dataclass(frozen=True)
class SyntheticRows:
    """N rows of a synthetic problem.

    Attributes:
        features: (N, D) float64, the network inputs.
        feature_names: D names.
        label: (N,) int64 in {0, 1}, 1 = favorable.
        group: (N,) int64 in {0, 1}, 1 = privileged.
        label_probability: (N,) P(label = 1 | features).
        group_probability: (N,) P(group = 1 | features without the group).
    """

    features: Floats
    feature_names: tuple[str, ...]
    label: Ints
    group: Ints
    label_probability: Floats
    group_probability: Floats


def loh(n: int, *, alpha: float = 1.0, seed: int) -> SyntheticRows:
    """Draw rows where categories of a feature help the privileged group only (Loh et al. 2019).

    X1, X2, X3, X7..X10 are standard normal with correlation 1/2 between X2 and X3 and among
    X7..X10; X4 is exponential with mean 1; X5 is 0 or 1; X6 is one of ten categories; A, the
    group, is 0 or 1; and logit P(label = 1) = (X1 + X2 - X5) / 2 + 2 alpha A [X6 odd].

    The features are X1..X10 and A; A is the only feature related to the group. X6 is one-hot
    (``X6_0`` to ``X6_9``), so D = 20.

    Args:
        n: number of rows, at least 1.
        alpha: at least 0; for 0, 1 and 2.5 the base rates of the groups differ by about 0, 0.19 and
            0.27.
        seed: seed of the rows.

    Raises:
        UsageError: if ``n`` or ``alpha`` is out of range.
    """
    _at_least_one(n=n)
    if not 0 <= alpha < math.inf:
        raise UsageError(f"alpha is {alpha}; it must be a finite number of at least 0.")
    rng = np.random.default_rng(seed)
    x1 = rng.standard_normal(n)
    x2_x3 = _half_correlated(rng, n, 2)
    x4 = rng.exponential(size=n)
    x5 = rng.integers(2, size=n)
    x6 = rng.integers(_CATEGORIES, size=n)
    x7_x10 = _half_correlated(rng, n, 4)
    group = rng.integers(2, size=n)
    logit = (x1 + x2_x3[:, 0] - x5) / 2 + 2 * alpha * group * (x6 % 2)
    one_hot = np.eye(_CATEGORIES)[x6]
    return SyntheticRows(
        np.column_stack((x1, x2_x3, x4, x5, one_hot, x7_x10, group)).astype(np.float64),
        (
            *(f"X{i}" for i in range(1, 6)),
            *(f"X6_{category}" for category in range(_CATEGORIES)),
            *(f"X{i}" for i in range(7, 11)),
            "A",
        ),
        _bernoulli(rng, logit),
        group,
        expit(logit),
        np.full(n, 0.5),
    )


def zafar(
    n: int, *, theta: float = 0.8, features: int = 500, hidden: int = 100, seed: int
) -> SyntheticRows:
    """Draw two normal classes in a plane with a group correlated to the label (Zafar et al. 2017).

    The label is 0 or 1 with equal probability, x is normal with that label's mean and covariance,
    and x' = [[cos theta, -sin theta], [sin theta, cos theta]] x. P(group = 1) is the posterior
    probability of label 1 at x', so the smaller the angle, the stronger the correlation.

    The features are x, not x', passed through one fixed random network with two hidden ReLU layers.
    The group is not among them, but they predict it.

    Args:
        n: number of rows, at least 1.
        theta: angle in radians; 0.7 to 1.2 in the paper.
        features: D, at least 1.
        hidden: width of both hidden layers, at least 1.
        seed: seed of the rows.

    Raises:
        UsageError: if ``n``, ``features`` or ``hidden`` is below 1, or ``theta`` is not finite.
    """
    _at_least_one(n=n, features=features, hidden=hidden)
    if not math.isfinite(theta):
        raise UsageError(f"theta is {theta}; it must be a finite angle in radians.")
    rng = np.random.default_rng(seed)
    label = rng.integers(2, size=n)
    factor = np.linalg.cholesky(_COVARIANCES)[label]
    x = _MEANS[label] + np.einsum("nij,nj->ni", factor, rng.standard_normal((n, 2)))
    cos, sin = math.cos(theta), math.sin(theta)
    group_logit = _log_odds(x @ np.array([[cos, -sin], [sin, cos]]).T)
    return SyntheticRows(
        _random_network(x, (hidden, hidden, features)),
        tuple(f"F{i}" for i in range(1, features + 1)),
        label,
        _bernoulli(rng, group_logit),
        expit(_log_odds(x)),
        expit(group_logit),
    )


def _at_least_one(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise UsageError(f"{name} is {size}; it must be at least 1.")


def _half_correlated(rng: np.random.Generator, n: int, columns: int) -> Floats:
    """Return (n, columns) standard normals, any two columns with correlation 1/2."""
    shared, own = rng.standard_normal((n, 1)), rng.standard_normal((n, columns))
    return (shared + own) / math.sqrt(2)


def _bernoulli(rng: np.random.Generator, logit: Floats) -> Ints:
    return (rng.logistic(size=len(logit)) < logit).astype(np.int64)


def _log_odds(x: Floats) -> Floats:
    """Return the log odds (N,) of label 1 at x (N, 2)."""
    log_density_0, log_density_1 = (
        _log_density(x, mean, covariance)
        for mean, covariance in zip(_MEANS, _COVARIANCES, strict=True)
    )
    return log_density_1 - log_density_0


def _log_density(x: Floats, mean: Floats, covariance: Floats) -> Floats:
    """Return the log density (N,) of a bivariate normal at x (N, 2), up to a constant."""
    centered = x - mean
    distance: Floats = (centered @ np.linalg.inv(covariance) * centered).sum(axis=1)
    log_determinant: float = np.linalg.slogdet(covariance).logabsdet
    return -(distance + log_determinant) / 2


def _random_network(x: Floats, widths: tuple[int, ...]) -> Floats:
    """Pass x (N, inputs) through a random network: ReLU between layers, none after the last."""
    rng = np.random.default_rng(_MAP_SEED)
    for depth, width in enumerate(widths):
        inputs = x if depth == 0 else np.maximum(x, 0)
        fan_in = inputs.shape[1]
        weight = rng.normal(scale=math.sqrt(2 / fan_in), size=(fan_in, width))
        x = inputs @ weight + rng.standard_normal(width)
    return x


class SyntheticProblem(NamedTuple):
    """A synthetic problem: how rows are drawn, the parameter in its name, and its default."""

    draw: Callable[..., SyntheticRows]
    parameter: str
    default: float


SYNTHETIC = {
    "loh": SyntheticProblem(loh, "alpha", 1.0),
    "zafar": SyntheticProblem(zafar, "theta", 1.0),
}
