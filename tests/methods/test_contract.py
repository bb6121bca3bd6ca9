"""What every method keeps to."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from fairfix._utils.progress import progress_callback
from fairfix.data.problem import Problem
from fairfix.errors import FairfixError, UsageError
from fairfix.methods import builtin_names, get
from fairfix.methods._result import Result
from fairfix.metrics.fairness_metrics import AUCD, METRICS, goal
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES
from tests.helpers import zoo
from tests.helpers.toys import (
    biased_problem,
    count_by_hand,
    gaps_by_hand,
    random_state,
    scored_rows,
    with_training_rows,
)

# Options that keep a run short; a method that is quick as it is needs none.
QUICK: dict[str, dict[str, Any]] = {
    "adversarial": {"rounds": 2, "critic_steps": 4, "network_steps": 4, "minibatch": 16},
    "fairif": {"epochs": 3, "learning_rate": 0.01, "minibatch": 32},
    "finetune": {"steps": 4, "learning_rate": 0.01},
    "gda": {"epochs": 3, "learning_rate": 0.01, "minibatch": 32},
    "layerwise": {"calls": 1, "dims": 3},
    "perturb": {"trials": 6},
    "prune": {"per_step": 3},
}
SHORT: dict[str, dict[str, Any]] = {"auto": {"steps": 4}}  # runs other methods
PENALIZED: dict[str, dict[str, Any]] = {
    **{
        f"finetune --penalty {name}": {"penalty": name}
        for name in ("equal-loss", "eqodds", "di", "aucd", "min-max", "group-dro")
    },
    "finetune --flip": {"flip": 0.2},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "finetune --head": {"head": True},
    "blind --distill": {"distill": True},
    **PENALIZED,
    "fairif --retrain": {"retrain": True},
}
"""Methods with options that change what kind of result they have."""
METHODS = (*builtin_names(), *VARIANTS)
TWO_GROUPS_ONLY = {"blind", "blind --distill", "caleqodds", "eqodds", "roc"}
NEEDS_INPUTS = {"blind", "repair"}
"""Methods that fit trees to columns of numbers."""
NEEDS_EVERY_CELL = {"finetune", *(name for name in VARIANTS if name.startswith("finetune"))}
"""Methods that need rows of each group and label; the group of 3 rows lacks a label."""
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
    "training rows": ("dropout", {}),
}
if torch.cuda.is_available():
    PROBLEMS |= {f"{kind} on a GPU": PROBLEMS[kind] for kind in ("two groups", "training rows")}


def base(method: str) -> str:
    """The name of a method without the options of a variant."""
    return method.partition(" ")[0]


every_method = pytest.mark.parametrize("method", METHODS)
RUNS = [
    (method, kind)
    for method in METHODS
    for kind, (_, options) in PROBLEMS.items()
    if (method not in TWO_GROUPS_ONLY or "n_groups" not in options)
    and (method not in NEEDS_EVERY_CELL or "tiny" not in options)
    and (not kind.startswith("training rows") or get(base(method)).training_use is not None)
    and (method not in PENALIZED or kind in ("three groups", "training rows"))
]
every_run = pytest.mark.parametrize(("method", "kind"), RUNS)


@cache
def problem_of(kind: str) -> Problem:
    """Built once: that methods leave it alone is one of the tests."""
    network, options = PROBLEMS[kind]
    scorer = zoo.scorer(network, kind if kind == "as layers" else "as written")
    problem = biased_problem(scorer, zoo.features(120), **options)
    if kind.startswith("training rows"):
        learned = biased_problem(scorer, zoo.features(150, 5), seed=1)
        problem = with_training_rows(problem, learned)
    return problem.to(torch.device("cuda", 0)) if kind.endswith("on a GPU") else problem


def run(method: str, problem: Problem, objective: Objective | None = None, **given: Any) -> Result:
    name = base(method)
    if get(name).needs_training and problem.training is None and problem.inputs is not None:
        problem = with_training_rows(problem, problem)
    options = {**QUICK.get(name, SHORT.get(name, {})), **VARIANTS.get(method, {}), **given}
    return get(name).run(problem, objective or Objective(), **options)


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
    """The scores that the result's figures are of."""
    if result.validation_scores is not None:
        return result.validation_scores
    if result.score_model is not None:
        assert problem.features is not None
        return result.score_model.apply(problem.features, problem.scores).score
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
        *(None if tensor is None else tensor.cpu().numpy().tobytes() for tensor in given),
        *(tensor.cpu().numpy().tobytes() for tensor in scorer.state_dict().values()),
        *(module.training for module in scorer.modules()),
        *(p.requires_grad for p in scorer.parameters()),
        *(p.grad for p in scorer.parameters()),
    ]


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
        {key: value.cpu().numpy().tobytes() for key, value in (result.state or {}).items()}
        for result in (first, again)
    )
    assert one == other
    assert first.score_model == again.score_model


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
        *((method, "two groups", aim) for method in METHODS for aim in ("by chance", "trade-off")),
    ],
)
def test_the_chosen_step_is_what_weights_and_policy_do(method: str, kind: str, aim: str) -> None:
    """Scored again and counted by hand; and no step of the path is better, unless it is said."""
    problem, result = problem_of(kind), result_of(method, kind, aim)
    assert [step.index for step in result.trajectory] == list(range(len(result.trajectory)))
    step = result.trajectory[result.chosen]
    best = max(s.utility for s in result.trajectory)
    said = result.notes[-1] if result.notes else ""
    elsewhere = (
        "one shared threshold reaches a higher objective",
        "chosen on the other",
        "candidates were compared by",
    )
    assert step.utility == best or any(words in said for words in elsewhere)
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


def auc_gap_by_hand(problem: Problem, scores: Tensor) -> float:
    """The range of the areas of the groups; NaN if one has rows of one label only."""
    found = []
    for here in (problem.groups == g for g in range(problem.n_groups)):
        labels = problem.labels[here]
        known = 0 < int(labels.sum()) < len(labels)
        found.append(roc_auc_score(labels, scores[here]) if known else math.nan)
    return float(np.max(found) - np.min(found))


@every_method
@pytest.mark.parametrize("metric", [*METRICS, AUCD])
def test_every_metric_runs_or_is_refused(method: str, metric: str) -> None:
    """Three groups, one with 3 rows: who cannot serve the metric or so many groups says so."""
    problem = problem_of("three groups" if method in NEEDS_EVERY_CELL else "a group of 3 rows")
    result, refusal = attempt(method, problem, Objective(goal(metric)))
    if result is None:
        assert metric in refusal or "two groups" in refusal
        assert base(method) not in (*QUICK, "identity")
        return
    if metric == AUCD:
        gap = auc_gap_by_hand(problem, rescored(problem, result))
    else:
        gap = gaps_by_hand(decided(problem, result))[metric]
    found = result.trajectory[result.chosen].gap
    assert found == pytest.approx(gap, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("method", sorted(TWO_GROUPS_ONLY))
def test_a_third_group_is_refused_where_there_is_no_place_for_it(method: str) -> None:
    with pytest.raises(UsageError, match="supports two groups, not 3"):
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
    if base(method) in {*QUICK, *NEEDS_INPUTS}:
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
        assert "'b' has no" in refusal or "too few rows of a group" in refusal
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
        ("fairif", {"epochs": -1}),
        ("fairif", {"ridge": 0.0}),
        ("fairif", {"damping": -0.1}),
        ("finetune", {"steps": -1}),
        ("finetune", {"learning_rate": 0.0}),
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
    ((name, value),) = wrong.items()
    with pytest.raises(UsageError, match=rf"^{name} must be .+, not {value}\.$"):
        run(method, problem_of("two groups"), **wrong)


@pytest.mark.parametrize("method", QUICK)
def test_progress_is_told_to_who_listens(method: str) -> None:
    heard: list[tuple[str, int, int]] = []
    with progress_callback(lambda *said: heard.append(said)):
        run(method, problem_of("two groups"), Objective(budget=0.5))
    assert [task for task, _, _ in heard] == [method] * len(heard)
    assert [done for _, done, _ in heard] == list(range(1, len(heard) + 1))
    assert 0 < len(heard) <= heard[0][2]
    before = len(heard)
    run(method, problem_of("two groups"))
    assert len(heard) == before
