"""Find the layers of a network that applies layers one after another and nothing else.

The network runs once on a few rows while every tensor function is intercepted, however it is
called.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fairfix.models.inputs import Batch
from fairfix.models.scorer import Scorer, raw_output
from fairfix.models.tensor_functions import CallMode, tensors_in

TensorFunction = Callable[[Tensor], Tensor]
WeightAndBias = tuple[Tensor, Tensor]

_ELEMENTWISE = {
    *("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "tanh"),
    *("hardtanh", "hardswish", "hardsigmoid", "softsign", "sigmoid", "softplus", "logsigmoid"),
    *("clamp", "clamp_min"),
}
_RESHAPES = {"flatten", "view", "reshape", "squeeze", "contiguous", "__getitem__"}


@dataclass(frozen=True)
class FrozenBatchNorm:
    """A BatchNorm in evaluation mode."""

    mean: Tensor
    variance: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float

    def scale_and_shift(self, batch_of: TensorFunction) -> WeightAndBias:
        """Return scale and shift, (B or 1, units) each. See ``LinearLayer.folded``."""
        scale = (batch_of(self.variance) + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * batch_of(self.weight)
        shift = -batch_of(self.mean) * scale
        return scale, shift if self.bias is None else shift + batch_of(self.bias)


@dataclass
class LinearLayer:
    """A linear layer, the BatchNorm before and after it, and the elementwise functions that follow.

    Attributes:
        functions: applied after ``norm_after``, in order.
    """

    weight: Tensor
    bias: Tensor | None
    norm_before: FrozenBatchNorm | None
    norm_after: FrozenBatchNorm | None
    functions: list[TensorFunction]

    def folded(self, batch_of: TensorFunction) -> WeightAndBias:
        """Return weight (B or 1, units, inputs) and bias (B or 1, units, 1) with BatchNorm folded.

        Args:
            batch_of: maps a tensor of the network to its values in a batch, (B or 1, *shape).
        """
        weight = batch_of(self.weight)
        bias = weight.new_zeros(1, 1, 1) if self.bias is None else batch_of(self.bias).unsqueeze(2)
        if self.norm_before is not None:
            scale, shift = self.norm_before.scale_and_shift(batch_of)
            bias = bias + weight @ shift.unsqueeze(2)
            weight = weight * scale.unsqueeze(1)
        if self.norm_after is not None:
            scale, shift = self.norm_after.scale_and_shift(batch_of)
            bias = bias * scale.unsqueeze(2) + shift.unsqueeze(2)
            weight = weight * scale.unsqueeze(2)
        return weight, bias.expand(-1, weight.shape[1], 1)


@torch.no_grad()
def find_layer_sequence(scorer: Scorer, features: Tensor) -> list[LinearLayer] | None:
    """Return the layers of the scorer's network in order; None if it does anything else.

    Args:
        scorer: in evaluation mode.
        features: (N, D); only the first two rows are run.
    """
    rows = features[:2]
    tracer = _SequenceTracer(rows)
    with tracer:
        output = raw_output(scorer.network, Batch([rows]))
    is_complete = output is tracer.tensor and not tracer.failed and tracer.pending is None
    return tracer.layers if is_complete and tracer.layers else None


class _SequenceTracer(CallMode):
    """Collect the layers of one forward pass.

    Attributes:
        tensor: the result of the last call.
        layers: the layers so far.
        pending: a BatchNorm to fold into the next linear layer.
        failed: True after a call that does not fit into a sequence of layers.
    """

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.tensor = features
        self.layers: list[LinearLayer] = []
        self.pending: FrozenBatchNorm | None = None
        self.failed = False

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See ``CallMode``."""
        inputs = tensors_in((args, kwargs))
        before = self.tensor.shape
        result = func(*args, **kwargs)
        if isinstance(result, Tensor) and args and args[0] is self.tensor:
            self.failed |= not self._add(func, args, kwargs, len(inputs), before, result)
            self.tensor = result
        else:
            self.failed |= bool(tensors_in(result)) or func is Tensor.__setitem__
        return result

    def _add(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        tensors: int,
        before: torch.Size,
        result: Tensor,
    ) -> bool:
        """Add a call on the tensor to the sequence; return False if it does not fit."""
        if func is functional.linear:
            return self._add_linear(*args, **kwargs)
        if func is functional.batch_norm:
            return self._add_norm(inspect.signature(func).bind(*args, **kwargs).arguments)
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
            self.layers[-1].functions.append(torch.relu_)
        elif name in _ELEMENTWISE or (name == "softmax" and before[1:].numel() == 2):
            self.layers[-1].functions.append(lambda x: func(x, *args[1:], **kwargs))
        else:
            return False
        return True

    def _add_linear(self, _input: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
        self.layers.append(LinearLayer(weight, bias, self.pending, None, []))
        self.pending = None
        return weight.dim() == 2

    def _add_norm(self, given: Mapping[str, Any]) -> bool:
        if given.get("training") or given["running_mean"] is None or self.pending is not None:
            return False
        norm = FrozenBatchNorm(
            given["running_mean"],
            given["running_var"],
            given.get("weight"),
            given.get("bias"),
            given.get("eps", 1e-5),
        )
        last = self.layers[-1] if self.layers else None
        if last is None or last.functions:
            self.pending = norm
            return True
        if last.norm_after is not None:
            return False
        last.norm_after = norm
        return True
