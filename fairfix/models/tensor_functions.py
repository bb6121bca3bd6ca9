"""Intercept and inspect calls of tensor functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

_WEIGHTED = {"linear", "conv1d", "conv2d", "conv3d"}


class CallMode(TorchFunctionMode, ABC):
    """Intercept all calls of tensor functions while the mode is active."""

    @abstractmethod
    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the result of a call; functions that it calls itself are not intercepted."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return self.call(func, args, kwargs or {})


def function_name(function: Callable[..., Any]) -> str:
    """Return the name of a tensor function; in-place and overloaded variants have the same name."""
    name = getattr(function, "__name__", "").partition(".")[0]
    return name if name.startswith("_") else name.rstrip("_")


def is_weighted(function: Callable[..., Any]) -> bool:
    """Whether a function is linear or a convolution: it applies a weight (argument 2) to an input.

    The input is argument 1.
    """
    return function_name(function) in _WEIGHTED


def tensors_in(tree: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, lists and dictionaries, in order."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, (tuple, list)):
        return [tensor for item in tree for tensor in tensors_in(item)]
    return [tree] if isinstance(tree, Tensor) else []
