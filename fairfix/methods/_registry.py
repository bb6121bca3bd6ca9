"""The registry of methods: built-in ones, registered functions, and those of other packages.

Other packages offer methods by the entry-point group ``fairfix.methods``. Their names are read from
the metadata; a package is imported only when its method is described or run.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable
from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from fairfix._utils.text import did_you_mean
from fairfix.errors import UsageError
from fairfix.methods._builtin_source import PACKAGE, builtin_names, read_builtin
from fairfix.methods._description import Method, MethodFunction, method_table
from fairfix.methods._signature import describe_function

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "fairfix.methods"
RESERVED_NAMES = frozenset(
    {
        # commands and functions of fairfix
        *("audit", "auto", "bench", "data", "debias", "doctor", "export", "gate", "help", "init"),
        *("inspect", "load", "predict", "save", "validate"),
        # words of the bench command
        *("all", "attribution", "unmodified"),
    }
)
"""Names that outside methods cannot have, besides those of the built-in methods."""

F = TypeVar("F", bound=Callable[..., Any])

_registered: dict[str, Method] = {}


def register(function: F) -> F:
    """Add a method for this process; usable as a decorator.

    It then has a command, options, help and bench cells like a built-in method. Options come from
    the signature (int, float, str, bool, a Literal of strings, or Annotated with a ``Range``, each
    with a default); summary, help of the options and facts come from the docstring. Registering a
    function again, as when a notebook cell is run twice, replaces it.

    >>> from fairfix import methods
    >>> @methods.register
    ... def shift(problem, objective, *, seed, by: float = 0.1):
    ...     "Move today's threshold."
    ...     return methods.Result(methods.Policy.shared(problem.threshold + by))
    >>> methods.get("shift").summary
    "Move today's threshold."

    Args:
        function: ``f(problem, objective, *, seed, **options) -> Result``.

    Returns:
        The function.

    Raises:
        UsageError: if its name is taken, it lacks ``seed``, or an option lacks an annotation or a
            default.
    """
    method = describe_function(function, f"module {_module(function)}")
    _check_not_taken(method.name, function)
    _registered[method.name] = method
    return function


def names() -> tuple[str, ...]:
    """Return the names of all methods in alphabetical order, without importing any."""
    offered = set(_entry_points()) - RESERVED_NAMES
    return tuple(sorted({*builtin_names(), *_registered, *offered}))


def get(name: str) -> Method:
    """Return the description of a method; a method of another package is imported.

    Raises:
        UsageError: if there is no method of that name, or two, or if the package that offers it
            is broken.
    """
    points = _entry_points().get(name, ())
    if points and (name in RESERVED_NAMES or name in builtin_names()):
        raise UsageError(
            f"The name {name!r} is taken by fairfix itself, but {_offered_by(points)} offers a "
            "method of that name; uninstall the package, or have its method renamed."
        )
    if name in builtin_names():
        return read_builtin(name)
    found = [_registered[name]] if name in _registered else []
    found += map(_describe_entry_point, points)
    if not found:
        raise UsageError(
            f"Unknown method {name!r}{did_you_mean(name, names())} The methods: "
            f"{', '.join(names())}."
        )
    if len({method.load() for method in found}) > 1:
        raise UsageError(
            f"Two methods are named {name!r}, one of them in {_offered_by(points)}; uninstall the "
            "package, or have its method renamed."
        )
    return found[0]


def describe(method: str | MethodFunction) -> Method:
    """Return the description of a method given by name or as a function, registered or not.

    Raises:
        UsageError: see ``get`` and ``register``.
    """
    if isinstance(method, str):
        return get(method)
    name = getattr(method, "__name__", "")
    if getattr(method, "__module__", "") == f"{PACKAGE}.{name}" and name in builtin_names():
        return read_builtin(name)
    described = describe_function(method, f"module {_module(method)}")
    _check_not_taken(name, method)
    points = _entry_points().get(name, ())
    if points and get(name).load() is not method:
        raise UsageError(
            f"The name {name!r} is taken by a method of {_offered_by(points)}; give the function "
            f"of the module {_module(method)} another name."
        )
    return described


def provider(name: str) -> str:
    """Return where a method comes from, without importing it: "fairfix", "package x 1.0"."""
    if name in builtin_names():
        return "fairfix"
    if name in _registered:
        return f"module {_module(_registered[name].load())}"
    return _offered_by(_entry_points().get(name, ()))


def version(name: str) -> str:
    """Return what identifies the code of an outside method, without importing it.

    Empty for a built-in method, whose version is that of fairfix; package and version of a method
    of another package; a hash of the module of a registered function.
    """
    if name in builtin_names():
        return ""
    return _code_hash(_registered[name].load()) if name in _registered else provider(name)


def registered_functions() -> tuple[MethodFunction, ...]:
    """Return the registered functions, for another process to register as well."""
    return tuple(method.load() for method in _registered.values())


def table(of: Iterable[str] | None = None) -> str:
    """Return methods and their facts as a Markdown table.

    Args:
        of: names; all methods by default.
    """
    return method_table(get(name) for name in (names() if of is None else of))


def _check_not_taken(name: str, function: Any) -> None:
    """Raise ``UsageError`` if a different method or fairfix itself uses the name."""
    if name in RESERVED_NAMES or name in builtin_names():
        raise UsageError(
            f"The name {name!r} is taken by fairfix itself; give the function "
            f"(module {_module(function)}) another name."
        )
    other = _registered[name].load() if name in _registered else function
    if _identity(other) != _identity(function):
        raise UsageError(
            f"The name {name!r} is taken by a function of the module {_module(other)}; give the "
            f"one of the module {_module(function)} another name."
        )


def _identity(function: Any) -> tuple[str, str]:
    return _module(function), function.__qualname__


def _module(function: Any) -> str:
    return str(getattr(function, "__module__", None) or "__main__")


@cache
def _entry_points() -> dict[str, tuple[EntryPoint, ...]]:
    """Return the entry points of other packages by name; the packages are not imported."""
    from importlib.metadata import distributions

    points: dict[str, tuple[EntryPoint, ...]] = {}
    packages = set()
    for distribution in distributions():
        try:
            offered = distribution.entry_points.select(group=GROUP)
            package = distribution.name if offered else ""
        except Exception:  # malformed metadata of one package must not disable fairfix
            continue
        if offered and package not in packages:  # the first copy on the path counts
            packages.add(package)
            for point in offered:
                points[point.name] = (*points.get(point.name, ()), point)
    return points


def _distribution(point: EntryPoint) -> str:
    return f"package {point.dist.name} {point.dist.version}" if point.dist else "a package"


def _offered_by(points: Iterable[EntryPoint]) -> str:
    return " and ".join(map(_distribution, points))


def _describe_entry_point(point: EntryPoint) -> Method:
    """Import the function of an entry point and describe it.

    Raises:
        UsageError: if that fails, or if function and entry point differ in name.
    """
    package = _distribution(point)
    try:
        function = point.load()
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".: ")
        raise UsageError(
            f"The method {point.name!r} of {package} cannot be imported ({reason}); repair or "
            "uninstall the package."
        ) from error
    method = describe_function(function, package)
    if method.name != point.name:
        raise UsageError(
            f"The method {point.name!r} of {package} is a function named {method.name!r}; both "
            "must have the same name."
        )
    return method


def _code_hash(function: Any) -> str:
    """Return a hash of the source of the function's module, or of its bytecode without a file."""
    module = sys.modules.get(_module(function))
    try:
        code = inspect.getsource(module or function).encode()
    except (OSError, TypeError):
        assert isinstance(function, FunctionType)
        code = function.__code__.co_code + repr(function.__code__.co_consts).encode()
    return hashlib.sha256(code).hexdigest()[:16]
