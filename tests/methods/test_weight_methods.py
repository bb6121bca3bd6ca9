"""What the methods that change weights do to them, seen in every candidate they offer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fairfix.data.problem import Problem
from fairfix.data.splitting import holdout
from fairfix.errors import CheckpointError, UsageError
from fairfix.methods import _shared_network, get
from fairfix.methods import adversarial as adversarial_module
from fairfix.methods._quantile_trees import QuantileTrees, TreeOptimizer
from fairfix.methods._result import Result
from fairfix.methods._search import CandidateSearch
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.models.activations import LayerInput
from fairfix.models.inputs import Batch, Inputs
from fairfix.models.scorer import Output, Scorer
from fairfix.thresholds.shared import best_threshold
from tests.helpers import zoo
from tests.helpers.toys import biased_problem

State = dict[str, Tensor]
OBJECTIVE = Objective(margin=0.01)
Run = Callable[..., tuple[Result, list[State]]]


def problem_of(name: str = "modules", n: int = 120) -> Problem:
    return biased_problem(zoo.scorer(name), zoo.features(n))


def original(problem: Problem) -> State:
    assert problem.scorer is not None
    return problem.scorer.network.state_dict()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a method; the result, and the state of each candidate in order."""

    def watched(method: str, problem: Problem, **options: Any) -> tuple[Result, list[State]]:
        states: list[State] = []

        class Watched(CandidateSearch):
            def add(self, scores: Tensor, state: Callable[[], State | None], *more: Any) -> Any:
                now = state()
                if now is not None:
                    states.append(now)
                return super().add(scores, state, *more)

        function = get(method).load()
        for names in (function.__globals__, vars(_shared_network)):
            monkeypatch.setitem(names, "CandidateSearch", Watched)
        if "batch_scorer" in function.__globals__:  # then not every candidate would be added
            monkeypatch.setitem(function.__globals__, "batch_scorer", lambda *_: None)
        return function(problem, OBJECTIVE, **options), states

    return watched


def changed(before: State, after: State) -> dict[str, Tensor]:
    """Which entries of which parameters differ."""
    differ = {name: after[name] != value for name, value in before.items()}
    return {name: entries for name, entries in differ.items() if bool(entries.any())}


# Random perturbation


def test_perturb_multiplies_the_original_weights(run: Run) -> None:
    """Of all weights and draws, early and late ones: mean 1 and the sd asked for, uncorrelated."""
    problem = problem_of()
    before = original(problem)
    _, states = run("perturb", problem, trials=200, sd=0.2)
    factors = torch.stack(
        [torch.cat([(state[n] / before[n]).flatten() for n in before]) for state in states]
    ).numpy()
    assert factors.shape == (200, sum(p.numel() for p in before.values()))
    for part in (factors[:50], factors[-50:]):
        assert part.mean() == pytest.approx(1, abs=0.01)
        assert part.std() == pytest.approx(0.2, rel=0.03)
    assert factors.mean(0) == pytest.approx(1, abs=5 * 0.2 / math.sqrt(200))
    skew = ((factors - 1) ** 3).mean() / 0.2**3
    kurtosis = ((factors - 1) ** 4).mean() / 0.2**4
    assert (skew, kurtosis) == pytest.approx((0, 3), abs=0.15)
    assert abs(np.corrcoef(factors[:-1].ravel(), factors[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(factors[:, :-1].ravel(), factors[:, 1:].ravel())[0, 1]) < 0.02


def test_draws_of_perturb_do_not_depend_on_how_many_there_are() -> None:
    perturb = get("perturb").load()
    problem = problem_of()
    many = perturb(problem, OBJECTIVE, trials=9, seed=4)
    few = perturb(problem, OBJECTIVE, trials=4, seed=4)
    for one, same in zip(few.trajectory, many.trajectory[:5], strict=True):
        assert astuple(one) == pytest.approx(astuple(same), abs=1e-5)
    other = perturb(problem, OBJECTIVE, trials=4, seed=5)
    assert other.trajectory[1:] != few.trajectory[1:]


@pytest.mark.parametrize("options", [{"sd": 0.0, "trials": 5}, {"trials": 0}])
def test_perturb_by_nothing_keeps_the_untouched_network(options: dict[str, Any]) -> None:
    result = get("perturb").run(problem_of(), OBJECTIVE, **options)
    assert (result.state, result.chosen) == (None, 0)
    assert {step.utility for step in result.trajectory} == {result.trajectory[0].utility}


def test_perturb_leaves_other_layers_and_statistics_alone(run: Run) -> None:
    problem = problem_of("BatchNorm before")
    before = original(problem)
    for layers, expected in (
        ("0", {"0.weight", "0.bias"}),
        ("3.weight, 6", {"3.weight", "6.weight", "6.bias"}),
        ("", {name for name in before if "running" not in name and "num_batches" not in name}),
    ):
        _, states = run("perturb", problem, trials=2, layers=layers)
        assert [set(changed(before, state)) for state in states] == [expected] * 2


def test_perturb_keeps_zeros(run: Run) -> None:
    problem = problem_of()
    assert problem.scorer is not None
    problem.scorer.network.get_parameter("0.bias").data.zero_()
    _, states = run("perturb", problem, trials=3)
    assert all(not bool(state["0.bias"].any()) for state in states)


@pytest.mark.parametrize("method", ["finetune", "gda", "perturb", "layerwise"])
def test_an_unknown_layer_is_refused(method: str) -> None:
    with pytest.raises(UsageError, match="no layer '1'; layers: 0, 2, 4"):
        get(method).run(problem_of(), OBJECTIVE, layers="0,1")


@pytest.mark.parametrize(
    ("method", "options"), [("gda", {"epochs": 2}), ("perturb", {"trials": 2})]
)
@pytest.mark.parametrize(("layers", "own"), [("head", {"4"}), ("[02]", {"0", "2"})])
def test_only_layers_that_match_change(
    method: str, options: dict[str, Any], layers: str, own: set[str], run: Run
) -> None:
    problem = problem_of()
    _, states = run(method, problem, layers=layers, **options)
    before = original(problem)
    assert [{layer_of(n) for n in changed(before, state)} for state in states] == [own] * 2


# Layer-wise optimization


def layer_of(parameter: str) -> str:
    return parameter.rpartition(".")[0]


@pytest.mark.parametrize("name", ["modules", "conv2d", "BatchNorm behind"])
def test_layerwise_moves_few_entries_of_one_layer_not_far(name: str, run: Run) -> None:
    """At most 4, each at most 2.2 standard deviations of the tensor it is in."""
    problem = problem_of(name)
    before = original(problem)
    _, states = run("layerwise", problem, calls=4, dims=4)
    layers = []
    for state in states:
        entries = changed(before, state)
        (layer,) = {layer_of(parameter) for parameter in entries}
        layers.append(layer)
        assert sum(int(where.sum()) for where in entries.values()) <= 4
        for parameter, where in entries.items():
            spread = before[parameter].std(unbiased=False)
            moved = (state[parameter] - before[parameter])[where].abs()
            if spread > 0:
                assert float(moved.max()) <= 2.2 * float(spread) * 1.00001
    last_first = list(dict.fromkeys(layer_of(n) for n in before if "running" not in n))[::-1]
    assert list(dict.fromkeys(layers)) == last_first
    assert all(layers.count(layer) == 4 for layer in last_first)


def test_layerwise_moves_entries_that_have_no_spread(run: Run) -> None:
    """Equal ones by their size, zeros by 1."""
    problem = problem_of()
    assert problem.scorer is not None
    bias = problem.scorer.network.get_parameter("4.bias").data
    for value, reach in ((-0.5, 1.1), (0.0, 2.2)):
        bias.fill_(value)
        _, states = run("layerwise", problem, layers="4.bias", calls=12)
        moved = [abs(float(state["4.bias"]) - value) for state in states]
        assert 0.5 * reach < max(moved) <= reach * 1.00001


@pytest.mark.parametrize("seed", range(2))
def test_layerwise_keeps_one_changed_layer_unless_greedy(seed: int, run: Run) -> None:
    problem = problem_of()
    before = original(problem)
    result, states = run("layerwise", problem, calls=6, dims=6, seed=seed)
    assert result.state is not None
    assert len({layer_of(n) for n in changed(before, result.state)}) == 1
    greedy, its_states = run("layerwise", problem, calls=6, dims=6, seed=seed, greedy=True)
    for alone, also in zip(states[:6], its_states[:6], strict=True):
        assert not changed(alone, also)
    best_of_first = max(range(7), key=lambda i: greedy.trajectory[i].utility)
    for state in its_states[6:12]:  # the second layer, on top of the best of the first
        if best_of_first == 0:
            assert torch.equal(state["4.weight"], before["4.weight"])
        else:
            assert torch.equal(state["4.weight"], its_states[best_of_first - 1]["4.weight"])
    assert greedy.trajectory[greedy.chosen].utility == max(s.utility for s in greedy.trajectory)


def test_layerwise_scores_what_it_offers(run: Run) -> None:
    """Replayed passes are the network's own: the path by plain passes of every candidate."""
    problem = problem_of("residual")
    result, states = run("layerwise", problem, calls=4, dims=5, space="subspace")
    scorer, features = problem.network()
    for state, step in zip(states, result.trajectory[1:], strict=True):
        scorer.network.load_state_dict(state)
        search = CandidateSearch(
            replace(problem, scores=scorer.score(features)), OBJECTIVE, in_sample=True
        )
        assert search.best == replace(step, index=0)


def test_layerwise_in_a_subspace_of_a_wide_layer(run: Run) -> None:
    """All of 262,656 entries move, within a few directions, by what a subset would at most."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(16, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU())
        network.append(nn.Linear(512, 1))
    problem = biased_problem(Scorer(network.eval(), Output.LOGIT), zoo.features(60))
    before = original(problem)
    _, states = run("layerwise", problem, layers="2", calls=10, dims=4, space="subspace")
    moves = torch.stack(
        [torch.cat([(s[n] - before[n]).flatten() for n in ("2.weight", "2.bias")]) for s in states]
    )
    assert set(changed(before, states[0])) == {"2.weight", "2.bias"}
    assert float((moves[0] != 0).double().mean()) > 0.99
    assert int(torch.linalg.matrix_rank(moves.double(), rtol=1e-4)) == 4
    spread = float(before["2.weight"].std())
    assert 0.1 < float(moves.std()) / (2.2 * spread) < 1


def test_layerwise_without_calls_keeps_the_untouched_network() -> None:
    result = get("layerwise").run(problem_of(), OBJECTIVE, calls=0)
    assert (result.state, len(result.trajectory)) == (None, 1)


def test_quantile_trees_know_median_and_spread() -> None:
    """Noise of 0.2 on the left and 1 on the right, around a step."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (600, 2))
    right = x[:, 0] > 0
    y = 3.0 * right + rng.normal(size=600) * np.where(right, 1.0, 0.2)
    trees = QuantileTrees(random_state=0).fit(x, y)
    median, half = trees.predict(x, return_std=True)
    assert [median[~right].mean(), median[right].mean()] == pytest.approx([0, 3], abs=0.3)
    assert half[~right].mean() < 0.5 < 0.8 < half[right].mean() < 1.2
    assert np.array_equal(trees.predict(x), median)
    assert np.mean(abs(y - median) < half) == pytest.approx(0.68, abs=0.08)


def test_quantile_trees_are_seeded() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-1, 1, (60, 3)), rng.normal(size=60)
    first, again = (QuantileTrees(random_state=3).fit(x, y).predict(x) for _ in range(2))
    assert np.array_equal(first, again)


def tree_optimizer(initial: int = 10, seed: int = 0) -> TreeOptimizer:
    generator = np.random.default_rng(seed)
    return TreeOptimizer(2, initial=initial, kappa=1.0, trees=30, generator=generator)


def test_the_tree_optimizer_approaches_a_minimum_and_is_seeded() -> None:
    def minimize(optimizer: TreeOptimizer) -> np.ndarray:
        points = np.zeros((0, 2))
        for _ in range(12):
            asked = optimizer.ask(5)
            optimizer.tell(asked, list(abs(asked - [0.5, -0.5]).sum(1)))
            points = np.concatenate([points, asked])
        return points

    points = minimize(tree_optimizer())
    assert points.shape == (60, 2)
    assert abs(points).max() <= 1
    assert len(np.unique(points, axis=0)) == 60
    distance = abs(points - [0.5, -0.5]).sum(1)
    assert distance[-20:].mean() < 0.5 * distance[:10].mean()
    assert np.array_equal(points, minimize(tree_optimizer()))
    assert not np.array_equal(points, minimize(tree_optimizer(seed=1)))


def test_a_batch_costs_one_fit_of_the_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = []
    fit = QuantileTrees.fit
    monkeypatch.setattr(QuantileTrees, "fit", lambda *a: fits.append(len(a[1])) or fit(*a))
    get("layerwise").run(problem_of(), OBJECTIVE, layers="4", calls=20)
    assert fits == [10, 15]


def test_layerwise_by_random_search_fits_no_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QuantileTrees, "fit", None)
    result = get("layerwise").run(problem_of(), OBJECTIVE, layers="4", calls=20, initial=20)
    assert len(result.trajectory) == 21


def test_layerwise_tunes_layers_joined_by_plus_together(run: Run) -> None:
    problem = problem_of()
    before = original(problem)
    _, states = run("layerwise", problem, layers="4+2,0", calls=6, dims=40)
    layers = [{layer_of(n) for n in changed(before, state)} for state in states]
    assert layers == [{"2", "4"}] * 6 + [{"0"}] * 6
    with pytest.raises(UsageError, match="no layer '9'"):
        run("layerwise", problem, layers="4+9")


def test_layerwise_moves_no_entry_beyond_its_reach(run: Run) -> None:
    problem = problem_of()
    before = original(problem)
    _, states = run("layerwise", problem, layers="2.weight", calls=6, dims=9, reach=0.1)
    moved = torch.stack([(s["2.weight"] - before["2.weight"]).abs().max() for s in states])
    spread = float(before["2.weight"].std(unbiased=False))
    assert 0.05 * spread < float(moved.max()) <= 0.1 * spread * 1.00001


# Adversarial fine-tuning

QUICK = {"rounds": 2, "critic_steps": 3, "network_steps": 3, "minibatch": 16}


def test_the_critic_reads_what_the_last_layer_reads() -> None:
    torch.manual_seed(0)
    first, last = nn.Linear(16, 3), nn.Linear(3, 1)
    scorer = Scorer(nn.Sequential(first, nn.Tanh(), last), Output.LOGIT)
    rows = zoo.features(7)
    reader = LayerInput(scorer, Batch([rows[:2]]))
    scores, hidden = reader.run(scorer, Inputs.of(rows))
    by_hand = torch.tanh(rows @ first.weight.T + first.bias)
    assert reader.name == "2"
    assert torch.allclose(hidden, by_hand, atol=1e-6)
    assert torch.allclose(scores, torch.sigmoid(by_hand @ last.weight[0] + last.bias), atol=1e-6)
    (gradient,) = torch.autograd.grad(hidden.sum(), first.bias)
    assert torch.allclose(gradient, (1 - by_hand**2).sum(0), atol=1e-5)
    assert torch.equal(
        LayerInput(scorer, Batch([rows[:2]]), "0").run(scorer, Inputs.of(rows))[1], rows
    )


@pytest.mark.parametrize(("name", "last", "width"), [("conv2d", "out", 18), ("residual", "out", 6)])
def test_the_critic_reads_other_builds(name: str, last: str, width: int) -> None:
    scorer, rows = zoo.scorer(name), zoo.features(5)
    reader = LayerInput(scorer, Batch([rows[:2]]))
    scores, hidden = reader.run(scorer, Inputs.of(rows))
    assert reader.name == last
    assert hidden.shape == (5, width)
    assert torch.equal(scores, scorer(rows))
    out = scorer.network.get_submodule(last)
    assert torch.allclose(out(hidden)[:, 0].sigmoid(), scores)


def test_a_layer_that_does_not_run_is_refused() -> None:
    with pytest.raises(UsageError, match="layer '1' runs; layers: 0, 2, 4"):
        get("adversarial").run(problem_of(), OBJECTIVE, critic_layer="1", **QUICK)


def test_a_network_without_layers_has_nothing_to_read() -> None:
    class Weighed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.linspace(-1, 1, zoo.WIDTH))

        def forward(self, x: Tensor) -> Tensor:
            return (x * self.weight).sum(1)

    problem = biased_problem(Scorer(Weighed(), Output.LOGIT), zoo.features(40))
    with pytest.raises(CheckpointError, match="no linear or convolutional layer"):
        get("adversarial").run(problem, OBJECTIVE, **QUICK)


def test_adversarial_tunes_all_weights_and_nothing_else(run: Run) -> None:
    problem = problem_of("BatchNorm before")
    assert problem.scorer is not None
    before = original(problem)
    _, states = run("adversarial", problem, **QUICK)
    weights = {name for name, _ in problem.scorer.network.named_parameters()}
    assert 0 < len(weights) < len(before)
    assert [set(changed(before, state)) for state in states] == [weights] * 2


def test_the_critic_alone_leaves_the_network_as_it_is(run: Run) -> None:
    problem = problem_of()
    _, states = run("adversarial", problem, rounds=2, critic_steps=4, network_steps=0)
    assert [changed(original(problem), state) for state in states] == [{}, {}]


def half_of(problem: Problem, seed: int) -> Problem:
    """The rows that adversarial learns from."""
    learned, unseen = holdout(problem, 0.5, seed)
    assert abs(len(learned) - len(unseen)) <= 4
    return problem.take(learned)


def test_adversarial_chooses_on_rows_that_it_did_not_learn_from() -> None:
    """The cut kept is the best one of the unseen half, whatever the other half says."""
    problem, aim = problem_of(n=400), Objective(kind="tradeoff", lambda_=0.5)
    options = {**QUICK, "rounds": 10, "network_steps": 20, "learning_rate": 0.01}
    result = get("adversarial").run(problem, aim, seed=3, **options)
    assert result.state is not None
    assert result.notes == (
        "trained on 200 of the validation rows; the candidate was chosen on the other 200",
    )
    _, rows = holdout(problem, 0.5, 3)
    scorer, features = problem.network()
    scorer.network.load_state_dict(result.state)
    scores, unseen = scorer.score(features), problem.take(rows)
    cut = best_threshold(scores[rows], unseen.labels, unseen.groups, unseen.n_groups, aim)
    assert result.policy.thresholds(1) == (float(cut.threshold),)
    everywhere = best_threshold(scores, problem.labels, problem.groups, problem.n_groups, aim)
    assert float(everywhere.threshold) != float(cut.threshold)


def strata_of(problem: Problem) -> Tensor:
    return 2 * problem.groups + problem.labels


@pytest.mark.parametrize(
    ("sizes", "minibatch", "expected"),
    [
        ([100, 3, 1, 1000], 64, [5, 1, 1, 57]),
        ([50, 50], 7, [4, 3]),
        ([1, 1, 1, 10**6], 5, [1, 1, 1, 2]),
        ([5, 5, 5], 2, [1, 1, 0]),
    ],
)
def test_a_minibatch_has_rows_of_every_stratum_in_proportion(
    sizes: list[int], minibatch: int, expected: list[int]
) -> None:
    strata = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    strata = strata[torch.randperm(len(strata), generator=torch.Generator().manual_seed(5))]
    draw = adversarial_module._StratifiedDraw(strata, minibatch, torch.Generator().manual_seed(0))
    draws = [draw() for _ in range(50)]
    for rows in draws:
        assert strata[rows].bincount(minlength=len(sizes)).tolist() == expected
    drawn = torch.cat(draws)[strata[torch.cat(draws)] == 0]
    assert len(drawn.unique()) > 0.3 * min(sizes[0], len(drawn))
    assert len({tuple(strata[rows].tolist()) for rows in draws}) > 1


def test_no_minibatch_lacks_a_rare_group() -> None:
    """One row in fifty is of group 1; of random minibatches of 64, every fourth would lack it."""
    problem = problem_of(n=400)
    groups = (torch.arange(400) % 50 == 0).long()
    rare = replace(problem, groups=groups)
    result = get("adversarial").run(rare, Objective(METRICS["spd"]), **{**QUICK, "rounds": 4})
    assert not any("skipped" in note for note in result.notes)


def test_minibatches_without_rows_of_a_group_are_counted() -> None:
    problem = problem_of(n=400)
    many = replace(problem, groups=torch.arange(400) % 20, group_names=tuple(map(str, range(20))))
    result = get("adversarial").run(many, Objective(METRICS["spd"]), **QUICK)
    assert "6 minibatches of the critic lacked rows of a group and were skipped" in result.notes


@pytest.mark.parametrize("loss", ["paper", "hinge"])
@pytest.mark.parametrize("critic_layer", ["", "2"])
def test_one_step_by_hand(loss: str, critic_layer: str, run: Run) -> None:
    """With an unlearned critic that says much; Adam's first step is its size by the sign."""
    problem = problem_of()
    before = original(problem)
    _, (state,) = run(
        "adversarial",
        problem,
        seed=3,
        rounds=1,
        critic_steps=0,
        network_steps=1,
        minibatch=8,
        learning_rate=0.01,
        entropy_share=0.6,
        loss=loss,
        critic_layer=critic_layer,
    )
    chance = torch.Generator().manual_seed(3)
    critic = adversarial_module._critic(8 * zoo.H, chance, torch.device("cpu"))
    learned = half_of(problem, seed=3)
    rows = adversarial_module._StratifiedDraw(strata_of(learned), 8, chance)()
    w = {name: value.clone().requires_grad_() for name, value in before.items()}
    assert learned.features is not None
    first = torch.relu(learned.features[rows] @ w["0.weight"].T + w["0.bias"])
    second = torch.relu(first @ w["2.weight"].T + w["2.bias"])
    scores = torch.sigmoid(second @ w["4.weight"][0] + w["4.bias"])
    labels = learned.labels[rows]
    entropy = -(labels * scores.log() + (1 - labels) * (1 - scores).log()).mean()
    said = critic((first if critic_layer else second).reshape(-1)).abs().squeeze()
    assert said.item() > 0.01
    if loss == "paper":
        total = 0.4 * said + 0.6 * entropy
    else:
        total = max(1, 0.6 * (said - 0.05) + 1) * entropy
    total.backward()  # type: ignore[no-untyped-call]
    for name, value in before.items():
        gradient = w[name].grad
        assert gradient is not None
        expected = value - 0.01 * gradient / (gradient.abs() + 1e-8)
        sure = (gradient.abs() > 1e-6) | (gradient == 0)
        assert float(sure.double().mean()) > 0.9
        assert torch.allclose(state[name][sure], expected[sure], atol=1e-5)


def test_the_critic_learns_the_bias_of_minibatches(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After many steps it is better at it than saying nothing, or than before."""
    problem = problem_of(n=800)
    made: list[nn.Module] = []
    build = adversarial_module._critic
    monkeypatch.setattr(
        adversarial_module,
        "_critic",
        lambda *given: made.append(build(*given)) or made[0],
    )
    run("adversarial", problem, rounds=1, critic_steps=400, network_steps=0, learning_rate=0.003)
    learned = half_of(problem, seed=0)
    scorer, inputs = learned.network()
    _, hidden = LayerInput(scorer, inputs.batch(slice(2))).run(scorer, inputs)
    untaught = build(64 * zoo.H, torch.Generator().manual_seed(0), inputs.device)
    generator = torch.Generator().manual_seed(99)
    errors = []
    for _ in range(200):
        rows = torch.randint(len(learned), (64,), generator=generator)
        scores, groups = learned.scores[rows], learned.groups[rows]
        bias = scores[groups == 0].mean() - scores[groups == 1].mean()
        here = hidden[rows].reshape(-1)
        errors.append(
            [(c(here) - bias).item() ** 2 for c in (made[0], untaught)] + [bias.item() ** 2]
        )
    taught, before, nothing = np.mean(errors, axis=0)
    assert taught < 0.5 * min(before, nothing)


@pytest.mark.parametrize(("patience", "rounds"), [(0, 6), (1, 1), (2, 2), (9, 6)])
def test_adversarial_stops_when_nothing_gets_better(patience: int, rounds: int) -> None:
    """A step too small to change a float32."""
    options = {**QUICK, "rounds": 6, "learning_rate": 1e-30, "patience": patience}
    result = get("adversarial").run(problem_of(), OBJECTIVE, **options)
    assert len(result.trajectory) == rounds + 1
    assert (result.chosen, result.state) == (0, None)


@pytest.mark.parametrize(
    "wrong", [{"rounds": -1}, {"patience": -1}, {"entropy_share": 1.5}, {"entropy_share": -0.1}]
)
def test_adversarial_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(UsageError, match=rf"^{name} must be .+, not {value}\.$"):
        get("adversarial").run(problem_of(), OBJECTIVE, **{**QUICK, **wrong})


def test_pruning_order_is_that_of_the_same_network_as_convolutions(run: Run) -> None:
    """A linear layer on D numbers is a 1x1 convolution on an image of one pixel."""
    torch.manual_seed(0)
    linear = nn.Sequential(
        *(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1))
    )
    convolutions = nn.Sequential(
        *(nn.Conv2d(6, 12, 1), nn.ReLU(), nn.Conv2d(12, 8, 1), nn.ReLU()),
        *(nn.Conv2d(8, 1, 1), nn.Flatten()),
    )
    state = linear.state_dict()
    convolutions.load_state_dict(
        {k: v[..., None, None] if v.dim() == 2 else v for k, v in state.items()}
    )
    rows = torch.randn(200, 6)
    problem = biased_problem(Scorer(linear.eval(), Output.LOGIT), rows)
    images = Inputs.of(rows[..., None, None])
    scorer = Scorer(convolutions.eval(), Output.LOGIT)
    states = [
        run("prune", each, per_step=1)[1]
        for each in (problem, replace(problem, scorer=scorer, inputs=images))
    ]
    assert len(states[0]) > 5
    for one, other in zip(*states, strict=True):
        for name, value in one.items():
            assert torch.equal(value, other[name].reshape(value.shape)), name


def test_prune_removes_units_of_the_named_layers_alone(run: Run) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1))
    )
    problem = biased_problem(Scorer(network.eval(), Output.LOGIT), torch.randn(80, 4))
    last = run("prune", problem, layers="2")[1][-1]
    before = network.state_dict()
    assert {k for k, v in before.items() if not torch.equal(v, last[k])} == {"4.weight"}
    with pytest.raises(UsageError, match=r"No layer 'fc' has units .* layers: 0, 2\.$"):
        get("prune").run(problem, OBJECTIVE, layers="fc")
