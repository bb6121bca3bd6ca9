"""Compare the search of ``layerwise`` with two others at equal numbers of networks evaluated.

    python benchmarks/layerwise_search.py --seeds 2 --calls 40

- one fit: the trees are fitted once for each batch of points, as ``layerwise`` does;
- constant liar: scikit-optimize fits them again for every point, pretending that the points of the
  batch so far gave the worst value, as fairfix did up to 0.3.0;
- random: uniform points.

For each network the objective of the best network found on the validation rows, by default on the
last layer, and the seconds. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np
from benchmark_models import benchmark_models

from fairfix import methods
from fairfix.methods import layerwise
from fairfix.methods._quantile_trees import QuantileTrees, TreeOptimizer
from fairfix.metrics.objective import Objective
from fairfix.models.parameter_names import layer_names

SEARCHES = ("one fit", "constant liar", "random")


class ConstantLiar(TreeOptimizer):
    """The same surrogate and bound in scikit-optimize's optimizer."""

    def __init__(
        self, dims: int, *, initial: int, kappa: float, trees: int, generator: np.random.Generator
    ) -> None:
        from skopt import Optimizer

        seed = int(generator.integers(2**31))
        self._optimizer = Optimizer(
            [(-1.0, 1.0)] * dims,
            base_estimator=QuantileTrees(seed, trees),
            acq_func="LCB",
            acq_func_kwargs={"kappa": kappa},
            acq_optimizer="sampling",
            n_initial_points=initial,
            random_state=seed,
        )

    def ask(self, n: int) -> np.ndarray:
        return np.asarray(self._optimizer.ask(n_points=n))

    def tell(self, points: np.ndarray, losses: Sequence[float]) -> None:
        self._optimizer.tell(points.tolist(), list(losses))


def best_utility(name: str, search: str, calls: int, seed: int) -> tuple[float, float]:
    """Return the objective of the best network found, and the seconds."""
    problem = benchmark_models()[name].case().problem
    scorer, _ = problem.network()
    options: dict[str, Any] = {"layers": layer_names(scorer.network)[-1], "calls": calls}
    if search == "random":
        options["initial"] = calls
    optimizer = ConstantLiar if search == "constant liar" else TreeOptimizer
    started = time.perf_counter()
    with mock.patch.object(layerwise, "TreeOptimizer", optimizer):
        result = methods.get("layerwise").run(problem, Objective(), seed=seed, **options)
    seconds = time.perf_counter() - started
    return max(step.utility for step in result.trajectory[1:]), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=40)
    given = parser.parse_args()
    print("| network | " + " | ".join(f"{name}, objective | s" for name in SEARCHES) + " |")
    print("|---|" + "---:|" * (2 * len(SEARCHES)))
    total: dict[str, list[tuple[float, float]]] = {search: [] for search in SEARCHES}
    for name in benchmark_models():
        shown = []
        for search in SEARCHES:
            found = [best_utility(name, search, given.calls, seed) for seed in range(given.seeds)]
            total[search] += found
            utility, seconds = np.mean(found, axis=0)
            shown.append(f"{utility:.4f} | {seconds:.2f}")
        print(f"| {name} | {' | '.join(shown)} |", flush=True)
    means = (np.mean(total[search], axis=0) for search in SEARCHES)
    print("| mean | " + " | ".join(f"{utility:.4f} | {s:.2f}" for utility, s in means) + " |")


if __name__ == "__main__":
    main()
