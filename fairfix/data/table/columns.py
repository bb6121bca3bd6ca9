"""Which column means what, and whether a header has them all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from fairfix.data.table.cell_values import listed
from fairfix.errors import TableError, UsageError

# What pandas writes when the row index is saved with the table: never meant as an input.
_SAVED_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")


@dataclass(frozen=True)
class Columns:
    """Which column means what; the defaults are those of the command line.

    ``favorable`` None means the value 1; ``privileged`` speaks of the first group column;
    ``features`` None means as the data spec says, else every column without another role.
    Raises ``UsageError`` when one column has two roles. Only a group column may also be a
    feature, and only if ``features`` (or the data spec) names it; ``ignore`` concerns features
    alone.
    """

    label: str = "label"
    favorable: str | None = None
    groups: tuple[str, ...] = ("group",)
    privileged: str | None = None
    id: str | None = None
    ignore: tuple[str, ...] = ()
    weight: str | None = None
    features: tuple[str, ...] | None = None
    score: str | None = None
    missing_group: Literal["error", "keep"] = "error"

    def __post_init__(self) -> None:
        roles: dict[str, str] = {}
        for option, name in self.roles():
            if name in roles:
                raise UsageError(
                    f"Column {name!r} is named by {roles[name]} and by {option}: "
                    "one column has one role."
                )
            roles[name] = option
        if self.features is not None:
            self.check_features(self.features, "--features")

    def roles(self) -> list[tuple[str, str]]:
        """Return (option, column) for every role that is set, features and ignored apart."""
        named = [
            ("--label", self.label),
            *(("--group", name) for name in self.groups),
            ("--id", self.id),
            ("--weight", self.weight),
            ("--score", self.score),
        ]
        return [(option, name) for option, name in named if name is not None]

    def check_features(self, features: Sequence[str], said_by: str) -> None:
        """Raise ``UsageError`` when a feature stands twice or is no input by another role."""
        for name, count in Counter(features).items():
            if count > 1:
                raise UsageError(f"Column {name!r} stands {count} times in {said_by}.")
        taken = {name: option for option, name in self.roles() if option != "--group"}
        taken |= dict.fromkeys(self.ignore, "--ignore")
        for name in features:
            if name in taken:
                raise UsageError(
                    f"Column {name!r} is named by {taken[name]} and by {said_by}: it cannot be "
                    "both."
                )


class Header:
    """The column names of one file, in file order. Raises ``TableError`` when a name is double."""

    def __init__(self, file: str, names: Sequence[str]) -> None:
        self.file = file
        self.names = tuple(names)
        self._known = frozenset(names)
        for name, count in Counter(names).items():
            if name and count > 1:
                places = [str(i) for i, other in enumerate(names, 1) if other == name]
                raise TableError(
                    f"{file} has {count} columns named {name!r} (columns {' and '.join(places)}): "
                    "rename or remove all but one."
                )

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def require(self, names: Iterable[str], said_by: str) -> None:
        """Raise ``TableError`` with the nearest name for the first of ``names`` not there."""
        for name in names:
            if name not in self._known:
                raise TableError(
                    f"{self.file} has no column {name!r} ({said_by}){self._nearest(name)}. "
                    f"It has {self._summary()}"
                )

    def features(self, columns: Columns) -> tuple[list[str], list[str]]:
        """Return the columns without a role, in file order: features, and saved row indexes.

        Raises ``TableError`` for a column without a name; only the first can be a row index.
        """
        self.require(columns.ignore, "--ignore")
        nameless = [place for place, name in enumerate(self.names, 1) if not name and place > 1]
        if nameless:
            raise TableError(
                f"{self.file}: column {nameless[0]} of the header has no name, so it is not known "
                "what it holds. Name it or remove it, or list the network's columns with "
                "--features."
            )
        taken = {name for _, name in columns.roles()} | set(columns.ignore)
        free = [name for name in self.names if name not in taken]
        saved = [name for name in free if _SAVED_INDEX.fullmatch(name)]
        return [name for name in free if name not in saved], saved

    def _nearest(self, name: str) -> str:
        folded = {known.casefold(): known for known in self.names}
        near = get_close_matches(name.casefold(), list(folded), 1)
        return f"; the nearest name is {folded[near[0]]!r}" if near else ""

    def _summary(self) -> str:
        if len(self.names) == 1:
            only = self.names[0]
            for mark, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
                if mark in only:
                    return f"one column, {only!r}: separate the columns by commas, not {called}."
        return f"{listed(self.names)}."
