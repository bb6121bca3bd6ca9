"""Which layers a network applies one after another, when it does nothing else.

The network runs once on a few rows while every tensor function is watched, however it is called.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from fairfix.models.prunable_units import tensors_in
from fairfix.models.scorer import Scorer, raw_output

Function = Callable[[Tensor], Tensor]
Folded = tuple[Tensor, Tensor]

_ELEMENTWISE = {
    *("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "tanh"),
    *("hardtanh", "hardswish", "hardsigmoid", "softsign", "sigmoid", "softplus", "logsigmoid"),
    *("clamp", "clamp_min"),
}
_RESHAPES = {"flatten", "view", "reshape", "squeeze", "contiguous", "__getitem__"}


@dataclass(frozen=True)
class Norm:
    """A BatchNorm in evaluation mode."""

    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float

    def line(self, versions_of: Function) -> Folded:
        """Scale and shift, (B or 1, units) each."""
        scale = (versions_of(self.variance) + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * versions_of(self.weight)
        shift = -versions_of(self.mean) * scale
        return scale, shift if self.bias is None else shift + versions_of(self.bias)


@dataclass
class Layer:
    """A linear layer, a BatchNorm on either side of it, and the functions that follow."""

    weight: Tensor
    bias: Tensor | None
    before: Norm | None
    after: Norm | None
    behind: list[Function]

    def folded(self, versions_of: Function) -> Folded:
        """Weight (B or 1, units, inputs) and bias (B or 1, units, 1) that do all but the latter."""
        weight = versions_of(self.weight)
        bias = (
            weight.new_zeros(1, 1, 1) if self.bias is None else versions_of(self.bias).unsqueeze(2)
        )
        if self.before is not None:
            scale, shift = self.before.line(versions_of)
            bias = bias + weight @ shift.unsqueeze(2)
            weight = weight * scale.unsqueeze(1)
        if self.after is not None:
            scale, shift = self.after.line(versions_of)
            bias = bias * scale.unsqueeze(2) + shift.unsqueeze(2)
            weight = weight * scale.unsqueeze(2)
        return weight, bias.expand(-1, weight.shape[1], 1)


@torch.no_grad()
def plain_layers(scorer: Scorer, features: Tensor) -> list[Layer] | None:
    """The layers of the scorer's network, in evaluation mode; None where there is more to it.

    Args:
        features: (N, D); the first two rows are run.
    """
    rows = features[:2]
    trace = _Trace(rows)
    with trace:
        output = raw_output(scorer.network, rows)
    whole = output is trace.tensor and not trace.broken and trace.pending is None
    return trace.layers if whole and trace.layers else None


class _Trace(TorchFunctionMode):
    """Watches one pass; ``broken`` once something is called that is no part of a chain.

    Attributes:
        tensor: what the last call gave.
        layers: those met.
        pending: a BatchNorm that the next linear layer must take up.
    """

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.tensor = features
        self.layers: list[Layer] = []
        self.pending: Norm | None = None
        self.broken = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        given = tensors_in((args, kwargs))
        before = self.tensor.shape
        result = func(*args, **kwargs)
        if isinstance(result, Tensor) and args and args[0] is self.tensor:
            self.broken |= not self._met(func, args, kwargs, len(given), before, result)
            self.tensor = result
        else:
            self.broken |= bool(tensors_in(result)) or func is Tensor.__setitem__
        return result

    def _met(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        tensors: int,
        before: torch.Size,
        result: Tensor,
    ) -> bool:
        """Take a call on the tensor up into the chain; whether it has a place there."""
        if func is functional.linear:
            return self._linear(*args, **kwargs)
        if func is functional.batch_norm:
            return self._norm(inspect.signature(func).bind(*args, **kwargs).arguments)
        if tensors > 1 or self.pending is not None:
            return False
        if func is functional.dropout:
            return not inspect.signature(func).bind(*args, **kwargs).arguments["training"]
        name = getattr(func, "__name__", "")
        name = name if name.startswith("_") else name.rstrip("_")
        if name in _RESHAPES:
            return result.shape == before or result.numel() == before.numel() == before[0]
        if not self.layers:
            return False
        if name == "relu":
            self.layers[-1].behind.append(torch.relu_)
        elif name in _ELEMENTWISE or (name == "softmax" and before[1:].numel() == 2):
            self.layers[-1].behind.append(lambda x: func(x, *args[1:], **kwargs))
        else:
            return False
        return True

    def _linear(self, _input: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
        self.layers.append(Layer(weight, bias, self.pending, None, []))
        self.pending = None
        return weight.dim() == 2

    def _norm(self, given: Mapping[str, Any]) -> bool:
        if given.get("training") or given["running_mean"] is None or self.pending is not None:
            return False
        norm = Norm(
            given["running_mean"],
            given["running_var"],
            given.get("weight"),
            given.get("bias"),
            given.get("eps", 1e-5),
        )
        last = self.layers[-1] if self.layers else None
        if last is None or last.behind:
            self.pending = norm
            return True
        if last.after is not None:
            return False
        last.after = norm
        return True
