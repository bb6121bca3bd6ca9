"""Definition of a public data set: its files, columns, label and protected attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairfix.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases"


@dataclass(frozen=True)
class RawFile:
    """A file as its publisher distributes it.

    Attributes:
        relative_path: path below a data folder and below the cache.
        url: download address.
        sha256: hashes of every edition known to hold the same data; empty if the publisher
            generates a new file for each request.
        member: path inside the downloaded zip archive; "" if the download is not an archive.
    """

    relative_path: str
    url: str
    sha256: tuple[str, ...] = ()
    member: str = ""


@dataclass(frozen=True)
class ProtectedAttribute:
    """A protected attribute with two groups.

    Attributes:
        column: the raw column it is derived from.
        privileged, unprivileged: names of the two groups.
        is_privileged: maps the raw column to one bool per row.
    """

    column: str
    privileged: str
    unprivileged: str
    is_privileged: Callable[[pd.Series[Any]], pd.Series[bool]]

    def groups(self, rows: pd.DataFrame) -> pd.Series[str]:
        """Return the group name of each row."""
        privileged = self.is_privileged(rows[self.column])
        return privileged.map({True: self.privileged, False: self.unprivileged})


@dataclass(frozen=True)
class Dataset:
    """A public data set.

    Attributes:
        terms: origin and license.
        read: reads the paths of ``files`` into raw rows with the columns below.
        favorable: the label value whose probability a network learns.
        features: raw columns a network may use, in file order; includes the protected ones.
        categorical: the features that are categories.
        protected: protected attributes by name, the default first.
    """

    name: str
    title: str
    terms: str
    files: tuple[RawFile, ...]
    read: Callable[[Sequence[Path]], pd.DataFrame]
    label: str
    favorable: str
    features: tuple[str, ...]
    categorical: tuple[str, ...]
    protected: Mapping[str, ProtectedAttribute]

    def rows(self, paths: Sequence[Path]) -> pd.DataFrame:
        """Return the raw rows without missing values, indexed from 0."""
        return self.read(paths)[[*self.features, self.label]].dropna().reset_index(drop=True)

    def attribute(self, name: str | None) -> str:
        """Return the name of a protected attribute, the default one for None.

        Raises:
            UsageError: if the data set has no such attribute.
        """
        if name is None:
            return next(iter(self.protected))
        if name not in self.protected:
            raise UsageError(
                f"{self.name} has the protected attributes {', '.join(self.protected)}, not "
                f"{name!r}."
            )
        return name


def one_of(*values: str) -> Callable[[pd.Series[Any]], pd.Series[bool]]:
    """Return a test for each row of a column: is it one of the values?"""
    return lambda column: column.isin(values)
