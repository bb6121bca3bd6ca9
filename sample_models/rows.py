"""The rows of the samples with numbers: what their tables say and what the networks read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairfix.bench.synthetic import loh, zafar

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PARTS = {
    "fit": slice(0, 8_000),
    "stop": slice(8_000, 10_000),
    "val": slice(10_000, 14_000),
    "test": slice(14_000, 18_000),
}
N = PARTS["test"].stop


@dataclass(frozen=True)
class Rows:
    """All N rows of a sample.

    Attributes:
        table: what is written.
        inputs: what the network reads: (N, ...) for each argument.
        label: (N,) in {0, 1}, 1 = favorable.
        group: (N,) in {0, 1}, 1 = privileged.
        spec: the data spec that leads from the table to the inputs; None where the table holds
            the inputs themselves.
        arrays: (N, ...) by name, written beside the table with the ids of its rows.
    """

    table: pd.DataFrame
    inputs: tuple[NDArray[Any], ...]
    label: Ints
    group: Ints
    spec: Mapping[str, Any] | None = None
    arrays: Mapping[str, NDArray[Any]] | None = None


@dataclass(frozen=True)
class RawColumn:
    """A column as a person would keep it: ``written`` (N,) in the table, (N, K) for the network.

    ``coding`` is how a data spec says that ``written`` becomes ``encoded``.
    """

    name: str
    written: Floats | NDArray[np.str_]
    encoded: Floats
    coding: Mapping[str, Any]

    @property
    def inputs(self) -> Floats:
        mean, scale = moments(self.encoded)
        standardized: Floats = (self.encoded - mean) / scale
        return standardized

    @property
    def spec(self) -> dict[str, Any]:
        mean, scale = moments(self.encoded)
        return {"column": self.name, **self.coding, "mean": mean.tolist(), "scale": scale.tolist()}


def loh_rows() -> Rows:
    """The inputs as they are, labels and groups as 0 and 1."""
    drawn = loh(N, alpha=1.0, seed=1)
    inputs = significant(drawn.features)
    table = pd.DataFrame(inputs, columns=list(drawn.feature_names))
    table.insert(0, "label", drawn.label)
    table.insert(1, "group", drawn.group)
    return Rows(table, (inputs,), drawn.label, drawn.group)


def zafar_rows() -> Rows:
    """The inputs standardized, labels and groups in words."""
    drawn = zafar(N, theta=0.8, features=20, seed=2)
    mean, scale = moments(drawn.features)
    inputs = significant((drawn.features - mean) / scale)
    table = pd.DataFrame(inputs, columns=list(drawn.feature_names))
    table.insert(0, "outcome", _words(drawn.label, ("refused", "granted")))
    table.insert(1, "sex", _words(drawn.group, ("female", "male")))
    return Rows(table, (inputs,), drawn.label, drawn.group)


def loh_raw_rows() -> Rows:
    """Numbers in units of their own, and words; a data spec encodes and standardizes them."""
    drawn = loh(N, alpha=1.0, seed=3)
    column = dict(zip(drawn.feature_names, drawn.features.T, strict=True))
    x6 = np.column_stack([column[f"X6_{category}"] for category in range(10)])
    columns = (
        *(_number(f"X{i}", 25 * i + 3 * i * column[f"X{i}"]) for i in (1, 2, 3, 4)),
        _two_words("X5", column["X5"], ("no", "yes")),
        _category("X6", x6, [f"c{category}" for category in range(10)]),
        *(_number(f"X{i}", i * column[f"X{i}"] / 100) for i in (7, 8, 9, 10)),
        _two_words("group", column["A"], ("a", "b")),
    )
    return Rows(
        pd.DataFrame({"label": drawn.label} | {c.name: c.written for c in columns}),
        (np.column_stack([c.inputs for c in columns]),),
        drawn.label,
        drawn.group,
        {"version": 1, "features": [c.spec for c in columns]},
    )


def significant(values: Floats) -> Floats:
    """The values as a table keeps them: to six significant digits."""
    rounded: Floats = np.vectorize(lambda value: float(f"{value:.6g}"))(values)
    return rounded


def moments(columns: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the rows that the network is fitted to."""
    fitted = columns[PARTS["fit"]]
    return significant(fitted.mean(0)), significant(fitted.std(0))


def _number(name: str, values: Floats) -> RawColumn:
    written = significant(values)
    return RawColumn(name, written, written, {})


def _two_words(name: str, values: Floats, words: Sequence[str]) -> RawColumn:
    mapping = {word: value for value, word in enumerate(words)}
    return RawColumn(name, _words(values, words), values, {"map": mapping})


def _category(name: str, one_hot: Floats, words: Sequence[str]) -> RawColumn:
    return RawColumn(name, _words(one_hot.argmax(1), words), one_hot, {"categories": list(words)})


def _words(values: Floats | Ints, words: Sequence[str]) -> NDArray[np.str_]:
    return np.array(words)[values.astype(np.int64)]
