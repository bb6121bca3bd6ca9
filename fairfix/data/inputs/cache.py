"""A folder of decoded inputs, named by the content that they were made from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fairfix.errors import OutputError

_VARIABLE = "FAIRFIX_CACHE"
_STAGE = ".new-"
_STALE = 7 * 24 * 3600  # seconds after which the stage of an ended process is removed


def default_folder() -> Path:
    """Return the folder that ``FAIRFIX_CACHE`` names, else that of the user's caches."""
    configured = os.environ.get(_VARIABLE)
    if configured:
        return Path(configured)
    import platformdirs

    return Path(platformdirs.user_cache_dir("fairfix"))


def content_key(settings: Any, contents: Iterable[bytes]) -> str:
    """Return a name for what settings make of contents, whose order counts.

    Args:
        settings: plain JSON values.
        contents: hashes.
    """
    hash_ = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=20)
    for content in contents:
        hash_.update(len(content).to_bytes(4, "little") + content)
    return hash_.hexdigest()


class Cache:
    """The entries of one kind.

    An entry is a folder that is made under another name and then renamed, so that it is complete
    if it exists, however many processes make it and wherever they are interrupted.

    Args:
        folder: where entries are; None is the user's cache folder.
        kind: their folder inside it.
    """

    def __init__(self, folder: Path | None, kind: str) -> None:
        self._folder = (default_folder() if folder is None else folder) / kind

    def entry(self, key: str, make: Callable[[Path], None], usable: Callable[[Path], bool]) -> Path:
        """Return the folder of an entry, and make it if there is none that can be used.

        Args:
            key: its name.
            make: writes the files of the entry into a folder.
            usable: whether a folder has the files, of the right sizes.

        Raises:
            OutputError: the folder cannot be written.
        """
        entry = self._folder / key
        if entry.is_dir():
            if usable(entry):
                return entry
            shutil.rmtree(entry, ignore_errors=True)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            stage = Path(tempfile.mkdtemp(prefix=_STAGE, dir=self._folder))
            try:
                make(stage)
                _move(stage, entry)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
        except OSError as error:
            raise OutputError(
                f"The cache in {self._folder} cannot be written: {error.strerror or error}. Name "
                "another folder (--cache)."
            ) from error
        return entry

    def _sweep(self) -> None:
        """Remove what processes that were killed have left."""
        for stage in self._folder.glob(f"{_STAGE}*"):
            try:
                if time.time() - stage.stat().st_mtime > _STALE:
                    shutil.rmtree(stage, ignore_errors=True)
            except OSError:  # another process has removed it
                continue


def _move(stage: Path, entry: Path) -> None:
    try:
        stage.rename(entry)
    except OSError:
        if not entry.is_dir():  # else another process was faster, with the same content
            raise
