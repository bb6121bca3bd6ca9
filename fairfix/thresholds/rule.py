"""The decision rule: plain data that any program can apply to the scores of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fairfix._utils.strict_json import validate
from fairfix.errors import TableError, UsageError
from fairfix.models.classes import Classes
from fairfix.models.inputs import Inputs
from fairfix.models.score_model import ModeledScores, ScoreModel
from fairfix.models.score_model.storage import read_score_model, sha256
from fairfix.models.scorer import Scorer
from fairfix.models.targets import Targets
from fairfix.thresholds.contract import Contract
from fairfix.thresholds.policy import Policy, RandomizedThresholds, row_draws, row_ids
from fairfix.thresholds.rule_document import VERSION, VERSIONS, RuleDocument


@dataclass(frozen=True)
class DecisionRule:
    """A decision rule: positive where score > threshold.

    Exactly one of ``threshold``, ``thresholds`` and ``randomized_thresholds`` is given. A threshold
    of -1 makes every row positive, 1 none.

    Attributes:
        threshold: one threshold for all rows, in [-1, 1].
        thresholds: one threshold per group name, each in [-1, 1].
        randomized_thresholds: (threshold, probability) pairs per group name, thresholds descending.
            The first threshold below the score gives the probability of a positive decision; below
            all of them the decision is negative. Named ``lottery`` in JSON.
        salt: key of the hash that maps a row's id to its random draw; only for
            ``randomized_thresholds``.
        group_column: table column with the group of each row; None if not needed or not known.
        id_column: table column with the id of each row, for its random draw; None = the draw is
            made from the row's features.
        positive_label: the favorable label value, as written in the table; several in a list with
            commas.
        output_label: the label value whose probability the network outputs. If it differs from
            ``positive_label``, the score is 1 - probability. With ``classes`` they are equal.
        output: form of the network's output: "prob", "logit", "two probabilities" or "two logits".
        metric: key of the metric the rule was tuned for; None if it was not tuned.
        budget: largest allowed gap the rule was tuned for; None if it was not tuned.
        weights_sha256: SHA-256 of the network's weights; None if the rule belongs to scores only.
        report_sha256: SHA-256 of the report file written with the rule; None if there is none.
        contract: the columns that the rule reads; None takes columns by position.
        score_model: gives the score that is compared with thresholds, from the network's score and
            the features; None compares the network's score itself.
        classes: what the outputs of a network with more than two stand for; the probability is that
            of the favorable classes. None for one or two outputs.
        targets: the labels of a network with one output for each of several; the probability is
            that of its target. None for one label.

    Raises:
        UsageError: if not exactly one kind of threshold is given, or a value is out of range.
    """

    threshold: float | None = None
    thresholds: Mapping[str, float] | None = None
    randomized_thresholds: Mapping[str, RandomizedThresholds] | None = None
    salt: str | None = None
    group_column: str | None = None
    id_column: str | None = None
    positive_label: str = "1"
    output_label: str = "1"
    output: str = "prob"
    metric: str | None = None
    budget: float | None = None
    weights_sha256: str | None = None
    report_sha256: str | None = None
    contract: Contract | None = None
    score_model: ScoreModel | None = None
    classes: Classes | None = None
    targets: Targets | None = None

    def __post_init__(self) -> None:
        given = [
            part
            for part in (self.threshold, self.thresholds, self.randomized_thresholds)
            if part is not None
        ]
        if len(given) != 1 or given[0] == {}:
            raise UsageError(
                "A rule has exactly one of: a threshold, thresholds per group, or randomized "
                "thresholds per group."
            )
        self.policy(tuple(self.group_names))

    @property
    def group_names(self) -> tuple[str, ...]:
        """The groups of the rule; empty if it does not depend on the group."""
        return tuple(self.thresholds or self.randomized_thresholds or ())

    @property
    def needs_group(self) -> bool:
        """Whether decisions depend on the group."""
        return self.threshold is None

    @property
    def randomized(self) -> bool:
        """Whether decisions depend on a random draw per row."""
        return self.randomized_thresholds is not None

    def policy(self, group_names: Sequence[str] = ()) -> Policy:
        """Return the rule as a policy for groups in this order.

        Raises:
            TableError: if the rule has no threshold for a group.
        """
        if self.threshold is not None:
            return Policy.shared(self.threshold)
        for name in group_names:
            if name not in self.group_names:
                raise TableError(
                    f"The rule has no threshold for group {name!r}; its groups are "
                    f"{', '.join(map(repr, self.group_names))}."
                )
        if self.thresholds is not None:
            return Policy.by_group(self.thresholds[name] for name in group_names)
        assert self.randomized_thresholds is not None
        return Policy(tuple(self.randomized_thresholds[name] for name in group_names))

    def model(
        self, scores: Tensor, inputs: Inputs | None, scorer: Scorer | None = None
    ) -> ModeledScores:
        """Return the scores that are compared with thresholds, and calibrated probabilities.

        Args:
            scores: (N,) in [0, 1], the network's probability of the favorable label; without a
                score model also the result.
            inputs: of the network; required by a score model.
            scorer: the network; required by a score model of embeddings.

        Raises:
            UsageError: if inputs or network are required but missing, or do not fit.
            CheckpointError: if embeddings are required and the network has none.
        """
        if self.score_model is None:
            return ModeledScores(scores, scores)
        return self.score_model.apply(self.score_model.features(inputs, scorer), scores)

    def decide(
        self,
        scores: Tensor,
        groups: Tensor | None = None,
        group_names: Sequence[str] = (),
        ids: np.ndarray | None = None,
        inputs: Inputs | None = None,
        scorer: Scorer | None = None,
    ) -> Tensor:
        """Return the decisions on rows with these scores of the network, (N,) bool.

        Args:
            scores: (N,) in [0, 1], the network's probability of the favorable label.
            groups: (N,) indices into ``group_names``; required if ``needs_group``.
            group_names: names of the groups.
            ids: (N,) row ids; required by randomized thresholds with an ``id_column``.
            inputs: of the network; required by a score model, and by randomized thresholds without
                an ``id_column``.
            scorer: the network; required by a score model of embeddings.

        Raises:
            TableError: if groups or ids are required but missing, or the rule has no threshold for
                a group.
            UsageError: if inputs are required but missing.
        """
        modeled = self.model(scores, inputs, scorer).score
        return self.decide_modeled(modeled, groups, group_names, ids, inputs)

    def decide_modeled(
        self,
        scores: Tensor,
        groups: Tensor | None = None,
        group_names: Sequence[str] = (),
        ids: np.ndarray | None = None,
        inputs: Inputs | None = None,
    ) -> Tensor:
        """Return the decisions on rows with these scores of ``model``, as ``decide`` does."""
        if not self.needs_group:
            return self.policy().decide(scores, scores)
        if groups is None:
            raise TableError(
                f"The rule has a threshold per group and needs the group of each row, from column "
                f"{self.group_column!r}."
            )
        draws = None
        if self.randomized:
            if ids is None and self.id_column is not None:
                raise TableError(
                    f"The rule has randomized thresholds and needs the id of each row, from column "
                    f"{self.id_column!r} (--id)."
                )
            used = ids if self.id_column is not None else None
            draws = row_draws(row_ids(used, inputs), self.salt or "").to(scores.device)
        return self.policy(group_names).decide(scores, groups, draws)

    def to_json(self) -> dict[str, Any]:
        """Return the rule as plain JSON values, as written to its file."""
        where: dict[str, Any] = {"threshold": self.threshold}
        if self.thresholds is not None:
            where = {"thresholds": dict(self.thresholds)}
        if self.randomized_thresholds is not None:
            steps = {
                name: [list(pair) for pair in pairs]
                for name, pairs in self.randomized_thresholds.items()
            }
            where = {"lottery": steps, "salt": self.salt, "id_column": self.id_column}
        complement = self.positive_label != self.output_label
        return {
            "version": VERSION,
            "operator": ">",
            "score": "1 - probability" if complement else "probability",
            **where,
            "needs_group": self.needs_group,
            "group_column": self.group_column,
            "positive_label": self.positive_label,
            "output_label": self.output_label,
            "output": self.output,
            "metric": self.metric,
            "budget": self.budget,
            "weights_sha256": self.weights_sha256,
            "report_sha256": self.report_sha256,
            "contract": self.contract and self.contract.model_dump(mode="json"),
            "score_model": self.score_model and _named(self.score_model),
            "classes": self.classes and _listed(self.classes),
            "targets": self.targets and _named_targets(self.targets),
        }

    @classmethod
    def from_json(
        cls, data: object, source: str = "rule", arrays: Path | None = None
    ) -> DecisionRule:
        """Return the rule that ``to_json`` wrote.

        Args:
            data: parsed JSON.
            source: name of the file, for messages.
            arrays: the file that holds the arrays of its score model, if it has one.

        Raises:
            UsageError: if the data is not a rule of a known version, or its score model cannot be
                read.
        """
        if isinstance(data, dict):
            _check_version(data.get("version"), data.get("operator"), source)
        document = validate(RuleDocument, data, source)
        _check_agreement(document, source)
        named, listed, labels = document.score_model, document.classes, document.targets
        score_model = None
        if named is not None:
            if arrays is None:
                raise UsageError(
                    f"{source} has a score model, whose arrays are in a file of their own; read "
                    "the rule from its file."
                )
            score_model = read_score_model(arrays, named.kind, named.settings, named.sha256, source)
        try:
            return cls(
                threshold=document.threshold,
                thresholds=document.thresholds,
                randomized_thresholds=document.lottery,
                salt=document.salt,
                group_column=document.group_column,
                id_column=document.id_column,
                positive_label=document.positive_label,
                output_label=document.output_label,
                output=document.output,
                metric=document.metric,
                budget=document.budget,
                weights_sha256=document.weights_sha256,
                report_sha256=document.report_sha256,
                contract=document.contract,
                score_model=score_model,
                classes=None if listed is None else listed.classes(),
                targets=None if labels is None else Targets(labels.names, labels.target),
            )
        except UsageError as error:
            raise UsageError(f"{source}: not a decision rule: {error}") from None


def _named(score_model: ScoreModel) -> dict[str, Any]:
    """Return what a rule's JSON has of its score model."""
    return {
        "kind": score_model.kind,
        "sha256": sha256(score_model),
        "settings": score_model.settings(),
    }


def _listed(classes: Classes) -> dict[str, Any]:
    """Return what a rule's JSON has of its classes."""
    return {"names": list(classes.names), "favorable": list(classes.favorable_names)}


def _named_targets(targets: Targets) -> dict[str, Any]:
    """Return what a rule's JSON has of its targets."""
    return {"names": list(targets.names), "target": targets.target}


def _check_agreement(document: RuleDocument, source: str) -> None:
    """Check the keys that follow from others, which other programs may read in place of them."""
    derived = {
        "needs_group": document.threshold is None,
        "score": "probability"
        if document.positive_label == document.output_label
        else "1 - probability",
    }
    for name in sorted(derived.keys() & document.model_fields_set):
        value = getattr(document, name)
        if value not in (None, derived[name]):
            raise UsageError(
                f"{source}: {name} is {value!r}, and the rest of the rule says {derived[name]!r}, "
                "so it was changed after it was written; restore it, or debias again."
            )


def _check_version(version: object, operator: object, source: str) -> None:
    if isinstance(version, bool) or version not in VERSIONS or operator != ">":
        known = " and ".join(map(str, VERSIONS))
        raise UsageError(
            f"{source}: this fairfix reads rules of version {known} with operator '>', not "
            f"version {version!r} with {operator!r}. Use the release that wrote it, or debias "
            "again."
        )
