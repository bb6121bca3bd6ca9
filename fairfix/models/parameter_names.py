"""Select the parameters of a network by name."""

from __future__ import annotations

from fnmatch import fnmatchcase

from torch import nn

from fairfix._utils.name_list import joined_names, split_names
from fairfix.errors import UsageError

HEAD = "head"
"""Name of the last module with parameters."""


def select_parameters(network: nn.Module, layers: str = "") -> dict[str, nn.Parameter]:
    """Return the parameters of the named layers.

    Args:
        network: the network.
        layers: comma-separated names of parameters or modules, or patterns of them such as
            ``fcs.*``; ``head`` is the last module with parameters, unless a module has that name.
            Empty for all parameters.

    Raises:
        UsageError: if a name matches no parameter, or the network has no parameters.
    """
    parameters = dict(network.named_parameters())
    if not parameters:
        raise UsageError("The network has no parameters that could be changed.")
    names = split_names(layers)
    if not names:
        return parameters
    selected: set[str] = set()
    for name in names:
        found = {parameter for parameter in parameters if belongs_to(parameter, name)}
        if not found and name == HEAD:
            last = layer_names(network)[-1]
            found = {parameter for parameter in parameters if belongs_to(parameter, last)}
        if not found:
            raise UsageError(
                f"The network has no layer {name!r}; layers: {', '.join(layer_names(network))}."
            )
        selected |= found
    return {name: parameter for name, parameter in parameters.items() if name in selected}


def last_layers(network: nn.Module, most: int) -> str:
    """Return the names of the last modules that own parameters, for ``select_parameters``.

    Empty if all parameters together have at most ``most`` entries. Else as many modules as that
    allows, at least one.
    """
    sizes = dict.fromkeys(layer_names(network), 0)
    for name, parameter in network.named_parameters():
        sizes[name.rpartition(".")[0] or name] += parameter.numel()
    if sum(sizes.values()) <= most:
        return ""
    chosen: list[str] = []
    for name in reversed(sizes):
        most -= sizes[name]
        if chosen and most < 0:
            break
        chosen.insert(0, name)
    return joined_names(chosen)


def layer_names(network: nn.Module) -> list[str]:
    """Return the names of the modules that own parameters, in the network's order."""
    return list(
        dict.fromkeys(name.rpartition(".")[0] or name for name, _ in network.named_parameters())
    )


def belongs_to(parameter: str, layer: str) -> bool:
    """Whether a parameter or layer, or a module that contains it, has a name or pattern."""
    parts = parameter.split(".")
    names = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
    return any(name == layer or fnmatchcase(name, layer) for name in names)
