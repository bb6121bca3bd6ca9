"""Regular files: devices, pipes and oversized files are refused before they are read."""

from __future__ import annotations

import stat
from pathlib import Path

from fairfix.errors import FairfixError, UsageError

_MIB = 1 << 20


def irregular_kind(path: Path) -> str | None:
    """Return what a path is that is not a regular file, or None.

    A path that does not exist is not irregular. Reading a pipe or device could wait forever or
    never end.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return "a symbolic link that leads nowhere" if path.is_symlink() else None
    if stat.S_ISREG(mode):
        return None
    kinds = {
        stat.S_ISDIR: "a directory",
        stat.S_ISFIFO: "a named pipe",
        stat.S_ISCHR: "a device",
        stat.S_ISBLK: "a device",
        stat.S_ISSOCK: "a socket",
    }
    return next((kind for test, kind in kinds.items() if test(mode)), "not a regular file")


def check_regular(path: Path, *, error: type[FairfixError] = UsageError) -> None:
    """Raise ``error`` if a path cannot be read or is a device, pipe or socket; folders pass."""
    kind = irregular_kind(path)
    if kind not in (None, "a directory"):
        raise error(f"{path} is {kind}; save its contents to a file and name that.")
    try:
        path.stat()
    except FileNotFoundError:
        raise error(f"{path} does not exist.") from None
    except OSError as fault:
        raise error(f"{path} cannot be read: {fault.strerror}.") from None


def read_regular(
    path: Path, *, max_bytes: int = 256 * _MIB, error: type[FairfixError] = UsageError
) -> bytes:
    """Return the bytes of a regular file.

    Args:
        path: the file.
        max_bytes: largest size.
        error: what to raise.

    Raises:
        FairfixError: of type ``error``; the file cannot be read, is not regular or is too large.
    """
    check_regular(path, error=error)
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as fault:
        raise error(f"{path} cannot be read: {fault.strerror}.") from None
    if len(content) > max_bytes:
        raise error(
            f"{path} has more than {max_bytes // _MIB} MiB, too large for such a file; check it."
        )
    return content
