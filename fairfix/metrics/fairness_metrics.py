"""The fairness metrics (spd, eod, ...): one registry entry each, from which all else follows.

An entry names the rates that are compared and how (``Contrast``). Value, size, sign, neutral value,
bounds, standard errors, intervals, exact threshold search and report texts are derived from it, so
that a metric added here or from outside works everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

import torch

from fairfix._utils.text import did_you_mean
from fairfix.errors import UsageError
from fairfix.metrics.contrasts import Contrast, Difference, Gap, difference_gap, gap_of
from fairfix.metrics.counts import Counts
from fairfix.metrics.performance import PERFORMANCES, Performance
from fairfix.metrics.rates import (
    REPORTED,
    Rate,
    accuracy_rate,
    false_discovery_rate,
    false_negative_rate,
    false_omission_rate,
    false_positive_rate,
    positive_predictive_value,
    selection_rate,
    true_positive_rate,
)

AUCD = "aucd"
"""Key of the AUC difference, which is not a metric of decisions."""

GROUP = "fairfix.metrics"
"""Entry-point group: the name is the metric's key, the object a ``Metric``."""
TITLES = {
    AUCD: "AUC difference",
    "auc": "area under the ROC curve",
    "calibration_error": "expected calibration error",
}


@dataclass(frozen=True)
class Metric:
    """A fairness metric; called on counts (..., G), it gives the ``Gap``.

    Attributes:
        key: identifier for options and reports: a Python identifier in lower case.
        title: name in words.
        rates: the rates that are compared between groups.
        contrast: how they are compared.
        components: keys of metrics whose opposite signs can cancel in this one; a verdict on it
            reports theirs as well.

    Raises:
        ValueError: if the key is not an identifier or the contrast does not fit the rates.
    """

    key: str
    title: str
    rates: tuple[Rate, ...]
    contrast: Contrast = Contrast.DIFFERENCE
    components: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.key.isidentifier() or self.key != self.key.lower():
            raise ValueError(f"A metric's key is a lower-case identifier, not {self.key!r}.")
        low, high = self.contrast.n_rates
        if not low <= len(self.rates) <= high:
            raise ValueError(f"A {self.contrast} compares {low} to {high} rates in {self.key!r}.")

    def __call__(self, counts: Counts) -> Gap:
        return gap_of(self.contrast, [rate(counts) for rate in self.rates])

    @property
    def of_scores(self) -> bool:
        """Whether it depends on scores alone, so that no threshold changes it."""
        return False

    @property
    def needs_labels(self) -> bool:
        """Whether it depends on labels, and not only on decisions."""
        return any(rate.needs_labels for rate in self.rates)

    @property
    def ratio(self) -> bool:
        """Whether the value is a ratio of rates."""
        return self.contrast is Contrast.RATIO

    @property
    def signed(self) -> bool:
        """Whether the value of two groups has a sign; a ratio lies on either side of 1."""
        return self.contrast.signed

    @property
    def neutral(self) -> float:
        """The value where there is no gap."""
        return 1.0 if self.ratio else 0.0

    def size(self, value: float) -> float:
        """What a budget limits: the gap without its sign, >= 0."""
        if not self.ratio:
            return abs(value)
        return 1 - min(value, 1 / value) if value > 0 else 1.0

    def slope(self, size: float) -> float:
        """Derivative of the size in its contrast: 1, or 1 - size for 1 - exp(-log ratio)."""
        return 1 - size if self.ratio else 1.0

    def band(self, budget: float) -> tuple[float, float]:
        """The values within the budget."""
        if self.ratio:
            return 1 - budget, 1 / (1 - budget)
        return (-budget if self.signed else 0.0), budget

    def sign(self, groups: Sequence[str]) -> str:
        """What is compared with what, in words; empty without a sign."""
        if not self.signed:
            return ""
        two = len(groups) == 2
        if self.ratio:
            return f"{groups[0]} / {groups[1]}" if two else "smallest / largest"
        return f"{groups[0]} minus {groups[1]}" if two else "largest minus smallest"


class _AucDifference(Metric):
    """The difference of the areas under the ROC curve; undefined where counts have no areas."""

    def __post_init__(self) -> None:
        """Compare no rates."""

    def __call__(self, counts: Counts) -> Gap:
        if counts.areas is None:
            unknown = torch.full_like(counts.tp, torch.nan)
            return difference_gap(unknown, unknown)
        areas = counts.areas.expand(counts.tp.shape[:-1])
        return difference_gap(areas.value, areas.variance)

    @property
    def of_scores(self) -> bool:
        return True

    @property
    def needs_labels(self) -> bool:
        return True


class _NoGap(_AucDifference):
    """A gap that is always 0."""

    def __call__(self, counts: Counts) -> Gap:
        none = torch.zeros_like(counts.tp)
        return difference_gap(none, none)


AUC_DIFFERENCE = _AucDifference(AUCD, TITLES[AUCD], ())
"""The metric of scores, which is not registered: no count of decisions gives it."""
NO_GAP = _NoGap("none", "no gap", ())
"""Stands in for a metric of scores where thresholds are compared."""


class _Registry(Mapping[str, Metric]):
    """Metrics by key: built-in, registered, and from installed packages, imported when used."""

    def __init__(self) -> None:
        self._known: dict[str, Metric] = {}
        self._installed: dict[str, EntryPoint] | None = None

    def add(self, metric: Metric) -> Metric:
        taken = (*self._known, *self._others(), *PERFORMANCES, *TITLES)
        if metric.key in taken:
            raise UsageError(f"There is a metric or measure {metric.key!r} already; rename yours.")
        self._known[metric.key] = metric
        return metric

    def __getitem__(self, key: str) -> Metric:
        if key not in self._known and key in self._others():
            self._known[key] = _load(self._others()[key])
        return self._known[key]

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys((*self._known, *self._others()))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _others(self) -> dict[str, EntryPoint]:
        if self._installed is None:
            self._installed = {point.name: point for point in entry_points(group=GROUP)}
        return self._installed


def _load(point: EntryPoint) -> Metric:
    try:
        metric = point.load()
    except Exception as error:
        raise UsageError(
            f"The metric {point.name!r} of {_origin(point)} cannot be imported: {error}"
        ) from None
    if not isinstance(metric, Metric) or metric.key != point.name:
        raise UsageError(
            f"The entry point {point.name!r} of {_origin(point)} must be a fairfix.metrics.Metric "
            "with that key."
        )
    return metric


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


METRICS = _Registry()


def register(metric: Metric) -> Metric:
    """Add a metric, so that it works in audit, gate, every method, bench and all reports.

    Args:
        metric: the entry; its key must be free.

    Raises:
        UsageError: if its key is taken.

    Example:
        >>> tnr = Rate("tnr", "true negative rate", ("tn",), ("fp", "tn"))
        >>> metric = Metric("tnrd", "true negative rate difference", (tnr,))
        >>> metric(Counts(*(torch.tensor([2.0, 4.0]) for _ in range(4)))).value
        tensor(0.)
    """
    return METRICS.add(metric)


def get(key: str) -> Metric:
    """Return a metric of decisions by its key.

    Raises:
        UsageError: if the key is unknown; names the nearest one.
    """
    if key in TITLES:
        raise UsageError(
            f"The {TITLES[key]} ({key}) is not a metric of decisions, as they do not change it. "
            f"{_listed()}"
        )
    if key not in METRICS:
        raise UsageError(f"Unknown metric {key!r}{did_you_mean(key, METRICS)} {_listed()}")
    return METRICS[key]


def goal(key: str) -> Metric:
    """Return a metric that a search can limit: one of decisions, or the AUC difference.

    Raises:
        UsageError: as ``get``.
    """
    return AUC_DIFFERENCE if key == AUCD else get(key)


def names() -> tuple[str, ...]:
    """Keys of all metrics."""
    return tuple(METRICS)


def _listed() -> str:
    return f"Metrics are {', '.join(METRICS)}."


def rates() -> dict[str, Rate]:
    """All rates behind a registered metric by key, those always reported first."""
    found = {rate.key: rate for rate in REPORTED}
    for metric in METRICS.values():
        for rate in metric.rates:
            found.setdefault(rate.key, rate)
    return found


def titles() -> dict[str, str]:
    """Titles of all metrics, performance measures and rates by key."""
    entries: tuple[Mapping[str, Metric | Performance | Rate], ...] = (
        rates(),
        PERFORMANCES,
        METRICS,
    )
    return {key: entry.title for known in entries for key, entry in known.items()} | TITLES


def title(key: str) -> str:
    """The title of a metric, performance measure or rate; the key itself if it is unknown."""
    for known in (TITLES, METRICS, PERFORMANCES):
        if key in known:
            entry = known[key]
            return entry if isinstance(entry, str) else entry.title
    rate = rates().get(key)
    return key if rate is None else rate.title


def noise_ceiling(metric: Metric, budget: float, *tables: Counts) -> float:
    """P(gap < budget) for a true gap of 0 and the sampling noise of all tables added up."""
    gaps = [metric(table) for table in tables]
    zero = torch.zeros((), device=tables[0].tp.device)
    parts = [
        Difference(zero, torch.stack([part.variance for part in same]).sum(0))
        for same in zip(*(gap.parts for gap in gaps), strict=True)
    ]
    none = Gap(zero, zero, tuple(parts), gaps[0].bound)
    return float(none.probability_within(budget, 1.0))


_ODDS = (true_positive_rate, false_positive_rate)
for _metric in (
    Metric("spd", "statistical parity difference", (selection_rate,)),
    Metric("eod", "equal opportunity difference", (true_positive_rate,)),
    Metric("aod", "average odds difference", _ODDS, Contrast.MEAN_DIFFERENCE, ("eod", "fprd")),
    Metric("aaod", "average absolute odds difference", _ODDS, Contrast.MEAN_ABSOLUTE),
    Metric("eqodds", "equalized odds difference", _ODDS, Contrast.LARGEST),
    Metric("fprd", "false positive rate difference", (false_positive_rate,)),
    Metric("ad", "accuracy difference", (accuracy_rate,)),
    Metric("di", "disparate impact ratio", (selection_rate,), Contrast.RATIO),
    Metric("ppvd", "positive predictive value difference", (positive_predictive_value,)),
    Metric("fdrd", "false discovery rate difference", (false_discovery_rate,)),
    Metric("ford", "false omission rate difference", (false_omission_rate,)),
    Metric("fnrd", "false negative rate difference", (false_negative_rate,)),
):
    METRICS.add(_metric)
