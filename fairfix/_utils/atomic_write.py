"""Writing files so that nothing of worth is lost and no reader ever sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from fairfix.errors import OutputError


def check_place(
    path: Path,
    inputs: Iterable[Path],
    *,
    force: bool = False,
    folder: bool = False,
    option: str = "-o",
) -> None:
    """See that a file (or a ``folder``) can be written to ``path``, before the work.

    ``option`` is where the user names another place.

    Raises:
        OutputError: when it would take the place of one of the inputs or of what holds them, when
            it exists (without ``force``), or when there is nowhere to write it.
    """
    if not path.parent.is_dir():
        fact = "is no folder" if path.parent.exists() else "does not exist; make it first"
        raise OutputError(f"{path} cannot be written: {path.parent} {fact}.")
    here = path.resolve()
    for given in (each.resolve() for each in inputs):
        if here == given or (path.exists() and given.exists() and path.samefile(given)):
            raise OutputError(
                f"{path} is an input and is never overwritten; name another file with {option}."
            )
        if given in here.parents or (path.exists() and here in given.parents):
            raise OutputError(
                f"{path} and the input {given.name} lie one inside the other; name another place "
                f"with {option}."
            )
    if not path.exists():
        return
    if path.is_dir() != folder:
        is_one, wanted = ("folder", "file") if path.is_dir() else ("file", "folder")
        raise OutputError(
            f"{path} is a {is_one}, and a {wanted} is to be written there; name another with "
            f"{option}."
        )
    if not force:
        raise OutputError(
            f"{path} exists; name another {'folder' if folder else 'file'} with {option}, or "
            "replace it with --force."
        )


def write_text(path: Path, text: str) -> None:
    """Write a text file, in UTF-8, as ``write_bytes`` does."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step: whole or not at all.

    Raises:
        OutputError: when it cannot be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".fairfix-")
    except OSError as error:
        raise OutputError(f"Cannot write in {path.parent}: {error.strerror}.") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror}.") from None
    finally:
        Path(temporary).unlink(missing_ok=True)
