"""From named tensors to a network, and back to the names in the file: shared by many formats."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fairfix.errors import CheckpointError, UsageError
from fairfix.models.checkpoint.architecture import make_module
from fairfix.models.checkpoint.base import Checkpoint, Source
from fairfix.models.checkpoint.mlp import infer_mlp
from fairfix.models.checkpoint.tensor_checks import check_weights
from fairfix.models.checkpoint.tensor_names import parts_of, renamings

_MLP = "mlp:"
_SHOWN = 3  # names shown of a longer list


def with_network(
    checkpoint: Checkpoint, source: Source, *, registered: bool = True, partial: bool = False
) -> Checkpoint:
    """``checkpoint``, whose tensors go by their stored names, with the network of ``source.arch``.

    Its tensors are renamed to the module's names. ``registered`` says that they stand in the order
    in which the class defined them; ``partial`` that the network may be only a part of them.
    Raises UsageError for an ``arch`` not understood, CheckpointError for weights that do not fit.
    """
    if source.arch is not None and not is_mlp(source.arch):
        module = make_module(source.arch, source.arch_args or {})
        return _fitted(checkpoint, module, partial=partial)
    check_weights(checkpoint.path, checkpoint.tensors)
    *_, names = renamings(checkpoint.tensors)
    if source.arch is None:
        return _renamed(checkpoint, names)
    if source.arch_args:
        raise UsageError("--arch-args goes with a class or function, not with --arch mlp:...")
    checkpoint = _renamed(checkpoint, names)
    words = source.arch.removeprefix(_MLP)
    module, notes = infer_mlp(words, checkpoint.tensors, registered=registered)
    return _loaded(replace(checkpoint, notes=checkpoint.notes + notes), module)


def is_mlp(arch: str) -> bool:
    """Whether ``arch`` has the network inferred from its tensors instead of made by code."""
    return arch.startswith(_MLP)


def with_module(checkpoint: Checkpoint, module: nn.Module, *, partial: bool = False) -> Checkpoint:
    """``checkpoint``, whose tensors go by their stored names, with the network that it came with.

    Raises CheckpointError where the module's weights are not those found in the file: they could
    not be written back.
    """
    own = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    checkpoint = _fitted(checkpoint, module, partial=partial)
    for name, tensor in checkpoint.tensors.items():
        if not torch.equal(own[name].float(), tensor.float()):
            raise CheckpointError(
                f"{checkpoint.path}: {name!r} loads as other numbers than the file holds, so it "
                "could not be written back. Name the network's class with --arch."
            )
    return checkpoint


def by_stored_name(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors``, named as ``checkpoint.tensors``, by their names in the file.

    Raises CheckpointError where two names stand for one stored tensor and differ.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        place = checkpoint.stored_names[name]
        if place in stored and not torch.equal(stored[place], tensor):
            raise CheckpointError(f"{name!r} is tied to another tensor, but its new values differ.")
        stored[place] = tensor
    return stored


def by_own_name(checkpoint: Checkpoint, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of ``by_stored_name``."""
    return {name: stored[place] for name, place in checkpoint.stored_names.items()}


def ready(module: nn.Module) -> nn.Module:
    """``module`` made fit to be searched: on the CPU, float32, in evaluation mode, trainable."""
    module = module.cpu().float().eval()
    for parameter in module.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    return module


def network_notes(module: nn.Module) -> tuple[str, ...]:
    """What the user must know about the network's normalization."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    loose = sum(norm.running_mean is None for norm in norms)
    notes = []
    if len(norms) > loose:
        notes.append(
            f"BatchNorm ({len(norms) - loose}x) stays frozen: evaluation mode, running statistics "
            "as stored."
        )
    if loose:
        notes.append(
            f"BatchNorm ({loose}x) keeps no running statistics: a row's score depends on the other "
            "rows of its batch."
        )
    return tuple(notes)


def _renamed(checkpoint: Checkpoint, names: dict[str, str]) -> Checkpoint:
    notes = checkpoint.notes
    example, place = next(iter(names.items()))
    if example != place:
        notes += (f"Tensor names were shortened: {place} is called {example} here.",)
    if left := len(checkpoint.tensors) - len(names):
        notes += (f"Tensors in the file that are not the network's stay as they are: {left}.",)
    tensors = {name: checkpoint.tensors[place] for name, place in names.items()}
    return replace(checkpoint, tensors=tensors, stored_names=names, notes=notes)


def _fitted(checkpoint: Checkpoint, module: nn.Module, *, partial: bool) -> Checkpoint:
    check_weights(checkpoint.path, checkpoint.tensors)
    names = _matching(module, checkpoint.tensors, partial=partial)
    if names is None:
        *_, names = renamings(checkpoint.tensors)
    return _loaded(_renamed(checkpoint, names), module)


def _matching(
    module: nn.Module, stored: Mapping[str, Tensor], *, partial: bool
) -> dict[str, str] | None:
    """The renaming under which the stored tensors are the module's."""
    twins = _twins(module)
    for names in chain(renamings(stored), parts_of(stored) if partial else ()):
        complete = all(twins[name] & names.keys() for name in twins)
        if complete and (partial or names.keys() <= twins.keys()):
            return {name: place for name, place in names.items() if name in twins}
    return None


def _loaded(checkpoint: Checkpoint, module: nn.Module) -> Checkpoint:
    tensors, names = dict(checkpoint.tensors), dict(checkpoint.stored_names)
    for name, twins in _twins(module).items():
        if name not in tensors and (present := sorted(twins & checkpoint.tensors.keys())):
            tensors[name], names[name] = tensors[present[0]], names[present[0]]
    _check_fit(module.state_dict(), tensors, checkpoint.path)
    module.float().load_state_dict(tensors)
    return replace(
        checkpoint,
        module=ready(module),
        tensors={name: tensors[name] for name in module.state_dict()},
        stored_names=names,
        notes=checkpoint.notes + network_notes(module),
    )


def _twins(module: nn.Module) -> dict[str, set[str]]:
    """For each name in the state_dict all names of that same tensor, itself among them."""
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
    found = [f"{what} {_some(names)}" for what, names in faults.items() if names]
    if found:
        raise CheckpointError(
            f"The weights in {path} do not fit the architecture: {'; '.join(found)}. "
            "Check --arch and --arch-args."
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
