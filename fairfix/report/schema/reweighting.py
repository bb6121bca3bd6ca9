"""The part of a report on the weights of training rows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fairfix._utils.strict_json import StrictModel
from fairfix.report.schema.shared import Count, Key, PositiveCount, Share

NotNegative = Annotated[float, Field(ge=0)]


class ReweightedGap(StrictModel):
    """A soft gap on the validation rows, with scores in place of decisions."""

    metric: Key = Field(description="Key of the metric.")
    before: float = Field(description="Of the unmodified network.")
    predicted: float = Field(description="With the new weights, to first order.")
    realized: float = Field(description="Of the debiased network.")
    residual: NotNegative = Field(
        description="Relative residual of the equations behind the prediction."
    )
    iterations: Count = Field(description="Conjugate gradient steps that they took.")


class WeightCell(StrictModel):
    """Training rows of a group and a label; figures are null below 10 rows."""

    group: str | None = Field(description="The group; null if training rows have no groups.")
    favorable: bool = Field(description="Whether the label is favorable.")
    rows: PositiveCount | None = Field(description="Number of rows.")
    share_before: Share | None = Field(description="Share of the total weight before.")
    share_after: Share | None = Field(description="Share of the total weight after.")


class ListedRow(StrictModel):
    """A training row that is weighted up or down most."""

    row: Count = Field(description="Number of the data row in the file, from 0.")
    factor: NotNegative = Field(description="What its weight was multiplied by.")
    values: dict[str, str] = Field(description="Its first columns, as the file has them.")
    picture: str | None = Field(
        pattern="^data:image/png;base64,",
        description="Its image, at most 96 pixels high and wide; null if the network takes none.",
    )


class Reweighting(StrictModel):
    """New weights of the training rows."""

    gaps: tuple[ReweightedGap, ...] = Field(description="The gaps that the weights are to close.")
    curvature: Literal["hessian", "gauss-newton"] = Field(description="Matrix of the equations.")
    damping: NotNegative = Field(description="Added to its diagonal.")
    parameters: PositiveCount = Field(description="Parameters that were considered.")
    clipped: Share = Field(description="Share of the rows whose weight would be negative; it is 0.")
    largest_factor: NotNegative = Field(description="Largest factor on a row's weight.")
    cells: tuple[WeightCell, ...] = Field(description="Shares of the weight by group and label.")
    listed_rows: tuple[ListedRow, ...] | None = Field(
        description="Rows weighted up most, then those weighted down most; null unless asked for."
    )
