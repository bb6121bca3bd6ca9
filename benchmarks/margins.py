"""Check how often budgets hold on test rows, for several settings of the margin.

    python benchmarks/margins.py --metric spd --resplits 100

A method is tuned with each setting on one half of a network's held-out rows and evaluated on the
other half, as in ``splits.py``. The share of re-splits on which the budget held is printed next to
its ceiling, the share that sampling noise allows: even a rule whose true gap is 0 misses the budget
on some tables. Prints Markdown.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, product, starmap
from typing import Any

import pandas as pd
import torch
from benchmark_models import benchmark_models, halved
from fairlearn_thresholds import CONSTRAINTS, evaluate_rule, fairlearn_rule
from splits import pooled_task

from fairfix import methods
from fairfix.bench.cell_table import nan_if_none
from fairfix.bench.cells import ceiling
from fairfix.metrics.objective import Objective
from fairfix.stats.evaluation import Evaluation
from fairfix.workflows.debias import debias, make_objective

SETTINGS: dict[str, dict[str, Any]] = {
    "margin 0.01": {"margin": 0.01},
    "k = 1": {"k": 1.0},
    "k = sqrt 2 (default)": {},
    "k = 2": {"k": 2.0},
    "risk 0.1": {"risk": 0.1},
    "risk 0.1, k = 1": {"risk": 0.1, "k": 1.0},
    "risk low": {"risk": "low"},
    "risk high": {"risk": "high"},
}
PEER = "fairlearn"
METHODS = [name for name in methods.names() if name not in ("eqodds", "caleqodds")]
"""Methods whose thresholds follow the objective."""


@dataclass(frozen=True)
class Line:
    """One setting on one re-split of one network, evaluated on the test half.

    Attributes:
        data: the part of the network's name before its seed.
        ceiling: how often a rule with these rates and a true gap of 0 would hold the budget, given
            the noise of both halves; ``test_ceiling`` counts that of the test half only.
        objective: balanced accuracy if the budget held, else 0.
    """

    setting: str
    network: str
    data: str
    resplit: int
    held: bool
    ceiling: float
    test_ceiling: float
    balanced_accuracy: float
    objective: float
    trivial: bool


def compare(
    network: str,
    resplit: int,
    *,
    metric: str,
    method: str,
    settings: Mapping[str, Mapping[str, Any]],
) -> list[Line]:
    """Return one line per setting on one re-split, fairlearn last if it supports the metric."""
    validation, test = halved(pooled_task(network), resplit).cases()
    objective = make_objective(metric)
    evaluations = {}
    for setting, options in settings.items():
        outcome = debias(
            validation, method, make_objective(metric, **options), test=test, seed=resplit
        )
        evaluations[setting] = outcome.validation.debiased, outcome.test.debiased
    if metric in CONSTRAINTS:
        rule = fairlearn_rule(validation.problem, metric)
        on_validation, on_test = (
            evaluate_rule(rule, case.problem, objective) for case in (validation, test)
        )
        evaluations[PEER] = on_validation, on_test
    return [
        _line(setting, network, resplit, *both, objective) for setting, both in evaluations.items()
    ]


def _line(
    setting: str,
    network: str,
    resplit: int,
    validation: Evaluation,
    test: Evaluation,
    objective: Objective,
) -> Line:
    return Line(
        setting=setting,
        network=network,
        data=network.partition("_")[0],
        resplit=resplit,
        held=test.met,
        ceiling=nan_if_none(ceiling(test, objective, validation)),
        test_ceiling=nan_if_none(ceiling(test, objective)),
        balanced_accuracy=test.performance["balanced_accuracy"],
        objective=test.objective,
        trivial=test.trivial,
    )


COLUMNS = {
    "held": "budget held",
    "ceiling": "ceiling",
    "share": "held / ceiling",
    "test_ceiling": "ceiling, test noise only",
    "balanced_accuracy": "balanced accuracy",
    "objective": "objective",
    "trivial": "trivial",
}


def report(lines: Iterable[Line]) -> str:
    """Return a Markdown table of means by data set and setting, then over all networks."""
    frame = pd.DataFrame(list(lines))
    both = pd.concat([frame, frame.assign(data="all")])
    means = both.groupby(["data", "setting"], sort=False).mean(numeric_only=True)
    means["share"] = means["held"] / means["ceiling"]
    return "\n".join(
        [
            f"| data | setting | {' | '.join(COLUMNS.values())} |",
            "|---" * (2 + len(COLUMNS)) + "|",
            *(
                f"| {data} | {setting} | {' | '.join(f'{value:.3f}' for value in row)} |"
                for (data, setting), row in zip(
                    means.index, means[list(COLUMNS)].values, strict=True
                )
            ),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study and print its table."""
    models = benchmark_models()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--metric", default="spd", choices=("spd", "eod", "aod", "fprd", "di"))
    parser.add_argument("--method", default="thresholds", choices=METHODS)
    parser.add_argument("--networks", nargs="+", default=list(models), choices=models)
    parser.add_argument("--resplits", type=int, default=100, help="per network")
    parser.add_argument("--first", type=int, default=0, help="number of the first re-split")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args(arguments)
    if options.resplits < 1 or options.first < 0 or options.jobs < 1:
        parser.error("needs at least 1 re-split and 1 process")
    study = partial(compare, metric=options.metric, method=options.method, settings=SETTINGS)
    resplits = range(options.first, options.first + options.resplits)
    pairs = product(options.networks, resplits)
    torch.set_num_threads(1)
    if options.jobs == 1:
        lines = list(starmap(study, pairs))
    else:
        context = multiprocessing.get_context("spawn")
        with context.Pool(options.jobs, torch.set_num_threads, (1,)) as pool:
            lines = pool.starmap(study, pairs)
    print(report(chain.from_iterable(lines)))


if __name__ == "__main__":
    main()
