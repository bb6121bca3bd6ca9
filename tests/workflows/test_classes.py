"""Networks with more than two outputs: one column of labels, whose values are the classes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import fairfix
from fairfix.errors import CheckpointError, FairfixError
from fairfix.models.classes import Classes
from fairfix.models.scorer import Output, Scorer
from fairfix.thresholds.folding import fold_threshold
from fairfix.workflows.case import load as load_case
from fairfix.workflows.model_options import ModelOptions
from tests.helpers.toys import biased_problem

NAMES = ("deny", "grant", "refer")
FAVORABLE = ("grant", "refer")
ROWS, WIDTH = 400, 4


def network(kind: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, len(NAMES))]
    return nn.Sequential(*layers, *([nn.Softmax(1)] if kind == "prob" else [])).eval()


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def expected_scores(module: nn.Module, x: np.ndarray) -> np.ndarray:
    """P(grant) + P(refer) in double precision, from the layers."""
    first, last = module[0], module[2]  # type: ignore[index]
    w1, b1, w2, b2 = (
        p.detach().double().numpy() for p in (first.weight, first.bias, last.weight, last.bias)
    )
    return np.asarray(softmax(np.maximum(x @ w1.T + b1, 0) @ w2.T + b2)[:, 1:].sum(1))


def files(folder: Path, kind: str = "logit") -> tuple[Path, Path, np.ndarray, nn.Module]:
    """Write a network, the table ``rows.csv`` and one of other rows; return what was written."""
    rng = np.random.default_rng(3)
    module = network(kind)
    for name in ("unseen.csv", "rows.csv"):
        x = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
        group = np.where(rng.random(ROWS) < 0.5, "a", "b")
        x[:, 0] += group == "a"
        with torch.no_grad():
            raw = 3 * module(torch.from_numpy(x)).numpy()
        table = pd.DataFrame(x, columns=[f"x{i}" for i in range(WIDTH)])
        table["decision"] = np.array(NAMES)[(raw + rng.gumbel(size=raw.shape)).argmax(1)]
        table["group"] = group
        table.to_csv(folder / name, index=False)
    torch.save(module, folder / "model.pt")
    return folder / "model.pt", folder / "rows.csv", x, module


def load(model: Path, data: Path, **changes: Any) -> fairfix.Case:
    how: dict[str, Any] = {
        "label": "decision",
        "favorable": FAVORABLE,
        "classes": NAMES,
        "privileged": "a",
        "device": "cpu",
        "trust": True,
    }
    return fairfix.load(model, data, **{**how, **changes})


@pytest.mark.parametrize("kind", ["logit", "prob"])
def test_the_score_is_the_probability_of_the_favorable_classes(tmp_path: Path, kind: str) -> None:
    model, data, x, module = files(tmp_path, kind)
    case = load(model, data)
    expected = expected_scores(module, x.astype(np.float64))
    np.testing.assert_allclose(case.problem.scores.numpy(), expected, atol=1e-6)
    labels = pd.read_csv(data)["decision"].isin(FAVORABLE)
    assert case.problem.labels.tolist() == labels.astype(int).tolist()
    assert case.table.favorable == "grant,refer"
    assert case.classes == Classes(NAMES, (1, 2))
    assert case.output == kind


def test_the_order_of_favorable_values_does_not_matter(tmp_path: Path) -> None:
    model, data, *_ = files(tmp_path)
    one, other = load(model, data), load(model, data, favorable="refer, grant")
    assert one.table.favorable == other.table.favorable
    assert torch.equal(one.problem.scores, other.problem.scores)


@pytest.mark.parametrize("kind", [Output.LOGIT, Output.PROB])
def test_logits_of_large_outputs_are_exact_and_probabilities_at_most_one(kind: Output) -> None:
    classes = Classes(NAMES, (0, 2))
    raw = torch.tensor([[300.0, -300.0, 2.0], [-300.0, 300.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(classes.logit(raw), [600, -300, np.log(2)], rtol=1e-6)
    above = torch.tensor([[0.6, 0.0, 0.40001]])
    assert classes.probability(above).item() == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": None}, "label values in the order of the outputs with "),
        ({"classes": ("deny", "grant", "other")}, "value 'refer', which is not among the classes"),
        ({"classes": (*NAMES, "late")}, "gives 3 outputs a row, but 4 classes are named"),
        ({"classes": (*NAMES, "deny")}, "fewer than three or repeat"),
        ({"favorable": NAMES}, "all of them are named favorable"),
        ({"favorable": ("grant", "refused")}, "has no value 'grant,refused'"),
        ({"output_label": "grant"}, "is for networks with one or two outputs"),
    ],
)
def test_what_is_not_known_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    model, data, *_ = files(tmp_path)
    with pytest.raises(FairfixError, match=message):
        load(model, data, **changes)


def test_classes_are_refused_for_a_network_with_two_outputs(tmp_path: Path) -> None:
    _, data, *_ = files(tmp_path)
    two = tmp_path / "two.pt"
    torch.save(nn.Sequential(nn.Linear(WIDTH, 2)).eval(), two)
    with pytest.raises(CheckpointError, match="gives 2 outputs a row, but 3 classes"):
        load(two, data)


@pytest.mark.parametrize(
    ("method", "options"),
    [("thresholds", {}), ("prune", {}), ("finetune", {}), ("perturb", {"trials": 5})],
)
def test_a_result_is_read_back_without_naming_anything(
    tmp_path: Path, method: str, options: dict[str, Any]
) -> None:
    model, data, x, _ = files(tmp_path)
    outcome = fairfix.debias(load(model, data), method, metric="spd", budget=0.1, **options)
    written = fairfix.save(outcome, allow_trivial=True)
    rule = json.loads(written.rule.read_text())
    assert rule["classes"] == {"names": list(NAMES), "favorable": list(FAVORABLE)}
    assert (rule["positive_label"], rule["output"]) == ("grant,refer", "logit")

    with torch.no_grad():
        raw = torch.load(written.model, weights_only=False)(torch.from_numpy(x)).double().numpy()
    expected = softmax(raw)[:, 1:].sum(1)
    found = fairfix.predict(written.model, data, trust=True, device="cpu")
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)
    case = fairfix.load(written.model, data, trust=True, device="cpu")
    np.testing.assert_allclose(case.problem.scores.numpy(), expected, atol=1e-6)
    assert case.classes == Classes(NAMES, (1, 2))
    assert fairfix.audit(case).groups
    unseen = fairfix.load(written.model, tmp_path / "unseen.csv", trust=True, device="cpu")
    assert fairfix.gate(unseen, {"spd": 0.9}).rule.classes == case.classes


@pytest.mark.parametrize("kind", ["logit", "prob"])
def test_an_export_gives_one_output_that_decides_at_half(tmp_path: Path, kind: str) -> None:
    model, data, x, _ = files(tmp_path, kind)
    case = load(model, data, threshold=0.7)
    outcome = fairfix.debias(case, "identity", metric="spd", budget=0.1)
    fairfix.save(outcome, allow_trivial=True, export=tmp_path / "program.pt2")
    program = torch.export.load(tmp_path / "program.pt2").module()
    raw = program(torch.from_numpy(x))
    assert raw.shape == (ROWS,)
    decisions = raw > (0 if kind == "logit" else 0.5)
    assert torch.equal(decisions, case.problem.scores > outcome.rule.threshold)
    assert 0 < decisions.sum() < ROWS


@pytest.mark.parametrize("kind", [Output.LOGIT, Output.PROB])
def test_folding_shifts_the_biases_of_the_favorable_classes(kind: Output) -> None:
    module = network("prob" if kind is Output.PROB else "logit")
    scorer = Scorer(module, kind, classes=Classes(NAMES, (0, 2)))
    problem = biased_problem(scorer, torch.randn(200, WIDTH))
    folded = fold_threshold(scorer, 0.7, problem)
    before, after = (s.network.state_dict()["2.bias"] for s in (scorer, folded))
    shift = float(np.log(0.3 / 0.7))
    np.testing.assert_allclose(after - before, [shift, 0, shift], atol=1e-6)
    assert torch.equal(folded.score(problem.inputs) > 0.5, scorer.score(problem.inputs) > 0.7)


@pytest.mark.parametrize(
    "config",
    [
        {"id2label": {str(place): name for place, name in enumerate(NAMES)}},
        {"architecture": "resnet18", "pretrained_cfg": {}, "label_names": list(NAMES)},
        {"architecture": "resnet18", "pretrained_cfg": {"label_names": list(NAMES)}},
    ],
)
def test_names_in_the_configuration_are_the_classes(
    config: dict[str, object], tmp_path: Path
) -> None:
    model, data, *_ = files(tmp_path)
    named = load(model, data)
    checkpoint = named.checkpoint
    assert checkpoint is not None
    stored = replace(checkpoint, metadata={**checkpoint.metadata, "config": config})
    options = ModelOptions(device="cpu", trust=True)
    case = load_case(stored, data, columns=named.columns, options=options)
    assert case.classes == named.classes
    assert torch.equal(case.problem.scores, named.problem.scores)
