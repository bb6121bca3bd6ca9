"""Run a checkpoint's network on rows of a table, and find out how it has to be run.

What a network needs is found by running it, never from the shapes of its parameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fairfix._utils.text import error_summary
from fairfix.errors import CheckpointError, FairfixError, UsageError
from fairfix.models.batch_size import default_batch_size
from fairfix.models.checkpoint import Checkpoint
from fairfix.models.classes import Classes
from fairfix.models.inputs import Batch, Inputs, as_batch, as_inputs
from fairfix.models.network_output import (
    find_output,
    holds_scores,
    named_outputs,
    select_output,
)
from fairfix.models.output_tracing import OutputTracer, Range, TracedValue
from fairfix.models.scorer import MAX_BATCH, Output, Scorer, in_row_order
from fairfix.models.targets import Targets

ONE, TWO = (Output.PROB, Output.LOGIT), (Output.PROBS, Output.LOGITS)
OUTPUT_KINDS: dict[str, tuple[Output, Output]] = dict(
    zip(("prob", "logit"), zip(ONE, TWO, strict=True), strict=True)
)
_PROBED_ROWS = 64
_ALONE = 3  # rows that are also run alone
_SAME = 1e-4  # more than round-off changes when the same rows are run again


@dataclass(frozen=True)
class Reading:
    """How the output of a network is read.

    Attributes:
        kind: "prob" or "logit" as a user gives it, or an ``Output`` as a rule holds it; None if it
            follows from the network's last operation.
        name: of the output with the scores, where the network has several (``named_outputs``).
        classes: of a network with one output for each of more than two label values.
        stored_classes: those that lie beside the network; they count for a network with as many
            outputs only.
        targets: of a network with one output for each of several labels; without ``classes``.
    """

    kind: str | None = None
    name: str | None = None
    classes: Classes | None = None
    stored_classes: Classes | None = None
    targets: Targets | None = None


def reading_like(scorer: Scorer) -> Reading:
    """Return how a scorer reads the output of its network."""
    return Reading(
        scorer.output, scorer.output_name, classes=scorer.classes, targets=scorer.targets
    )


def make_scorer(
    checkpoint: Checkpoint,
    inputs: Inputs | Tensor,
    reading: Reading,
    *,
    complement: bool = False,
    batch_size: int | None = None,
) -> Scorer:
    """Return the network as a score function for rows like the given ones.

    The network runs in float32, or in its stored type where it fails in float32. It is moved to the
    device of the rows.

    Args:
        checkpoint: with a network.
        inputs: of the network; at most the first 64 rows are run.
        reading: how its output is read.
        complement: the network predicts the unfavorable label; without effect on classes.
        batch_size: rows in one forward pass; None chooses it from the network's memory per row.

    Raises:
        CheckpointError: if the network does not run on the rows, gives other outputs when it runs
            again, has no output of the shape of scores, or how it is read cannot be known.
        UsageError: if it has no output of the given name or kind.
    """
    assert checkpoint.module is not None
    inputs = as_inputs(inputs)
    network = checkpoint.module.to(inputs.device).eval()
    batch = _probed_rows(inputs)
    copy = batch.map(torch.clone)
    with torch.no_grad(), torch.random.fork_rng(_cuda_devices(inputs.device)):
        raw, input_dtype = _run_in_needed_dtype(checkpoint, network, copy)
        writes_inputs = not _equal(copy, batch)
        batch = batch.cast(input_dtype)
        classes, targets = _classes(raw, len(batch), reading), reading.targets
        width = None if classes is None else len(classes.names)
        name = find_output(
            raw, len(batch), reading.name, width, None if targets is None else len(targets.names)
        )
        first = select_output(raw, name)
        _check_repeatable(first, select_output(batch.map(torch.clone).call(network), name))
        output = _output(network, batch.map(torch.clone), name, reading.kind, classes, targets)
        mixes_rows = _mixes_rows(network, batch, name, first)
        size = batch_size or default_batch_size(network, batch)
        needs_much = batch_size is None and size < MAX_BATCH
    return Scorer(
        network,
        output,
        complement=complement and classes is None,
        output_name=name,
        batch_size=size,
        input_dtype=input_dtype,
        is_fixed=checkpoint.is_fixed,
        writes_inputs=writes_inputs,
        mixes_rows=mixes_rows,
        classes=classes,
        targets=targets,
        release_after=size if needs_much else None,
    )


@torch.no_grad()
def checked_scores(scorer: Scorer, inputs: Inputs | Tensor) -> Tensor:
    """Return P(favorable) of every row, (N,) float32, in evaluation mode.

    Raises:
        CheckpointError: if the network fails, or an output is not finite.
    """
    scores = []
    for rows, part in as_inputs(inputs).batches(scorer.batch_size):
        batch = part.two_or_more()
        with running(scorer.network, batch):
            raw = scorer.raw(batch)
        if not raw.isfinite().all():
            raise CheckpointError(
                "The network returns NaN or infinite values on these rows; check its inputs."
            )
        scores.append((rows, scorer.read(raw)[: len(part)].to(part.dtype)))
    return in_row_order(scores)


@contextmanager
def running(network: nn.Module, batch: Batch) -> Iterator[None]:
    """Convert any exception of a network to a CheckpointError.

    Args:
        batch: what the network gets.
    """
    try:
        yield
    except FairfixError:
        raise
    except Exception as error:  # the code of the network may raise anything
        inputs = required_inputs(network)
        if len(inputs) > 1 and len(batch.tensors) == 1:
            raise CheckpointError(
                f"The network takes {len(inputs)} inputs ({', '.join(inputs)}), but gets the "
                "features of a row as one tensor; give each input its columns in a data spec of "
                "version 2, or wrap the network in a class whose forward splits them."
            ) from None
        remedy = ""
        if any(x.dtype is torch.uint8 for x in batch.tensors):
            remedy = (
                ". An input holds 8-bit numbers; say in the data spec how its array is scaled, as "
                'in "scale": 0.00392156862745098, or "dtype": "float32" to leave the values'
            )
        elif batch.as_mapping:
            remedy = ". Its forward takes one input, which is the mapping of all by name"
        elif takes_one(network, batch.kwargs):
            remedy = (
                '. If forward takes all inputs as one mapping, write "call": "mapping" in the data '
                "spec"
            )
        raise CheckpointError(
            f"The network does not run on {batch.shapes()} a row: {error_summary(error)}{remedy}"
        ) from None


def takes_one(network: nn.Module | None, names: Collection[str]) -> bool:
    """Return whether ``forward`` needs one input, of another name than those."""
    needed = [] if network is None else required_inputs(network)
    return bool(names) and len(needed) == 1 and needed[0] not in names


def required_inputs(network: nn.Module) -> list[str]:
    """Return the names of the inputs that ``forward`` needs."""
    try:
        parameters = inspect.signature(network.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in positional and p.default is p.empty]


def traced_output(
    network: nn.Module, batch: Batch | Tensor, name: str | None
) -> tuple[Tensor, TracedValue]:
    """Run the network and return its output, and the traced properties of that."""
    batch = as_batch(batch)
    with torch.no_grad(), OutputTracer(network, batch.tensors) as tracer:
        raw = batch.call(network)
    tensor = select_output(raw, name)
    return tensor, tracer.of(tensor)


def _probed_rows(inputs: Inputs) -> Batch:
    return inputs.batch(slice(_PROBED_ROWS)).two_or_more()


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def _run_in_needed_dtype(
    checkpoint: Checkpoint, network: nn.Module, batch: Batch
) -> tuple[Any, torch.dtype]:
    """Return the network's output and the dtype of its inputs; the network may be cast."""
    failure: CheckpointError | None = None
    for input_dtype in castings(checkpoint, network):
        try:
            with running(network, batch):
                return batch.cast(input_dtype).call(network), input_dtype
        except CheckpointError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def castings(checkpoint: Checkpoint, network: nn.Module) -> Iterator[torch.dtype]:
    """Yield the dtype of the rows for each way to run a network, after casting the network.

    In order: float32 throughout; the stored dtypes with rows in float32, for a network that casts
    its input; the same with rows in the widest stored dtype; float64 with rows in float32. After
    the last the network is in float32 again.
    """
    yield torch.float32
    if checkpoint.is_fixed:
        return
    stored = {t.dtype for t in checkpoint.tensors.values() if t.is_floating_point()}
    if stored - {torch.float32}:
        _cast(checkpoint, network, None)
        yield torch.float32
        yield max(stored, key=lambda dtype: torch.finfo(dtype).bits)
    _cast(checkpoint, network, torch.float64)
    yield torch.float32
    restore_float32(checkpoint, network)


def restore_float32(checkpoint: Checkpoint, network: nn.Module) -> None:
    """Return a network to float32, with the stored values, after ``castings`` has cast it."""
    if not checkpoint.is_fixed:
        _cast(checkpoint, network, torch.float32)


def _cast(checkpoint: Checkpoint, network: nn.Module, dtype: torch.dtype | None) -> None:
    """Cast the stored values of parameters and buffers to a dtype; None is the stored one."""
    for name, tensor in network.state_dict(keep_vars=True).items():
        stored = checkpoint.tensors.get(name)
        if stored is None or not stored.is_floating_point():
            continue
        wanted = dtype or stored.dtype
        if tensor.dtype != wanted:
            tensor.data = stored.to(tensor.device, wanted, copy=True)


def _equal(one: Batch, other: Batch) -> bool:
    """Whether two batches have the same values."""
    pairs = zip(one.tensors, other.tensors, strict=True)
    return all(torch.allclose(*pair, rtol=0, atol=0, equal_nan=True) for pair in pairs)


def _check_repeatable(first: Tensor, second: Tensor) -> None:
    """Raise CheckpointError if two passes over the same rows differ by more than round-off."""
    if not torch.allclose(first, second, rtol=_SAME, atol=_SAME, equal_nan=True):
        raise CheckpointError(
            "The network gives other outputs when the same rows are run again: something in it is "
            "random in evaluation mode, such as F.dropout without training=self.training. Make it "
            "depend on self.training and read the checkpoint again."
        )


def _mixes_rows(network: nn.Module, batch: Batch, name: str | None, outputs: Tensor) -> bool:
    """Whether outputs of rows change when they are run alone, by more than quantization does."""
    count = min(_ALONE, len(batch))
    rows = (batch.map(lambda x, at=at: x[at : at + 1]).repeated(2) for at in range(count))  # type: ignore[misc]
    try:
        alone = torch.stack([select_output(row.call(network), name)[0] for row in rows]).float()
    except (RuntimeError, ValueError, IndexError):  # it needs more rows, so it reads them together
        return True
    outputs = outputs.float()
    least = 0.1 * outputs.std(0) + 1e-3 * outputs.abs().max()
    return bool(((alone - outputs[:count]).abs() > least).any())


def _classes(raw: Any, rows: int, reading: Reading) -> Classes | None:
    """Return the given classes, else the stored ones if an output of the network has as many."""
    stored = reading.stored_classes
    if reading.classes is not None or reading.targets is not None or stored is None:
        return reading.classes
    outputs = named_outputs(raw).values()
    return stored if any(holds_scores(x, rows, len(stored.names)) for x in outputs) else None


def _output(
    network: nn.Module,
    batch: Batch,
    name: str | None,
    kind: str | None,
    classes: Classes | None,
    targets: Targets | None,
) -> Output:
    """Return the kind of the output: the given one, else that of the network's last operation."""
    tensor, value = traced_output(network, batch, name)
    if classes is not None and kind is None:
        return _class_output(value)
    two = classes is None and targets is None and tensor.numel() == 2 * len(batch)
    if kind is None:
        return output_of(value, two=two)
    if kind in OUTPUT_KINDS:
        return OUTPUT_KINDS[kind][two]
    if kind not in (TWO if two else ONE):
        try:
            found = repr(output_of(value, two=two).value)
        except CheckpointError:
            found = "two outputs" if two else "one output"
        raise UsageError(
            f"The rule is for a network that gives {kind!r}, but this one gives {found}; give its "
            "own rule with --rule."
        )
    return Output(kind)


def _class_output(value: TracedValue) -> Output:
    """Return the kind of the outputs of a multi-class network from their range.

    Raises:
        CheckpointError: if they need not be logits or probabilities with sum 1.
    """
    if value.range in (Range.REAL, Range.LOG_SIMPLEX):
        return Output.LOGIT
    if value.range is Range.SIMPLEX:
        return Output.PROB
    raise CheckpointError(
        f"The network's outputs come from {value.function}, so it cannot be known whether they are "
        "probabilities of classes, with sum 1, or logits of a softmax; give --output-kind prob or "
        "--output-kind logit."
    )


def output_of(value: TracedValue, *, two: bool) -> Output:
    """Return the kind of an output from the range of its entries.

    Args:
        two: whether it has two entries a row, else one.

    Raises:
        CheckpointError: if the range does not tell probabilities from logits.
    """
    if value.range is Range.REAL:
        return Output.LOGITS if two else Output.LOGIT
    if two and value.range in (Range.SIMPLEX, Range.LOG_SIMPLEX):
        return Output.PROBS if value.range is Range.SIMPLEX else Output.LOGITS
    if value.range is Range.UNIT and not two:
        return Output.PROB
    if value.range is Range.UNIT:
        raise CheckpointError(
            "The network's two outputs lie in [0, 1] each but need not sum to 1, as those of two "
            "sigmoids; give --output-kind prob if the second is the probability of the label, else "
            "--output-kind logit."
        )
    raise CheckpointError(
        f"The network's output comes from {value.function}, so it cannot be known whether it is a "
        "probability or a logit; give --output-kind prob or --output-kind logit."
    )
