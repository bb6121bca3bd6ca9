"""The format of a row of a study as pydantic models, one for each status."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Any, Literal, NoReturn

from pydantic import Field, JsonValue, ValidationError, field_validator

from fairfix._utils.strict_json import StrictModel
from fairfix._utils.validation_messages import describe, place_name

ROW_VERSION = 4
STATES = ("unmodified", "retuned", "debiased")
LARGEST = (10, 100, 1000)  # numbers of most influential weights whose share is reported

Count = Annotated[int, Field(ge=0)]
Figure = float | None  # None if undefined


class _Goal(StrictModel):
    metric: str
    budget: float
    margin: float | None
    performance: str
    kind: Literal["constrained", "tradeoff"]
    weight: float = Field(alias="lambda")
    k: float
    risk: float | None


class _Evaluation(StrictModel):
    rows: Count
    gap: Figure
    performance: Figure
    objective: Figure
    met: bool
    trivial: bool
    gaps: dict[str, Figure]
    performances: dict[str, Figure]


class _Comparison(StrictModel):
    unmodified: _Evaluation
    retuned: _Evaluation
    debiased: _Evaluation


class _Cost(StrictModel):
    seconds: float
    cpu_seconds: float
    peak_memory_mib: float | None


class _Host(StrictModel):
    machine: str
    torch: str


class _Attribution(StrictModel):
    gap: Figure
    gap_of_decisions: Figure
    spread: Figure
    r2: Figure
    r2_of_decisions: Figure
    r2_of_fit: Figure
    draws: Count
    sd: float
    shares: dict[str, float]
    share_of_largest: dict[str, float]
    coefficients: str

    @field_validator("share_of_largest")
    @classmethod
    def _for_each_count(cls, value: dict[str, float]) -> dict[str, float]:
        if set(value) != {str(n) for n in LARGEST}:
            raise ValueError(f"must have the keys {', '.join(map(str, LARGEST))}")
        return value

    @field_validator("coefficients")
    @classmethod
    def _is_base64(cls, value: str) -> str:
        try:
            size = len(base64.b64decode(value, validate=True))
        except binascii.Error:
            size = -1
        if size % 4:
            raise ValueError("must be the base64 text of 32-bit floats")
        return value


class _Row(StrictModel):
    """What every row has: the definition of its cell and where it comes from."""

    version: int
    key: str
    fairfix: str
    task: str
    split: Count
    task_sha256: str
    method: str
    seed: Count
    goal: _Goal
    options: dict[str, JsonValue]
    source: str


class DoneRow(_Row):
    """A method with a result."""

    status: Literal["done"]
    overlap: float
    needs_group: bool
    changes_weights: bool
    test: _Comparison
    validation: _Comparison
    ceiling: Figure
    trajectory: list[Annotated[list[Figure], Field(min_length=2, max_length=2)]]
    chosen: Count
    warnings: list[str]
    cost: _Cost
    host: _Host


class MeasuredRow(_Row):
    """A weight attribution."""

    status: Literal["measured"]
    overlap: float
    attribution: _Attribution
    cost: _Cost
    host: _Host


class UnfinishedRow(_Row):
    """A cell that was refused, or that failed with an error."""

    status: Literal["refused", "failed"]
    overlap: float | None = None
    reason: str


_MODELS: dict[str, type[_Row]] = {
    "done": DoneRow,
    "measured": MeasuredRow,
    "refused": UnfinishedRow,
    "failed": UnfinishedRow,
}


def parse_row(line: bytes) -> dict[str, Any]:
    """Parse one line of a journal.

    The row is returned as plain JSON, since a study may have 100,000 rows.

    Raises:
        ValueError: if the line is not a row; says what is wrong with it.
    """
    try:
        row = json.loads(line, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError:
        raise ValueError("it is not valid JSON") from None
    except RecursionError:
        raise ValueError("its lists and objects are nested too deep") from None
    if not isinstance(row, dict):
        raise ValueError("it is not a JSON object")
    if row.get("version", ROW_VERSION) != ROW_VERSION:
        raise ValueError(f"version must be {ROW_VERSION}, not {row['version']!r}")
    model = _MODELS.get(status) if isinstance(status := row.get("status"), str) else None
    if model is None:
        raise ValueError(f"status must be one of {', '.join(_MODELS)}, not {status!r}")
    try:
        model.model_validate(row)
    except ValidationError as error:
        location, clause = describe(error, model, row)
        raise ValueError(f"{place_name(location) or 'the row'} {clause}") from None
    return row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of the pairs; refuse duplicate keys."""
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"it has the key {repeated!r} twice")
    return values


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"its numbers must be finite, not {text}")
