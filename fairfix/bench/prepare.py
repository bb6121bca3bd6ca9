"""A data set split for training, validation and test, and the encoding that the papers use.

The split is a seeded permutation cut at 60 and 80 %, not stratified, and every input is
standardized by the training rows (Marcinkevics, Ozkan, Vogt 2022; AIF360's encodings: numbers in
file order with protected attributes as 0/1 in their place, then one-hot categories).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fairfix._utils.atomic_write import check_place, write_text
from fairfix.bench.datasets import Dataset
from fairfix.bench.download import fetch
from fairfix.data.spec import DataSpec
from fairfix.data.spec.encodings import (
    Encoding,
    MappedEncoding,
    NumericEncoding,
    OneHotEncoding,
)
from fairfix.data.splitting import random_parts

if TYPE_CHECKING:
    import pandas as pd

PARTS = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}


@dataclass(frozen=True)
class Prepared:
    """One split of a data set.

    Attributes:
        parts: the raw tables "train", "val" and "test": features, label, and for each protected
            attribute a column of its two groups (``group_column``).
        spec: from raw rows to a network's inputs, fitted to the training rows.
        attribute: the protected attribute that is debiased.
    """

    dataset: Dataset
    attribute: str
    parts: dict[str, pd.DataFrame]
    spec: DataSpec

    @property
    def group(self) -> str:
        """The column of the groups that are debiased."""
        return group_column(self.attribute)

    @property
    def privileged(self) -> str:
        return self.dataset.protected[self.attribute].privileged

    def inputs(self, part: str) -> np.ndarray:
        """The network's inputs for one part, (N, D) float32."""
        return self.spec.encode(self.parts[part])

    def labels(self, part: str) -> np.ndarray:
        """(N,) int64, 1 = the favorable label value."""
        column = self.parts[part][self.dataset.label].astype(str)
        return (column == self.dataset.favorable).to_numpy().astype(np.int64)


def group_column(attribute: str) -> str:
    """The column that holds the two groups of a protected attribute."""
    return f"{attribute}_group"


def prepare(
    dataset: Dataset, attribute: str | None = None, *, seed: int = 0, download: bool = True
) -> Prepared:
    """Read a data set, split it and fit the encoding.

    Raises:
        UsageError: for an unknown attribute.
        DownloadError: when its files cannot be had.
    """
    attribute = dataset.attribute(attribute)
    rows = dataset.rows([found.path for found in fetch(dataset, download=download)])
    for name, protected in dataset.protected.items():
        rows[group_column(name)] = protected.groups(rows)
    parts = {
        part: rows.iloc[drawn].reset_index(drop=True)
        for part, drawn in random_parts(len(rows), PARTS, seed).items()
    }
    return Prepared(dataset, attribute, parts, _spec(dataset, attribute, rows, parts["train"]))


def _spec(dataset: Dataset, attribute: str, rows: pd.DataFrame, train: pd.DataFrame) -> DataSpec:
    """The encoding; categories are those of all rows, mean and scale those of the training rows."""
    standing_in = {p.column: name for name, p in reversed([*dataset.protected.items()])}
    standing_in[dataset.protected[attribute].column] = attribute
    entries: list[Encoding] = []
    for column in dataset.features:
        if column in standing_in:
            protected = dataset.protected[standing_in[column]]
            values = {protected.unprivileged: 0.0, protected.privileged: 1.0}
            name = group_column(standing_in[column])
            mean, scale = _standard(train[name].map(values).to_numpy())
            entries.append(
                MappedEncoding(column=name, map=values, mean=float(mean), scale=float(scale))
            )
        elif column not in dataset.categorical:
            mean, scale = _standard(train[column].to_numpy())
            entries.append(NumericEncoding(column=column, mean=float(mean), scale=float(scale)))
    for column in dataset.categorical:
        if column not in standing_in:
            entries.append(_one_hot(column, rows, train))
    return DataSpec(tuple(entries))


def _one_hot(column: str, rows: pd.DataFrame, train: pd.DataFrame) -> OneHotEncoding:
    categories = tuple(sorted(rows[column].unique()))
    inputs = np.stack([(train[column] == value).to_numpy() for value in categories], axis=1)
    mean, scale = _standard(inputs)
    return OneHotEncoding(
        column=column,
        categories=tuple(map(str, categories)),
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
    )


def _standard(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; a constant one is not scaled."""
    mean, scale = np.mean(values, axis=0, dtype=float), np.std(values, axis=0, dtype=float)
    return mean, np.where(scale == 0, 1.0, scale)


def write(prepared: Prepared, folder: Path, *, force: bool = False) -> list[Path]:
    """Write the three tables, the data spec and a ``fairfix.toml`` that names the columns.

    Raises:
        OutputError: when a file exists (without ``force``) or cannot be written.
    """
    dataset = prepared.dataset
    files = {
        f"{name}.csv": table.to_csv(index=False, lineterminator="\n")
        for name, table in prepared.parts.items()
    }
    files["model.data.json"] = json.dumps(prepared.spec.to_json(), indent=2) + "\n"
    files["fairfix.toml"] = "".join(
        f"{key} = {json.dumps(value)}\n"
        for key, value in {
            "label": dataset.label,
            "favorable": dataset.favorable,
            "group": prepared.group,
            "privileged": prepared.privileged,
            "test": "test.csv",
        }.items()
    )
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in files]
    for path in paths:
        check_place(path, (), force=force)
    for path, text in zip(paths, files.values(), strict=True):
        write_text(path, text)
    return paths
