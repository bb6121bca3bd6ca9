"""A rule with a score model: written, bound by hashes, read by every command, never bypassed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import fairfix as library
from fairfix.errors import UsageError
from fairfix.thresholds.rule_file import read_rule
from fairfix.workflows.audit import plain_rule, ruled
from tests.helpers.runs import Place, Run

METHODS = ("blind", "repair", "finetune --head")


def debiased(place: Place, method: str) -> library.Outcome:
    case = library.load(place.model, place.val)
    name, _, option = method.partition(" --")
    options = {option: True, "learning_rate": 0.01} if option else {}
    outcome = library.debias(case, name, budget=0.1, test=place.test, **options)
    assert outcome.rule.score_model is not None
    return outcome


@pytest.mark.parametrize("method", METHODS)
def test_every_reader_decides_as_the_run_did(place: Place, method: str) -> None:
    outcome = debiased(place, method)
    written = library.save(outcome, place.folder / "new.pt")
    assert written.arrays == place.folder / "new.rule.safetensors"
    assert written.arrays in written.paths
    expected = outcome.test_rows.debiased.numpy()
    predicted = library.predict(written.model, place.test)
    assert np.array_equal(predicted.decisions, expected)
    assert predicted.scores == pytest.approx(outcome.test_rows.scores.numpy(), abs=1e-6)
    assert predicted.probabilities is not None
    assert "score,probability,decision" in predicted.csv().splitlines()[0]
    audit = library.audit(library.load(written.model, place.test))
    after = outcome.test.debiased
    assert audit.groups[0].evaluation.gaps["spd"] == pytest.approx(after.gaps["spd"])
    assert audit.groups[0].evaluation.performance["auc"] == pytest.approx(after.performance["auc"])
    labels = outcome.test_rows.problem.labels.numpy()
    calibration = audit.groups[0].calibration[0]
    assert calibration.mean_score == pytest.approx(predicted.probabilities.mean(), abs=1e-6)
    assert calibration.rows == len(labels)


def test_the_gate_applies_the_score_model(place: Place, fairfix: Run) -> None:
    outcome = debiased(place, "blind")
    library.save(outcome, place.folder / "new.pt")
    ended = fairfix("gate", place.folder / "new.pt", place.test, "--budget", "spd=0.9", "--json")
    assert ended.code == 0, ended.err
    checks = json.loads(ended.out)["checks"]
    gap = next(check for check in checks if check["kind"] == "budget")["value"]
    assert gap == pytest.approx(outcome.test.debiased.gaps["spd"])
    said = "score > 0.4 of the network, without the score model of its rule"
    assert said in fairfix("audit", place.folder / "new.pt", place.test, "--threshold", 0.4).err


def test_a_case_is_scored_by_one_rule(place: Place) -> None:
    outcome = debiased(place, "blind")
    case = library.load(place.model, place.test)
    plain = plain_rule(case)
    again = ruled(ruled(case, plain), outcome.rule)
    assert not torch.equal(again.problem.scores, case.problem.scores)
    modeled = ruled(case, outcome.rule)
    assert ruled(modeled, outcome.rule) is modeled
    with pytest.raises(UsageError, match="load it again"):
        ruled(modeled, plain)


def test_validation_figures_are_of_models_fitted_without_the_row(place: Place) -> None:
    outcome = debiased(place, "blind")
    scores = outcome.result.validation_scores
    assert scores is not None
    assert torch.equal(outcome.validation_rows.scores, scores)
    step = outcome.result.trajectory[outcome.result.chosen]
    assert outcome.validation.debiased.gaps["spd"] == pytest.approx(step.gap)


def break_missing(arrays: Path) -> str:
    arrays.unlink()
    return "does not exist"


def break_changed(arrays: Path) -> str:
    content = bytearray(arrays.read_bytes())
    content[-3] ^= 1
    arrays.write_bytes(bytes(content))
    return "not of one run or were changed"


def break_other(arrays: Path) -> str:
    rule = arrays.with_suffix(".json")
    document = json.loads(rule.read_text())
    document["score_model"]["settings"]["multiplier"] = "x"
    rule.write_text(json.dumps(document))
    return "new.rule.json and new.rule.safetensors do not hold a score model: The setting 'multipl"


@pytest.mark.parametrize("breaking", [break_missing, break_changed, break_other])
@pytest.mark.parametrize("command", ["predict", "audit", "gate"])
def test_a_missing_or_altered_score_model_is_refused(
    place: Place, fairfix: Run, command: str, breaking: object
) -> None:
    """Never the score of the network instead."""
    written = library.save(debiased(place, "blind"), place.folder / "new.pt")
    assert written.arrays is not None
    message = breaking(written.arrays)  # type: ignore[operator]
    before = place.files()
    ended = fairfix(command, written.model, place.test)
    assert ended.code == 2
    assert message in ended.sentence
    assert place.files() == before


def test_the_rule_inside_a_checkpoint_needs_its_arrays(
    place: Place, trained: nn.Sequential
) -> None:
    """A safetensors checkpoint carries its rule; moved away from the arrays, it is refused."""
    model = place.folder / "model.safetensors"
    save_file(trained.state_dict(), model)
    case = library.load(model, place.val, arch="mlp:relu")
    outcome = library.debias(case, "blind", budget=0.1)
    written = library.save(outcome, place.folder / "new.safetensors")
    assert written.model is not None
    predicted = library.predict(written.model, place.test, arch="mlp:relu")
    assert predicted.probabilities is not None
    assert read_rule(written.rule).score_model == outcome.rule.score_model
    (place.folder / "apart").mkdir()
    alone = written.model.rename(place.folder / "apart" / "new.safetensors")
    with pytest.raises(UsageError, match="does not exist"):
        library.predict(alone, place.test, arch="mlp:relu")


def test_columns_are_found_by_their_names(place: Place) -> None:
    written = library.save(debiased(place, "blind"), place.folder / "new.pt")
    table = pd.read_csv(place.test)
    shuffled = place.table(table[sorted(table.columns, reverse=True)])
    before, after = (library.predict(written.model, path) for path in (place.test, shuffled))
    assert np.array_equal(before.scores, after.scores)


def test_a_threshold_of_a_score_model_is_not_folded(place: Place) -> None:
    case = library.load(place.model, place.val)
    with pytest.raises(UsageError, match="cannot be folded"):
        library.debias(case, "blind", fold_threshold=True)
