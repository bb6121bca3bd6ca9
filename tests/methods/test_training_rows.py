"""Methods learn from the training rows and choose on the validation rows."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.data.training_rows import TrainingRows
from fairfix.errors import TableError
from fairfix.methods import _shared_network, builtin_names, get
from fairfix.methods._cross_fitting import classifier_inputs
from fairfix.methods._label_models import PENALTIES
from fairfix.methods._label_probabilities import label_probabilities
from fairfix.methods._linear_classifiers import LinearClassifier
from fairfix.methods._search import CandidateSearch
from fairfix.metrics.objective import Objective
from fairfix.models.score_model import BlindScore, RepairedScore
from tests.helpers import zoo
from tests.helpers.toys import biased_problem, with_training_rows

LEARNING = [name for name in builtin_names() if get(name).training_use is not None]
QUICK: dict[str, dict[str, Any]] = {
    "adversarial": {"rounds": 2, "critic_steps": 4, "network_steps": 4, "minibatch": 16},
    "fairif": {"epochs": 3, "learning_rate": 0.01, "minibatch": 32},
    "finetune": {"steps": 40, "learning_rate": 0.01, "labels": "true"},
    "gda": {"epochs": 3, "learning_rate": 0.01, "minibatch": 32},
    "prune": {"per_step": 3, "max_units": 9},
}


def problems(*, groups: bool = True) -> tuple[Problem, Problem]:
    """A problem with training rows, and those rows as a problem of their own."""
    scorer = zoo.scorer("modules")
    rows = biased_problem(scorer, zoo.features(200, 7), seed=1)
    problem = biased_problem(scorer, zoo.features(120))
    return with_training_rows(problem, rows, groups=groups), rows


class Candidates(CandidateSearch):
    """A search that keeps the state of every candidate."""

    made: ClassVar[list[Candidates]] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.states: list[dict[str, Tensor] | None] = []
        super().__init__(*args, **kwargs)
        self.made.append(self)

    def add(self, scores: Tensor, state: Any, *rest: Any) -> Any:
        self.states.append(state())
        return super().add(scores, state, *rest)


def searched(name: str, problem: Problem, monkeypatch: pytest.MonkeyPatch) -> Candidates:
    """The search of a run."""
    for module in (import_module(f"fairfix.methods.{name}"), _shared_network):
        monkeypatch.setitem(vars(module), "CandidateSearch", Candidates)
    Candidates.made.clear()
    get(name).run(problem, Objective(), seed=2, **QUICK[name])
    return Candidates.made[0]


@pytest.mark.parametrize("name", ["finetune", "gda", "prune"])
def test_networks_are_those_that_the_training_rows_alone_give(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, rows = problems()
    found, alone = searched(name, problem, monkeypatch), searched(name, rows, monkeypatch)
    assert len(found.states) == len(alone.states) > 2
    for one, other in zip(found.states[1:], alone.states[1:], strict=True):
        assert one is not None
        assert other is not None
        assert all(torch.equal(one[key], other[key]) for key in one)
    scored = problem.score(found.states[-1] or {})
    last, threshold = found.steps[-1], found.steps[-1].threshold
    assert float(Objective().metric(problem.counts(scored > threshold)).value) == last.gap


@pytest.mark.parametrize("name", [name for name in LEARNING if name in QUICK])
def test_the_choice_is_by_the_objective_as_it_is(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No larger standard errors, no label probabilities, on all validation rows."""
    problem, _ = problems()
    found = searched(name, problem, monkeypatch)
    again = CandidateSearch(problem, Objective())
    for state in found.states[1:]:
        assert state is not None
        again.add(problem.score(state), lambda: None)
    assert found.steps == again.steps
    assert found.best == again.best


@pytest.mark.parametrize("name", sorted({*LEARNING} - {"fairif"}))
def test_training_rows_without_groups_are_refused_with_the_remedy(name: str) -> None:
    problem, _ = problems(groups=False)
    with pytest.raises(TableError, match=rf"{name} needs the group .* add the group column"):
        get(name).run(problem, Objective(), **QUICK.get(name, {}))


@pytest.mark.parametrize("name", ["blind", "repair"])
def test_members_are_those_that_the_training_rows_alone_give(name: str) -> None:
    problem, rows = problems()
    found, alone = (get(name).run(each, Objective()) for each in (problem, rows))
    assert isinstance(found.score_model, BlindScore | RepairedScore)
    assert isinstance(alone.score_model, BlindScore | RepairedScore)
    trees, others = (each.eta.trees.arrays() for each in (found.score_model, alone.score_model))
    assert all(np.array_equal(trees[key], others[key]) for key in trees)
    inputs = classifier_inputs(rows, found.score_model.columns.numpy())
    labels = rows.labels.numpy()
    fitted = [LinearClassifier(penalty).fit(inputs, labels, None) for penalty in PENALTIES]
    linear = found.score_model.eta.linear.arrays()["coefficients"]
    assert any(np.allclose(linear, each.model.coef_[0]) for each in fitted)
    assert problem.features is not None
    assert found.validation_scores is not None
    applied, _ = found.score_model.evaluate(problem.features, problem.scores)
    # all but the regression on the score, which learns from these rows, and here without a fold
    torch.testing.assert_close(applied, found.validation_scores, rtol=0, atol=0.02)


@pytest.mark.parametrize("labels", ["smooth", "repaired"])
def test_label_models_of_training_rows_do_not_read_their_labels(labels: Any) -> None:
    problem, rows = problems()
    found = label_probabilities(problem, labels, 0, rows)
    turned = replace(rows, labels=1 - rows.labels)
    assert torch.equal(found, label_probabilities(problem, labels, 0, turned))
    own = label_probabilities(problem, "smooth", 0)
    assert torch.equal(own, label_probabilities(problem, "smooth", 0, problem))


@pytest.mark.parametrize("layers", ["head", ""])
def test_late_layers_of_both_tables_are_evaluated_alike(
    layers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, _ = problems()
    monkeypatch.setitem(QUICK, "gda", {**QUICK["gda"], "layers": layers})
    found = searched("gda", problem, monkeypatch)
    for state, step in zip(found.states[1:], found.steps[1:], strict=True):
        again = CandidateSearch(replace(problem, scores=problem.score(state or {})), Objective())
        assert again.best.gap == pytest.approx(step.gap, abs=1e-6)


def test_training_rows_are_checked() -> None:
    _, rows = problems()
    assert rows.inputs is not None
    with pytest.raises(TableError, match="Lengths of the training rows differ"):
        TrainingRows(rows.inputs, rows.scores, rows.labels[:-1])
    with pytest.raises(TableError, match="must be 0 or 1"):
        TrainingRows(rows.inputs, rows.scores, rows.labels + 1)
    lacking = replace(problems()[0], group_names=("a", "b"))
    assert lacking.training is not None
    one_group = replace(lacking.training, groups=torch.zeros_like(rows.groups))
    with pytest.raises(TableError, match="Training rows: group 'b' has no rows"):
        replace(lacking, training=one_group).learning_rows("gda")
