"""Files that a data spec names, which go with a copy of it into another folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fairfix._utils.regular_file import read_regular
from fairfix.data.inputs.text_part import TextEntry
from fairfix.data.inputs.tokenizer_folder import copy_tokenizer
from fairfix.data.spec.data_spec import DataSpec
from fairfix.data.spec.find_spec import Spec
from fairfix.data.spec.inputs_spec import InputsSpec
from fairfix.data.spec.table_inputs import NumbersInput
from fairfix.data.spec.transformer_encoding import TransformerEncoding
from fairfix.errors import InputError


@dataclass(frozen=True)
class SpecFile:
    """A file or folder that a data spec names.

    Attributes:
        place: as the data spec names it, relative to its folder.
        path: where it lies.
        name: of a copy, after the stem of the model.
    """

    place: str
    path: Path
    name: str

    def is_found_from(self, folder: Path) -> bool:
        """Return whether a data spec in this folder finds the file, inside the folder."""
        found = (folder / self.place).resolve()
        return found == self.path.resolve() and found.is_relative_to(folder.resolve())

    def copy(self, to: Path) -> None:
        """Copy it.

        Raises:
            InputError: it cannot be read.
        """
        if self.path.is_dir():
            copy_tokenizer(self.path, to)
        else:
            to.write_bytes(read_regular(self.path, error=InputError))


def spec_files(spec: Spec | None) -> tuple[SpecFile, ...]:
    """Return the tokenizers and transformers that a data spec names, each once."""
    return () if spec is None else tuple({each.place: each for each in _files(spec)}.values())


def _files(spec: Spec) -> Iterator[SpecFile]:
    if isinstance(spec, DataSpec):
        for entry in spec.features:
            if isinstance(entry, TransformerEncoding):
                place = entry.entry.transformer
                parts = (part for part in Path(place).parts if part not in ("..", "/"))
                yield SpecFile(place, entry.path, "-".join(parts))
        return
    for name, each in spec.inputs.items():
        if isinstance(each, TextEntry):
            yield SpecFile(each.tokenizer, spec.folder / each.tokenizer, f"{name}.tokenizer")
        elif isinstance(each, NumbersInput):
            yield from _files(each.spec)


def with_places(spec: Spec, places: Mapping[str, str]) -> Spec:
    """Return a data spec that names its files by other places.

    Args:
        places: the new place by the present one; others stay.
    """
    if isinstance(spec, DataSpec):
        return _moved(spec, places)
    inputs = {
        name: each.model_copy(update={"tokenizer": places.get(each.tokenizer, each.tokenizer)})
        if isinstance(each, TextEntry)
        else replace(each, spec=_moved(each.spec, places))
        if isinstance(each, NumbersInput)
        else each
        for name, each in spec.inputs.items()
    }
    return InputsSpec(inputs, spec.call, spec.folder, spec.confined)


def _moved(spec: DataSpec, places: Mapping[str, str]) -> DataSpec:
    def moved(each: TransformerEncoding) -> TransformerEncoding:
        place = each.entry.transformer
        entry = each.entry.model_copy(update={"transformer": places.get(place, place)})
        return replace(each, entry=entry)

    return DataSpec(
        tuple(
            moved(each) if isinstance(each, TransformerEncoding) else each for each in spec.features
        )
    )
