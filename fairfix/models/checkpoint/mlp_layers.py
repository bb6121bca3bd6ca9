"""The layers of a network of Linear and normalization layers, and their order, from its tensors.

Where the order cannot be told from shapes and names, this says so instead of guessing.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

from torch import Tensor, nn

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.tensor_names import natural

_BATCH_NORM = {"running_mean", "running_var"}
_COUNTER = "num_batches_tracked"
_MOST_FAMILIES = 6  # orders of more groups of names than this are not searched
_CLASS_INSTEAD = "Name the network's class instead, with --arch file.py:Class."


@dataclass(frozen=True)
class Layer:
    """A layer as its tensors show it: its dotted name, and each tensor by its own short name."""

    name: str
    tensors: Mapping[str, Tensor]

    @property
    def understood(self) -> bool:
        """Whether the tensors are those of Linear, BatchNorm1d or LayerNorm."""
        dims = {name: tensor.ndim for name, tensor in self.tensors.items()}
        if self.batch_norm:
            dims.pop(_COUNTER, None)
            return dims.keys() <= _BATCH_NORM | {"weight", "bias"} and set(dims.values()) == {1}
        # A vector on its own could be a PReLU, an RMSNorm or a LayerNorm without bias.
        return dims in ({"weight": 2}, {"weight": 2, "bias": 1}, {"weight": 1, "bias": 1})

    @property
    def linear(self) -> bool:
        """Whether it is a Linear layer, and not a normalization."""
        return not self.batch_norm and self.tensors["weight"].ndim == 2

    @property
    def batch_norm(self) -> bool:
        """Whether it keeps running statistics."""
        return self.tensors.keys() >= _BATCH_NORM

    @property
    def inputs(self) -> int:
        """How many features a Linear layer takes."""
        return self.tensors["weight"].shape[1]

    @property
    def width(self) -> int:
        """How many features it gives."""
        return self.tensors["running_mean" if self.batch_norm else "weight"].shape[0]

    @property
    def family(self) -> str:
        """The name with its numbers left open: ``fcs.#`` for ``fcs.0``."""
        return re.sub(r"\d+", "#", self.name)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers in the name."""
        return tuple(map(int, re.findall(r"\d+", self.name)))

    def build(self) -> nn.Module:
        """The torch layer with these tensors' names and shapes, its weights not loaded."""
        if self.linear:
            return nn.Linear(self.inputs, self.width, bias="bias" in self.tensors)
        if self.batch_norm:
            norm = nn.BatchNorm1d(self.width, affine="weight" in self.tensors)
            if _COUNTER not in self.tensors:
                norm.num_batches_tracked = None
            return norm
        return nn.LayerNorm(self.width)


def layers_in(tensors: Mapping[str, Tensor]) -> list[Layer]:
    """The layers, in the order of ``tensors``.

    Raises CheckpointError for tensors that belong to a layer of another kind.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        owner, _, part = name.rpartition(".")
        groups.setdefault(owner, {})[part] = tensor
    layers = [Layer(name, parts) for name, parts in groups.items()]
    for layer in layers:
        if not layer.understood or (not layer.name and len(layers) > 1):
            shapes = ", ".join(f"{k} {list(v.shape)}" for k, v in layer.tensors.items())
            raise CheckpointError(
                f"mlp: is for Linear and normalization layers alone, and {layer.name!r} is "
                f"neither ({shapes}). {_CLASS_INSTEAD}"
            )
    return layers


def chain(linears: list[Layer], *, registered: bool) -> list[Layer]:
    """The Linear layers in the one order in which each takes what the one before it gives.

    ``registered`` says that they stand in the order in which their class defined them; that holds
    where it fits. Raises CheckpointError where no order fits, or several do.
    """
    if not linears:
        raise CheckpointError(f"There is no Linear layer among the tensors. {_CLASS_INSTEAD}")
    if registered and _follows(linears):
        return linears
    families = _families(linears)
    orders = [sorted(linears, key=lambda layer: natural(layer.name))]
    if len(families) <= _MOST_FAMILIES:
        orders += [[layer for f in order for layer in f] for order in permutations(families)]
    valid = {tuple(layer.name for layer in order): order for order in orders if _follows(order)}
    if len(valid) != 1:
        found = "several orders fit" if valid else "no order fits"
        widths = ", ".join(f"{x.name} {x.inputs}->{x.width}" for x in linears[:6])
        raise CheckpointError(
            f"The order of the layers cannot be told from names and shapes ({found}): {widths}. "
            f"{_CLASS_INSTEAD}"
        )
    return next(iter(valid.values()))


def _follows(linears: Sequence[Layer]) -> bool:
    return all(before.width == after.inputs for before, after in pairwise(linears))


def _families(layers: Iterable[Layer]) -> list[list[Layer]]:
    families: dict[str, list[Layer]] = {}
    for layer in layers:
        families.setdefault(layer.family, []).append(layer)
    return [sorted(family, key=lambda layer: layer.numbers) for family in families.values()]


def norms_after(linears: list[Layer], layers: list[Layer], *, registered: bool) -> dict[int, Layer]:
    """Each normalization by the index in ``linears`` of the one it follows; -1 is the input.

    ``layers`` are all layers, in the order of the file. Raises CheckpointError where it cannot be
    told which normalization goes where.
    """
    norms = [layer for layer in layers if not layer.linear]
    if not norms:
        return {}
    if not registered:
        norms = sorted(norms, key=lambda layer: natural(layer.name))
    guesses = [
        _by_shared_numbering(norms, linears),
        _one_each(norms, linears, layers, registered),
        _by_equal_numbers(norms, linears),
        _by_neighbor(norms, linears, layers) if registered else None,
    ]
    for guess in guesses:
        if guess is not None and _fits(guess, norms, linears):
            return dict(zip(guess, norms, strict=True))
    raise CheckpointError(
        "It cannot be told from names and shapes which layer each normalization follows "
        f"({', '.join(norm.name for norm in norms[:4])}). {_CLASS_INSTEAD}"
    )


def _fits(positions: list[int], norms: list[Layer], linears: list[Layer]) -> bool:
    widths = {-1: linears[0].inputs} | {i: x.width for i, x in enumerate(linears[:-1])}
    return len(set(positions)) == len(norms) and all(
        widths.get(position) == norm.width for position, norm in zip(positions, norms, strict=True)
    )


def _by_shared_numbering(norms: list[Layer], linears: list[Layer]) -> list[int] | None:
    """As in nn.Sequential: ``net.4`` follows ``net.3``."""
    positions = []
    for norm in norms:
        kin = [i for i, linear in enumerate(linears) if linear.family == norm.family]
        if not kin or not norm.numbers:
            return None
        positions.append(kin[0] - 1 + sum(linears[i].numbers < norm.numbers for i in kin))
    return positions


def _one_each(
    norms: list[Layer], linears: list[Layer], layers: list[Layer], registered: bool
) -> list[int] | None:
    """One for every Linear layer but the last, in order."""
    for_input = norms[0] is layers[0] and norms[0].width == linears[0].inputs
    if len(norms) != len(linears) - 1 or for_input:
        return None
    pairs = {(x.family, norm.family) for x, norm in zip(linears, norms, strict=False)}
    families = len({family for family, _ in pairs}), len({family for _, family in pairs})
    if registered or families[1] == 1 or families == (len(pairs), len(pairs)):
        return list(range(len(norms)))
    return None


def _by_equal_numbers(norms: list[Layer], linears: list[Layer]) -> list[int] | None:
    """``bn2`` follows ``fc2``."""
    positions = []
    for norm in norms:
        same = [i for i, linear in enumerate(linears) if linear.numbers == norm.numbers]
        if len(same) != 1 or not norm.numbers:
            return None
        positions += same
    return positions


def _by_neighbor(norms: list[Layer], linears: list[Layer], layers: list[Layer]) -> list[int]:
    """Each follows the Linear layer defined before it."""
    index = {linear.name: i for i, linear in enumerate(linears)}
    before = -1
    positions = []
    for layer in layers:
        if layer.linear:
            before = index[layer.name]
        else:
            positions.append(before)
    return positions
