"""The reject option and both equalized odds against AIF360's own."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods._aif360 import PRIVILEGED, UNPRIVILEGED, binary_label_dataset, no_warnings
from fairfix.methods._result import Result
from fairfix.methods.caleqodds import caleqodds
from fairfix.methods.eqodds import eqodds
from fairfix.methods.identity import identity
from fairfix.methods.roc import roc
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES
from tests.helpers.toys import (
    Floats,
    count_by_hand,
    gaps_by_hand,
    random_state,
    rates_by_hand,
    scored_rows,
)

AIF_METRICS = {
    "spd": "Statistical parity difference",
    "aod": "Average odds difference",
    "eod": "Equal opportunity difference",
}


def expected(problem: Problem, result: Result) -> Floats:
    """(4, G) expected counts by hand of the result's policy."""
    return count_by_hand(result.policy.probability(problem.scores, problem.groups), problem)


def performance(counts: Floats) -> float:
    tp, fp, fn, tn = counts.sum(1)
    return float((tp / (tp + fn) + tn / (tn + fp)) / 2)


def utility(counts: Floats, metric: str, limit: float) -> float:
    size = abs(gaps_by_hand(counts)[metric])
    return performance(counts) if size < limit else -size


def engine(name: str, **options: Any) -> Any:
    with no_warnings():
        from aif360.algorithms import postprocessing

        return getattr(postprocessing, name)(UNPRIVILEGED, PRIVILEGED, **options)


def swapped(problem: Problem) -> Problem:
    """The other group is the unprivileged one."""
    return replace(problem, groups=1 - problem.groups, group_names=problem.group_names[::-1])


@cache
def rejected(seed: int, metric: str, weighted: bool, turned: bool) -> tuple[Problem, Floats]:
    """500 rows, and (4, G) of AIF360's reject option on its grid of 100 cuts and 50 margins."""
    problem = scored_rows(500, seed=seed, weighted=weighted)
    problem = swapped(problem) if turned else problem
    option = engine(
        "RejectOptionClassification",
        metric_name=AIF_METRICS[metric],
        metric_ub=0.05,
        metric_lb=-0.05,
    )
    rows = binary_label_dataset(problem, problem.labels, problem.scores)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decided = option.fit(rows, rows).predict(rows).labels.ravel()
    return problem, count_by_hand(torch.from_numpy(decided), problem)


@pytest.mark.parametrize(
    ("metric", "seed", "weighted"), [("spd", 0, False), ("aod", 1, True), ("eod", 2, False)]
)
def test_roc_is_never_worse_than_a_grid(metric: str, seed: int, weighted: bool) -> None:
    """AIF360 favors the unprivileged group, and so does its like here when asked to."""
    problem, grid = rejected(seed, metric, weighted, turned=False)
    objective = Objective(METRICS[metric], margin=0.0)
    ours = utility(expected(problem, roc(problem, objective, favor="a")), metric, 0.05)
    on_grid = utility(grid, metric, 0.05)
    assert on_grid > 0.5
    assert ours >= on_grid
    assert ours == pytest.approx(on_grid, abs=0.03)


def test_roc_favors_who_is_behind_where_a_grid_favors_the_unprivileged() -> None:
    """With the group that is ahead called unprivileged, AIF360 can only put it further ahead."""
    problem, grid = rejected(0, "spd", False, turned=True)
    objective = Objective(margin=0.0)
    ours = expected(problem, roc(problem, objective))
    asked = expected(problem, roc(problem, objective, favor="b"))
    assert problem.group_names[0] == "b"
    on_grid = utility(grid, "spd", 0.05)
    assert utility(asked, "spd", 0.05) >= on_grid
    assert utility(ours, "spd", 0.05) > on_grid + 0.05


@pytest.mark.parametrize("seed", range(4))
def test_roc_is_never_worse_than_one_shared_cut(seed: int) -> None:
    """A band of no width is a shared cut, whoever it favors."""
    problem = scored_rows(60, seed=seed)
    for objective in (Objective(margin=0.0), Objective(METRICS["eod"], 0.2, 0.0)):
        shared = identity(problem, objective).trajectory[0].utility
        for favor in ("a", "b", ""):
            assert roc(problem, objective, favor=favor).trajectory[1].utility >= shared - 1e-12


@pytest.mark.parametrize(("favor", "low"), [("a", 0), ("b", 1), ("", 0)])
def test_roc_cuts_the_favored_group_lower_and_says_which(favor: str, low: int) -> None:
    """Group b has the higher scores, so that a is favored where nobody is named."""
    problem = scored_rows(200, seed=3)
    result = roc(problem, Objective(budget=0.2, margin=0.0), favor=favor)
    thresholds = result.policy.thresholds(2)
    assert thresholds[low] <= thresholds[1 - low]
    (note,) = [n for n in result.notes if n.startswith("the reject option favors")]
    middle, half = sum(thresholds) / 2, abs(thresholds[0] - thresholds[1]) / 2
    assert note == (
        f"the reject option favors group {'ab'[low]!r}: threshold {middle:.4g}, margin {half:.4g}"
    )


def test_roc_favors_who_is_behind_at_the_cut_of_today() -> None:
    """Up to 0.8 group a has more positive decisions, beyond it none."""
    scores = torch.tensor([0.7, 0.7, 0.7, 0.1, 0.9, 0.1, 0.1, 0.1])
    problem = Problem(
        scores, torch.tensor([1, 0] * 4), torch.tensor([0] * 4 + [1] * 4), ("a", "b")
    )  # fmt: skip
    for threshold, behind in ((0.5, "b"), (0.8, "a"), (0.95, "b")):
        result = roc(replace(problem, threshold=threshold), Objective(margin=0.0))
        assert f"favors group {behind!r}" in result.notes[0]


def test_roc_knows_its_groups() -> None:
    with pytest.raises(UsageError, match="favor must be one of the groups 'a', 'b', not 'c'"):
        roc(scored_rows(40), Objective(), favor="c")
    with pytest.raises(UsageError, match="supports two groups, not 3"):
        roc(scored_rows(60, 3), Objective())


def hardt(problem: Problem, threshold: float) -> float:
    """The largest TPR - FPR of both groups together, each as heavy, with equal rates of both."""
    rates = rates_by_hand(count_by_hand(problem.scores > threshold, problem))
    tpr, fpr = rates["tpr"], rates["fpr"]
    # Chances for a positive and a negative decision of each group.
    gain = np.array([tpr[0] - fpr[0], fpr[0] - tpr[0], tpr[1] - fpr[1], fpr[1] - tpr[1]])
    equal = np.array(
        [[r[0], 1 - r[0], -r[1], r[1] - 1] for r in (tpr, fpr)],
    )
    solved = linprog(-gain, A_eq=equal, b_eq=np.zeros(2), bounds=(0, 1))
    return float(-solved.fun)


@pytest.mark.parametrize("base", ["best", "current"])
@pytest.mark.parametrize("seed", range(5))
def test_eqodds_makes_both_rates_equal_at_least_error(base: Any, seed: int) -> None:
    problem = replace(scored_rows(300, seed=seed, levels=20 * (seed % 2)), threshold=0.45)
    result = eqodds(problem, Objective(METRICS["eqodds"]), base=base)
    rates = rates_by_hand(expected(problem, result))
    assert np.ptp(rates["tpr"]) < 1e-9
    assert np.ptp(rates["fpr"]) < 1e-9
    threshold = result.policy.steps[0][0][0]
    assert threshold == (0.45 if base == "current" else result.policy.steps[1][0][0])
    gain = (rates["tpr"] - rates["fpr"]).sum()
    assert gain == pytest.approx(hardt(problem, threshold), abs=1e-9)
    assert gain > 0.1


def test_eqodds_flips_the_decisions_of_the_best_cut() -> None:
    """Of all cuts the one where performance is best, whatever it is."""
    problem = scored_rows(101, seed=5)
    for key in ("balanced_accuracy", "accuracy", "f1"):
        score = PERFORMANCES[key]
        (threshold, _), *_ = eqodds(problem, Objective(performance=score)).policy.steps[0]
        found = score(problem.counts(problem.scores > threshold))
        cuts = torch.cat([problem.scores, torch.tensor([-1.0])]).unsqueeze(1)
        every = score(problem.counts(problem.scores > cuts))
        assert float(found) == pytest.approx(float(every.nan_to_num(0).max()))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("key", ["accuracy", "balanced_accuracy", "f1"])
@pytest.mark.parametrize("seed", range(3))
def test_eqodds_is_best_among_equal_rates(seed: int, key: str, weighted: bool) -> None:
    """Against a grid of the rates that flips can give both groups."""
    problem = scored_rows(300, seed=seed, weighted=weighted)
    objective = Objective(METRICS["eqodds"], performance=PERFORMANCES[key])
    result = eqodds(problem, objective, base="current")
    counts = problem.counts(result.policy.probability(problem.scores, problem.groups))
    tpr, fpr = (counts.tp / (counts.tp + counts.fn)), (counts.fp / (counts.fp + counts.tn))
    assert [float(tpr.diff()), float(fpr.diff())] == pytest.approx([0, 0], abs=1e-9)
    base = rates_by_hand(count_by_hand(problem.scores > 0.5, problem))
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 201)] * 2), -1).reshape(-1, 2)
    possible = np.ones(len(grid), bool)
    for group in (0, 1):
        rates = np.array([[r[group], 1 - r[group]] for r in (base["tpr"], base["fpr"])])
        p = np.linalg.solve(rates, grid.T)
        possible &= ((p >= 0) & (p <= 1)).all(0)
    whole = problem.counts(torch.ones(300)).total()
    ones, zeros = float(whole.tp), float(whole.fp)
    t, f = (torch.from_numpy(side) for side in grid[possible].T)
    others = Counts(
        *(side[:, None] for side in (t * ones, f * zeros, (1 - t) * ones, (1 - f) * zeros))
    )
    best = float(objective.performance(others).nan_to_num(0).max())
    assert best - 1e-9 <= float(objective.performance(counts).nan_to_num(0)) <= best + 0.02


def test_eqodds_of_balanced_accuracy_is_that_of_aif360() -> None:
    problem = scored_rows(400, seed=2)
    one, other = (eqodds(problem, Objective(), cost=cost) for cost in ("performance", "aif360"))
    assert np.array(expected(problem, one)) == pytest.approx(expected(problem, other), abs=1e-6)


@pytest.mark.parametrize("cost", ["performance", "aif360"])
@pytest.mark.parametrize("seed", range(3))
def test_eqodds_decides_as_aif360_does_on_average(seed: int, cost: Any) -> None:
    """AIF360 shuffles rows and flips whole numbers of them: rounding costs a row a cell."""
    problem = scored_rows(400, seed=seed)
    result = eqodds(problem, Objective(), base="current", cost=cost)
    decisions = binary_label_dataset(problem, problem.scores > 0.5, problem.scores)
    post = engine("EqOddsPostprocessing")
    post.fit(binary_label_dataset(problem, problem.labels, problem.scores), decisions)
    before = np.random.get_state()
    np.random.seed(0)
    drawn = np.mean([post.predict(decisions).labels.ravel() for _ in range(150)], axis=0)
    np.random.set_state(before)
    ours = expected(problem, result)
    theirs = count_by_hand(torch.from_numpy(drawn), problem)
    assert ours == pytest.approx(theirs, abs=2.0)
    by_row = result.policy.probability(problem.scores, problem.groups).numpy()
    assert drawn == pytest.approx(by_row, abs=0.25)


def test_eqodds_flips_the_same_rows_with_the_same_salt() -> None:
    """The lots are drawn when decisions are made; the chances do not depend on the seed."""
    problem = scored_rows(200, seed=1)
    first, other = (eqodds(problem, Objective(), seed=seed).policy for seed in (0, 1))
    assert first == other
    assert first.randomized


def mixed(problem: Problem, post: Any, draws: int, threshold: float) -> Floats:
    """(4, G) averaged over draws of AIF360's calibrated equalized odds, cut at the threshold."""
    rows = binary_label_dataset(problem, problem.scores > 0.5, problem.scores)
    before = np.random.get_state()
    np.random.seed(0)
    scores = [post.predict(rows).scores.ravel() for _ in range(draws)]
    np.random.set_state(before)
    decided = np.mean([s > threshold for s in scores], axis=0)
    return count_by_hand(torch.from_numpy(decided), problem)


@pytest.mark.parametrize("cost", ["weighted", "fnr", "fpr"])
@pytest.mark.parametrize("turned", [False, True])
def test_caleqodds_decides_as_aif360_does_on_average(cost: Any, turned: bool) -> None:
    problem = scored_rows(300, seed=2)
    problem = swapped(problem) if turned else problem
    result = caleqodds(problem, Objective(budget=0.1), cost=cost)
    post = engine("CalibratedEqOddsPostprocessing", cost_constraint=cost)
    post.fit(
        binary_label_dataset(problem, problem.labels, problem.scores),
        binary_label_dataset(problem, problem.scores > 0.5, problem.scores),
    )
    share = max(post.priv_mix_rate, post.unpriv_mix_rate)
    assert 0 < share < 1
    assert any(note.startswith(f"{share:.1%} of group") for note in result.notes)
    threshold = result.policy.steps[0][0][0]
    theirs = mixed(problem, post, 300, threshold)
    assert expected(problem, result) == pytest.approx(theirs, abs=1.0)


def generalized_costs(problem: Problem, shares: list[float], cost: str) -> list[float]:
    """Each group's expected cost with this share of its scores replaced by its base rate."""
    costs = []
    for g, share in enumerate(shares):
        here = problem.groups == g
        labels = problem.labels[here].double()
        base = labels.mean()
        scores = (1 - share) * problem.scores[here].double() + share * base
        false_negative = float((1 - scores)[labels == 1].mean())
        false_positive = float(scores[labels == 0].mean())
        costs.append(
            {
                "fnr": false_negative,
                "fpr": false_positive,
                "weighted": float(base * false_negative + (1 - base) * false_positive),
            }[cost]
        )
    return costs


@pytest.mark.parametrize("cost", ["weighted", "fnr", "fpr"])
def test_caleqodds_makes_the_cost_equal(cost: Any) -> None:
    """The share that the note names, of the group that it names."""
    problem = scored_rows(300, seed=2)
    (note,) = [n for n in caleqodds(problem, Objective(), cost=cost).notes if "base rate" in n]
    share, _, _, group, *_ = note.split()
    shares = [float(share[:-1]) / 100 if group == repr(name) else 0.0 for name in "ab"]
    untouched, after = (generalized_costs(problem, s, cost) for s in ([0.0, 0.0], shares))
    assert np.ptp(after) < 0.001 < np.ptp(untouched) / 5


def test_caleqodds_chooses_the_best_cut_of_the_mixture() -> None:
    """Tried by cutting AIF360's mixed scores anywhere."""
    problem = scored_rows(160, seed=2)
    objective = Objective(budget=0.15, margin=0.0)
    result = caleqodds(problem, objective)
    found = utility(expected(problem, result), "spd", 0.15)
    post = engine("CalibratedEqOddsPostprocessing")
    post.fit(
        binary_label_dataset(problem, problem.labels, problem.scores),
        binary_label_dataset(problem, problem.scores > 0.5, problem.scores),
    )
    shares = (post.unpriv_mix_rate, post.priv_mix_rate)
    bases = (post.base_rate_unpriv, post.base_rate_priv)
    share = torch.tensor(shares)[problem.groups].double()
    base = torch.tensor(bases)[problem.groups]
    best = max(
        utility(
            count_by_hand((1 - share) * (problem.scores > t) + share * (base > t), problem),
            "spd",
            0.15,
        )
        for t in [*problem.scores.tolist(), -1.0]
    )
    assert found == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("method", [eqodds, caleqodds])
def test_the_global_random_state_is_left_alone(method: Any) -> None:
    np.random.seed(3)
    before = random_state()
    method(scored_rows(100), Objective(), seed=7)
    assert random_state() == before


def test_eqodds_says_that_row_weights_do_not_count_for_aif360() -> None:
    problem = scored_rows(300, weighted=True)
    result = eqodds(problem, Objective(), base="current", cost="aif360")
    assert "rates are equalized without the row weights" in result.notes
    plain = replace(problem, weights=None)
    assert result.policy == eqodds(plain, Objective(), base="current", cost="aif360").policy
    rates = rates_by_hand(expected(plain, result))
    assert max(np.ptp(rates["tpr"]), np.ptp(rates["fpr"])) < 1e-9


def test_row_weights_count_for_caleqodds() -> None:
    """Whole weights do what as many copies of a row do."""
    problem = scored_rows(80, seed=4)
    times = torch.from_numpy(np.random.default_rng(0).integers(1, 4, 80))
    weighted = replace(problem, weights=times.double())
    copied = problem.take(torch.arange(80).repeat_interleave(times))
    objective = Objective(budget=0.2, margin=0.0)
    one, other = (caleqodds(p, objective).policy for p in (weighted, copied))
    assert np.array(one.steps) == pytest.approx(np.array(other.steps), abs=1e-6)


@pytest.mark.parametrize("method", [eqodds, caleqodds])
def test_what_they_cannot_serve_is_refused(method: Any) -> None:
    with pytest.raises(
        UsageError, match=f"{method.__name__} supports two groups, not 3; use the method thresholds"
    ):
        method(scored_rows(60, 3), Objective())
    problem = scored_rows(60)
    for group, label in ((0, 1), (1, 0)):
        keep = (problem.groups != group) | (problem.labels != label)
        with pytest.raises(
            UsageError, match=f"group '{'ab'[group]}' has no row with label {label}"
        ):
            method(problem.take(keep.nonzero()[:, 0]), Objective())
