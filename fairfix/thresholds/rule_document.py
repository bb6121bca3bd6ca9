"""The JSON document of a decision rule, as pydantic model: keys, types and ranges."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fairfix._utils.strict_json import StrictModel
from fairfix.errors import UsageError
from fairfix.models.classes import Classes
from fairfix.thresholds.contract import Contract

VERSION = 2
VERSIONS = (1, VERSION)
"""Versions that are read. A rule of version 1 has no contract."""

Threshold = Annotated[float, Field(ge=-1, le=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Steps = Annotated[tuple[tuple[Threshold, Probability], ...], Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

KINDS = (("threshold",), ("thresholds",), ("lottery", "salt", "id_column"))
"""The keys of each kind of thresholds, of which a rule has one."""

NULLABLE = frozenset(
    {
        "id_column",
        "group_column",
        "metric",
        "budget",
        "weights_sha256",
        "report_sha256",
        "contract",
        "score_model",
        "classes",
        "targets",
    }
)
"""The keys that are null where a rule has none."""


class ScoreModelDocument(StrictModel):
    """A model between the network's score and the thresholds (docs/rule.md).

    Its arrays are in the file beside the rule's that ends in ``.rule.safetensors``.
    """

    kind: Literal["blind", "repair", "head"] = Field(description="Which formula it is.")
    sha256: Sha256 = Field(description="Hash of the bytes of the file of arrays.")
    settings: dict[str, bool | int | float | str | None] = Field(
        description="The constants of the formula."
    )


class ClassesDocument(StrictModel):
    """The classes of a network with more than two outputs.

    The probability that is compared with thresholds is the sum over the favorable ones.
    """

    names: tuple[str, ...] = Field(
        description="The label value of each output, in the order of the outputs."
    )
    favorable: tuple[str, ...] = Field(description="The favorable ones.")

    def classes(self) -> Classes:
        """Return the classes.

        Raises:
            UsageError: if a favorable one is not among the names, or as ``Classes``.
        """
        for name in self.favorable:
            if name not in self.names:
                raise UsageError(f"{name!r} is not among the classes; restore the file.")
        places = (place for place, name in enumerate(self.names) if name in self.favorable)
        return Classes(self.names, tuple(places))


class TargetsDocument(StrictModel):
    """The labels of a network with one output for each of several."""

    names: tuple[str, ...] = Field(
        description="The label column of each output, in the order of the outputs."
    )
    target: str = Field(description="The label whose probability is compared with thresholds.")


class RuleDocument(StrictModel):
    """Positive where score > threshold.

    ``DecisionRule.to_json`` writes all keys but those of other kinds of thresholds, and version 2
    requires them. Version 1 requires ``version``, ``operator`` and one kind of thresholds.
    """

    version: Literal[1, 2] = Field(description="Version of the rule.")
    operator: Literal[">"] = Field(description="How score and threshold compare.")
    score: Literal["probability", "1 - probability"] = Field(
        "probability", description="The score, from the probability that the network outputs."
    )
    threshold: Threshold | None = Field(None, description="One threshold for all rows.")
    thresholds: dict[str, Threshold] | None = Field(
        None, min_length=1, description="One threshold per group, by its name."
    )
    lottery: dict[str, Steps] | None = Field(
        None,
        min_length=1,
        description="Randomized thresholds per group, by its name: pairs of a threshold and a "
        "probability, thresholds descending. The first threshold below the score gives the "
        "probability of a positive decision; below all of them the decision is negative.",
    )
    salt: str | None = Field(
        None, description="Key of the hash that maps the id of a row to its random draw."
    )
    id_column: str | None = Field(
        None,
        description="Column with the row ids for the random draws; null when the draws are made "
        "from the features.",
    )
    needs_group: bool | None = Field(
        None, description="Whether a decision depends on the group of the row."
    )
    group_column: str | None = Field(None, description="Column with the group of each row.")
    positive_label: str = Field("1", description="The favorable label value.")
    output_label: str = Field(
        "1", description="The label value whose probability the network outputs."
    )
    output: str = Field("prob", description="Form of the network's output.")
    metric: str | None = Field(
        None, description="The metric the rule was tuned for; null if it was not tuned."
    )
    budget: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="The budget it was tuned for; null if it was not tuned."
    )
    weights_sha256: Sha256 | None = Field(
        None,
        description="Hash of the weights it belongs to; null if it belongs to scores only.",
    )
    report_sha256: Sha256 | None = Field(
        None,
        description="Hash of the bytes of the report written with it; null inside that report, and "
        "if there is none.",
    )
    contract: Contract | None = Field(
        None,
        description="The columns that it reads; null if columns are taken by position, as in "
        "version 1.",
    )
    score_model: ScoreModelDocument | None = Field(
        None,
        description="The model whose score is compared with the thresholds, in place of the "
        "network's; null if there is none.",
    )
    classes: ClassesDocument | None = Field(
        None,
        description="What the outputs of a network with more than two stand for; null if it has "
        "one or two. `output` is then the kind of each.",
    )
    targets: TargetsDocument | None = Field(
        None,
        description="What the outputs of a network are of that has one for each of several labels; "
        "null if it has one label. `output` is then the kind of each.",
    )

    @model_validator(mode="after")
    def _check_version(self) -> RuleDocument:
        new = (self.contract, self.report_sha256, self.score_model, self.classes, self.targets)
        if self.version == 1 and any(each is not None for each in new):
            raise ValueError(
                "has classes, targets, a contract, report_sha256 or score_model, which version 1 "
                "does not have"
            )
        if self.version > 1:
            self._check_as_written()
        return self

    def _check_as_written(self) -> None:
        """Raise ValueError if keys are missing, or null where a rule has a value.

        A missing key would be read as "none", and the rule would decide otherwise without a word.
        """
        of_kinds = {name for kind in KINDS for name in kind}
        given = self.model_fields_set
        faults = [
            f"lacks {name}" for name in sorted(type(self).model_fields.keys() - of_kinds - given)
        ]
        faults += [
            f"has null as {name}"
            for name in sorted(given - NULLABLE)
            if getattr(self, name) is None
        ]
        if given & of_kinds not in [set(kind) for kind in KINDS]:
            faults.append("must have one of threshold, thresholds, and lottery with its keys")
        if faults:
            raise ValueError(
                f"{faults[0]}, so the rule was changed after it was written; restore it, or debias "
                "again"
            )
