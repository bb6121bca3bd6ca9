"""The paths of files that a data spec names."""

from __future__ import annotations

import filecmp
from pathlib import Path

from fairfix.data.memory_table import TableSource
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
    if confined and not _inside(path, folder):
        raise InputError(
            f"The data spec names {name!r}, which is outside of its folder; put it beside the data "
            "spec."
        )
    return path


def find_table_file(name: str, folder: Path, table: TableSource, *, confined: bool) -> Path:
    """Return the path of a file that a data spec names and that has rows of a table.

    It lies in the folder of the data spec or in that of the table, so that a data spec beside a
    model in another folder finds the files of each table.

    Args:
        folder: that of the data spec.
        table: it, whose folder is searched too.
        confined: whether the path must lie in the folder.

    Raises:
        InputError: the path leads out of the folder, no folder has the file, or both have one and
            these differ.
    """
    path, beside = find_file(name, folder, confined=confined), table.parent / name
    if not beside.is_file() or (confined and not _inside(beside, table.parent)):
        if not path.exists():
            raise InputError(
                f"{name} is neither beside the data spec nor beside {table.name}; put it beside "
                "the table, or name the data spec beside it (--data-spec)."
            )
        return path
    if path.is_file() and not (path.samefile(beside) or filecmp.cmp(path, beside, shallow=False)):
        raise InputError(
            f"{name} beside the data spec and {name} beside {table.name} differ; remove the one "
            "that does not belong to the table."
        )
    return path if path.exists() else beside


def _inside(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):
        return False
