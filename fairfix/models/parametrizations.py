"""Weights that are computed from other parameters: weight norm, spectral norm and the like."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from fairfix._utils.text import quoted_list

_MARK = ".parametrizations."
_HOOKS = {
    "weight_g": "weight_norm",
    "weight_v": "weight_norm",
    "weight_orig": "spectral_norm or torch.nn.utils.prune",
}
_TITLES = {"_WeightNorm": "weight_norm", "_SpectralNorm": "spectral_norm"}


def parametrized_layer(parameter: str) -> str | None:
    """Return the layer whose weight is computed from a parameter; None for a plain parameter.

    Args:
        parameter: its name, such as ``body.0.parametrizations.weight.original0`` or
            ``body.0.weight_g``.
    """
    if _MARK in parameter:
        return parameter.partition(_MARK)[0]
    layer, _, leaf = parameter.rpartition(".")
    return layer if leaf in _HOOKS else None


def unprunable_reason(module: nn.Module, hidden: Sequence[str]) -> str:
    """Say why no unit of the named hidden layers can be pruned, and what to do."""
    if not hidden:
        return "no linear or convolutional layer feeds another one. Use another method."
    kinds = [
        _kind(module, name)
        for name, _ in module.named_parameters()
        if parametrized_layer(name) in hidden
    ]
    names = quoted_list(dict.fromkeys(hidden), limit=3)
    if kinds:
        return (
            f"weights of its hidden layers ({names}) are computed by "
            f"{', '.join(dict.fromkeys(kinds))}, so zeroing a part of a parameter changes more "
            "than a unit. Remove the parametrization and save the network again, or use another "
            "method."
        )
    return (
        f"its hidden layers ({names}) are used more than once, or feed operations after which "
        "zeroing parameters does not remove a unit. Use another method."
    )


def _kind(module: nn.Module, parameter: str) -> str:
    """Return the name of the parametrization that a parameter belongs to."""
    if _MARK not in parameter:
        return _HOOKS[parameter.rpartition(".")[2]]
    listed = module.get_submodule(parameter.rpartition(".")[0])
    kinds = (type(each).__name__ for each in listed.children())
    return ", ".join(_TITLES.get(kind, kind.strip("_")) for kind in kinds)
