"""Attach a network to the tensors of a file, whatever prefixes their names have."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fairfix._utils.detail import Detail
from fairfix._utils.text import quoted_list
from fairfix.errors import CheckpointError, UsageError
from fairfix.models.checkpoint.architecture import arguments_text, make_module
from fairfix.models.checkpoint.checkpoint import Checkpoint, ReadRequest
from fairfix.models.checkpoint.choose_tensors import (
    USUAL_KEYS,
    ChosenTensors,
    FileTensors,
    Layout,
    find_sets,
    main_set,
    network_tensors,
    single_set,
    split_by_part,
)
from fairfix.models.checkpoint.configuration import NO_ARGUMENTS, StoredArguments
from fairfix.models.checkpoint.fixed_network import attach_fixed_network, is_fixed
from fairfix.models.checkpoint.mapped_storage import copy_values, is_mapped, same_values
from fairfix.models.checkpoint.mlp import infer_mlp
from fairfix.models.checkpoint.tensor_checks import check_weights
from fairfix.models.checkpoint.tensor_names import common_prefix, unwrapped_names

_MLP = "mlp:"
_MAX_NAMES = 3  # in a message


def attach_network(
    checkpoint: Checkpoint,
    request: ReadRequest,
    *,
    file: FileTensors | None = None,
    arguments: StoredArguments = NO_ARGUMENTS,
    definition_order: bool = True,
    partial: bool = False,
) -> Checkpoint:
    """Return the checkpoint with the network of the requested architecture, if any.

    Args:
        checkpoint: its tensors have the names in the file. They get the names in the network.
        request: has the architecture; without one, the module stays None.
        file: all tensors of the file; without them, those of the checkpoint.
        arguments: those of the architecture in or beside the file; those of the request come
            first.
        definition_order: the tensors are in the order in which the network's class defined
            them, not sorted by name.
        partial: the network may have only some of the tensors.

    Raises:
        UsageError: if the architecture or the checkpoint key is not understood.
        CheckpointError: if the weights do not fit, or those of several networks do.
    """
    file = file or FileTensors(checkpoint.tensors)
    path = checkpoint.file
    if request.checkpoint_key is not None:
        file = file.under(request.checkpoint_key, path)
    if request.arch is not None and not is_mlp(request.arch):
        module, used = make_module(request.arch, request.arch_args or {}, arguments)
        if used:
            note = Detail(
                f"Arguments of {request.arch} from {arguments.place}: {arguments_text(used)}."
            )
            checkpoint = replace(checkpoint, notes=(*checkpoint.notes, note))
        return _load(_fit(checkpoint, module, file, partial=partial), module)
    main = main_set(file, path)
    if request.arch is None:
        chosen, others = _alone(_unwrapped(main), file, path)
        check_weights(path, {n: file.tensors[s] for n, s in chosen.names.items()})
        return _named(checkpoint, chosen, file, others)
    if request.arch_args:
        raise UsageError("--arch-args needs a class or function as --arch, not mlp:ACTIVATION.")
    check_weights(path, {n: file.tensors[s] for n, s in main.names.items()})
    return _fit_mlp(
        checkpoint, request.arch.removeprefix(_MLP), main, file, definition_order=definition_order
    )


def is_mlp(arch: str) -> bool:
    """Whether the architecture is to be inferred from the tensors."""
    return arch.startswith(_MLP)


def attach_loaded_network(
    checkpoint: Checkpoint,
    module: nn.Module,
    *,
    file: FileTensors | None = None,
    partial: bool = False,
    names: Callable[[], Mapping[str, str]] | None = None,
) -> Checkpoint:
    """Return the checkpoint with the network that was loaded from its file.

    Args:
        checkpoint: its tensors have the names in the file. They get the names in the network.
        module: the network.
        file: all tensors of the file; without them, those of the checkpoint.
        partial: the network may have only some of the tensors.
        names: returns the names in the file by those in the network, where they do not fit.

    Raises:
        CheckpointError: if the network's weights differ from those in the file, so that changed
            weights could not be written back.
    """
    if is_fixed(module):
        return attach_fixed_network(checkpoint, module)
    file = file or FileTensors(checkpoint.tensors)
    checkpoint = _fit(checkpoint, module, file, partial=partial, known=names)
    _check_fit(module.state_dict(), checkpoint.tensors, checkpoint.file)
    for name, loaded in module.state_dict().items():
        if not same_values(loaded, checkpoint.tensors[name]):
            raise CheckpointError(
                f"{checkpoint.file}: {name!r} has other values when loaded than in the file, so it "
                "could not be written back. Name the network's class with --arch file.py:Class."
            )
    return _load(checkpoint, module)


def by_stored_name(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors that are named as in the network by their full names in the file.

    Raises:
        CheckpointError: if two names share a stored tensor and their values differ.
    """
    stored: dict[str, Tensor] = {}
    for names in (_full_names(checkpoint), *checkpoint.copies):
        for name, tensor in tensors.items():
            full = names[name]
            if full in stored and not torch.equal(stored[full], tensor):
                raise CheckpointError(
                    f"{name!r} is tied to another tensor, but its new values differ."
                )
            stored[full] = tensor
    return stored


def by_module_name(checkpoint: Checkpoint, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with their full names in the file by their names in the network."""
    return {name: stored[full] for name, full in _full_names(checkpoint).items()}


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
    notes: list[str] = []
    if len(norms) > untracked:
        notes.append(
            Detail(
                f"BatchNorm ({len(norms) - untracked}x) stays frozen: evaluation mode, running "
                "statistics as stored."
            )
        )
    if untracked:
        notes.append(
            f"BatchNorm ({untracked}x) has no running statistics: the score of a row depends on "
            "the other rows of its batch."
        )
    return tuple(notes)


def _full_names(checkpoint: Checkpoint) -> dict[str, str]:
    start = f"{checkpoint.container}." if checkpoint.container else ""
    return {name: start + stored for name, stored in checkpoint.stored_names.items()}


def _fit(
    checkpoint: Checkpoint,
    module: nn.Module,
    file: FileTensors,
    *,
    partial: bool,
    known: Callable[[], Mapping[str, str]] | None = None,
) -> Checkpoint:
    """Return the checkpoint with the tensors of the file that fit the module."""
    layout = Layout.of_module(module)
    found = find_sets(layout, file, partial=partial)
    names = known() if known is not None and not found else {}
    if found:
        chosen, others = single_set(found, file, checkpoint.file)
    elif names.keys() == layout.shapes.keys() and file.tensors.keys() >= set(names.values()):
        chosen, others = ChosenTensors(names, ""), ()
    else:  # named as is usual, for the message
        main = _unwrapped(main_set(file, checkpoint.file))
        tied = {n: t for n in layout.ties for t in layout.ties[n] if t in main.names}
        names = {n: main.names[t] for n, t in tied.items()} | dict(main.names)
        chosen, others = replace(main, names=names), ()
    check_weights(checkpoint.file, {n: file.tensors[s] for n, s in chosen.names.items()})
    return _named(checkpoint, chosen, file, others)


def _fit_mlp(
    checkpoint: Checkpoint,
    spec: str,
    main: ChosenTensors,
    file: FileTensors,
    *,
    definition_order: bool,
) -> Checkpoint:
    """Return the checkpoint with the network of ``mlp:SPEC``, inferred from its main tensors."""

    def infer(chosen: ChosenTensors) -> tuple[nn.Module, tuple[str, ...]]:
        tensors = {name: file.tensors[stored] for name, stored in chosen.names.items()}
        return infer_mlp(spec, tensors, definition_order=definition_order)

    def is_network(part: ChosenTensors) -> bool:
        try:
            infer(part)
        except CheckpointError:
            return False
        return sum(file.tensors[stored].ndim == 2 for stored in part.names.values()) > 1

    chosen = _unwrapped(network_tensors(main, file))
    try:
        module, notes = infer(chosen)
    except CheckpointError:
        parts = [_unwrapped(part) for part in split_by_part(chosen)]
        if not (parts and all(map(is_network, parts))):
            raise
        chosen, others = single_set(parts, file, checkpoint.file)
        module, notes = infer(chosen)
    else:
        chosen, others = _alone(chosen, file, checkpoint.file)
    named = _named(checkpoint, chosen, file, others)
    return _load(replace(named, notes=named.notes + notes), module)


def _unwrapped(chosen: ChosenTensors) -> ChosenTensors:
    """Return the set with names that lack the prefixes of wrappers."""
    *_, names = unwrapped_names(chosen.names)
    return replace(chosen, names={name: chosen.names[stored] for name, stored in names.items()})


def _alone(
    chosen: ChosenTensors, file: FileTensors, path: object
) -> tuple[ChosenTensors, tuple[ChosenTensors, ...]]:
    """Return the set and its equal copies.

    Raises:
        CheckpointError: if tensors of other values have the same names and shapes.
    """
    tensors = {name: file.tensors[stored] for name, stored in chosen.names.items()}
    found = find_sets(Layout.of_tensors(tensors), file, partial=True)
    others = [other for other in found if other.names != chosen.names]
    return single_set([chosen, *others], file, path)


def _named(
    checkpoint: Checkpoint,
    chosen: ChosenTensors,
    file: FileTensors,
    others: Sequence[ChosenTensors] = (),
) -> Checkpoint:
    """Return the checkpoint with the chosen tensors, and notes on the choice."""
    containers = [f"{file.container(stored)}.x" for stored in chosen.names.values()]
    container = common_prefix(containers)
    start = f"{container}." if container else ""
    names = {name: stored.removeprefix(start) for name, stored in chosen.names.items()}
    notes = checkpoint.notes
    if container and container.rpartition(".")[2] not in USUAL_KEYS:
        said = f"The network's weights are those under the key {container!r} of the file."
        notes += (Detail(said, f"weights under {container!r}"),)
    if chosen.missing:
        notes += (
            f"The file's names lack the prefix {chosen.missing}. of the architecture; the weights "
            "are loaded as if they had it.",
        )
    elif example := next((name for name, stored in names.items() if name != stored), None):
        said = f"Tensor names were shortened: {names[example]} is called {example} here."
        notes += (Detail(said),)
    if others:
        notes += (
            f"The same weights are also under {quoted_list(other.key for other in others)}, and "
            "are changed there too.",
        )
    used = set(chosen.names.values()).union(*(other.names.values() for other in others))
    if unused := len(file.tensors.keys() - used):
        said = f"Tensors in the file that are not the network's stay as they are: {unused}."
        notes += (Detail(said),)
    return replace(
        checkpoint,
        tensors={name: file.tensors[stored] for name, stored in chosen.names.items()},
        stored_names=names,
        container=container,
        copies=tuple(other.names for other in others),
        notes=notes,
    )


def _load(checkpoint: Checkpoint, module: nn.Module) -> Checkpoint:
    _check_fit(module.state_dict(), checkpoint.tensors, checkpoint.file)
    expected = module.float().state_dict()
    given = dict(checkpoint.tensors)
    for name, tensor in expected.items():
        if is_mapped(given[name]) and not is_lazy(tensor):
            copy_values(given[name], tensor)
            given[name] = tensor
    module.load_state_dict(given)
    return replace(
        checkpoint,
        module=prepare_module(module),
        tensors={name: checkpoint.tensors[name] for name in expected},
        notes=checkpoint.notes + batch_norm_notes(module),
    )


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
    codes = [
        f"{name} (is {tensors[name].dtype}, expected {wanted.dtype})"
        for name, wanted in expected.items()
        if name in tensors
        and wanted.is_floating_point()
        and not (tensors[name].is_floating_point() or is_lazy(wanted))
    ]
    if codes:
        found.append(f"of another type {_listed(codes)}")
    if found:
        raise CheckpointError(
            f"The weights in {path} do not fit the architecture: {'; '.join(found)}. "
            "Check --arch and --arch-args."
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_MAX_NAMES])
    return shown if len(names) <= _MAX_NAMES else f"{shown} and {len(names) - _MAX_NAMES} more"
