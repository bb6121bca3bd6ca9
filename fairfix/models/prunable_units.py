"""Which hidden units a network has, and how to take one out so that nothing of it stays.

The network runs once on a few rows while every tensor function is watched, however it is called:
as a module, as a function, in place, or inside an exported program. Each output channel of a linear
or convolutional layer is followed through the operations that keep channels apart (activations,
BatchNorm, dropout, pooling, flattening) to whatever reads it next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fairfix.errors import CheckpointError

_LAYERS = {"linear", "conv1d", "conv2d", "conv3d"}
_POOLS = {
    f"{adaptive}{kind}_pool{d}d"
    for adaptive in ("", "adaptive_")
    for kind in ("max", "avg")
    for d in (1, 2, 3)
}
# Elementwise functions with f(0) = 0: a silenced unit stays silent behind them ...
_KEEP_ZERO = {
    *("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "tanh"),
    *("hardtanh", "hardswish", "softsign", "clamp_min", "dropout", "alpha_dropout"),
    *("feature_dropout", "contiguous", "clone", "to", "float"),
}
# ... and those without.
_SHIFT_ZERO = {"sigmoid", "hardsigmoid", "softplus", "logsigmoid"}
_RESHAPES = {"flatten", "view", "reshape", "squeeze"}
_INPUTS = "(inputs)"  # no parameter can have this name


@dataclass(frozen=True)
class Slot:
    """The share of a parameter that belongs to each unit of a layer.

    ``dim`` of the parameter holds the units in order, ``block`` consecutive entries each.
    """

    name: str
    dim: int
    block: int

    def by_unit(self, tensor: Tensor, units: int) -> Tensor:
        """The parameter, or its gradient, as (units, entries of one)."""
        return tensor.movedim(self.dim, 0).reshape(units, -1)


@dataclass(frozen=True)
class Activation:
    """A tensor met in a forward pass whose ``dim`` holds units, ``block`` entries each."""

    tensor: Tensor
    dim: int
    block: int


@dataclass(frozen=True)
class UnitLayer:
    """The units of one layer, and what must be 0 for a unit to be gone.

    Attributes:
        name: of the layer, or ``(inputs)`` for the network's inputs.
        units: how many.
        slots: the parameters to clear. Where linear or convolutional layers alone read the units
            these are the readers' weights (the outgoing weights of Marcinkevics 2022, algorithm
            1), so that no constant of a BatchNorm in between remains. Where something else reads
            them, a sum say, scale and shift of the last BatchNorm before it, or without one the
            layer's own weights and bias; then also the weights of readers which that leaves a
            constant to read.
        activations: what is read of the units, each tensor once, from the pass that was watched.
    """

    name: str
    units: int
    slots: tuple[Slot, ...]
    activations: tuple[Activation, ...] = ()

    def clear(self, parameters: Mapping[str, Tensor], unit: int) -> None:
        """Take one unit out of the parameters, in place."""
        with torch.no_grad():
            for slot in self.slots:
                at = slice(unit * slot.block, (unit + 1) * slot.block)
                parameters[slot.name].movedim(slot.dim, 0)[at] = 0

    def sum_by_unit(self, gradients: Iterator[Tensor]) -> Tensor:
        """(units,) the next gradients, one for each activation, over all but the units."""
        return sum(
            (
                next(gradients).movedim(a.dim, 0).reshape(self.units, -1).sum(1)
                for a in self.activations
            ),
            torch.zeros(()),
        )


def watch_units(module: nn.Module, features: Tensor) -> tuple[Tensor, list[UnitLayer]]:
    """Run a batch; its output, and the prunable layers in the order they ran, inputs first.

    A layer is left out when it feeds the output alone, when its weights are used more than once,
    or when a unit cannot be silenced by clearing parameters (a sigmoid before a sum, say).

    Args:
        module: in evaluation mode. Parameters are named as it names them.
        features: (N, D).
    """
    if features.requires_grad is False and torch.is_grad_enabled():
        features = features.detach().requires_grad_()
    watch = _Watch({id(p): name for name, p in module.named_parameters()}, features)
    with watch:
        output = module(features)
    return output, [s.layer() for s in watch.sources if s.prunable(watch.uses)]


def find_units(module: nn.Module, features: Tensor, *, inputs: bool = False) -> list[UnitLayer]:
    """The prunable layers of a module, the network's inputs among them if asked for.

    Raises:
        CheckpointError: when there is none.
    """
    with torch.no_grad():
        layers = watch_units(module, features)[1]
    layers = [layer for layer in layers if inputs or layer.name != _INPUTS]
    if not layers:
        raise CheckpointError(
            "The network has no hidden units that can be pruned: no linear or convolutional layer "
            "feeds another one."
        )
    return [replace(layer, activations=()) for layer in layers]


@dataclass(frozen=True)
class _Tag:
    """A tensor whose dimension ``dim`` holds the units of ``source``, ``block`` entries each.

    Clearing ``own``, the parameters of the layer or of the last BatchNorm behind it, makes a unit
    constant there; ``silenced`` says that the constant is 0.
    """

    source: _Source
    dim: int
    block: int
    own: tuple[Slot, ...]
    silenced: bool


@dataclass(frozen=True)
class _Exit:
    """Where a tagged tensor is read: by ``slot`` of a layer, or by what mixes units (None)."""

    tag: _Tag
    tensor: Tensor
    slot: Slot | None = None


@dataclass(eq=False)
class _Source:
    """A layer met while watching, and where its units went."""

    name: str
    units: int
    own: tuple[Slot, ...] = ()
    exits: list[_Exit] = field(default_factory=list)
    hidden: bool = False

    def prunable(self, uses: Counter[str]) -> bool:
        slots = self.slots()
        clearable = all(e.tag.silenced and e.tag.own for e in self.exits if e.slot is None)
        once = all(uses[slot.name] == 1 for slot in (*self.own, *slots))
        return self.hidden and clearable and once and bool(slots)

    def slots(self) -> tuple[Slot, ...]:
        cleared = dict.fromkeys(e.tag.own for e in self.exits if e.slot is None)
        readers = (
            (e.slot,)
            for e in self.exits
            if e.slot is not None and not (e.tag.silenced and e.tag.own in cleared)
        )
        return tuple(dict.fromkeys(slot for part in (*cleared, *readers) for slot in part))

    def layer(self) -> UnitLayer:
        read = {id(e.tensor): Activation(e.tensor, e.tag.dim, e.tag.block) for e in self.exits}
        return UnitLayer(self.name, self.units, self.slots(), tuple(read.values()))


class _Watch(TorchFunctionMode):
    """Follows units through every tensor function called while it is active."""

    def __init__(self, names: dict[int, str], features: Tensor) -> None:
        super().__init__()
        self.names = names
        self.sources: list[_Source] = []
        self.uses: Counter[str] = Counter()
        self._tags: dict[int, _Tag] = {}
        self._lineage: dict[int, frozenset[_Source]] = {}
        self._alive: list[object] = [features]  # ids stay unique while their tensors live
        inputs = _Source(_INPUTS, features.shape[1])
        self._start(features, _Tag(inputs, 1, 1, (), silenced=False))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        inputs = tensors_in((args, kwargs))
        tags = [self._tags.get(id(x)) for x in inputs]
        lineage = frozenset().union(*(self._lineage.get(id(x), frozenset()) for x in inputs))
        result = func(*args, **(kwargs or {}))
        name = _function_name(func)
        written = inputs[0] if name == "__setitem__" else result
        outputs = tensors_in(written)
        if not outputs:
            return result
        self.uses.update(self.names[id(x)] for x in inputs if id(x) in self.names)
        if not lineage:
            return result
        self._alive += [inputs, outputs]
        for out in outputs:
            self._lineage[id(out)] = lineage
            self._tags.pop(id(out), None)
        if self._is_layer(name, inputs):
            for source in lineage:
                source.hidden = True
            self._layer(name, inputs, tags[0], outputs[0])
        elif len(outputs) != 1 or tags[0] is None or any(tags[1:]):
            self._escape(tags, inputs)
        else:
            self._follow(name, inputs, tags[0], outputs[0])
        return result

    def _is_layer(self, name: str, inputs: Sequence[Tensor]) -> bool:
        return len(inputs) > 1 and id(inputs[1]) in self.names and name in _LAYERS

    def _start(self, tensor: Tensor, tag: _Tag) -> None:
        self.sources.append(tag.source)
        self._tags[id(tensor)] = tag
        self._lineage[id(tensor)] = self._lineage.get(id(tensor), frozenset()) | {tag.source}

    def _layer(self, name: str, inputs: Sequence[Tensor], tag: _Tag | None, out: Tensor) -> None:
        tensor, weight = inputs[:2]
        if tag is not None:
            dim = tensor.dim() - 1 if name == "linear" else 1
            self._read_by(self.names[id(weight)], weight, tag, tensor, dim)
        known = [self.names[id(x)] for x in inputs[1:] if id(x) in self.names]
        own = tuple(Slot(parameter, 0, 1) for parameter in known)
        source = _Source(known[0].removesuffix(".weight"), len(weight), own)
        dim = out.dim() - 1 if name == "linear" else 1
        self._start(out, _Tag(source, dim, 1, own, silenced=len(known) == len(inputs) - 1))

    def _read_by(self, name: str, weight: Tensor, tag: _Tag, tensor: Tensor, dim: int) -> None:
        """Note that ``weight`` reads the tagged tensor along ``dim``."""
        apart = tag.dim == dim and weight.shape[1] == tag.source.units * tag.block
        tag.source.exits.append(_Exit(tag, tensor, Slot(name, 1, tag.block) if apart else None))

    def _follow(self, name: str, inputs: Sequence[Tensor], tag: _Tag, out: Tensor) -> None:
        before = inputs[0]
        if name == "batch_norm" and tag.dim == 1:
            affine = [self.names[id(x)] for x in inputs[1:] if id(x) in self.names]
            own = tuple(Slot(parameter, 0, tag.block) for parameter in affine)
            self._tags[id(out)] = replace(tag, own=own, silenced=bool(affine))
        elif name in _KEEP_ZERO or (name in _POOLS and _pools_places(name, before, tag)):
            self._tags[id(out)] = tag
        elif name in _SHIFT_ZERO:
            self._tags[id(out)] = replace(tag, silenced=False)
        elif name in _RESHAPES and tag.dim == 1 and _keeps_units(before, out, tag):
            self._tags[id(out)] = replace(tag, block=out.shape[1] // tag.source.units)
        else:
            self._escape([tag], inputs)

    def _escape(self, tags: Iterable[_Tag | None], tensors: Iterable[Tensor]) -> None:
        """The tagged tensors are read by something that mixes or merges units."""
        for tag, tensor in zip(tags, tensors, strict=False):
            if tag is not None:
                tag.source.exits.append(_Exit(tag, tensor))


def is_layer(func: Callable[..., Any]) -> bool:
    """Whether a tensor function applies a weight, its second argument, to its first."""
    return _function_name(func) in _LAYERS


def _function_name(func: Callable[..., Any]) -> str:
    name = getattr(func, "__name__", "").partition(".")[0]
    return name if name.startswith("_") else name.rstrip("_")


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dictionaries, in their order."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, (tuple, list)):
        return [tensor for item in tree for tensor in tensors_in(item)]
    return [tree] if isinstance(tree, Tensor) else []


def _pools_places(name: str, before: Tensor, tag: _Tag) -> bool:
    """Whether pooling runs over places, not over units: not so on a tensor without a batch."""
    return tag.dim == 1 and before.dim() == int(name[-2]) + 2


def _keeps_units(before: Tensor, after: Tensor, tag: _Tag) -> bool:
    """Whether a reshape leaves rows apart and the units of dim 1 in consecutive blocks."""
    flat = after.dim() == 2 and after.shape[0] == before.shape[0]
    return flat and before.shape[1] == tag.source.units * tag.block
