"""Check that a network and a table have the same number of features."""

from __future__ import annotations

from collections.abc import Callable

from fairfix.data.table import Table
from fairfix.models.checkpoint import Checkpoint
from fairfix.models.input_width import accepted_widths
from fairfix.workflows.model_options import ModelOptions


def match_rows(
    checkpoint: Checkpoint, table: Table, options: ModelOptions, read_again: Callable[..., Table]
) -> Checkpoint:
    """Return the checkpoint for rows of the table; a script may have to be read again for them.

    Args:
        read_again: reads the table with a number ``expected_features``, which fails.

    Raises:
        TableError: if the program of the checkpoint records another number of features.
        CheckpointError: if it cannot be read again.
    """
    assert table.inputs is not None
    width = None if table.features is None else table.features.shape[1]
    if width is not None and checkpoint.width not in (None, width):
        read_again(expected_features=checkpoint.width)
    return options.read_for_rows(checkpoint, table.inputs)


def check_width(checkpoint: Checkpoint, table: Table, read_again: Callable[..., Table]) -> None:
    """Raise TableError if the network runs on one other number of features only.

    Args:
        read_again: as ``match_rows`` takes it.
    """
    if table.features is None:
        return
    widths = accepted_widths(checkpoint)
    if len(widths) == 1 and table.features.shape[1] not in widths:
        read_again(expected_features=widths[0])
