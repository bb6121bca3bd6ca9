"""Score a network: the probability of the favorable label for each row."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from fairfix.errors import CheckpointError
from fairfix.models.network_output import select_output

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

    Scores have the type of the rows, which is float32 for rows of a table.

    Attributes:
        network: maps (N, D) to scores of shape (N,), (N, 1) or (N, 2), or to several tensors.
        output: kind of its output.
        complement: True if the network predicts the unfavorable label, so that the score is
            1 minus the probability.
        output_name: which of several outputs holds the scores (``named_outputs``).
        batch_size: rows in one forward pass, unless ``forward`` is called with more.
        input_dtype: floating-point type in which the network gets the rows; None leaves theirs.
        is_fixed: the network can be run, but its weights cannot be changed.
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
    ) -> None:
        super().__init__()
        self.network = network
        self.output = output
        self.complement = complement
        self.output_name = output_name
        self.batch_size = batch_size
        self.input_dtype = input_dtype
        self.is_fixed = is_fixed

    def forward(self, features: Tensor) -> Tensor:
        if len(features) == 1:  # networks that squeeze their output need two rows
            scores: Tensor = self(features.expand(2, *features.shape[1:]))
            return scores[:1]
        return self.read(self.raw(features)).to(features.dtype)

    def raw(self, features: Tensor) -> Tensor:
        """Return the network's output for a batch of at least two rows, as it is."""
        dtype = self.input_dtype or features.dtype
        return raw_output(self.network, features.to(dtype), self.output_name)

    def read(self, raw: Tensor) -> Tensor:
        """Return P(favorable), (N,), from the network's output for a batch."""
        probabilities = probability(raw, self.output)
        return 1 - probabilities if self.complement else probabilities

    @torch.no_grad()
    def score(self, features: Tensor, batch_size: int | None = None) -> Tensor:
        """Return P(favorable) of every row, (N,), batch by batch in evaluation mode."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            return torch.cat([self(part) for part in features.split(batch_size or self.batch_size)])
        finally:
            for module, training in modes:
                module.training = training

    def differentiable(self, features: Tensor) -> Tensor:
        """Return P(favorable) of every row, (N,), with gradients.

        Beyond ``batch_size`` rows the forward passes are repeated in the backward pass, so that
        memory does not grow with the number of rows. In training mode all rows run at once, as
        BatchNorm needs.
        """
        return self._in_parts(self, features)

    def differentiable_logit(self, features: Tensor) -> Tensor:
        """Return the logit of P(favorable) of every row, (N,), as ``differentiable`` does scores.

        That of a probability is clipped to about +-14.
        """
        return self._in_parts(self._logit, features)

    def _logit(self, features: Tensor) -> Tensor:
        if len(features) == 1:
            return self._logit(features.expand(2, *features.shape[1:]))[:1]
        logits = output_logit(self.raw(features), self.output)
        return (-logits if self.complement else logits).to(features.dtype)

    def _in_parts(self, function: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
        if len(features) <= self.batch_size or self.training:
            return function(features)
        parts = features.split(self.batch_size)
        return torch.cat([recompute(function, part, use_reentrant=False) for part in parts])

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


def raw_output(network: nn.Module, features: Tensor, name: str | None = None) -> Tensor:
    """Return the output tensor for a batch; ``name`` chooses one of several.

    Raises:
        CheckpointError: if there is no tensor, or no name and several.
        UsageError: if no output has this name.
    """
    raw: Any = network(features)
    return select_output(raw, name)
