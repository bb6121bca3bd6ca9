"""Select the tensor of scores in what a network returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fairfix.errors import CheckpointError, UsageError

_MAX_LISTED = 8  # outputs in a message
_LOGITS = "logits"  # the scores in an output of Hugging Face's classifiers


def named_outputs(raw: Any) -> dict[str, Tensor]:
    """Return the tensors in a network's output by name, in order.

    The name is the key in a dictionary, the position in a tuple or list, both joined by a dot where
    they are nested, and empty for a single tensor. A single-entry tuple or list has no name. An
    object with the attribute ``logits`` counts as a dictionary of it.
    """
    while isinstance(raw, tuple | list) and len(raw) == 1:
        raw = raw[0]
    return dict(_flat(raw, ""))


def select_output(raw: Any, name: str | None) -> Tensor:
    """Return one tensor of a network's output.

    Args:
        raw: what the network returned.
        name: as in ``named_outputs``; None for the entry ``logits``, else for the only tensor.

    Raises:
        CheckpointError: if there is no tensor, or no name and several.
        UsageError: if no tensor has this name.
    """
    found = named_outputs(raw)
    if not found:
        raise CheckpointError(
            f"The network returns {type(raw).__name__}, not a tensor of scores; wrap it so that "
            "it returns a tensor of shape (N,), (N, 1) or (N, 2)."
        )
    if name is None and _LOGITS in found:
        return found[_LOGITS]
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name is None:
        raise CheckpointError(
            f"The network returns {len(found)} tensors ({', '.join(found)}); choose that of the "
            "scores with --output-name."
        )
    if name not in found:
        has = f"outputs {', '.join(found)}" if list(found) != [""] else "one output without a name"
        raise UsageError(f"The network has no output {name!r} for --output-name; it has {has}.")
    return found[name]


def find_output(
    raw: Any, rows: int, name: str | None, classes: int | None = None, labels: int | None = None
) -> str | None:
    """Return the name of the output that holds the scores; None for the only tensor.

    Args:
        raw: what the network returned.
        rows: number of rows that it got, at least 2.
        name: given by the user; it must exist.
        classes: the number of classes of a multi-class network.
        labels: the number of labels of a network with an output for each of several.

    Raises:
        CheckpointError: if no tensor has the shape of scores, or several have it.
        UsageError: if no tensor has the given name.
    """
    found, width = named_outputs(raw), classes or labels
    if name is not None or len(found) < 2 or _LOGITS in found:
        tensor = select_output(raw, name)
        if not holds_scores(tensor, rows, width):
            _refuse_outputs(tensor, rows, classes, labels)
            if not tensor.is_floating_point():
                raise CheckpointError(
                    f"The network returns {tensor.dtype}, so decisions and not scores; fairfix "
                    "debiases binary classifiers that return logits or probabilities."
                )
            raise CheckpointError(
                f"The network returns shape {tuple(tensor.shape)} for {rows} rows; fairfix "
                "debiases binary classifiers with output shape (N,), (N, 1) or (N, 2)."
            )
        return name if name is not None or _LOGITS not in found else _LOGITS
    usable = [key for key, tensor in found.items() if holds_scores(tensor, rows, width)]
    if len(usable) == 1:
        return usable[0]
    shapes = {key: tuple(found[key].shape) for key in usable or found}
    listed = ", ".join(f"{key} {shape}" for key, shape in list(shapes.items())[:_MAX_LISTED])
    listed += f" and {len(shapes) - _MAX_LISTED} more" if len(shapes) > _MAX_LISTED else ""
    if usable:
        raise CheckpointError(
            f"Several outputs of the network can be scores: {listed}; choose one with "
            "--output-name."
        )
    raise CheckpointError(
        f"No output of the network has the shape of scores, (N,), (N, 1) or (N, 2), for {rows} "
        f"rows: {listed}; wrap the network so that it returns them."
    )


def holds_scores(tensor: Tensor, rows: int, width: int | None = None) -> bool:
    """Whether a tensor has the shape and type of scores.

    Args:
        width: the number of classes or of labels; None for a binary classifier.
    """
    shapes = ((rows,), (rows, 1), (rows, 2)) if width is None else ((rows, width),)
    return tuple(tensor.shape) in shapes and tensor.is_floating_point()


def _refuse_outputs(tensor: Tensor, rows: int, classes: int | None, labels: int | None) -> None:
    """Raise CheckpointError if a tensor has outputs of classes or labels, but another number."""
    if tensor.dim() != 2 or len(tensor) != rows or not tensor.is_floating_point():
        return
    outputs = tensor.shape[1]
    if classes is not None:
        raise CheckpointError(
            f"The network gives {outputs} outputs a row, but {classes} classes are named; name "
            "each output in their order with --classes, or leave it out for one or two outputs."
        )
    if labels is not None:
        raise CheckpointError(
            f"The network gives {outputs} outputs a row, but {labels} label columns are named; "
            "name the label column of each output in their order with --label."
        )
    if outputs > 2:
        raise CheckpointError(
            f"The network returns shape {tuple(tensor.shape)} for {rows} rows, and it is not known "
            "which label value each output stands for; binary classifiers return shape (N,), "
            "(N, 1) or (N, 2), for others name the label values in the order of the outputs with "
            "--classes, or the label column of each output with --label."
        )


def _flat(raw: Any, prefix: str) -> list[tuple[str, Tensor]]:
    if isinstance(raw, Tensor):
        return [(prefix, raw)]
    if isinstance(raw, Mapping):
        items = [(str(key), value) for key, value in raw.items()]
    elif isinstance(raw, tuple | list):
        items = [(str(place), value) for place, value in enumerate(raw)]
    elif isinstance(getattr(raw, _LOGITS, None), Tensor):
        items = [(_LOGITS, getattr(raw, _LOGITS))]
    else:
        return []
    dot = "." if prefix else ""
    return [pair for key, value in items for pair in _flat(value, f"{prefix}{dot}{key}")]
