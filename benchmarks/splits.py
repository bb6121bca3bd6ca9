"""How methods do on new rows: a study over many re-splits of the networks' held-out rows.

    python benchmarks/splits.py --metric spd --methods prune gda --resplits 10

One published split is luck. Here the validation and test rows of each network are pooled and halved
by a seeded permutation, again and again; every method is fitted on one half and judged on the
other. Prints Markdown.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain, product
from typing import Any

import numpy as np
import pandas as pd
import torch
from networks import networks
from numpy.typing import NDArray
from scipy import stats
from sklearn.base import BaseEstimator
from torch import Tensor

from fairfix import methods
from fairfix.data.problem import Problem
from fairfix.data.splitting import random_halves
from fairfix.methods import _search as search
from fairfix.metrics.objective import Objective
from fairfix.metrics.registry import METRICS
from fairfix.stats.evaluation import Evaluation, evaluate
from fairfix.workflows.case import Case
from fairfix.workflows.debias import debias, make_objective

BASELINE, MEASURE = "identity", "balanced_accuracy"
FAIRLEARN = {"spd": "demographic_parity", "eod": "true_positive_rate_parity"}


@dataclass(frozen=True)
class Cell:
    """One method on one re-split of one network, as judged on the half it never saw.

    ``objective`` is the balanced accuracy where the budget held, else 0; ``trivial`` rules decide
    nearly all rows alike.
    """

    method: str
    network: str
    resplit: int
    objective: float
    held: bool
    trivial: bool
    balanced_accuracy: float


def cells(
    network: str, resplit: int, *, metric: str, names: Sequence[str], peers: bool
) -> list[Cell]:
    """All methods on one re-split, the baseline first."""
    case, objective = pooled_case(network), make_objective(metric)
    fitting, judged = random_halves(case.problem, resplit)
    found = {
        name: debias(
            replace(case, problem=fitting),
            name,
            objective,
            test=replace(case, problem=judged),
            seed=resplit,
        ).judged.debiased
        for name in dict.fromkeys((BASELINE, *names))
    }
    if peers:
        found |= {name: peer(fitting, judged, objective) for name, peer in PEERS.items()}
    return [
        Cell(name, network, resplit, e.objective, e.met, e.trivial, e.performance[MEASURE])
        for name, e in found.items()
    ]


@cache
def pooled_case(network: str) -> Case:
    """Read once in every process."""
    return networks()[network].pooled_case()


def fairlearn(fitting: Problem, judged: Problem, objective: Objective) -> Evaluation:
    """ThresholdOptimizer, judged."""
    decisions = fairlearn_rule(fitting, objective.metric.key)(judged)
    no_cut = (math.nan,) * judged.n_groups
    return evaluate(judged, judged.scores, decisions, objective, no_cut)


def fairlearn_rule(fitting: Problem, metric: str) -> Callable[[Problem], Tensor]:
    """ThresholdOptimizer: random cuts by group that make the gap 0 on the fitting rows."""
    from fairlearn.postprocessing import ThresholdOptimizer  # type: ignore[import-untyped]

    optimizer = ThresholdOptimizer(
        estimator=Scored(),
        constraints=FAIRLEARN[metric],
        objective="balanced_accuracy_score",
        prefit=True,
        predict_method="predict",
    )
    optimizer.fit(
        fitting.scores.double().numpy()[:, None],
        fitting.labels.numpy(),
        sensitive_features=fitting.groups.numpy(),
    )

    def decide(problem: Problem) -> Tensor:
        scores, groups = problem.scores.double().numpy(), problem.groups.numpy()
        decisions = optimizer.predict(scores[:, None], sensitive_features=groups, random_state=0)
        return torch.from_numpy(decisions == 1)

    return decide


class Scored(BaseEstimator):  # type: ignore[misc]
    """A fitted estimator, as fairlearn wants one, whose prediction is its only feature."""

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, features: Any, labels: Any) -> Scored:
        return self

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        return features[:, 0]


# Each judged on the same rows; all need the group of a row to decide on it.
PEERS: dict[str, Callable[[Problem, Problem, Objective], Evaluation]] = {"fairlearn": fairlearn}


def interval(values: pd.Series[float]) -> str:
    """Mean and 95 % t interval; its ends are nan for a single value."""
    n = len(values)
    half = float(stats.t.ppf(0.975, n - 1)) * values.std() / math.sqrt(n)
    return f"{values.mean():+.3f} [{values.mean() - half:+.3f}, {values.mean() + half:+.3f}]"


def report(found: Iterable[Cell]) -> str:
    """Two Markdown tables: means by method and what it gains on the baseline; means by network."""
    frame = pd.DataFrame(list(found))
    overall = frame.groupby("method", sort=False)[["objective", "held", "trivial", MEASURE]].mean()
    paired = frame.pivot(index=["network", "resplit"], columns="method", values="objective")
    gains = paired.sub(paired[BASELINE], axis=0)
    by_network = frame.pivot_table("objective", "method", "network", sort=False)
    return "\n".join(
        [
            "| method | objective | budget held | trivial | balanced accuracy "
            "| gain on identity, by pair | gain on identity, by network |",
            "|---|---|---|---|---|---|---|",
            *(
                f"| {row.Index} | {row.objective:.3f} | {row.held:.2f} | {row.trivial:.2f} "
                f"| {row.balanced_accuracy:.3f} | {_gain(gains[row.Index])} |"
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
    """Two cells: the interval over all pairs, and the one over the networks' means."""
    if gain.name == BASELINE:
        return " | "
    return f"{interval(gain)} | {interval(gain.groupby('network').mean())}"


def _prepare(learned: float) -> None:
    """Make a process ready: one thread, and the factor to be studied."""
    torch.set_num_threads(1)
    search.LEARNED = learned


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study and print its tables."""
    known = networks()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--metric", default="spd", choices=METRICS)
    parser.add_argument("--methods", nargs="*", default=["prune", "gda"], choices=methods.names())
    parser.add_argument("--networks", nargs="+", default=list(known), choices=known)
    parser.add_argument("--resplits", type=int, default=10, help="of each network, at least 2")
    parser.add_argument("--first", type=int, default=0, help="number of the first re-split")
    parser.add_argument(
        "--learned", type=float, default=search.LEARNED, help="factor on errors of learned networks"
    )
    parser.add_argument("--peers", action="store_true", help=f"also {', '.join(PEERS)}")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    asked = parser.parse_args(arguments)
    if asked.resplits < 2 or asked.jobs < 1:
        parser.error("needs 2 re-splits and 1 process, or more")
    if asked.peers and asked.metric not in FAIRLEARN:
        parser.error(f"--peers needs --metric {' or '.join(FAIRLEARN)}")
    study = partial(cells, metric=asked.metric, names=asked.methods, peers=asked.peers)
    pairs = list(product(asked.networks, range(asked.first, asked.first + asked.resplits)))
    fresh = multiprocessing.get_context("spawn")
    with fresh.Pool(asked.jobs, _prepare, (asked.learned,)) as pool:
        print(report(chain.from_iterable(pool.starmap(study, pairs))))


if __name__ == "__main__":
    main()
