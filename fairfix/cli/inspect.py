"""``fairfix inspect``: shows format, layers, inputs and output of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.table import Table

from fairfix._utils.text import quoted_list
from fairfix.cli.console import build_table, print_document, print_messages, print_output
from fairfix.cli.option_values import OptionValues
from fairfix.cli.options.inputs import table_options
from fairfix.cli.options.network_inputs import file_options, input_options
from fairfix.errors import CheckpointError, FairfixError, UsageError
from fairfix.models import checkpoint as checkpoints
from fairfix.models.checkpoint import Checkpoint
from fairfix.models.input_width import accepted_widths
from fairfix.models.prunable_units import find_prunable_layers
from fairfix.models.run_network import make_scorer
from fairfix.models.unit_tracing import HEADS
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.rule_file import find_rule

if TYPE_CHECKING:
    from fairfix.workflows.model_options import ModelOptions

_TITLES = {
    "format": "format",
    "title": "format in words",
    "weights_sha256": "hash of the weights",
    "parameters": "parameters",
    "inputs": "inputs",
    "output": "output",
    "prunable_units": "prunable units",
    "rule": "decision rule",
    "metadata": "metadata",
}


def run(*, model: str, data: Path | None, json: bool, quiet: bool, **given: Any) -> None:
    values = OptionValues.collect("inspect", given, data or Path(model))
    options = values.model_options()
    on_rows: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    if data is None:
        _refuse_table_options(values)
        checkpoint = options.read_checkpoint(model)
    else:
        from fairfix.workflows.case import read_model
        from fairfix.workflows.inspected import inspect_on_rows

        options = options.completed(model)
        checkpoint = read_model(model, options)
        on_rows, notes = inspect_on_rows(checkpoint, data, values.column_roles(), options)
    print_messages((*values.file_notes, *checkpoint.notes, *notes), quiet=quiet)
    document = _document(checkpoint, options, on_rows)
    if json:
        print_document(document)
    elif not quiet:
        facts = [[title, _cell_text(key, document)] for key, title in _TITLES.items()]
        layers = [[t["name"], t["shape"], t["dtype"]] for t in document["tensors"]]
        print_output(
            build_table(checkpoint.name, ["what", "value"], facts, numbers=False),
            build_table("Tensors", ["name", "shape", "type"], layers, numbers=False),
            *([] if on_rows is None else _tables_of_rows(on_rows)),
        )


def _refuse_table_options(values: OptionValues) -> None:
    """Raise UsageError if an option about the table is given."""
    groups = (table_options, input_options, file_options)
    names = (name for group in groups for name in signature(group).parameters)
    useless = [name for name in names if name in values.given]
    if useless:
        option = f"--{useless[0].replace('_', '-')}"
        raise UsageError(
            f"{option} has an effect only with a table; name the table after the model, or remove "
            f"{option}."
        )


def _tables_of_rows(found: dict[str, Any]) -> Iterator[Table]:
    """Yield tables of the inputs, modules and outputs of the rows that were run."""
    inputs = [[each["name"], each["dtype"], each["shape"]] for each in found["inputs"]]
    yield build_table("Inputs", ["name", "type", "shape"], inputs, numbers=False)
    modules = [
        [
            each["name"],
            each["type"],
            ", ".join(map(str, each["shapes"])),
            each["parameters"],
            _units_text(each["name"], found["prunable_units"]),
        ]
        for each in found["modules"]
    ]
    names = ["name", "type", "shape of the output", "parameters", "prunable units"]
    yield build_table("Modules", names, modules, numbers=False)
    outputs = [
        [each["name"], each["dtype"], each["shape"], found["output"] if each["scores"] else ""]
        for each in found["outputs"]
    ]
    yield build_table("Outputs", ["name", "type", "shape", "read as"], outputs, numbers=False)


def _units_text(module: str, units: dict[str, int]) -> str:
    """Return the prunable units of a module, and its attention heads."""
    heads = units.get(f"{module}.{HEADS}")
    texts = [str(units[module])] if module in units else []
    return ", ".join(texts if heads is None else [*texts, f"{heads} heads"])


def _document(
    checkpoint: Checkpoint, options: ModelOptions, on_rows: dict[str, Any] | None
) -> dict[str, Any]:
    tensors = checkpoint.tensors
    known = checkpoint.module is not None  # else tensor names, and so the hash, are not final
    rule = find_rule(checkpoint).rule if known else None
    document: dict[str, Any] = {
        "file": checkpoint.name,
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
    reasons = {"rule": "none in the file or next to it"}
    if checkpoint.module is None:
        reason = "the file holds no architecture; name it with --arch"
        reasons = dict.fromkeys((key for key, value in document.items() if value is None), reason)
    elif on_rows is not None:
        document |= {
            "inputs": {each["name"]: each["shape"][1:] for each in on_rows["inputs"]},
            "output": f"{on_rows['output']}{_each(on_rows['classes'])} (on rows of the table)",
            "prunable_units": on_rows["prunable_units"],
        }
    else:
        network, reason = _network(checkpoint, options, rule)
        document |= network
        reasons |= dict.fromkeys(("inputs", "output", "prunable_units"), reason)
    return {
        **document,
        "unknown": {key: reason for key, reason in reasons.items() if document[key] is None},
        "tensors": [
            {"name": name, "shape": list(t.shape), "dtype": str(t.dtype).removeprefix("torch.")}
            for name, t in tensors.items()
        ],
        **({} if on_rows is None else {"on_rows": on_rows}),
    }


def _each(classes: Sequence[str] | None) -> str:
    return "" if classes is None else f" of each of {quoted_list(classes)}"


def _network(
    checkpoint: Checkpoint, options: ModelOptions, rule: DecisionRule | None
) -> tuple[dict[str, Any], str]:
    """Return inputs, output and prunable units as found on rows of zeros, and why any is unknown.

    Nothing in a file tells the number of inputs, so the network runs on rows of several widths.
    """
    from fairfix.workflows.output_reading import reading_to_show

    widths = accepted_widths(checkpoint)
    if not widths:
        return {}, "the network does not run on rows of numbers; a table shows how it runs"
    if len(widths) > 1:
        return {}, f"the network runs on rows of {widths[0]}, of {widths[1]} and more numbers"
    rows = torch.zeros(2, widths[0])
    try:
        scorer = make_scorer(checkpoint, rows, reading_to_show(checkpoint, options, rule))
    except FairfixError as error:
        message = str(error)
        return {"inputs": widths[0]}, message[0].lower() + message[1:].removesuffix(".")
    try:
        layers = find_prunable_layers(scorer, rows)
        units = {layer.name.removeprefix("network."): layer.units for layer in layers}
    except CheckpointError:
        units = {}
    name = "" if scorer.output_name is None else f" {scorer.output_name!r}"
    classes = _each(None if scorer.classes is None else scorer.classes.names)
    how = "from the rule" if rule is not None else "from its last operation"
    how = how if options.output_kind == "auto" else "given"
    return {
        "inputs": widths[0],
        "output": f"{scorer.output}{name}{classes} ({how})",
        "prunable_units": units,
    }, ""


def _cell_text(key: str, document: dict[str, Any]) -> str:
    value = document[key]
    if isinstance(value, dict):
        return ", ".join(f"{k}: {v}" for k, v in value.items()) or "none"
    if value is None:
        reason = document["unknown"][key]
        known = key == "rule" and document["architecture_known"]
        return reason if known else f"unknown: {reason}"
    return str(value)
