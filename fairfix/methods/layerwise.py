"""Layer-wise optimization by gradient-boosted trees (Savani and others 2020, algorithm 2).

One layer after another is tuned alone by a black-box optimizer: gradient-boosted quantile trees
guess the objective from the points tried so far, and the lower confidence bound of the guess
chooses the next. The best layer is kept.

Few coordinates of a layer are moved: a random subset of its entries, each within 2.2 standard
deviations of the layer's entries, or a random subspace of all of them, so that width is no limit.
Work before the layer is done once.

When not to use it: gradients, where there are any, find more in less time.

Changes: weights and cut.
Group at prediction: no.
Gradients: no.
Cost: 20 forward passes a layer, and the trees.
Paper: Savani, White, Govindarajulu 2020.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from fairfix._utils.progress import track
from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods._quantile_trees import QuantileTrees
from fairfix.methods._result import Result
from fairfix.methods._search import Search
from fairfix.metrics.objective import Objective
from fairfix.models.parameter_names import layer_names, select_parameters
from fairfix.models.scorer import Scorer
from fairfix.models.weight_batches.partial_forward import PartialForward

REACH = 2.2
BATCH = 5
WORST = -2.0  # what an undefined candidate is told to be worth


def layerwise(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    layers: str = "",
    calls: int = 20,
    dims: int = 20,
    space: Literal["subset", "subspace"] = "subset",
    greedy: bool = False,
) -> Result:
    """Tune each layer alone and keep the best.

    Args:
        problem: needs the network.
        layers: the layers to try, comma-separated; empty for all that have parameters, last first.
        calls: networks judged for each layer; 0 leaves the network as it is.
        dims: coordinates moved in a layer, at most.
        space: "subset" moves single entries, "subspace" random directions of the whole layer.
        greedy: go on from the best network so far instead of the untouched one.
    """
    if calls < 0 or dims < 1:
        raise UsageError("layerwise needs calls >= 0 and dims >= 1.")
    scorer, features = problem.network()
    search = Search(problem, objective, learns=True)
    generator = np.random.default_rng(seed)
    for name in track(_order(scorer.network, layers), "layerwise"):
        moves = _Moves(scorer.network, name, dims, space, generator)
        replay = PartialForward(scorer, features, moves.parameters)
        before = search.best.utility
        optimizer = _optimizer(moves.dims, calls, int(generator.integers(2**31)))
        best = _tune(search, scorer, replay, moves, optimizer, calls)
        moves.make(best if greedy and search.best.utility > before else np.zeros(moves.dims))
    return search.result()


def _order(network: nn.Module, layers: str) -> list[str]:
    """The layers to try, in the order they were named; all of them from the last to the first."""
    select_parameters(network, layers)
    named = [name.strip() for name in layers.split(",") if name.strip()]
    return named or layer_names(network)[::-1]


def _optimizer(dims: int, calls: int, seed: int) -> Any:
    """scikit-optimize's ask-and-tell optimizer over the box [-1, 1]^dims."""
    from skopt import Optimizer

    return Optimizer(
        [(-1.0, 1.0)] * dims,
        base_estimator=QuantileTrees(random_state=seed),
        acq_func="LCB",
        acq_optimizer="sampling",
        n_initial_points=max(1, calls // 2),
        random_state=seed,
    )


def _tune(
    search: Search,
    scorer: Scorer,
    replay: PartialForward,
    moves: _Moves,
    optimizer: Any,
    calls: int,
) -> np.ndarray:
    """Let the optimizer try ``calls`` points in batches; the best point for this layer."""
    best, best_utility = np.zeros(moves.dims), -math.inf
    tried = 0
    while tried < calls:
        points = optimizer.ask(n_points=min(BATCH, calls - tried))
        losses = []
        for point in points:
            moves.make(np.asarray(point))
            scores = replay.run()
            utility = -math.inf
            if scores.isfinite().all():
                utility = search.offer(scores, scorer.weights).utility
            if utility > best_utility:
                best, best_utility = np.asarray(point), utility
            losses.append(-max(utility, WORST))
        tried += len(points)
        if tried < calls:
            optimizer.tell(points, losses)
    return best


class _Moves:
    """Points of [-1, 1]^dims as changes to one layer's parameters."""

    def __init__(
        self, network: nn.Module, name: str, dims: int, space: str, generator: np.random.Generator
    ) -> None:
        self.parameters = list(select_parameters(network, name).values())
        self._base = nn.utils.parameters_to_vector(self.parameters).detach().clone()
        reach = REACH * torch.cat([_spread(p).expand(p.numel()) for p in self.parameters]).cpu()
        n = len(reach)
        self.dims = min(dims, n)
        if space == "subset":
            self._at = torch.from_numpy(generator.choice(n, self.dims, replace=False))
            self._directions = torch.diag(reach[self._at])
        else:
            self._at = torch.arange(n)
            normal = generator.standard_normal((self.dims, n)) / math.sqrt(self.dims)
            self._directions = torch.from_numpy(normal.astype(np.float32)) * reach

    def make(self, point: np.ndarray) -> None:
        """Set the layer to the point; 0 is where it was when this was made."""
        moved = self._base.clone()
        change = torch.from_numpy(point.astype(np.float32)) @ self._directions
        moved[self._at.to(moved.device)] += change.to(moved)
        nn.utils.vector_to_parameters(moved, self.parameters)


def _spread(parameter: Tensor) -> Tensor:
    """Standard deviation of a tensor's entries; of all equal ones, their size; of zeros, 1."""
    spread = parameter.detach().float().std(unbiased=False)
    size = parameter.detach().float().abs().mean()
    return torch.where(spread > 0, spread, torch.where(size > 0, size, torch.ones_like(size)))
