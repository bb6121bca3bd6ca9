"""The units of a layer, what reads them, and the parameters to zero for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


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
        name: name of the layer, ``MODULE.(heads)`` for attention heads, or ``(inputs)`` for the
            inputs of the network.
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


@dataclass(frozen=True)
class UnitTensor:
    """A tensor whose dimension ``dim`` holds the units of ``source``, ``block`` entries each.

    Zeroing ``own``, the parameters of the layer or of the last BatchNorm after it, makes a unit
    constant in this tensor; ``zeroed`` if that constant is 0.
    """

    source: UnitSource
    dim: int
    block: int
    own: tuple[UnitParameter, ...]
    zeroed: bool


@dataclass(frozen=True)
class UnitRead:
    """A read of a unit tensor: by the weight of a layer, or by an operation that mixes units."""

    units: UnitTensor
    tensor: Tensor
    weight: UnitParameter | None = None

    def is_removable_by_weight(self, uses: Counter[str]) -> bool:
        """Whether zeroing a part of the weight removes the unit from this read and no other."""
        return self.weight is not None and uses[self.weight.name] == 1


@dataclass(eq=False)
class UnitSource:
    """A layer, the heads of an attention, or the inputs, with every read of its units."""

    name: str
    units: int
    own: tuple[UnitParameter, ...] = ()
    reads: list[UnitRead] = field(default_factory=list)
    is_hidden: bool = False
    is_excluded: bool = False
    """Whether no unit may be pruned, whatever reads it."""

    def is_prunable(self, uses: Counter[str]) -> bool:
        parameters = self.parameters(uses)
        rest = (r.units for r in self.reads if not r.is_removable_by_weight(uses))
        removable = all(units.zeroed and units.own for units in rest)
        used_once = all(uses[each.name] == 1 for each in (*self.own, *parameters))
        candidate = self.is_hidden and not self.is_excluded
        return candidate and removable and used_once and bool(parameters)

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
