"""Symbolic links in a folder with a model: which are refused, and how the others are copied."""

import os
import shutil
from pathlib import Path

from fairfix._utils.regular_file import irregular_kind
from fairfix.errors import CheckpointError

_SNAPSHOTS, _BLOBS = "snapshots", "blobs"  # of the cache of huggingface_hub


def check_folder(path: Path, weights: str) -> None:
    """Check that a copy of a folder would have content of the folder alone.

    Links to the weights, and links of a snapshot to the blobs of its cache, may leave the folder.

    Args:
        path: the folder.
        weights: name of the file with the weights.

    Raises:
        CheckpointError: if another link leaves the folder, or an entry is not a regular file.
    """
    inside = path.resolve()
    for entry in sorted(path.rglob("*")):
        kind = irregular_kind(entry)
        if kind is not None and kind != "a directory":
            raise CheckpointError(f"{entry} is {kind}. Remove it from the folder.")
        if not entry.is_symlink() or entry == path / weights:
            continue
        target = entry.resolve()
        if not target.is_relative_to(inside) and not _is_blob(target, inside):
            raise CheckpointError(
                f"{entry} is a symbolic link to {target}, outside the folder, whose content would "
                "be copied. Remove the link or replace it by a file."
            )


def copy_folder(source: Path, destination: Path, weights: str) -> None:
    """Copy a folder without its weights; links inside it stay links.

    Args:
        source: a folder that ``check_folder`` accepted.
        destination: does not exist.
        weights: name of the file that is left out.
    """

    def without_weights(folder: str, names: list[str]) -> set[str]:
        return {weights} & set(names) if Path(folder) == source else set()

    shutil.copytree(source, destination, symlinks=True, ignore=without_weights)
    inside = source.resolve()
    for copy in [entry for entry in destination.rglob("*") if entry.is_symlink()]:
        original = source / copy.relative_to(destination)
        target = original.resolve()
        copy.unlink()
        if target.is_relative_to(inside):
            copy.symlink_to(os.path.relpath(target, original.parent.resolve()))
        else:
            shutil.copyfile(target, copy)


def _is_blob(target: Path, folder: Path) -> bool:
    """Whether a target is in the cache of huggingface_hub to which a snapshot belongs."""
    cache = folder.parent.parent
    return folder.parent.name == _SNAPSHOTS and target.is_relative_to(cache / _BLOBS)
