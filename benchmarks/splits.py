"""Compare methods on test rows, over many random re-splits of each network's held-out rows.

    python benchmarks/splits.py --metric spd --methods prune gda --resplits 10

One published split may be lucky. Here the validation and test rows of each network are pooled and
split into random halves, again and again; every method is tuned on one half and evaluated on the
other, as a cell of ``fairfix.bench``. Prints Markdown.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from itertools import chain, product
from typing import Any

import pandas as pd
import torch
from benchmark_models import benchmark_models, halved
from fairlearn_thresholds import CONSTRAINTS, evaluate_rule, fairlearn_rule

from fairfix import methods
from fairfix.bench.cell_table import BASELINE, UNMODIFIED, cell_table
from fairfix.bench.plan import plan_study
from fairfix.bench.split_statistics import mean_interval
from fairfix.bench.study import serial_backend
from fairfix.bench.task import Task
from fairfix.data.problem import Problem
from fairfix.methods import _search as search
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.stats.evaluation import Evaluation
from fairfix.workflows.debias import make_objective

COLUMNS = ["task", "split", "method", "objective", "held", "trivial", "performance"]
Line = dict[str, Any]
"""The ``COLUMNS`` of one cell, see ``fairfix.bench.cell_table``."""


def compare(
    model: str, resplit: int, *, metric: str, names: Sequence[str], peers: bool
) -> list[Line]:
    """Return one line per method on one re-split, the baseline first.

    Raises:
        RuntimeError: if a method has no result.
    """
    task, objective = halved(pooled_task(model), resplit), make_objective(metric)
    study = plan_study([task], [objective], list(dict.fromkeys((BASELINE, *names))))
    rows = list(serial_backend([(cell, task) for cell in study.cells]))
    for row in rows:
        if row["status"] != "done":
            raise RuntimeError(f"{row['method']} on {model}: {row['reason']}")
    cells = cell_table(rows)
    lines: list[Line] = cells[cells["method"] != UNMODIFIED][COLUMNS].to_dict("records")
    if peers:
        validation, test = (case.problem for case in task.cases())
        lines += [
            _peer_line(task, name, peer(validation, test, objective))
            for name, peer in PEERS.items()
        ]
    return lines


@cache
def pooled_task(model: str) -> Task:
    """Return the task of a model, read once per process."""
    return benchmark_models()[model].task()


def _peer_line(task: Task, name: str, evaluation: Evaluation) -> Line:
    performance = evaluation.performance["balanced_accuracy"]
    values = (evaluation.objective, evaluation.met, evaluation.trivial, performance)
    return dict(zip(COLUMNS, (task.name, task.split, name, *values), strict=True))


def fairlearn(validation: Problem, test: Problem, objective: Objective) -> Evaluation:
    """Fit a ThresholdOptimizer and evaluate it on the test rows."""
    return evaluate_rule(fairlearn_rule(validation, objective.metric.key), test, objective)


PEERS: dict[str, Callable[[Problem, Problem, Objective], Evaluation]] = {"fairlearn": fairlearn}
"""Other tools, evaluated on the same rows; all need the group of a row to decide on it."""


def interval(values: pd.Series[float]) -> str:
    """Return mean and 95 % t interval as text; the ends are nan for a single value."""
    mean, low, high = mean_interval(values.to_numpy(dtype=float))
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def report(lines: Iterable[Line]) -> str:
    """Return two Markdown tables: means by method with gains, and mean objectives by network."""
    frame = pd.DataFrame(list(lines))
    columns = ["objective", "held", "trivial", "performance"]
    overall = frame.groupby("method", sort=False)[columns].mean()
    paired = frame.pivot(index=["task", "split"], columns="method", values="objective")
    gains = paired.sub(paired[BASELINE], axis=0)
    by_network = frame.pivot_table("objective", "method", "task", sort=False)
    return "\n".join(
        [
            "| method | objective | budget held | trivial | balanced accuracy "
            "| gain over identity, by pair | gain over identity, by network |",
            "|---|---|---|---|---|---|---|",
            *(
                f"| {row.Index} | {row.objective:.3f} | {row.held:.2f} | {row.trivial:.2f} "
                f"| {row.performance:.3f} | {_gain(gains[row.Index])} |"
                for row in overall.itertuples()
            ),
            "",
            f"| objective | {' | '.join(by_network.columns)} |",
            "|---|" + "---|" * len(by_network.columns),
            *(
                f"| {method} | {' | '.join(f'{value:.3f}' for value in values)} |"
                for method, values in by_network.iterrows()
            ),
        ]
    )


def _gain(gain: pd.Series[float]) -> str:
    """Return two table cells: the interval over all pairs, and over the networks' means."""
    if gain.name == BASELINE:
        return " | "
    return f"{interval(gain)} | {interval(gain.groupby('task').mean())}"


def _prepare(learned: float) -> None:
    """Set up a process: one thread, and the factor on standard errors under study."""
    torch.set_num_threads(1)
    search.IN_SAMPLE_FACTOR = learned


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study and print its tables."""
    models = benchmark_models()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--metric", default="spd", choices=METRICS)
    parser.add_argument("--methods", nargs="*", default=["prune", "gda"], choices=methods.names())
    parser.add_argument("--networks", nargs="+", default=list(models), choices=models)
    parser.add_argument("--resplits", type=int, default=10, help="per network, at least 2")
    parser.add_argument("--first", type=int, default=0, help="number of the first re-split")
    parser.add_argument(
        "--learned",
        type=float,
        default=search.IN_SAMPLE_FACTOR,
        help="factor on the standard errors of networks that a method trained",
    )
    parser.add_argument("--peers", action="store_true", help=f"also {', '.join(PEERS)}")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args(arguments)
    if options.resplits < 2 or options.jobs < 1:
        parser.error("needs at least 2 re-splits and 1 process")
    if options.peers and options.metric not in CONSTRAINTS:
        parser.error(f"--peers needs --metric {' or '.join(CONSTRAINTS)}")
    study = partial(compare, metric=options.metric, names=options.methods, peers=options.peers)
    resplits = range(options.first, options.first + options.resplits)
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.jobs, _prepare, (options.learned,)) as pool:
        pairs = product(options.networks, resplits)
        print(report(chain.from_iterable(pool.starmap(study, pairs))))


if __name__ == "__main__":
    main()
