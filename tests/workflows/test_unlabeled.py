"""Rows without labels sharpen selection rates, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import fairfix as library
from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods import get
from fairfix.metrics.objective import Objective
from fairfix.thresholds.shared import best_threshold_of
from fairfix.thresholds.unlabeled import best_threshold_with_unlabeled
from tests.helpers.runs import Place, Run
from tests.methods.test_finetune import proxy_problem

OBJECTIVE = Objective(budget=0.15)
RUNS = {
    "blind": {},
    "blind --distill": {"distill": True},
    "finetune": {"steps": 80, "learning_rate": 0.02},
    "finetune --head": {"steps": 80, "learning_rate": 0.01, "head": True},
}


def scored(rows: int, seed: int, *, weighted: bool) -> Problem:
    """Scores that follow group and label; some are equal."""
    rng = np.random.default_rng(seed)
    groups, labels = rng.integers(0, 2, (2, rows))
    scores = 1 / (1 + np.exp(-rng.normal(labels + groups - 1, 1.5, rows))).round(2)
    weights = torch.from_numpy(rng.uniform(0.5, 2, rows)) if weighted else None
    tensors = (torch.from_numpy(each) for each in (scores, labels, groups))
    return Problem(*tensors, ("a", "b"), weights=weights)


def with_unlabeled(problem: Problem) -> Problem:
    """The first 500 rows, with the others as unlabeled ones, whose labels are turned."""
    other = problem.take(torch.arange(500, len(problem)))
    return replace(
        problem.take(torch.arange(500)), unlabeled=replace(other, labels=1 - other.labels)
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_the_best_threshold_against_brute_force(weighted: bool) -> None:
    """Balanced accuracy of 300 labeled rows; rates of 1,000; the chance on 300 new ones."""
    labeled, more = scored(300, 0, weighted=weighted), scored(700, 1, weighted=weighted)
    problem = replace(labeled, unlabeled=more)
    found = best_threshold_with_unlabeled(problem, problem.scores, more.scores, OBJECTIVE)
    tables = [
        (
            each.scores.numpy(),
            each.groups.numpy(),
            np.ones(len(each)) if each.weights is None else scaled(each.weights.numpy()),
        )
        for each in (labeled, more)
    ]
    scores, groups, weights = (np.concatenate(each) for each in zip(*tables, strict=True))
    labels = labeled.labels.numpy()
    distinct = np.unique(labeled.scores.numpy())
    best = (-1.0, 0.0)
    for at in ((distinct[1:] + distinct[:-1]) / 2)[::-1]:
        recall, fallout = (
            np.average(tables[0][0][labels == y] > at, weights=tables[0][2][labels == y])
            for y in (1, 0)
        )
        gap, variance = 0.0, 0.0
        for group, sign in ((0, 1), (1, -1)):
            own = groups == group
            rate, n = np.average(scores[own] > at, weights=weights[own]), weights[own].sum()
            effect = kish(tables[0][2][tables[0][1] == group])
            gap += sign * rate
            variance += effect * rate * (1 - rate) / n
        deviation = np.sqrt((1 + 1000 / 300) * variance)
        chance = np.diff(stats.norm.cdf([-0.15, 0.15], gap, deviation))[0]
        best = max(best, ((recall + 1 - fallout) / 2 * chance, at), key=lambda pair: pair[0])
    assert found == pytest.approx(best, abs=0.005)


def scaled(weights: np.ndarray) -> np.ndarray:
    """Weights with a mean of 1."""
    return weights / weights.mean()


def kish(weights: np.ndarray) -> float:
    """The design effect of weights."""
    return float(len(weights) * (weights**2).sum() / weights.sum() ** 2)


def test_two_unlabeled_rows_change_little() -> None:
    labeled = scored(1000, 2, weighted=False)
    of_both = [int(((labeled.groups == g) & (labeled.labels == g)).nonzero()[0]) for g in (0, 1)]
    two = labeled.take(torch.tensor(of_both))
    utility, _ = best_threshold_with_unlabeled(
        replace(labeled, unlabeled=two), labeled.scores, two.scores, OBJECTIVE
    )
    alone = best_threshold_of(labeled, labeled.scores, OBJECTIVE)
    assert utility == pytest.approx(float(alone.utility), abs=0.005)


@pytest.mark.parametrize("run", RUNS)
def test_labels_of_unlabeled_rows_are_not_read(run: str) -> None:
    problem = with_unlabeled(proxy_problem())
    assert problem.unlabeled is not None
    turned = replace(problem.unlabeled, labels=1 - problem.unlabeled.labels)

    def result(given: Problem) -> Any:
        return get(run.partition(" ")[0]).run(given, OBJECTIVE, **RUNS[run])

    found, same = result(problem), result(replace(problem, unlabeled=turned))
    alone = result(replace(problem, unlabeled=None))
    assert found.policy == same.policy
    assert found.trajectory == same.trajectory
    assert (found.policy, found.trajectory) != (alone.policy, alone.trajectory)


def unlabeled_table(place: Place) -> Any:
    table = pd.read_csv(place.val).drop(columns="label").iloc[::2]
    return place.table(table)


def test_the_command_reads_a_table_without_labels(place: Place, fairfix: Run) -> None:
    words = ("blind", place.model, place.val, "--test", place.test, "--budget", "0.1")
    ended = fairfix(*words, "--unlabeled", unlabeled_table(place), "--allow-trivial")
    assert ended.code == 0, ended.err
    assert "rows without labels sharpened the selection rates" in ended.err


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("prune", {}, "choose blind or finetune"),
        ("blind", {"metric": "eod"}, "eod depends on labels"),
        ("blind", {"also": {"di": 0.2}}, "cannot be combined with further limits"),
    ],
)
def test_where_unlabeled_rows_do_not_help_they_are_refused(
    place: Place, method: str, options: dict[str, Any], message: str
) -> None:
    case = library.load(place.model, place.val)
    with pytest.raises(UsageError, match=message):
        library.debias(case, method, unlabeled=unlabeled_table(place), **options)
