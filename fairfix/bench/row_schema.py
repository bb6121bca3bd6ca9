"""Rows of a study as pydantic models: what the summary and the page read from a journal.

Keys that they do not read are allowed, so that rows of other versions can be summarized.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

Figures = dict[str, float | None]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, frozen=True)


class Goal(_Part):
    """The objective of a cell; see ``fairfix.bench.goal``."""

    metric: str
    budget: float
    margin: float | None
    performance: str
    kind: str
    lambda_: float = Field(alias="lambda")
    k: float
    risk: float | str | None
    limits: tuple[dict[str, Any], ...] | list[dict[str, Any]] = ()


class Evaluated(_Part):
    """Figures of decisions on some rows; None is undefined."""

    rows: float
    gap: float | None
    performance: float | None
    met: bool
    limits_held: bool = True
    trivial: bool
    gaps: Figures
    performances: Figures


class Compared(_Part):
    """The same rows decided by the unmodified, the retuned and the debiased model."""

    unmodified: Evaluated
    retuned: Evaluated
    debiased: Evaluated


class Attribution(_Part):
    """Shares of the gap by parameter; see ``fairfix.bench.weight_attribution``."""

    draws: float
    sd: float
    spread: float | None
    r2: float | None
    r2_of_decisions: float | None
    r2_of_fit: float | None
    shares: Figures
    share_of_largest: Figures
    coefficients: str


class Cost(_Part):
    """What a cell took."""

    seconds: float
    peak_memory_mib: float | None


class _Row(_Part):
    key: str
    fairfix: str
    task: str
    split: float
    task_sha256: str
    method: str
    seed: float
    goal: Goal
    options: dict[str, Any]


class DoneRow(_Row):
    """A cell whose method ran."""

    status: Literal["done"]
    needs_group: bool
    test: Compared
    validation: Compared
    ceiling: float | None
    overlap: float
    trajectory: list[Annotated[list[float | None], Field(min_length=2, max_length=2)]]
    chosen: float
    cost: Cost
    training_gap: float | None = None
    other_gap: float | None = None
    other_gap_retuned: float | None = None


class MeasuredRow(_Row):
    """A cell that attributed the gap to weights."""

    status: Literal["measured"]
    attribution: Attribution


class StoppedRow(_Row):
    """A cell that was refused or failed."""

    status: Literal["refused", "failed"]
    reason: str


_ROW: TypeAdapter[DoneRow | MeasuredRow | StoppedRow] = TypeAdapter(
    Annotated[DoneRow | MeasuredRow | StoppedRow, Field(discriminator="status")]
)


def is_row(row: object) -> bool:
    """Whether a value is a row of a study."""
    try:
        _ROW.validate_python(row)
    except ValidationError:
        return False
    return True
