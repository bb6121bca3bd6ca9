"""Do budgets hold on new rows? Ways to choose the cuts, over many re-splits of the networks' rows.

    python benchmarks/margins.py --metric spd --resplits 100

Each way chooses on one half of a network's held-out rows and is judged on the other, as in
``splits.py``. Beside the share of re-splits on which the budget held stands the share that sampling
noise allows: even a rule whose true gap is 0 misses the budget on some tables. Prints Markdown.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, product, starmap
from typing import Any

import pandas as pd
import torch
from networks import networks
from splits import FAIRLEARN, fairlearn_rule, pooled_case
from torch import Tensor

from fairfix import methods
from fairfix.data.problem import Problem
from fairfix.data.splitting import random_halves
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES, is_trivial
from fairfix.metrics.registry import noise_ceiling
from fairfix.workflows.debias import make_objective

WAYS: dict[str, dict[str, Any]] = {
    "margin 0.01": {"margin": 0.01},
    "k = 1": {"k": 1.0},
    "k = sqrt 2 (default)": {},
    "k = 2": {"k": 2.0},
    "risk 0.1": {"risk": 0.1},
    "risk 0.1, k = 1": {"risk": 0.1, "k": 1.0},
}
PEER = "fairlearn"
# Those whose cuts follow the objective.
METHODS = [name for name in methods.names() if name not in ("eqodds", "caleqodds")]
BALANCED_ACCURACY = PERFORMANCES["balanced_accuracy"]

Rule = Callable[[Problem], Tensor]
"""From the rows of a problem to decisions (N,) bool."""


@dataclass(frozen=True)
class Cell:
    """One way on one re-split of one network, as judged on the half that did not choose.

    Attributes:
        data: what stands before the network's seed in its name.
        ceiling: how often a rule with a true gap of 0 at these rates would hold the budget when
            the fitting half's noise is added to the judged half's; ``judging`` without the former.
        objective: balanced accuracy where the budget held, else 0.
    """

    way: str
    network: str
    data: str
    resplit: int
    held: bool
    ceiling: float
    judging: float
    balanced_accuracy: float
    objective: float
    trivial: bool


def cells(
    network: str, resplit: int, *, metric: str, method: str, ways: Mapping[str, Mapping[str, Any]]
) -> list[Cell]:
    """All ways on one re-split, fairlearn last where it knows the metric."""
    fitting, judged = random_halves(pooled_case(network).problem, resplit)
    rules: dict[str, Rule] = {
        way: chosen(method, fitting, make_objective(metric, **options), resplit)
        for way, options in ways.items()
    }
    if metric in FAIRLEARN:
        rules[PEER] = fairlearn_rule(fitting, metric)
    return [
        _cell(way, rule, network, resplit, fitting, judged, metric) for way, rule in rules.items()
    ]


def chosen(method: str, fitting: Problem, objective: Objective, seed: int) -> Rule:
    """What a method finds on the fitting rows."""
    result = methods.get(method).run()(fitting, objective, seed=seed)
    if result.state is None:
        return lambda problem: result.policy.decide(problem.scores, problem.groups)
    scorer, _ = fitting.network()
    scorer.network.load_state_dict(result.state)

    def decide(problem: Problem) -> Tensor:
        assert problem.features is not None
        return result.policy.decide(scorer.score(problem.features), problem.groups)

    return decide


def _cell(
    way: str,
    rule: Rule,
    network: str,
    resplit: int,
    fitting: Problem,
    judged: Problem,
    metric: str,
) -> Cell:
    objective = make_objective(metric)
    seen, new = (problem.counts(rule(problem)) for problem in (fitting, judged))
    held, accuracy = bool(objective.met(new)), float(BALANCED_ACCURACY(new))
    return Cell(
        way,
        network,
        network.partition("_")[0],
        resplit,
        held,
        noise_ceiling(objective.metric, objective.budget, new, seen),
        noise_ceiling(objective.metric, objective.budget, new),
        accuracy,
        accuracy * held,
        is_trivial(new),
    )


COLUMNS = {
    "held": "budget held",
    "ceiling": "ceiling",
    "share": "held / ceiling",
    "judging": "ceiling, judging noise alone",
    "balanced_accuracy": "balanced accuracy",
    "objective": "objective",
    "trivial": "trivial",
}


def report(found: Iterable[Cell]) -> str:
    """A Markdown table: means by data set and way, then over all networks."""
    frame = pd.DataFrame(list(found))
    both = pd.concat([frame, frame.assign(data="all")])
    means = both.groupby(["data", "way"], sort=False).mean(numeric_only=True)
    means["share"] = means["held"] / means["ceiling"]
    return "\n".join(
        [
            f"| data | way | {' | '.join(COLUMNS.values())} |",
            "|---" * (2 + len(COLUMNS)) + "|",
            *(
                f"| {data} | {way} | {' | '.join(f'{value:.3f}' for value in row)} |"
                for (data, way), row in zip(means.index, means[list(COLUMNS)].values, strict=True)
            ),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study and print its table."""
    known = networks()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--metric", default="spd", choices=("spd", "eod", "aod", "fprd", "di"))
    parser.add_argument("--method", default="thresholds", choices=METHODS)
    parser.add_argument("--networks", nargs="+", default=list(known), choices=known)
    parser.add_argument("--resplits", type=int, default=100, help="of each network")
    parser.add_argument("--first", type=int, default=0, help="number of the first re-split")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    asked = parser.parse_args(arguments)
    if asked.resplits < 1 or asked.first < 0 or asked.jobs < 1:
        parser.error("needs 1 re-split and 1 process, or more")
    study = partial(cells, metric=asked.metric, method=asked.method, ways=WAYS)
    pairs = list(product(asked.networks, range(asked.first, asked.first + asked.resplits)))
    torch.set_num_threads(1)
    if asked.jobs == 1:
        found = list(starmap(study, pairs))
    else:
        fresh = multiprocessing.get_context("spawn")
        with fresh.Pool(asked.jobs, torch.set_num_threads, (1,)) as pool:
            found = pool.starmap(study, pairs)
    print(report(chain.from_iterable(found)))


if __name__ == "__main__":
    main()
