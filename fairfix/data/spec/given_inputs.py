"""A data spec from a few options, for networks whose inputs need no more than these."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fairfix._utils.name_list import split_names
from fairfix._utils.number_text import parse_float, parse_int
from fairfix.data.inputs.array_file import SUFFIXES
from fairfix.data.memory_table import MemoryTable, TableSource
from fairfix.data.spec.beside_model import image_settings_beside, tokenizer_beside
from fairfix.data.spec.inputs_spec import VERSION, InputsSpec
from fairfix.errors import UsageError

_ARGUMENT = re.compile(r"([A-Za-z_][A-Za-z_0-9]*)=(.*)", re.DOTALL)
_NEEDS = {
    "image_size": "image",
    "image_scale": "image",
    "image_mean": "image",
    "image_std": "image",
    "tokenizer": "text",
    "max_length": "text",
}


@dataclass(frozen=True, kw_only=True)
class GivenInputs:
    """Inputs of a network as options name them; ``ARG=`` is the argument of ``forward``.

    Attributes:
        codes: ``[ARG=]COLUMN,...``, columns of whole numbers.
        image, text: ``[ARG=]COLUMN``.
        array: ``[ARG=]FILE[:KEY]``; ``{table}`` in it is the table's name without its suffix.
        input_shape: ``[ARG=]C,H,W``, the shape of a row of numbers, codes or an array.
        image_size: ``H[,W]``; None takes the settings beside the model.
        image_scale: factor of the pixels, 0 to 255; None likewise.
        image_mean, image_std: one number or one per channel; None likewise.
        tokenizer: its folder; None takes that of the model.
        max_length: most tokens of a row; None takes what the tokenizer says.
    """

    codes: Sequence[str] = ()
    image: Sequence[str] = ()
    text: Sequence[str] = ()
    array: Sequence[str] = ()
    input_shape: Sequence[str] = ()
    image_size: str | None = None
    image_scale: float | None = None
    image_mean: str | None = None
    image_std: str | None = None
    tokenizer: Path | None = None
    max_length: int | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """The options that were given."""
        return tuple(
            f"--{each.name.replace('_', '-')}"
            for each in fields(self)
            if getattr(self, each.name) not in (None, ())
        )

    @property
    def shape_alone(self) -> bool:
        """Whether numbers are the only input."""
        return not (self.codes or self.image or self.text or self.array)

    def spec(
        self,
        model: Path | None,
        table: TableSource,
        numbers: Sequence[str] | None,
        others: Sequence[str],
    ) -> InputsSpec:
        """Return the data spec that says the same.

        Args:
            model: its file or folder, beside which settings of images and a tokenizer may lie; None
                for a network in memory.
            table: beside which arrays may lie, or which has arrays itself; each is an input.
            numbers: the feature columns that were given, the first as ``[ARG=]COLUMN``.
            others: the feature columns otherwise, if numbers are the only input.

        Raises:
            FairfixError: an option is invalid, has no effect, or a file that it names is missing.
        """
        for option, kind in _NEEDS.items():
            if getattr(self, option) is not None and not getattr(self, kind):
                raise UsageError(
                    f"--{option.replace('_', '-')} has an effect only with --{kind}; add that or "
                    "remove it."
                )
        folder = Path() if model is None else model if model.is_dir() else model.parent
        described = [*self._numbers(numbers, others), *self._entries(model, folder, table.parent)]
        arrays = [*_given_arrays(table)]
        entries = [*described, *arrays]
        if len(entries) == 1:  # an array in memory goes by position
            arrays = [(None, entry) for _, entry in arrays]
            entries = [*described, *arrays]
        named = [name for name, _ in entries if name is not None]
        if len(entries) > 1 and any(n is None and e["kind"] != "text" for n, e in entries):
            raise UsageError(
                "Several inputs go to the network by name; write the argument of forward before "
                "each, as in --codes x_cat=job,city."
            )
        inputs = {name or entry["kind"]: entry for name, entry in entries}
        if len(inputs) < len(entries):
            raise UsageError("Two inputs have the same name; give each argument once.")
        self._shape(inputs)
        by_name = bool(named) or bool(self.text)
        if isinstance(table, MemoryTable) and not described:
            by_name = table.by_name
        content = {
            "version": VERSION,
            "call": "name" if by_name else "position",
            "inputs": inputs,
        }
        return InputsSpec.from_json(content, file="the options", folder=folder, confined=False)

    def _numbers(
        self, given: Sequence[str] | None, others: Sequence[str]
    ) -> Iterator[tuple[str | None, dict[str, Any]]]:
        """Yield the input of numbers, if there is one."""
        if given:
            name, first = _argument(given[0])
            columns = [first, *given[1:]]
        elif self.shape_alone and others:
            name, columns = None, list(others)
        else:
            return
        entries = [{"column": column} for column in columns]
        yield name, {"kind": "numbers", "entries": entries}

    def _entries(
        self, model: Path | None, folder: Path, beside: Path
    ) -> Iterator[tuple[str | None, dict[str, Any]]]:
        """Yield the other inputs with their names, None where none is given."""
        for name, value in map(_argument, self.codes):
            columns = [{"column": column} for column in split_names(value)]
            yield name, {"kind": "codes", "columns": columns}
        settings = self._image_settings(model) if self.image else {}
        for name, value in map(_argument, self.image):
            yield name, {"kind": "image", "column": value, **settings}
        for name, value in map(_argument, self.text):
            entry = {"kind": "text", "column": value, "tokenizer": self._tokenizer(model, folder)}
            length = {} if self.max_length is None else {"max_length": self.max_length}
            yield name, {**entry, **length}
        for name, value in map(_argument, self.array):
            file, key = value, ""
            if not value.lower().endswith(SUFFIXES):
                file, _, key = value.rpartition(":")
            stored = {"kind": "array", "file": _array_file(Path(file or value), (beside, folder))}
            yield name, {**stored, **({"key": key} if key else {})}

    def _image_settings(self, model: Path | None) -> dict[str, Any]:
        """Return how images become pixels: as options say, else as the file beside the model."""
        size, mean, std = self.image_size, self.image_mean, self.image_std
        described = size is not None and mean is not None and std is not None
        beside = None if described or model is None else image_settings_beside(model)
        settings: dict[str, Any] = beside or {}
        if size is not None:
            sides = _whole_numbers("--image-size", size)
            if len(sides) > 2:
                raise UsageError(f"--image-size must be H or H,W, not {size!r}.")
            settings.pop("crop", None)
            pixels_filter = settings.get("resize", {}).get("filter", "bilinear")
            settings["resize"] = {"exact": [sides[0], sides[-1]], "filter": pixels_filter}
        if self.image_scale is not None:
            if not (math.isfinite(self.image_scale) and self.image_scale > 0):
                raise UsageError(f"--image-scale must be above 0, not {self.image_scale:g}.")
            settings["scale"] = self.image_scale
        for name, numbers in (("mean", mean), ("std", std)):
            if numbers is not None:
                settings[name] = _numbers(f"--image-{name}", numbers)
        return settings

    def _tokenizer(self, model: Path | None, folder: Path) -> str:
        """Return the folder of the tokenizer, relative to that of the model."""
        found = self.tokenizer or (None if model is None else tokenizer_beside(model))
        if found is None:
            where = "beside a network in memory" if model is None else f"beside {model.name}"
            raise UsageError(f"No tokenizer lies {where}; name its folder with --tokenizer.")
        return _relative(found, folder)

    def _shape(self, inputs: dict[str, dict[str, Any]]) -> None:
        """Give inputs their shapes."""
        shaped = [name for name, entry in inputs.items() if entry["kind"] not in ("image", "text")]
        for given in self.input_shape:
            name, value = _argument(given)
            if name is None and len(shaped) == 1:
                name = shaped[0]
            if name not in shaped:
                which = f"of {', '.join(shaped)}" if shaped else "of numbers, codes or an array"
                raise UsageError(
                    f"--input-shape {given} does not name an input with a shape; give that "
                    f"{which}, and --image-size for images."
                )
            inputs[name]["shape"] = _whole_numbers("--input-shape", value)


def _given_arrays(table: TableSource) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Yield the arrays of a table in memory; beside a file they would be in a .npz file."""
    for name in table.arrays if isinstance(table, MemoryTable) else ():
        yield name, {"kind": "array", "file": "{table}.npz", "key": name}


def _argument(value: str) -> tuple[str | None, str]:
    """Return the argument of ``forward``, if one is named, and what follows it."""
    found = _ARGUMENT.fullmatch(value.strip())
    return (found[1], found[2].strip()) if found else (None, value.strip())


def _whole_numbers(option: str, text: str) -> list[int]:
    try:
        values = [parse_int(each) for each in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{option}: {error}.") from None
    if min(values) < 1:
        raise UsageError(f"{option} must be at least 1, not {text}.")
    return values


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [parse_float(each) for each in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{option}: {error}.") from None


def _array_file(path: Path, folders: Sequence[Path]) -> str:
    """Return the path of an array from the first folder that it lies in."""
    for folder in folders:
        name = _relative(path, folder)
        if not name.startswith("../"):
            return name
    raise UsageError(
        f"--array {path} lies neither beside the table nor beside the model; put it "
        "beside the table."
    )


def _relative(path: Path, folder: Path) -> str:
    """Return a path as a data spec in the folder names it."""
    return Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()
