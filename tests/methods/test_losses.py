"""Losses of fine-tuning, by ten lines of numpy and by finite differences."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from fairfix.errors import UsageError
from fairfix.methods import get
from fairfix.methods._gap_training import Job, train_jobs
from fairfix.methods._losses import Minibatch, Penalty, loss_of
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.stats.auc_intervals import auc_gap
from tests.helpers.toys import Floats
from tests.methods.test_finetune import problem_of

PENALTIES = get_args(Penalty)
ALPHA = 1.7


def minibatch(n_groups: int, logits: torch.Tensor) -> Minibatch:
    rng = np.random.default_rng(n_groups)
    n = len(logits)
    weight = rng.uniform(0.5, 2, n)
    return Minibatch(
        logits,
        torch.from_numpy(rng.uniform(0, 1, n)),
        torch.from_numpy(weight / weight.sum()),
        torch.eye(n_groups, dtype=torch.float64)[torch.arange(n) % n_groups],
        0.4,
    )


def by_hand(penalty: str, rows: Minibatch, z: Floats) -> float:
    y, w = rows.favorable.numpy(), rows.weight.numpy()
    score, soft = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(-z / 0.5))
    entropy = -y * np.log(score) / 0.8 - (1 - y) * np.log(1 - score) / 1.2
    inside = [np.flatnonzero(column) for column in rows.membership.numpy().T]

    def means(values: Floats, weight: Floats) -> Floats:
        return np.array([np.average(values[rows], weights=weight[rows]) for rows in inside])

    losses, rates = means(entropy, w), means(soft, w)
    match penalty:
        case "equal-loss":
            added = np.ptp(losses)
        case "eqodds":
            added = np.ptp(means(soft, w * y)) + np.ptp(means(soft, w * (1 - y)))
        case "di":
            added = -rates.min() / rates.max()
        case "gap":
            added = np.ptp(rates)
        case "aucd":
            above = 1 / (1 + np.exp((z - z[:, None]) / 0.5))
            pairs = [np.outer((w * y)[rows], (w * (1 - y))[rows]) for rows in inside]
            added = np.ptp(
                [
                    np.average(above[np.ix_(i, i)], weights=p)
                    for i, p in zip(inside, pairs, strict=True)
                ]
            )
        case "min-max":
            return float(losses.max())
        case _:
            q = np.exp(ALPHA * losses)
            return float(q @ losses / q.sum())
    return float((w * entropy).sum() + ALPHA * added)


@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_loss_is_its_equation_and_its_gradient_that_of_finite_differences(
    penalty: Penalty, n_groups: int
) -> None:
    z = np.random.default_rng(1).normal(size=12)
    logits = torch.from_numpy(z).requires_grad_()
    rows = minibatch(n_groups, logits)
    found = loss_of(penalty, ALPHA, METRICS["spd"])(rows)
    assert found.item() == pytest.approx(by_hand(penalty, rows, z), rel=1e-12)
    if penalty == "group-dro":
        return  # its gradient is that of the sum with constant weights, tested below
    (gradient,) = torch.autograd.grad(found, logits)
    for i, step in enumerate(1e-6 * np.eye(len(z))):
        slope = (by_hand(penalty, rows, z + step) - by_hand(penalty, rows, z - step)) / 2e-6
        assert float(gradient[i]) == pytest.approx(slope, abs=1e-7)


def test_the_auc_difference_is_that_of_steep_comparisons_and_a_penalty_reduces_it() -> None:
    problem = problem_of()
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 2, len(problem)))
    problem = replace(problem, labels=torch.where(problem.groups == 1, noise, problem.labels))

    def difference(scores: torch.Tensor) -> float:
        return abs(auc_gap(scores, problem.labels, problem.groups, 2).value)

    labels, n = problem.labels.double(), len(problem)
    membership = torch.nn.functional.one_hot(problem.groups, 2).double()
    logits = problem.scores.double().logit()
    rows = Minibatch(1e6 * logits, labels, torch.full((n,), 1 / n).double(), membership, 0.5)
    penalty = loss_of("aucd", 1, METRICS["spd"])(rows) - rows.entropy
    assert float(penalty) == pytest.approx(difference(problem.scores), abs=1e-6)
    left = []
    for mu in (0.0, 5.0):
        given = {"seed": 0, "steps": 80, "every": 80, "learning_rate": 0.01}
        (found,) = train_jobs(problem, METRICS["spd"], [Job(labels, mu, "aucd")], **given)
        left.append(difference(found.scores))
    assert left[1] < left[0] / 2


def test_group_dro_moves_to_the_group_with_the_larger_loss() -> None:
    logits = torch.tensor([3.0, -3.0, 3.0, -3.0], dtype=torch.float64).requires_grad_()
    label = torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    membership = torch.eye(2, dtype=torch.float64)[[0, 1, 0, 1]]
    rows = Minibatch(logits, label, torch.full((4,), 0.25).double(), membership, 0.5)
    loss = loss_of("group-dro", 0.5, METRICS["spd"])
    first = loss(rows).item()
    again = replace(rows, logits=rows.logits)
    second = loss(again)
    low, high = rows.group_losses.tolist()
    assert high > low
    for found, step in ((first, 0.5), (second.item(), 1.0)):  # steps add up
        q = np.exp(step * np.array([low, high]))
        assert found == pytest.approx(float(q @ [low, high] / q.sum()))
    (gradient,) = torch.autograd.grad(second, logits)
    rows = replace(rows, logits=rows.logits)
    q = np.exp([low, high]) / np.exp([low, high]).sum()
    (plain,) = torch.autograd.grad(torch.from_numpy(q) @ rows.group_losses, logits)
    assert torch.allclose(gradient, plain)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_run_has_the_snapshots_of_every_weight(penalty: str) -> None:
    problem, options = problem_of(), {"steps": 40, "learning_rate": 0.01}
    result = get("finetune").run(problem, Objective(), penalty=penalty, **options)
    assert len(result.trajectory) == (2 if penalty == "min-max" else 3)
    if penalty == "min-max":
        with pytest.raises(UsageError, match="--alpha has no effect with --penalty min-max"):
            get("finetune").run(problem, Objective(), penalty=penalty, alpha="1")
        return
    grid = get("finetune").run(problem, Objective(), penalty=penalty, alpha="0.5, 1,2,4", **options)
    assert len(grid.trajectory) == 5
    if penalty != "group-dro":
        assert grid.trajectory[2].gap == result.trajectory[1].gap


@pytest.mark.parametrize(
    ("alpha", "message"),
    [("0,1", "must be above 0, not 0"), ("1,x", "'x' is not a number"), ('"1', "quote")],
)
def test_other_weights_are_refused(alpha: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        get("finetune").run(problem_of(), Objective(), alpha=alpha)


def test_labels_of_the_group_that_is_selected_most_are_flipped() -> None:
    problem, options = problem_of(), {"steps": 30, "labels": "true", "learning_rate": 0.03}
    favored = problem.groups[problem.scores > 0.5].bincount().argmax()
    name, size = problem.group_names[int(favored)], int((problem.groups == favored).sum())
    aim = Objective(METRICS["eod"], budget=0.3, margin=0.0)
    plain = get("finetune").run(problem, aim, seed=3, **options)
    found, same = (
        get("finetune").run(problem, aim, seed=3, flip=0.25, **options) for _ in range(2)
    )
    note = f"flipped the labels of {round(size / 4)} of {size} rows of {name!r}"
    assert note in found.notes
    assert found.trajectory == same.trajectory != plain.trajectory
    assert not any("flipped" in each for each in plain.notes)
    other = get("finetune").run(problem, aim, seed=4, flip=0.25, **options)
    assert other.trajectory != found.trajectory
