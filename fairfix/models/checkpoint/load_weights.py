"""Attach a network to the tensors of a file, whatever prefixes their names have."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fairfix.errors import CheckpointError, UsageError
from fairfix.models.checkpoint.architecture import make_module
from fairfix.models.checkpoint.checkpoint import Checkpoint, ReadRequest
from fairfix.models.checkpoint.mlp import infer_mlp
from fairfix.models.checkpoint.tensor_checks import check_weights
from fairfix.models.checkpoint.tensor_names import submodule_names, unwrapped_names

_MLP = "mlp:"
_MAX_NAMES = 3  # in a message


def attach_network(
    checkpoint: Checkpoint,
    request: ReadRequest,
    *,
    definition_order: bool = True,
    partial: bool = False,
) -> Checkpoint:
    """Return the checkpoint with the network of the requested architecture, if any.

    Args:
        checkpoint: its tensors have the names in the file. They get the names in the network.
        request: has the architecture; without one, the module stays None.
        definition_order: the tensors are in the order in which the network's class defined
            them, not sorted by name.
        partial: the network may have only some of the tensors.

    Raises:
        UsageError: if the architecture is not understood.
        CheckpointError: if the weights do not fit.
    """
    if request.arch is not None and not is_mlp(request.arch):
        module = make_module(request.arch, request.arch_args or {})
        return _fit(checkpoint, module, partial=partial)
    check_weights(checkpoint.path, checkpoint.tensors)
    *_, names = unwrapped_names(checkpoint.tensors)
    if request.arch is None:
        return _rename(checkpoint, names)
    if request.arch_args:
        raise UsageError("--arch-args needs a class or function as --arch, not mlp:ACTIVATION.")
    checkpoint = _rename(checkpoint, names)
    module, notes = infer_mlp(
        request.arch.removeprefix(_MLP),
        checkpoint.tensors,
        definition_order=definition_order,
    )
    return _load(replace(checkpoint, notes=checkpoint.notes + notes), module)


def is_mlp(arch: str) -> bool:
    """Whether the architecture is to be inferred from the tensors."""
    return arch.startswith(_MLP)


def attach_loaded_network(
    checkpoint: Checkpoint, module: nn.Module, *, partial: bool = False
) -> Checkpoint:
    """Return the checkpoint with the network that was loaded from its file.

    Args:
        checkpoint: its tensors have the names in the file. They get the names in the network.
        module: the network.
        partial: the network may have only some of the tensors.

    Raises:
        CheckpointError: if the network's weights differ from those in the file, so that changed
            weights could not be written back.
    """
    loaded = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    checkpoint = _fit(checkpoint, module, partial=partial)
    for name, tensor in checkpoint.tensors.items():
        if not torch.equal(loaded[name].float(), tensor.float()):
            raise CheckpointError(
                f"{checkpoint.path}: {name!r} has other values when loaded than in the file, so it "
                "could not be written back. Name the network's class with --arch file.py:Class."
            )
    return checkpoint


def by_stored_name(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors that are named as in the network by their names in the file.

    Raises:
        CheckpointError: if two names share a stored tensor and their values differ.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        stored_name = checkpoint.stored_names[name]
        if stored_name in stored and not torch.equal(stored[stored_name], tensor):
            raise CheckpointError(f"{name!r} is tied to another tensor, but its new values differ.")
        stored[stored_name] = tensor
    return stored


def by_module_name(checkpoint: Checkpoint, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors that are named as in the file by their names in the network."""
    return {name: stored[stored_name] for name, stored_name in checkpoint.stored_names.items()}


def prepare_module(module: nn.Module) -> nn.Module:
    """Return the module on the CPU, in float32, in evaluation mode and with gradients."""
    module = module.cpu().float().eval()
    for parameter in module.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    return module


def batch_norm_notes(module: nn.Module) -> tuple[str, ...]:
    """Return what the user must know about the network's BatchNorm layers."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    untracked = sum(norm.running_mean is None for norm in norms)
    notes = []
    if len(norms) > untracked:
        notes.append(
            f"BatchNorm ({len(norms) - untracked}x) stays frozen: evaluation mode, running "
            "statistics as stored."
        )
    if untracked:
        notes.append(
            f"BatchNorm ({untracked}x) has no running statistics: the score of a row depends on "
            "the other rows of its batch."
        )
    return tuple(notes)


def _rename(checkpoint: Checkpoint, names: dict[str, str]) -> Checkpoint:
    notes = checkpoint.notes
    example, stored_name = next(iter(names.items()))
    if example != stored_name:
        notes += (f"Tensor names were shortened: {stored_name} is called {example} here.",)
    if others := len(checkpoint.tensors) - len(names):
        notes += (f"Tensors in the file that are not the network's stay as they are: {others}.",)
    tensors = {name: checkpoint.tensors[stored_name] for name, stored_name in names.items()}
    return replace(checkpoint, tensors=tensors, stored_names=names, notes=notes)


def _fit(checkpoint: Checkpoint, module: nn.Module, *, partial: bool) -> Checkpoint:
    check_weights(checkpoint.path, checkpoint.tensors)
    names = _matching_names(module, checkpoint.tensors, partial=partial)
    if names is None:
        *_, names = unwrapped_names(checkpoint.tensors)
    return _load(_rename(checkpoint, names), module)


def _matching_names(
    module: nn.Module, stored: Mapping[str, Tensor], *, partial: bool
) -> dict[str, str] | None:
    """Return the names under which the stored tensors are the module's, or None."""
    tied = _tied_names(module)
    for names in chain(unwrapped_names(stored), submodule_names(stored) if partial else ()):
        is_complete = all(tied[name] & names.keys() for name in tied)
        if is_complete and (partial or names.keys() <= tied.keys()):
            return {name: stored_name for name, stored_name in names.items() if name in tied}
    return None


def _load(checkpoint: Checkpoint, module: nn.Module) -> Checkpoint:
    tensors, names = dict(checkpoint.tensors), dict(checkpoint.stored_names)
    for name, tied in _tied_names(module).items():
        if name not in tensors and (present := sorted(tied & checkpoint.tensors.keys())):
            tensors[name], names[name] = tensors[present[0]], names[present[0]]
    _check_fit(module.state_dict(), tensors, checkpoint.path)
    module.float().load_state_dict(tensors)
    return replace(
        checkpoint,
        module=prepare_module(module),
        tensors={name: tensors[name] for name in module.state_dict()},
        stored_names=names,
        notes=checkpoint.notes + batch_norm_notes(module),
    )


def _tied_names(module: nn.Module) -> dict[str, set[str]]:
    """Return, for each name in the ``state_dict``, all names of the same tensor."""
    state = module.state_dict(keep_vars=True)
    groups: dict[int, set[str]] = {}
    for name, tensor in state.items():
        groups.setdefault(id(tensor), set()).add(name)
    return {name: groups[id(tensor)] for name, tensor in state.items()}


def _check_fit(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: object) -> None:
    reshaped = [
        f"{name} (is {list(tensors[name].shape)}, expected {list(wanted.shape)})"
        for name, wanted in expected.items()
        if name in tensors and not is_lazy(wanted) and tensors[name].shape != wanted.shape
    ]
    faults = {
        "missing": [name for name in expected if name not in tensors],
        "unexpected": [name for name in tensors if name not in expected],
        "of another shape": reshaped,
    }
    found = [f"{what} {_listed(names)}" for what, names in faults.items() if names]
    if found:
        raise CheckpointError(
            f"The weights in {path} do not fit the architecture: {'; '.join(found)}. "
            "Check --arch and --arch-args."
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_MAX_NAMES])
    return shown if len(names) <= _MAX_NAMES else f"{shown} and {len(names) - _MAX_NAMES} more"
