"""What auto tries, and that the winner is what it returns."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from fairfix.data.problem import Problem
from fairfix.data.splitting import stratified_folds
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


def decided_on_halves(problem: Problem, objective: Objective) -> float:
    """Balanced accuracy of finetune on halves it was not trained on, thresholds by brute force."""
    folds = stratified_folds(problem, 2, 0)
    decisions = np.zeros(len(problem), bool)
    for fold in (0, 1):
        trained = problem.take(torch.from_numpy(folds != fold))
        held = problem.take(torch.from_numpy(folds == fold))
        state = get("finetune").run(trained, objective, steps=STEPS).state
        scores = held.scores if state is None else held.score(state)
        cuts = [-1.0, *((scores.unique()[1:] + scores.unique()[:-1]) / 2).tolist(), 1.0]
        found = [float(objective.utility(held.counts(scores > cut))) for cut in cuts]
        decisions[folds == fold] = (scores > cuts[int(np.argmax(found))]).numpy()
    return float(objective.utility(problem.counts(torch.from_numpy(decisions))))


def utility(problem: Problem, objective: Objective, result: Result) -> float:
    """The utility of a result by the given objective, whichever it chose by."""
    scores = problem.scores if result.validation_scores is None else result.validation_scores
    decided = result.policy.probability(scores, problem.groups)
    return float(objective.utility(problem.counts(decided)))


@pytest.mark.parametrize(("use_group", "metric"), [(False, "spd"), (True, "spd"), (False, "eod")])
def test_the_highest_objective_wins_and_is_run_on_all_rows(use_group: bool, metric: str) -> None:
    problem, objective = rows(), Objective(METRICS[metric], budget=0.1)
    result = get("auto").run(problem, objective, use_group=use_group, steps=STEPS)
    found = figures(result)
    alone = {
        name: get(name).run(problem, objective)
        for name in ("identity", "blind", *(("thresholds", "repair") if use_group else ()))
    }
    expected = {name: utility(problem, objective, each) for name, each in alone.items()}
    expected["finetune"] = decided_on_halves(problem, objective)
    assert found == pytest.approx(expected, abs=6e-4)
    winner = max(expected, key=lambda name: expected[name])
    assert result.notes[0].startswith(f"auto chose {winner},")
    options = {"steps": STEPS} if winner == "finetune" else {}
    again = get(winner).run(problem, objective, **options)
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
