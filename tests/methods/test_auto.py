"""What auto tries, and that the winner is what it returns."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from fairfix.data.problem import Problem
from fairfix.methods import get
from fairfix.methods._result import Result
from fairfix.methods._search import BETTER_RETUNED
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from tests.helpers import zoo
from tests.helpers.toys import biased_problem, scored_rows

STEPS = 8


def rows(seed: int = 0) -> Problem:
    return biased_problem(zoo.scorer("modules"), zoo.features(160), seed=seed)


def figures(result: Result) -> dict[str, float]:
    """The objectives that the first note lists."""
    return {name: float(value) for name, value in re.findall(r"(\w+) (-?[\d.]+)", result.notes[0])}


def chosen_objective(problem: Problem, objective: Objective, result: Result) -> float:
    """The objective of decisions on rows that trees were not fitted on, with the k of finetune."""
    scores = problem.scores if result.state is None else problem.score(result.state)
    scores = scores if result.validation_scores is None else result.validation_scores
    decided = result.policy.probability(scores, problem.groups)
    k = 1.2 if objective.metric.needs_labels else 1.7
    return float(replace(objective, k=k).utility(problem.counts(decided)))


@pytest.mark.parametrize(("use_group", "metric"), [(False, "spd"), (True, "spd"), (True, "eod")])
def test_the_highest_objective_wins(use_group: bool, metric: str) -> None:
    problem, objective = rows(), Objective(METRICS[metric], budget=0.1)
    result = get("auto").run(problem, objective, use_group=use_group, steps=STEPS)
    found = figures(result)
    names = ["identity", "blind", "finetune", *(["thresholds"] if use_group else [])]
    names += ["repair"] if use_group and metric == "eod" else []
    alone = {
        name: get(name).run(problem, objective, **({"steps": STEPS} if name == "finetune" else {}))
        for name in names
    }
    expected = {name: chosen_objective(problem, objective, each) for name, each in alone.items()}
    tuned = alone["finetune"]
    if metric == "eod" and tuned.state is not None:  # it counts by probabilities of labels
        assert tuned.utility is not None
        expected["finetune"] = tuned.utility
    assert found == pytest.approx(expected, abs=6e-4)
    winner = max(expected, key=lambda name: expected[name])
    assert result.notes[0].startswith(f"auto chose {winner},")
    again = alone[winner]
    assert replace(result, notes=(), state=None, validation_scores=None) == replace(
        again, notes=(), state=None, validation_scores=None
    )
    assert result.notes[1:] == tuple(note for note in again.notes if note != BETTER_RETUNED)


def test_without_the_option_no_decision_needs_the_group() -> None:
    """Thresholds per group have the highest objective here, and are chosen with the option."""
    problem, objective = scored_rows(1000), Objective(budget=0.1)
    free, aware = (get("auto").run(problem, objective, use_group=use) for use in (False, True))
    assert list(figures(free)) == ["identity"]
    assert not free.policy.needs_group
    assert figures(aware)["thresholds"] > figures(aware)["identity"]
    assert aware.policy.needs_group


def test_candidates_that_do_not_apply_are_left_out_and_named() -> None:
    scores_alone = get("auto").run(scored_rows(100), Objective())
    assert list(figures(scores_alone)) == ["identity"]
    left_out = [note for note in scores_alone.notes if "was not tried" in note]
    assert [note.split()[0] for note in left_out] == ["blind", "finetune"]
    other_metric = get("auto").run(rows(), Objective(METRICS["di"]), steps=0)
    assert list(figures(other_metric)) == ["identity", "finetune"]
    assert any(
        note.startswith("blind was not tried: blind supports") for note in other_metric.notes
    )


def test_the_simplest_candidate_wins_a_tie() -> None:
    """With a budget that every threshold meets, thresholds of networks that do not change tie."""
    problem = biased_problem(zoo.scorer("modules"), torch.zeros(80, zoo.WIDTH))
    result = get("auto").run(problem, Objective(), steps=0)
    assert len(set(figures(result).values())) == 1
    assert result.notes[0].startswith("auto chose identity,")
