"""``fairfix doctor``: shows versions, the build of torch, devices and extras."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from fairfix._utils.show_versions import show_versions
from fairfix.cli.console import build_table, print_document, print_output

EXTRAS: dict[str, tuple[str, ...]] = {
    "bench": ("joblib", "pooch"),
    "dask": ("distributed",),
    "vision": ("Pillow",),
    "text": ("transformers", "tokenizers"),
    "sklearn": ("skops",),
    "torchmetrics": ("torchmetrics",),
    "lightning": ("lightning",),
    "huggingface": ("transformers", "accelerate", "huggingface_hub"),
    "mlflow": ("mlflow",),
    "notebook": ("jupyterlab", "matplotlib"),
}
"""The packages of each extra, as ``pyproject.toml`` lists them."""


def run(*, json: bool, quiet: bool) -> None:
    """Print what is installed; packages other than torch are not imported."""
    document = _document()
    if json:
        print_document(document)
        return
    if quiet:
        return
    rows = [[name, found or "not installed"] for name, found in document["versions"].items()]
    rows += [[f"torch {name}", _words(value)] for name, value in document["torch"].items()]
    extras = [
        [f"[{name}]", "yes" if each["installed"] else f"pip install 'fairfix[{name}]'"]
        for name, each in document["extras"].items()
    ]
    print_output(
        build_table("Versions", ["what", "found"], rows, numbers=False),
        build_table("Extras", ["extra", "installed"], extras, numbers=False),
    )


def _document() -> dict[str, Any]:
    return {
        "executable": sys.executable,
        "versions": show_versions(),
        "torch": _torch(),
        "extras": {
            name: {
                "installed": all(_version(package) is not None for package in packages),
                "packages": {package: _version(package) for package in packages},
            }
            for name, packages in EXTRAS.items()
        },
    }


def _torch() -> dict[str, Any]:
    """Return the build of torch and the devices; nulls if it is not installed."""
    if find_spec("torch") is None:
        return {"build": None, "devices": [], "threads": None, "cores": os.cpu_count()}
    import torch

    build = torch.version.cuda and f"CUDA {torch.version.cuda}"
    build = build or (torch.version.hip and f"ROCm {torch.version.hip}") or "CPU"
    devices = ["cpu"]
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        devices += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(count)]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return {
        "build": build,
        "devices": devices,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
