"""Choosing parameters of a network by name."""

from __future__ import annotations

from torch import nn

from fairfix.errors import UsageError


def chosen_parameters(network: nn.Module, layers: str = "") -> dict[str, nn.Parameter]:
    """Parameters whose name is one of the comma-separated names or lies below one; all if empty.

    Raises:
        UsageError: for a name that no parameter has, or a network without parameters.
    """
    parameters = dict(network.named_parameters())
    wanted = [name.strip() for name in layers.split(",") if name.strip()]
    for name in wanted:
        if not any(_below(parameter, name) for parameter in parameters):
            raise UsageError(
                f"The network has no layer {name!r}; it has {', '.join(layer_names(network))}."
            )
    found = {
        name: parameter
        for name, parameter in parameters.items()
        if not wanted or any(_below(name, layer) for layer in wanted)
    }
    if not found:
        raise UsageError("The network has no parameters that could be changed.")
    return found


def layer_names(network: nn.Module) -> list[str]:
    """The modules that hold parameters of their own, in the network's order."""
    return list(
        dict.fromkeys(name.rpartition(".")[0] or name for name, _ in network.named_parameters())
    )


def _below(parameter: str, layer: str) -> bool:
    return parameter == layer or parameter.startswith(f"{layer}.")
