"""A network as a function from features to the probability of the favorable outcome."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor, nn

from fairfix.errors import CheckpointError


class Output(StrEnum):
    """What the network's last layer gives for a row."""

    PROB = "prob"
    LOGIT = "logit"
    PROBS = "two probabilities"
    LOGITS = "two logits"


class Scorer(nn.Module):
    """Wraps a network; ``forward`` gives P(favorable), (N,) float32 in [0, 1].

    Attributes:
        network: called with (N, D) float32, gives (N,), (N, 1) or (N, 2).
        output: what it gives.
        complement: the network predicts the unfavorable label, so the score is 1 - output.
    """

    def __init__(self, network: nn.Module, output: Output, *, complement: bool = False) -> None:
        super().__init__()
        self.network = network
        self.output = output
        self.complement = complement

    def forward(self, features: Tensor) -> Tensor:
        found = probability(raw_output(self.network, features), self.output)
        return 1 - found if self.complement else found

    @torch.no_grad()
    def score(self, features: Tensor, batch_size: int = 65_536) -> Tensor:
        """P(favorable) of every row, (N,) float32, batch by batch in evaluation mode."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            return torch.cat([self(part) for part in features.split(batch_size)])
        finally:
            for module, training in modes:
                module.training = training

    def weights(self) -> dict[str, Tensor]:
        """A copy of the network's state, keyed as its own ``state_dict`` is."""
        return {k: v.detach().clone() for k, v in self.network.state_dict().items()}


def probability(raw: Tensor, output: Output) -> Tensor:
    """What the network says of each row, (N,), from what it returns for a batch."""
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
    """What the network returns for a batch; a ``logits`` attribute or entry is taken out."""
    raw = network(features)
    if isinstance(raw, dict):
        raw = raw.get("logits", raw)
    raw = getattr(raw, "logits", raw)
    if isinstance(raw, (tuple, list)) and len(raw) == 1:
        raw = raw[0]
    if not isinstance(raw, Tensor):
        raise CheckpointError(
            f"The network returns {type(raw).__name__}, not a tensor of scores; wrap it so that "
            "it returns (N,), (N, 1) or (N, 2) values."
        )
    return raw


@torch.no_grad()
def detect_output(network: nn.Module, features: Tensor) -> Output:
    """What the output must be, from its shape and range over ``features`` (N, D).

    Values all inside [0, 1] are read as probabilities, anything else as logits; two columns are
    the two labels in their order.

    Raises:
        CheckpointError: for any other shape, or values that are not finite.
    """
    parts = [raw_output(network, part) for part in features.split(65_536)]
    raw = torch.cat([part.reshape(len(part), -1) if part.dim() else part[None] for part in parts])
    if len(raw) != len(features) or raw.shape[1] not in (1, 2):
        raise CheckpointError(
            f"The network gives {tuple(parts[0].shape)} for {len(features)} rows; fairfix debiases "
            "binary classifiers, whose output is (N,), (N, 1) or (N, 2)."
        )
    if not raw.isfinite().all():
        raise CheckpointError("The network gives NaN or infinite outputs on these rows.")
    inside = bool(((raw >= 0) & (raw <= 1)).all())
    if raw.shape[1] == 1:
        return Output.PROB if inside else Output.LOGIT
    sums_to_one = torch.allclose(raw.sum(1), torch.ones(len(raw)).to(raw), atol=1e-4)
    return Output.PROBS if inside and sums_to_one else Output.LOGITS
