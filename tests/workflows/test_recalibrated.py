"""A debiased network is recalibrated by default, without changing a decision."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import fairfix as library
from fairfix.data.problem import Problem
from fairfix.metrics.objective import Objective
from fairfix.workflows.documents import report_document
from tests.helpers.runs import Place


def spoiled(factor: float) -> library.methods.MethodFunction:
    """Return a method that multiplies the logits and keeps today's decisions."""

    def scale(problem: Problem, objective: Objective, *, seed: int) -> library.methods.Result:
        assert problem.scorer is not None
        weights = problem.scorer.weights()
        *_, weight, bias = weights
        weights[weight] *= factor
        weights[bias] *= factor
        return library.methods.Result(library.methods.Policy.shared(0.5), weights)

    return scale


def run(place: Place, factor: float = 5.0, **options: Any) -> library.Outcome:
    case = library.load(place.model, place.val)
    method = spoiled(factor)
    return library.debias(case, method, test=place.test, subgroups=False, **options)


def test_scores_are_recalibrated_and_decisions_are_kept(place: Place) -> None:
    plain, done = run(place, recalibrate=False), run(place)
    for before, after in (
        (plain.validation_rows, done.validation_rows),
        (plain.test_rows, done.test_rows),
    ):
        assert torch.equal(before.debiased, after.debiased)
        assert not torch.equal(before.scores, after.scores)
    assert plain.recalibration is None
    assert done.recalibration is not None
    assert done.recalibration.slope == pytest.approx(0.2, rel=0.5)
    assert plain.rule.threshold != done.rule.threshold
    calibration = [
        any("calibration error" in each for each in report_document(outcome)["serious_warnings"])
        for outcome in (plain, done)
    ]
    assert calibration == [True, False]


def test_the_report_says_that_it_was_done(place: Place) -> None:
    report = report_document(run(place))
    assert report["method"]["recalibration"]["slope"] > 0
    (note,) = (each for each in report["notes"] if "recalibrated" in each)
    assert note.endswith("and the threshold with them; no decision changed")


@pytest.mark.parametrize("off", [{"recalibrate": False}, {"fold_threshold": True}])
def test_it_can_be_left_out(place: Place, off: dict[str, bool]) -> None:
    outcome = run(place, **off)
    assert outcome.recalibration is None
    assert report_document(outcome)["method"]["recalibration"] is None


def test_unchanged_weights_are_not_recalibrated(place: Place) -> None:
    assert run(place, factor=1.0).recalibration is None


def test_a_network_in_reverse_order_is_left_alone(place: Place) -> None:
    outcome = run(place, factor=-1.0)
    assert outcome.recalibration is not None
    assert outcome.recalibration.sentence.startswith("the scores were not recalibrated: no ")
