"""What every method keeps to, and what prune and gda do where the right answer is known."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import zoo
from torch import Tensor, nn
from toys import biased_problem, count_by_hand, gaps_by_hand, scored_rows

from fairfix.errors import FairfixError, UsageError
from fairfix.methods import get, names
from fairfix.objectives import Objective
from fairfix.problem import Problem
from fairfix.progress import listening
from fairfix.rates import METRICS, PERFORMANCES
from fairfix.result import Result, Step
from fairfix.scorer import Output, Scorer
from fairfix.search import Search

# Options that keep a run short; a method that is quick as it is needs none.
QUICK: dict[str, dict[str, Any]] = {
    "adversarial": {"rounds": 2, "critic_steps": 4, "network_steps": 4, "minibatch": 16},
    "gda": {"epochs": 3, "learning_rate": 0.01, "minibatch": 32},
    "layerwise": {"calls": 1, "dims": 3},
    "perturb": {"trials": 6},
    "prune": {"per_step": 3},
}
TWO_GROUPS_ONLY = {"caleqodds", "eqodds", "roc"}
OBJECTIVES = {
    "by chance": Objective(),
    "margin": Objective(margin=0.01, performance=PERFORMANCES["accuracy"]),
    "trade-off": Objective(kind="tradeoff"),
}
PROBLEMS = {
    "two groups": ("BatchNorm before", {}),
    "three groups": ("dropout", {"n_groups": 3}),
    "a group of 3 rows": ("conv2d", {"n_groups": 3, "tiny": 3}),
    "row weights": ("residual, pre-activated", {"weighted": True}),
    "two logits": ("two logits", {}),
    "as layers": ("BatchNorm behind", {}),
}

every_method = pytest.mark.parametrize("method", names())
RUNS = [
    (method, kind)
    for method in names()
    for kind, (_, options) in PROBLEMS.items()
    if method not in TWO_GROUPS_ONLY or "n_groups" not in options
]
every_run = pytest.mark.parametrize(("method", "kind"), RUNS)


@cache
def problem_of(kind: str) -> Problem:
    """Built once: that methods leave it alone is one of the tests."""
    network, options = PROBLEMS[kind]
    form = kind if kind == "as layers" else "as written"
    return biased_problem(zoo.scorer(network, form), zoo.features(120), **options)


def run(method: str, problem: Problem, objective: Objective | None = None, **given: Any) -> Result:
    options = {**QUICK.get(method, {}), **given}
    return get(method).run()(problem, objective or Objective(), **options)


def attempt(
    method: str, problem: Problem, objective: Objective | None = None
) -> tuple[Result | None, str]:
    """The result, or what a method said that refused; any other exception is a failure."""
    try:
        return run(method, problem, objective), ""
    except FairfixError as error:
        return None, str(error)


@cache
def result_of(method: str, kind: str, aim: str = "margin") -> Result:
    """Run once for all tests that look at the result."""
    return run(method, problem_of(kind), OBJECTIVES[aim])


def rescored(problem: Problem, result: Result) -> Tensor:
    """The scores of the network that the result describes."""
    if result.state is None:
        return problem.scores
    scorer, features = problem.network()
    scorer.network.load_state_dict(result.state)
    return scorer.score(features)


def decided(problem: Problem, result: Result) -> np.ndarray:
    """(4, G) counted by hand, a lottery in expectation, of the weights and policy of a result."""
    scores = rescored(problem, result)
    return count_by_hand(result.policy.probability(scores, problem.groups), problem)


def snapshot(problem: Problem) -> list[Any]:
    """All that a method could change of a problem."""
    assert problem.scorer is not None
    scorer = problem.scorer
    given = (problem.scores, problem.labels, problem.groups, problem.features, problem.weights)
    return [
        *(None if tensor is None else tensor.numpy().tobytes() for tensor in given),
        *(tensor.numpy().tobytes() for tensor in scorer.state_dict().values()),
        *(module.training for module in scorer.modules()),
        *(p.requires_grad for p in scorer.parameters()),
        *(p.grad for p in scorer.parameters()),
    ]


def random_state() -> list[Any]:
    return [
        torch.get_rng_state().tolist(),
        [np.asarray(part).tolist() for part in np.random.get_state()],
        random.getstate(),
    ]


# --- every method -------------------------------------------------------------------------------


@every_run
def test_the_same_seed_gives_the_same_bytes_and_leaves_everything_else_as_it_was(
    method: str, kind: str
) -> None:
    """The problem, its network, and the random state of torch, numpy and Python."""
    problem = problem_of(kind)
    first = result_of(method, kind)
    before = snapshot(problem)
    torch.manual_seed(20)
    np.random.seed(20)
    random.seed(20)
    chance = random_state()
    again = run(method, problem, OBJECTIVES["margin"])
    assert random_state() == chance
    assert snapshot(problem) == before
    assert repr((first.policy, first.trajectory, first.chosen, first.notes)) == repr(
        (again.policy, again.trajectory, again.chosen, again.notes)
    )
    one, other = (
        {key: value.numpy().tobytes() for key, value in (result.state or {}).items()}
        for result in (first, again)
    )
    assert one == other


@every_run
def test_new_weights_fit_the_old_network_and_are_their_own(method: str, kind: str) -> None:
    problem = problem_of(kind)
    assert problem.scorer is not None
    state = result_of(method, kind).state
    before = problem.scorer.network.state_dict()
    if state is None:
        return
    assert list(state) == list(before)
    for key, value in state.items():
        assert (value.shape, value.dtype) == (before[key].shape, before[key].dtype)
        assert bool(value.isfinite().all())
        assert not value.requires_grad
        assert value.data_ptr() != before[key].data_ptr()


@pytest.mark.parametrize(
    ("method", "kind", "aim"),
    [
        *((*run, "margin") for run in RUNS),
        *((method, "two groups", aim) for method in names() for aim in ("by chance", "trade-off")),
    ],
)
def test_the_chosen_step_is_what_weights_and_policy_do(method: str, kind: str, aim: str) -> None:
    """Scored again and counted by hand; and no step of the path is better, unless it is said."""
    problem, result = problem_of(kind), result_of(method, kind, aim)
    assert [step.index for step in result.trajectory] == list(range(len(result.trajectory)))
    step = result.trajectory[result.chosen]
    best = max(s.utility for s in result.trajectory)
    assert step.utility == best or "the untouched network at one shared cut" in result.notes[-1]
    counts = decided(problem, result)
    gap = gaps_by_hand(counts)["spd"]
    assert step.gap == pytest.approx(gap, abs=1e-9)
    tp, fp, fn, tn = counts.sum(1)
    accuracy, balanced = (tp + tn) / len(problem), (tp / (tp + fn) + tn / (tn + fp)) / 2
    assert step.performance == pytest.approx(accuracy if aim == "margin" else balanced)
    if aim == "margin":
        assert step.utility == pytest.approx(accuracy if abs(gap) < 0.04 else -abs(gap))
    if aim == "trade-off":
        assert step.utility == pytest.approx(-(0.75 * abs(gap) + 0.25 * (1 - balanced)))
    if not result.policy.needs_group:
        assert result.policy.thresholds(1) == (step.threshold,)


@every_run
def test_the_path_starts_at_the_untouched_network(method: str, kind: str) -> None:
    assert result_of(method, kind).trajectory[0] == result_of("identity", kind).trajectory[0]


@every_method
@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_runs_or_is_refused(method: str, metric: str) -> None:
    """Three groups, one with 3 rows: who cannot serve the metric or so many groups says so."""
    problem = problem_of("a group of 3 rows")
    result, refusal = attempt(method, problem, Objective(METRICS[metric]))
    if result is None:
        assert metric in refusal or "two groups" in refusal
        assert method not in (*QUICK, "identity")
        return
    gap = gaps_by_hand(decided(problem, result))[metric]
    found = result.trajectory[result.chosen].gap
    assert found == pytest.approx(gap, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("method", sorted(TWO_GROUPS_ONLY))
def test_a_third_group_is_refused_where_there_is_no_place_for_it(method: str) -> None:
    with pytest.raises(UsageError, match="between two groups; here are 3"):
        run(method, problem_of("three groups"))


@every_method
@pytest.mark.parametrize("metric", ["spd", "eqodds", "di"])
def test_one_row_in_each_cell_is_no_accident(method: str, metric: str) -> None:
    problem = problem_of("two groups")
    cell = 2 * problem.groups + problem.labels
    smallest = problem.take(torch.stack([(cell == c).nonzero()[0, 0] for c in range(4)]))
    assert len(smallest) == 4
    result, refusal = attempt(method, smallest, Objective(METRICS[metric]))
    assert refusal or decided(smallest, result).sum() == pytest.approx(4)


@every_method
def test_a_method_that_needs_the_network_says_so(method: str) -> None:
    result, refusal = attempt(method, scored_rows(60))
    if method in QUICK:
        assert "needs a model" in refusal
    else:
        assert result is not None
        assert result.state is None


@every_method
def test_where_the_metric_is_undefined_it_says_so_and_changes_nothing(method: str) -> None:
    problem = problem_of("two groups")
    problem = replace(problem, labels=problem.labels * (problem.groups == 0))
    result, refusal = attempt(method, problem, Objective(METRICS["eod"]))
    if result is None:
        assert "'b' has no" in refusal
        return
    assert result.state is None
    assert math.isnan(result.trajectory[result.chosen].gap)
    assert any("eod is undefined" in note for note in result.notes)


@pytest.mark.parametrize("method", QUICK)
def test_frozen_parameters_do_not_matter(method: str) -> None:
    """Networks are often frozen before they are saved."""
    frozen = biased_problem(zoo.scorer("modules").requires_grad_(False), zoo.features(120))
    usual = biased_problem(zoo.scorer("modules"), zoo.features(120))
    assert run(method, frozen).trajectory == run(method, usual).trajectory


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        ("adversarial", {"minibatch": 1}),
        ("adversarial", {"learning_rate": math.nan}),
        ("gda", {"epochs": -1}),
        ("gda", {"learning_rate": 0.0}),
        ("gda", {"learning_rate": math.nan}),
        ("gda", {"learning_rate": math.inf}),
        ("gda", {"minibatch": 1}),
        ("layerwise", {"dims": 0}),
        ("perturb", {"trials": -1}),
        ("perturb", {"sd": math.nan}),
        ("prune", {"per_step": -1}),
        ("prune", {"max_units": -1}),
    ],
)
def test_options_out_of_range_are_refused(method: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"^{method} needs"):
        run(method, problem_of("two groups"), **wrong)


@pytest.mark.parametrize("method", QUICK)
def test_progress_is_told_to_who_listens(method: str) -> None:
    heard: list[tuple[str, int, int]] = []
    with listening(lambda *said: heard.append(said)):
        run(method, problem_of("two groups"), Objective(budget=0.5))
    assert [task for task, _, _ in heard] == [method] * len(heard)
    assert [done for _, done, _ in heard] == list(range(1, len(heard) + 1))
    assert 0 < len(heard) <= heard[0][2]
    before = len(heard)
    run(method, problem_of("two groups"))
    assert len(heard) == before


# --- the search they share ----------------------------------------------------------------------


def test_a_candidate_must_be_strictly_better_to_be_kept() -> None:
    problem = scored_rows(60)
    search = Search(problem, Objective(budget=0.3))
    asked: list[int] = []

    def state(n: int) -> dict[str, Tensor]:
        asked.append(n)
        return {"weight": torch.tensor(float(n))}

    perfect = 0.1 + 0.8 * problem.labels.float()
    for n, scores in enumerate((problem.scores, perfect, perfect, 1 - perfect), start=1):
        search.offer(scores, lambda n=n: state(n))
    result = search.result("a note")
    assert asked == [2]
    assert result.chosen == 2
    assert result.state == {"weight": torch.tensor(2.0)}
    assert result.policy.thresholds(2) == pytest.approx((0.5, 0.5))
    assert result.notes == ("a note",)
    assert len(result.trajectory) == 5


def test_the_untouched_network_wins_over_worse_ones() -> None:
    problem = scored_rows(60)
    search = Search(problem, Objective(budget=0.3))
    search.offer(torch.full((60,), 0.5), dict)
    result = search.result()
    assert result.chosen == 0
    assert result.state is None


# --- known answers ------------------------------------------------------------------------------


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
    return Problem(scorer.score(features), labels, groups, ("a", "b"), scorer, features)


@pytest.mark.parametrize("metric", ["spd", "eod", "aod", "aaod", "eqodds", "fprd", "di"])
def test_prune_takes_the_unit_that_carries_the_bias(metric: str) -> None:
    problem = one_biased_unit()
    objective = Objective(METRICS[metric], budget=0.3, margin=0.0)
    result = run("prune", problem, objective, per_step=1, max_units=1)
    assert result.chosen == 1
    assert result.state is not None
    assert result.state["2.weight"].tolist() == [[1.0, 0.0, -1.0, 0.5]]
    before, after = result.trajectory
    assert before.performance < 0.9
    assert after.performance == 1


Offers = list[tuple[Tensor, dict[str, Tensor]]]


@pytest.fixture
def offers(monkeypatch: pytest.MonkeyPatch) -> Offers:
    """Scores and weights of every candidate of the runs to come, the untouched network first."""
    seen: Offers = []
    original = Search.offer

    def offer(self: Search, scores: Tensor, state: Any) -> Step:
        seen.append((scores, state() or {}))
        return original(self, scores, state)

    monkeypatch.setattr(Search, "offer", offer)
    return seen


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("turned", [False, True])
def test_small_full_steps_of_gda_bring_the_proxy_nearer_to_no_gap_each_time(
    metric: str, n_groups: int, turned: bool, offers: Offers
) -> None:
    """Whichever group is ahead: the groups are numbered the other way round as well."""
    problem = biased_problem(zoo.scorer("functions"), zoo.features(150), n_groups)
    if turned:
        problem = replace(problem, groups=n_groups - 1 - problem.groups)
    objective = Objective(METRICS[metric], budget=0.9)
    run("gda", problem, objective, epochs=5, learning_rate=0.01, minibatch=150, optimizer="sgd")
    soft = [gaps_by_hand(count_by_hand(scores, problem))[metric] for scores, _ in offers]
    distance = [abs(value - (metric == "di")) for value in soft]
    assert len(distance) == 6
    assert all(later < earlier for earlier, later in pairwise(distance))


def test_gda_stops_once_the_gap_has_crossed_zero_by_the_budget() -> None:
    result = run("gda", problem_of("two groups"), epochs=500, learning_rate=0.05, minibatch=120)
    assert 1 < len(result.trajectory) < 500


def test_gda_without_epochs_leaves_the_network() -> None:
    result = run("gda", problem_of("two groups"), epochs=0)
    assert result.state is None
    assert len(result.trajectory) == 1


def test_gda_gives_up_when_scores_are_no_longer_numbers() -> None:
    result = run("gda", problem_of("two groups"), epochs=20, learning_rate=1e30)
    assert len(result.trajectory) < 20
    if result.state is not None:
        assert all(bool(value.isfinite().all()) for value in result.state.values())


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("network", ["dropout", "BatchNorm before"])
def test_gda_in_training_mode_draws_from_its_own_randomness(network: str, optimizer: str) -> None:
    """Also where the last batch is a single row, on which BatchNorm cannot train."""
    problem = biased_problem(zoo.scorer(network), zoo.features(121))
    options = {"train_mode": True, "minibatch": 60, "optimizer": optimizer}
    objective = OBJECTIVES["margin"]
    torch.manual_seed(1)
    chance = random_state()
    first = run("gda", problem, objective, **options)
    assert random_state() == chance
    torch.manual_seed(2)
    again = run("gda", problem, objective, **options)
    other = run("gda", problem, objective, seed=1, **options)
    assert first.trajectory == again.trajectory
    assert first.trajectory != other.trajectory
    assert first.notes == ()


def test_gda_says_how_many_batches_it_passed_over() -> None:
    problem = problem_of("a group of 3 rows")
    result = run("gda", problem, epochs=2, minibatch=10)
    assert "batches lacked rows of a group" in result.notes[0]


@pytest.mark.parametrize("score", ["removal", "gradient"])
@pytest.mark.parametrize(("per_step", "max_units"), [(1, 4), (3, 7), (0, 6), (5, 5)])
def test_prune_removes_as_many_units_as_asked(
    score: str, per_step: int, max_units: int, offers: Offers
) -> None:
    """A unit that is gone leaves a column of zeros where it was read."""
    problem = problem_of("two groups")
    run("prune", problem, score=score, per_step=per_step, max_units=max_units)
    removed = [
        sum(int((state[key] == 0).all(0).sum()) for key in ("3.weight", "6.weight"))
        for _, state in offers[1:]
    ]
    steps = range(per_step or 1, max_units, per_step or 1)
    assert removed == [*steps, max_units]


@pytest.mark.parametrize("score", ["removal", "gradient"])
def test_prune_without_bounds_goes_on_until_nothing_of_the_bias_is_left(score: str) -> None:
    problem = problem_of("two groups")
    result = run("prune", problem, score=score, per_step=0)
    assert 1 < len(result.trajectory) <= 13
    last = result.trajectory[-1]
    assert (last.gap, last.performance) == (0, 0.5)


@pytest.mark.parametrize("inputs", [True, False])
def test_prune_takes_inputs_only_when_asked(inputs: bool, offers: Offers) -> None:
    """Here input 1 carries all of the bias, as does the one unit that reads it."""
    problem = one_biased_unit()
    objective = Objective(budget=0.3, margin=0.0)
    run("prune", problem, objective, per_step=1, max_units=2, inputs=inputs)
    _, (_, first), (_, second) = offers
    assert not bool(first["2.weight"][0, 1] * first["0.weight"][1, 1])
    cleared = (second["0.weight"] == 0).all(0)
    assert bool(cleared.any()) is inputs


def test_prune_stops_where_there_is_no_bias_to_remove() -> None:
    problem = one_biased_unit()
    with torch.no_grad():
        for parameter in problem.scorer.parameters():
            parameter.zero_()
    problem = replace(problem, scores=problem.scorer.score(problem.features))
    result = run("prune", problem, per_step=1)
    assert result.state is None
    assert len(result.trajectory) <= 2


def test_prune_removes_in_batches_what_it_removes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of("row weights")
    expected = {score: run("prune", problem, score=score) for score in ("removal", "gradient")}
    for module in ("fairfix.proxies", "fairfix.methods.prune"):
        monkeypatch.setattr(f"{module}.BATCH", 50)
    for score, result in expected.items():
        found = run("prune", problem, score=score)
        assert found.chosen == result.chosen
        for one, other in zip(found.trajectory, result.trajectory, strict=True):
            assert one.utility == pytest.approx(other.utility, abs=1e-6)
