"""What a network takes and gives on rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from fairfix.data.table import read_table
from fairfix.errors import CheckpointError, UsageError
from fairfix.models.checkpoint import Checkpoint
from fairfix.models.module_shapes import module_shapes
from fairfix.models.network_output import named_outputs
from fairfix.models.prunable_units import find_prunable_layers
from fairfix.models.run_network import make_scorer
from fairfix.thresholds.rule_file import find_rule
from fairfix.workflows.given_values import check_given
from fairfix.workflows.input_width import check_width, match_rows
from fairfix.workflows.model_options import ModelOptions
from fairfix.workflows.named_columns import name_features, network_inputs, resolve_columns
from fairfix.workflows.output_reading import read_as, reading_to_show

_ROWS = 64


def inspect_on_rows(
    checkpoint: Checkpoint, data: Path, given: Mapping[str, Any], options: ModelOptions
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Run the network on the first rows of a table, whose labels and groups are not read.

    Args:
        checkpoint: with a network.
        data: the table.
        given: fields of ``Columns`` that the user set; the rule's contract has the others.

    Returns:
        A document of ``rows``, ``inputs``, ``modules``, ``prunable_units``, ``outputs`` and
        ``output``, the kind of the one with the scores, and ``classes``, the label values of a
        network with more than two outputs; and notes for the user. Shapes begin with the number of
        rows.

    Raises:
        FairfixError: as ``load``.
    """
    if given.get("score") is not None:
        raise UsageError("A network is shown on its inputs, not on scores; leave out --score.")
    found = find_rule(checkpoint)
    check_given(given, options, found, measures=True)
    columns = replace(
        resolve_columns(given, found.rule), privileged=None, reference=None, score=None
    )
    options = read_as(options, found, columns)
    columns, spec = network_inputs(checkpoint, columns, data, options, found.contract)
    columns, notes = name_features(columns, data, spec, found.contract, checkpoint)
    read = partial(
        read_table,
        data,
        columns,
        spec=spec,
        input_options=options.files,
        require_labels=False,
        require_groups=False,
        read_labels=False,
        read_groups=False,
    )
    table = read()
    assert table.inputs is not None
    try:
        checkpoint = match_rows(checkpoint, table, options, read)
        inputs = table.inputs.to(options.torch_device())
        scorer = make_scorer(checkpoint, inputs, reading_to_show(checkpoint, options, found.rule))
    except CheckpointError:
        check_width(checkpoint, table, read)
        raise
    batch = inputs.batch(next(iter(inputs.divided(_ROWS)))).two_or_more()
    raw, modules = module_shapes(scorer.network, scorer.cast(batch))
    try:
        layers = find_prunable_layers(scorer, batch)
        units = {layer.name.removeprefix("network."): layer.units for layer in layers}
    except CheckpointError:
        units = {}
    outputs = named_outputs(raw)
    scores = next(iter(outputs)) if scorer.output_name is None else scorer.output_name
    return {
        "rows": len(batch),
        "inputs": [
            _tensor(name, values) for name, values in zip(inputs.keys, batch.tensors, strict=True)
        ],
        "modules": [
            {
                "name": each.name,
                "type": each.kind,
                "shapes": [list(shape) for shape in each.outputs],
                "parameters": each.parameters,
            }
            for each in modules
        ],
        "prunable_units": units,
        "outputs": [
            {**_tensor(name, values), "scores": name == scores} for name, values in outputs.items()
        ],
        "output": str(scorer.output),
        "classes": None if scorer.classes is None else list(scorer.classes.names),
    }, (*notes, *table.notes)


def _tensor(name: str, values: Tensor) -> dict[str, Any]:
    dtype = str(values.dtype).removeprefix("torch.")
    return {"name": name, "dtype": dtype, "shape": list(values.shape)}
