"""What a path is, if it is not a file that can be read from start to end."""

import stat
from pathlib import Path


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
