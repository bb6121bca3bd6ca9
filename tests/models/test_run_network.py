"""Networks are run on rows of the table, and what they need is found that way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fairfix.errors import CheckpointError, UsageError
from fairfix.models.batch_size import BATCH_BYTES, bytes_per_row, default_batch_size
from fairfix.models.checkpoint import Checkpoint
from fairfix.models.input_width import accepted_widths
from fairfix.models.run_network import Reading, checked_scores, make_scorer
from fairfix.models.scorer import MAX_BATCH, Output, Scorer
from fairfix.workflows.output_reading import batch_notes

WIDTH = 4


class Net(nn.Module):
    """Named layers and a function that runs them."""

    def __init__(self, wiring: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.wiring = wiring

    def forward(self, x: Tensor) -> Any:
        return self.wiring(x, **self.layers)


class TwoInputs(nn.Module):
    def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
        return codes.sum(1) + numbers.sum(1)


def rows(n: int = 9) -> Tensor:
    return torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(0))


def stored(module: nn.Module) -> Checkpoint:
    """A checkpoint of the module as the readers make it: in float32, tensors as stored."""
    tensors = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    return Checkpoint(Path("m.pt"), "state_dict", "state_dict", module.float().eval(), tensors)


def scorer_of(module: nn.Module, features: Tensor, *reading: str | None) -> Scorer:
    return make_scorer(stored(module), features, Reading(*reading))


def linear(outputs: int = 1) -> nn.Linear:
    return nn.Linear(WIDTH, outputs)


FIRST_PARAMETER_IS_NO_LINEAR_LAYER = {
    "embeddings": (
        Net(
            lambda x, e, f: f(torch.cat([e(x[:, 0].abs().long()), x[:, 1:]], 1)),
            e=nn.Embedding(9, 2),
            f=nn.Linear(5, 1),
        ),
        [WIDTH],
    ),
    "head registered first": (
        Net(lambda x, head, body: head(body(x).relu()), head=nn.Linear(6, 1), body=linear(6)),
        [WIDTH],
    ),
    "LSTM": (
        Net(
            lambda x, lstm, f: f(lstm(x.view(-1, 2, 2))[0][:, -1]),
            lstm=nn.LSTM(2, 3, batch_first=True),
            f=nn.Linear(3, 1),
        ),
        [4],
    ),
    "GRU over any number of steps": (
        Net(
            lambda x, gru, f: f(gru(x.unsqueeze(2))[1][-1]),
            gru=nn.GRU(1, 3, batch_first=True),
            f=nn.Linear(3, 1),
        ),
        [1, 2],
    ),
    "convolution": (
        Net(
            lambda x, c, f: f(c(x.unsqueeze(1)).relu().flatten(1)),
            c=nn.Conv1d(1, 2, 3, padding=1),
            f=nn.Linear(8, 1),
        ),
        [WIDTH],
    ),
}


@pytest.mark.parametrize("name", FIRST_PARAMETER_IS_NO_LINEAR_LAYER)
def test_the_input_width_is_found_by_running(name: str) -> None:
    module, widths = FIRST_PARAMETER_IS_NO_LINEAR_LAYER[name]
    assert accepted_widths(stored(module)) == widths
    scorer = scorer_of(module, rows())
    assert scorer.output is Output.LOGIT
    with torch.no_grad():
        assert torch.equal(scorer.score(rows()), module(rows()).sigmoid().flatten())


def test_a_failure_on_any_row_is_one_sentence() -> None:
    module = Net(lambda x, e: e(x[:, 0].long()), e=nn.Embedding(3, 1))
    features = torch.zeros(200, WIDTH)
    scorer = scorer_of(module, features)
    features[150] = 7
    with pytest.raises(CheckpointError, match="does not run on 4 features a row: "):
        checked_scores(scorer, features)


def test_a_network_of_numbers_is_not_given_pixels_that_nothing_scales() -> None:
    module = nn.Sequential(nn.Conv2d(3, 1, 2), nn.Flatten()).eval()
    with pytest.raises(CheckpointError, match=r'scaled, as in "scale": 0\.00392156862745098'):
        scorer_of(module, torch.zeros(5, 3, 2, 2, dtype=torch.uint8))


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError(""), ZeroDivisionError()])
def test_whatever_a_network_raises_is_reported(error: Exception) -> None:
    def fails(x: Tensor) -> Tensor:
        raise error

    with pytest.raises(CheckpointError, match="does not run on 4 features a row"):
        scorer_of(Net(fails), rows())


def test_several_inputs_are_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match=r"takes 2 inputs \(codes, numbers\)"):
        scorer_of(TwoInputs(), rows())


# Outputs of several tensors.


def several(**layers: nn.Module) -> Callable[[Callable[..., Any]], nn.Module]:
    return lambda wrap: Net(lambda x, f, g: wrap(f(x), g(x)), **layers)


SCORES_AND_HIDDEN = several(f=linear(), g=linear(6))


@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (lambda score, hidden: (score, hidden), "0"),
        (lambda score, hidden: [hidden, score], "1"),
        (lambda score, hidden: {"embedding": hidden, "score": score}, "score"),
        (lambda score, hidden: {"all": (hidden, score)}, "all.1"),
        (lambda score, hidden: {"logits": score, "hidden": hidden}, "logits"),
        (lambda score, hidden: (score, (score > 0)), "0"),
    ],
)
@pytest.mark.parametrize("given", [False, True])
def test_the_only_output_of_the_shape_of_scores_is_taken(
    wrap: Callable[..., Any], name: str, given: bool
) -> None:
    module = SCORES_AND_HIDDEN(wrap)
    scorer = scorer_of(module, rows(), None, name if given else None)
    assert scorer.output_name == name
    with torch.no_grad():
        assert torch.equal(scorer.score(rows()), module.layers["f"](rows()).sigmoid().flatten())


def test_several_outputs_of_the_shape_of_scores_are_named() -> None:
    module = several(f=linear(), g=linear(2))(lambda f, g: {"one": f, "two": g, "three": f * 1})
    with pytest.raises(CheckpointError, match=r"one \(9, 1\), two \(9, 2\), three .*--output-name"):
        scorer_of(module, rows())
    assert scorer_of(module, rows(), None, "two").output is Output.LOGITS


def test_an_unknown_output_name_lists_the_outputs() -> None:
    module = SCORES_AND_HIDDEN(lambda score, hidden: {"score": score, "embedding": hidden})
    with pytest.raises(UsageError, match=r"no output 'logit' .* it has outputs score, embedding"):
        scorer_of(module, rows(), None, "logit")
    with pytest.raises(CheckpointError, match=r"returns shape \(9, 6\) for 9 rows"):
        scorer_of(module, rows(), None, "embedding")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda score, hidden: hidden,
        lambda score, hidden: score.sum(),
        lambda score, hidden: score[:3],
        lambda score, hidden: (hidden, hidden),
        lambda score, hidden: score.long(),
    ],
)
def test_other_shapes_are_refused(wrap: Callable[..., Any]) -> None:
    with pytest.raises(CheckpointError, match=r"shape of scores|binary classifiers"):
        scorer_of(SCORES_AND_HIDDEN(wrap), rows())


@pytest.mark.parametrize("cast", [Tensor.bool, Tensor.long])
def test_decisions_are_not_scores(cast: Callable[[Tensor], Tensor]) -> None:
    module = Net(lambda x, f: cast(f(x)), f=linear())
    with pytest.raises(CheckpointError, match=r"returns torch\.(bool|int64), so decisions"):
        scorer_of(module, rows())


def test_many_outputs_are_counted() -> None:
    with pytest.raises(CheckpointError, match=r"7 \(1,\) and 1 more; wrap"):
        scorer_of(Net(lambda x, f: [f(row) for row in x], f=linear()), rows())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_output_that_is_not_finite_is_refused(value: float) -> None:
    scorer = scorer_of(linear(), rows(300))
    features = rows(300)
    features[200] = value
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        checked_scores(scorer, features)


# How the output is read.


@pytest.mark.parametrize(
    ("outputs", "kind", "found"),
    [
        (1, None, Output.LOGIT),
        (1, "prob", Output.PROB),
        (2, "prob", Output.PROBS),
        (2, "logit", Output.LOGITS),
        (1, "logit", Output.LOGIT),
        (2, "two probabilities", Output.PROBS),
    ],
)
def test_a_given_kind_wins(outputs: int, kind: str | None, found: Output) -> None:
    assert scorer_of(linear(outputs), rows(), kind).output is found


def test_a_rule_for_another_number_of_outputs_is_refused() -> None:
    with pytest.raises(UsageError, match="gives 'two logits', but this one gives 'logit'"):
        scorer_of(linear(), rows(), "two logits")


def test_two_sigmoids_are_read_as_given() -> None:
    module = nn.Sequential(linear(2), nn.Sigmoid())
    with pytest.raises(CheckpointError, match="need not sum to 1"):
        scorer_of(module, rows())
    with torch.no_grad():
        assert torch.equal(scorer_of(module, rows(), "prob").score(rows()), module(rows())[:, 1])


# Networks that are random, or need another type of number.


@pytest.mark.parametrize(
    "wiring",
    [
        lambda x, f: f(functional.dropout(x, 0.3)),
        lambda x, f: f(x + torch.randn_like(x)),
        lambda x, f: f(x * f.bias.data.add_(1)),
    ],
)
def test_a_network_that_is_not_repeatable_is_refused(wiring: Callable[..., Any]) -> None:
    module, state = Net(wiring, f=linear()), torch.get_rng_state()
    with pytest.raises(CheckpointError, match="other outputs when the same rows are run again"):
        scorer_of(module, rows())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("write", [lambda x: x.clamp_(-1, 1), lambda x: x.mul_(2)])
def test_a_network_that_writes_into_its_input_gets_a_copy(write: Callable[..., Any]) -> None:
    features, layer = rows(), linear()
    scorer = scorer_of(Net(lambda x, f: f(write(x)), f=layer), features)
    expected = layer(write(rows())).sigmoid()[:, 0]
    assert torch.allclose(checked_scores(scorer, features), expected)
    assert torch.equal(features, rows())


@pytest.mark.parametrize(
    ("module", "mixes"),
    [
        (linear(), False),
        (nn.Sequential(nn.BatchNorm1d(WIDTH), linear()), False),
        (nn.Sequential(nn.LayerNorm(WIDTH), linear()), False),
        (Net(lambda x, f: f(functional.layer_norm(x, x.shape[1:])), f=linear()), False),
        (Net(lambda x, f: f(x - x.mean(0)), f=linear()), True),
        (Net(lambda x, f: f(x.sort(0).values), f=linear()), True),
        (nn.Sequential(nn.BatchNorm1d(WIDTH, track_running_stats=False), linear()), True),
    ],
)
def test_whether_rows_are_scored_apart_is_found_by_running(module: nn.Module, mixes: bool) -> None:
    scorer = scorer_of(module.eval(), rows(64))
    assert scorer.mixes_rows == mixes
    assert [note[:8] for note in batch_notes(scorer)] == ["warning:"] * mixes


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_network_that_casts_its_input_runs_in_its_stored_type(dtype: torch.dtype) -> None:
    module = Net(lambda x, f: f(x.to(dtype)), f=linear()).to(dtype)
    weight = module.layers["f"].weight.clone()
    scorer = scorer_of(module, rows())
    assert {p.dtype for p in scorer.parameters()} == {dtype}
    assert torch.equal(next(scorer.parameters()), weight)
    assert scorer.score(rows()).dtype == torch.float32


def test_a_network_whose_constants_are_float64_gets_float64_rows() -> None:
    turn = torch.eye(WIDTH, dtype=torch.float64)
    module = Net(lambda x, f: f(x @ turn), f=linear()).double()
    scorer = scorer_of(module, rows())
    assert scorer.input_dtype == torch.float64
    assert scorer.score(rows()).shape == (9,)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_networks_run_in_float32(dtype: torch.dtype) -> None:
    scorer = scorer_of(linear().to(dtype), rows())
    assert {p.dtype for p in scorer.parameters()} == {torch.float32}


# Rows in one pass.


def test_the_default_batch_size_follows_from_the_memory_of_a_row() -> None:
    narrow, wide = nn.Sequential(linear(8), nn.ReLU()), nn.Sequential(linear(2**20), nn.ReLU())
    assert bytes_per_row(narrow, rows()) == 2 * 8 * 4
    assert default_batch_size(narrow, rows()) == MAX_BATCH
    assert bytes_per_row(wide, rows()) == 2 * 2**20 * 4
    assert default_batch_size(wide, rows()) == BATCH_BYTES // (2 * 2**20 * 4) == 64


@pytest.mark.parametrize(("width", "release_after"), [(8, None), (2**14, 2048)])
def test_freed_memory_is_returned_only_for_networks_that_need_much(
    width: int, release_after: int | None
) -> None:
    module = nn.Sequential(linear(width), nn.ReLU(), nn.Linear(width, 1))
    assert scorer_of(module, rows()).release_after == release_after


def test_views_and_weights_take_no_memory_per_row() -> None:
    module = Net(lambda x, f: f(x.view(-1, 2, 2).flatten(1)) * f.weight.sum(), f=linear())
    assert bytes_per_row(module, rows()) == 2 * 4


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 9])
def test_gradients_do_not_depend_on_the_batch_size(batch_size: int) -> None:
    module = nn.Sequential(linear(5), nn.Tanh(), nn.Linear(5, 1)).double()
    features, seen = rows().double(), []

    def counted(part: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.append(len(given[0]))

    module.register_forward_pre_hook(counted)
    scorer = Scorer(module, Output.LOGIT, batch_size=batch_size).eval()
    whole = torch.autograd.grad(scorer(features).square().sum(), list(module.parameters()))
    seen.clear()
    parts = torch.autograd.grad(
        scorer.differentiable(features).square().sum(), list(module.parameters())
    )
    assert max(seen) <= max(2, batch_size)
    for one, other in zip(whole, parts, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
