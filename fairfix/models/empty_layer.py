"""Layers whose tensors are allocated but not initialized."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import nn

Layer = TypeVar("Layer", bound=nn.Module)


def empty_layer(kind: type[Layer], *arguments: Any, **keywords: Any) -> Layer:
    """Return a layer with parameters of unspecified values, on the CPU.

    ``torch.nn.utils.skip_init`` does the same, but imports sympy for it, which takes longer than
    most commands.

    Args:
        kind: a class of torch whose parameters are its own, not those of layers inside.
        arguments, keywords: of the class.
    """
    with torch.device("meta"):
        layer = kind(*arguments, **keywords)
    for name, parameter in list(layer.named_parameters()):
        setattr(layer, name, nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype)))
    return layer
