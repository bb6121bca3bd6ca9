"""Record the calls of a forward pass, and repeat those that depend on some tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairfix.errors import CheckpointError
from fairfix.models.tensor_functions import CallMode, function_name, tensors_in

PROBED = (2, 3)
"""Rows of two passes that tell which sizes grow with the number of rows."""

# What tells the form of a tensor, but not its values.
_FORM = {
    *("__get__", "size", "dim", "numel", "nelement", "ndimension", "stride", "__len__", "type"),
    *("is_contiguous", "is_floating_point", "is_complex", "is_signed", "is_same_size"),
    *("get_device", "element_size", "storage_offset", "__hash__"),
}


@dataclass(frozen=True)
class Form:
    """Shape, type and device of a tensor; sizes may grow with the number of rows."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    growth: tuple[int, ...] = ()

    @classmethod
    def of(cls, tensor: Tensor) -> Form:
        return cls(tuple(tensor.shape), tensor.dtype, tensor.device)

    def grown(self, other: Form) -> Form | None:
        """Return the form for any number of rows from that for two numbers; None if they clash."""
        if len(self.shape) != len(other.shape) or self.dtype != other.dtype:
            return None
        growth = tuple(b - a for a, b in zip(self.shape, other.shape, strict=True))
        shape = tuple(a - PROBED[0] * g for a, g in zip(self.shape, growth, strict=True))
        return Form(shape, self.dtype, self.device, growth)

    def placeholder(self, rows: int) -> Tensor:
        """Return a tensor of this form without memory of its own."""
        shape = [a + rows * g for a, g in zip(self.shape, self.growth, strict=True)]
        return torch.zeros((), dtype=self.dtype, device=self.device).expand(shape)

    @property
    def row_dimension(self) -> int | None:
        """The dimension that holds the rows; None unless there is exactly one, of their number."""
        found = [d for d, g in enumerate(self.growth) if g]
        if len(found) != 1 or self.growth[found[0]] != 1 or self.shape[found[0]] != 0:
            return None
        return found[0]

    @property
    def bytes_per_row(self) -> int:
        fixed = [a for a, g in zip(self.shape, self.growth, strict=True) if not g]
        return int(np.prod(fixed, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True)
class Call:
    """One call of a tensor function.

    Attributes:
        name: of the function.
        skipped: return placeholders of ``result``, nested as what it returned.
        reads: for each tensor among the arguments the number of the kept tensor that replaces it.
    """

    name: str
    skipped: bool = False
    result: Any = None
    reads: tuple[int | None, ...] = ()


class Recorder(CallMode):
    """Record a forward pass.

    Args:
        inputs: tensors of the batch.
        changing: the parameters that may change.
        keep: gets the number and the value of each tensor that is read by what depends on them.

    Attributes:
        calls: all calls in order.
        fails: whether the pass cannot be repeated in part.
    """

    def __init__(
        self,
        inputs: Sequence[Tensor],
        changing: Iterable[Tensor],
        keep: Callable[[int, Tensor], None],
    ) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.fails = False
        self._keep = keep
        self._slots: dict[tuple[int, int], int] = {}
        self._alive: list[object] = [*inputs, *changing]  # ids stay unique while tensors live
        self._of_rows = {id(x) for x in inputs}
        self._dependent = {id(x) for x in changing}

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See ``CallMode``."""
        read = tensors_in((args, kwargs))
        depends = any(id(x) in self._dependent for x in read)
        of_rows = any(id(x) in self._of_rows for x in read)
        name = function_name(func)
        reads = tuple(self._slot(x) for x in read) if depends else ()
        versions = [x._version for x in read]
        result = func(*args, **kwargs)
        made = tensors_in(result)
        written = [x for x, before in zip(read, versions, strict=True) if x._version != before]
        self._alive += [*read, *made]
        if name in _FORM and not made:
            self.calls.append(Call(name))
        elif depends:
            self.fails |= any(self._is_kept(x) for x in written)
            self._dependent |= {id(x) for x in (*made, *written)}
            self.calls.append(Call(name, reads=reads))
        elif of_rows:
            self.fails |= not made and result is not None  # values decide what is called
            self._of_rows |= {id(x) for x in (*made, *written)}
            self.calls.append(Call(name, skipped=True, result=_mapped(result, Form.of)))
        else:
            self.calls.append(Call(name))
        return result

    def _is_kept(self, tensor: Tensor) -> bool:
        return id(tensor) in self._of_rows and id(tensor) not in self._dependent

    def _slot(self, tensor: Tensor) -> int | None:
        if not self._is_kept(tensor):
            return None
        key = id(tensor), tensor._version
        if key not in self._slots:
            self._slots[key] = len(self._slots)
            self._keep(self._slots[key], tensor.detach())
        return self._slots[key]


class Replayer(CallMode):
    """Run a network's code again on kept tensors, for some rows."""

    def __init__(self, calls: Sequence[Call], kept: Sequence[Tensor], rows: int) -> None:
        super().__init__()
        self._calls, self._kept, self._rows = iter(calls), kept, rows

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See ``CallMode``."""
        call = next(self._calls, None)
        if call is None or call.name != function_name(func):
            raise CheckpointError(
                "The network calls other functions when it is run again, so a part of its layers "
                "cannot be changed alone; leave out --layers."
            )
        if call.skipped:
            return _placeholders(call.result, self._rows)
        if any(slot is not None for slot in call.reads):
            slots = iter(call.reads)
            args, kwargs = _mapped((args, kwargs), lambda x: self._kept_or(x, next(slots)))
        return func(*args, **kwargs)

    def _kept_or(self, tensor: Tensor, slot: int | None) -> Tensor:
        return tensor if slot is None else self._kept[slot]


def grown_call(first: Call, second: Call) -> Call | None:
    """Return a call for any number of rows from those for two numbers; None if they differ."""
    if (first.skipped, first.reads) != (second.skipped, second.reads):
        return None
    if not first.skipped:
        return first
    others = iter(_forms_in(second.result))
    clash = False

    def grown(form: Form) -> Form:
        nonlocal clash
        other = next(others, None)
        found = None if other is None else form.grown(other)
        clash |= found is None
        return form if found is None else found

    result = _mapped(first.result, grown, Form)
    return None if clash else Call(first.name, skipped=True, result=result)


def _mapped(tree: Any, function: Callable[[Any], Any], kind: type = Tensor) -> Any:
    """Return nested tuples, lists and dictionaries with a function applied to leaves of a kind."""
    if isinstance(tree, kind):
        return function(tree)
    if isinstance(tree, dict):
        return {key: _mapped(item, function, kind) for key, item in tree.items()}
    if isinstance(tree, tuple | list):
        items = [_mapped(item, function, kind) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return tree


def _placeholders(result: Any, rows: int) -> Any:
    return _mapped(result, lambda form: form.placeholder(rows), Form)


def _forms_in(tree: Any) -> Iterator[Form]:
    if isinstance(tree, Form):
        yield tree
    elif isinstance(tree, tuple | list):
        for item in tree:
            yield from _forms_in(item)
