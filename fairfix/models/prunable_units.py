"""Find the prunable hidden units of a network, and the parameters to zero for each.

The network runs once on a few rows while every tensor function is intercepted, however it is
called: as a module, as a function, in place, or inside an exported program. The output channels of
each linear or convolutional layer are followed through the operations that keep channels apart
(activations, BatchNorm, dropout, pooling, flattening) to the layers that read them.
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
from fairfix.models.inputs import Batch, as_batch
from fairfix.models.parametrizations import parametrized_layer, unprunable_reason
from fairfix.models.scorer import Scorer
from fairfix.models.tensor_functions import function_name, is_weighted, tensors_in

_POOLS = {
    f"{adaptive}{kind}_pool{d}d"
    for adaptive in ("", "adaptive_")
    for kind in ("max", "avg")
    for d in (1, 2, 3)
}
# Elementwise functions with f(0) = 0: a unit that is 0 before them is 0 after them ...
_KEEP_ZERO = {
    *("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "tanh"),
    *("hardtanh", "hardswish", "softsign", "clamp_min", "dropout", "alpha_dropout"),
    *("feature_dropout", "contiguous", "clone", "to", "float"),
}
# ... and elementwise functions with f(0) != 0.
_SHIFT_ZERO = {"sigmoid", "hardsigmoid", "softplus", "logsigmoid"}
_RESHAPES = {"flatten", "view", "reshape", "squeeze"}
_INPUTS = "(inputs)"  # no parameter can have this name


@dataclass(frozen=True)
class UnitParameter:
    """A parameter that is divided among the units of a layer.

    Dimension ``dim`` of the parameter holds the units in order, ``block`` consecutive entries each.
    """

    name: str
    dim: int
    block: int

    def by_unit(self, tensor: Tensor, units: int) -> Tensor:
        """Return the parameter, or its gradient, as (units, entries per unit)."""
        return tensor.movedim(self.dim, 0).reshape(units, -1)


@dataclass(frozen=True)
class UnitActivation:
    """A tensor of the forward pass whose dimension ``dim`` holds units, ``block`` entries each."""

    tensor: Tensor
    dim: int
    block: int


@dataclass(frozen=True)
class PrunableLayer:
    """The units of one layer, and the parameters to zero to prune a unit.

    Attributes:
        name: name of the layer, or ``(inputs)`` for the inputs of the network.
        units: number of units.
        parameters: the parameters to zero. If only linear and convolutional layers read the units,
            these are the weights of those layers (the outgoing weights of Marcinkevics 2022,
            algorithm 1), so that no constant of a BatchNorm in between remains. If anything else
            reads them, such as a sum, these are scale and shift of the last BatchNorm before it,
            or without BatchNorm the layer's own weight and bias, and the weights of reading layers
            for which that leaves a constant.
        activations: each tensor that is read from the units, once, from the intercepted pass.
    """

    name: str
    units: int
    parameters: tuple[UnitParameter, ...]
    activations: tuple[UnitActivation, ...] = ()

    def prune(self, parameters: Mapping[str, Tensor], unit: int) -> None:
        """Zero one unit's part of the network's parameters, in place."""
        with torch.no_grad():
            for owned in self.parameters:
                part = slice(unit * owned.block, (unit + 1) * owned.block)
                parameters[owned.name].movedim(owned.dim, 0)[part] = 0

    def sum_by_unit(self, gradients: Iterator[Tensor]) -> Tensor:
        """Return (units,), the sum of the next gradients, one per activation, over each unit."""
        return sum(
            (
                next(gradients).movedim(a.dim, 0).reshape(self.units, -1).sum(1)
                for a in self.activations
            ),
            torch.zeros(()),
        )


def trace_prunable_layers(
    module: nn.Module, batch: Batch | Tensor
) -> tuple[Tensor, list[PrunableLayer]]:
    """Run a batch and find the prunable layers.

    A layer is not prunable if it feeds only the output, if its weights are used more than once, or
    if zeroing parameters cannot remove a unit (for example with a sigmoid before a sum).

    Args:
        module: a scorer, or a network that returns a tensor; in evaluation mode.
        batch: the rows.

    Returns:
        The output, and the prunable layers in order of execution, the inputs first. Parameters
        have the names that ``module`` gives them.
    """
    output, tracer = _trace(module, as_batch(batch))
    return output, tracer.layers()


def find_prunable_layers(
    module: nn.Module, batch: Batch | Tensor, *, inputs: bool = False
) -> list[PrunableLayer]:
    """Return the prunable layers, in order of execution, without activations.

    Args:
        module: a scorer, or a network that returns a tensor; in evaluation mode.
        batch: a few rows.
        inputs: include the inputs of the network.

    Raises:
        CheckpointError: if no layer is prunable.
    """
    with torch.no_grad():
        tracer = _trace(module, as_batch(batch))[1]
    layers = [layer for layer in tracer.layers() if inputs or not layer.name.startswith(_INPUTS)]
    if not layers:
        raise CheckpointError(
            "The network has no hidden units that can be pruned: "
            f"{unprunable_reason(module, tracer.hidden())}"
        )
    return [replace(layer, activations=()) for layer in layers]


def _trace(module: nn.Module, batch: Batch) -> tuple[Tensor, _UnitTracer]:
    if torch.is_grad_enabled():
        batch = batch.map(lambda x: x.detach().requires_grad_() if x.is_floating_point() else x)
    tracer = _UnitTracer({id(p): name for name, p in module.named_parameters()}, batch)
    with tracer:
        output: Tensor = module(batch) if isinstance(module, Scorer) else batch.call(module)
    return output, tracer


@dataclass(frozen=True)
class _UnitTensor:
    """A tensor whose dimension ``dim`` holds the units of ``source``, ``block`` entries each.

    Zeroing ``own``, the parameters of the layer or of the last BatchNorm after it, makes a unit
    constant in this tensor; ``zeroed`` if that constant is 0.
    """

    source: _UnitSource
    dim: int
    block: int
    own: tuple[UnitParameter, ...]
    zeroed: bool


@dataclass(frozen=True)
class _UnitRead:
    """A read of a unit tensor: by the weight of a layer, or by an operation that mixes units."""

    units: _UnitTensor
    tensor: Tensor
    weight: UnitParameter | None = None

    def is_removable_by_weight(self, uses: Counter[str]) -> bool:
        """Whether zeroing a part of the weight removes the unit from this read and no other."""
        return self.weight is not None and uses[self.weight.name] == 1


@dataclass(eq=False)
class _UnitSource:
    """A layer, or the inputs, with every read of its units."""

    name: str
    units: int
    own: tuple[UnitParameter, ...] = ()
    reads: list[_UnitRead] = field(default_factory=list)
    is_hidden: bool = False

    def is_prunable(self, uses: Counter[str]) -> bool:
        parameters = self.parameters(uses)
        rest = (r.units for r in self.reads if not r.is_removable_by_weight(uses))
        removable = all(units.zeroed and units.own for units in rest)
        used_once = all(uses[each.name] == 1 for each in (*self.own, *parameters))
        return self.is_hidden and removable and used_once and bool(parameters)

    def parameters(self, uses: Counter[str]) -> tuple[UnitParameter, ...]:
        zeroed = dict.fromkeys(
            r.units.own for r in self.reads if not r.is_removable_by_weight(uses)
        )
        weights = (
            (r.weight,)
            for r in self.reads
            if r.weight is not None
            and r.is_removable_by_weight(uses)
            and not (r.units.zeroed and r.units.own in zeroed)
        )
        return tuple(dict.fromkeys(each for part in (*zeroed, *weights) for each in part))

    def layer(self, uses: Counter[str]) -> PrunableLayer:
        read = {
            id(r.tensor): UnitActivation(r.tensor, r.units.dim, r.units.block) for r in self.reads
        }
        return PrunableLayer(self.name, self.units, self.parameters(uses), tuple(read.values()))


@dataclass(frozen=True)
class _ComputedWeight:
    """A weight that is computed from other parameters of a layer.

    Zeroing a unit's part of ``own`` zeroes the unit's row of the weight; empty if nothing does.
    """

    layer: str
    own: tuple[UnitParameter, ...]


class _UnitTracer(TorchFunctionMode):
    """Follow units through every tensor function called while the mode is active."""

    def __init__(self, names: dict[int, str], batch: Batch) -> None:
        super().__init__()
        self.names = names
        self.sources: list[_UnitSource] = []
        self.uses: Counter[str] = Counter()
        self._units: dict[int, _UnitTensor] = {}
        self._computed: dict[int, _ComputedWeight] = {}
        self._ancestors: dict[int, frozenset[_UnitSource]] = {}
        self._alive: list[object] = [*batch.tensors]  # ids stay unique while their tensors live
        keys = list(batch.kwargs) or [str(place) for place in range(len(batch.args))]
        for key, tensor in zip(keys, batch.tensors, strict=True):
            name = _INPUTS if len(keys) == 1 else f"{_INPUTS} {key}"
            if tensor.is_floating_point() and tensor.dim() > 1:
                inputs = _UnitSource(name, tensor.shape[1])
                self._start(tensor, _UnitTensor(inputs, 1, 1, (), zeroed=False))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        inputs = tensors_in((args, kwargs))
        units = [self._units.get(id(x)) for x in inputs]
        ancestors = frozenset().union(*(self._ancestors.get(id(x), frozenset()) for x in inputs))
        result = func(*args, **(kwargs or {}))
        name = function_name(func)
        written = inputs[0] if name == "__setitem__" else result
        outputs = tensors_in(written)
        if not outputs:
            return result
        self.uses.update(self.names[id(x)] for x in inputs if id(x) in self.names)
        self._alive += [inputs, outputs]
        if not ancestors:
            self._compute(name, args, inputs, outputs)
            return result
        for out in outputs:
            self._ancestors[id(out)] = ancestors
            self._units.pop(id(out), None)
        if is_weighted(func) and len(inputs) > 1 and self._is_weight(inputs[1]):
            for source in ancestors:
                source.is_hidden = True
            self._layer(name, inputs, units[0], outputs[0])
        elif len(outputs) != 1 or units[0] is None or any(units[1:]):
            self._mixed(units, inputs)
        else:
            self._follow(name, inputs, units[0], outputs[0])
        return result

    def _start(self, tensor: Tensor, units: _UnitTensor) -> None:
        self.sources.append(units.source)
        self._units[id(tensor)] = units
        self._ancestors[id(tensor)] = self._ancestors.get(id(tensor), frozenset()) | {units.source}

    def layers(self) -> list[PrunableLayer]:
        """Return the prunable layers in order of execution."""
        return [s.layer(self.uses) for s in self.sources if s.is_prunable(self.uses)]

    def hidden(self) -> list[str]:
        """Return the names of the layers that feed others, in order of execution."""
        return [s.name for s in self.sources if s.is_hidden and not s.name.startswith(_INPUTS)]

    def _is_weight(self, tensor: Tensor) -> bool:
        return id(tensor) in self.names or id(tensor) in self._computed

    def _compute(
        self, name: str, args: Sequence[Any], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> None:
        """Record a weight that is computed from parameters of a parametrized layer."""
        known = [self.names[id(x)] for x in inputs if id(x) in self.names]
        layers = [self._computed[id(x)].layer for x in inputs if id(x) in self._computed]
        layers += [layer for each in known if (layer := parametrized_layer(each)) is not None]
        if not layers:
            return
        own: tuple[UnitParameter, ...] = ()
        if name == "_weight_norm" and len(known) == 2 and args[2:] in ((), (0,)):
            own = (UnitParameter(known[1], 0, 1),)  # the norm of each row: 0 makes the row 0
        for out in outputs:
            self._computed[id(out)] = _ComputedWeight(layers[0], own)

    def _layer(
        self, name: str, inputs: Sequence[Tensor], units: _UnitTensor | None, out: Tensor
    ) -> None:
        tensor, weight = inputs[:2]
        computed = self._computed.get(id(weight))
        if units is not None and computed is None:
            dim = tensor.dim() - 1 if name == "linear" else 1
            self._read_by(self.names[id(weight)], weight, units, tensor, dim)
        elif units is not None:
            self._mixed([units], [tensor])
        known = [self.names[id(x)] for x in inputs[1:] if id(x) in self.names]
        own = tuple(UnitParameter(parameter, 0, 1) for parameter in known)
        zeroed = len(known) == len(inputs) - 1
        if computed is not None:
            zeroed = bool(computed.own) and len(known) == len(inputs) - 2
            own = (*computed.own, *own) if zeroed else ()
        layer = known[0].removesuffix(".weight") if computed is None else computed.layer
        source = _UnitSource(layer, len(weight), own)
        dim = out.dim() - 1 if name == "linear" else 1
        self._start(out, _UnitTensor(source, dim, 1, own, zeroed=zeroed))

    def _read_by(
        self, name: str, weight: Tensor, units: _UnitTensor, tensor: Tensor, dim: int
    ) -> None:
        """Record that ``weight`` reads the unit tensor along ``dim``."""
        aligned = units.dim == dim and weight.shape[1] == units.source.units * units.block
        parameter = UnitParameter(name, 1, units.block) if aligned else None
        units.source.reads.append(_UnitRead(units, tensor, parameter))

    def _follow(self, name: str, inputs: Sequence[Tensor], units: _UnitTensor, out: Tensor) -> None:
        before = inputs[0]
        if name == "batch_norm" and units.dim == 1:
            affine = [self.names[id(x)] for x in inputs[1:] if id(x) in self.names]
            own = tuple(UnitParameter(parameter, 0, units.block) for parameter in affine)
            self._units[id(out)] = replace(units, own=own, zeroed=bool(affine))
        elif name in _KEEP_ZERO or (name in _POOLS and _pools_positions(name, before, units)):
            self._units[id(out)] = units
        elif name in _SHIFT_ZERO:
            self._units[id(out)] = replace(units, zeroed=False)
        elif name in _RESHAPES and units.dim == 1 and _keeps_units(before, out, units):
            self._units[id(out)] = replace(units, block=out.shape[1] // units.source.units)
        else:
            self._mixed([units], inputs)

    def _mixed(self, units: Iterable[_UnitTensor | None], tensors: Iterable[Tensor]) -> None:
        """Record that an operation which mixes or merges units reads the unit tensors."""
        for each, tensor in zip(units, tensors, strict=False):
            if each is not None:
                each.source.reads.append(_UnitRead(each, tensor))


def _pools_positions(name: str, before: Tensor, units: _UnitTensor) -> bool:
    """Whether pooling runs over positions; without a batch dimension it runs over units."""
    return units.dim == 1 and before.dim() == int(name[-2]) + 2


def _keeps_units(before: Tensor, after: Tensor, units: _UnitTensor) -> bool:
    """Whether a reshape keeps rows apart and the units of dim 1 in consecutive blocks."""
    is_flat = after.dim() == 2 and after.shape[0] == before.shape[0]
    return is_flat and before.shape[1] == units.source.units * units.block
