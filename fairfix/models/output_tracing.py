"""Find the kind of a network's output by tracing the operations that produce it.

One forward pass is intercepted, function by function, and the range of every tensor follows from
the operation that made it: the result of a linear layer is unbounded, that of a sigmoid lies in
[0, 1]. The values themselves are not looked at, so the answer is the same for every table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from fairfix.models.tensor_functions import CallMode, function_name, tensors_in


class Range(Enum):
    """What is known of the entries of a tensor."""

    REAL = auto()
    """Unbounded, as the result of a linear layer."""
    UNIT = auto()
    """In [0, 1]."""
    SIMPLEX = auto()
    """In [0, 1], with sum 1 along the last dimension."""
    LOG_SIMPLEX = auto()
    """The logarithm of a ``SIMPLEX``."""
    UNKNOWN = auto()


@dataclass(frozen=True)
class TracedValue:
    """The range of a tensor, the function that made it, and a key that equal tensors share."""

    range: Range
    function: str
    key: Hashable


_LINEAR = {
    *("linear", "bilinear", "addmm", "addmv", "baddbmm", "embedding", "embedding_bag", "logit"),
    *(f"conv{transpose}{d}d" for transpose in ("", "_transpose") for d in (1, 2, 3)),
    *("convolution", "batch_norm", "layer_norm", "group_norm", "instance_norm"),
    "linear_dynamic",
    *("native_batch_norm", "native_layer_norm", "native_group_norm"),
}
_PRODUCTS = {"matmul", "__matmul__", "mm", "bmm", "mv", "dot", "einsum", "inner", "tensordot"}
_SAME = {
    *("squeeze", "unsqueeze", "view", "reshape", "flatten", "unflatten", "contiguous", "clone"),
    *("detach", "to", "float", "double", "half", "bfloat16", "type", "cpu", "cuda", "expand"),
    *("view_as", "reshape_as", "type_as", "alias", "_to_copy", "expand_as", "nan_to_num", "copy"),
    *("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", "native_dropout"),
    *("lift_fresh_copy", "_unsafe_view", "atleast_1d", "atleast_2d", "requires_grad"),
}
_PARTS = {
    *("__getitem__", "select", "slice", "index_select", "narrow", "chunk", "split", "unbind"),
    *("gather", "transpose", "permute", "movedim", "swapaxes", "t", "mean", "__get__", "index"),
    *("take_along_dim", "tensor_split", "flip", "roll", "median", "amax", "amin"),
}
_JOINS = {
    *("stack", "cat", "concat", "concatenate", "hstack", "column_stack", "where", "maximum"),
    *("minimum", "lerp"),
}
_ADD = {"add", "__add__", "__radd__", "__iadd__", "sub", "__sub__", "__isub__", "addcmul"}
_RSUB = {"rsub", "__rsub__"}
_MULTIPLY = {"mul", "multiply", "__mul__", "__rmul__", "__imul__"}
_DIVIDE = {"div", "true_divide", "divide", "__truediv__", "__itruediv__"}
_SIGMOIDS = {"sigmoid", "hardsigmoid", "special_expit", "expit"}
_SOFTMAX = {"softmax", "_softmax", "special_softmax"}
_LOG_SOFTMAX = {"log_softmax", "_log_softmax", "special_log_softmax"}
_BOUNDED = {Range.UNIT, Range.SIMPLEX}


class OutputTracer(CallMode):
    """Follow the range of every tensor while the mode is active.

    Args:
        network: its parameters are unbounded; other constants are unknown.
        inputs: the tensors that it gets.
    """

    def __init__(self, network: nn.Module, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self._keys = count()
        self._alive: list[object] = [*inputs]  # ids stay unique while their tensors live
        self._values: dict[int, TracedValue] = {}
        for tensor in (*inputs, *network.parameters()):
            self._values[id(tensor)] = self._new(Range.REAL, "input")

    def of(self, tensor: Tensor) -> TracedValue:
        """Return the traced properties of a tensor."""
        return self._values.get(id(tensor)) or self._new(Range.UNKNOWN, "a constant")

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See ``CallMode``."""
        inputs = tensors_in((args, kwargs))
        values = [self.of(x) for x in inputs]
        shapes = [x.shape for x in inputs]  # an in-place function may change them
        result = func(*args, **kwargs)
        name = function_name(func)
        written = inputs[:1] if name == "__setitem__" else tensors_in(result)
        if written and inputs:
            self._alive += [*inputs, *written]
            for tensor in written:
                self._values[id(tensor)] = self._value(name, args, kwargs, values, shapes, tensor)
        return result

    def _new(self, range_: Range, function: str, key: Hashable = None) -> TracedValue:
        return TracedValue(range_, function, next(self._keys) if key is None else key)

    def _value(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        values: Sequence[TracedValue],
        shapes: Sequence[torch.Size],
        result: Tensor,
    ) -> TracedValue:
        first, ranges = values[0], {value.range for value in values}
        if name in _SAME:
            return _along_last(first, result.shape[-1:] == shapes[0][-1:])
        if name == "masked_fill" and _is_nan(kwargs.get("value", args[-1])):
            return self._new(first.range, name)
        if name in _PARTS:
            kept = _keeps_last_dimension(name, args, kwargs, shapes[0], result.shape)
            return replace(_along_last(first, kept), key=next(self._keys))
        if name in _LINEAR:
            return self._new(Range.REAL, name)
        if name in _PRODUCTS:
            return self._new(Range.REAL if Range.REAL in ranges else Range.UNKNOWN, name)
        if name in _SIGMOIDS:
            return self._new(Range.UNIT, name, ("sigmoid", first.key))
        if name in _SOFTMAX or name in _LOG_SOFTMAX:
            dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
            last = dim in (None, -1, result.dim() - 1) and result.shape[-1] > 1
            log = name in _LOG_SOFTMAX
            full = Range.LOG_SIMPLEX if log else Range.SIMPLEX
            return self._new(full if last and result.dim() > 1 else Range.UNKNOWN, name)
        if name == "log" and first.range is Range.SIMPLEX:
            return self._new(Range.LOG_SIMPLEX, name)
        if name == "exp" and first.range is Range.LOG_SIMPLEX:
            return self._new(Range.SIMPLEX, name)
        if name in _RSUB or name in _ADD:
            return self._sum(name, args, values)
        if name in _MULTIPLY or name in _DIVIDE:
            return self._product(name, args, values)
        if name in _JOINS or name == "__setitem__":
            return self._join(name, values[1:] if name == "where" else values, result)
        if name == "clamp" or name == "clip" or name.startswith("clamp_"):
            return self._clamped(name, args, kwargs, first)
        if name in ("neg", "__neg__", "sum", "cumsum") and first.range is Range.REAL:
            return self._new(Range.REAL, name)
        return self._new(Range.UNKNOWN, name)

    def _sum(self, name: str, args: tuple[Any, ...], values: Sequence[TracedValue]) -> TracedValue:
        """1 - p of a probability is one; a sum with an unbounded term is unbounded."""
        one = args[1:2] if name in _RSUB else args[:1] if name == "sub" else ()
        if len(values) == 1 and values[0].range in _BOUNDED and _is_one(one):
            return self._new(values[0].range, values[0].function, ("1 -", values[0].key))
        real = any(value.range is Range.REAL for value in values)
        return self._new(Range.REAL if real else Range.UNKNOWN, name)

    def _product(
        self, name: str, args: tuple[Any, ...], values: Sequence[TracedValue]
    ) -> TracedValue:
        """A product with an unbounded factor is unbounded; one of probabilities is in [0, 1]."""
        if any(value.range is Range.REAL for value in values):
            return self._new(Range.REAL, name)
        bounded = all(value.range in _BOUNDED for value in values)
        if bounded and name in _MULTIPLY and (len(values) > 1 or _is_share(args)):
            return self._new(Range.UNIT, name)
        return self._new(Range.UNKNOWN, name)

    def _join(self, name: str, values: Sequence[TracedValue], result: Tensor) -> TracedValue:
        ranges = {Range.UNIT if v.range is Range.SIMPLEX else v.range for v in values}
        if ranges == {Range.UNIT} and len(values) == 2 and result.shape[-1:] == (2,):
            first, second = (value.key for value in values)
            if ("1 -", first) == second or ("1 -", second) == first:
                return self._new(Range.SIMPLEX, name)
        only = ranges.pop() if len(ranges) == 1 else Range.UNKNOWN
        return self._new(only if only in (Range.UNIT, Range.REAL) else Range.UNKNOWN, name)

    def _clamped(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], first: TracedValue
    ) -> TracedValue:
        low, high = (
            kwargs.get(key, args[place] if len(args) > place else None)
            for place, key in ((1, "min"), (2, "max"))
        )
        within = _is_share(("", low)) and _is_share(("", high)) and not name.startswith("clamp_")
        if first.range is Range.REAL and within:
            return self._new(Range.UNIT, name)
        return first if first.range in (Range.REAL, *_BOUNDED) else self._new(Range.UNKNOWN, name)


def _along_last(value: TracedValue, kept: bool) -> TracedValue:
    """Return the value of a view or part; ``kept`` if the last dimension is complete."""
    if kept or value.range in (Range.REAL, Range.UNIT):
        return value
    return replace(value, range=Range.UNIT if value.range is Range.SIMPLEX else Range.UNKNOWN)


def _keeps_last_dimension(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], before: torch.Size, after: torch.Size
) -> bool:
    """Whether a part has all entries of the last dimension."""
    if name == "__getitem__":
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        plain = all(isinstance(item, int | slice) for item in index)
        return plain and len(index) < len(before)
    if name in ("select", "mean"):
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        dims = dim if isinstance(dim, list | tuple) else [dim]
        return all(isinstance(d, int) and d % len(before) < len(before) - 1 for d in dims)
    return name in ("slice", "__get__", "narrow", "split", "chunk") and before[-1:] == after[-1:]


def _is_one(number: tuple[Any, ...]) -> bool:
    return len(number) == 1 and isinstance(number[0], int | float) and number[0] == 1


def _is_share(args: Sequence[Any]) -> bool:
    """Whether the second argument is a number in [0, 1]."""
    return len(args) > 1 and isinstance(args[1], int | float) and 0 <= args[1] <= 1


def _is_nan(value: object) -> bool:
    """Return whether a value is NaN, which may replace an entry of any range."""
    return isinstance(value, float) and math.isnan(value)
