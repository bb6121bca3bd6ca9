"""The data spec of a network with several inputs, or with inputs other than columns of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import numpy as np
import torch
from pydantic import Discriminator, Field, Tag, field_validator

from fairfix._utils.strict_json import StrictModel, validate
from fairfix._utils.text import plural
from fairfix.data.inputs.array_part import ArrayEntry
from fairfix.data.inputs.image_part import ImageEntry
from fairfix.data.inputs.part_builder import (
    BuiltInputs,
    BuiltPart,
    InputOptions,
    PartBuilder,
    Source,
    TableRows,
)
from fairfix.data.inputs.text_part import TextEntry
from fairfix.data.memory_table import TableSource
from fairfix.data.spec.data_spec import DataSpec
from fairfix.data.spec.table_inputs import CodesEntry, NumbersEntry, NumbersInput
from fairfix.errors import TableError
from fairfix.models.inputs import Inputs

if TYPE_CHECKING:
    import pandas as pd

VERSION = 2


class InputEntry(Protocol):
    """One input: how it is made from columns or files."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        ...

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Names of those columns that it reads as text."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the file."""
        ...

    def builder(self, name: str, source: Source) -> PartBuilder:
        """Return the builder of the input of this name."""
        ...


Call = Literal["name", "position", "mapping"]
"""How ``forward`` gets the inputs."""


def _kind_of_entry(entry: Any) -> Any:
    return entry.get("kind") if isinstance(entry, dict) else None


class InputsSpecFile(StrictModel):
    """The file ``<model>.data.json`` of version 2.

    Attributes:
        version: 2.
        call: whether ``forward`` gets the inputs by name, by position, or as one mapping.
        inputs: by the name of the argument, in order; see the entry of each kind.
    """

    version: int
    call: Call = "name"
    inputs: dict[
        str,
        Annotated[
            Annotated[NumbersEntry, Tag("numbers")]
            | Annotated[CodesEntry, Tag("codes")]
            | Annotated[ArrayEntry, Tag("array")]
            | Annotated[ImageEntry, Tag("image")]
            | Annotated[TextEntry, Tag("text")],
            Discriminator(_kind_of_entry),
        ],
    ] = Field(min_length=1)

    @field_validator("inputs")
    @classmethod
    def _check_names(cls, inputs: dict[str, Any]) -> dict[str, Any]:
        for name in inputs:
            if not name.isidentifier():
                raise ValueError(f"has the name {name!r}, which no argument of forward can have")
        return inputs


@dataclass(frozen=True)
class InputsSpec:
    """The inputs of a network by name, each made from columns or files.

    Attributes:
        inputs: by name, in order.
        call: how ``forward`` gets them.
        folder: to which files are relative.
        confined: whether files must lie in the folder.
    """

    inputs: Mapping[str, InputEntry]
    call: Call
    folder: Path = field(default=Path(), compare=False)
    confined: bool = field(default=True, compare=False)

    @classmethod
    def from_json(
        cls,
        value: Any,
        *,
        file: str = "data spec",
        folder: Path = Path(),
        confined: bool = True,
        trust: bool = False,
    ) -> InputsSpec:
        """Check a parsed spec.

        Args:
            file: its name, for messages.
            folder: to which files are relative.
            confined: whether files must lie in the folder.
            trust: whether a transformer may hold types that could run code.

        Raises:
            TrustError, UsageError: see ``load_spec``.
        """
        read = validate(InputsSpecFile, value, file)
        inputs: dict[str, InputEntry] = {}
        for name, entry in read.inputs.items():
            if isinstance(entry, NumbersEntry):
                spec = DataSpec.of(entry.entries, folder, trust=trust)
                inputs[name] = NumbersInput(spec, entry.shape)
            elif isinstance(entry, TextEntry):
                inputs[name] = entry.bound(folder, confined=confined)
            else:
                inputs[name] = entry
        return cls(inputs, read.call, folder, confined)

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON values, from which ``from_json`` makes the same spec."""
        return {
            "version": VERSION,
            "call": self.call,
            "inputs": {name: entry.to_json() for name, entry in self.inputs.items()},
        }

    @property
    def numbers_alone(self) -> DataSpec | None:
        """The same as a spec of version 1, if the network takes one matrix of numbers."""
        entries = tuple(self.inputs.values())
        if self.call != "position" or len(entries) > 1 or not isinstance(entries[0], NumbersInput):
            return None
        return entries[0].spec if entries[0].shape is None else None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads, without repetition."""
        return _distinct(name for entry in self.inputs.values() for name in entry.columns)

    @property
    def text_columns(self) -> frozenset[str]:
        """Names of those columns that it reads as text."""
        return frozenset(name for entry in self.inputs.values() for name in entry.text_columns)

    @property
    def names(self) -> tuple[str, ...]:
        """Return no names: the inputs do not form a matrix with named columns."""
        return ()

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """Return no blocks; see ``names``."""
        return ()

    def in_table_units(self, inputs: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return the inputs unchanged, without names; see ``DataSpec.in_table_units``."""
        return inputs, ()

    def start(self, table: TableSource, options: InputOptions) -> SpecInputsBuilder:
        """Return the builder of the inputs of a table.

        Raises:
            FairfixError: a file is missing, or a shape does not fit.
        """
        source = Source(table, self.folder, self.confined, options)
        builders = [entry.builder(name, source) for name, entry in self.inputs.items()]
        return SpecInputsBuilder(builders, self.call, options)


class SpecInputsBuilder:
    """Builds the inputs of a table from those of each part."""

    def __init__(self, builders: Iterable[PartBuilder], call: Call, options: InputOptions) -> None:
        self._builders = tuple(builders)
        self._call, self._options = call, options
        self.columns = _distinct(name for each in self._builders for name in each.columns)
        self.text_columns = frozenset(n for each in self._builders for n in each.text_columns)

    def add(self, chunk: pd.DataFrame) -> None:
        """See ``InputsBuilder``."""
        for builder in self._builders:
            builder.add(chunk)

    def build(self, rows: TableRows) -> BuiltInputs:
        """See ``InputsBuilder``."""
        built = [builder.build(rows) for builder in self._builders]
        inputs = Inputs(
            [each.part for each in built],
            by_name=self._call == "name",
            as_mapping=self._call == "mapping",
        )
        notes = tuple(note for each in built for note in each.notes)
        sha256 = {each.part.keys[0]: each.sha256 for each in built if each.sha256 is not None}
        measured = any(each.measured for each in built)
        bad = _bad_rows(built)
        if not bad:
            return BuiltInputs(inputs, None, notes, sha256, measured)
        first = min(bad)
        where = f"{plural(len(bad), 'row', 'rows')} of {rows.file}"
        reason = f"first: {rows.locate(first)}: {bad[first]}"
        if self._options.on_bad_row == "fail":
            raise TableError(
                f"{where} cannot be used ({reason}). Correct them, or leave them out with "
                "--on-bad-row skip."
            )
        if len(bad) == rows.count:
            raise TableError(f"No row of {rows.file} can be used ({reason}); correct them.")
        kept = np.setdiff1d(np.arange(rows.count), np.array([*bad]))
        note = f"{where} cannot be used and {'is' if len(bad) == 1 else 'are'} left out ({reason})"
        usable = inputs.take(torch.from_numpy(kept))
        return BuiltInputs(usable, kept, (*notes, note), sha256, measured)


def _bad_rows(built: Iterable[BuiltPart]) -> dict[int, str]:
    """Return the first reason why a row cannot be used, by row number."""
    found: dict[int, str] = {}
    for each in built:
        found = {**each.bad, **found}
    return found


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
