"""Weight attribution against finite differences and draws made by hand."""

from __future__ import annotations

import base64
import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import r2_score
from typer.testing import CliRunner

from fairfix.bench import weight_attribution
from fairfix.bench.attribution_summary import singular_values, summarize_attributions
from fairfix.bench.weight_attribution import WeightAttribution, attribute_gap
from fairfix.cli.app import app
from fairfix.data.problem import Problem
from fairfix.data.table import Columns
from fairfix.errors import FairfixError, UsageError
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.models.inputs import Inputs
from fairfix.workflows.case import load
from fairfix.workflows.model_options import ModelOptions
from tests.helpers.paths import ROOT

LOH = ROOT / "sample_models" / "loh"
SPD = METRICS["spd"]
DRAWS = 120


@pytest.fixture(scope="module")
def problem() -> Problem:
    case = load(
        LOH / "model.pt",
        LOH / "val.csv",
        columns=Columns(privileged="1"),
        options=ModelOptions(arch="mlp:relu-bn", device="cpu"),
    )
    return case.problem.take(torch.arange(1500))


@pytest.fixture(scope="module")
def attribution(problem: Problem) -> WeightAttribution:
    return attribute_gap(problem, SPD, draws=DRAWS, seed=3)


def soft_gap(problem: Problem, network: torch.nn.Module) -> float:
    """Return the difference of the groups' mean scores."""
    with torch.no_grad():
        scores = network(problem.features).reshape(-1).double().sigmoid()
    return float(scores[problem.groups == 0].mean() - scores[problem.groups == 1].mean())


def test_a_coefficient_is_the_derivative_of_the_gap(
    problem: Problem, attribution: WeightAttribution
) -> None:
    """Central differences in double precision, for the most influential weights and others."""
    assert problem.scorer is not None
    assert problem.features is not None
    network = copy.deepcopy(problem.scorer.network).double()
    rows = copy.copy(problem)
    object.__setattr__(rows, "inputs", Inputs.of(problem.features.double()))
    parameters = dict(network.named_parameters())
    assert attribution.gap == pytest.approx(soft_gap(rows, network), abs=1e-6)
    flat = [(name, i) for name, p in parameters.items() for i in range(p.numel())]
    largest = np.argsort(-np.abs(attribution.coefficients))[:10]
    for at in [*largest, *range(0, len(flat), 301)]:
        name, i = flat[at]
        weight = parameters[name].detach().view(-1)
        before, step = float(weight[i]), 1e-4
        ends = []
        for factor in (1 + step, 1 - step):
            weight[i] = before * factor
            ends.append(soft_gap(rows, network))
        weight[i] = before
        assert attribution.coefficients[at] == pytest.approx(
            (ends[0] - ends[1]) / (2 * step), rel=1e-2, abs=1e-6
        )


def test_r2_is_that_of_draws_made_by_hand(problem: Problem, attribution: WeightAttribution) -> None:
    assert problem.scorer is not None
    network = copy.deepcopy(problem.scorer.network)
    base = {name: p.detach().clone() for name, p in network.named_parameters()}
    generator = np.random.default_rng(0)
    gaps, predicted = [], []
    for _ in range(200):
        factors = {name: generator.normal(0, 0.1, p.shape) for name, p in base.items()}
        with torch.no_grad():
            for name, p in network.named_parameters():
                p.copy_(base[name] * (1 + torch.from_numpy(factors[name]).float()))
        gaps.append(soft_gap(problem, network))
        flat = np.concatenate([factors[name].ravel() for name in base])
        predicted.append(attribution.gap + flat @ attribution.coefficients)
    assert attribution.r2 == pytest.approx(r2_score(gaps, predicted), abs=0.02)
    assert attribution.spread == pytest.approx(np.std(gaps), rel=0.25)
    assert 0.9 < attribution.r2 < 1
    assert 0.3 < attribution.r2_of_decisions < attribution.r2
    assert attribution.r2_of_fit < attribution.r2


def test_shares_add_up(attribution: WeightAttribution) -> None:
    shares = attribution.by_parameter()
    assert sum(shares.values()) == pytest.approx(1)
    squares = attribution.coefficients**2
    first, size = next((name, math.prod(shape)) for name, shape in attribution.shapes.items())
    assert shares[first] == pytest.approx(squares[:size].sum() / squares.sum())
    assert attribution.share_of_largest(len(squares)) == pytest.approx(1)
    assert attribution.share_of_largest(1) == pytest.approx(squares.max() / squares.sum())


def test_the_largest_weights_have_parameter_and_index(attribution: WeightAttribution) -> None:
    ends = np.cumsum([math.prod(shape) for shape in attribution.shapes.values()])
    parts = np.split(attribution.coefficients, ends[:-1])
    blocks = dict(zip(attribution.shapes, parts, strict=True))
    largest = attribution.largest(5)
    assert [abs(w.coefficient) for w in largest] == sorted(np.abs(attribution.coefficients))[:-6:-1]
    for weight in largest:
        block = blocks[weight.parameter].reshape(attribution.shapes[weight.parameter])
        assert block[weight.index] == weight.coefficient


def test_the_network_is_unchanged_and_equal_seeds_agree(
    problem: Problem, attribution: WeightAttribution
) -> None:
    assert problem.scorer is not None
    state = {key: value.clone() for key, value in problem.scorer.weights().items()}
    torch.manual_seed(11)
    before = torch.get_rng_state()
    again = attribute_gap(problem, SPD, draws=DRAWS, seed=3)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(state[key], value) for key, value in problem.scorer.weights().items())
    assert np.array_equal(again.coefficients, attribution.coefficients)
    assert (again.r2, again.r2_of_fit) == (attribution.r2, attribution.r2_of_fit)
    assert attribute_gap(problem, SPD, draws=DRAWS, seed=4).r2 != attribution.r2


def test_a_network_without_batched_scoring_gives_the_same(
    problem: Problem, attribution: WeightAttribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_attribution, "batch_scorer", lambda *_: None)
    one_by_one = attribute_gap(problem, SPD, draws=DRAWS, seed=3)
    assert one_by_one.r2 == pytest.approx(attribution.r2, abs=1e-4)
    assert one_by_one.r2_of_decisions == pytest.approx(attribution.r2_of_decisions, abs=0.01)


@pytest.mark.parametrize("options", [{"draws": 49}, {"sd": 0.0}, {"sd": math.inf}])
def test_too_few_draws_and_a_zero_deviation_are_refused(
    problem: Problem, options: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match="at least 50 draws"):
        attribute_gap(problem, SPD, **options)


def test_scores_without_a_network_are_refused(problem: Problem) -> None:
    alone = Problem(problem.scores, problem.labels, problem.groups, problem.group_names)
    with pytest.raises(FairfixError, match="scores have no weights"):
        attribute_gap(alone, SPD)


def test_singular_values_show_shared_directions() -> None:
    same = np.array([3.0, 4.0, 0.0])
    assert singular_values([same, 2 * same]) == pytest.approx((math.sqrt(2), 0), abs=1e-12)
    assert singular_values([*np.eye(3)]) == pytest.approx((1, 1, 1))
    assert singular_values([same]) == ()
    assert singular_values([same, np.zeros(3)]) == ()
    assert singular_values([same, np.ones(2)]) == ()


def test_a_study_with_attribution_agrees_with_the_library(tmp_path: Path) -> None:
    arguments = ["bench", str(LOH / "model.pt"), str(LOH / "val.csv"), "--methods", "identity"]
    arguments += ["--seeds", "2", "--jobs", "1", "--attribution", "-o", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    assert "Which weights carry the gap" in result.stdout
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    measured = [row for row in rows if row["status"] == "measured"]
    assert len(measured) == 2
    assert len(rows) == 6
    (line,) = summarize_attributions(rows)
    listed = pd.read_csv(tmp_path / "attribution.csv").to_dict("records")
    assert listed == [pytest.approx(line.flat())]
    (vector, _) = (
        np.frombuffer(base64.b64decode(row["attribution"]["coefficients"]), "<f4")
        for row in measured
    )
    assert line.weights == len(vector)
    assert line.r2.mean == pytest.approx(np.mean([r["attribution"]["r2"] for r in measured]))
    # The same network on other rows: both vectors point in the same direction.
    assert line.singular_range[1] == pytest.approx(math.sqrt(2), abs=0.01)
    repeated = CliRunner().invoke(app, [*arguments, "--json"])
    assert "6 of 6 cells are done already" in repeated.stderr
    assert json.loads(repeated.stdout)["attribution"] == [pytest.approx(line.flat())]
    assert "Weight attribution" in (tmp_path / "report.html").read_text()
