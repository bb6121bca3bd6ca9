"""Repeat only the part of a forward pass that some parameters affect.

One pass over all rows keeps the tensors that this part reads. They become the inputs of a scorer
that runs the network's own code and skips every call before that part.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fairfix.errors import CheckpointError
from fairfix.models.inputs import Batch, Inputs, Rows, TensorPart
from fairfix.models.network_output import select_output
from fairfix.models.scorer import Scorer
from fairfix.models.tensor_functions import function_name, tensors_in

_IN_MEMORY = 2**30  # bytes of kept tensors beyond which they are in a file
_SHARE_OF_DISK = 0.5  # of the free space, for that file
_TOLERANCE = 1e-5
_PROBED = (2, 3)  # rows of two passes that tell which sizes grow with the number of rows
_NUMPY_TYPES = {torch.bfloat16: torch.int16}  # of a file's bytes, where numpy lacks the type
# What tells the form of a tensor, but not its values.
_FORM = {
    *("__get__", "size", "dim", "numel", "nelement", "ndimension", "stride", "__len__", "type"),
    *(
        "is_contiguous",
        "is_floating_point",
        "is_complex",
        "is_signed",
        "get_device",
        "element_size",
    ),
    *("storage_offset", "is_same_size", "__hash__"),
}


def late_layers(
    scorer: Scorer, inputs: Inputs, changing: Iterable[nn.Parameter]
) -> tuple[Scorer, Inputs]:
    """Return a scorer and its inputs that give the same scores while some parameters change.

    They share the network with the given scorer. The given ones are returned if nothing can be
    skipped: if the changing parameters read the inputs, if the network writes what depends on them
    into other tensors, if values decide what it calls, or if its rows are not kept apart.

    Args:
        scorer: in evaluation mode.
        inputs: of the network.
        changing: the parameters that may change in place.
    """
    network, changed = scorer.network, list(changing)
    if {id(p) for p in changed} >= {id(p) for p in network.parameters()}:
        return scorer, inputs
    rows = inputs.batch(slice(_PROBED[-1]))
    if len(rows) < _PROBED[-1]:
        rows = rows.first(1).repeated(_PROBED[-1])
    probes = [_probe(scorer, rows.first(n), changed) for n in _PROBED]
    plan = _Plan.of(probes, rows.dtype)
    if plan is None or not plan.fits(len(inputs)):
        return scorer, inputs
    late = _LateScorer(scorer, plan)
    kept = _kept(scorer, inputs, plan, changed)
    if kept is None:
        return scorer, inputs
    few = slice(min(len(inputs), scorer.batch_size, 64))
    with torch.no_grad():
        found, expected = late.score(kept.take(few)), scorer.score(inputs.take(few))
    return (late, kept) if torch.allclose(found, expected, atol=_TOLERANCE) else (scorer, inputs)


@dataclass(frozen=True)
class _Form:
    """Shape, type and device of a tensor; sizes may grow with the number of rows."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    growth: tuple[int, ...] = ()

    @classmethod
    def of(cls, tensor: Tensor) -> _Form:
        return cls(tuple(tensor.shape), tensor.dtype, tensor.device)

    def grown(self, other: _Form) -> _Form | None:
        """Return the form for any number of rows from that for two numbers; None if they clash."""
        if len(self.shape) != len(other.shape) or self.dtype != other.dtype:
            return None
        growth = tuple(b - a for a, b in zip(self.shape, other.shape, strict=True))
        shape = tuple(a - _PROBED[0] * g for a, g in zip(self.shape, growth, strict=True))
        return _Form(shape, self.dtype, self.device, growth)

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
class _Call:
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


class _Recorder(TorchFunctionMode):
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
        self.calls: list[_Call] = []
        self.fails = False
        self._keep = keep
        self._slots: dict[tuple[int, int], int] = {}
        self._alive: list[object] = [*inputs, *changing]  # ids stay unique while tensors live
        self._of_rows = {id(x) for x in inputs}
        self._dependent = {id(x) for x in changing}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        read = tensors_in((args, kwargs or {}))
        depends = any(id(x) in self._dependent for x in read)
        of_rows = any(id(x) in self._of_rows for x in read)
        name = function_name(func)
        reads = tuple(self._slot(x) for x in read) if depends else ()
        versions = [x._version for x in read]
        result = func(*args, **(kwargs or {}))
        made = tensors_in(result)
        written = [x for x, before in zip(read, versions, strict=True) if x._version != before]
        self._alive += [*read, *made]
        if name in _FORM and not made:
            self.calls.append(_Call(name))
        elif depends:
            self.fails |= any(self._is_kept(x) for x in written)
            self._dependent |= {id(x) for x in (*made, *written)}
            self.calls.append(_Call(name, reads=reads))
        elif of_rows:
            self.fails |= not made and result is not None  # values decide what is called
            self._of_rows |= {id(x) for x in (*made, *written)}
            self.calls.append(_Call(name, skipped=True, result=_mapped(result, _Form.of)))
        else:
            self.calls.append(_Call(name))
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


class _Replayer(TorchFunctionMode):
    """Run a network's code again on kept tensors, for some rows."""

    def __init__(self, calls: Sequence[_Call], kept: Sequence[Tensor], rows: int) -> None:
        super().__init__()
        self._calls, self._kept, self._rows = iter(calls), kept, rows

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        call = next(self._calls, None)
        if call is None or call.name != function_name(func):
            raise CheckpointError(
                "The network calls other functions when it is run again, so a part of its layers "
                "cannot be changed alone; leave out --layers."
            )
        if call.skipped:
            return _placeholders(call.result, self._rows)
        if any(slot is not None for slot in call.reads):
            values = (None if slot is None else self._kept[slot] for slot in call.reads)
            args, kwargs = _substituted((args, kwargs or {}), values)
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class _Probe:
    batch: Batch
    calls: list[_Call]
    kept: list[_Form]
    fails: bool


def _probe(scorer: Scorer, batch: Batch, changing: Sequence[Tensor]) -> _Probe:
    kept: list[_Form] = []
    recorder = _run(scorer, batch, changing, lambda _, value: kept.append(_Form.of(value)))
    return _Probe(_cast(scorer, batch), recorder.calls, kept, recorder.fails)


def _cast(scorer: Scorer, batch: Batch) -> Batch:
    return batch if scorer.input_dtype is None else batch.cast(scorer.input_dtype)


@torch.no_grad()
def _run(
    scorer: Scorer,
    batch: Batch,
    changing: Sequence[Tensor],
    keep: Callable[[int, Tensor], None],
) -> _Recorder:
    batch = _cast(scorer, batch)
    recorder = _Recorder(batch.tensors, changing, keep)
    with recorder:
        batch.call(scorer.network)
    return recorder


@dataclass(frozen=True)
class _Plan:
    """How to run the late part of a network for any number of rows.

    Attributes:
        args, kwargs: forms of the original inputs, as in ``Batch``.
        calls: all calls of a forward pass.
        kept: forms of the tensors that the late part reads.
        dtype: of the scores.
    """

    args: tuple[_Form, ...]
    kwargs: dict[str, _Form]
    calls: list[_Call]
    kept: list[_Form]
    dtype: torch.dtype

    @classmethod
    def of(cls, probes: Sequence[_Probe], dtype: torch.dtype) -> _Plan | None:
        """Return the plan from passes over 2 and 3 rows; None if it would not work or not help."""
        first, second = probes
        if first.fails or second.fails or len(first.kept) != len(second.kept):
            return None
        if [c.name for c in first.calls] != [c.name for c in second.calls]:
            return None
        kept = [a.grown(b) for a, b in zip(first.kept, second.kept, strict=True)]
        calls = [_grown_call(a, b) for a, b in zip(first.calls, second.calls, strict=True)]
        if None in kept or None in calls or not any(c.skipped for c in first.calls):
            return None
        forms = [form for form in kept if form is not None]
        if not forms or any(form.row_dimension is None for form in forms):
            return None
        inputs = [
            _Form.of(a).grown(_Form.of(b))
            for a, b in zip(first.batch.tensors, second.batch.tensors, strict=True)
        ]
        known = [form for form in inputs if form is not None]
        named = dict(zip(first.batch.kwargs, known, strict=False))
        args = () if named else tuple(known)
        return cls(args, named, [c for c in calls if c is not None], forms, dtype)

    def fits(self, rows: int) -> bool:
        """Whether what is kept of all rows fits into memory or half of the free disk."""
        needed = self.bytes(rows)
        free = shutil.disk_usage(tempfile.gettempdir()).free
        return needed <= max(_IN_MEMORY, _SHARE_OF_DISK * free)

    def bytes(self, rows: int) -> int:
        """Return the bytes of what is kept of all rows."""
        return rows * sum(form.bytes_per_row for form in self.kept)

    def placeholders(self, rows: int) -> Batch:
        """Return a batch of the form of the original inputs."""
        named = {name: form.placeholder(rows) for name, form in self.kwargs.items()}
        return Batch([form.placeholder(rows) for form in self.args], named)


def _grown_call(first: _Call, second: _Call) -> _Call | None:
    if (first.skipped, first.reads) != (second.skipped, second.reads):
        return None
    if not first.skipped:
        return first
    others = iter(_forms_in(second.result))
    clash = False

    def grown(form: _Form) -> _Form:
        nonlocal clash
        other = next(others, None)
        found = None if other is None else form.grown(other)
        clash |= found is None
        return form if found is None else found

    result = _mapped(first.result, grown, _Form)
    return None if clash else _Call(first.name, skipped=True, result=result)


class _LateScorer(Scorer):
    """The late part of a scorer's network; its batches hold the kept tensors."""

    def __init__(self, scorer: Scorer, plan: _Plan) -> None:
        super().__init__(
            scorer.network,
            scorer.output,
            complement=scorer.complement,
            output_name=scorer.output_name,
            batch_size=scorer.batch_size,
            is_fixed=scorer.is_fixed,
        )
        self._plan = plan

    def raw(self, batch: Batch | Tensor) -> Tensor:
        """See ``Scorer.raw``."""
        assert isinstance(batch, Batch)
        plan, rows = self._plan, len(batch)
        values = [
            x.movedim(0, form.row_dimension or 0)
            for x, form in zip(batch.tensors, plan.kept, strict=True)
        ]
        original = plan.placeholders(rows)
        with _Replayer(plan.calls, values, rows):
            raw = original.call(self.network)
        return select_output(raw, self.output_name)

    def dtype_of(self, batch: Batch) -> torch.dtype:
        """See ``Scorer.dtype_of``."""
        return self._plan.dtype


def _kept(scorer: Scorer, inputs: Inputs, plan: _Plan, changing: Sequence[Tensor]) -> Inputs | None:
    """Run all rows and return what the late part reads; None if the forms vary with the rows."""
    values = _storage(plan, len(inputs), inputs.device)
    fails = False
    for rows, batch in inputs.batches(scorer.batch_size):
        padded = batch if len(batch) > 1 else batch.repeated(2)

        def keep(slot: int, value: Tensor, rows: Rows = rows, n: int = len(batch)) -> None:
            nonlocal fails
            moved = value.movedim(plan.kept[slot].row_dimension or 0, 0)[:n]
            if slot >= len(values) or moved.shape[1:] != values[slot].shape[1:]:
                fails = True
                return
            values[slot][rows] = moved.to(values[slot].device)

        recorder = _run(scorer, padded, changing, keep)
        fails |= [c.name for c in recorder.calls] != [c.name for c in plan.calls]
        if fails:
            return None
    parts = [TensorPart(str(slot), value) for slot, value in enumerate(values)]
    return Inputs(parts, device=inputs.device)


def _storage(plan: _Plan, rows: int, device: torch.device) -> list[Tensor]:
    """Return a tensor for each kept one, (N, ...): in memory, or in an unnamed file if large."""
    shapes = []
    for form in plan.kept:
        row = form.row_dimension
        shapes.append((rows, *(size for d, size in enumerate(form.shape) if d != row)))
    if plan.bytes(rows) <= _IN_MEMORY:
        return [
            torch.empty(shape, dtype=form.dtype, device=device)
            for shape, form in zip(shapes, plan.kept, strict=True)
        ]
    return [_mapped_file(shape, form.dtype) for shape, form in zip(shapes, plan.kept, strict=True)]


def _mapped_file(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    stored = _NUMPY_TYPES.get(dtype, dtype)
    kind = torch.empty(0, dtype=stored).numpy().dtype
    with tempfile.TemporaryFile() as file:  # the mapping outlives its name
        values = np.memmap(file, kind, "w+", shape=shape)
    return torch.from_numpy(values).view(dtype)


def _mapped(tree: Any, function: Callable[[Any], Any], kind: type = Tensor) -> Any:
    """Return nested tuples and lists with a function applied to each leaf of a kind."""
    if isinstance(tree, kind):
        return function(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(_mapped(item, function, kind) for item in tree))
    if isinstance(tree, tuple | list):
        return type(tree)([_mapped(item, function, kind) for item in tree])
    return tree


def _placeholders(result: Any, rows: int) -> Any:
    return _mapped(result, lambda form: form.placeholder(rows), _Form)


def _forms_in(tree: Any) -> Iterator[_Form]:
    if isinstance(tree, _Form):
        yield tree
    elif isinstance(tree, tuple | list):
        for item in tree:
            yield from _forms_in(item)


def _substituted(tree: Any, values: Iterator[Tensor | None]) -> Any:
    """Return nested arguments with each tensor replaced by the next value, unless that is None."""
    if isinstance(tree, Tensor):
        value = next(values)
        return tree if value is None else value
    if isinstance(tree, dict):
        return {key: _substituted(item, values) for key, item in tree.items()}
    if isinstance(tree, tuple | list):
        items = [_substituted(item, values) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return tree
