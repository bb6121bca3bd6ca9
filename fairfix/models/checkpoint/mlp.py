"""Infer a network of linear and normalization layers from its tensors (``mlp:ACTIVATION``).

The tensors determine everything but the activation and whether the normalization comes before or
after it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from fairfix._utils.detail import Detail
from fairfix._utils.text import did_you_mean
from fairfix.errors import CheckpointError, UsageError
from fairfix.models.checkpoint.mlp_layers import (
    LayerTensors,
    group_by_layer,
    order_linear_layers,
    place_norms,
)

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
_NONNEGATIVE = ("relu", "relu6", "sigmoid", "softplus")
_NORMS = ("bn", "ln", "norm")
_MIN_MEANS = 7  # fewer are all positive by chance in more than 1 of 128 cases


class InferredMLP(nn.Module):
    """Layers applied one after another, each under its stored name.

    The names of activations start with ``activations``. They have no tensors, so the ``state_dict``
    has only the stored keys.
    """

    def __init__(
        self, steps: Sequence[LayerTensors | nn.Module], stored: Iterable[LayerTensors]
    ) -> None:
        """Build the layers.

        Args:
            steps: layers and activations in order of computation.
            stored: the same layers in the order of the ``state_dict``.
        """
        super().__init__()
        for layer in stored:
            _insert(self, layer.name, layer.build())
        holder = "activations"
        while holder in self._modules:
            holder += "_"
        activations = [step for step in steps if isinstance(step, nn.Module)]
        self.add_module(holder, nn.ModuleList(activations))
        names = (f"{holder}.{i}" for i in range(len(activations)))
        self._order = [
            step.name if isinstance(step, LayerTensors) else next(names) for step in steps
        ]

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, D) to the raw output of the last layer, (N, K)."""
        for name in self._order:
            features = self.get_submodule(name)(features)
        return features


def infer_mlp(
    spec: str, tensors: Mapping[str, Tensor], *, definition_order: bool = True
) -> tuple[nn.Module, tuple[str, ...]]:
    """Infer the network of ``mlp:SPEC``.

    Args:
        spec: an activation, or ``relu-bn`` or ``bn-relu`` to place the normalization after or
            before it.
        tensors: by name.
        definition_order: the tensors are in the order in which the network's class defined
            them, not sorted by name.

    Returns:
        The network without the weights, and notes on what was inferred.

    Raises:
        UsageError: if ``spec`` is not understood, or must place the normalization.
        CheckpointError: if the tensors do not belong to such a network, or their order is
            ambiguous.
    """
    activation, norm_last = _parse(spec)
    layers = group_by_layer(tensors)
    linears = order_linear_layers(
        [layer for layer in layers if layer.is_linear], definition_order=definition_order
    )
    norms = place_norms(linears, layers, definition_order=definition_order)
    hidden = [norms[i] for i in range(len(linears) - 1) if i in norms]
    notes: list[str] = [_shape_note(linears, hidden, activation)]
    if hidden and norm_last is None:
        norm_last, note = _infer_norm_position(activation, hidden)
        notes.append(note)
    steps: list[LayerTensors | nn.Module] = [norms[-1]] if -1 in norms else []
    for i, linear in enumerate(linears[:-1]):
        steps += [linear, ACTIVATIONS[activation]()]
        if i in norms:
            steps.insert(len(steps) if norm_last else -1, norms[i])
    steps.append(linears[-1])
    notes.append(Detail("The output of the last layer is read as a logit (mlp: adds no sigmoid)."))
    if not linears[0].name:  # a single nn.Linear
        return linears[0].build(), tuple(notes)
    stored = (
        layers if definition_order else [step for step in steps if isinstance(step, LayerTensors)]
    )
    return InferredMLP(steps, stored), tuple(notes)


def is_mlp(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether the tensors may be those of linear and normalization layers in a row."""
    try:
        infer_mlp("relu-bn", tensors)
    except CheckpointError:
        return False
    return True


def _parse(spec: str) -> tuple[str, bool | None]:
    parts = spec.lower().split("-")
    named = [part for part in parts if part not in _NORMS]
    if len(named) != 1 or len(parts) > 2 or named[0] not in ACTIVATIONS:
        known = f"; the activations are {', '.join(ACTIVATIONS)}."
        raise UsageError(
            "An inferred architecture is written mlp:relu, mlp:relu-bn (normalization after the "
            f"activation) or mlp:bn-relu (before it), not mlp:{spec}"
            f"{did_you_mean(named[0] if named else spec, ACTIVATIONS, known)}"
        )
    return named[0], (parts[1] in _NORMS if len(parts) == 2 else None)


def _infer_norm_position(activation: str, norms: list[LayerTensors]) -> tuple[bool, str]:
    """Return whether the normalization comes after the activation, and a note with the reason.

    Raises:
        UsageError: if the running means do not show it.
    """
    ambiguous = UsageError(
        f"The tensors do not show whether normalization comes before or after {activation}. Use "
        f"--arch mlp:{activation}-bn (after it) or --arch mlp:bn-{activation} (before it)."
    )
    if activation not in _NONNEGATIVE or not all(norm.is_batch_norm for norm in norms):
        raise ambiguous
    means = torch.cat([norm.tensors["running_mean"].flatten().float() for norm in norms])
    negative = int((means < 0).sum())
    if negative:
        return False, Detail(
            f"BatchNorm was placed before {activation}: {negative} of {len(means)} running means "
            f"are negative, which {activation} never is (inferred)."
        )
    if len(means) < _MIN_MEANS or not means.any():
        raise ambiguous
    return True, Detail(
        f"BatchNorm was placed after {activation}: none of {len(means)} running means is negative "
        "(inferred)."
    )


def _shape_note(linears: list[LayerTensors], norms: list[LayerTensors], activation: str) -> Detail:
    widths = " -> ".join(
        f"{width} x{n}" if (n := len(list(run))) > 1 else str(width)
        for width, run in groupby(linear.width for linear in linears)
    )
    return Detail(
        f"Architecture inferred from the tensors: {len(linears)} Linear layers "
        f"({linears[0].inputs} -> {widths}), {activation} after each but the last{_norms(norms)}, "
        "one after another with torch's default settings. A network with skip connections or "
        "other steps needs its class (--arch file.py:Class).",
        f"{len(linears)} Linear layers with {activation}{_norms(norms)}",
    )


def _norms(norms: list[LayerTensors]) -> str:
    kinds = Counter("BatchNorm" if norm.is_batch_norm else "LayerNorm" for norm in norms)
    return "".join(f", {count} {kind} layers" for kind, count in kinds.items())


def _insert(root: nn.Module, name: str, module: nn.Module) -> None:
    *folders, leaf = name.split(".")
    for folder in folders:
        if folder not in root._modules:
            setattr(root, folder, nn.Module())
        root = root.get_submodule(folder)
    setattr(root, leaf, module)
