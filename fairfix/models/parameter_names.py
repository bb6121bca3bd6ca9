"""Select the parameters of a network by name."""

from __future__ import annotations

from torch import nn

from fairfix._utils.name_list import split_names
from fairfix.errors import UsageError


def select_parameters(network: nn.Module, layers: str = "") -> dict[str, nn.Parameter]:
    """Return the parameters of the named layers.

    Args:
        network: the network.
        layers: comma-separated names of parameters or modules; empty for all parameters.

    Raises:
        UsageError: if a name matches no parameter, or the network has no parameters.
    """
    parameters = dict(network.named_parameters())
    names = split_names(layers)
    for name in names:
        if not any(_belongs_to(parameter, name) for parameter in parameters):
            raise UsageError(
                f"The network has no layer {name!r}; layers: {', '.join(layer_names(network))}."
            )
    selected = {
        name: parameter
        for name, parameter in parameters.items()
        if not names or any(_belongs_to(name, layer) for layer in names)
    }
    if not selected:
        raise UsageError("The network has no parameters that could be changed.")
    return selected


def layer_names(network: nn.Module) -> list[str]:
    """Return the names of the modules that own parameters, in the network's order."""
    return list(
        dict.fromkeys(name.rpartition(".")[0] or name for name, _ in network.named_parameters())
    )


def _belongs_to(parameter: str, layer: str) -> bool:
    return parameter == layer or parameter.startswith(f"{layer}.")
