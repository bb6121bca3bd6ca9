"""An input of texts: tokenized once, padded by the length of each row alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from fairfix._utils.progress import track
from fairfix._utils.strict_json import StrictModel
from fairfix._utils.text import plural
from fairfix.data.inputs.array_file import read_array
from fairfix.data.inputs.cache import Cache, content_key
from fairfix.data.inputs.cell_texts import CellTexts
from fairfix.data.inputs.mapped_array import MappedArray
from fairfix.data.inputs.part_builder import BuiltPart, Source, TableRows
from fairfix.data.inputs.spec_paths import find_file
from fairfix.data.inputs.tokenizer_folder import (
    FolderTokenizer,
    check_transformers,
    tokenizer_sha256,
)
from fairfix.errors import InputError, TableError, UsageError
from fairfix.models.inputs import Rows, digests_of

_FORMAT = 1  # of the cache
_SHORTEST = 16
_TOGETHER = 1000  # texts tokenized at a time
_ARRAYS = ("ids", "types", "lengths", "truncated")

Argument = Literal["input_ids", "attention_mask", "token_type_ids"]


class TextEntry(StrictModel):
    """A column of texts, which become tokens.

    Attributes:
        column: the texts.
        tokenizer: the folder of the tokenizer, relative to the data spec.
        max_length: most tokens of a row, special ones included; None takes what the tokenizer says.
        arguments: of ``forward``, in order; None takes those that the tokenizer gives.
        sha256: hash of the tokenizer's files; None before they were read.
    """

    kind: Literal["text"] = "text"
    column: str
    tokenizer: str
    max_length: int | None = Field(None, ge=1)
    arguments: tuple[Argument, ...] | None = Field(None, min_length=1)
    sha256: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return (self.column,)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Names of those columns that it reads as text: all."""
        return self.columns

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the file."""
        return self.model_dump(mode="json", exclude_none=True)

    def bound(self, folder: Path, *, confined: bool) -> TextEntry:
        """Return the entry with the hash of its tokenizer.

        Args:
            folder: that of the data spec.
            confined: whether the tokenizer must lie in it.

        Raises:
            InputError: the folder has no tokenizer.
            UsageError: it is not the one that the entry was made with.
        """
        place = find_file(self.tokenizer, folder, confined=confined)
        sha256 = tokenizer_sha256(place)
        if self.sha256 not in (None, sha256):
            raise UsageError(
                f"The tokenizer in {place.resolve().name} is not the one that the rule or data "
                "spec was made with; restore its files, or debias again."
            )
        return self.model_copy(update={"sha256": sha256})

    def builder(self, name: str, source: Source) -> TextBuilder:
        """Return the builder of the input; its arguments have names of their own.

        Raises:
            FairfixError: see ``FolderTokenizer``.
        """
        return TextBuilder(self, source)


class TextBuilder(CellTexts):
    """Collects the texts, then makes tokens of them or finds them in the cache."""

    def __init__(self, entry: TextEntry, source: Source) -> None:
        super().__init__(entry.column)
        self._entry = entry
        place = find_file(entry.tokenizer, source.folder, confined=source.confined)
        self._sha256 = tokenizer_sha256(place)
        self._tokenizer = FolderTokenizer(place, entry.max_length)
        self._cache = Cache(source.options.cache, "texts")

    def build(self, rows: TableRows) -> BuiltPart:
        """See ``PartBuilder``."""
        texts = self.texts
        distinct = list(dict.fromkeys(texts))
        max_length = self._tokenizer.max_length
        described = [_FORMAT, check_transformers(), self._sha256, max_length]
        key = content_key(described, (text.encode("utf-8", "surrogatepass") for text in distinct))
        entry = self._cache.entry(key, lambda folder: self._make(folder, distinct), _usable)
        stored = {name: _read(entry, name) for name in _ARRAYS}
        number = {text: place for place, text in enumerate(distinct)}
        index = np.array([number[text] for text in texts], np.int64)
        lengths = stored["lengths"].array[index]
        bad = {
            row: "the text is empty" if not texts[row].strip() else "the text has no tokens"
            for row in range(len(texts))
            if not texts[row].strip() or lengths[row] == 0
        }
        if len(bad) == rows.count:
            raise TableError(f"{rows.file}, column {self._entry.column!r}: all texts are empty.")
        truncated = int(stored["truncated"].array[index].sum())
        note = (
            f"texts of {self._entry.column!r}: at most {max_length:,} tokens; "
            f"{plural(truncated, 'row is', 'rows are')} truncated"
        )
        part = TextPart(self._padding(), stored["ids"], stored["types"], stored["lengths"], index)
        return BuiltPart(part, bad, (note,), self._sha256)

    def _padding(self) -> Padding:
        tokenizer = self._tokenizer
        arguments = self._entry.arguments or tokenizer.arguments
        ends = tokenizer.pad_id, tokenizer.pad_type, tokenizer.pads_left
        return Padding(tuple(arguments), *ends, tokenizer.max_length)

    def _make(self, folder: Path, texts: Sequence[str]) -> None:
        """Write the tokens of texts."""
        parts = [texts[start : start + _TOGETHER] for start in range(0, len(texts), _TOGETHER)]
        made = [self._tokenizer.encode(part) for part in track(parts, "tokenizing texts")]
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", np.concatenate([getattr(each, name) for each in made]))


def _read(entry: Path, name: str) -> MappedArray:
    values = read_array(entry / f"{name}.npy", None).values
    assert isinstance(values, MappedArray)
    return values


def _usable(entry: Path) -> bool:
    """Return whether a cache entry is complete."""
    try:
        stored = {name: _read(entry, name) for name in _ARRAYS}
    except InputError:
        return False
    tokens = int(stored["lengths"].array.sum())
    return stored["ids"].shape == stored["types"].shape == (tokens,)


@dataclass(frozen=True)
class Padding:
    """How tokens become arguments of the network.

    Attributes:
        arguments: their names, in order.
        pad_id, pad_type: token and segment that fill a row.
        left: whether they come before the text.
        max_length: most tokens of a row.
        shortest: padded length of the shortest rows; the others are its doubles.
    """

    arguments: tuple[str, ...]
    pad_id: int
    pad_type: int
    left: bool
    max_length: int
    shortest: int = _SHORTEST


class TextPart:
    """Tokens that stay in their file.

    Args:
        padding: how rows are filled.
        ids: (T,) int32, the tokens of M texts end to end.
        types: (T,) uint8, their segments.
        lengths: (M,) int64.
        index: (N,) int64, the text of each row.
    """

    def __init__(
        self,
        padding: Padding,
        ids: MappedArray,
        types: MappedArray,
        lengths: MappedArray,
        index: np.ndarray,
    ) -> None:
        self.keys = padding.arguments
        self._padding, self._ids, self._types, self._lengths = padding, ids, types, lengths
        self._index = index
        self._starts = np.cumsum(lengths.array) - lengths.array

    def __len__(self) -> int:
        """Return the number of rows, N."""
        return len(self._index)

    def take(self, index: Tensor) -> TextPart:
        """See ``Part.take``."""
        rows = self._index[index.cpu().numpy()]
        return TextPart(self._padding, self._ids, self._types, self._lengths, rows)

    @property
    def longest(self) -> int:
        """Most tokens of a row."""
        return self._padding.max_length

    def padded(self, length: int) -> TextPart:
        """Return the part with rows padded to at least a length."""
        padding = replace(self._padding, shortest=length)
        return TextPart(padding, self._ids, self._types, self._lengths, self._index)

    def to(self, device: torch.device) -> TextPart:
        """Return itself: the tokens stay in their file."""
        return self

    def load(self, rows: Rows, device: torch.device) -> tuple[Tensor, ...]:
        """See ``Part.load``."""
        texts = self._index[rows.cpu().numpy() if isinstance(rows, Tensor) else rows]
        length = self._lengths.array[texts][:, None]
        width = int(self._padded(texts).max()) if len(texts) else 0
        place = np.arange(width)[None, :] - (width - length if self._padding.left else 0)
        mask = (place >= 0) & (place < length)
        at = np.where(mask, self._starts[texts][:, None] + place, 0)
        values = {
            "input_ids": np.where(mask, self._ids.array[at], self._padding.pad_id),
            "attention_mask": mask,
            "token_type_ids": np.where(mask, self._types.array[at], self._padding.pad_type),
        }
        chosen = (values[name].astype(np.int64) for name in self.keys)
        return tuple(torch.from_numpy(each).to(device) for each in chosen)

    def lengths(self) -> Tensor:
        """See ``Part.lengths``: 16, 32, 64, ... by the tokens of the row alone."""
        return torch.from_numpy(self._padded(self._index))

    def _padded(self, texts: np.ndarray) -> np.ndarray:
        tokens = np.maximum(self._lengths.array[texts], 1)
        doubled = 2 ** np.ceil(np.log2(tokens)).astype(np.int64)
        shortest, longest = self._padding.shortest, self._padding.max_length
        return np.asarray(doubled.clip(shortest).clip(max=longest))

    def digests(self) -> np.ndarray:
        """See ``Part.digests``."""
        used, place = np.unique(self._index, return_inverse=True)
        padding = self._padding
        settings = json.dumps([padding.arguments, padding.pad_id, padding.pad_type, padding.left])
        hashed = hashlib.blake2b(settings.encode(), digest_size=16).digest()
        setting = np.frombuffer(hashed, np.int32)
        ends = self._starts + self._lengths.array
        rows = (self._ids.array[self._starts[text] : ends[text]] for text in used)
        return np.asarray(digests_of(np.concatenate([row, setting]) for row in rows)[place])
