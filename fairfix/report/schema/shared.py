"""The parts that several documents share: estimates, groups, claims, and the decision rule."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from fairfix._utils.strict_json import StrictModel
from fairfix.thresholds.rule_document import KINDS, NULLABLE, RuleDocument

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Budget = Annotated[float, Field(gt=0, lt=1)]
Confidence = Annotated[float, Field(gt=0.5, lt=1)]
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]
WeightedCount = Annotated[float, Field(ge=0)] | None
Key = Annotated[str, Field(pattern="^[a-z_][a-z0-9_]*$")]
"""Key of a metric, a performance measure or a rate; plugins can add more."""
GroupRows = dict[str, Count]
"""Numbers of rows by group name."""
Verdict = Literal["certified", "violated", "inconclusive", "too few rows"]
CONFIDENCE = "1 - alpha of each one-sided test; confidence intervals are two-sided at 1 - 2 alpha."


def _as_written(schema: dict[str, Any]) -> None:
    """Require the keys that ``DecisionRule.to_json`` writes, and refuse null where it has none."""
    fields = schema["properties"]
    of_kinds = {name for kind in KINDS for name in kind}
    schema["required"] = [name for name in fields if name not in of_kinds]
    schema["oneOf"] = [{"required": list(kind)} for kind in KINDS]
    schema["dependentRequired"] = {name: [kind[0]] for kind in KINDS for name in kind[1:]}
    for name, field in fields.items():
        field.pop("default", None)
        if name not in NULLABLE and "anyOf" in field:
            (value,) = [each for each in field.pop("anyOf") if each != {"type": "null"}]
            field |= value


class Rule(RuleDocument):
    """The decision rule with all keys that apply: positive where score > threshold."""

    model_config = ConfigDict(json_schema_extra=_as_written)
    version: Literal[2] = Field(description="Version of the rule.")


class Estimate(StrictModel):
    """A figure with its confidence interval, which is null on validation rows."""

    value: float | None = Field(description="The figure; null if undefined.")
    low: float | None = Field(description="Lower limit of the confidence interval.")
    high: float | None = Field(
        description="Upper limit of the confidence interval; null also if infinite."
    )


class Rate(StrictModel):
    """A rate of one group, with its denominator."""

    value: Share | None = Field(description="The rate; null if n is 0.")
    low: Share | None = Field(description="Lower limit of the confidence interval.")
    high: Share | None = Field(description="Upper limit of the confidence interval.")
    n: Count = Field(description="The number of rows in the denominator.")


class Group(StrictModel):
    """One group. With row weights, the counts are sums of weights scaled to a mean of 1.

    Without labels, the confusion counts are null.
    """

    name: str = Field(description="The group's value in the group column.")
    rows: Count = Field(description="Number of rows.")
    threshold: float | None = Field(
        description="The group's threshold; null if its rows have different ones."
    )
    tp: WeightedCount = Field(description="True positives: favorable rows decided positive.")
    fp: WeightedCount = Field(description="False positives: unfavorable rows decided positive.")
    fn: WeightedCount = Field(description="False negatives: favorable rows decided negative.")
    tn: WeightedCount = Field(description="True negatives: unfavorable rows decided negative.")
    auc: Estimate = Field(description="Area under the ROC curve of the scores.")
    rates: dict[Key, Rate] = Field(
        description="Rates by key: selection_rate, tpr, fpr, accuracy, and those of other metrics."
    )


class ReferenceGap(StrictModel):
    """The metric between one group and the reference group, with simultaneous limits."""

    name: str = Field(description="The group's value in the group column.")
    rows: PositiveCount = Field(description="Number of rows of the group.")
    value: float | None = Field(
        description="The group minus the reference group, or divided by it; null if undefined."
    )
    low: float | None = Field(description="Lower limit of the confidence interval.")
    high: float | None = Field(
        description="Upper limit of the confidence interval; null also if infinite."
    )


class ReferenceGaps(StrictModel):
    """One metric between every other group and the reference group.

    The confidence intervals hold together (Bonferroni).
    """

    reference: str = Field(description="The reference group.")
    metric: Key = Field(description="Key of the metric.")
    gaps: tuple[ReferenceGap, ...] = Field(description="One entry per other group with rows.")


class Measured(StrictModel):
    """Decisions measured on rows."""

    rows: PositiveCount = Field(description="Number of rows.")
    trivial: bool = Field(description="Whether nearly all rows are decided alike.")
    gaps: dict[Key, Estimate] = Field(
        description="Every fairness metric by key. With two groups unprivileged minus privileged, "
        "with more largest minus smallest; ratios are smallest divided by largest."
    )
    performance: dict[Key, Estimate] = Field(
        description="Every performance measure by key, over all rows."
    )
    groups: Annotated[tuple[Group, ...], Field(min_length=2)] = Field(
        description="The groups, in the order of the group column's values."
    )
    to_reference: ReferenceGaps | None = Field(
        description="The metric between each of the groups that were merged and the reference "
        "group; null if none were merged, and on validation rows."
    )


class Claim(StrictModel):
    """One metric compared with one budget by two one-sided tests (equivalence test, TOST)."""

    metric: Key = Field(description="Key of the metric.")
    title: str = Field(description="Full name of the metric.")
    budget: Budget = Field(description="Largest allowed absolute gap.")
    value: float | None = Field(description="Estimate of the metric; null if undefined.")
    low: float | None = Field(description="Lower limit of the confidence interval.")
    high: float | None = Field(description="Upper limit of the confidence interval.")
    verdict: Verdict = Field(description="The verdict.")
    reason: str = Field(description="Reason of the verdict, as a clause.")
    rows_needed: GroupRows | None = Field(
        description="Rows by group that certify the budget with probability 0.8 if the true gap "
        "equals the estimate; null if the verdict is definite or no number of rows suffices."
    )
    test: str = Field(description="The test and its confidence interval.")
    alongside: tuple[Claim, ...] = Field(
        description="Claims about the components of the metric, whose opposite signs can cancel."
    )


class Evidence(StrictModel):
    """What the rows show about a budget."""

    claims: Annotated[tuple[Claim, ...], Field(min_length=1)] = Field(
        description="The metric compared with its budget."
    )
    certifiable_gap: Share | None = Field(
        description="Largest estimated gap that rows like these would still certify; null if they "
        "would not even certify a gap of 0."
    )
    rows_needed: GroupRows | None = Field(
        description="If not even a gap of 0 would be certified: rows by group that would certify "
        "it; otherwise null."
    )
    rows: PositiveCount = Field(description="Number of rows.")


class Subgroup(StrictModel):
    """A conjunction of conditions in which a rate differs from that of all other rows."""

    where: dict[str, str] = Field(description="The conditions: values by column.")
    title: str = Field(description="The rows that the rate counts.")
    direction: Literal["higher", "lower"] = Field(
        description="Whether the rate is higher or lower than that of all other rows."
    )
    share: Share | None = Field(description="Share of all rows that meet the conditions.")
    rows: Count = Field(
        description="Rows that meet the conditions, were not searched, and have the rate."
    )
    rate: Share | None = Field(description="Rate of the subgroup.")
    rest: Share | None = Field(description="Rate of all other rows.")
    difference: float | None = Field(description="Rate of the subgroup minus that of the rest.")
    low: float | None = Field(description="Lower confidence limit of the difference.")
    high: float | None = Field(description="Upper confidence limit of the difference.")
    p_adjusted: Share | None = Field(
        description="One-sided p-value of the difference, adjusted for all subgroups tested."
    )
