"""``fairfix inspect``: shows format, layers, inputs and output of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from fairfix.cli.console import build_table, print_json, print_messages, print_output
from fairfix.cli.option_values import OptionValues
from fairfix.errors import CheckpointError
from fairfix.models import checkpoint as checkpoints
from fairfix.models.checkpoint import Checkpoint
from fairfix.models.prunable_units import find_prunable_layers
from fairfix.models.scorer import detect_output
from fairfix.thresholds.rule_file import find_rule
from fairfix.workflows.case import input_width


def run(*, model: str, json: bool, quiet: bool, **given: Any) -> None:
    values = OptionValues.collect("inspect", given, Path(model))
    options = values.model_options()
    checkpoint = checkpoints.read(
        Path(model), arch=options.arch, arch_args=options.arch_args, trust=options.trust
    )
    print_messages(checkpoint.notes, quiet=quiet)
    found = _document(checkpoint)
    if json:
        print_json(found)
    elif not quiet:
        facts = [[key, _shown(key, found)] for key in found if key not in ("unknown", "tensors")]
        layers = [[t["name"], t["shape"], t["dtype"]] for t in found["tensors"]]
        print_output(
            build_table(checkpoint.path.name, ["what", "value"], facts, numbers=False),
            build_table("Tensors", ["name", "shape", "type"], layers, numbers=False),
        )


def _document(checkpoint: Checkpoint) -> dict[str, Any]:
    tensors = checkpoint.tensors
    known = checkpoint.module is not None  # else tensor names, and so the hash, are not final
    rule = find_rule(checkpoint)[0] if known else None
    found: dict[str, Any] = {
        "file": checkpoint.path.name,
        "format": checkpoint.format,
        "title": checkpoint.title,
        "weights_sha256": checkpoints.weights_sha256(tensors) if known else None,
        "parameters": sum(t.numel() for t in tensors.values() if t.is_floating_point()),
        "architecture_known": known,
        "inputs": None,
        "output": None,
        "prunable_units": None,
        "rule": rule.to_json() if rule is not None else None,
        "metadata": dict(checkpoint.metadata),
    }
    reasons = {"rule": "none in the file or beside it"}
    if checkpoint.module is None:
        why = "the file holds no architecture; name it with --arch"
        reasons = dict.fromkeys((key for key, value in found.items() if value is None), why)
    else:
        network, why = _network(checkpoint, checkpoint.module)
        found |= network
        reasons |= dict.fromkeys(("inputs", "output", "prunable_units"), why)
    return {
        **found,
        "unknown": {key: why for key, why in reasons.items() if found[key] is None},
        "tensors": [
            {"name": name, "shape": list(t.shape), "dtype": str(t.dtype).removeprefix("torch.")}
            for name, t in tensors.items()
        ],
    }


def _network(checkpoint: Checkpoint, module: nn.Module) -> tuple[dict[str, Any], str]:
    """Return inputs, output and prunable units as found on random rows, and why any is unknown."""
    width = input_width(checkpoint)
    if width is None:
        return {}, "the first layer is not linear, so its weight does not give the number of inputs"
    rows = torch.randn(64, width, generator=torch.Generator().manual_seed(0))
    try:
        output = detect_output(module, rows)
    except CheckpointError as error:
        said = str(error)
        return {"inputs": width}, said[0].lower() + said[1:].removesuffix(".")
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        said = str(error).partition("\n")[0]
        return {}, f"it does not run on rows of {width} numbers ({said})"
    try:
        units = {layer.name: layer.units for layer in find_prunable_layers(module, rows[:2])}
    except CheckpointError:
        units = {}
    return {
        "inputs": width,
        "output": f"{output} (by its values on normal random rows)",
        "prunable_units": units,
    }, ""


def _shown(key: str, found: dict[str, Any]) -> str:
    value = found[key]
    if isinstance(value, dict):
        return ", ".join(f"{k}: {v}" for k, v in value.items()) or "none"
    if value is None:
        why = found["unknown"][key]
        return why if key == "rule" and found["architecture_known"] else f"unknown: {why}"
    return str(value)
