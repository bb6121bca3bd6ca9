"""Calibration of scores by group, in reports and in audits."""

from __future__ import annotations

from pydantic import Field

from fairfix._utils.strict_json import StrictModel
from fairfix.report.schema.shared import Count, Estimate, Share


class CalibrationBin(StrictModel):
    """Rows with neighboring scores."""

    low: Share | None = Field(alias="from", description="The lowest score.")
    high: Share | None = Field(alias="to", description="The highest score.")
    rows: Count = Field(description="Number of rows.")
    mean_score: Share | None = Field(description="Mean score: the predicted base rate.")
    rate: Estimate = Field(description="Base rate: the share of favorable labels.")


class Calibration(StrictModel):
    """Whether scores agree with the share of favorable labels."""

    name: str = Field(description="The group, or all rows.")
    rows: Count = Field(description="Number of rows.")
    base_rate: Estimate = Field(description="Share of favorable labels.")
    mean_score: Share | None = Field(description="Mean score: the predicted base rate.")
    bias: Estimate = Field(description="Mean score minus base rate.")
    error: Share | None = Field(description="Expected calibration error.")
    error_by_chance: Share | None = Field(
        description="Approximate error of perfectly calibrated scores on as many rows."
    )
    bins: tuple[CalibrationBin, ...] = Field(
        description="Bins of about equally many rows, by ascending score."
    )
