"""What holds for the tensors of every format: checks, rounding to stored dtypes, the hash."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.base import Checkpoint


def check_weights(path: object, tensors: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError for weights that are not finite, not floating point, or not there."""
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors: it is not a trained network.")
    if not any(tensor.is_floating_point() for tensor in tensors.values()):
        dtypes = sorted({str(tensor.dtype) for tensor in tensors.values()})
        raise CheckpointError(
            f"{path} holds no floating-point weights, only {', '.join(dtypes)}: a quantized "
            "network cannot be changed. Give the network it was made from."
        )
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
            raise CheckpointError(
                f"{path}: tensor {name!r} holds NaN or infinite values. Its training diverged; "
                "give a checkpoint from before that."
            )


def stored_state(checkpoint: Checkpoint, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` (keyed like ``checkpoint.module.state_dict()``) as the file will hold it.

    Each tensor is rounded to its stored dtype; numbers that are the loaded ones keep their stored
    value, so that a float64 weight which nobody changed keeps its last digits.
    Raises CheckpointError for other keys or shapes, and for values the stored dtype cannot hold.
    """
    check_same_layout(checkpoint.tensors, state)
    return {
        name: _rounded(name, state[name], original) for name, original in checkpoint.tensors.items()
    }


def check_same_layout(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError unless both have the same names, each with the same shape."""
    if different := sorted(expected.keys() ^ state.keys()):
        raise CheckpointError(
            f"The new weights and the checkpoint differ in {len(different)} names, the first "
            f"{different[0]!r}."
        )
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"The new {name!r} has shape {tuple(tensor.shape)}, the checkpoint's has "
                f"{tuple(expected[name].shape)}."
            )


def _rounded(name: str, new: Tensor, original: Tensor) -> Tensor:
    new = new.detach().cpu()
    rounded = new.to(original.dtype)
    if original.dtype == torch.float64:
        rounded = torch.where(new == original.to(new.dtype), original, rounded)
    if rounded.is_floating_point() and not torch.isfinite(rounded.float()).all():
        raise CheckpointError(
            f"The new {name!r} holds values that {original.dtype} cannot: NaN, infinity or too "
            "large a number."
        )
    return rounded.contiguous()


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """Hash of the weights alone, the same in every container: names, dtypes, shapes and bytes.

    ``state`` is in stored dtypes, as ``stored_state`` and ``Checkpoint.tensors`` give it.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        dtype = str(state[name].dtype).removeprefix("torch.")
        shape = ",".join(map(str, state[name].shape))
        digest.update(f"{name}\0{dtype}\0{shape}\0".encode())
        digest.update(raw_bytes(state[name]))
    return digest.hexdigest()


def raw_bytes(tensor: Tensor) -> bytes:
    """The numbers of a tensor in row-major order, as they lie in memory."""
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes()
