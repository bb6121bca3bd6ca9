"""Methods on several labels at once: one label as a list of one, and the mean of the utilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import fairfix
from fairfix import methods
from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods._gap_training import Job, train_shared
from fairfix.methods._losses import Minibatch, loss_of
from fairfix.methods._several_labels import joint_method
from fairfix.methods._shared_network import shared_networks
from fairfix.metrics.objective import Objective
from tests.helpers.several_labels import LABELS, write

OPTIONS: Mapping[str, dict[str, Any]] = {
    "thresholds": {},
    "identity": {},
    "prune": {"per_step": 1},
    "gda": {"epochs": 4, "learning_rate": 0.01, "minibatch": 64},
    "perturb": {"trials": 20},
    "finetune": {"steps": 12, "learning_rate": 0.02},
}


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> tuple[Problem, ...]:
    folder = write(tmp_path_factory.mktemp("labels"))
    how = {"label": LABELS, "privileged": "a", "device": "cpu", "trust": True}
    cases = (
        fairfix.load(folder / "model.pt", folder / "rows.csv", target=label, **how)
        for label in LABELS
    )
    return tuple(case.problem for case in cases)


BUDGET = 0.12


def chosen(name: str) -> dict[str, Any]:
    return methods.get(name).checked(OPTIONS[name])


@pytest.mark.parametrize("name", OPTIONS)
def test_a_list_of_one_label_gives_the_numbers_of_the_method(
    problems: tuple[Problem, ...], name: str
) -> None:
    objective = Objective(budget=0.15)
    expected = methods.get(name).run(problems[1], objective, seed=3, **chosen(name))
    (found,) = joint_method(name)([problems[1]], objective, seed=3, **chosen(name))
    assert found.policy == expected.policy
    assert found.chosen == expected.chosen
    assert len(found.trajectory) == len(expected.trajectory)
    np.testing.assert_allclose(
        [step.utility for step in found.trajectory],
        [step.utility for step in expected.trajectory],
        atol=1e-6,
    )
    assert (found.state is None) == (expected.state is None)
    for key, value in (expected.state or {}).items():
        assert torch.equal((found.state or {})[key], value)


@pytest.mark.parametrize("name", ["prune", "gda", "perturb", "finetune"])
def test_the_network_with_the_highest_mean_of_utilities_is_kept(
    problems: tuple[Problem, ...], name: str
) -> None:
    results = joint_method(name)(problems, Objective(budget=BUDGET), seed=0, **chosen(name))
    utilities = np.array([[step.utility for step in each.trajectory] for each in results])
    best = int(utilities.mean(0).argmax())
    assert {each.chosen for each in results} == {best}
    state = results[0].state or problems[0].scorer.weights()  # type: ignore[union-attr]
    assert (results[0].state is None) == (best == 0)
    for problem, result in zip(problems, results, strict=True):
        assert result.state is results[0].state
        if name != "finetune":  # which chooses by another objective
            assert result.utility == pytest.approx(result.trajectory[best].utility)
        decided = problem.score(state) > result.policy.thresholds(1)[0]
        gap = Objective().metric(problem.counts(decided)).value
        assert float(gap) == pytest.approx(result.trajectory[best].gap, abs=1e-6)


def test_a_penalty_on_the_auc_gap_reduces_that_of_every_label(
    problems: tuple[Problem, ...],
) -> None:
    """The labels of one group are noise, so that scores rank the other group better."""
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 2, 400))
    noisy = [
        replace(p, labels=torch.where(p.groups == 1, noise[: len(p)], p.labels)) for p in problems
    ]
    penalty = loss_of("aucd", 1, Objective().metric)
    left = []
    for alpha in (0.0, 5.0):
        jobs = [Job(p.labels.to(p.scores.dtype), alpha, "aucd") for p in noisy]
        pairs = shared_networks(noisy)
        how = {"seed": 0, "steps": 80, "every": 80, "learning_rate": 0.02}
        (found,) = train_shared(noisy, pairs, Objective().metric, [jobs], **how)
        gaps = []
        for scores, p in zip(found.scores, noisy, strict=True):
            membership = torch.nn.functional.one_hot(p.groups, 2).double()
            weight = torch.full((len(p),), 1 / len(p), dtype=torch.float64)
            rows = Minibatch(scores.double().logit(), p.labels.double(), weight, membership, 0.5)
            gaps.append(float(penalty(rows) - rows.entropy))
        left.append(gaps)
    assert all(after < before / 10 for before, after in zip(*left, strict=True)), left


@pytest.mark.parametrize("name", ["blind", "layerwise", "adversarial"])
def test_other_methods_name_the_way_to_one_label(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} works on one label at a time.*--target"):
        joint_method(name)
