"""Repeat only the part of a forward pass that some parameters affect.

One pass over all rows keeps the tensors that this part reads. They become the inputs of a scorer
that runs the network's own code and skips every call before that part.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fairfix.models.inputs import Batch, Inputs, Rows, TensorPart
from fairfix.models.network_output import select_output
from fairfix.models.recorded_calls import PROBED, Call, Form, Recorder, Replayer, grown_call
from fairfix.models.scorer import Scorer

_IN_MEMORY = 2**30  # bytes of kept tensors beyond which they are in a file
_SHARE_OF_DISK = 0.5  # of the free space, for that file
_TOLERANCE = 1e-5
_NUMPY_TYPES = {torch.bfloat16: torch.int16}  # of a file's bytes, where numpy lacks the type


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
    rows = inputs.batch(slice(PROBED[-1]))
    if len(rows) < PROBED[-1]:
        rows = rows.first(1).repeated(PROBED[-1])
    probes = [_probe(scorer, rows.first(n), changed) for n in PROBED]
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
class _Probe:
    batch: Batch
    calls: list[Call]
    kept: list[Form]
    fails: bool


def _probe(scorer: Scorer, batch: Batch, changing: Sequence[Tensor]) -> _Probe:
    kept: list[Form] = []
    recorder = _run(scorer, batch, changing, lambda _, value: kept.append(Form.of(value)))
    return _Probe(scorer.cast(batch), recorder.calls, kept, recorder.fails)


@torch.no_grad()
def _run(
    scorer: Scorer,
    batch: Batch,
    changing: Sequence[Tensor],
    keep: Callable[[int, Tensor], None],
) -> Recorder:
    batch = scorer.cast(batch)
    recorder = Recorder(batch.tensors, changing, keep)
    with recorder:
        batch.call(scorer.network)
    return recorder


@dataclass(frozen=True)
class _Plan:
    """How to run the late part of a network for any number of rows.

    Attributes:
        args, kwargs, as_mapping: forms of the original inputs, as in ``Batch``.
        calls: all calls of a forward pass.
        kept: forms of the tensors that the late part reads.
        dtype: of the scores.
    """

    args: tuple[Form, ...]
    kwargs: dict[str, Form]
    calls: list[Call]
    kept: list[Form]
    dtype: torch.dtype
    as_mapping: bool = False

    @classmethod
    def of(cls, probes: Sequence[_Probe], dtype: torch.dtype) -> _Plan | None:
        """Return the plan from passes over 2 and 3 rows; None if it would not work or not help."""
        first, second = probes
        if first.fails or second.fails or len(first.kept) != len(second.kept):
            return None
        if [c.name for c in first.calls] != [c.name for c in second.calls]:
            return None
        kept = [a.grown(b) for a, b in zip(first.kept, second.kept, strict=True)]
        calls = [grown_call(a, b) for a, b in zip(first.calls, second.calls, strict=True)]
        if None in kept or None in calls or not any(c.skipped for c in first.calls):
            return None
        forms = [form for form in kept if form is not None]
        if not forms or any(form.row_dimension is None for form in forms):
            return None
        inputs = [
            Form.of(a).grown(Form.of(b))
            for a, b in zip(first.batch.tensors, second.batch.tensors, strict=True)
        ]
        known = [form for form in inputs if form is not None]
        named = dict(zip(first.batch.kwargs, known, strict=False))
        args = () if named else tuple(known)
        known_calls = [c for c in calls if c is not None]
        return cls(args, named, known_calls, forms, dtype, first.batch.as_mapping)

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
        given = [form.placeholder(rows) for form in self.args]
        return Batch(given, named, as_mapping=self.as_mapping)


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
            classes=scorer.classes,
            targets=scorer.targets,
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
        with Replayer(plan.calls, values, rows):
            raw = original.call(self.network)
        return self.merged(select_output(raw, self.output_name))

    def dtype_of(self, batch: Batch) -> torch.dtype:
        """See ``Scorer.dtype_of``."""
        return self._plan.dtype


def _kept(scorer: Scorer, inputs: Inputs, plan: _Plan, changing: Sequence[Tensor]) -> Inputs | None:
    """Run all rows and return what the late part reads; None if the forms vary with the rows."""
    values = _storage(plan, len(inputs), inputs.device)
    fails = False
    for rows, batch in inputs.batches(scorer.batch_size):

        def keep(slot: int, value: Tensor, rows: Rows = rows, n: int = len(batch)) -> None:
            nonlocal fails
            moved = value.movedim(plan.kept[slot].row_dimension or 0, 0)[:n]
            if slot >= len(values) or moved.shape[1:] != values[slot].shape[1:]:
                fails = True
                return
            values[slot][rows] = moved.to(values[slot].device)

        recorder = _run(scorer, batch.two_or_more(), changing, keep)
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
