"""``--arch file.py:Class`` or ``package.module:callable``: the user's code for the network."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from fairfix.errors import CheckpointError, UsageError
from fairfix.models.checkpoint.base import reason


def make_module(arch: str, arch_args: Mapping[str, Any]) -> nn.Module:
    """Call what ``arch`` names with ``arch_args``. Torch's global random state is left as found.

    Raises UsageError for an ``arch`` that names nothing, CheckpointError when its code fails or
    makes something else than an nn.Module.
    """
    place, colon, name = arch.rpartition(":")
    if not (place and colon and name):
        raise UsageError(
            f"--arch {arch} is not understood. Write file.py:Class, package.module:callable or "
            "mlp:relu."
        )
    is_file = place.endswith(".py")
    with importable_from(Path(place).resolve().parent if is_file else Path.cwd()):
        code = _import_file(Path(place)) if is_file else _import(place)
        make = _attribute(code, name, arch)
        try:
            with torch.random.fork_rng(devices=[]):
                module = make(**arch_args)
        except Exception as error:
            raise CheckpointError(
                f"--arch {arch} failed: {reason(error)}. "
                "Its arguments can be given with --arch-args."
            ) from error
    if not isinstance(module, nn.Module):
        raise CheckpointError(f"--arch {arch} made a {type(module).__name__}, not an nn.Module.")
    return module


@contextmanager
def importable_from(folder: Path) -> Iterator[None]:
    """What lies in ``folder`` can be imported, as with ``python file.py`` and ``python -m``."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise CheckpointError(f"--arch: importing {name} failed: {reason(error)}.") from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"--arch: there is no file {path}.")
    name = f"fairfix_arch_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up here
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise CheckpointError(f"--arch: {path} raised {reason(error)}.") from error
    return module


def _attribute(code: ModuleType, name: str, arch: str) -> Callable[..., object]:
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
        f"--arch {arch}: there is no {name} to call. Classes there: {', '.join(classes) or 'none'}."
    )
