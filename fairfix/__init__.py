"""fairfix: debias an already trained PyTorch classifier, and say honestly how far it worked.

>>> import fairfix
>>> case = fairfix.load("model.pt", "val.csv", label="income", group="sex")
>>> outcome = fairfix.debias(case, method="prune", metric="spd", budget=0.05)
>>> outcome.save("model.debiased.pt")
"""

from __future__ import annotations

from typing import Any

from fairfix.version import __version__

_LAZY = {
    "load": "fairfix.api",
    "debias": "fairfix.api",
    "predict": "fairfix.api",
    "audit": "fairfix.api",
}

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    """Import torch and the rest only when something that needs them is asked for."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'fairfix' has no attribute {name!r}")
