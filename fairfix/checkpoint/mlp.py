"""``--arch mlp:ACT``: a network of Linear and normalisation layers, inferred from its tensors.

The tensors fix everything but the activation and, with BatchNorm, on which side of it the
normalisation stands. Where the order of layers cannot be told from shapes and names, this says so
instead of guessing.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby, pairwise, permutations

import torch
from torch import Tensor, nn

from fairfix.checkpoint.naming import natural
from fairfix.errors import CheckpointError, UsageError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
}
_NEVER_NEGATIVE = ("relu", "relu6", "sigmoid", "softplus")
_NORMS = ("bn", "ln", "norm")
_BATCH_NORM = {"running_mean", "running_var"}
_ENOUGH_MEANS = 7  # means that all happen to be positive: a chance of 1 in 128
_MOST_BLOCKS = 6  # orders of more groups of names than this are not searched
_CLASS_INSTEAD = "Name the network's class instead, with --arch file.py:Class."


@dataclass(frozen=True)
class Layer:
    """A layer as its tensors show it; ``width`` is what it gives."""

    name: str
    tensors: Mapping[str, Tensor]

    @property
    def understood(self) -> bool:
        """Whether the tensors are those of Linear, BatchNorm1d or LayerNorm."""
        shapes = {name: tensor.ndim for name, tensor in self.tensors.items()}
        shapes.pop("num_batches_tracked" if self.batch_norm else "", None)
        weight = shapes.pop("weight", None)
        rest = {"bias"} | (_BATCH_NORM if self.batch_norm else set())
        vectors = shapes.keys() <= rest and set(shapes.values()) <= {1}
        return bool(self.name) and vectors and (self.batch_norm or weight in (1, 2))

    @property
    def linear(self) -> bool:
        return "weight" in self.tensors and self.tensors["weight"].ndim == 2

    @property
    def batch_norm(self) -> bool:
        return self.tensors.keys() >= _BATCH_NORM

    @property
    def inputs(self) -> int:
        return self.tensors["weight"].shape[1]

    @property
    def width(self) -> int:
        return next(iter(self.tensors.values())).shape[0]

    @property
    def family(self) -> str:
        """The name with its numbers left open: ``fcs.#`` for ``fcs.0``."""
        return re.sub(r"\d+", "#", self.name)

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(map(int, re.findall(r"\d+", self.name)))

    def build(self) -> nn.Module:
        """The torch layer with these tensors' names and shapes, its weights not loaded."""
        if self.linear:
            return nn.Linear(self.inputs, self.width, bias="bias" in self.tensors)
        if self.batch_norm:
            norm = nn.BatchNorm1d(self.width, affine="weight" in self.tensors)
            if "num_batches_tracked" not in self.tensors:
                norm.num_batches_tracked = None
            return norm
        return nn.LayerNorm(self.width, bias="bias" in self.tensors)


class InferredMLP(nn.Module):
    """Layers applied one after another, each kept under its stored name.

    The activations' names begin with ``activations``; they hold no tensors, so the state_dict has
    the stored keys alone.
    """

    def __init__(self, steps: Sequence[Layer | nn.Module], stored: Iterable[Layer]) -> None:
        """``steps`` in order of computation; the layers among them are ``stored`` in that order."""
        super().__init__()
        for layer in stored:
            _insert(self, layer.name, layer.build())
        holder = "activations"
        while hasattr(self, holder):
            holder += "_"
        activations = nn.ModuleList(step for step in steps if isinstance(step, nn.Module))
        setattr(self, holder, activations)
        names = (f"{holder}.{i}" for i in range(len(activations)))
        self.order = [step.name if isinstance(step, Layer) else next(names) for step in steps]

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) to the raw output of the last layer, (N, K)."""
        for name in self.order:
            features = self.get_submodule(name)(features)
        return features


def infer_mlp(
    words: str, tensors: Mapping[str, Tensor], *, registered: bool = True
) -> tuple[nn.Module, tuple[str, ...]]:
    """The network of ``mlp:words``, its weights not loaded, and notes saying what was inferred.

    ``words`` is an activation, or ``relu-bn`` / ``bn-relu`` to place the normalisation after or
    before it. ``registered`` says that ``tensors`` stand in the order in which the class defined
    them, not sorted by name. Raises UsageError for words that are not understood or not enough,
    CheckpointError for tensors that are no such network or whose order cannot be told.
    """
    activation, norm_last = _parse(words)
    layers = _layers(tensors)
    linears = _chain([layer for layer in layers if layer.linear], registered)
    norms = _norms([layer for layer in layers if not layer.linear], linears, layers, registered)
    hidden = [norms[i] for i in range(len(linears) - 1) if i in norms]
    notes = [_shape_note(linears, activation)]
    if hidden and norm_last is None:
        norm_last, why = _infer_placement(activation, hidden)
        notes.append(why)
    steps: list[Layer | nn.Module] = [norms[-1]] if -1 in norms else []
    for i, linear in enumerate(linears[:-1]):
        steps += [linear, ACTIVATIONS[activation]()]
        if i in norms:
            steps.insert(len(steps) if norm_last else -1, norms[i])
    steps.append(linears[-1])
    notes.append(f"The output of the last layer, {linears[-1].name}, is read as a logit.")
    return InferredMLP(steps, layers), tuple(notes)


def _parse(words: str) -> tuple[str, bool | None]:
    parts = words.lower().split("-")
    named = [part for part in parts if part not in _NORMS]
    if len(named) != 1 or len(parts) > 2 or named[0] not in ACTIVATIONS:
        near = get_close_matches(named[0] if named else "", ACTIVATIONS, 1)
        hint = f"Did you mean mlp:{near[0]}?" if near else f"Known: {', '.join(ACTIVATIONS)}."
        raise UsageError(
            f"--arch mlp:{words} is not understood; write mlp:relu, mlp:relu-bn (normalisation "
            f"after the activation) or mlp:bn-relu (before it). {hint}"
        )
    return named[0], (parts[1] in _NORMS if len(parts) == 2 else None)


def _layers(tensors: Mapping[str, Tensor]) -> list[Layer]:
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        groups.setdefault(layer, {})[part] = tensor
    layers = [Layer(name, parts) for name, parts in groups.items()]
    for layer in layers:
        if not layer.understood:
            shapes = ", ".join(f"{k} {list(v.shape)}" for k, v in layer.tensors.items())
            raise CheckpointError(
                f"mlp: is for Linear and normalisation layers alone, and {layer.name!r} is "
                f"neither ({shapes}). {_CLASS_INSTEAD}"
            )
    return layers


def _chain(linears: list[Layer], registered: bool) -> list[Layer]:
    """The Linear layers in the one order in which each takes what the one before it gives."""
    if not linears:
        raise CheckpointError(f"There is no Linear layer among the tensors. {_CLASS_INSTEAD}")
    if registered and _follows(linears):
        return linears
    families = _families(linears)
    orders = [sorted(linears, key=lambda layer: natural(layer.name))]
    if len(families) <= _MOST_BLOCKS:
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


def _norms(
    norms: list[Layer], linears: list[Layer], layers: list[Layer], registered: bool
) -> dict[int, Layer]:
    """Each normalisation by the index of the Linear layer that it follows; -1 is the input."""
    if not norms:
        return {}
    if not registered:
        norms = sorted(norms, key=lambda layer: natural(layer.name))
    guesses = [
        _by_shared_numbering(norms, linears),
        _one_each(norms, linears, registered),
        _by_equal_numbers(norms, linears),
        _by_neighbour(norms, linears, layers) if registered else None,
    ]
    for guess in guesses:
        if guess is not None and _fits(guess, norms, linears):
            return dict(zip(guess, norms, strict=True))
    raise CheckpointError(
        "It cannot be told from names and shapes which layer each normalisation follows "
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


def _one_each(norms: list[Layer], linears: list[Layer], registered: bool) -> list[int] | None:
    """One for every Linear layer but the last, in order."""
    if len(norms) != len(linears) - 1:
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


def _by_neighbour(norms: list[Layer], linears: list[Layer], layers: list[Layer]) -> list[int]:
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


def _infer_placement(activation: str, norms: list[Layer]) -> tuple[bool, str]:
    """Whether the normalisation comes after the activation, and the sentence that says why."""
    ask = UsageError(
        f"Say on which side of {activation} the normalisation stands: --arch mlp:{activation}-bn "
        f"(after it) or --arch mlp:bn-{activation} (before it)."
    )
    if activation not in _NEVER_NEGATIVE or not all(norm.batch_norm for norm in norms):
        raise ask
    means = torch.cat([norm.tensors["running_mean"].flatten().float() for norm in norms])
    negative = int((means < 0).sum())
    if negative:
        return False, (
            f"BatchNorm was placed before {activation}: {negative} of {len(means)} running means "
            f"are negative, which {activation} never gives (inferred)."
        )
    if len(means) < _ENOUGH_MEANS or not means.any():  # too few to have all come out so by chance
        raise ask
    return True, (
        f"BatchNorm was placed after {activation}: none of {len(means)} running means is negative "
        "(inferred)."
    )


def _shape_note(linears: list[Layer], activation: str) -> str:
    widths = " -> ".join(
        f"{width} x{n}" if (n := len(list(run))) > 1 else str(width)
        for width, run in groupby(linear.width for linear in linears)
    )
    return (
        f"Architecture inferred from the tensors: {len(linears)} Linear layers "
        f"({linears[0].inputs} -> {widths}), {activation} after each but the last, torch's "
        "default settings."
    )


def _insert(root: nn.Module, name: str, module: nn.Module) -> None:
    *folders, leaf = name.split(".")
    for folder in folders:
        if not hasattr(root, folder):
            root.add_module(folder, nn.Module())
        root = root.get_submodule(folder)
    root.add_module(leaf, module)
