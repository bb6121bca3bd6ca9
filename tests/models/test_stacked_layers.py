"""Scores under many parameter sets at once equal those of the network under each set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fairfix.data.problem import Problem
from fairfix.methods import get
from fairfix.methods._result import Result
from fairfix.methods._search import CandidateSearch
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.scorer import Output, Scorer
from fairfix.models.weight_batches.scoring import batch_scorer, vmap_scorer
from fairfix.models.weight_batches.stacked_layers import StackedLayers
from tests.helpers import zoo
from tests.helpers.toys import biased_problem, scored_rows

SEQUENCES = {
    *("modules", "functions", "in place", "a layer called input", "BatchNorm before"),
    *("BatchNorm behind", "sigmoid", "dropout", "two probabilities", "two logits"),
    *("one probability", "fixed bias", "a layer used twice"),
}
N = 90
MANY = 2_500  # rows for which a CPU uses the layout of oneDNN


def drawn(scorer: Scorer, count: int, sd: float = 0.2) -> dict[str, Tensor]:
    """Return random values of every parameter, each (count, *shape)."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: p.detach() * (1 + sd * torch.randn(count, *p.shape, generator=generator))
        for name, p in scorer.network.named_parameters()
    }


@torch.no_grad()
def one_by_one(scorer: Scorer, features: Tensor, versions: dict[str, Tensor]) -> Tensor:
    """Return scores (B, N), loading one parameter set after another."""
    parameters = dict(scorer.network.named_parameters())
    before = {name: p.clone() for name, p in parameters.items()}
    found = []
    for version in range(len(next(iter(versions.values())))):
        for name, values in versions.items():
            parameters[name].copy_(values[version])
        found.append(scorer.score(features))
    for name, p in parameters.items():
        p.copy_(before[name])
    return torch.stack(found)


@pytest.mark.parametrize("name", zoo.ZOO)
def test_layer_sequences_are_found_and_nothing_else(name: str) -> None:
    assert (StackedLayers.from_scorer(zoo.scorer(name), zoo.features(N)) is not None) == (
        name in SEQUENCES
    )


@pytest.mark.parametrize("rows", [1, N, MANY])
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("name", sorted(SEQUENCES))
def test_stacked_layers_score_every_parameter_set(name: str, together: bool, rows: int) -> None:
    scorer, features = zoo.scorer(name), zoo.features(rows)
    before = features.clone()
    chain = StackedLayers.from_scorer(scorer, features, stacked=together)
    assert chain is not None
    versions = drawn(scorer, 5)
    expected = one_by_one(scorer, features, versions)
    assert expected.shape == (5, rows)
    assert all((one - other).abs().max() > 1e-4 for one, other in pairwise(expected))
    torch.testing.assert_close(chain.scores(versions), expected, rtol=0, atol=2e-6)
    assert torch.equal(features, before)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("names", [["3.weight"], ["2.weight", "2.bias"], ["6.bias"]])
def test_parameters_left_out_keep_their_values(names: list[str], together: bool) -> None:
    scorer, features = zoo.scorer("BatchNorm behind"), zoo.features(N)
    chain = StackedLayers.from_scorer(scorer, features, stacked=together)
    assert chain is not None
    everything = drawn(scorer, 3)
    versions = {name: everything[name] for name in names}
    expected = one_by_one(scorer, features, versions)
    torch.testing.assert_close(chain.scores(versions), expected, rtol=0, atol=2e-6)
    with torch.no_grad():
        scorer.network.get_parameter("0.bias").add_(0.5)
    moved = one_by_one(scorer, features, versions)
    assert (moved - expected).abs().max() > 1e-3
    torch.testing.assert_close(chain.scores(versions), moved, rtol=0, atol=2e-6)


@pytest.mark.parametrize("together", [False, True])
def test_blocks_of_rows_and_a_complement_make_no_difference(
    together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer, features = zoo.scorer("BatchNorm before"), zoo.features(N)
    flipped = Scorer(scorer.network, scorer.output, complement=True).eval()
    versions = drawn(scorer, 4)
    for name in ("_MAX_ACTIVATIONS", "_MAX_ACTIVATIONS_ON_CPU"):
        monkeypatch.setattr(f"fairfix.models.weight_batches.stacked_layers.{name}", 7 * zoo.WIDTH)
    chain = StackedLayers.from_scorer(flipped, features, stacked=together)
    assert chain is not None
    expected = 1 - one_by_one(scorer, features, versions)
    torch.testing.assert_close(chain.scores(versions), expected, rtol=0, atol=2e-6)


class Shifting(nn.Module):
    """A layer sequence on two rows, something else on more."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(zoo.WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x)
        return logits if len(x) == 2 else logits * 2


class Norms(nn.Module):
    """BatchNorm that cannot be folded into a linear layer, or in training mode."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(zoo.WIDTH, zoo.H), *layers, nn.Linear(zoo.H, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


@pytest.mark.parametrize(
    "layers",
    [
        (nn.ReLU(), zoo.batch_norm(), nn.ReLU()),
        (nn.ReLU(), zoo.batch_norm(), zoo.batch_norm()),
        (zoo.batch_norm(), zoo.batch_norm()),
        (nn.BatchNorm1d(zoo.H, track_running_stats=False),),
        (nn.LayerNorm(zoo.H),),
        (nn.PReLU(),),
    ],
)
def test_batch_norm_that_cannot_be_folded_is_refused(
    layers: tuple[nn.Module, ...],
) -> None:
    scorer = Scorer(Norms(*layers), Output.LOGIT).eval()
    assert StackedLayers.from_scorer(scorer, zoo.features(N)) is None


def test_double_precision_is_not_supported() -> None:
    scorer = Scorer(zoo.network("modules").double(), Output.LOGIT).eval()
    assert StackedLayers.from_scorer(scorer, zoo.features(N).double()) is None


def test_stacked_layers_with_other_scores_are_not_used() -> None:
    scorer = Scorer(Shifting(), Output.LOGIT).eval()
    assert StackedLayers.from_scorer(scorer, zoo.features(N)) is not None
    assert batch_scorer(scorer, Inputs.of(zoo.features(N))) is None
    assert batch_scorer(zoo.scorer("residual"), Inputs.of(zoo.features(N))) is None


@pytest.mark.parametrize("name", ["residual with BatchNorm", "conv2d", "two readers", "modules"])
def test_any_network_that_torch_can_vectorize(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows in one piece and in several."""
    scorer, features = zoo.scorer(name), zoo.features(N)
    versions = drawn(scorer, 3)
    expected = one_by_one(scorer, features, versions)
    for rows in (65_536, 50):
        monkeypatch.setattr("fairfix.models.weight_batches.scoring._MAX_ROWS", rows)
        found = vmap_scorer(scorer, Inputs.of(features))(versions)
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


# What perturb makes of it.

OBJECTIVES = {
    "margin": Objective(margin=0.01),
    "by chance": Objective(budget=0.3),
    "trade-off": Objective(METRICS["eod"], kind="tradeoff"),
}


def perturb(problem: Problem, objective: Objective, versions: Any, **options: Any) -> Result:
    """By a given way of scoring many at once."""
    function = get("perturb").load()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(function.__globals__, "batch_scorer", versions)
        return function(problem, objective, trials=70, **options)


@pytest.mark.parametrize("way", ["chain", "chain together", "vectorized"])
@pytest.mark.parametrize("layers", ["", "3"])
@pytest.mark.parametrize("aim", OBJECTIVES)
def test_perturb_finds_the_same_however_it_scores(aim: str, layers: str, way: str) -> None:
    """The same draw with the same bytes and figures; those of others but for round-off."""
    problem = biased_problem(zoo.scorer("BatchNorm before"), zoo.features(400))

    def together(scorer: Scorer, features: Tensor) -> Any:
        chain = StackedLayers.from_scorer(scorer, features, stacked=True)
        assert chain is not None
        return chain.scores

    ways = {"chain": batch_scorer, "chain together": together, "vectorized": vmap_scorer}
    options = {"layers": layers, "sd": 0.3, "seed": 3}
    plain = perturb(problem, OBJECTIVES[aim], lambda *_: None, **options)
    fast = perturb(problem, OBJECTIVES[aim], ways[way], **options)
    assert plain.chosen > 0
    assert (fast.chosen, fast.policy) == (plain.chosen, plain.policy)
    assert fast.trajectory[fast.chosen] == plain.trajectory[plain.chosen]
    assert fast.state is not None
    assert plain.state is not None
    assert all(torch.equal(fast.state[key], value) for key, value in plain.state.items())
    assert len(fast.trajectory) == len(plain.trajectory) == 71
    for one, other in zip(fast.trajectory, plain.trajectory, strict=True):
        assert one.utility == pytest.approx(other.utility, abs=0.003)
        assert one.performance == pytest.approx(other.performance, abs=0.003)


@pytest.mark.parametrize(("sd", "steps"), [(1e12, 71), (1e20, 1)])
def test_draws_that_are_not_finite_are_left_out(sd: float, steps: int) -> None:
    problem = biased_problem(zoo.scorer("dropout"), zoo.features(60))
    for versions in (batch_scorer, lambda *_: None):
        assert len(perturb(problem, Objective(), versions, sd=sd).trajectory) == steps


# Rough scores first, exact ones where it matters.

ROWS = scored_rows(200)
FLAT = Objective(kind="tradeoff", lambda_=0.0)


def offered(exact: list[Tensor], rough: list[Tensor]) -> tuple[CandidateSearch, list[int]]:
    """A search that sifted candidates, and those whose exact scores it asked for."""
    asked: list[int] = []

    def make(number: int) -> Tensor:
        asked.append(number)
        return exact[number]

    def batches() -> Iterator[tuple[list[int], Tensor]]:
        half = len(rough) // 2
        yield list(range(half)), torch.stack(rough[:half])
        yield list(range(half, len(rough))), torch.stack(rough[half:])

    search = CandidateSearch(ROWS, FLAT)
    search.add_approximate(batches(), make, lambda: {"number": torch.tensor(asked[-1])})
    return search, asked


def mixed(share: float) -> Tensor:
    """Scores that follow the labels the more, the larger the share."""
    noise = torch.rand(len(ROWS), generator=torch.Generator().manual_seed(0))
    return share * ROWS.labels + (1 - share) * noise


def test_only_candidates_near_the_best_are_judged_exactly() -> None:
    scores = [mixed(share) for share in (0.1, 0.45, 0.2, 0.3)]
    search, asked = offered(scores, scores)
    assert asked == [1]
    assert search.best.index == 2
    result = search.result()
    assert result.state == {"number": torch.tensor(1)}
    apart = CandidateSearch(ROWS, FLAT)
    for one in scores:
        apart.add(one, dict)
    assert result.trajectory == apart.result().trajectory


def test_exact_scores_decide() -> None:
    """The best by rough scores turns out bad, and another is kept."""
    rough = [mixed(share) for share in (0.3, 0.46, 0.2, 0.45)]
    exact = [rough[0], torch.full_like(rough[0], 0.5), rough[2], rough[3]]
    search, asked = offered(exact, rough)
    assert asked == [1, 3]
    assert (search.best.index, search.steps[2].performance) == (4, 0.5)
    exact[1] = torch.full_like(rough[0], math.nan)
    search, _ = offered(exact, rough)
    assert (search.best.index, search.steps[2].utility) == (4, -math.inf)
    assert [step.index for step in search.steps] == list(range(5))


def test_of_equals_the_first_is_kept_and_the_rest_is_not_made() -> None:
    scores = [mixed(0.1), *[mixed(0.4)] * 3]
    search, asked = offered(scores, scores)
    assert (search.best.index, asked) == (2, [1])
    search, asked = offered([ROWS.scores] * 4, [ROWS.scores] * 4)
    assert (search.best.index, asked) == (0, [])


def test_what_may_be_better_by_round_off_is_judged_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    rough = [mixed(share) for share in (0.3, 0.4, 0.1, 0.45)]
    monkeypatch.setattr("fairfix.methods._search.UTILITY_TOLERANCE", 0.0)
    assert offered(rough, rough)[1] == [3]
    by_worth = [step.utility for step in offered(rough, rough)[0].steps]
    monkeypatch.setattr(
        "fairfix.methods._search.UTILITY_TOLERANCE", by_worth[4] - by_worth[2] + 1e-6
    )
    exact = [*rough[:1], mixed(0.46), *rough[2:]]
    search, asked = offered(exact, rough)
    assert asked == [3, 1]
    assert search.best.index == 2
