"""A JSON value that knows its place in the file, so that every complaint names it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from fairfix.data.table.cell_values import listed, written
from fairfix.errors import UsageError


@dataclass(frozen=True)
class Node:
    """One value of the file ``file``; ``place`` is its path, such as ``features[2].scale``.

    Every method raises ``UsageError`` when the value is not what it asks for.
    """

    file: str
    place: str
    value: Any

    def error(self, problem: str) -> UsageError:
        """Return the error that says what is wrong with this value."""
        return UsageError(f"{self.file}, {self.place or 'top level'}: {problem}")

    def fields(self, *required: str, optional: tuple[str, ...] = ()) -> dict[str, Node]:
        """Return the fields of an object: all of the required, none but those named."""
        if not isinstance(self.value, dict):
            raise self._expected("an object")
        known = (*required, *optional)
        for key in self.value:
            if key not in known:
                near = get_close_matches(key, known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {listed(known)}."
                raise self.error(f"unknown key {key!r}; {hint}")
        for key in required:
            if key not in self.value:
                raise self.error(f"the key {key!r} is missing.")
        return {key: self._inside(f".{key}", value) for key, value in self.value.items()}

    def items(self, *, some: bool = True) -> list[Node]:
        """Return the items of a list, which only without ``some`` may be empty."""
        if not isinstance(self.value, list) or (some and not self.value):
            raise self._expected("a list that is not empty" if some else "a list")
        return [self._inside(f"[{i}]", value) for i, value in enumerate(self.value)]

    def entries(self) -> Iterator[tuple[str, Node]]:
        """Yield key and value of an object that is not empty, whatever its keys."""
        if not isinstance(self.value, dict) or not self.value:
            raise self._expected("an object that is not empty")
        for key, value in self.value.items():
            yield key, self._inside(f"[{key!r}]", value)

    def text(self) -> str:
        """Return a string."""
        if not isinstance(self.value, str):
            raise self._expected("a string")
        return self.value

    def category(self) -> str:
        """Return a string, number or boolean as a table would write it."""
        if not isinstance(self.value, str | int | float):
            raise self._expected("a string or a number")
        return written(self.value)

    def number(self) -> float:
        """Return a finite number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self._expected("a number")
        if not math.isfinite(self.value):
            raise self._expected("a finite number")
        return float(self.value)

    def positive(self) -> float:
        """Return a finite number above 0."""
        number = self.number()
        if number <= 0:
            raise self._expected("a number above 0")
        return number

    def flag(self) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            raise self._expected("true or false")
        return self.value

    def choice(self, *choices: str) -> str:
        """Return one of the strings ``choices``."""
        if self.value not in choices:
            raise self._expected(f"one of {listed(choices)}")
        return str(self.value)

    def _inside(self, step: str, value: Any) -> Node:
        return Node(self.file, (self.place + step).removeprefix("."), value)

    def _expected(self, wanted: str) -> UsageError:
        found = repr(self.value)
        shown = found if len(found) <= 40 else f"{found[:37]}..."
        return self.error(f"{shown} where {wanted} is expected.")
