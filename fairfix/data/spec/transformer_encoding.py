"""The encoding by a scikit-learn transformer, saved by skops so that no foreign code is run."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from fairfix._utils.optional_packages import needed_for
from fairfix._utils.strict_json import StrictModel
from fairfix._utils.text import quoted_list
from fairfix.data.table.cell_values import MISSING, parse_numbers
from fairfix.errors import TableError, TrustError, UsageError

if TYPE_CHECKING:
    import pandas as pd

_OLDEST_SKOPS = (0, 13)
_MIN_UNPACKED = 256 << 20
_MAX_RATIO = 50


class TransformerEntry(StrictModel):
    """The entry of the file: a transformer and the columns that it was fitted with, in order.

    Attributes:
        transformer: the skops file, relative to the folder of the data spec.
        text: those of the ``columns`` that the transformer takes as text; the others are numbers.
        sha256: SHA-256 of the skops file; None before it was read.
    """

    transformer: str
    columns: tuple[str, ...] = Field(min_length=1)
    text: tuple[str, ...] = ()
    sha256: str | None = None

    @field_validator("text")
    @classmethod
    def _check_text(cls, text: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        columns = info.data.get("columns", text)
        for name in text:
            if name not in columns:
                raise ValueError(
                    f"must name some of the columns {quoted_list(columns)}, not {name!r}"
                )
        return text


@dataclass(frozen=True)
class TransformerEncoding:
    """The outputs of a fitted transformer. Missing cells reach it as NaN."""

    entry: TransformerEntry
    transformer: Any
    names: tuple[str, ...]
    path: Path = field(compare=False)

    @classmethod
    def load(cls, entry: TransformerEntry, folder: Path, *, trust: bool) -> TransformerEncoding:
        """Load the transformer of an entry from its file in the folder.

        Args:
            trust: whether it may hold types that could run code.

        Raises:
            TrustError: it needs types that skops does not know as harmless, without ``trust``.
            UsageError: the file is missing, damaged, not a transformer, or not the one that the
                entry was written for.
        """
        path = folder / entry.transformer
        transformer = _load(path, trust=trust)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        if entry.sha256 not in (None, sha256):
            raise UsageError(
                f"{path.name} is not the transformer that the rule or data spec was made with; "
                "restore that file, or debias again."
            )
        known = entry.model_copy(update={"sha256": sha256})
        return cls(known, transformer, _output_names(transformer, entry.transformer), path)

    def to_json(self) -> dict[str, Any]:
        """See ``Encoding``."""
        return self.entry.model_dump(mode="json")

    @property
    def columns(self) -> tuple[str, ...]:
        """See ``Encoding``."""
        return self.entry.columns

    @property
    def text_columns(self) -> tuple[str, ...]:
        """See ``Encoding``."""
        return self.entry.text

    def in_table_units(self, inputs: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """See ``Encoding``. A transformer cannot be inverted in general."""
        return inputs, self.names

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """See ``Encoding``.

        Raises:
            TableError: the transformer refuses the rows; its own message is quoted.
        """
        file = self.entry.transformer
        cells = frame[list(self.columns)].copy()
        for name in self.columns:
            if name in self.text_columns:
                column = cells[name].astype(object)
                cells[name] = column.mask(column.isna() | column.isin(MISSING), np.nan)
            else:
                cells[name] = parse_numbers(
                    cells[name], f'if it is text, list it under "text" for {file} in the data spec'
                )
        named = hasattr(self.transformer, "feature_names_in_")
        try:
            outputs = self.transformer.transform(cells if named else cells.to_numpy())
        except (ValueError, TypeError) as error:
            raise TableError(f"{file} cannot transform the table: {error}") from None
        dense = outputs.toarray() if hasattr(outputs, "toarray") else outputs
        return np.asarray(dense, dtype=np.float64)


def fitted_columns(path: Path, *, trust: bool = False) -> tuple[str, ...]:
    """Return the columns that a transformer in a skops file was fitted to; () without names.

    Raises:
        TrustError, UsageError: as ``TransformerEncoding.load``.
    """
    names = getattr(_load(path, trust=trust), "feature_names_in_", ())
    return tuple(map(str, names))


def _load(path: Path, *, trust: bool) -> Any:
    with needed_for(f"Reading {path.name}", "skops", "sklearn"):
        import skops.io as skops

    if _skops_version() < _OLDEST_SKOPS:
        raise UsageError(
            f"Reading {path.name} needs a newer skops, since older ones can be made to run code; "
            "install it with pip install -U skops."
        )
    if not path.is_file():
        raise UsageError(f"{path}, which the data spec names, does not exist.")
    _check_unpacked_size(path)
    try:
        untrusted = skops.get_untrusted_types(file=path)
        if not untrusted or trust:
            transformer = skops.load(path, trusted=untrusted)
    except Exception as error:  # a damaged file can raise anything
        raise UsageError(
            f"{path.name} cannot be read as an object saved by skops ({error}); save it again."
        ) from None
    if untrusted and not trust:
        raise TrustError(
            f"{path.name} holds types that may run code: {quoted_list(untrusted)}. If the file is "
            "yours, pass trust=True (--trust-checkpoint)."
        )
    return transformer


def _skops_version() -> tuple[int, ...]:
    """Return the major and minor version of skops."""
    return tuple(int(part) for part in version("skops").split(".")[:2])


def _check_unpacked_size(path: Path) -> None:
    """Raise ``UsageError`` if an archive would unpack to far more than its size."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # skops describes the fault
    if unpacked > max(_MIN_UNPACKED, _MAX_RATIO * path.stat().st_size):
        raise UsageError(
            f"{path.name} unpacks to more than {_MAX_RATIO} times its size; save it again."
        )


def _output_names(transformer: Any, file: str) -> tuple[str, ...]:
    try:
        return tuple(map(str, transformer.get_feature_names_out()))
    except (AttributeError, ValueError):
        raise UsageError(
            f"{file} holds an object of type {type(transformer).__name__}, not a fitted "
            "transformer with get_feature_names_out; save the fitted transformer."
        ) from None
