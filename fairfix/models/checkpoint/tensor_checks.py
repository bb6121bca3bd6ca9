"""Check tensors, round them to stored dtypes, and hash them, equally for all formats."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.checkpoint import Checkpoint
from fairfix.models.checkpoint.mapped_storage import pieces


def check_weights(path: object, tensors: Mapping[str, Tensor]) -> None:
    """Check the weights of a network.

    Raises:
        CheckpointError: if there are none, none is floating point, or one is not finite.
    """
    if not tensors:
        raise CheckpointError(f"{path} has no tensors: it is not a trained network.")
    if not any(tensor.is_floating_point() for tensor in tensors.values()):
        dtypes = sorted({str(tensor.dtype) for tensor in tensors.values()})
        raise CheckpointError(
            f"{path} has no floating-point weights, only {', '.join(dtypes)}: a quantized network "
            "cannot be changed. Use the network it was made from."
        )
    for name, tensor in tensors.items():
        if not _is_finite(tensor):
            raise CheckpointError(
                f"{path}: tensor {name!r} has NaN or infinite values, as after diverged training. "
                "Use an earlier checkpoint."
            )


def stored_state(checkpoint: Checkpoint, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return new weights as the file will store them: in the stored dtypes.

    Values equal to the loaded ones keep their stored value, so that an unchanged float64 weight
    keeps its last digits.

    Args:
        checkpoint: the checkpoint.
        state: new weights, keyed as ``checkpoint.tensors``.

    Raises:
        CheckpointError: if keys or shapes differ, or a stored dtype cannot hold a value.
    """
    check_same_layout(checkpoint.tensors, state)
    return {
        name: _rounded(name, state[name], original) for name, original in checkpoint.tensors.items()
    }


def check_same_layout(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Check that both have the same names and shapes.

    Raises:
        CheckpointError: if not.
    """
    if different := sorted(expected.keys() ^ state.keys()):
        raise CheckpointError(
            f"The new weights and the checkpoint differ in {len(different)} names, first in "
            f"{different[0]!r}."
        )
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"The new {name!r} has shape {tuple(tensor.shape)}, but the checkpoint's has shape "
                f"{tuple(expected[name].shape)}."
            )


def _rounded(name: str, new: Tensor, original: Tensor) -> Tensor:
    new = new.detach().cpu()
    rounded = new.to(original.dtype)
    if original.dtype == torch.float64:
        rounded = torch.where(new == original.to(new.dtype), original, rounded)
    if not _is_finite(rounded):
        raise CheckpointError(
            f"The new {name!r} has NaN, infinite or too large values for its stored dtype, "
            f"{original.dtype}."
        )
    return rounded.contiguous()


def _is_finite(tensor: Tensor) -> bool:
    """Whether a tensor has neither NaN nor infinite values; True for other dtypes than floats."""
    return not tensor.is_floating_point() or all(
        bool(torch.isfinite(piece.float()).all()) for piece in pieces(tensor)
    )


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, dtypes, shapes and values, equal in all formats.

    Args:
        state: tensors in stored dtypes: ``Checkpoint.tensors``, or from ``stored_state``.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        dtype = str(state[name].dtype).removeprefix("torch.")
        shape = ",".join(map(str, state[name].shape))
        digest.update(f"{name}\0{dtype}\0{shape}\0".encode())
        for piece in pieces(state[name].cpu()):
            digest.update(piece.view(torch.uint8).numpy().data)
    return digest.hexdigest()
