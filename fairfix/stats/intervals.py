"""Confidence limits of shares and of what is made of them: differences, other sums, ratios.

Everything takes arrays and broadcasts over their leading axes. ``alpha`` is the error on each
side, so that 0.05 gives 90 % limits: two one-sided tests at 5 %. Hits and trials need not be whole:
weighted rows count as their effective number.

The score limits estimate the shares under the null (Miettinen and Nurminen 1985). What can be seen
moves in steps, so that their error swings around alpha; moved out by half a step it stays at or
below it, near enough, from about 10 hits and 10 misses a share on. The strict limits rest on exact
ones of every share (Clopper and Pearson 1934) with alpha divided among the shares, so that their
error is never more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]

WILSON = "Wilson score, continuity-corrected"
SCORE = "Miettinen-Nurminen score"
STRICT = "Clopper-Pearson"
SMALL_COUNT = 10
CLOSE = 1e-9  # relative error of limits found step by step


@dataclass(frozen=True)
class Interval:
    """Two-sided confidence limits, NaN where undefined, and the method that gave them."""

    low: float
    high: float
    method: str


class Limits(NamedTuple):
    """Lower and upper confidence limits, (...) each, NaN where undefined."""

    low: Array
    high: Array


def normal_quantile(alpha: float) -> float:
    """What a standard normal exceeds with probability ``alpha``."""
    return -float(special.ndtri(alpha))


def small(hits: ArrayLike, trials: ArrayLike) -> NDArray[np.bool_]:
    """Where a share has too few hits or misses, (...), for limits that lean on normality."""
    hits, trials = _floats(hits, trials)
    return np.asarray(np.minimum(hits, trials - hits) < SMALL_COUNT)


def half_step(trials: ArrayLike) -> Array:
    """Half of the step, (...), in which the difference of two shares (..., 2) can change.

    0 where the trials are not whole.
    """
    (trials,) = _floats(trials)
    with np.errstate(invalid="ignore"):  # NaN and infinity are not whole either
        whole = trials.astype(np.int64)
    step = np.gcd(whole[..., 0], whole[..., 1]) / np.maximum(whole.prod(-1), 1)
    return np.where((whole == trials).all(-1), step / 2, 0.0)


def rate(hits: float, trials: float, alpha: float = 0.05, *, strict: bool = False) -> Interval:
    """Limits of one share: Wilson, or exact with fewer than 10 hits or misses, or if ``strict``."""
    limits, exact = share(hits, trials, alpha, strict=strict)
    return Interval(float(limits.low), float(limits.high), STRICT if exact else WILSON)


def share(
    hits: ArrayLike, trials: ArrayLike, alpha: float, *, strict: bool = False
) -> tuple[Limits, NDArray[np.bool_]]:
    """The same of arrays, (...), and where the limits are exact."""
    exact = small(hits, trials) | strict
    low, high = wilson(hits, trials, alpha, step=0.5)
    return pick(exact, clopper_pearson(hits, trials, alpha), Limits(low, high)), exact


def pick(where: NDArray[np.bool_], these: Limits, those: Limits) -> Limits:
    """These limits where ``where``, else those."""
    return Limits(*(np.where(where, this, that) for this, that in zip(these, those, strict=True)))


def wilson(hits: ArrayLike, trials: ArrayLike, alpha: float, *, step: float = 0.0) -> Limits:
    """Score limits of one share (Wilson 1927), of ``step`` hits less and more."""
    hits, trials = _floats(hits, trials)
    z = normal_quantile(alpha)

    def limit(hits: Array, side: float) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            reach = z * np.sqrt(hits * (trials - hits) / trials + z * z / 4)
        return np.asarray((hits + z * z / 2 + side * reach) / (trials + z * z))

    low = limit(np.maximum(hits - step, 0.0), -1.0)
    high = limit(np.minimum(hits + step, trials), 1.0)
    return Limits(np.maximum(low, 0.0), np.minimum(high, 1.0))


def clopper_pearson(hits: ArrayLike, trials: ArrayLike, alpha: ArrayLike) -> Limits:
    """Exact limits of one share."""
    hits, trials, alpha = _floats(hits, trials, alpha)
    misses = trials - hits
    with np.errstate(invalid="ignore"):
        low = special.betaincinv(hits, misses + 1, alpha)
        high = special.betaincinv(hits + 1, misses, 1 - alpha)
    undefined = np.where(trials > 0, 0.0, np.nan)
    return Limits(
        np.where(hits <= 0, 0.0, low) + undefined, np.where(misses <= 0, 1.0, high) + undefined
    )


def contrast(hits: ArrayLike, trials: ArrayLike, coefficients: ArrayLike, alpha: float) -> Limits:
    """Score limits of sum(coefficient * share), (...), of independent shares (..., C).

    Coefficients (1, -1) give the difference of two shares.
    """
    there = _Sum(*_floats(hits, trials, coefficients))
    back = _Sum(there.hits, there.trials, -there.coefficients)
    z = normal_quantile(alpha)
    return Limits(there.lower(z), -back.lower(z))


def strict_contrast(
    hits: ArrayLike, trials: ArrayLike, coefficients: ArrayLike, alpha: ArrayLike
) -> Limits:
    """The same from exact limits of each share, each with its part of ``alpha`` (...)."""
    hits, trials, coefficients = _floats(hits, trials, coefficients)
    each = np.asarray(alpha)[..., None] / coefficients.shape[-1]
    low, high = clopper_pearson(hits, trials, each)
    up = coefficients > 0
    return Limits(
        (coefficients * np.where(up, low, high)).sum(-1),
        (coefficients * np.where(up, high, low)).sum(-1),
    )


def contrast_z(
    hits: ArrayLike, trials: ArrayLike, coefficients: ArrayLike, bound: ArrayLike
) -> Array:
    """Score statistic of the null that the sum is ``bound``, (...); positive if it seems above."""
    hits, trials, coefficients, bound = _floats(hits, trials, coefficients, bound)
    above = _Sum(hits, trials, coefficients).estimate - bound
    sign = np.sign(above)
    z = _Sum(hits, trials, coefficients * sign[..., None]).z(np.abs(above))
    return np.asarray(sign * z)


def ratio(hits: ArrayLike, trials: ArrayLike, alpha: float, *, step: ArrayLike = 0.0) -> Limits:
    """Score limits of share 0 / share 1, (...), of two independent shares (..., 2).

    The test allows ``step`` (...) for the lattice of differences.
    """
    hits, trials = np.broadcast_arrays(*_floats(hits, trials))
    z, shape = normal_quantile(alpha), hits.shape[:-1]
    low = _bisect(lambda at: ratio_z(hits, trials, at, step=step) <= z, shape)
    high = _bisect(lambda at: ratio_z(hits, trials, at, step=-np.asarray(step)) <= -z, shape)
    undefined = np.where((hits == 0).all(-1) | (trials == 0).any(-1), np.nan, 0.0)
    low = np.where(hits[..., 0] == 0, 0.0, low)
    high = np.where(hits[..., 1] == 0, np.inf, high)
    return Limits(low + undefined, high + undefined)


def strict_ratio(hits: ArrayLike, trials: ArrayLike, alpha: ArrayLike) -> Limits:
    """The same from exact limits of both shares, each with half of ``alpha`` (...)."""
    hits, trials = _floats(hits, trials)
    low, high = clopper_pearson(hits, trials, np.asarray(alpha)[..., None] / 2)
    with np.errstate(divide="ignore"):
        return Limits(low[..., 0] / high[..., 1], high[..., 0] / low[..., 1])


def ratio_z(hits: ArrayLike, trials: ArrayLike, at: ArrayLike, *, step: ArrayLike = 0.0) -> Array:
    """Score statistic of the null that share 0 is ``at`` times share 1; positive if more.

    ``step`` is taken from the difference that it tests, times the root of ``at``: so the inverse
    ratio is tested alike.
    """
    hits, trials, at, step = _floats(hits, trials, at, step)
    (x, y), (n, m) = np.moveaxis(hits, -1, 0), np.moveaxis(trials, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        # The likelihood's maximum solves a q^2 - b q + c = 0 for share 1 = q.
        a, b, c = (n + m) * at, n * at + x + m + y * at, x + y
        q = 2 * c / (b + np.sqrt(np.maximum(b * b - 4 * a * c, 0.0)))
        p = at * q
        variance = (p * (1 - p) / n + at * at * q * (1 - q) / m) * _inflation(trials)
        return np.asarray((x / n - at * y / m - step * np.sqrt(at)) / np.sqrt(variance))


@dataclass(frozen=True)
class _Sum:
    """sum(coefficient * share) of independent shares; all (..., C).

    Of all shares with one value of the sum, the likeliest solve trials * (seen - share) =
    pull * coefficient * share * (1 - share) for some ``pull``. Then the sum lies pull * variance
    below the one seen, and the squared score statistic is pull times that distance.
    """

    hits: Array
    trials: Array
    coefficients: Array

    @cached_property
    def estimate(self) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((self.coefficients * self.hits / self.trials).sum(-1))

    @property
    def variance(self) -> Array:
        """Of the estimate, roughly, and never 0."""
        share = (self.hits + 1) / (self.trials + 2)
        return np.asarray((self.coefficients**2 * share * (1 - share) / self.trials).sum(-1))

    def drop(self, pull: Array) -> tuple[Array, Array]:
        """How far the sum lies below the one seen, and how fast that grows with the pull."""
        a = pull[..., None] * self.coefficients
        total = self.trials + a
        misses = self.trials - self.hits
        # Two forms each of one root and one share, without a difference of large numbers.
        root = np.sqrt(
            np.where(
                a > 0,
                (self.trials - a) ** 2 + 4 * a * misses,
                total * total - 4 * a * self.hits,
            )
        )
        share = np.where(total > 0, 2 * self.hits / (total + root), (total - root) / (2 * a))
        growth = self.coefficients**2 * share * (1 - share) / root
        return self.estimate - (self.coefficients * share).sum(-1), growth.sum(-1)

    def lower(self, z: float) -> Array:
        """The smallest sum whose score statistic is at most ``z``."""
        enough = z * z * _inflation(self.trials)

        def squared(pull: Array) -> tuple[Array, Array]:
            drop, growth = self.drop(pull)
            return pull * drop, drop + pull * growth

        with np.errstate(invalid="ignore", divide="ignore"):
            pull = _first(squared, enough, np.sqrt(enough / self.variance))
            return np.asarray(self.estimate - self.drop(pull)[0])

    def z(self, drop: Array) -> Array:
        """The score statistic of the null that the sum lies ``drop`` >= 0 below the one seen."""
        with np.errstate(invalid="ignore", divide="ignore"):
            pull = _first(self.drop, drop, drop / self.variance)
            return np.asarray(np.sqrt(pull * drop / _inflation(self.trials)))


def _first(rising: Callable[[Array], tuple[Array, Array]], target: Array, start: Array) -> Array:
    """The smallest positive number, (...), at which something rising reaches its target.

    ``rising`` gives the value and its derivative. Newton's steps on logarithms from ``start`` on,
    but bisection where they leave the bracket or do not get shorter.
    """
    at = np.log(start)
    low, high, moved = at - 30.0, at + 30.0, np.full(at.shape, np.inf)
    for _ in range(100):
        value, slope = rising(np.exp(at))
        up = value >= target
        low, high = np.where(up, low, at), np.where(up, at, high)
        step = np.log(target / value) * value / (slope * np.exp(at))
        inside = (low < at + step) & (at + step < high)
        newton = (abs(step) < CLOSE) | (inside & (abs(step) < moved / 2))
        moved = np.where(newton, abs(step), high - low)
        at = np.where(newton, at + step, (low + high) / 2)
        if not (moved > CLOSE).any():
            break
    return np.exp(at)


def _bisect(reached: Callable[[Array], NDArray[np.bool_]], shape: tuple[int, ...]) -> Array:
    """The smallest positive number, (...), at which something is ``reached`` for good."""
    low, high = np.full(shape, -30.0), np.full(shape, 30.0)
    for _ in range(45):
        middle = (low + high) / 2
        up = reached(np.exp(middle))
        low, high = np.where(up, low, middle), np.where(up, middle, high)
    return np.asarray(np.exp(high))


def _inflation(trials: Array) -> Array:
    """Miettinen and Nurminen's N / (N - 1)."""
    n = trials.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(n / (n - 1))


def _floats(*arrays: ArrayLike) -> list[Array]:
    return [np.asarray(array, dtype=np.float64) for array in arrays]
