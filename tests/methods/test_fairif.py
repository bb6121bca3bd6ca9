"""FairIF: reweighted training rows, its control, and training from new weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fairfix import metrics
from fairfix.data.problem import Problem
from fairfix.errors import TableError, UsageError
from fairfix.methods import Result, get
from fairfix.methods import fairif as fairif_module
from fairfix.methods._reinitialization import reinitialize
from fairfix.methods._search import CandidateSearch
from fairfix.methods._soft_gap import soft_gap
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.parameter_names import last_layers
from fairfix.models.scorer import Output, Scorer
from tests.helpers import zoo
from tests.helpers.toys import biased_problem, with_training_rows

OBJECTIVE = Objective(metrics.get("spd"), kind="tradeoff")


def problem_of(name: str = "modules", *, groups: bool = False) -> Problem:
    """Validation rows with training rows, by default without groups."""
    scorer = zoo.scorer(name)
    rows = biased_problem(scorer, zoo.features(300, 7), seed=1, weighted=True)
    return with_training_rows(biased_problem(scorer, zoo.features(200)), rows, groups=groups)


def run(problem: Problem, **options: Any) -> Result:
    quick = {"epochs": 2, "minibatch": 64, "learning_rate": 0.01}
    return get("fairif").run(problem, OBJECTIVE, **{**quick, **options})


class LastCandidate(CandidateSearch):
    """A search that keeps the last candidate."""

    def add(self, *args: Any) -> Any:
        self._best_utility = -math.inf
        return super().add(*args)


def run_to_the_end(problem: Problem, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Result:
    with monkeypatch.context() as patch:
        patch.setattr(fairif_module, "CandidateSearch", LastCandidate)
        return run(problem, **options)


def test_it_needs_training_rows_but_not_their_groups() -> None:
    problem = biased_problem(zoo.scorer("modules"), zoo.features(120))
    with pytest.raises(TableError, match="add them with --train FILE"):
        run(problem)
    without, with_groups = run(problem_of()), run(problem_of(groups=True))
    assert without.trajectory == with_groups.trajectory


@pytest.mark.parametrize("decisions", ["score", "gumbel"])
@pytest.mark.parametrize("gauss_newton", [False, True])
def test_weights_close_the_gaps_to_first_order(decisions: str, gauss_newton: bool) -> None:
    options = {"decisions": decisions, "gauss_newton": gauss_newton, "gaps": "eod,fprd"}
    found = run(problem_of(), **options).reweighting
    assert found is not None
    assert [gap.metric for gap in found.gaps] == ["eod", "fprd"]
    for gap in found.gaps:
        assert abs(gap.predicted) < 0.3 * abs(gap.before)
        assert gap.residual <= fairif_module.TOLERANCE
    assert len(found.factors) == 300
    assert float(found.factors.min()) >= 0
    assert 0 <= found.clipped < 0.5


def test_the_realized_gap_is_that_of_the_network_returned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = problem_of()
    result = run_to_the_end(problem, monkeypatch)
    assert result.reweighting is not None
    assert result.state is not None
    scores = problem.score(result.state)
    gap = float(soft_gap(OBJECTIVE.metric, scores, problem.cells))
    assert result.reweighting.gaps[0].realized == pytest.approx(gap)
    before = float(soft_gap(OBJECTIVE.metric, problem.scores, problem.cells))
    assert result.reweighting.gaps[0].before == pytest.approx(before)


def test_the_control_trains_in_the_same_way_with_the_weights_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Factors of 1 make it the same run."""
    control = run(problem_of(), unweighted=True)
    assert control.reweighting is None
    monkeypatch.setattr(fairif_module, "weight_factors", torch.ones_like)
    same = run(problem_of())
    assert same.trajectory == control.trajectory
    monkeypatch.undo()
    assert run(problem_of()).trajectory != control.trajectory


def test_a_ridge_keeps_the_weights_together() -> None:
    spread = []
    for ridge in (0.1, 100.0, 1e6):
        found = run(problem_of(), ridge=ridge).reweighting
        assert found is not None
        spread.append(float(found.factors.std()))
    assert spread[0] > spread[1] > spread[2]


def changed_layers(problem: Problem, result: Result) -> set[str]:
    assert problem.scorer is not None
    assert result.state is not None
    before = problem.scorer.network.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, result.state[name])}


def test_beyond_a_size_the_last_layers_alone_are_trained_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fairif_module, "MOST_PARAMETERS", 10)
    problem = problem_of()
    result = run_to_the_end(problem, monkeypatch)
    assert "a large network: only its last layers 4 are considered" in result.notes
    assert changed_layers(problem, result) == {"4.weight", "4.bias"}
    assert result.reweighting is not None
    assert result.reweighting.parameters < 20
    chosen = run_to_the_end(problem, monkeypatch, layers="2,4")
    assert changed_layers(problem, chosen) == {"2.weight", "2.bias", "4.weight", "4.bias"}


def test_last_layers_fit_the_size_but_for_the_last_one() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2), nn.Linear(2, 1))
    assert [last_layers(network, most) for most in (1, 3, 11, 25, 26)] == [
        "3", "3", "2,3", "2,3", "",
    ]  # fmt: skip


def test_retraining_starts_from_new_weights_that_follow_the_seed() -> None:
    problem = problem_of("BatchNorm before")
    options = {"retrain": True, "epochs": 1, "learning_rate": 1e-9}
    trained = [run(problem, seed=seed, **options) for seed in (0, 0, 1)]
    assert trained[0].trajectory == trained[1].trajectory != trained[2].trajectory
    assert problem.scorer is not None
    step = trained[0].trajectory[1]
    assert step != trained[0].trajectory[0]


def test_a_layer_that_cannot_be_initialized_again_is_refused_by_name() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

    network = nn.Sequential(nn.Linear(3, 1), Own())
    before = network[0].weight.detach().clone()  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="layer '1' cannot be initialized again: Own has no"):
        reinitialize(network)
    assert torch.equal(network[0].weight, before)  # type: ignore[arg-type]


def test_it_runs_on_images_and_attention() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.out = nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            attended, _ = self.attention(x, x, x, need_weights=False)
            result: Tensor = self.out(attended.mean(1))
            return result

    torch.manual_seed(0)
    scorer = Scorer(Attention().eval(), Output.LOGIT)
    inputs = Inputs.of(torch.randn(80, 3, 4))
    scores = scorer.score(inputs)
    groups = (torch.arange(80) % 2).long()
    labels = (scores + 0.1 * torch.randn(80) + 0.05 * groups > scores.median()).long()
    problem = Problem(scores, labels, groups, ("a", "b"), scorer, inputs)
    found = run(with_training_rows(problem, problem)).reweighting
    assert found is not None
    assert abs(found.gaps[0].predicted) < abs(found.gaps[0].before)
