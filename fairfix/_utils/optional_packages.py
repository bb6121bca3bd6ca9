"""Packages that only some extras install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fairfix.errors import MissingPackageError


@contextmanager
def needed_for(what: str, package: str, extra: str) -> Iterator[None]:
    """Import a package inside of this context, and say how to install it if it is missing.

    Args:
        what: what needs it, as the subject of a sentence.
        package: its name on the package index.
        extra: the extra of fairfix that installs it.

    Raises:
        MissingPackageError: if the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"{what} needs the package {package}; install it with pip install 'fairfix[{extra}]'."
        ) from error
