"""The roles of columns (label, groups, id, ...), and the header of a table that must have them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fairfix._utils.text import did_you_mean, quoted_list
from fairfix.errors import TableError, UsageError

MissingGroup = Literal["error", "keep", "performance-only"]
"""What becomes of rows without a value of a group column."""

# Names that pandas gives to a row index saved with the table, which is never meant as an input.
_SAVED_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The roles of columns.

    Only a group column may also be a feature, and only if ``features`` or the data spec names it.

    Attributes:
        label: the label column.
        targets: of a network with one output for each of several labels, the label column of each,
            in the order of the outputs; ``label`` is one of them. () for one label.
        favorable: the favorable value of the label, or several in a list with commas; None means
            1.
        unfavorable: the other values of the label, needed if there are several; ("others",) takes
            all of them.
        groups: the group columns (protected attributes); the first is the one debiased.
        privileged: the privileged value of the first group column; None infers it.
        reference: the privileged value of the first group column, compared with all other values
            together.
        id: the column that identifies rows.
        ignore: columns that are not features; they may still have another role.
        weight: the column of row weights.
        cluster: the column that names the cluster of a row, such as a person with several rows.
        features: the inputs of the network in order; None takes those of the data spec, or every
            column without another role.
        score: the column of scores, in the place of a model.
        missing_group: "error" refuses rows without a group, "keep" makes them a group, and with
            "performance-only" they count for performance and gradients, not for gaps.

    Raises:
        UsageError: a column has two roles, a feature is named twice, or there are both a
            privileged and a reference group.
    """

    label: str = "label"
    targets: tuple[str, ...] = ()
    favorable: str | None = None
    unfavorable: tuple[str, ...] = ()
    groups: tuple[str, ...] = ("group",)
    privileged: str | None = None
    reference: str | None = None
    id: str | None = None
    ignore: tuple[str, ...] = ()
    weight: str | None = None
    features: tuple[str, ...] | None = None
    score: str | None = None
    missing_group: MissingGroup = "error"
    cluster: str | None = None

    def __post_init__(self) -> None:
        if None not in (self.privileged, self.reference):
            raise UsageError(
                "--privileged and --reference both name the privileged group; give --reference to "
                "compare it with all others together, else --privileged."
            )
        roles: dict[str, str] = {}
        for role, name in self.roles():
            if name in roles:
                raise UsageError(
                    f"Column {name!r} is named as {roles[name]} and as {role}; a column can have "
                    "only one role."
                )
            roles[name] = role
        if self.features is not None:
            self.check_features(self.features, "feature")

    def roles(self) -> list[tuple[str, str]]:
        """Return (role, column) for every role that is set, other than features and ignored."""
        roles = [
            ("label column", self.label),
            *(("label column", name) for name in self.targets if name != self.label),
            *(("group column", name) for name in self.groups),
            ("id column", self.id),
            ("weight column", self.weight),
            ("score column", self.score),
            ("cluster column", self.cluster),
        ]
        return [(role, name) for role, name in roles if name is not None]

    def check_features(self, features: Sequence[str], role: str) -> None:
        """Raise ``UsageError`` if a feature is named twice or has a role that excludes it.

        Args:
            role: what names the features, for messages.
        """
        for name, count in Counter(features).items():
            if count > 1:
                raise UsageError(f"Column {name!r} is named {count} times as {role}; name it once.")
        taken = {name: other for other, name in self.roles() if other != "group column"}
        taken |= dict.fromkeys(self.ignore, "ignored column")
        for name in features:
            if name in taken:
                raise UsageError(
                    f"Column {name!r} is named as {taken[name]} and as {role}; it cannot be both."
                )


def label_columns(names: Sequence[str] | None, target: str | None) -> dict[str, Any]:
    """Return the fields ``label`` and ``targets`` of ``Columns``; None for those not given.

    Args:
        names: the label columns that were given.
        target: the one of several that was chosen.

    Raises:
        UsageError: there are several and none is chosen, or the chosen one is not among them.
    """
    if not names or len(names) == 1:
        label = names[0] if names else target
        if target not in (None, label):
            raise UsageError(
                f"--target {target} is not the label column {label!r}; name all label columns "
                "with --label, in the order of the network's outputs."
            )
        return {"label": label, "targets": None}
    if target is None:
        raise UsageError(
            f"--label names {len(names)} label columns, {quoted_list(names)}; choose one with "
            "--target."
        )
    if target not in names:
        raise UsageError(
            f"--target {target} is not among the label columns {quoted_list(names)}"
            f"{did_you_mean(target, names, '; name one of them.')}"
        )
    return {"label": target, "targets": tuple(names)}


def is_saved_index(name: str) -> bool:
    """Return whether pandas gives this name to a row index that is saved with a table."""
    return _SAVED_INDEX.fullmatch(name) is not None


class Header:
    """The column names of one file, in file order.

    Raises:
        TableError: a name appears twice.
    """

    def __init__(self, file: str, names: Sequence[str]) -> None:
        self.file = file
        self.names = tuple(names)
        self._known = frozenset(names)
        for name, count in Counter(names).items():
            if name and count > 1:
                places = [str(i) for i, other in enumerate(names, 1) if other == name]
                raise TableError(
                    f"{file} has {count} columns named {name!r} (columns {' and '.join(places)}); "
                    "rename or remove all but one."
                )

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def require(self, names: Iterable[str], role: str) -> None:
        """Raise ``TableError`` with the nearest name for the first of the names that is missing.

        Args:
            role: what the columns are for, for the message.
        """
        for name in names:
            if name not in self._known:
                raise TableError(
                    f"{self.file} has no column {name!r} ({role}){did_you_mean(name, self.names)} "
                    f"{self._summary()}"
                )

    def feature_names(self, columns: Columns) -> tuple[list[str], list[str]]:
        """Return the columns without a role in file order: features, and saved row indexes.

        Raises:
            TableError: a column other than the first has no name, or an ignored one is missing.
        """
        self.require(columns.ignore, "ignored column")
        nameless = [place for place, name in enumerate(self.names, 1) if not name and place > 1]
        if nameless:
            raise TableError(
                f"{self.file}: column {nameless[0]} of the header has no name. Name it, remove it, "
                "or list the network's input columns in features."
            )
        taken = {name for _, name in columns.roles()} | set(columns.ignore)
        free = [name for name in self.names if name not in taken]
        saved = [name for name in free if is_saved_index(name)]
        return [name for name in free if name not in saved], saved

    def _summary(self) -> str:
        if len(self.names) == 1:
            return (
                f"Its only column is {self.names[0]!r}: separate the columns by commas, semicolons "
                "or tabs."
            )
        return f"Its columns: {quoted_list(self.names)}."
