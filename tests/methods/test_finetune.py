"""What finetune chooses, and by which labels and factor."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fairfix.data.problem import Problem
from fairfix.methods import get
from fairfix.methods._gap_training import Job, train_jobs
from fairfix.methods._label_probabilities import label_probabilities
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.scorer import Output, Scorer
from fairfix.thresholds.shared import best_threshold
from tests.helpers import zoo
from tests.helpers.toys import biased_problem


def problem_of() -> Problem:
    return biased_problem(zoo.scorer("modules"), zoo.features(300))


def test_zero_steps_are_the_unmodified_network() -> None:
    problem, objective = problem_of(), Objective()
    result = get("finetune").run(problem, objective, steps=0)
    assert (result.state, len(result.trajectory)) == (None, 1)
    assert result.policy == get("identity").run(problem, objective).policy


@pytest.mark.parametrize(
    ("metric", "given", "labels", "k"),
    [
        ("spd", {}, "smooth", 1.7),
        ("spd", {"k": 2.0}, "repaired", 2.0),
        ("eod", {}, "smooth", 1.2),
        ("eod", {"k": 1.0}, "repaired", 1.0),
        ("eod", {}, "true", 1.7),
        ("ford", {"risk": "low"}, "repaired", 1.2),
    ],
)
def test_the_best_snapshot_by_label_probabilities_is_kept(
    metric: str, given: dict[str, float], labels: str, k: float
) -> None:
    """Every snapshot trained and rated again, with the labels and factor of the defaults."""
    problem, objective = problem_of(), Objective(METRICS[metric], **given)
    options = {"steps": 80, "learning_rate": 0.01}
    result = get("finetune").run(problem, objective, seed=3, labels=labels, **options)
    soft = metric != "spd" and labels != "true"
    by = f"{labels} labels" if soft else "labels"
    assert result.notes[0] == f"candidates were compared by {by} and k = {k:.4g}"
    p = label_probabilities(problem, labels, seed=3)
    jobs = [Job(p, 1.0), Job(p, 2.0)]
    found = list(train_jobs(problem, METRICS[metric], jobs, seed=3, **options))
    assert len(result.trajectory) == 1 + len(found) == 5
    scores = torch.stack([problem.scores, *(snapshot.scores for snapshot in found)])
    ranking = Objective(METRICS[metric], k=k, risk=given.get("risk"))
    own = problem.labels, problem.groups, 2, ranking
    best = best_threshold(scores, *own, label_probabilities=p if soft else None)
    assert result.chosen == int(best.utility.argmax())
    for step, threshold in zip(result.trajectory[1:], best.threshold[1:].tolist(), strict=True):
        assert step.threshold == threshold
    assert (result.state is None) == (result.chosen == 0)
    if result.state is not None:
        kept = found[result.chosen - 1].weights
        assert all(torch.equal(value, kept[name]) for name, value in result.state.items())


def proxy_problem() -> Problem:
    """The score follows a proxy of the group and, as the label does, another feature."""
    generator = torch.Generator().manual_seed(0)
    features, noise = (
        torch.randn(800, 3, generator=generator),
        torch.randn(800, generator=generator),
    )
    linear = nn.Linear(3, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.5, 1.5, 0.0]]))
        linear.bias.zero_()
    scorer = Scorer(linear, Output.LOGIT)
    return Problem(
        scorer.score(features),
        (features[:, 1] + 0.5 * noise > 0).long(),
        (features[:, 0] > 0).long(),
        ("a", "b"),
        scorer,
        Inputs.of(features),
    )


def test_a_network_that_need_not_use_a_proxy_stops_using_it() -> None:
    problem = proxy_problem()
    objective = Objective(budget=0.1)
    retuned = get("identity").run(problem, objective)
    tuned = get("finetune").run(problem, objective, learning_rate=0.02)
    utility = [result.trajectory[result.chosen].utility for result in (retuned, tuned)]
    assert utility[1] > utility[0] + 0.1
    assert tuned.state is not None
    proxy, cause, _ = tuned.state["weight"][0].abs().tolist()
    assert proxy < 0.3 * cause


def test_only_the_layers_named_change() -> None:
    problem = proxy_problem()
    result = get("finetune").run(problem, Objective(budget=0.1), layers="w*", learning_rate=0.02)
    assert problem.scorer is not None
    assert result.state is not None
    before = problem.scorer.weights()
    changed = [name for name, value in result.state.items() if not value.equal(before[name])]
    assert changed == ["weight"]
