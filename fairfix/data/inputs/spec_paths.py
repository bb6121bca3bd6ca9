"""The paths of files that a data spec names."""

from __future__ import annotations

from pathlib import Path

from fairfix.errors import InputError


def find_file(name: str, folder: Path, *, confined: bool) -> Path:
    """Return the path of a file or folder that a data spec names.

    Args:
        folder: that of the data spec.
        confined: whether the path must lie in it.

    Raises:
        InputError: the path leads out of the folder.
    """
    path = folder / name
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):
        inside = False
    if confined and not inside:
        raise InputError(
            f"The data spec names {name!r}, which is outside of its folder; put it beside the data "
            "spec."
        )
    return path
