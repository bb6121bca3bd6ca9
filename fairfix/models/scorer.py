"""Score a network: the probability of the favorable label for each row."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor, nn

from fairfix.errors import CheckpointError


class Output(StrEnum):
    """Kind of a network's output."""

    PROB = "prob"
    LOGIT = "logit"
    PROBS = "two probabilities"
    LOGITS = "two logits"


class Scorer(nn.Module):
    """A network as a score function: ``forward`` returns P(favorable), (N,) float32 in [0, 1].

    Attributes:
        network: maps (N, D) float32 to (N,), (N, 1) or (N, 2).
        output: kind of its output.
        complement: True if the network predicts the unfavorable label, so that the score is
            1 minus the probability.
    """

    def __init__(self, network: nn.Module, output: Output, *, complement: bool = False) -> None:
        super().__init__()
        self.network = network
        self.output = output
        self.complement = complement

    def forward(self, features: Tensor) -> Tensor:
        probabilities = probability(raw_output(self.network, features), self.output)
        return 1 - probabilities if self.complement else probabilities

    @torch.no_grad()
    def score(self, features: Tensor, batch_size: int = 65_536) -> Tensor:
        """Return P(favorable) of every row, (N,) float32, batch by batch in evaluation mode."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            return torch.cat([self(part) for part in features.split(batch_size)])
        finally:
            for module, training in modes:
                module.training = training

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


def raw_output(network: nn.Module, features: Tensor) -> Tensor:
    """Return the output tensor for a batch, unwrapped.

    The tensor may be the ``logits`` attribute or entry of an object, or the only item of a tuple or
    list.

    Raises:
        CheckpointError: if the output is anything else.
    """
    raw = network(features)
    if isinstance(raw, dict):
        raw = raw.get("logits", raw)
    raw = getattr(raw, "logits", raw)
    if isinstance(raw, (tuple, list)) and len(raw) == 1:
        raw = raw[0]
    if not isinstance(raw, Tensor):
        raise CheckpointError(
            f"The network returns {type(raw).__name__}, not a tensor of scores; wrap it so that "
            "it returns a tensor of shape (N,), (N, 1) or (N, 2)."
        )
    return raw


@torch.no_grad()
def detect_output(network: nn.Module, features: Tensor) -> Output:
    """Infer the kind of output from its shape and range over ``features`` (N, D).

    Values that all lie in [0, 1] are probabilities, others are logits. Two columns belong to labels
    0 and 1.

    Raises:
        CheckpointError: if the output has another shape or is not finite.
    """
    parts = [raw_output(network, part) for part in features.split(65_536)]
    raw = torch.cat([part.reshape(len(part), -1) if part.dim() else part[None] for part in parts])
    if len(raw) != len(features) or raw.shape[1] not in (1, 2):
        raise CheckpointError(
            f"The network returns shape {tuple(parts[0].shape)} for {len(features)} rows; fairfix "
            "debiases binary classifiers with output shape (N,), (N, 1) or (N, 2)."
        )
    if not raw.isfinite().all():
        raise CheckpointError(
            "The network returns NaN or infinite values on these rows; check its inputs."
        )
    inside = bool(((raw >= 0) & (raw <= 1)).all())
    if raw.shape[1] == 1:
        return Output.PROB if inside else Output.LOGIT
    sums_to_one = torch.allclose(raw.sum(1), torch.ones(len(raw)).to(raw), atol=1e-4)
    return Output.PROBS if inside and sums_to_one else Output.LOGITS
