"""The benchmark scripts: plain loops against brute force, and the programs on little data."""

import copy
import sys
from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from fairfix.data.problem import Problem
from fairfix.data.splitting import random_parts
from fairfix.methods._search import CandidateSearch
from fairfix.methods.gda import gda
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.scorer import Output, Scorer
from fairfix.thresholds.shared import best_threshold
from fairfix.workflows.debias import debias, make_objective
from tests.helpers.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import gpu
import late_layers
import public_loops
import run
import splits
import threshold_grid as grid
from benchmark_models import HALVES, benchmark_models, halved
from public_loops import Candidates
from threshold_grid import GridResult, LabeledRows

N, D, HIDDEN = 400, 5, (6, 4)
LIMIT = 0.05


@pytest.fixture(autouse=True)
def small_and_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The sample models whatever the environment says, on one thread."""
    monkeypatch.delenv("FAIRFIX_DATA", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def biased_rows(metric: str = "spd") -> LabeledRows:
    """LabeledRows whose first feature follows the group, and whose label follows all of them."""
    rng = np.random.default_rng(1)
    groups = rng.integers(2, size=N)
    features = rng.normal(size=(N, D))
    features[:, 0] += 2 * groups
    labels = rng.normal(features.sum(axis=1) - 1) > 0
    return LabeledRows(
        torch.from_numpy(labels.astype(np.int64)),
        torch.from_numpy(groups),
        metric,  # type: ignore[arg-type]
        torch.from_numpy(features),
    )


def random_network(*, sigmoid: bool = True) -> nn.Module:
    """Linear, ReLU, BatchNorm twice; double precision, for finite differences."""
    torch.manual_seed(0)
    blocks = [
        (nn.Linear(inputs, width), nn.ReLU(), nn.BatchNorm1d(width))
        for inputs, width in zip((D, *HIDDEN), HIDDEN, strict=False)
    ]
    end = (nn.Sigmoid(), nn.Flatten(0)) if sigmoid else ()
    layers = [module for block in blocks for module in block]
    return nn.Sequential(*layers, nn.Linear(HIDDEN[-1], 1), *end).double().eval()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Copies of the networks that a loop evaluates, in order; the grid is coarse to save time."""
    networks: list[nn.Module] = []
    evaluate = Candidates.evaluate

    def recording(candidates: Candidates, network: nn.Module) -> GridResult:
        networks.append(copy.deepcopy(network))
        return evaluate(candidates, network)

    monkeypatch.setattr(Candidates, "evaluate", recording)
    monkeypatch.setattr(grid, "THRESHOLDS", np.linspace(0, 1, 11))
    return networks


def as_problem(rows: LabeledRows) -> Problem:
    """Return the same rows and network as a ``Problem``."""
    scorer = Scorer(random_network(sigmoid=False), Output.LOGIT).eval()
    assert rows.features is not None
    scores = scorer.score(rows.features)
    return Problem(scores, rows.labels, rows.groups, ("0", "1"), scorer, Inputs.of(rows.features))


def by_hand(scores: np.ndarray, rows: LabeledRows, threshold: float) -> tuple[float, float]:
    """Return bias and balanced accuracy of a threshold, counted row by row."""
    hits = {cell: [0, 0] for cell in product((0, 1), (0, 1))}
    for score, label, group in zip(scores, rows.labels, rows.groups, strict=True):
        tally = hits[int(group), int(label)]
        tally[0] += bool(score > threshold)
        tally[1] += 1

    def share(*cells: tuple[int, int]) -> float:
        return sum(hits[c][0] for c in cells) / sum(hits[c][1] for c in cells)

    counted = [(1,) if rows.metric == "eod" else (0, 1)] * 2
    unprivileged, privileged = (
        share(*((group, label) for label in labels)) for group, labels in enumerate(counted)
    )
    tpr, fpr = share((0, 1), (1, 1)), share((0, 0), (1, 0))
    return unprivileged - privileged, (tpr + 1 - fpr) / 2


# The plain loops.


@pytest.mark.parametrize("metric", ["spd", "eod"])
def test_grid_thresholds_are_the_best_of_the_grid(metric: str) -> None:
    rows = biased_rows(metric)
    assert rows.features is not None
    # Sixteenths: some scores lie on a threshold of the grid.
    scores = (rows.features.mean(1).sigmoid() * 16).round().div(16).float().numpy()
    results = [(value, *by_hand(scores, rows, value)) for value in np.arange(101) / 100]

    def same(found: GridResult, expected: tuple[float, float, float]) -> bool:
        return (found.threshold, found.bias, found.performance) == pytest.approx(expected)

    accurate = max(results, key=lambda one: one[2])
    assert same(grid.most_accurate_threshold(scores, rows), accurate)

    feasible = max((one for one in results if abs(one[1]) < LIMIT), key=lambda one: one[2])
    assert feasible[2] > 0.5
    assert feasible != accurate
    assert same(grid.constrained_threshold(scores, rows, LIMIT), feasible)
    assert same(grid.counted_threshold(scores, rows, LIMIT), feasible)


@pytest.mark.parametrize("metric", ["spd", "eod"])
def test_influence_is_the_derivative_by_the_unit_bias(metric: str) -> None:
    """The sum over rows of the gradient by a unit's output is the derivative by its bias."""
    rows, network, step = biased_rows(metric), random_network(), 1e-6
    layers = public_loops.linear_layers(network)[:-1]

    @torch.no_grad()
    def shifted(layer: nn.Linear, unit: int, by: float) -> float:
        layer.bias[unit] += by
        scores = network(rows.features).numpy()
        layer.bias[unit] -= by
        counted = rows.labels.numpy() == 1 if metric == "eod" else np.full(N, True)
        groups = rows.groups.numpy()
        return float(
            scores[counted & (groups == 0)].mean() - scores[counted & (groups == 1)].mean()
        )

    expected = [
        (shifted(layer, unit, step) - shifted(layer, unit, -step)) / (2 * step)
        for layer in layers
        for unit in range(layer.out_features)
    ]
    found = public_loops.activation_influence(network, layers, rows)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_prune_removes_the_driving_units_step_by_step(seen: list[nn.Module]) -> None:
    rows, network = biased_rows(), random_network()
    layers = public_loops.linear_layers(network)[:-1]
    influence = public_loops.activation_influence(network, layers, rows)
    candidates = public_loops.prune(network, rows, units=7, per_step=3, floor=0)

    removed = [removed_units(pruned) for pruned in seen]
    assert [len(units) for units in removed] == [0, 3, 6, 7]
    assert all(units < more for units, more in pairwise(removed))
    direction = np.sign(candidates.results[0].bias)
    assert removed[1] == set(np.argsort(-direction * influence)[:3].tolist())
    assert not removed_units(network), "the network handed in is left alone"

    least = min(range(4), key=lambda step: abs(candidates.results[step].bias))
    assert candidates.best == least
    assert candidates.network is not None
    assert removed_units(candidates.network) == removed[least]


def removed_units(network: nn.Module) -> set[int]:
    """Return the hidden units without input weights and bias."""
    layers = public_loops.linear_layers(network)[:-1]
    weights_gone = torch.cat([(layer.weight == 0).all(1) for layer in layers])
    biases_gone = torch.cat([layer.bias == 0 for layer in layers])
    return set((weights_gone & biases_gone).nonzero().flatten().tolist())


def test_a_network_below_the_floor_is_not_kept() -> None:
    candidates = public_loops.prune(
        random_network(), biased_rows(), units=2, per_step=1, floor=1.01
    )
    assert (len(candidates.results), candidates.best, candidates.network) == (3, None, None)


def test_the_gda_loop_takes_the_same_steps_as_fairfix(
    seen: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = biased_rows()
    ours: list[Tensor] = []
    add = CandidateSearch.add
    monkeypatch.setattr(
        CandidateSearch,
        "add",
        lambda self, scores, *more: (ours.append(scores), add(self, scores, *more))[1],
    )
    options = {"epochs": 3, "minibatch": 128, "learning_rate": 1e-3, "seed": 5}
    gda(as_problem(rows), Objective(), **options)
    public_loops.gda(random_network(), rows, **options)
    theirs = [scored(network, rows) for network in seen]
    assert len(ours) == len(theirs) == 4
    assert (theirs[-1] - theirs[0]).abs().max() > 1e-3
    torch.testing.assert_close(torch.stack(ours), torch.stack(theirs), rtol=0, atol=1e-5)


def scored(network: nn.Module, rows: LabeledRows) -> Tensor:
    with torch.no_grad():
        scores: Tensor = network(rows.features)
    return scores


def test_perturb_multiplies_the_unmodified_weights_by_factors_around_one(
    seen: list[nn.Module],
) -> None:
    rows, network = biased_rows(), random_network()
    candidates = public_loops.perturb(network, rows, trials=20, sd=0.1, limit=0.04, seed=0)
    drawn = torch.stack([parameters_to_vector(one.parameters()).detach() for one in seen])
    untouched = parameters_to_vector(network.parameters()).detach()
    assert torch.equal(drawn[0], untouched)
    factors = (drawn[1:] / untouched)[:, untouched != 0]
    assert len(factors) == 20
    assert float(factors.mean()) == pytest.approx(1, abs=0.01)
    assert float(factors.std()) == pytest.approx(0.1, abs=0.01)
    assert len(factors.unique()) == factors.numel()

    worth = [one.performance if abs(one.bias) < 0.04 else 0 for one in candidates.results]
    assert candidates.best == int(np.argmax(worth))


TURNS = {"minibatch": 64, "learning_rate": 1e-3, "seed": 2}


def test_adversarial_within_the_limit_is_training(seen: list[nn.Module]) -> None:
    """There the hinge is flat, and what is left is cross-entropy."""
    rows, network = biased_rows(), random_network()
    assert rows.features is not None
    steps = {"rounds": 2, "critic_steps": 0, "network_steps": 3}
    public_loops.adversarial(network, rows, **steps, **TURNS, weight=0.75, limit=10.0)

    before = scored(network, rows)
    generator = torch.Generator().manual_seed(2)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(6):
        batch = torch.randint(N, (64,), generator=generator)
        optimizer.zero_grad()
        nn.BCELoss()(network(rows.features[batch]), rows.labels[batch].double()).backward()
        optimizer.step()
    assert len(seen) == 3
    assert (scored(network, rows) - before).abs().max() > 1e-3
    torch.testing.assert_close(scored(seen[-1], rows), scored(network, rows))


def test_adversarial_losses_are_those_of_critic_and_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, network = biased_rows(), random_network()
    assert rows.features is not None
    losses: list[float] = []
    descend = public_loops.descend

    def noting(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        losses.append(loss.item())
        descend(loss, optimizer)

    monkeypatch.setattr(public_loops, "descend", noting)
    steps = {"rounds": 1, "critic_steps": 1, "network_steps": 1}
    still = TURNS | {"learning_rate": 1e-12}
    public_loops.adversarial(network, rows, **steps, **still, weight=0.75, limit=0.0)

    body, critic = network[:-3], public_loops._critic(64 * HIDDEN[-1], seed=2).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        one, other = (torch.randint(N, (64,), generator=generator) for _ in range(2))
        scores, groups = network(rows.features[one]), rows.groups[one]
        bias = scores[groups == 0].mean() - scores[groups == 1].mean()
        critics_loss = (critic(body(rows.features[one]).flatten()) - bias) ** 2
        guess = critic(body(rows.features[other]).flatten()).abs()
        entropy = nn.BCELoss()(network(rows.features[other]), rows.labels[other].double())
        networks_loss = (1 + 0.75 * guess) * entropy
    assert losses == pytest.approx([critics_loss.item(), networks_loss.item()])


def test_layerwise_moves_few_weights_of_one_layer_within_bounds(seen: list[nn.Module]) -> None:
    rows, network = biased_rows(), random_network()
    trees = run.QuantileTrees()
    public_loops.layerwise(
        network, rows, layers=2, entries=3, calls=10, trees=trees, limit=0.04, seed=0
    )
    assert len(seen) == 21
    moved = []
    for at, layer in enumerate(public_loops.linear_layers(network)):
        evaluated = torch.stack([public_loops.linear_layers(one)[at].weight for one in seen])
        change = (evaluated - layer.weight).detach().flatten(1)
        moved.append((change != 0).sum(1).tolist())
        assert change.abs().max() <= 2.2 * layer.weight.std()
        assert at == 0 or change.abs().max() > 0.5 * layer.weight.std()
    assert moved == [[0] * 21, [0] * 11 + [3] * 10, [0] + [3] * 10 + [0] * 10]


# Timing.


def test_quick_run_prints_a_line_for_every_contest(capsys: pytest.CaptureFixture[str]) -> None:
    run.main(["--quick"])
    lines = capsys.readouterr().out.splitlines()
    assert "loh, 600 rows" in lines[0]
    assert [line.split("  ")[0] for line in lines[2:]] == [
        "prune",
        "prune, score = gradient",
        "gda",
        "perturb",
        "adversarial, loss = hinge",
        "layerwise, last two layers",
        "threshold, against scikit-learn",
        "threshold, against numpy",
        "roc, against AIF360",
        "thresholds, vs. fairlearn",
    ]
    assert [line.count("7 networks evaluated") for line in lines[2:4]] == [1, 1]
    assert "every threshold of 10,000 scores against 101 thresholds" in lines[-3]


def test_the_ratio_says_how_much_faster_fairfix_is() -> None:
    printed = run.line("gda", run.Timing(0.5, 5.25, "7 networks evaluated")).split()
    assert printed == ["gda", "0.500", "5.250", "10.5x", "7", "networks", "evaluated"]


def test_sides_run_in_turn_and_the_median_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.cumsum([0, 5, 0, 1, 0, 2, 0, 7, 0, 3, 0, 3]))
    monkeypatch.setattr(run.time, "process_time", lambda: float(next(clock)))
    turns: list[str] = []

    def side(name: str) -> run.Side:
        return lambda _problem: (turns.append(name), "one thing done")[1]

    contest = run.Contest("x", side("A"), side("B"), run.random_scores(50))
    assert run.time_contest(contest, 3) == run.Timing(3, 3, "one thing done")
    assert "".join(turns) == "ABABAB"


def test_different_work_is_an_error() -> None:
    data = run.random_scores(50)
    contest = run.Contest(
        "x", lambda _: "2 networks evaluated", lambda _: "3 networks evaluated", data
    )
    with pytest.raises(RuntimeError, match="2 networks evaluated against 3 networks evaluated"):
        run.time_contest(contest, 1)


def test_all_thresholds_are_at_least_as_good_as_the_grid() -> None:
    problem = run.random_scores(2_000)
    p = problem
    ours = best_threshold(p.scores, p.labels, p.groups, p.n_groups, run.OBJECTIVE)
    rows = LabeledRows(p.labels, p.groups)
    theirs = grid.constrained_threshold(p.scores.numpy(), rows, run.LIMIT)
    bias, performance = by_hand(p.scores.numpy(), rows, float(ours.threshold))
    assert abs(bias) < run.LIMIT
    assert performance >= theirs.performance > 0.5


# Re-splits.


def test_halves_are_drawn_from_both_tables_in_order() -> None:
    task = benchmark_models()["zafar"].task()
    case = benchmark_models()["zafar"].case()
    alone, test = case.problem, case.companion(benchmark_models()["zafar"].test).problem
    both = halved(task, 1)
    order = random_parts(8_000, HALVES, 1)
    assert len(task.validation) == len(alone) == len(task.test) == 4_000
    for half, rows in ((both.validation, order["validation"]), (both.test, order["test"])):
        assert alone.features is not None
        assert test.features is not None
        features = torch.cat([alone.features, test.features])[rows]
        labels = torch.cat([alone.labels, test.labels])[rows]
        groups = torch.cat([alone.groups, test.groups])[rows]
        assert np.array_equal(half.features, features)
        assert np.array_equal(half.labels, labels)
        assert np.array_equal(half.groups, groups)
    for case, rows in zip(both.cases(), order.values(), strict=True):
        scores = torch.cat([alone.scores, test.scores])[rows]
        torch.testing.assert_close(case.problem.scores, scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("metric", ["spd", "eod"])
def test_cells_are_evaluated_on_the_test_half(metric: str) -> None:
    pytest.importorskip("fairlearn")
    lines = splits.compare("loh", 0, metric=metric, names=(), peers=True)
    found = {line["method"]: line for line in lines}
    assert list(found) == ["identity", "fairlearn"]
    validation, test = halved(splits.pooled_task("loh"), 0).cases()
    threshold = debias(validation, "identity", make_objective(metric), test=test).rule.threshold
    assert threshold is not None
    problem = test.problem
    rows = LabeledRows(problem.labels, problem.groups, metric)  # type: ignore[arg-type]
    bias, performance = by_hand(problem.scores.numpy(), rows, threshold)
    cell = found["identity"]
    assert cell["performance"] == pytest.approx(performance)
    assert cell["held"] == (abs(bias) < 0.05)
    assert cell["objective"] == pytest.approx(performance if cell["held"] else 0)
    assert found["fairlearn"]["performance"] > performance
    assert found["fairlearn"]["held"]


def test_report_pairs_each_method_with_identity() -> None:
    objective = {
        "identity": {"a": (0.5, 0.6), "b": (0.55, 0.0)},
        "prune": {"a": (0.7, 0.65), "b": (0.5, 0.6)},
    }
    found = [
        dict(zip(splits.COLUMNS, (network, i, method, value, value > 0, False, 0.6), strict=True))
        for method, by_network in objective.items()
        for network, values in by_network.items()
        for i, value in enumerate(values)
    ]
    lines = splits.report(found).splitlines()
    assert lines[2].startswith("| identity | 0.412 | 0.75 | 0.00 | 0.600 |")
    gains = [0.2, 0.05, -0.05, 0.6]
    for values in (gains, [0.125, 0.275]):
        low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert f"| +0.200 [{low:+.3f}, {high:+.3f}] |" in lines[3]
    assert lines[5:] == [
        "| objective | a | b |",
        "|---|---|---|",
        "| identity | 0.550 | 0.275 |",
        "| prune | 0.675 | 0.550 |",
    ]


def test_the_study_runs_in_separate_processes(capsys: pytest.CaptureFixture[str]) -> None:
    splits.main(["--networks", "zafar", "--resplits", "2", "--methods", "identity"])
    lines = capsys.readouterr().out.splitlines()
    cells = [
        cell
        for resplit in (0, 1)
        for cell in splits.compare("zafar", resplit, metric="spd", names=(), peers=False)
    ]
    assert lines == splits.report(cells).splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resplits", "1"], "2 re-splits"),
        (["--jobs", "0"], "1 process"),
        (["--peers", "--metric", "aod"], "--metric spd or eod"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        splits.main(arguments)
    assert message in capsys.readouterr().err


def test_late_layers_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    late_layers.main(["--width", "1", "--images", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == list(late_layers.LIMITS)
    assert all(line.endswith(" bytes") for line in lines)


@pytest.mark.skipif(torch.cuda.is_available(), reason="would measure")
def test_without_a_gpu_nothing_is_measured() -> None:
    with pytest.raises(SystemExit, match="No GPU is visible, so nothing was measured"):
        gpu.main([])


def test_the_cost_of_a_pass_is_that_of_its_layers() -> None:
    """Of 8 rows in float32: 5 x 4 products and sums, then a ReLU."""
    scorer = Scorer(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1)), Output.LOGIT)
    moved, counted = gpu.pass_cost(scorer, Inputs.of(torch.ones(8, 5)))
    assert counted == 2 * 8 * (5 * 4 + 4)
    assert moved == 4 * ((24 + 8 * 9) + 8 * 8 + (5 + 8 * 5))
