"""Atomic writes: a set of files or folders is replaced as a whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fairfix.errors import OutputError

if sys.platform != "win32":
    import fcntl

_PREFIX = ".fairfix-"


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
def replacing(path: Path, source: Path | None, *, force: bool) -> Iterator[Path]:
    """Yield a staging path for a new version of ``source``, moved to ``path`` on success.

    Args:
        path: the destination, a file or folder as ``source`` is.
        source: the input, never overwritten; None if the file has none.
        force: allow replacing an existing file or folder.

    Raises:
        OutputError: as ``check_destination`` and ``staged``.
    """
    inputs = [] if source is None else [source]
    check_destination(path, inputs, force=force, folder=any(each.is_dir() for each in inputs))
    with staged([path]) as staging:
        yield staging[path]


@contextmanager
def staged(paths: Iterable[Path], remove: Iterable[Path] = ()) -> Iterator[dict[Path, Path]]:
    """Yield a staging path for each destination and move all into place on success.

    A staging path has the name of its destination and lies on the same file system. After any
    exception, interrupts included, the destinations are as they were and no staging file is left.

    Args:
        paths: files or folders to write. The body must create every one of them.
        remove: files to remove together with that, if they exist; in folders of ``paths``.

    Raises:
        OutputError: if the file system refuses: the folder is read-only, the disk is full.
    """
    destinations = list(paths)
    folders = list(dict.fromkeys(path.parent for path in destinations))
    stages: dict[Path, Path] = {}
    try:
        with ExitStack() as stack:
            stages = {folder: stack.enter_context(_stage(folder)) for folder in folders}
            new = {path: stages[path.parent] / "new" / path.name for path in destinations}
            old = {path: stages[path.parent] / "old" / path.name for path in destinations}
            yield new
            for path in new.values():
                _sync(path)
            _exchange(new, old | {path: stages[path.parent] / "old" / path.name for path in remove})
            for folder in folders:
                _sync_entry(folder)
    except OSError as error:
        single = len(destinations) == 1
        where = destinations[0] if single else f"in {' or '.join(map(str, folders))}"
        raise OutputError(f"Cannot write {where}: {error.strerror or error}.") from error
    except OutputError as error:  # of a writer, which knows the staging path only
        text = str(error)
        for folder, stage in stages.items():
            text = text.replace(str(stage / "new"), str(folder))
        if text == str(error):
            raise
        raise OutputError(text) from error


@contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder with room for new and old files; remove it afterwards.

    The folder is locked while this process lives. Folders that ended processes left are removed.
    """
    stage, lock = folder / f"{_PREFIX}{secrets.token_hex(4)}", None
    try:
        try:
            with _locked(folder):
                _sweep(folder)
                stage.mkdir(mode=0o700)
                lock = _lock(stage, wait=False)
        except OSError as error:
            raise OutputError(
                f"Cannot write in {folder}: {error.strerror}. Choose another folder."
            ) from error
        (stage / "new").mkdir()
        (stage / "old").mkdir()
        yield stage
    finally:
        _remove(stage)
        if lock is not None:
            os.close(lock)


def _remove(stage: Path) -> None:
    """Remove a stage, also if the first attempt is interrupted or fails."""
    try:
        if stage.exists():
            shutil.rmtree(stage)
    except BaseException as error:
        shutil.rmtree(stage, ignore_errors=True)
        if not isinstance(error, OSError):
            raise


def _sweep(folder: Path) -> None:
    """Remove the stages of ended processes; put back what they had set aside and not replaced."""
    for stage in folder.glob(f"{_PREFIX}*"):
        if not stage.is_dir() or stage.is_symlink():
            continue
        lock = _lock(stage, wait=False)
        if lock is None:  # in use
            continue
        for kept in (stage / "old").glob("*"):
            if not (folder / kept.name).exists():
                kept.rename(folder / kept.name)
        _remove(stage)
        os.close(lock)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes from making or removing stages in a folder."""
    lock = _lock(folder, wait=True)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _lock(folder: Path, *, wait: bool) -> int | None:
    """Return a descriptor that locks a folder until it is closed or the process ends.

    None if another process has it, or if the file system has no locks.
    """
    if sys.platform == "win32":
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _sync(path: Path) -> None:
    """Write a file, or the files of a folder, through to the disk."""
    for entry in (path, *path.rglob("*")) if path.is_dir() else (path,):
        if not entry.is_symlink():
            _sync_entry(entry)


def _sync_entry(path: Path) -> None:
    if path.is_dir() and sys.platform == "win32":  # folders cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot
            raise
    finally:
        os.close(descriptor)


def _exchange(new: Mapping[Path, Path], old: Mapping[Path, Path]) -> None:
    """Move ``new`` files to their destinations, all or none, and other files of ``old`` there."""
    with ExitStack() as undo:
        for path, made in new.items():
            undo.callback(_restore, path, old[path], path.exists())
            if path.exists():
                _set_aside(path, old[path])
            made.replace(path)
        for path in old.keys() - new.keys():
            undo.callback(_restore, path, old[path], path.exists())
            if path.exists():
                path.rename(old[path])
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
