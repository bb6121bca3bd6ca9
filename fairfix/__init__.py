"""fairfix: debias an already trained PyTorch classifier, and say honestly how far it worked.

>>> import fairfix
>>> case = fairfix.load("model.pt", "val.csv", label="income", group="sex")
>>> outcome = fairfix.debias(case, method="prune", metric="spd", budget=0.05)
>>> outcome.save("model.debiased.pt")
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from fairfix._utils.version import __version__

_API = ("load", "debias", "predict", "audit")

__all__ = ["__version__", *_API]


def __getattr__(name: str) -> Any:
    """Import torch and the rest only when something that needs them is asked for."""
    if name in _API:
        return getattr(import_module("fairfix.workflows.api"), name)
    raise AttributeError(f"module 'fairfix' has no attribute {name!r}")


class _Package(ModuleType):
    """Keeps ``fairfix.debias`` a function when Python puts the submodule of that name there."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _API:
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
