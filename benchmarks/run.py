"""Time fairfix against the loops of the public research code: ``make bench``.

Both do the same steps on the same rows with one thread, in turn in one process. The ratio of the
median CPU seconds is what counts; the seconds depend on the machine.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import public_loops
import torch
from benchmark_models import speed_model
from fairlearn_thresholds import fairlearn_rule
from numpy.typing import NDArray
from public_loops import Candidates
from threshold_grid import (
    THRESHOLDS,
    GridResult,
    LabeledRows,
    constrained_threshold,
    counted_threshold,
)
from torch import nn

from fairfix import methods
from fairfix.data.problem import Problem
from fairfix.methods import _aif360 as aif
from fairfix.methods._quantile_trees import QuantileTrees
from fairfix.metrics.objective import Objective
from fairfix.thresholds.shared import best_threshold

# The limit of the public code: a budget of 0.05 minus a margin of 0.01.
OBJECTIVE = Objective(margin=0.01)
LIMIT = 0.04

Side = Callable[[Problem], str]


@dataclass(frozen=True)
class Contest:
    """Two implementations of the same work.

    ``ours`` and ``theirs`` do it once and return its amount, such as "60 networks evaluated". If
    ``same_work``, the two must be equal.
    """

    name: str
    ours: Side
    theirs: Side
    data: Problem
    same_work: bool = True


@dataclass(frozen=True)
class Size:
    """Upper limits of the work in each contest."""

    rows: int
    units: int
    epochs: int
    trials: int
    rounds: int
    calls: int
    scores: int
    reject_rows: int
    repeats: int


ALL = sys.maxsize
FULL = Size(
    rows=ALL,
    units=ALL,
    epochs=40,
    trials=101,
    rounds=16,
    calls=20,
    scores=1_000_000,
    reject_rows=5_000,
    repeats=3,
)
QUICK = Size(
    rows=600,
    units=6,
    epochs=2,
    trials=5,
    rounds=1,
    calls=10,
    scores=10_000,
    reject_rows=200,
    repeats=1,
)


@dataclass(frozen=True)
class Timing:
    """Median CPU seconds of both sides, and their work."""

    ours: float
    theirs: float
    work: str


def time_contest(contest: Contest, repeats: int) -> Timing:
    """Run both sides in turn, ``repeats`` times each.

    Raises:
        RuntimeError: if the work should be the same and is not.
    """
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    work = {}
    for _ in range(repeats):
        for name, side in (("ours", contest.ours), ("theirs", contest.theirs)):
            start = time.process_time()
            work[name] = side(contest.data)
            seconds[name].append(time.process_time() - start)
    same = work["ours"] == work["theirs"]
    if contest.same_work and not same:
        raise RuntimeError(f"{contest.name}: {work['ours']} against {work['theirs']}.")
    return Timing(
        statistics.median(seconds["ours"]),
        statistics.median(seconds["theirs"]),
        work["ours"] if same else f"{work['ours']} against {work['theirs']}",
    )


def contests(problem: Problem, size: Size) -> list[Contest]:
    """Return all contests."""
    return [
        *pruning(problem, size),
        descent(problem, size),
        draws(problem, size),
        critic(problem, size),
        black_box(problem, size),
        *single_threshold(random_scores(size.scores)),
        reject_option(random_scores(size.reject_rows)),
        by_group(random_scores(size.scores)),
    ]


def pruning(problem: Problem, size: Size) -> list[Contest]:
    """Prune at most half of the units: beyond that, scores may become constant and both stop."""
    hidden = public_loops.linear_layers(problem.network()[0])[:-1]
    units = min(size.units, sum(layer.out_features for layer in hidden) // 2)
    steps = {"max_units": units, "per_step": math.ceil(units / 64)}
    theirs = their_loop(public_loops.prune, units=units, per_step=steps["per_step"])
    by_gradient = our_method("prune", **steps, score="gradient")
    return [
        Contest("prune", our_method("prune", **steps), theirs, problem),
        Contest("prune, score = gradient", by_gradient, theirs, problem),
    ]


def descent(problem: Problem, size: Size) -> Contest:
    """Use a step size so small that the gap does not cross zero, which would end the run."""
    options = {"epochs": size.epochs, "minibatch": 256, "learning_rate": 1e-5}
    theirs = their_loop(public_loops.gda, **options, seed=0)
    return Contest("gda", our_method("gda", **options), theirs, problem)


def draws(problem: Problem, size: Size) -> Contest:
    options = {"trials": size.trials, "sd": 0.1}
    theirs = their_loop(public_loops.perturb, **options, limit=LIMIT, seed=0)
    return Contest("perturb", our_method("perturb", **options), theirs, problem)


def critic(problem: Problem, size: Size) -> Contest:
    steps = {"rounds": size.rounds, "critic_steps": 200, "network_steps": 100}
    options = {**steps, "minibatch": 64, "learning_rate": 1e-3}
    ours = our_method("adversarial", **options, entropy_share=0.75, loss="hinge")
    theirs = their_loop(public_loops.adversarial, **options, weight=0.75, limit=LIMIT, seed=0)
    return Contest("adversarial, loss = hinge", ours, theirs, problem)


def black_box(problem: Problem, size: Size) -> Contest:
    network = problem.network()[0].network
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    ours = our_method("layerwise", layers=",".join(linear[-2:]), dims=20, calls=size.calls)
    options = {"layers": 2, "entries": 20, "calls": size.calls, "limit": LIMIT, "seed": 0}
    theirs = their_loop(public_loops.layerwise, **options, trees=QuantileTrees())
    return Contest("layerwise, last two layers", ours, theirs, problem)


def single_threshold(scored: Problem) -> list[Contest]:
    return [
        Contest(
            "threshold, against scikit-learn",
            our_threshold,
            their_threshold(constrained_threshold),
            scored,
            False,
        ),
        Contest(
            "threshold, against numpy",
            our_threshold,
            their_threshold(counted_threshold),
            scored,
            False,
        ),
    ]


def reject_option(scored: Problem) -> Contest:
    """Both return the figures they reach, which differ."""

    def theirs(problem: Problem) -> str:
        with aif.no_warnings():
            from aif360.algorithms.postprocessing import RejectOptionClassification

        truth = aif.binary_label_dataset(problem, problem.labels, problem.scores)
        engine = RejectOptionClassification(
            aif.UNPRIVILEGED, aif.PRIVILEGED, metric_lb=-LIMIT, metric_ub=LIMIT
        )
        engine.fit(truth, aif.binary_label_dataset(problem, problem.scores > 0.5, problem.scores))
        decisions = engine.predict(
            aif.binary_label_dataset(problem, problem.scores > 0.5, problem.scores)
        )
        return reached(problem, torch.from_numpy(decisions.labels.ravel() == 1))

    return Contest("roc, against AIF360", our_policy("roc"), theirs, scored, same_work=False)


def by_group(scored: Problem) -> Contest:
    """Compare with fairlearn's randomized thresholds, which aim at no gap."""

    def theirs(problem: Problem) -> str:
        return reached(problem, fairlearn_rule(problem, OBJECTIVE.metric.key)(problem))

    return Contest(
        "thresholds, vs. fairlearn", our_policy("thresholds"), theirs, scored, same_work=False
    )


def our_policy(name: str) -> Side:
    """Return a side that runs a post-processing method of fairfix."""

    def side(problem: Problem) -> str:
        policy = methods.get(name).run(problem, OBJECTIVE, seed=0).policy
        return reached(problem, policy.decide(problem.scores, problem.groups))

    return side


def reached(problem: Problem, decisions: torch.Tensor) -> str:
    """Return balanced accuracy and gap of decisions (N,) on the rows they were tuned on."""
    counts = problem.counts(decisions)
    return (
        f"{float(OBJECTIVE.performance(counts)):.3f} at "
        f"{OBJECTIVE.metric.key} {float(OBJECTIVE.metric(counts).value):+.3f}"
    )


def our_method(name: str, **options: Any) -> Side:
    """Return a side that runs a method of fairfix."""

    def side(problem: Problem) -> str:
        result = methods.get(name).run(problem, OBJECTIVE, seed=0, **options)
        return f"{len(result.trajectory)} networks evaluated"

    return side


def their_loop(loop: Callable[..., Candidates], **options: Any) -> Side:
    """Return a side that runs the same method as a plain loop."""

    def side(problem: Problem) -> str:
        scorer, inputs = problem.network()
        rows = LabeledRows(problem.labels, problem.groups, features=inputs.flat)
        return f"{len(loop(scorer, rows, **options).results)} networks evaluated"

    return side


def our_threshold(problem: Problem) -> str:
    """Find the best of all thresholds."""
    p = problem
    best_threshold(p.scores, p.labels, p.groups, p.n_groups, OBJECTIVE)
    return f"every threshold of {len(p):,} scores"


def their_threshold(
    search: Callable[[NDArray[np.float32], LabeledRows, float], GridResult],
) -> Side:
    """Return a side that finds the best threshold of a grid."""

    def side(problem: Problem) -> str:
        search(problem.scores.numpy(), LabeledRows(problem.labels, problem.groups), LIMIT)
        return f"{len(THRESHOLDS)} thresholds"

    return side


def random_scores(n: int) -> Problem:
    """Return rows with scores only, which depend on label and group."""
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(2, size=(2, n))
    scores = 1 / (1 + np.exp(-rng.normal(labels + 0.5 * groups - 0.7)))
    return Problem(
        torch.from_numpy(scores).float(),
        torch.from_numpy(labels),
        torch.from_numpy(groups),
        ("unprivileged", "privileged"),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print one line per contest."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a few rows, once, as a smoke test")
    size = QUICK if parser.parse_args(arguments).quick else FULL
    torch.set_num_threads(1)
    model = speed_model()
    problem = model.case().problem
    problem = problem.take(torch.arange(min(size.rows, len(problem))))
    print(f"{model.name}, {len(problem):,} rows; CPU seconds, median of {size.repeats}, 1 thread")
    print(f"{'':32}{'fairfix':>9}{'plain':>9}{'ratio':>8}  work")
    for contest in contests(problem, size):
        print(line(contest.name, time_contest(contest, size.repeats)), flush=True)


def line(name: str, timing: Timing) -> str:
    """Return one line of the printed table."""
    ratio = timing.theirs / timing.ours
    return f"{name:32}{timing.ours:9.3f}{timing.theirs:9.3f}{ratio:7.1f}x  {timing.work}"


if __name__ == "__main__":
    main()
