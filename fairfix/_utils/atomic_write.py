"""Atomic writes: a set of files or folders is replaced as a whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fairfix.errors import OutputError


def check_destination(
    path: Path,
    inputs: Iterable[Path] = (),
    *,
    force: bool = False,
    folder: bool = False,
    option: str = "-o",
) -> None:
    """Check that a file or folder may be written to ``path``, before the work starts.

    Args:
        path: the file, or the folder with ``folder=True``.
        inputs: files and folders that must never be overwritten.
        force: allow replacing an existing file or folder.
        option: the command-line option that names another path, for messages.

    Raises:
        OutputError: if the parent folder does not exist, the path is an input, contains one or
            lies inside one, is of the other kind, or exists without ``force``.
    """
    if not path.parent.is_dir():
        fact = "is not a folder" if path.parent.exists() else "does not exist; create it first"
        raise OutputError(f"{path} cannot be written: {path.parent} {fact}.")
    resolved, protected = path.resolve(), [given.resolve() for given in inputs]
    for given in protected:
        if resolved == given or (path.exists() and given.exists() and path.samefile(given)):
            raise OutputError(
                f"{path} is an input and is never overwritten; choose another path ({option})."
            )
    for given in protected:
        if given in resolved.parents:
            raise OutputError(
                f"{path} lies inside the input {given.name}; choose another path ({option})."
            )
        if path.exists() and resolved in given.parents:
            raise OutputError(
                f"{path} contains the input {given.name}; choose another path ({option})."
            )
    if not path.exists():
        return
    if path.is_dir() != folder:
        found, needed = ("folder", "file") if path.is_dir() else ("file", "folder")
        raise OutputError(
            f"{path} is a {found}, but the output is a {needed}; choose another path ({option})."
        )
    if not force:
        raise OutputError(f"{path} exists; choose another path ({option}) or replace it (--force).")


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically. See ``write_bytes``."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write or replace a file atomically.

    Raises:
        OutputError: if it cannot be written; an existing file is unchanged.
    """
    with staged([path]) as staging:
        staging[path].write_bytes(content)


@contextmanager
def replacing(path: Path, source: Path, *, force: bool) -> Iterator[Path]:
    """Yield a staging path for a new version of ``source``, moved to ``path`` on success.

    Args:
        path: the destination, a file or folder as ``source`` is.
        source: the input, never overwritten.
        force: allow replacing an existing file or folder.

    Raises:
        OutputError: as ``check_destination`` and ``staged``.
    """
    check_destination(path, [source], force=force, folder=source.is_dir())
    with staged([path]) as staging:
        yield staging[path]


@contextmanager
def staged(paths: Iterable[Path]) -> Iterator[dict[Path, Path]]:
    """Yield a staging path for each destination and move all into place on success.

    A staging path has the name of its destination and lies on the same file system. After any
    exception, interrupts included, the destinations are as they were and no staging file is left.

    Args:
        paths: files or folders to write. The body must create every one of them.

    Raises:
        OutputError: if the file system refuses: the folder is read-only, the disk is full.
    """
    destinations = list(paths)
    folders = list(dict.fromkeys(path.parent for path in destinations))
    try:
        with ExitStack() as stack:
            stages = {folder: stack.enter_context(_stage(folder)) for folder in folders}
            new = {path: stages[path.parent] / "new" / path.name for path in destinations}
            old = {path: stages[path.parent] / "old" / path.name for path in destinations}
            yield new
            _exchange(new, old)
    except OSError as error:
        single = len(destinations) == 1
        where = destinations[0] if single else f"in {' or '.join(map(str, folders))}"
        raise OutputError(f"Cannot write {where}: {error.strerror or error}.") from error


@contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder with room for new and old files; remove it afterwards."""
    try:
        stage = Path(tempfile.mkdtemp(dir=folder, prefix=".fairfix-"))
    except OSError as error:
        raise OutputError(
            f"Cannot write in {folder}: {error.strerror}. Choose another folder."
        ) from error
    try:
        (stage / "new").mkdir()
        (stage / "old").mkdir()
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _exchange(new: Mapping[Path, Path], old: Mapping[Path, Path]) -> None:
    """Move ``new`` files to their destinations, all or none, and replaced ones to ``old``."""
    with ExitStack() as undo:
        for path, made in new.items():
            undo.callback(_restore, path, old[path], path.exists())
            if path.exists():
                _set_aside(path, old[path])
            made.replace(path)
        undo.pop_all()


def _set_aside(path: Path, to: Path) -> None:
    try:
        to.hardlink_to(path)  # so that the destination is never missing
    except OSError:
        path.rename(to)  # a folder, or a file system without hard links


def _restore(path: Path, before: Path, existed: bool) -> None:
    if existed and not before.exists():
        return  # not replaced yet
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if existed:
        before.rename(path)
