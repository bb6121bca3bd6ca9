"""Split a data set into training, validation and test rows and fit the papers' encoding.

The split is a seeded permutation divided at 60 and 80 %, not stratified. Inputs are standardized
by the training rows (Marcinkevics, Ozkan, Vogt 2022). The encoding is that of AIF360: numbers in
file order with protected attributes as 0/1 in their place, then one-hot categories.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fairfix._utils.atomic_write import check_destination, write_text
from fairfix.bench.datasets import Dataset
from fairfix.bench.download import fetch
from fairfix.data.spec import DataSpec
from fairfix.data.spec.encodings import Encoding, MappedEncoding, NumericEncoding, OneHotEncoding
from fairfix.data.splitting import random_parts

if TYPE_CHECKING:
    import pandas as pd

PART_RANGES = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}


@dataclass(frozen=True)
class PreparedSplit:
    """One split of a data set.

    Attributes:
        attribute: the protected attribute to debias.
        parts: raw tables "train", "val" and "test": features, label, and for each protected
            attribute a column with its two groups (see ``group_column``).
        spec: maps raw rows to network inputs; fitted to the training rows.
    """

    dataset: Dataset
    attribute: str
    parts: dict[str, pd.DataFrame]
    spec: DataSpec

    @property
    def group(self) -> str:
        """Name of the group column to debias."""
        return group_column(self.attribute)

    @property
    def privileged(self) -> str:
        return self.dataset.protected[self.attribute].privileged

    def inputs(self, part: str) -> np.ndarray:
        """Return the network inputs of one part, (N, D) float32."""
        return self.spec.encode(self.parts[part])

    def labels(self, part: str) -> np.ndarray:
        """Return the labels of one part, (N,) int64, 1 = favorable."""
        column = self.parts[part][self.dataset.label].astype(str)
        return (column == self.dataset.favorable).to_numpy().astype(np.int64)


def group_column(attribute: str) -> str:
    """Return the name of the column with the two groups of a protected attribute."""
    return f"{attribute}_group"


def prepare_split(
    dataset: Dataset, attribute: str | None = None, *, seed: int = 0, download: bool = True
) -> PreparedSplit:
    """Read a data set, split it and fit the encoding.

    Raises:
        UsageError: if the attribute is unknown.
        DownloadError: if a raw file is missing and cannot be downloaded.
    """
    attribute = dataset.attribute(attribute)
    rows = dataset.rows([file.path for file in fetch(dataset, download=download)])
    for name, protected in dataset.protected.items():
        rows[group_column(name)] = protected.groups(rows)
    parts = {
        part: rows.iloc[numbers].reset_index(drop=True)
        for part, numbers in random_parts(len(rows), PART_RANGES, seed).items()
    }
    return PreparedSplit(dataset, attribute, parts, _spec(dataset, attribute, rows, parts["train"]))


def _spec(dataset: Dataset, attribute: str, rows: pd.DataFrame, train: pd.DataFrame) -> DataSpec:
    """Fit the encoding: categories of all rows, mean and scale of the training rows."""
    replaced_by = {p.column: name for name, p in reversed([*dataset.protected.items()])}
    replaced_by[dataset.protected[attribute].column] = attribute
    entries: list[Encoding] = []
    for column in dataset.features:
        if column in replaced_by:
            protected = dataset.protected[replaced_by[column]]
            values = {protected.unprivileged: 0.0, protected.privileged: 1.0}
            name = group_column(replaced_by[column])
            mean, scale = _mean_and_scale(train[name].map(values).to_numpy())
            entries.append(
                MappedEncoding(column=name, map=values, mean=float(mean), scale=float(scale))
            )
        elif column not in dataset.categorical:
            mean, scale = _mean_and_scale(train[column].to_numpy())
            entries.append(NumericEncoding(column=column, mean=float(mean), scale=float(scale)))
    for column in dataset.categorical:
        if column not in replaced_by:
            entries.append(_one_hot(column, rows, train))
    return DataSpec(tuple(entries))


def _one_hot(column: str, rows: pd.DataFrame, train: pd.DataFrame) -> OneHotEncoding:
    categories = tuple(sorted(rows[column].unique()))
    inputs = np.stack([(train[column] == value).to_numpy() for value in categories], axis=1)
    mean, scale = _mean_and_scale(inputs)
    return OneHotEncoding(
        column=column,
        categories=tuple(map(str, categories)),
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
    )


def _mean_and_scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each column, 1 for a constant column."""
    mean, scale = np.mean(values, axis=0, dtype=float), np.std(values, axis=0, dtype=float)
    return mean, np.where(scale == 0, 1.0, scale)


def write_split(split: PreparedSplit, folder: Path, *, force: bool = False) -> list[Path]:
    """Write the three tables, the data spec and a ``fairfix.toml`` that names the columns.

    Raises:
        OutputError: if a file exists (without ``force``) or cannot be written.
    """
    dataset = split.dataset
    files = {
        f"{name}.csv": table.to_csv(index=False, lineterminator="\n")
        for name, table in split.parts.items()
    }
    files["model.data.json"] = json.dumps(split.spec.to_json(), indent=2) + "\n"
    files["fairfix.toml"] = "".join(
        f"{key} = {json.dumps(value)}\n"
        for key, value in {
            "label": dataset.label,
            "favorable": dataset.favorable,
            "group": split.group,
            "privileged": split.privileged,
            "test": "test.csv",
        }.items()
    )
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in files]
    for path in paths:
        check_destination(path, (), force=force)
    for path, text in zip(paths, files.values(), strict=True):
        write_text(path, text)
    return paths
