"""Scores of a network are probabilities of the favorable label for every kind of output."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fairfix.errors import CheckpointError, UsageError
from fairfix.models.scorer import Output, Scorer, raw_output
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
def test_outputs_are_read(name: str, complement: bool, batch_size: int) -> None:
    values, kind, expected = SHAPES[name]
    scores = Scorer(Gives(values), kind, complement=complement).score(NUMBERS, batch_size)
    assert scores.shape == (ROWS,)
    expected = 1 - expected if complement else expected
    assert scores.numpy() == pytest.approx(expected.numpy(), abs=1e-6)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: {"logits": x, "loss": None},
        lambda x: {"logits": x, "hidden_states": (x, x)},
        lambda x: SimpleNamespace(logits=x),
        lambda x: (x,),
        lambda x: [x],
        lambda x: {"scores": x},
    ],
)
def test_wrapped_outputs_are_unwrapped(wrap: Any) -> None:
    assert torch.equal(raw_output(Gives(TWO_LOGITS, wrap), NUMBERS), TWO_LOGITS)


@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (lambda x: (x, x[:, :1]), "0"),
        (lambda x: {"embedding": x[:, :1], "scores": x}, "scores"),
        (lambda x: ({"a": x[:, :1], "b": [x[:, :1], x]}, x[:, :1]), "0.b.1"),
    ],
)
def test_one_of_several_outputs_is_chosen_by_name(wrap: Any, name: str) -> None:
    network = Gives(TWO_LOGITS, wrap)
    assert torch.equal(raw_output(network, NUMBERS, name), TWO_LOGITS)
    with pytest.raises(CheckpointError, match=r"choose that of the scores with --output-name"):
        raw_output(network, NUMBERS)
    with pytest.raises(UsageError, match=f"no output 'x' .* it has outputs .*{name}"):
        raw_output(network, NUMBERS, "x")


@pytest.mark.parametrize("wrap", [lambda x: None, lambda x: x.tolist(), lambda x: {"loss": 1.0}])
def test_an_output_without_a_tensor_of_scores_is_refused(wrap: Any) -> None:
    with pytest.raises(CheckpointError, match="not a tensor of scores"):
        raw_output(Gives(LOGITS, wrap), NUMBERS)


class Squeezed(nn.Module):
    """A network whose forward drops every dimension of size 1, also that of the rows."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(zoo.WIDTH, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.unsqueeze(1)).squeeze()


@pytest.mark.parametrize(("outputs", "kind"), [(1, Output.LOGIT), (2, Output.LOGITS)])
@pytest.mark.parametrize("rows", [1, 9])
def test_a_batch_of_one_row_is_read_as_any_other(outputs: int, kind: Output, rows: int) -> None:
    scorer, features = Scorer(Squeezed(outputs), kind), zoo.features(rows)
    scores = scorer.score(features)
    assert scores.shape == (rows,)
    assert torch.allclose(scorer.score(features, batch_size=4), scores)
    assert torch.allclose(scorer.score(features, batch_size=1), scores)


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
