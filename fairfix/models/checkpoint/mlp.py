"""``--arch mlp:ACT``: a network of Linear and normalization layers, inferred from its tensors.

The tensors fix everything but the activation and, with BatchNorm, on which side of it the
normalization stands.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from fairfix._utils.text import did_you_mean
from fairfix.errors import UsageError
from fairfix.models.checkpoint.mlp_layers import Layer, chain, layers_in, norms_after

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
_ENOUGH_MEANS = 7  # means that all happen to be positive: a chance of 1 in 128


class InferredMLP(nn.Module):
    """Layers applied one after another, each kept under its stored name.

    The activations' names begin with ``activations``; they hold no tensors, so the state_dict has
    the stored keys alone.
    """

    def __init__(self, steps: Sequence[Layer | nn.Module], stored: Iterable[Layer]) -> None:
        """``steps`` in order of computation; its layers are kept in the order of ``stored``."""
        super().__init__()
        for layer in stored:
            _insert(self, layer.name, layer.build())
        holder = "activations"
        while holder in self._modules:
            holder += "_"
        activations = [step for step in steps if isinstance(step, nn.Module)]
        self.add_module(holder, nn.ModuleList(activations))
        names = (f"{holder}.{i}" for i in range(len(activations)))
        self._order = [step.name if isinstance(step, Layer) else next(names) for step in steps]

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) to the raw output of the last layer, (N, K)."""
        for name in self._order:
            features = self.get_submodule(name)(features)
        return features


def infer_mlp(
    words: str, tensors: Mapping[str, Tensor], *, registered: bool = True
) -> tuple[nn.Module, tuple[str, ...]]:
    """The network of ``mlp:words``, its weights not loaded, and notes saying what was inferred.

    ``words`` is an activation, or ``relu-bn`` / ``bn-relu`` to place the normalization after or
    before it. ``registered`` says that ``tensors`` stand in the order in which the class defined
    them, not sorted by name. Raises UsageError for words that are not understood or not enough,
    CheckpointError for tensors that are no such network or whose order cannot be told.
    """
    activation, norm_last = _parse(words)
    layers = layers_in(tensors)
    linears = chain([layer for layer in layers if layer.linear], registered=registered)
    norms = norms_after(linears, layers, registered=registered)
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
    notes.append("mlp: adds no sigmoid: the output of the last layer is read as a logit.")
    if not linears[0].name:  # a Linear layer on its own
        return linears[0].build(), tuple(notes)
    stored = layers if registered else [step for step in steps if isinstance(step, Layer)]
    return InferredMLP(steps, stored), tuple(notes)


def _parse(words: str) -> tuple[str, bool | None]:
    parts = words.lower().split("-")
    named = [part for part in parts if part not in _NORMS]
    if len(named) != 1 or len(parts) > 2 or named[0] not in ACTIVATIONS:
        known = f"; the activations are {', '.join(ACTIVATIONS)}."
        raise UsageError(
            "An inferred architecture is written mlp:relu, mlp:relu-bn (normalization after the "
            f"activation) or mlp:bn-relu (before it), not mlp:{words}"
            f"{did_you_mean(named[0] if named else words, ACTIVATIONS, known)}"
        )
    return named[0], (parts[1] in _NORMS if len(parts) == 2 else None)


def _infer_placement(activation: str, norms: list[Layer]) -> tuple[bool, str]:
    """Whether the normalization comes after the activation, and the sentence that says why."""
    ask = UsageError(
        f"Say on which side of {activation} the normalization stands: --arch mlp:{activation}-bn "
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
        if folder not in root._modules:
            setattr(root, folder, nn.Module())
        root = root.get_submodule(folder)
    setattr(root, leaf, module)
