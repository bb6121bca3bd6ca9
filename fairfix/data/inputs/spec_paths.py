"""The paths of files that a data spec names."""

from __future__ import annotations

from pathlib import Path

from fairfix.data.inputs.part_builder import Source
from fairfix.errors import InputError


def find_file(name: str, source: Source) -> Path:
    """Return the path of a file or folder that a data spec names.

    Raises:
        InputError: the data spec is confined to its folder and the path leads out of it.
    """
    path = source.folder / name
    try:
        inside = path.resolve().is_relative_to(source.folder.resolve())
    except (OSError, ValueError):
        inside = False
    if source.confined and not inside:
        raise InputError(
            f"The data spec names {name!r}, which is outside of its folder; put it beside the data "
            "spec."
        )
    return path
