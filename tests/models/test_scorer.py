"""Scores of a network are probabilities of the favorable label for every kind of output."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fairfix.errors import CheckpointError
from fairfix.models.scorer import Output, Scorer, detect_output, raw_output
from tests.helpers import zoo

ROWS = 9
LOGITS = torch.linspace(-4, 4, ROWS)
TWO_LOGITS = torch.stack([LOGITS.sin(), LOGITS], 1)


class Gives(nn.Module):
    """A network that gives what it was told, batch by batch; its input holds row numbers."""

    def __init__(self, values: Tensor, wrap: Any = lambda x: x) -> None:
        super().__init__()
        self.values, self.wrap = values, wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.values[x[:, 0].long()])


NUMBERS = torch.arange(float(ROWS)).unsqueeze(1)

PROBABILITY = 1 / (1 + (-LOGITS).exp())
SECOND = TWO_LOGITS[:, 1].exp() / TWO_LOGITS.exp().sum(1)

SHAPES = {
    "probabilities": (PROBABILITY, Output.PROB, PROBABILITY),
    "a column of probabilities": (PROBABILITY[:, None], Output.PROB, PROBABILITY),
    "logits": (LOGITS, Output.LOGIT, PROBABILITY),
    "a column of logits": (LOGITS[:, None], Output.LOGIT, PROBABILITY),
    "two probabilities": (torch.stack([1 - SECOND, SECOND], 1), Output.PROBS, SECOND),
    "two logits": (TWO_LOGITS, Output.LOGITS, SECOND),
    "two logits in [0, 1]": (
        TWO_LOGITS.sigmoid(),
        Output.LOGITS,
        (TWO_LOGITS.sigmoid()[:, 1] - TWO_LOGITS.sigmoid()[:, 0]).sigmoid(),
    ),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("complement", [False, True])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_outputs_are_recognized_and_read(name: str, complement: bool, batch_size: int) -> None:
    values, kind, expected = SHAPES[name]
    network = Gives(values)
    assert detect_output(network, NUMBERS) is kind
    scores = Scorer(network, kind, complement=complement).score(NUMBERS, batch_size)
    assert scores.shape == (ROWS,)
    expected = 1 - expected if complement else expected
    assert scores.numpy() == pytest.approx(expected.numpy(), abs=1e-6)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: {"logits": x, "loss": None},
        lambda x: SimpleNamespace(logits=x),
        lambda x: (x,),
        lambda x: [x],
    ],
)
def test_wrapped_outputs_are_unwrapped(wrap: Any) -> None:
    network = Gives(TWO_LOGITS, wrap)
    assert torch.equal(raw_output(network, NUMBERS), TWO_LOGITS)
    assert detect_output(network, NUMBERS) is Output.LOGITS


@pytest.mark.parametrize(
    "wrap", [lambda x: (x, x), lambda x: {"scores": x}, lambda x: None, lambda x: x.tolist()]
)
def test_an_output_without_a_tensor_of_scores_is_refused(wrap: Any) -> None:
    with pytest.raises(CheckpointError, match="not a tensor of scores"):
        detect_output(Gives(LOGITS, wrap), NUMBERS)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Gives(torch.zeros(ROWS, 3)), r"returns shape \(9, 3\) for 9 rows; .* binary"),
        (Gives(torch.zeros(ROWS, 2, 2)), "binary"),
        (Gives(LOGITS, lambda x: x.sum()), "binary"),
        (Gives(LOGITS, lambda x: x[:3]), "binary"),
        (Gives(LOGITS.index_fill(0, torch.tensor(3), torch.nan)), "NaN or infinite"),
        (Gives(LOGITS.index_fill(0, torch.tensor(3), torch.inf)), "NaN or infinite"),
    ],
)
def test_other_shapes_and_values_are_refused(network: nn.Module, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        detect_output(network, NUMBERS)


def test_scoring_runs_in_evaluation_mode_and_leaves_every_mode_as_it_was() -> None:
    """Also where one layer alone was frozen: its mode is not the scorer's."""
    scorer = Scorer(zoo.network("dropout"), Output.LOGIT).train()
    scorer.network[0].eval()
    modes = [module.training for module in scorer.modules()]
    features = zoo.features(20)
    assert torch.equal(scorer.score(features), scorer.score(features))
    assert [module.training for module in scorer.modules()] == modes
    assert True in modes
    assert False in modes


def test_modes_are_restored_when_the_network_fails() -> None:
    scorer = Scorer(zoo.network("dropout"), Output.LOGIT).train()
    with pytest.raises(RuntimeError, match="shape"):
        scorer.score(torch.zeros(3, zoo.WIDTH + 1))
    assert all(module.training for module in scorer.modules())


def test_weights_are_a_copy_under_the_networks_own_names() -> None:
    scorer = zoo.scorer("BatchNorm before")
    weights = scorer.weights()
    assert list(weights) == list(scorer.network.state_dict())
    for tensor in weights.values():
        assert not tensor.requires_grad
        tensor.zero_()
    assert all(bool(p.any()) for p in scorer.parameters())
