"""The methods: one file each, found by folder. Their files are read here, not imported.

A method is one function ``name(problem, objective, *, seed, <options with defaults>) -> Result`` in
a module of the same name. Its module docstring says what it does, from which paper, and when not to
use it; the first line is its help text, the ``Args:`` of the function are the help of its options.
Reading the source keeps ``fairfix --help`` free of heavy imports, and nothing can go stale.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fairfix._utils.text import did_you_mean
from fairfix.errors import UsageError

if TYPE_CHECKING:
    from fairfix.methods._result import Result

_TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool}
_FIXED = {"problem", "objective", "seed"}


@dataclass(frozen=True)
class Option:
    """An option of a method: its type, its default, its allowed values if they are few."""

    name: str
    type: type
    default: Any
    choices: tuple[str, ...]
    help: str

    def check(self, value: Any) -> Any:
        """The value as the method takes it.

        Raises:
            UsageError: for another type or a value that is not among the choices.
        """
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        right = isinstance(value, self.type) and isinstance(value, bool) == (self.type is bool)
        if not right or (self.choices and value not in self.choices):
            wanted = " or ".join(self.choices) if self.choices else f"of type {self.type.__name__}"
            raise UsageError(f"{self.name} must be {wanted}, not {value!r}.")
        return value


@dataclass(frozen=True)
class Method:
    """A method as its source describes it.

    ``summary`` is the first paragraph of its docstring, ``facts`` the last one, by key.
    """

    name: str
    summary: str
    description: str
    options: tuple[Option, ...]
    facts: dict[str, str]

    def run(self) -> Callable[..., Result]:
        """The function itself; importing it imports torch."""
        function = getattr(importlib.import_module(f"{__name__}.{self.name}"), self.name)
        return cast("Callable[..., Result]", function)

    def checked(self, options: dict[str, Any]) -> dict[str, Any]:
        """All options with their values, defaults filled in.

        Raises:
            UsageError: for an option the method does not have, or a wrong value.
        """
        known = {option.name: option for option in self.options}
        for name in options:
            if name not in known:
                raise UsageError(f"{self.name} has no option {name!r}{did_you_mean(name, known)}")
        return {
            name: option.check(options[name]) if name in options else option.default
            for name, option in known.items()
        }


@cache
def names() -> tuple[str, ...]:
    """All methods, in alphabetical order."""
    folder = Path(__file__).parent
    return tuple(sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_")))


@cache
def get(name: str) -> Method:
    """A method by its name.

    Raises:
        UsageError: when there is none of that name.
    """
    if name not in names():
        raise UsageError(
            f"There is no method {name!r}{did_you_mean(name, names())} There are: "
            f"{', '.join(names())}."
        )
    module = ast.parse((Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8"))
    (function,) = (
        node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name
    )
    text = ast.get_docstring(module) or ""
    helps = _argument_help(ast.get_docstring(function) or "")
    arguments = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    options = tuple(
        _option(argument, default, helps)
        for argument, default in arguments
        if argument.arg not in _FIXED
    )
    *said, listed = text.replace("``", "").split("\n\n")
    paragraphs = [" ".join(part.split()) for part in said]
    facts = dict(line.removesuffix(".").split(": ", 1) for line in listed.splitlines())
    return Method(name, paragraphs[0], "\n\n".join(paragraphs), options, facts)


def _option(argument: ast.arg, default: ast.expr | None, helps: dict[str, str]) -> Option:
    assert argument.annotation is not None
    assert default is not None
    annotation = ast.unparse(argument.annotation)
    choices: tuple[str, ...] = ()
    if annotation.startswith("Literal["):
        values = ast.literal_eval(annotation.removeprefix("Literal"))
        choices = tuple(values)
        annotation = "str"
    return Option(
        argument.arg,
        _TYPES[annotation],
        ast.literal_eval(default),
        choices,
        helps[argument.arg],
    )


def _argument_help(docstring: str) -> dict[str, str]:
    """The entries of the ``Args:`` section, each on one line."""
    section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)+)", docstring, re.MULTILINE)
    helps: dict[str, str] = {}
    for line in (section.group(1) if section else "").splitlines():
        entry = re.match(r"^ {4}(\w+): (.*)$", line)
        if entry:
            name = entry.group(1)
            helps[name] = entry.group(2)
        elif line.strip():
            helps[name] += " " + line.strip()
    return helps


def table() -> str:
    """All methods as a Markdown table, from their own words."""
    facts = {name: get(name).facts for name in names()}
    header = ["command", *(key.lower() for key in facts["identity"])]
    rows = [[f"`{name}`", *of.values()] for name, of in facts.items()]
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
