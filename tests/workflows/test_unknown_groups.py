"""Rows without a group count for performance and gradients, and for nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import fairfix as library
from fairfix.data.problem import Problem
from fairfix.errors import TableError, UsageError
from fairfix.methods._gap_training import Job, StratifiedBatches, train_jobs
from fairfix.metrics import get as get_metric
from fairfix.metrics.objective import Objective
from fairfix.metrics.rates import selection_rate
from fairfix.thresholds.policy import Policy
from fairfix.thresholds.shared import best_threshold_of
from tests.helpers.toys import scored_rows
from tests.methods.test_finetune import proxy_problem

ROWS = """\
score,label,group
0.9,1,m
0.8,0,m
0.2,0,m
0.7,1,f
0.3,1,f
0.1,0,f
0.6,1,
0.4,1,
0.2,0,
0.1,0,
"""


def read(folder: Path, text: str = ROWS, **options: str) -> library.Case:
    path = folder / "rows.csv"
    path.write_text(text)
    return library.load(
        None,
        path,
        score="score",
        missing_group="performance-only",
        privileged="m",
        **options,
    )


def with_unknown(problem: Problem, every: int = 4) -> Problem:
    groups = problem.groups.clone()
    groups[::every] = -1
    return replace(problem, groups=groups)


def test_figures_counted_by_hand(tmp_path: Path) -> None:
    """2 of 3 of m are positive, 1 of 3 of f; of all ten, 7 decisions are right."""
    case = read(tmp_path)
    found = library.audit(case)
    evaluation = found.groups[0].evaluation
    assert evaluation.gaps["spd"] == pytest.approx(1 / 3 - 2 / 3)
    assert evaluation.gaps["eod"] == pytest.approx(1 / 2 - 1)
    assert [group.rows for group in evaluation.groups] == [3, 3]
    assert evaluation.performance["accuracy"] == pytest.approx(7 / 10)
    assert evaluation.performance["balanced_accuracy"] == pytest.approx((3 / 5 + 4 / 5) / 2)
    assert evaluation.performance["auc"] == pytest.approx(21 / 25)
    note = "4 rows without a value of 'group' count for performance alone, not for gaps"
    assert note in case.notes


def test_evidence_on_gaps_is_that_of_the_other_rows(tmp_path: Path) -> None:
    whole = library.audit(read(tmp_path)).groups[0]
    known = "".join(line for line in ROWS.splitlines(True) if not line.endswith(",\n"))
    other = library.audit(read(tmp_path, known)).groups[0]
    assert whole.claim == other.claim
    assert whole.power == other.power
    assert whole.intervals.gaps == other.intervals.gaps
    assert whole.intervals.groups == other.intervals.groups
    assert whole.intervals.performance["accuracy"] != other.intervals.performance["accuracy"]


def test_a_row_that_lacks_one_of_two_columns_is_in_no_gap(tmp_path: Path) -> None:
    lines = [f"{line},{'' if i == 1 else 'ab'[i % 2]}" for i, line in enumerate(ROWS.split()[1:])]
    case = read(tmp_path, "\n".join(["score,label,group,age", *lines]), group=["group", "age"])
    assert [(group.ids < 0).sum() for group in case.table.groups] == [5, 5]
    note = "5 rows without a value of 'group' or 'age' count for performance alone, not for gaps"
    assert note in case.notes
    assert [group.evaluation.rows for group in library.audit(case).groups] == [10, 10]


@pytest.mark.parametrize("weighted", [False, True])
def test_the_best_threshold_against_brute_force(weighted: bool) -> None:
    problem = with_unknown(scored_rows(120, weighted=weighted))
    objective = Objective(kind="tradeoff", lambda_=0.2)
    found = best_threshold_of(problem, problem.scores, objective)
    scores, labels, groups = (
        each.numpy() for each in (problem.scores, problem.labels, problem.groups)
    )
    weights = np.ones(len(scores)) if problem.weights is None else problem.weights.numpy()
    best = -np.inf
    for at in [-1.0, *np.unique(scores)]:
        positive = scores > at
        recall, fallout = (
            np.average(positive[labels == y], weights=weights[labels == y]) for y in (1, 0)
        )
        one, other = (
            np.average(positive[groups == g], weights=weights[groups == g]) for g in (0, 1)
        )
        performance = (recall + 1 - fallout) / 2
        best = max(best, -0.2 * abs(one - other) - 0.8 * (1 - performance))
    assert float(found.utility) == pytest.approx(best)


@pytest.mark.parametrize("weighted", [False, True])
def test_clusters_of_known_rows_and_of_all_rows(weighted: bool) -> None:
    rows = scored_rows(120, weighted=weighted)
    clusters = torch.arange(120) // 3
    problem = replace(with_unknown(rows, 5), clusters=clusters)
    decided = problem.scores > 0.5
    counts, known = problem.clustered_counts(decided), problem.groups >= 0
    alone = problem.grouped.clustered_counts(decided[known])
    variances = [selection_rate(each).variance for each in (counts, alone)]
    torch.testing.assert_close(*variances, rtol=1e-3, atol=0)
    complete = replace(rows, clusters=clusters).clustered_counts(decided)
    for cells in ("tp", "fp", "fn", "tn"):
        torch.testing.assert_close(getattr(counts.total(), cells), getattr(complete.total(), cells))
    variances = [selection_rate(each.total()).variance for each in (counts, complete)]
    torch.testing.assert_close(*variances, rtol=1e-3, atol=0)


def test_minibatches_represent_rows_without_a_group() -> None:
    problem = with_unknown(scored_rows(120))
    batches = StratifiedBatches(problem, 8, seed=0)
    rows = batches.draw()
    assert batches.groups.unique().tolist() == [0, 1, 2]
    assert torch.equal(problem.groups[rows] < 0, batches.groups == 2)
    weights = batches.importance(rows)
    assert float(weights.sum()) == pytest.approx(1)
    assert float(weights[batches.groups == 2].sum()) == pytest.approx(30 / 120)


@pytest.mark.parametrize("group", [-1, 0])
def test_their_labels_move_the_weights(group: int) -> None:
    """As labels of a group do: without the penalty on the gap, the group does not matter."""
    problem = replace(proxy_problem(), weights=None)
    groups = problem.groups.clone()
    groups[::4] = group
    problem = replace(problem, groups=groups)
    turned = problem.labels.double()
    turned[::4] = 1 - turned[::4]
    before, after = (
        next(train_jobs(problem, get_metric("spd"), [Job(labels, 1.0)], seed=0, steps=40)).weights
        for labels in (problem.labels.double(), turned)
    )
    assert not torch.equal(before["weight"], after["weight"])


@pytest.mark.parametrize("method", ["thresholds", "eqodds", "blind", "adversarial", "auto"])
def test_methods_that_need_each_group_refuse(method: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{method} needs the group of every row"):
        library.debias(read(tmp_path, ROWS + ROWS[len("score,label,group\n") :]), method)


def test_thresholds_by_group_decide_no_row_without_one() -> None:
    problem = with_unknown(scored_rows(20))
    with pytest.raises(TableError, match="cannot decide rows without a group"):
        Policy.by_group([0.5, 0.6]).decide(problem.scores, problem.groups)


def test_a_rule_keeps_what_becomes_of_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 2, (2, 400))
    scores = rng.normal(labels + groups, 1, 400)
    table = pd.DataFrame({"score": 1 / (1 + np.exp(-scores)), "label": labels, "group": groups})
    table["group"] = table["group"].astype(str).where(rng.random(400) > 0.2, "")
    case = library.load(None, table, score="score", missing_group="performance-only")
    outcome = library.debias(case, "identity", budget=0.4)
    contract = outcome.rule.contract
    assert contract is not None
    assert contract.missing_group == "performance-only"
    known = outcome.test_rows.problem.groups >= 0
    rates = [
        float(outcome.test_rows.debiased[outcome.test_rows.problem.groups == g].double().mean())
        for g in (0, 1)
    ]
    assert 0 < int(known.sum()) < len(known)
    assert outcome.test.debiased.gaps["spd"] == pytest.approx(rates[0] - rates[1])
    assert sum(group.rows for group in outcome.evidence.change.groups) == int(known.sum())
