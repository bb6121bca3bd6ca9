"""Follow the units of layers through the tensor functions of a forward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, takewhile
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fairfix.models.inputs import Batch
from fairfix.models.parametrizations import parametrized_layer
from fairfix.models.tensor_functions import CallMode, function_name, is_weighted, tensors_in
from fairfix.models.unit_sources import (
    PrunableLayer,
    UnitParameter,
    UnitRead,
    UnitSource,
    UnitTensor,
)

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
# Functions that move or select entries, and change none.
_MOVES = {
    *("flatten", "unflatten", "view", "reshape", "squeeze", "unsqueeze", "transpose", "swapaxes"),
    *("swapdims", "permute", "movedim", "moveaxis", "select", "narrow", "__getitem__"),
}
INPUTS, HEADS = "(inputs)", "(heads)"  # no parameter can have these names


@dataclass(frozen=True)
class _ComputedWeight:
    """A weight that is computed from other parameters of a layer.

    Zeroing a unit's part of ``own`` zeroes the unit's row of the weight; empty if nothing does.
    ``is_part`` if it is a part of a plain parameter, or the parameter in another form.
    """

    layer: str
    own: tuple[UnitParameter, ...]
    is_part: bool


class UnitTracer(CallMode):
    """Follow units through every tensor function called while the mode is active."""

    def __init__(self, names: dict[int, str], batch: Batch) -> None:
        super().__init__()
        self.names = names
        self.sources: list[UnitSource] = []
        self.uses: Counter[str] = Counter()
        self._units: dict[int, UnitTensor] = {}
        self._computed: dict[int, _ComputedWeight] = {}
        self._ancestors: dict[int, frozenset[UnitSource]] = {}
        self._nearest: dict[int, frozenset[UnitSource]] = {}  # without a layer in between
        self._alive: list[object] = [*batch.tensors]  # ids stay unique while their tensors live
        keys = list(batch.kwargs) or [str(place) for place in range(len(batch.args))]
        for key, tensor in zip(keys, batch.tensors, strict=True):
            name = INPUTS if len(keys) == 1 else f"{INPUTS} {key}"
            if tensor.is_floating_point() and tensor.dim() > 1:
                inputs = UnitSource(name, tensor.shape[1])
                self._start(tensor, UnitTensor(inputs, 1, 1, (), zeroed=False))

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See ``CallMode``."""
        if func is functional.multi_head_attention_forward:
            return self._multi_head_attention(args, kwargs)
        inputs = tensors_in((args, kwargs))
        units = [self._units.get(id(x)) for x in inputs]
        ancestors = frozenset().union(*(self._ancestors.get(id(x), frozenset()) for x in inputs))
        result = func(*args, **kwargs)
        name = function_name(func)
        written = inputs[0] if name == "__setitem__" else result
        outputs = tensors_in(written)
        if not outputs:
            return result
        self.uses.update(self.names[id(x)] for x in inputs if id(x) in self.names)
        self._alive += [inputs, outputs]
        is_layer = is_weighted(func) and len(inputs) > 1 and self._is_weight(inputs[1])
        is_layer = is_layer and not self._is_weight(inputs[0])
        if not (ancestors or is_layer):
            self._compute(name, args, inputs, outputs)
            return result
        for out in outputs:
            self._ancestors[id(out)] = ancestors
            self._nearest[id(out)] = self._nearest_sources(inputs)
            self._units.pop(id(out), None)
        if is_layer:
            for source in ancestors:
                source.is_hidden = True
            self._layer(name, inputs, units[0], outputs[0])
        elif name == "scaled_dot_product_attention":
            self._mixed(units, inputs)
            self._attention(inputs, outputs[0])
        elif len(outputs) != 1 or units[0] is None or any(units[1:]):
            self._mixed(units, inputs)
        else:
            self._follow(name, inputs, units[0], outputs[0], lambda x: func(x, *args[1:], **kwargs))
        return result

    def _start(self, tensor: Tensor, units: UnitTensor) -> None:
        self.sources.append(units.source)
        self._units[id(tensor)] = units
        self._ancestors[id(tensor)] = self._ancestors.get(id(tensor), frozenset()) | {units.source}
        self._nearest[id(tensor)] = frozenset({units.source})

    def layers(self) -> list[PrunableLayer]:
        """Return the prunable layers in order of execution."""
        return [s.layer(self.uses) for s in self.sources if s.is_prunable(self.uses)]

    def hidden(self) -> list[str]:
        """Return the names of the layers that feed others, in order of execution."""
        return [s.name for s in self.sources if s.is_hidden and not s.name.startswith(INPUTS)]

    def _is_weight(self, tensor: Tensor) -> bool:
        return id(tensor) in self.names or id(tensor) in self._computed

    def _compute(
        self, name: str, args: Sequence[Any], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> None:
        """Record a weight that is computed from parameters, or is a part of one."""
        known = [self.names[id(x)] for x in inputs if id(x) in self.names]
        computed = [self._computed[id(x)] for x in inputs if id(x) in self._computed]
        layers = [each.layer for each in computed]
        layers += [layer for each in known if (layer := parametrized_layer(each)) is not None]
        is_part = any(each.is_part for each in computed)
        if not layers and all(self._is_weight(x) for x in inputs):
            layers, is_part = [each.removesuffix(".weight") for each in known], True
        if not layers:
            return
        own: tuple[UnitParameter, ...] = ()
        if name == "_weight_norm" and len(known) == 2 and args[2:] in ((), (0,)):
            own = (UnitParameter(known[1], 0, 1),)  # the norm of each row: 0 makes the row 0
        for out in outputs:
            self._computed[id(out)] = _ComputedWeight(layers[0], own, is_part)

    def _layer(
        self, name: str, inputs: Sequence[Tensor], units: UnitTensor | None, out: Tensor
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
        source = UnitSource(layer, len(weight), own)
        source.is_excluded = computed is not None and computed.is_part
        dim = out.dim() - 1 if name == "linear" else 1
        self._start(out, UnitTensor(source, dim, 1, own, zeroed=zeroed))

    def _read_by(
        self, name: str, weight: Tensor, units: UnitTensor, tensor: Tensor, dim: int
    ) -> None:
        """Record that ``weight`` reads the unit tensor along ``dim``."""
        aligned = units.dim == dim and weight.shape[1] == units.source.units * units.block
        parameter = UnitParameter(name, 1, units.block) if aligned else None
        units.source.reads.append(UnitRead(units, tensor, parameter))

    def _nearest_sources(self, inputs: Sequence[Tensor]) -> frozenset[UnitSource]:
        """Return the sources that reach the result of a function without a matrix in between."""
        if any(self._is_weight(x) and x.dim() > 1 for x in inputs):
            return frozenset()
        return frozenset().union(*(self._nearest.get(id(x), frozenset()) for x in inputs))

    def _attention(self, inputs: Sequence[Tensor], out: Tensor) -> None:
        """Begin the heads of an attention, whose result is (..., heads, positions, channels)."""
        attended = self._nearest_sources(inputs)
        for source in attended:  # its units are channels of queries, keys or values
            source.is_excluded = True
        if out.dim() < 4:  # one head, without a dimension of its own
            return
        name = _free_name(_common_module(attended), {each.name for each in self.sources})
        heads = out.dim() - 3
        self._start(out, UnitTensor(UnitSource(name, out.shape[heads]), heads, 1, (), zeroed=False))

    def _multi_head_attention(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the attention of ``nn.MultiheadAttention`` with the functions it calls followed."""
        weights = None
        if kwargs.get("need_weights", True):
            weights = functional.multi_head_attention_forward(*args, **kwargs)[1]
            given = tensors_in((args, kwargs))
            ancestors = (self._ancestors.get(id(x), frozenset()) for x in given)
            self._ancestors[id(weights)] = frozenset().union(*ancestors)
            self._alive.append(weights)
        with self:
            return _multi_head_attention(*args, **{**kwargs, "need_weights": False})[0], weights

    def _follow(
        self,
        name: str,
        inputs: Sequence[Tensor],
        units: UnitTensor,
        out: Tensor,
        function: Callable[[Tensor], Any],
    ) -> None:
        before = inputs[0]
        if name == "batch_norm" and units.dim == 1:
            affine = [self.names[id(x)] for x in inputs[1:] if id(x) in self.names]
            own = tuple(UnitParameter(parameter, 0, units.block) for parameter in affine)
            self._units[id(out)] = replace(units, own=own, zeroed=bool(affine))
        elif name in _KEEP_ZERO or (name in _POOLS and _pools_positions(name, before, units)):
            self._units[id(out)] = units
        elif name in _SHIFT_ZERO:
            self._units[id(out)] = replace(units, zeroed=False)
        elif name in _MOVES and (place := _moved(before, units, function)) is not None:
            self._units[id(out)] = replace(units, dim=place[0], block=place[1])
        else:
            self._mixed([units], inputs)

    def _mixed(self, units: Iterable[UnitTensor | None], tensors: Iterable[Tensor]) -> None:
        """Record that an operation which mixes or merges units reads the unit tensors."""
        for each, tensor in zip(units, tensors, strict=False):
            if each is not None:
                each.source.reads.append(UnitRead(each, tensor))


def _common_module(sources: Iterable[UnitSource]) -> tuple[str, ...]:
    """Return the parts of the name of the innermost module that has all of the layers."""
    parents = [source.name.split(".")[:-1] for source in sources]
    levels = takewhile(lambda level: len(set(level)) == 1, zip(*parents, strict=False))
    return tuple(level[0] for level in levels)


def _free_name(module: Sequence[str], taken: Collection[str]) -> str:
    """Return the name of the heads of a module, with a number from the second attention on."""
    numbered = (HEADS.replace(")", f" {number})") for number in count(2))
    names = (".".join([*module, name]) for name in chain([HEADS], numbered))
    return next(name for name in names if name not in taken)


def _pools_positions(name: str, before: Tensor, units: UnitTensor) -> bool:
    """Whether pooling runs over positions; without a batch dimension it runs over units."""
    return units.dim == 1 and before.dim() == int(name[-2]) + 2


def _moved(
    before: Tensor, units: UnitTensor, function: Callable[[Tensor], Any]
) -> tuple[int, int] | None:
    """Return dimension and block of the units after a function that moves or selects entries.

    None if the units are no longer in order in a dimension of their own, or some are left out.
    """
    index = torch.arange(units.source.units * units.block, device=before.device, dtype=torch.int32)
    index = index.div(units.block, rounding_mode="floor")
    along = [-1 if dim == units.dim else 1 for dim in range(before.dim())]
    after = function(index.view(along).expand(before.shape).contiguous())
    for dim, size in enumerate(after.shape):
        block, rest = divmod(size, units.source.units)
        expected = torch.arange(units.source.units, device=after.device, dtype=after.dtype)
        expected = expected.repeat_interleave(block)
        along = [-1 if each == dim else 1 for each in range(after.dim())]
        if block and not rest and torch.equal(after, expected.view(along).expand(after.shape)):
            return dim, block
    return None


# Its own body, without the check for overrides that would hide the functions it calls.
_multi_head_attention = FunctionType(
    functional.multi_head_attention_forward.__code__,
    {**functional.multi_head_attention_forward.__globals__, "has_torch_function": lambda _: False},
    argdefs=functional.multi_head_attention_forward.__defaults__,
)
