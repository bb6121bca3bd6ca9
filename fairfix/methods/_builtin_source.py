"""Descriptions of the built-in methods, read from their source.

A built-in method is the function ``name`` in the module ``name`` of this package. The docstring of
the module is its description, that of the function has the help of its options. Reading the source
keeps ``fairfix --help`` from importing torch.
"""

from __future__ import annotations

import ast
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from fairfix._utils.constraints import Range
from fairfix.methods._description import (
    FIXED_PARAMETERS,
    Method,
    MethodFunction,
    Option,
    parse_argument_help,
    parse_docstring,
)

PACKAGE = "fairfix.methods"
_FOLDER = Path(__file__).parent
_TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool}


@cache
def builtin_names() -> tuple[str, ...]:
    """Return the names of the methods that are part of fairfix, in alphabetical order."""
    return tuple(sorted(p.stem for p in _FOLDER.glob("*.py") if not p.stem.startswith("_")))


@cache
def read_builtin(name: str) -> Method:
    """Return the description of a built-in method without importing it."""
    module = ast.parse((_FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    (function,) = (
        node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name
    )
    help_texts = parse_argument_help(ast.get_docstring(function) or "")
    parameters = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    options = tuple(
        _option(parameter, default, help_texts[parameter.arg])
        for parameter, default in parameters
        if parameter.arg not in FIXED_PARAMETERS
    )
    paragraphs, facts = parse_docstring(ast.get_docstring(module) or "")
    return Method(
        name=name,
        summary=paragraphs[0],
        description="\n\n".join(paragraphs),
        options=options,
        facts=facts,
        load=partial(_load, name),
    )


def _load(name: str) -> MethodFunction:
    return cast("MethodFunction", getattr(import_module(f"{PACKAGE}.{name}"), name))


def _option(parameter: ast.arg, default: ast.expr | None, help_text: str) -> Option:
    annotation: Any = parameter.annotation
    assert annotation is not None
    assert default is not None
    allowed, choices = None, ()
    if _is_generic(annotation, "Annotated"):
        annotation, constraint = annotation.slice.elts
        allowed = Range(
            *map(ast.literal_eval, constraint.args),
            **{each.arg: ast.literal_eval(each.value) for each in constraint.keywords},
        )
    if _is_generic(annotation, "Literal"):
        choices = tuple(ast.literal_eval(annotation.slice))
    kind = str if choices else _TYPES[annotation.id]
    return Option(parameter.arg, kind, ast.literal_eval(default), choices, help_text, allowed)


def _is_generic(annotation: ast.expr, name: str) -> bool:
    return isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == name
