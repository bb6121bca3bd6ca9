"""Where a result goes: never over the input, never half written."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fairfix.errors import OutputError


@contextmanager
def replacing(destination: Path, source: Path, *, force: bool) -> Iterator[Path]:
    """Yield a path beside ``destination`` to write a file or folder to; move it there on success.

    Raises OutputError when ``destination`` is ``source``, exists (without ``force``), or lies
    where nothing can be written. Whatever fails, nothing partial is left behind.
    """
    _refuse(destination, source, force)
    try:
        folder = Path(tempfile.mkdtemp(dir=destination.parent, prefix=".fairfix-"))
    except OSError as error:
        raise OutputError(
            f"Cannot write in {destination.parent}: {error.strerror}. Name another place with -o."
        ) from error
    try:
        made = folder / destination.name
        yield made
        _move(made, destination)
    except OSError as error:
        raise OutputError(f"Cannot write {destination}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _refuse(destination: Path, source: Path, force: bool) -> None:
    if destination.exists() and destination.samefile(source):
        raise OutputError(
            f"{destination} is the model itself, which is never overwritten. Name another file."
        )
    if source.is_dir() and source.resolve() in destination.resolve().parents:
        raise OutputError(f"{destination} lies inside the model's folder. Name a place outside it.")
    if not destination.parent.is_dir():
        raise OutputError(f"The folder {destination.parent} does not exist. Make it first.")
    if destination.exists() and not force:
        raise OutputError(f"{destination} exists. Name another file, or replace it with --force.")
    if destination.exists() and destination.is_dir() != source.is_dir():
        kinds = "a folder and the model a file" if destination.is_dir() else "a file, not a folder"
        raise OutputError(f"{destination} is {kinds}, so it is not replaced. Name another place.")


def _move(made: Path, destination: Path) -> None:
    if not destination.is_dir():
        made.replace(destination)
        return
    aside = made.with_name(f"{made.name}.replaced")  # a folder cannot be replaced in one step
    destination.rename(aside)
    try:
        made.replace(destination)
    except OSError:
        aside.rename(destination)
        raise
