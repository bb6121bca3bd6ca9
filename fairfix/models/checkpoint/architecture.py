"""Build a network from the user's code: ``file.py:Class`` or ``package.module:callable``."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from fairfix._utils.text import error_summary, shorten
from fairfix.errors import CheckpointError, UsageError
from fairfix.models.checkpoint.configuration import NO_ARGUMENTS, StoredArguments


def make_module(
    arch: str, arch_args: Mapping[str, Any], stored: StoredArguments = NO_ARGUMENTS
) -> tuple[nn.Module, dict[str, Any]]:
    """Call the class or function that ``arch`` names; torch's global random state is unchanged.

    Args:
        arch: ``file.py:Class`` or ``package.module:callable``.
        arch_args: keyword arguments.
        stored: keyword arguments in or beside the checkpoint, used where the signature takes them
            and ``arch_args`` does not have them.

    Returns:
        The network, and the stored arguments that were used.

    Raises:
        UsageError: if ``arch`` is not understood, or the file or name does not exist.
        CheckpointError: if the code fails or returns anything but an nn.Module.
    """
    source, colon, name = arch.rpartition(":")
    if not (source and colon and name):
        raise UsageError(
            f"--arch {arch} is not understood. Write file.py:Class, package.module:callable or "
            "mlp:ACTIVATION."
        )
    is_file = source.endswith(".py")
    with importable_from(Path(source).resolve().parent if is_file else Path.cwd()):
        code = _import_file(Path(source)) if is_file else _import(source)
        make = _find_callable(code, name, arch)
        used = {k: v for k, v in _accepted(make, stored).items() if k not in arch_args}
        try:
            with torch.random.fork_rng(devices=[]):
                module = make(**used, **arch_args)
        except Exception as error:
            given = f" (with {arguments_text(used)} from {stored.place})" if used else ""
            raise CheckpointError(
                f"--arch {arch} failed{given}: {error_summary(error)}. Pass arguments with "
                "--arch-args."
            ) from error
    if not isinstance(module, nn.Module):
        raise CheckpointError(f"--arch {arch} returned {type(module).__name__}, not an nn.Module.")
    return module, used


def arguments_text(arguments: Mapping[str, Any]) -> str:
    """Return keyword arguments as text for a message."""
    return ", ".join(f"{name}={shorten(repr(value))}" for name, value in arguments.items())


def _accepted(make: Callable[..., object], stored: StoredArguments) -> dict[str, Any]:
    """Return the arguments that a signature takes: by name, or any if it has ``**kwargs``."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # some callables in C have none
        return {}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = {parameter.name for parameter in parameters if parameter.kind in named}
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    by_name = {name: value for name, value in stored.by_name.items() if name in names}
    values = {k: value for k, value in stored.values.items() if takes_any or k in names}
    return {**by_name, **values}


@contextmanager
def importable_from(folder: Path) -> Iterator[None]:
    """Allow imports from ``folder`` inside the ``with`` block, as Python does for a script."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise CheckpointError(
            f"--arch: importing {name} failed: {error_summary(error)}."
        ) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"--arch: {path} does not exist.")
    name = f"fairfix_arch_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickle look up the module of a class
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise CheckpointError(f"--arch: {path} raised {error_summary(error)}.") from error
    return module


def _find_callable(code: ModuleType, name: str, arch: str) -> Callable[..., object]:
    found: object = code
    for part in name.split("."):
        found = getattr(found, part, None)
    if callable(found):
        return found
    classes = sorted(
        key
        for key, value in vars(code).items()
        if isinstance(value, type) and issubclass(value, nn.Module)
    )
    raise UsageError(
        f"--arch {arch}: there is no {name} to call. Its networks: {', '.join(classes) or 'none'}."
    )
