"""Find and read a data spec of either version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fairfix._utils.strict_json import read_json
from fairfix.data.spec.data_spec import DataSpec
from fairfix.data.spec.inputs_spec import VERSION, InputsSpec

Spec = DataSpec | InputsSpec

INSIDE = "model.data.json"
"""The data spec in the folder of a model."""


def find_spec(model: Path, *, trust: bool = False) -> Spec | None:
    """Return the spec next to a model, ``<stem>.data.json``, or None without one.

    A debiased model, ``<stem>.debiased<suffix>``, takes the same inputs as the model it came
    from and shares its spec; so does a link to a model. A folder may also hold its own,
    ``model.data.json``.

    Raises:
        TrustError, UsageError: see ``load_spec``.
    """
    for place in (model, model.resolve()) if model.is_symlink() else (model,):
        for stem in (place.stem, place.stem.removesuffix(".debiased")):
            path = place.with_name(f"{stem}.data.json")
            if path.is_file():
                return load_spec(path, trust=trust)
    inside = model / INSIDE
    return load_spec(inside, trust=trust) if inside.is_file() else None


def load_spec(path: Path, *, trust: bool = False) -> Spec:
    """Read a spec file.

    Args:
        trust: whether a transformer may hold types that could run code.

    Raises:
        TrustError: a transformer holds such types, without ``trust``.
        UsageError: the file is not a spec; names the place in it.
    """
    return spec_from_json(read_json(path), file=path.name, folder=path.parent, trust=trust)


def spec_from_json(
    value: Any, *, file: str = "data spec", folder: Path = Path(), trust: bool = False
) -> Spec:
    """Check a parsed spec.

    Args:
        file: its name, for messages.
        folder: where its files are.
        trust: see ``load_spec``.

    Returns:
        A spec of version 1 also where version 2 describes one matrix of numbers.

    Raises:
        TrustError, UsageError: see ``load_spec``.
    """
    if not (isinstance(value, dict) and value.get("version") == VERSION):
        return DataSpec.from_json(value, file=file, folder=folder, trust=trust)
    spec = InputsSpec.from_json(value, file=file, folder=folder, trust=trust)
    return spec.numbers_alone or spec


def comparable(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of a spec without the places of files, which may differ between tables.

    Tokenizers and transformers are bound by their hashes.
    """
    if "inputs" not in spec:
        return {**spec, "features": _without_places(spec["features"])}
    places = {"array": "file", "text": "tokenizer"}
    inputs = {
        name: {key: value for key, value in entry.items() if key != places.get(entry["kind"])}
        for name, entry in spec["inputs"].items()
    }
    for entry in inputs.values():
        if "entries" in entry:
            entry["entries"] = _without_places(entry["entries"])
    return {**spec, "inputs": inputs}


def _without_places(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in entry.items() if key != "transformer"} for entry in entries
    ]
