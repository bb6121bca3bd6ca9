"""The document of ``fairfix audit --json``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fairfix._utils.strict_json import StrictModel
from fairfix.report.schema.calibration import Calibration
from fairfix.report.schema.shared import (
    CONFIDENCE,
    Confidence,
    Count,
    Estimate,
    Evidence,
    Group,
    Key,
    Measured,
    PositiveCount,
    Rule,
    Sha256,
    Share,
    Subgroup,
)
from fairfix.thresholds.rule_document import Threshold


class AuditMadeBy(StrictModel):
    """The software that made the audit."""

    fairfix: str = Field(description="Version of fairfix.")
    torch: str = Field(description="Version of torch.")


class GroupColumnAudit(Measured):
    """Decisions measured by one group column."""

    evidence: Evidence = Field(description="What the rows show about the budget.")
    calibration: tuple[Calibration, ...] = Field(
        description="Calibration of the scores: all rows, then each group."
    )


class Intersection(StrictModel):
    """The groups formed by the values of two or three group columns together."""

    columns: Annotated[tuple[str, ...], Field(min_length=2)] = Field(
        description="The group columns."
    )
    groups: tuple[Group, ...] = Field(description="Every combination of values that has rows.")
    too_small: tuple[str, ...] = Field(
        description="Groups of fewer than 30 rows, or of fewer than 10 clusters."
    )
    gaps: dict[Key, float | None] | None = Field(
        description="Every metric between the other groups, without confidence intervals; null "
        "with fewer than two such groups."
    )


class SubgroupSearch(StrictModel):
    """Subgroups whose decisions or errors differ most from those of all other rows."""

    searched: Count = Field(description="Rows used to search for subgroups.")
    tested: Count = Field(description="Other rows, on which the subgroups were tested.")
    found: tuple[Subgroup, ...] = Field(description="Subgroups with a significant difference.")


class Classes(StrictModel):
    """Decisions by the largest output of a network with several classes, by the first column."""

    favorable: Measured = Field(
        description="Positive where the class of the largest output is a favorable one."
    )
    one_against_rest: dict[str, Measured] = Field(
        description="By class: positive where its output is the largest. The label is whether the "
        "row is of that class, the score its probability."
    )


class SweepPoint(StrictModel):
    """One shared threshold."""

    threshold: Threshold = Field(description="Decisions are positive where score > threshold.")
    gap: float | None = Field(description="The fairness metric.")
    size: float | None = Field(description="The absolute gap, which a budget limits.")
    performance: float | None = Field(description="The performance measure.")
    selection_rates: tuple[Share | None, ...] = Field(description="Selection rates by group.")


class ThresholdSweep(StrictModel):
    """A metric and a performance measure over shared thresholds."""

    metric: Key = Field(description="Key of the metric.")
    performance: Key = Field(description="Key of the performance measure.")
    groups: tuple[str, ...] = Field(description="Group names, in the order of selection_rates.")
    current: SweepPoint = Field(description="The threshold in use.")
    points: tuple[SweepPoint, ...] = Field(description="At most 101 thresholds, ascending.")


class ComparedGap(StrictModel):
    """The absolute gap between the groups of one column, of another model and of the audited one.

    Groups with fewer than 30 rows behind a rate are left out.
    """

    column: str = Field(description="The group column.")
    metric: Key = Field(description="Key of the metric.")
    before: float | None = Field(description="Absolute gap of the other model.")
    after: float | None = Field(description="Absolute gap of the audited model.")
    low: float | None = Field(description="Lower 95 % confidence limit of the difference.")
    high: float | None = Field(description="Upper 95 % confidence limit of the difference.")


class PerformanceChange(Estimate):
    """Performance of the audited model minus that of another, with its 95 % interval."""

    key: Key = Field(description="Key of the performance measure.")


class ComparedModel(StrictModel):
    """Another model on the same rows."""

    model: str = Field(description="The model, as it was named.")
    groups: dict[str, Measured] = Field(description="Its decisions measured by each group column.")
    changes: tuple[ComparedGap, ...] = Field(description="The claimed gap by each group column.")
    performance_change: PerformanceChange = Field(
        description="What the audited model gains in performance; null values without labels."
    )


class Audit(StrictModel):
    """The audit of a decision rule on one table. Undefined figures are null."""

    schema_version: Literal[2] = Field(description="Version of this schema.")
    made_by: AuditMadeBy = Field(description="The software that made the audit.")
    table: str = Field(description="File name of the table.")
    table_sha256: Sha256 = Field(description="Hash of the table's bytes.")
    rows: PositiveCount = Field(description="Number of rows.")
    rule: Rule = Field(description="The decision rule.")
    confidence: Confidence = Field(description=CONFIDENCE)
    groups: Annotated[dict[str, GroupColumnAudit], Field(min_length=1)] = Field(
        description="The decisions measured by each group column."
    )
    intersections: tuple[Intersection, ...] = Field(
        description="Groups formed by several group columns together."
    )
    subgroups: SubgroupSearch | None = Field(
        description="Subgroups whose decisions or errors differ most from those of all other rows; "
        "null if they were not searched."
    )
    classes: Classes | None = Field(
        description="Decisions by the largest output; null if the network has no classes."
    )
    threshold_sweep: ThresholdSweep | None = Field(
        description="Results at other shared thresholds; null if the rule has no shared threshold."
    )
    compared: tuple[ComparedModel, ...] = Field(description="Other models on the same rows.")
    serious_warnings: tuple[str, ...] = Field(
        description="Warnings with which a certified rule is amber, not green."
    )
    unchecked: tuple[str, ...] = Field(description="What could not be checked.")
    notes: tuple[str, ...] = Field(description="What was inferred from the model and the table.")
