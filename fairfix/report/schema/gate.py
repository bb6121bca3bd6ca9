"""The document of ``fairfix gate --json``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fairfix._utils.strict_json import StrictModel
from fairfix.report.schema.shared import (
    CONFIDENCE,
    Confidence,
    Estimate,
    GroupRows,
    Key,
    PositiveCount,
    Rule,
    Sha256,
    Verdict,
)


class GateMadeBy(StrictModel):
    """The software that made the document."""

    fairfix: str = Field(description="Version of fairfix.")


class CertifiableGap(StrictModel):
    """What the table can certify about one budget and group column."""

    metric: Key = Field(description="Key of the metric.")
    column: str = Field(description="The group column.")
    budget: float = Field(description="Largest allowed absolute gap.")
    rows: GroupRows = Field(description="Rows by group.")
    certifiable_gap: Annotated[float, Field(ge=0)] | None = Field(
        description="Largest estimated gap that these rows would certify; null if they would not "
        "even certify a gap of 0."
    )
    rows_needed: GroupRows | None = Field(
        description="If not even a gap of 0 would be certified: rows by group that would certify "
        "it; otherwise null."
    )


class ComponentCheck(StrictModel):
    """A component of a gap whose opposite signs can cancel, with its own verdict."""

    title: str = Field(description="Full name of the component.")
    value: float | None = Field(description="The estimate; null if undefined.")
    low: float | None = Field(description="Lower limit of the confidence interval.")
    high: float | None = Field(description="Upper limit of the confidence interval.")
    verdict: Verdict = Field(description="The verdict.")


class Check(StrictModel):
    """One demand and its verdict."""

    demand: str = Field(description="The demand as a formula.")
    kind: Literal["budget", "floor", "ceiling", "max-drop", "selection-rate-change", "trivial"] = (
        Field(description="Kind of the demand.")
    )
    key: Key = Field(description="Key of the metric, rate or performance measure.")
    title: str = Field(description="Full name of the metric, rate or performance measure.")
    column: str | None = Field(
        description="The group column; null if the demand is about all rows together."
    )
    limit: float | None = Field(description="The limit that the demand sets.")
    severity: Literal["error", "warn"] = Field(
        description="Whether the demand affects the exit code."
    )
    value: float | None = Field(description="The estimate; null if undefined.")
    low: float | None = Field(description="Lower limit of the confidence interval.")
    high: float | None = Field(description="Upper limit of the confidence interval.")
    gap: Estimate | None = Field(
        description="For a ratio its gap, 1 - min(ratio, 1 / ratio), which the budget limits."
    )
    interval: str = Field(description="Method of the confidence interval.")
    sign: str = Field(description="What is subtracted from or divided by what.")
    verdict: Verdict = Field(description="The verdict.")
    standing: Literal["passed", "failed", "inconclusive", "warned"] = Field(
        description="Effect of the verdict on the exit code; inconclusive blocks without a "
        "violation."
    )
    reason: str = Field(description="Reason of the verdict, as a clause.")
    rows_needed: GroupRows | None = Field(
        description="Rows by group that certify the demand if the true value equals the estimate; "
        "null if that does not apply."
    )
    test: str = Field(description="The test.")
    alongside: tuple[ComponentCheck, ...] = Field(
        description="Components of a gap whose opposite signs can cancel."
    )


class Gate(StrictModel):
    """The demands on a model and their verdicts on a table. Undefined figures are null."""

    schema_version: Literal[1] = Field(
        description="Version of this schema; it changes when a field is removed or changes its "
        "meaning."
    )
    made_by: GateMadeBy = Field(description="The software that made the document.")
    model: str = Field(description="The model as given; - if the table has the scores.")
    table: str = Field(description="File name of the table.")
    table_sha256: Sha256 = Field(description="Hash of the table's bytes.")
    rows: PositiveCount = Field(description="Number of rows.")
    rule: Rule = Field(description="The decision rule, as in the rule file.")
    rule_found: str = Field(description="Where the rule came from.")
    confidence: Confidence = Field(description=CONFIDENCE)
    strict: bool = Field(description="Whether exact confidence limits were requested.")
    ending: Literal["passed", "violated", "inconclusive"] = Field(description="Result of the gate.")
    exit_code: Literal[0, 1, 3] = Field(description="The exit code.")
    headline: str = Field(description="Result of the gate, as a sentence.")
    trivial: bool = Field(description="Whether nearly all rows are decided alike.")
    power: tuple[CertifiableGap, ...] = Field(
        description="What the table can certify, by budget and group column."
    )
    checks: tuple[Check, ...] = Field(description="Every demand.")
    warnings: tuple[str, ...] = Field(description="Warnings.")
    serious_warnings: tuple[str, ...] = Field(
        description="Those of the warnings with which a certified model is amber, not green."
    )
    unchecked: tuple[str, ...] = Field(description="What could not be checked.")
    notes: tuple[str, ...] = Field(description="What was inferred from the model and the table.")
