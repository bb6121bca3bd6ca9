"""A network with one output for each of several labels, of which one is worked on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fairfix
from fairfix.errors import FairfixError
from fairfix.models.scorer import Output, Scorer
from fairfix.models.targets import Targets
from fairfix.thresholds.folding import fold_threshold
from fairfix.thresholds.recalibration import fold_affine
from tests.helpers.runs import Run
from tests.helpers.several_labels import LABELS, WIDTH, network, write
from tests.helpers.toys import biased_problem

HOW: dict[str, Any] = {"privileged": "a", "device": "cpu", "trust": True}


def load(folder: Path, **changes: Any) -> fairfix.Case:
    given = {"label": LABELS, "target": "lung"} | HOW | changes
    return fairfix.load(folder / "model.pt", folder / "rows.csv", **given)


@pytest.mark.parametrize(
    ("kind", "method", "options"),
    [
        ("logit", "thresholds", {}),
        ("prob", "prune", {"max_units": 4}),
        ("logit", "gda", {"epochs": 3, "learning_rate": 0.01}),
        ("prob", "finetune", {"steps": 40}),
        ("logit", "blind", {}),
    ],
)
def test_a_target_gives_the_numbers_of_a_network_with_its_output_alone(
    tmp_path: Path, kind: str, method: str, options: dict[str, Any]
) -> None:
    write(tmp_path, kind)
    alone = fairfix.load(tmp_path / "lung.pt", tmp_path / "rows.lung.csv", label="lung", **HOW)
    found, expected = (
        fairfix.debias(case, method, budget=0.2, subgroups=False, **options)
        for case in (load(tmp_path), alone)
    )
    assert found.test_rows.debiased.tolist() == expected.test_rows.debiased.tolist()
    assert 0 < sum(found.test_rows.debiased.tolist()) < len(found.test_rows.debiased)
    np.testing.assert_allclose(found.test_rows.scores, expected.test_rows.scores, atol=1e-5)
    np.testing.assert_allclose(
        [*found.test.debiased.gaps.values()], [*expected.test.debiased.gaps.values()], atol=1e-5
    )


def test_rows_without_the_label_are_left_out_and_said(tmp_path: Path) -> None:
    write(tmp_path)
    heart, lung = load(tmp_path, target="heart"), load(tmp_path)
    assert len(heart.problem) > len(lung.problem)
    missing = len(heart.problem) - len(lung.problem)
    note = f"label 'lung': {missing} rows without a value are left out for this label"
    assert note in lung.notes
    assert "'lung'" in next(note for note in lung.notes if "is read as" in note)


def test_a_result_for_a_target_is_read_back_without_naming_anything(tmp_path: Path) -> None:
    write(tmp_path)
    outcome = fairfix.debias(load(tmp_path), "prune", budget=0.2, max_units=2)
    written = fairfix.save(outcome, allow_trivial=True)
    rule = json.loads(written.rule.read_text())
    assert rule["targets"] == {"names": list(LABELS), "target": "lung"}
    with torch.no_grad():
        x = fairfix.load(
            tmp_path / "heart.pt", tmp_path / "rows.heart.csv", label="heart", **HOW
        ).problem.inputs
        raw = torch.load(written.model, weights_only=False)(x.flat)
    found = fairfix.predict(written.model, tmp_path / "rows.csv", trust=True, device="cpu")
    np.testing.assert_allclose(found.scores, raw[:, 1].sigmoid(), atol=1e-6)
    unseen = fairfix.load(written.model, tmp_path / "unseen.csv", trust=True, device="cpu")
    assert unseen.targets == Targets(LABELS, "lung")
    assert fairfix.gate(unseen, {"spd": 0.9}).rule.targets == unseen.targets
    other = fairfix.load(written.model, tmp_path / "unseen.csv", target="skin", trust=True)
    with pytest.raises(FairfixError, match=r"rule is for the label 'lung', .* read for 'skin'"):
        fairfix.audit(other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": None}, "names 3 label columns, 'heart', 'lung', 'skin'; choose one"),
        ({"target": "lungs"}, "target lungs is not among the label columns 'heart', 'lung'"),
        ({"label": "lung", "target": "skin"}, "target skin is not the label column 'lung'"),
        (
            {"label": ("heart", "lung"), "ignore": ("skin",)},
            "gives 3 outputs a row, but 2 label columns",
        ),
        (
            {"label": "heart", "target": None, "ignore": ("lung", "skin")},
            "or the label column of each output with label",
        ),
        ({"classes": ("a", "b", "c")}, "classes names the values of one label"),
        ({"label": ("heart", "lung", "skin", "heart")}, "named as label column|repeat"),
        ({"label": ("heart", "lung", "eye")}, "has no column 'eye' \\(label column\\)"),
    ],
)
def test_what_does_not_fit_several_labels_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write(tmp_path)
    with pytest.raises(FairfixError, match=message):
        load(tmp_path, **changes)


@pytest.mark.parametrize("kind", [Output.LOGIT, Output.PROB])
def test_folding_and_recalibration_change_the_output_of_the_target_alone(kind: Output) -> None:
    module = network("prob" if kind is Output.PROB else "logit")
    scorer = Scorer(module, kind, targets=Targets(LABELS, "lung"))
    x = torch.randn(200, WIDTH)
    problem = biased_problem(scorer, x)
    folded = fold_threshold(scorer, 0.6, problem)
    affine = fold_affine(scorer, 1.5, 0.25)
    assert affine is not None
    assert torch.equal(folded.score(problem.inputs) > 0.5, scorer.score(problem.inputs) > 0.6)
    expected = torch.sigmoid(1.5 * scorer.score(problem.inputs).logit() + 0.25)
    torch.testing.assert_close(affine.score(problem.inputs), expected, atol=1e-6, rtol=0)
    for changed in (folded, affine):
        assert torch.equal(changed.network(x)[:, [0, 2]], module(x)[:, [0, 2]])


def test_all_labels_from_python_have_the_figures_of_the_command(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run: Run = request.getfixturevalue("fairfix")
    write(tmp_path)
    unseen = tmp_path / "unseen.csv"
    given = ("--label", ",".join(LABELS), "--privileged", "a", "--device", "cpu")
    ended = run(
        *("finetune", tmp_path / "model.pt", tmp_path / "rows.csv", *given, "--trust-checkpoint"),
        *("--steps", "6", "--budget", "0.2", "--test", unseen, "--no-subgroups", "--json"),
        *("--allow-trivial", "-o", tmp_path / "command.pt"),
    )
    assert ended.code == 0, ended.err
    expected = json.loads(ended.out)
    outcomes = fairfix.debias_labels(
        load(tmp_path), "finetune", budget=0.2, test=unseen, subgroups=False, steps=6
    )
    assert tuple(outcomes) == LABELS
    found = outcomes.to_dict()
    assert found == {key: value for key, value in expected.items() if key != "reports"}
    files = outcomes.save(tmp_path / "python.pt", allow_trivial=True)
    assert files.labels.is_file()
    by_file, by_python = (
        torch.load(tmp_path / f"{name}.pt", weights_only=False).state_dict()
        for name in ("command", "python")
    )
    for key, value in by_file.items():
        assert torch.equal(value, by_python[key])


def test_one_label_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    case = fairfix.load(tmp_path / "lung.pt", tmp_path / "rows.lung.csv", label="lung", **HOW)
    with pytest.raises(FairfixError, match="was read for one label"):
        fairfix.debias_labels(case, "prune")
