"""Versions of fairfix, Python and the packages it uses, for bug reports."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from fairfix._utils.version import __version__

PACKAGES = (
    "torch",
    "numpy",
    "pandas",
    "pyarrow",
    "safetensors",
    "scikit-learn",
    "scipy",
    "aif360",
    "pydantic",
    "typer",
    "rich",
    "jinja2",
    "joblib",
    "distributed",
    "pooch",
)


def show_versions() -> dict[str, str | None]:
    """Return the version of each package by name; None where it is not installed."""
    return {
        "fairfix": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
