"""Score a network: the probability of the favorable label for each row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from fairfix.errors import CheckpointError
from fairfix.models.classes import Classes
from fairfix.models.freed_memory import return_freed_memory
from fairfix.models.inputs import Batch, Inputs, Rows, as_batch, as_inputs
from fairfix.models.network_output import select_output
from fairfix.models.targets import Targets

MAX_BATCH = 65_536  # rows
_SMALLEST_PROBABILITY = 1e-6  # whose logit is not clipped


class Output(StrEnum):
    """Kind of a network's output."""

    PROB = "prob"
    LOGIT = "logit"
    PROBS = "two probabilities"
    LOGITS = "two logits"

    @property
    def is_two(self) -> bool:
        """Whether the network has one output for each label, 0 and 1."""
        return self in (Output.PROBS, Output.LOGITS)


class Scorer(nn.Module):
    """A network as a score function: ``forward`` returns P(favorable), (N,) in [0, 1].

    Scores have the type of the rows, which is float32 for rows of a table. Wherever inputs are
    expected, a tensor (N, D) counts as the only one.

    Attributes:
        network: maps its inputs for N rows to scores of shape (N,), (N, 1) or (N, 2), with
            ``classes`` (N, K), with ``targets`` (N, L), or to several tensors.
        output: kind of its output; with ``classes`` or ``targets`` that of each of its values.
        complement: True if the network predicts the unfavorable label, so that the score is
            1 minus the probability.
        output_name: which of several outputs holds the scores (``named_outputs``).
        batch_size: rows in one forward pass, unless ``forward`` is called with more.
        input_dtype: type in which the network gets floating-point inputs; None leaves theirs.
        is_fixed: the network can be run, but its weights cannot be changed.
        writes_inputs: the network changes its inputs in place, and gets a copy.
        mixes_rows: the output of a row depends on the other rows of its batch.
        classes: of a network with one output for each of more than two label values; else None.
        targets: of a network with one output for each of several labels; else None.
        release_after: rows that ``forward`` runs before freed memory goes back to the system, for
            networks that need much of it for a row; None leaves it to the C library.
    """

    def __init__(
        self,
        network: nn.Module,
        output: Output,
        *,
        complement: bool = False,
        output_name: str | None = None,
        batch_size: int = MAX_BATCH,
        input_dtype: torch.dtype | None = None,
        is_fixed: bool = False,
        writes_inputs: bool = False,
        mixes_rows: bool = False,
        classes: Classes | None = None,
        targets: Targets | None = None,
        release_after: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.output = output
        self.complement = complement
        self.output_name = output_name
        self.batch_size = batch_size
        self.input_dtype = input_dtype
        self.is_fixed = is_fixed
        self.writes_inputs = writes_inputs
        self.mixes_rows = mixes_rows
        self.classes = classes
        self.targets = targets
        self.release_after = release_after
        self._rows_run = 0

    def forward(self, batch: Batch | Tensor) -> Tensor:
        batch = as_batch(batch)
        if len(batch) == 1:  # networks that squeeze their output need two rows
            scores: Tensor = self(batch.repeated(2))
            return scores[:1]
        self._release_before(batch)
        return self.read(self.raw(batch)).to(self.dtype_of(batch))

    def raw(self, batch: Batch | Tensor) -> Tensor:
        """Return the network's output for a batch of at least two rows, as ``merged`` has it."""
        return self.merged(self._outputs(as_batch(batch)))

    def _outputs(self, batch: Batch) -> Tensor:
        return raw_output(self.network, self.cast(batch), self.output_name)

    def cast(self, batch: Batch) -> Batch:
        """Return a batch as the network gets it."""
        if self.writes_inputs:
            batch = batch.map(torch.clone)
        return batch if self.input_dtype is None else batch.cast(self.input_dtype)

    def merged(self, raw: Tensor) -> Tensor:
        """Return the output for the favorable classes or for the target, (N,), if there are any."""
        if self.classes is not None:
            return merged_classes(raw, self.output, self.classes)
        return raw if self.targets is None else self.targets.of(raw)

    def dtype_of(self, batch: Batch) -> torch.dtype:
        """Return the type of the scores for a batch."""
        return batch.dtype

    def read(self, raw: Tensor) -> Tensor:
        """Return P(favorable), (N,), from the network's output for a batch."""
        probabilities = probability(raw, self.output)
        return 1 - probabilities if self.complement else probabilities

    @torch.no_grad()
    def score(self, inputs: Inputs | Tensor, batch_size: int | None = None) -> Tensor:
        """Return P(favorable) of every row, (N,), batch by batch in evaluation mode."""
        inputs = as_inputs(inputs)
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            batches = inputs.batches(batch_size or self.batch_size)
            return in_row_order((rows, self(batch)) for rows, batch in batches)
        finally:
            for module, training in modes:
                module.training = training

    def class_outputs(self, inputs: Inputs) -> Tensor:
        """Return the outputs for all classes, (N, K), batch by batch in evaluation mode."""
        self.eval()
        return in_row_order(
            (rows, self._outputs(batch.two_or_more())[: len(batch)])
            for rows, batch in inputs.batches(self.batch_size)
        )

    def differentiable(self, inputs: Inputs | Tensor) -> Tensor:
        """Return P(favorable) of every row, (N,), with gradients.

        Beyond ``batch_size`` rows the forward passes are repeated in the backward pass, so that
        memory does not grow with the number of rows. In training mode all rows run at once, as
        BatchNorm needs.
        """
        return self._in_parts(self, as_inputs(inputs))

    def differentiable_logit(self, inputs: Inputs | Tensor) -> Tensor:
        """Return the logit of P(favorable) of every row, (N,), as ``differentiable`` does scores.

        That of a probability is clipped to about +-14.
        """
        return self._in_parts(self.logit, as_inputs(inputs))

    def logit(self, batch: Batch) -> Tensor:
        """Return the logit of P(favorable) for a batch, (n,), with gradients."""
        if len(batch) == 1:
            return self.logit(batch.repeated(2))[:1]
        self._release_before(batch)
        logits = output_logit(self.raw(batch), self.output)
        return (-logits if self.complement else logits).to(self.dtype_of(batch))

    def _release_before(self, batch: Batch) -> None:
        """Return freed memory before a batch if enough rows were run since the last time."""
        if self.release_after is None or batch.device.type != "cpu":
            return
        if self._rows_run >= self.release_after:
            return_freed_memory()
            self._rows_run = 0
        self._rows_run += len(batch)

    def _in_parts(self, function: Callable[[Batch], Tensor], inputs: Inputs) -> Tensor:
        if len(inputs) <= self.batch_size or self.training:
            return function(inputs.batch())
        return in_row_order(
            (rows, recompute(lambda part: function(inputs.batch(part)), rows, use_reentrant=False))
            for rows in inputs.divided(self.batch_size)
        )

    def with_network(self, network: nn.Module) -> Scorer:
        """Return a scorer that reads the output of another network as this one does."""
        return Scorer(
            network,
            self.output,
            complement=self.complement,
            output_name=self.output_name,
            batch_size=self.batch_size,
            input_dtype=self.input_dtype,
            is_fixed=self.is_fixed,
            writes_inputs=self.writes_inputs,
            mixes_rows=self.mixes_rows,
            classes=self.classes,
            targets=self.targets,
            release_after=self.release_after,
        ).eval()

    def check_changeable(self) -> None:
        """Raise CheckpointError if the weights of the network cannot be changed."""
        if self.is_fixed:
            raise CheckpointError(
                "The network is quantized, so its weights cannot be changed; use a method that "
                "changes thresholds alone, or the network from before it was quantized."
            )

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the network's ``state_dict``."""
        return {k: v.detach().clone() for k, v in self.network.state_dict().items()}


def in_row_order(batches: Iterable[tuple[Rows, Tensor]]) -> Tensor:
    """Return the results of batches (n, ...) as one tensor (N, ...), with the rows in order."""
    rows, results = zip(*batches, strict=True)
    joined = torch.cat(results)
    if isinstance(rows[0], slice):
        return joined
    return joined[torch.cat(rows).argsort().to(joined.device)]


def merged_classes(raw: Tensor, output: Output, classes: Classes) -> Tensor:
    """Return the output for the favorable classes as one, (N,), of the same kind."""
    return classes.probability(raw) if output is Output.PROB else classes.logit(raw)


def probability(raw: Tensor, output: Output) -> Tensor:
    """Return the positive-class probability of each row, (N,), from the output for a batch."""
    match output:
        case Output.PROB:
            return raw.reshape(-1)
        case Output.LOGIT:
            return raw.reshape(-1).sigmoid()
        case Output.PROBS:
            return raw[:, 1]
        case Output.LOGITS:
            return raw.softmax(1)[:, 1]


def output_logit(raw: Tensor, output: Output) -> Tensor:
    """Return the logit of ``probability``, (N,), from the output for a batch."""
    match output:
        case Output.LOGIT:
            return raw.reshape(-1)
        case Output.LOGITS:
            return raw[:, 1] - raw[:, 0]
        case _:
            return probability(raw, output).logit(_SMALLEST_PROBABILITY)


def raw_output(network: nn.Module, batch: Batch | Tensor, name: str | None = None) -> Tensor:
    """Return the output tensor for a batch; ``name`` chooses one of several.

    Raises:
        CheckpointError: if there is no tensor, or no name and several.
        UsageError: if no output has this name.
    """
    raw: Any = as_batch(batch).call(network)
    return select_output(raw, name)
