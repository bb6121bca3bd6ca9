"""Propose the roles of a table's columns and the architecture of bare weights, with evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from fairfix.data.table.cell_values import comparison_key, normalized_text
from fairfix.data.table.columns import is_saved_index
from fairfix.data.table.open_table import open_table
from fairfix.models.checkpoint import Checkpoint
from fairfix.models.checkpoint.mlp import ACTIVATIONS, is_mlp

LABEL_NAMES = {"label", "labels", "target", "y", "outcome", "class"}
GROUP_NAMES = {
    *("group", "sex", "gender", "race", "ethnicity", "religion", "nationality", "disability"),
    *("marital", "marital_status", "age_group", "age_band", "national_origin"),
}
FAVORABLE_VALUES = {"1", "true", "yes", "y"}
_MOST_GROUPS = 12


@dataclass(frozen=True)
class Proposal:
    """What fits a setting, and the evidence.

    Attributes:
        option: the option of the command line, such as ``--label``.
        choices: the values that fit; a single one is decided.
        why: the evidence, as a phrase.
    """

    option: str
    choices: tuple[str, ...]
    why: str


def read_frame(table: Path) -> pd.DataFrame:
    """Return all rows of a table without saved row indices; numbers as such, the rest as text.

    Raises:
        TableError: the table cannot be read.
    """
    reader = open_table(table)
    names = [name for name in reader.header.names if not is_saved_index(name)]
    return pd.concat(list(reader.chunks(names, ())))


def values_of(column: pd.Series) -> tuple[str, ...]:
    """Return the distinct values of a column as fairfix writes them, sorted as numbers or text."""
    found = column.dropna().unique().tolist()
    return tuple(dict.fromkeys(map(normalized_text, sorted(found))))


def propose_label(frame: pd.DataFrame) -> Proposal:
    """Return the columns that may hold the label: by name, else those with two values."""
    binary = [str(name) for name in frame if frame[name].nunique() == 2]
    named = [name for name in binary if name.casefold() in LABEL_NAMES]
    if named:
        return Proposal("--label", tuple(named), "a usual name, and two values")
    others = [name for name in binary if name.casefold() not in GROUP_NAMES]
    return Proposal("--label", tuple(others), "two values")


def propose_groups(frame: pd.DataFrame, taken: Sequence[str]) -> Proposal:
    """Return the columns that may hold a protected attribute, by their names."""
    found = [
        str(name)
        for name in frame
        if name not in taken
        and str(name).casefold().replace("-", "_").replace(" ", "_") in GROUP_NAMES
        and 2 <= frame[name].nunique() <= _MOST_GROUPS
    ]
    return Proposal("--group", tuple(found), "the name of a protected attribute")


def propose_favorable(label: pd.Series) -> Proposal:
    """Return the label values that may be the favorable one."""
    values = values_of(label)
    found = tuple(each for each in values if comparison_key(each).casefold() in FAVORABLE_VALUES)
    if len(found) == 1:
        return Proposal("--favorable", found, "the value that stands for yes")
    return Proposal("--favorable", values, "values of the label")


def propose_privileged(frame: pd.DataFrame, label: str, favorable: str, group: str) -> Proposal:
    """Return the group with the higher share of favorable labels; none unless there are two."""
    names = values_of(frame[group])
    positive = frame[label].map(normalized_text) == favorable
    shares = {name: positive[frame[group].map(normalized_text) == name].mean() for name in names}
    if len(names) != 2 or len(set(shares.values())) == 1:
        return Proposal("--privileged", (), "")
    other, best = sorted(names, key=lambda name: float(shares[name]))
    why = f"favorable labels in {shares[best]:.1%} of its rows, against {shares[other]:.1%}"
    return Proposal("--privileged", (best,), why)


def propose_architecture(checkpoint: Checkpoint) -> Proposal:
    """Return what may name the architecture of bare weights: plain networks, or their class."""
    if not is_mlp(checkpoint.tensors):
        return Proposal("--arch", ("file.py:Class", "package.module:callable"), "no plain network")
    stored = {text.casefold() for text in _texts(checkpoint.metadata)}
    found = tuple(f"mlp:{name}" for name in ACTIVATIONS if name in stored)
    if len(found) == 1:
        return Proposal("--arch", found, "the activation stored in the file")
    return Proposal("--arch", tuple(f"mlp:{name}" for name in ACTIVATIONS), "plain networks")


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in plain JSON."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value.removeprefix("nn.")


def is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers alone."""
    return bool(is_numeric_dtype(column)) and column.dtype != bool
