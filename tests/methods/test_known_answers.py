"""The search, prune and gda where the right answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fairfix.data.problem import Problem
from fairfix.methods._result import Step
from fairfix.methods._search import CandidateSearch
from fairfix.methods._soft_gap import soft_gap
from fairfix.methods.gda import gda
from fairfix.methods.prune import prune
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.scorer import Output, Scorer
from tests.helpers import zoo
from tests.helpers.toys import (
    biased_problem,
    count_by_hand,
    gaps_by_hand,
    random_state,
    scored_rows,
)

TWO_GROUPS = biased_problem(zoo.scorer("BatchNorm before"), zoo.features(120))


def test_a_candidate_must_be_strictly_better_to_be_kept() -> None:
    problem = scored_rows(60)
    search = CandidateSearch(problem, Objective(budget=0.3))
    asked: list[int] = []

    def state(n: int) -> dict[str, Tensor]:
        asked.append(n)
        return {"weight": torch.tensor(float(n))}

    perfect = 0.1 + 0.8 * problem.labels.float()
    for n, scores in enumerate((problem.scores, perfect, perfect, 1 - perfect), start=1):
        search.add(scores, lambda n=n: state(n))
    result = search.result("a note")
    assert asked == [2]
    assert result.chosen == 2
    assert result.state == {"weight": torch.tensor(2.0)}
    assert result.policy.thresholds(2) == pytest.approx((0.5, 0.5))
    assert result.notes == ("a note",)
    assert len(result.trajectory) == 5


def test_the_unmodified_network_is_kept_over_worse_ones() -> None:
    problem = scored_rows(60)
    search = CandidateSearch(problem, Objective(budget=0.3))
    search.add(torch.full((60,), 0.5), dict)
    result = search.result()
    assert result.chosen == 0
    assert result.state is None


def one_biased_unit() -> Problem:
    """Hidden unit 1 sees the group, the others what the label depends on."""
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(200) % 2
    signal = torch.randn(200, generator=generator)
    features = torch.stack([signal, 2.0 * groups - 1], 1)
    network = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0.5, 0]]))
        network[0].bias.zero_()
        network[2].weight.copy_(torch.tensor([[1.0, 2.0, -1.0, 0.5]]))
        network[2].bias.fill_(-0.5)
    scorer = Scorer(network, Output.LOGIT).eval()
    labels = (signal > 0).long()
    return Problem(scorer.score(features), labels, groups, ("a", "b"), scorer, Inputs.of(features))


@pytest.mark.parametrize("metric", ["spd", "eod", "aod", "aaod", "eqodds", "fprd", "di"])
def test_prune_takes_the_unit_that_carries_the_bias(metric: str) -> None:
    problem = one_biased_unit()
    objective = Objective(METRICS[metric], budget=0.3, margin=0.0)
    result = prune(problem, objective, per_step=1, max_units=1)
    assert result.chosen == 1
    assert result.state is not None
    assert result.state["2.weight"].tolist() == [[1.0, 0.0, -1.0, 0.5]]
    before, after = result.trajectory
    assert before.performance < 0.9
    assert after.performance == 1


Candidates = list[tuple[Tensor, dict[str, Tensor]]]


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Candidates:
    """Scores and weights of every candidate of later runs, the unmodified network first."""
    seen: Candidates = []
    original = CandidateSearch.add

    def add(self: CandidateSearch, scores: Tensor, state: Any, *more: Any) -> Step:
        seen.append((scores, state() or {}))
        return original(self, scores, state, *more)

    monkeypatch.setattr(CandidateSearch, "add", add)
    return seen


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("turned", [False, True])
def test_small_full_steps_of_gda_reduce_the_soft_gap_each_time(
    metric: str, n_groups: int, turned: bool, added: Candidates
) -> None:
    """Whichever group is ahead: the groups are numbered the other way round as well."""
    problem = biased_problem(zoo.scorer("functions"), zoo.features(150), n_groups)
    if turned:
        problem = replace(problem, groups=n_groups - 1 - problem.groups)
    objective = Objective(METRICS[metric], budget=0.49 if metric == "di" else 0.9)
    gda(problem, objective, epochs=5, learning_rate=0.01, minibatch=150, optimizer="sgd")
    soft = [gaps_by_hand(count_by_hand(scores, problem))[metric] for scores, _ in added]
    distance = [abs(value - (metric == "di")) for value in soft]
    assert len(distance) == 6
    assert all(later < earlier for earlier, later in pairwise(distance))


def test_gda_stops_once_the_gap_has_crossed_zero_by_the_budget() -> None:
    result = gda(TWO_GROUPS, Objective(), epochs=500, learning_rate=0.05, minibatch=120)
    assert 1 < len(result.trajectory) < 500


@pytest.mark.parametrize(("minibatch", "parts"), [(120, 1), (50, 3), (17, 4)])
def test_gda_evaluates_within_an_epoch_where_it_has_as_many_batches(
    minibatch: int, parts: int, added: Candidates
) -> None:
    """At the end of an epoch the network is the same as without."""
    options = {"epochs": 2, "learning_rate": 1e-4, "minibatch": minibatch}
    gda(TWO_GROUPS, Objective(), **options)
    once = [scores for scores, _ in added]
    added.clear()
    gda(TWO_GROUPS, Objective(), evaluations=4, **options)
    often = [scores for scores, _ in added]
    assert len(often) == 1 + 2 * parts
    assert all(map(torch.equal, once, often[::parts]))


def test_gda_without_epochs_leaves_the_network() -> None:
    result = gda(TWO_GROUPS, Objective(), epochs=0)
    assert result.state is None
    assert len(result.trajectory) == 1


def test_gda_gives_up_when_scores_are_no_longer_numbers() -> None:
    result = gda(TWO_GROUPS, Objective(), epochs=20, learning_rate=1e30, minibatch=32)
    assert len(result.trajectory) < 20
    if result.state is not None:
        assert all(bool(value.isfinite().all()) for value in result.state.values())


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("network", ["dropout", "BatchNorm before"])
def test_gda_in_training_mode_draws_from_its_own_randomness(network: str, optimizer: str) -> None:
    """Also where the last batch is a single row, on which BatchNorm cannot train."""
    problem = biased_problem(zoo.scorer(network), zoo.features(121))
    options = {"train_mode": True, "minibatch": 60, "optimizer": optimizer, "epochs": 3}
    objective = Objective(margin=0.01)
    torch.manual_seed(1)
    chance = random_state()
    first = gda(problem, objective, learning_rate=0.01, **options)
    assert random_state() == chance
    torch.manual_seed(2)
    again = gda(problem, objective, learning_rate=0.01, **options)
    other = gda(problem, objective, learning_rate=0.01, seed=1, **options)
    assert first.trajectory == again.trajectory
    assert first.trajectory != other.trajectory
    assert first.notes == ()


def test_gda_says_how_many_batches_it_passed_over() -> None:
    problem = biased_problem(zoo.scorer("conv2d"), zoo.features(120), n_groups=3, tiny=3)
    result = gda(problem, Objective(), epochs=2, minibatch=10)
    assert "batches lacked rows of a group and were skipped" in result.notes[0]


@pytest.mark.parametrize("score", ["removal", "gradient"])
@pytest.mark.parametrize(("per_step", "max_units"), [(1, 4), (3, 7), (0, 6), (5, 5)])
def test_prune_removes_as_many_units_as_asked(
    score: str, per_step: int, max_units: int, added: Candidates
) -> None:
    """A unit that is gone leaves a column of zeros where it was read."""
    prune(TWO_GROUPS, Objective(), score=score, per_step=per_step, max_units=max_units)
    removed = [
        sum(int((state[key] == 0).all(0).sum()) for key in ("3.weight", "6.weight"))
        for _, state in added[1:]
    ]
    steps = range(per_step or 1, max_units, per_step or 1)
    assert removed == [*steps, max_units]


@pytest.mark.parametrize("score", ["removal", "gradient"])
def test_prune_without_bounds_goes_on_until_nothing_of_the_bias_is_left(score: str) -> None:
    result = prune(TWO_GROUPS, Objective(), score=score, per_step=0)
    assert 1 < len(result.trajectory) <= 13
    last = result.trajectory[-1]
    assert (last.gap, last.performance) == (0, 0.5)


def test_prune_keeps_the_initial_sign_on_request(added: Candidates) -> None:
    """Beyond 0 the current sign leads back to it, the initial one further away."""
    problem = biased_problem(zoo.scorer("modules"), zoo.features(200))
    gaps = {}
    for sign in ("current", "initial"):
        added.clear()
        prune(problem, Objective(), per_step=1, sign=sign)
        gaps[sign] = [float(soft_gap(METRICS["spd"], scores, problem.cells)) for scores, _ in added]
    start = math.copysign(1.0, gaps["current"][0])
    crossed = next(i for i, gap in enumerate(gaps["current"]) if start * gap < 0)
    assert gaps["initial"][: crossed + 1] == gaps["current"][: crossed + 1]
    beyond = [min(start * gap for gap in gaps[sign]) for sign in ("current", "initial")]
    assert beyond[1] < beyond[0] < 0


@pytest.mark.parametrize("inputs", [True, False])
def test_prune_takes_inputs_only_when_asked(inputs: bool, added: Candidates) -> None:
    """Here input 1 carries all of the bias, as does the one unit that reads it."""
    problem = one_biased_unit()
    objective = Objective(budget=0.3, margin=0.0)
    prune(problem, objective, per_step=1, max_units=2, inputs=inputs)
    _, (_, first), (_, second) = added
    assert not bool(first["2.weight"][0, 1] * first["0.weight"][1, 1])
    cleared = (second["0.weight"] == 0).all(0)
    assert bool(cleared.any()) is inputs


def test_prune_stops_where_there_is_no_bias_to_remove() -> None:
    problem = one_biased_unit()
    with torch.no_grad():
        for parameter in problem.scorer.parameters():
            parameter.zero_()
    problem = replace(problem, scores=problem.scorer.score(problem.features))
    result = prune(problem, Objective(), per_step=1)
    assert result.state is None
    assert len(result.trajectory) <= 2


def test_prune_removes_in_batches_what_it_removes_at_once() -> None:
    problem = biased_problem(zoo.scorer("residual"), zoo.features(120), weighted=True)
    expected = {
        score: prune(problem, Objective(), score=score, per_step=2)
        for score in ("removal", "gradient")
    }
    assert problem.scorer is not None
    problem.scorer.batch_size = 50
    for score, result in expected.items():
        found = prune(problem, Objective(), score=score, per_step=2)
        assert found.chosen == result.chosen
        for one, other in zip(found.trajectory, result.trajectory, strict=True):
            assert one.utility == pytest.approx(other.utility, abs=1e-6)
