"""Find the linear and normalization layers of a network, and their order, from its tensors.

If shapes and names do not determine the order, that is an error; nothing is guessed.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

from torch import Tensor, nn

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.tensor_names import natural_sort_key
from fairfix.models.empty_layer import empty_layer

_BATCH_NORM = {"running_mean", "running_var"}
_COUNTER = "num_batches_tracked"
_MAX_FAMILIES = 6  # of names; orders of more are not searched
_USE_CLASS = "Name the network's class instead with --arch file.py:Class."


@dataclass(frozen=True)
class LayerTensors:
    """The tensors of a layer.

    Attributes:
        name: dotted name of the layer.
        tensors: by name inside the layer: weight, bias, running_mean, ...
    """

    name: str
    tensors: Mapping[str, Tensor]

    @property
    def is_supported(self) -> bool:
        """Whether these are the tensors of Linear, BatchNorm1d or LayerNorm."""
        dims = {name: tensor.ndim for name, tensor in self.tensors.items()}
        if self.is_batch_norm:
            dims.pop(_COUNTER, None)
            return dims.keys() <= _BATCH_NORM | {"weight", "bias"} and set(dims.values()) == {1}
        # A single vector could belong to PReLU, RMSNorm or LayerNorm without bias.
        return dims in ({"weight": 2}, {"weight": 2, "bias": 1}, {"weight": 1, "bias": 1})

    @property
    def is_linear(self) -> bool:
        """Whether it is a Linear layer, not a normalization."""
        return not self.is_batch_norm and self.tensors["weight"].ndim == 2

    @property
    def is_batch_norm(self) -> bool:
        """Whether it has running statistics."""
        return self.tensors.keys() >= _BATCH_NORM

    @property
    def inputs(self) -> int:
        """Number of input features of a Linear layer."""
        return self.tensors["weight"].shape[1]

    @property
    def width(self) -> int:
        """Number of output features."""
        return self.tensors["running_mean" if self.is_batch_norm else "weight"].shape[0]

    @property
    def family(self) -> str:
        """The name without its numbers: ``fcs.#`` for ``fcs.0``."""
        return re.sub(r"\d+", "#", self.name)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers in the name."""
        return tuple(map(int, re.findall(r"\d+", self.name)))

    def build(self) -> nn.Module:
        """Return a torch layer with tensors of these names and shapes, not initialized."""
        if self.is_linear:
            bias = "bias" in self.tensors
            return empty_layer(nn.Linear, self.inputs, self.width, bias=bias)
        if self.is_batch_norm:
            norm = nn.BatchNorm1d(self.width, affine="weight" in self.tensors)
            if _COUNTER not in self.tensors:
                norm.num_batches_tracked = None
            return norm
        return nn.LayerNorm(self.width)


def group_by_layer(tensors: Mapping[str, Tensor]) -> list[LayerTensors]:
    """Group tensors by layer, in their order.

    Raises:
        CheckpointError: if a layer is not Linear, BatchNorm1d or LayerNorm.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        owner, _, part = name.rpartition(".")
        groups.setdefault(owner, {})[part] = tensor
    layers = [LayerTensors(name, parts) for name, parts in groups.items()]
    for layer in layers:
        if not layer.is_supported or (not layer.name and len(layers) > 1):
            shapes = ", ".join(f"{k} {list(v.shape)}" for k, v in layer.tensors.items())
            raise CheckpointError(
                f"mlp: supports only linear and normalization layers, and {layer.name!r} is "
                f"neither ({shapes}). {_USE_CLASS}"
            )
    return layers


def order_linear_layers(
    linears: list[LayerTensors], *, definition_order: bool
) -> list[LayerTensors]:
    """Return the linear layers in order of computation, in which input and output widths agree.

    Args:
        linears: the layers.
        definition_order: they are in the order in which their class defined them, which is used
            if the widths fit.

    Raises:
        CheckpointError: if no order fits, or several do.
    """
    if not linears:
        raise CheckpointError(f"None of the tensors belongs to a Linear layer. {_USE_CLASS}")
    if definition_order and _widths_fit(linears):
        return linears
    families = _families(linears)
    orders = [sorted(linears, key=lambda layer: natural_sort_key(layer.name))]
    if len(families) <= _MAX_FAMILIES:
        orders += [[layer for f in order for layer in f] for order in permutations(families)]
    valid = {tuple(layer.name for layer in order): order for order in orders if _widths_fit(order)}
    if len(valid) != 1:
        found = "several orders fit" if valid else "no order fits"
        widths = ", ".join(f"{x.name} {x.inputs}->{x.width}" for x in linears[:6])
        raise CheckpointError(
            f"Names and shapes do not determine the order of the layers ({found}): {widths}. "
            f"{_USE_CLASS}"
        )
    return next(iter(valid.values()))


def _widths_fit(linears: Sequence[LayerTensors]) -> bool:
    return all(before.width == after.inputs for before, after in pairwise(linears))


def _families(layers: Iterable[LayerTensors]) -> list[list[LayerTensors]]:
    families: dict[str, list[LayerTensors]] = {}
    for layer in layers:
        families.setdefault(layer.family, []).append(layer)
    return [sorted(family, key=lambda layer: layer.numbers) for family in families.values()]


def place_norms(
    linears: list[LayerTensors], layers: list[LayerTensors], *, definition_order: bool
) -> dict[int, LayerTensors]:
    """Find which linear layer each normalization follows.

    Args:
        linears: in order of computation.
        layers: all layers, in the order of the file.
        definition_order: that is the order in which their class defined them.

    Returns:
        Normalizations by the index of the linear layer they follow; -1 for the input.

    Raises:
        CheckpointError: if names and shapes do not determine it.
    """
    norms = [layer for layer in layers if not layer.is_linear]
    if not norms:
        return {}
    if not definition_order:
        norms = sorted(norms, key=lambda layer: natural_sort_key(layer.name))
    guesses = [
        _by_shared_numbering(norms, linears),
        _one_each(norms, linears, layers, definition_order),
        _by_equal_numbers(norms, linears),
        _by_neighbor(norms, linears, layers) if definition_order else None,
    ]
    for guess in guesses:
        if guess is not None and _fits(guess, norms, linears):
            return dict(zip(guess, norms, strict=True))
    raise CheckpointError(
        "Names and shapes do not determine which layer each normalization follows "
        f"({', '.join(norm.name for norm in norms[:4])}). {_USE_CLASS}"
    )


def _fits(positions: list[int], norms: list[LayerTensors], linears: list[LayerTensors]) -> bool:
    widths = {-1: linears[0].inputs} | {i: x.width for i, x in enumerate(linears[:-1])}
    return len(set(positions)) == len(norms) and all(
        widths.get(position) == norm.width for position, norm in zip(positions, norms, strict=True)
    )


def _by_shared_numbering(
    norms: list[LayerTensors], linears: list[LayerTensors]
) -> list[int] | None:
    """Place normalizations by number, as in nn.Sequential: ``net.4`` follows ``net.3``."""
    positions = []
    for norm in norms:
        family = [i for i, linear in enumerate(linears) if linear.family == norm.family]
        if not family or not norm.numbers:
            return None
        positions.append(family[0] - 1 + sum(linears[i].numbers < norm.numbers for i in family))
    return positions


def _one_each(
    norms: list[LayerTensors],
    linears: list[LayerTensors],
    layers: list[LayerTensors],
    definition_order: bool,
) -> list[int] | None:
    """Place one normalization after every linear layer but the last, in order."""
    is_input_norm = norms[0] is layers[0] and norms[0].width == linears[0].inputs
    if len(norms) != len(linears) - 1 or is_input_norm:
        return None
    pairs = {(x.family, norm.family) for x, norm in zip(linears, norms, strict=False)}
    families = len({family for family, _ in pairs}), len({family for _, family in pairs})
    if definition_order or families[1] == 1 or families == (len(pairs), len(pairs)):
        return list(range(len(norms)))
    return None


def _by_equal_numbers(norms: list[LayerTensors], linears: list[LayerTensors]) -> list[int] | None:
    """Place each after the linear layer with the same numbers: ``bn2`` follows ``fc2``."""
    positions = []
    for norm in norms:
        same = [i for i, linear in enumerate(linears) if linear.numbers == norm.numbers]
        if len(same) != 1 or not norm.numbers:
            return None
        positions += same
    return positions


def _by_neighbor(
    norms: list[LayerTensors], linears: list[LayerTensors], layers: list[LayerTensors]
) -> list[int]:
    """Place each after the linear layer that was defined before it."""
    index = {linear.name: i for i, linear in enumerate(linears)}
    before = -1
    positions = []
    for layer in layers:
        if layer.is_linear:
            before = index[layer.name]
        else:
            positions.append(before)
    return positions
