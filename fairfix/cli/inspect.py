"""``fairfix inspect``: what a checkpoint is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from fairfix import checkpoint as checkpoints
from fairfix.case import input_width
from fairfix.checkpoint import Checkpoint
from fairfix.cli.talk import emit, say, show, table
from fairfix.cli.values import Values
from fairfix.errors import CheckpointError
from fairfix.rulefile import find_rule
from fairfix.scorer import detect_output
from fairfix.units import find_units


def run(*, model: str, json: bool, quiet: bool, **given: Any) -> None:
    values = Values.collect("inspect", given, Path(model))
    options = values.model_options()
    checkpoint = checkpoints.read(
        Path(model), arch=options.arch, arch_args=options.arch_args, trust=options.trust
    )
    say(checkpoint.notes, quiet=quiet)
    found = _document(checkpoint)
    if json:
        emit(found)
    elif not quiet:
        facts = [[key, _shown(value)] for key, value in found.items() if key != "tensors"]
        layers = [[t["name"], t["shape"], t["dtype"]] for t in found["tensors"]]
        show(
            table(checkpoint.path.name, ["what", "value"], facts, numbers=False),
            table("Tensors", ["name", "shape", "type"], layers, numbers=False),
        )


def _document(checkpoint: Checkpoint) -> dict[str, Any]:
    tensors = checkpoint.tensors
    known = checkpoint.module is not None  # else the tensors' names, and so their hash, are open
    rule = find_rule(checkpoint)[0] if known else None
    return {
        "file": checkpoint.path.name,
        "format": checkpoint.format,
        "title": checkpoint.title,
        "weights_sha256": checkpoints.weights_sha256(tensors) if known else None,
        "parameters": sum(t.numel() for t in tensors.values() if t.is_floating_point()),
        "architecture_known": known,
        **_network(checkpoint),
        "rule": rule.to_json() if rule is not None else None,
        "metadata": dict(checkpoint.metadata),
        "tensors": [
            {"name": name, "shape": list(t.shape), "dtype": str(t.dtype).removeprefix("torch.")}
            for name, t in tensors.items()
        ],
    }


def _network(checkpoint: Checkpoint) -> dict[str, Any]:
    """Inputs, output and prunable units, as far as a network that runs on a flat table shows."""
    module = checkpoint.module
    width = input_width(checkpoint) if module is not None else None
    if module is None or width is None:
        return {"inputs": None, "output": None, "prunable_units": None}
    rows = torch.randn(64, width, generator=torch.Generator().manual_seed(0))
    try:
        units = {layer.name: layer.units for layer in find_units(module, rows[:2])}
    except CheckpointError:
        units = {}
    return {
        "inputs": width,
        "output": f"{detect_output(module, rows)} (by its values on normal random rows)",
        "prunable_units": units,
    }


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}: {v}" for k, v in value.items()) or "none"
    return "unknown" if value is None else str(value)
