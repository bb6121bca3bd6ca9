"""The problem that a method solves: a classifier and the group-labeled rows it may see."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fairfix._utils.lengths import unequal_lengths
from fairfix.data.protected_inputs import Block, protected_inputs
from fairfix.data.training_rows import TrainingRows
from fairfix.errors import TableError
from fairfix.metrics.clusters import ClusterCounts, ClusterIndex
from fairfix.metrics.counts import Counts, cells, count_cells, design_effect, in_rows
from fairfix.metrics.group_columns import GroupColumns
from fairfix.metrics.rates import selection_rate
from fairfix.models.embeddings import embeddings
from fairfix.models.inputs import Inputs
from fairfix.models.scorer import Scorer


@dataclass(frozen=True, repr=False)
class Problem:
    """A trained classifier and N group-labeled rows, checked when it is made.

    All tensors are on one device and have one entry per row, in the same order.

    Attributes:
        scores: (N,) in [0, 1], the unmodified model's probability of the favorable outcome;
            float32 from a network, float64 from a table.
        labels: (N,) int64, 1 = favorable, 0 = unfavorable. Both occur; all are 0 if not
            ``labeled``.
        groups: (N,) int64 in 0..G-1; with two groups 0 is unprivileged and 1 privileged. Every
            group occurs. -1 for rows without a group, which count for performance alone.
        group_names: the names of the G groups, at least two.
        scorer: the network; None if only its scores are known.
        inputs: of the network; None if ``scorer`` is None.
        weights: (N,) floating point, finite, non-negative and not all 0: how many rows each row
            counts for, up to a common factor. None counts every row once.
        threshold: the threshold in use today, in [-1, 1]; a score above it is a favorable
            decision.
        clusters: (N,) int64; rows with the same number are not independent, such as several rows
            of one person. None if all rows are independent.
        ids: (N,) strings that identify the rows, for rules with randomized thresholds and for
            fingerprints; None if the rows have none.
        labeled: whether the labels are known; without, only figures of decisions are defined.
        further: by name, the groups (N,) int64 in 0, 1, ..., or -1, of further columns that limits
            of the objective name.
        probabilities: (N,) in [0, 1], calibrated probabilities of the favorable outcome where a
            rule decides on other scores; None if the scores are meant as probabilities.
        input_blocks: numbers of feature columns that were made from one column of the table.
        unlabeled: further rows, whose labels are not read; they sharpen selection rates.
        training: rows to learn from. Candidates are then chosen on rows that they were not trained
            on, which is what the rows of the problem itself are for.

    Raises:
        TableError: there are no rows, the lengths differ, a value is out of range, there are
            fewer than two groups, a group has no rows, or all rows have the same label.
    """

    scores: Tensor
    labels: Tensor
    groups: Tensor
    group_names: tuple[str, ...]
    scorer: Scorer | None = None
    inputs: Inputs | None = None
    weights: Tensor | None = None
    threshold: float = 0.5
    ids: np.ndarray | None = None
    clusters: Tensor | None = None
    labeled: bool = True
    further: Mapping[str, Tensor] = field(default_factory=dict)
    probabilities: Tensor | None = None
    input_blocks: tuple[Block, ...] = ()
    unlabeled: Problem | None = None
    training: TrainingRows | None = None

    def __post_init__(self) -> None:
        if len(self.scores) == 0:
            raise TableError("There are no rows; a problem needs rows of every group.")
        self._check_lengths()
        if not bool(((self.scores >= 0) & (self.scores <= 1)).all()):
            raise TableError("Scores must be probabilities, but some are NaN or outside [0, 1].")
        if not bool(((self.labels == 0) | (self.labels == 1)).all()):
            raise TableError("Labels must be 0 or 1; encode the favorable value as 1.")
        if self.weights is not None and not _are_weights(self.weights):
            raise TableError("Row weights must be finite, not negative, and not all 0.")
        if len(self.group_names) < 2:
            raise TableError("A fairness gap needs at least two groups.")
        if int(self.groups.min()) < -1 or int(self.groups.max()) >= self.n_groups:
            raise TableError(
                f"Groups must be numbers from 0 to {self.n_groups - 1}, the positions of their "
                "names in group_names, or -1 for rows without a group."
            )
        sizes = self.group_sizes
        if int(sizes.min()) == 0:
            name = self.group_names[int(sizes.argmin())]
            raise TableError(f"Group {name!r} has no rows; every group needs at least one.")
        if self.labeled and int(self.labels.min()) == int(self.labels.max()):
            raise TableError("All rows have the same label; rows of both labels are needed.")

    def __repr__(self) -> str:
        groups = ", ".join(map(repr, self.group_names[:4]))
        more = f" and {self.n_groups - 4} more" if self.n_groups > 4 else ""
        return f"<Problem: {len(self.scores):,} rows, groups {groups}{more}>"

    def _check_lengths(self) -> None:
        names = ("scores", "labels", "groups", "inputs", "weights", "ids", "clusters")
        columns = {name: getattr(self, name) for name in (*names, "probabilities")}
        if lengths := unequal_lengths(columns | dict(self.further)):
            raise TableError(f"Lengths differ: {lengths}. Each needs one entry per row.")

    @property
    def features(self) -> Tensor | None:
        """The matrix (N, D) float32 of the inputs; None if the network takes anything else."""
        return None if self.inputs is None else self.inputs.flat

    @cached_property
    def model_features(self) -> Tensor | None:
        """What a score model reads of each row, (N, D), beside the score; None for scores alone.

        The matrix of the inputs, or what the last linear layer reads if the network takes anything
        else (``embeddings``).
        """
        if self.features is not None or self.scorer is None or self.inputs is None:
            return self.features
        return embeddings(self.scorer, self.inputs)

    @property
    def n_groups(self) -> int:
        """The number of groups, G."""
        return len(self.group_names)

    @property
    def group_sizes(self) -> Tensor:
        """(G,) the number of rows of each group."""
        return torch.bincount(self.groups + 1, minlength=self.n_groups + 1)[1:]

    @cached_property
    def grouped(self) -> Problem:
        """The rows with a group; the problem itself if all have one."""
        rows = (self.groups >= 0).nonzero().squeeze(1)
        return self if len(rows) == len(self) else self.take(rows)

    @property
    def has_unknown_groups(self) -> bool:
        """Whether some rows have no group."""
        return self.grouped is not self

    def __len__(self) -> int:
        """Return the number of rows, N."""
        return len(self.scores)

    def counts(self, decisions: Tensor) -> Counts:
        """Return the counts by group of decisions (..., N) in [0, 1], hard or soft."""
        if self.columns is not None:
            counts = self.columns.counts(*count_cells(decisions, self._joint_cells).sides)
        else:
            counts = count_cells(decisions, self.cells, self.design_effect)
        return replace(counts, labeled=self.labeled)

    def clustered_counts(self, decisions: Tensor) -> Counts:
        """Return the counts by group of hard decisions (N,), with those by cluster.

        Intervals and verdicts are made from them; ``counts`` has an approximate design effect.
        """
        counts = self.counts(decisions)
        if self.clusters is None:
            return counts
        effect = design_effect(self.groups, self.n_groups, self.weights)
        by_cluster, all_clusters = self._clusters(decisions), None
        if self.has_unknown_groups:
            all_clusters = by_cluster.pooled()
            by_cluster = by_cluster.of_groups(range(self.n_groups))
        return replace(counts, design_effect=effect, clusters=by_cluster, all_clusters=all_clusters)

    @cached_property
    def _cluster_index(self) -> ClusterIndex:
        """Clusters by group; rows without one are a further group."""
        assert self.clusters is not None
        unknown = self.n_groups
        groups = torch.where(self.groups < 0, unknown, self.groups)
        return ClusterIndex.of(self.clusters, groups, unknown + self.has_unknown_groups)

    @cached_property
    def protected_inputs(self) -> tuple[int, ...]:
        """The feature columns that determine the group of every row (``protected_inputs``)."""
        rows = self.grouped
        return protected_inputs(rows.features, rows.groups, rows.n_groups, rows.input_blocks)

    @cached_property
    def cells(self) -> Tensor:
        """(N, 2 G) float64: the weight of each row in the column of its group and label.

        See ``fairfix.metrics.rates.cells``.
        """
        return cells(self.labels, self.groups, self.n_groups, self.weights)

    @cached_property
    def design_effect(self) -> Tensor | float:
        """The factor by which row weights and clusters increase variances: 1.0 or (G,).

        For clusters it is that on the selection rates of the threshold in use today.
        """
        of_weights = design_effect(self.groups, self.n_groups, self.weights)
        if self.clusters is None:
            return of_weights
        decided = self.scores > self.threshold
        counts = count_cells(decided, self.cells, of_weights)
        by_cluster = self._clusters(decided).of_groups(range(self.n_groups))
        counts = replace(counts, clusters=by_cluster)
        return torch.as_tensor(selection_rate(counts).design_effect)

    @cached_property
    def columns(self) -> GroupColumns | None:
        """All group columns as joint groups; None if there is one column that all rows have."""
        if not self.further and not self.has_unknown_groups:
            return None
        effect, own = self.design_effect, (self.groups, self.n_groups)
        return GroupColumns.of(*own, effect, self.further, self.weights)

    @cached_property
    def _joint_cells(self) -> Tensor:
        """(N, 2 J) as ``cells``, by joint group."""
        assert self.columns is not None
        return cells(self.labels, self.columns.joint, self.columns.n_joint, self.weights)

    def _clusters(self, decisions: Tensor) -> ClusterCounts:
        """Return the counts by cluster of decisions (N,)."""
        ones = torch.ones_like(self.scores, dtype=torch.float64)
        weights = ones if self.weights is None else in_rows(self.weights)
        return self._cluster_index.counts(decisions, self.labels, weights)

    def network(self) -> tuple[Scorer, Inputs]:
        """Return a copy of the scorer with all parameters trainable, and its inputs.

        Raises:
            TableError: the problem has only scores.
            CheckpointError: the weights of the network cannot be changed.
        """
        if self.scorer is None or self.inputs is None:
            raise TableError(
                "This method changes the weights of a network and needs a model, not only scores; "
                "pass the model or choose another method."
            )
        self.scorer.check_changeable()
        return copy.deepcopy(self.scorer).eval().requires_grad_(), self.inputs

    def score(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Return the scores (N,) of the network with other weights, in evaluation mode.

        Args:
            weights: a complete state of ``scorer.network``, such as a changed copy of
                ``scorer.weights()``.

        Raises:
            TableError: the problem has only scores.
        """
        scorer, inputs = self.network()
        scorer.network.load_state_dict(weights)
        return scorer.score(inputs)

    def to(self, device: torch.device) -> Problem:
        """Return the problem with all its rows, and a copy of its network, on a device.

        Scores are moved, not computed again.
        """
        if self.scores.device == device:
            return self
        return replace(
            self,
            scores=self.scores.to(device),
            labels=self.labels.to(device),
            groups=self.groups.to(device),
            scorer=None if self.scorer is None else copy.deepcopy(self.scorer).to(device),
            inputs=None if self.inputs is None else self.inputs.to(device),
            weights=None if self.weights is None else self.weights.to(device),
            clusters=None if self.clusters is None else self.clusters.to(device),
            further={name: ids.to(device) for name, ids in self.further.items()},
            probabilities=None if self.probabilities is None else self.probabilities.to(device),
            unlabeled=None if self.unlabeled is None else self.unlabeled.to(device),
            training=None if self.training is None else self.training.to(device),
        )

    def learning_rows(self, method: str) -> Problem:
        """Return the rows to learn from, with groups: the training rows, else the problem itself.

        Args:
            method: name of the method that needs the groups, for messages.

        Raises:
            TableError: the training rows have no groups, or lack a group or a label.
        """
        rows = self.training
        if rows is None:
            return self
        if rows.groups is None:
            raise TableError(
                f"{method} needs the group of every training row, and the training rows have no "
                "groups; add the group column to their table, or leave out --train."
            )
        try:
            return replace(
                self,
                scores=rows.scores,
                labels=rows.labels,
                groups=rows.groups,
                inputs=rows.inputs,
                weights=rows.weights,
                ids=rows.ids,
                clusters=None,
                labeled=True,
                further={},
                probabilities=None,
                unlabeled=None,
                training=None,
            )
        except TableError as error:
            said = str(error)
            raise TableError(f"Training rows: {said[0].lower()}{said[1:]}") from None

    def take(self, index: Tensor) -> Problem:
        """Return the problem of a subset of the rows, with the same training rows.

        Args:
            index: (M,) row numbers, or an (N,) mask.

        Raises:
            TableError: the subset lacks a group or a label.
        """
        return replace(
            self,
            scores=self.scores[index],
            labels=self.labels[index],
            groups=self.groups[index],
            inputs=None if self.inputs is None else self.inputs.take(index),
            weights=None if self.weights is None else self.weights[index],
            ids=None if self.ids is None else self.ids[index.cpu().numpy()],
            clusters=None if self.clusters is None else self.clusters[index],
            further={name: ids[index] for name, ids in self.further.items()},
            probabilities=None if self.probabilities is None else self.probabilities[index],
        )


def _are_weights(weights: Tensor) -> bool:
    return bool((weights.isfinite() & (weights >= 0)).all() and weights.any())
