"""Choose snapshots and thresholds offline, for many settings of the choice.

A method that fine-tunes leaves many networks, of which one is shipped with a threshold. Which one
depends on settings that need no training: the labels that it was trained on, whether rates are
counted with labels or with probabilities of labels, the factor k on the standard error, and the
balanced accuracy above which a rule is worth something.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from fairfix.metrics.counts import Counts
from fairfix.metrics.objective import Objective
from fairfix.thresholds.shared import allowed_positions, cumulative_counts

LABELS = ("true", "smooth", "repaired")
COUNTED = ("labels", "probabilities")
FACTORS = (1.0, 1.2, 2**0.5, 1.7, 2.0)
OFFSETS = (0.0, 0.25)


@dataclass(frozen=True)
class Setting:
    """How a snapshot and its threshold are chosen on validation rows.

    Attributes:
        labels: the labels that the snapshots were trained on.
        counted: whether rates are counted with labels or with probabilities of labels.
        k: factor on the standard error.
        offset: utility is (balanced accuracy - offset) times the chance that the budget is met.
    """

    labels: str
    counted: str
    k: float
    offset: float

    def __str__(self) -> str:
        counted = "" if self.counted == "labels" else ", soft counts"
        offset = f", BA - {self.offset:g}" if self.offset else ""
        return f"{self.labels} k={self.k:.3g}{counted}{offset}"


def all_settings(labels: Sequence[str] = LABELS) -> list[Setting]:
    """Return every setting of the grid, without equal ones: true labels have no probabilities."""
    grid = (Setting(*each) for each in product(labels, COUNTED, FACTORS, OFFSETS))
    return [each for each in grid if (each.labels, each.counted) != ("true", "probabilities")]


@dataclass(frozen=True)
class Choice:
    """The best snapshot of a setting: its index, threshold and utility on validation rows."""

    snapshot: int
    threshold: float
    utility: float


@dataclass(frozen=True)
class Candidates:
    """Scores of S snapshots on N validation rows.

    Attributes:
        scores: (S, N) in [0, 1].
        labels, groups: (N,).
        probabilities: (N,) by kind of labels: P(label = 1) as it was trained on.
        kinds: (S,) the labels that a snapshot was trained on; "" for the unmodified network.
    """

    scores: Tensor
    labels: Tensor
    groups: Tensor
    probabilities: dict[str, Tensor]
    kinds: tuple[str, ...]

    def best(self, settings: Iterable[Setting], objective: Objective) -> dict[Setting, Choice]:
        """Return the best snapshot and threshold of every setting; the first one of equal ones."""
        found: dict[Setting, Choice] = {}
        settings = list(settings)
        for labels, counted in dict.fromkeys((s.labels, s.counted) for s in settings):
            same = [s for s in settings if (s.labels, s.counted) == (labels, counted)]
            p = self.labels.double() if counted == "labels" else self.probabilities[labels]
            for index, kind in enumerate(self.kinds):
                if kind in ("", labels):
                    for setting, choice in self._rated(index, p, same, objective):
                        if setting not in found or choice.utility > found[setting].utility:
                            found[setting] = choice
        return found

    def _rated(
        self, index: int, p: Tensor, settings: Sequence[Setting], objective: Objective
    ) -> Iterator[tuple[Setting, Choice]]:
        """Yield the best threshold of one snapshot for settings that count alike."""
        thresholds, counts = threshold_counts(self.scores[index], p, self.groups)
        performance, gap = objective.performance(counts), objective.metric(counts)
        for k in dict.fromkeys(setting.k for setting in settings):
            chance = gap.probability_within(objective.budget, k)
            for setting in settings:
                if setting.k == k:
                    utility = ((performance - setting.offset) * chance).nan_to_num(-torch.inf)
                    at = int(utility.argmax())
                    yield setting, Choice(index, float(thresholds[at]), float(utility[at]))


def threshold_counts(scores: Tensor, p: Tensor, groups: Tensor) -> tuple[Tensor, Counts]:
    """Return every threshold (K,), descending, with its expected counts (K, G).

    Args:
        scores: (N,) in [0, 1].
        p: (N,) P(label = 1) of every row, or its label.
        groups: (N,) 0 or 1.
    """
    n_groups = 2
    ordered, positive = cumulative_counts(scores[None], groups, n_groups, p)
    negative = cumulative_counts(scores[None], groups, n_groups, 1 - p)[1]
    at = allowed_positions(ordered)[0].nonzero().squeeze(1)
    tp, fp = (part[:, 0, at].T.double() for part in (positive, negative))
    all_tp, all_fp = (part[:, 0, -1].double() for part in (positive, negative))
    edges = torch.cat([ordered.new_tensor([3.0]), ordered[0], ordered.new_tensor([-3.0])]).double()
    thresholds = (edges[at] + edges[at + 1]) / 2
    return thresholds.clamp(-1, 1), Counts(tp, fp, all_tp - tp, all_fp - fp)
