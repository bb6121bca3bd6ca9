"""Layer-wise optimization by boosted trees (Savani, White, Govindarajulu 2020, algorithm 2).

Each layer is tuned alone by a black-box optimizer: gradient-boosted quantile regression trees
predict the objective from the points tried so far, and the lower confidence bound of the prediction
chooses the next five points. The best layer is kept. Layers joined by + are tuned together.

Deviations from the paper: only some coordinates of a layer are tuned, a random subset of its
entries, each within 2.2 standard deviations of the layer's entries (as in the authors' code), or
random directions of the whole layer; so wide layers can be tuned as well. The trees are those of
scikit-learn, fitted once for five points. Every point tried is evaluated at its exact optimal
threshold, and standard errors count 1.2 times because the best point is chosen on the same rows.

When not to use it: if gradients are available, gda and prune reduce the gap further in less time.

Changes: network weights and threshold.
Group at prediction: no.
Gradients: no.
Training rows: no.
Cost: 20 forward passes and 2 fits of the trees per layer.
Paper: Savani, White, Govindarajulu 2020.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor, nn

from fairfix._utils.constraints import Range
from fairfix._utils.name_list import split_names
from fairfix._utils.progress import track
from fairfix.data.problem import Problem
from fairfix.methods._quantile_trees import TreeOptimizer
from fairfix.methods._result import Result
from fairfix.methods._search import CandidateSearch
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.late_layers import late_layers
from fairfix.models.parameter_names import layer_names, select_parameters
from fairfix.models.scorer import Scorer

BATCH = 5  # points between two fits of the trees
UNDEFINED_LOSS = 2.0  # loss reported to the optimizer for undefined candidates


def layerwise(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    layers: str = "",
    calls: Annotated[int, Range(0)] = 20,
    dims: Annotated[int, Range(1)] = 20,
    space: Literal["subset", "subspace"] = "subset",
    greedy: bool = False,
    initial: Annotated[int, Range(0)] = 0,
    kappa: Annotated[float, Range(0)] = 1.96,
    reach: Annotated[float, Range(0, low_open=True)] = 2.2,
    trees: Annotated[int, Range(1)] = 30,
) -> Result:
    """Tune each layer alone by a black-box optimizer and keep the best.

    Args:
        problem: the validation rows; needs the network.
        objective: what is optimized.
        seed: of coordinates and optimizer.
        layers: layers to tune in this order, comma-separated; + joins layers to tune together.
            Empty for all, from the last to the first.
        calls: candidates per layer; 0 leaves the network unchanged.
        dims: coordinates tuned per layer, at most.
        space: kind of coordinates. "subset" is single entries, "subspace" random directions of the
            whole layer.
        greedy: start each layer from the best network. Otherwise from the unmodified one.
        initial: random candidates before the first fit; 0 for half of the calls.
        kappa: exploration. It is the number of deviations subtracted in the confidence bound.
        reach: box width. It is the largest change, in standard deviations of the layer.
        trees: boosted trees per quantile.

    Raises:
        TableError: if the problem has only scores.
        UsageError: if a layer is unknown.
    """
    scorer, inputs = problem.network()
    search = CandidateSearch(problem, objective, in_sample=True)
    generator = np.random.default_rng(seed)
    for names in track(_order(scorer.network, layers), "layerwise"):
        coordinates = _LayerCoordinates(scorer.network, names, dims, space, reach, generator)
        late, kept = late_layers(scorer, inputs, coordinates.parameters)
        before = search.best.utility
        optimizer = TreeOptimizer(
            coordinates.dims,
            initial=initial or max(1, calls // 2),
            kappa=kappa,
            trees=trees,
            generator=generator,
        )
        best = _tune(search, late, kept, coordinates, optimizer, calls)
        improved = search.best.utility > before
        coordinates.apply(best if greedy and improved else np.zeros(coordinates.dims))
    return search.result()


def _order(network: nn.Module, layers: str) -> list[list[str]]:
    """Return the layers to tune, those in one list together.

    These are the named ones in their order, else all from the last to the first.
    """
    named = [joined.split("+") for joined in split_names(layers)]
    for name in (name for joined in named for name in joined):
        select_parameters(network, name)
    return named or [[name] for name in layer_names(network)[::-1]]


def _tune(
    search: CandidateSearch,
    scorer: Scorer,
    inputs: Inputs,
    coordinates: _LayerCoordinates,
    optimizer: TreeOptimizer,
    calls: int,
) -> np.ndarray:
    """Let the optimizer try ``calls`` points in batches and return the best point (dims,)."""
    best, best_utility = np.zeros(coordinates.dims), -math.inf
    tried = 0
    while tried < calls:
        points = optimizer.ask(min(BATCH, calls - tried))
        losses = []
        for point in points:
            coordinates.apply(point)
            scores = scorer.score(inputs)
            utility = -math.inf
            if scores.isfinite().all():
                utility = search.add(scores, scorer.weights).utility
            if utility > best_utility:
                best, best_utility = point, utility
            losses.append(min(-utility, UNDEFINED_LOSS))
        tried += len(points)
        optimizer.tell(points, losses)
    return best


class _LayerCoordinates:
    """Points of [-1, 1]^dims as changes of the parameters of one layer or several.

    Args:
        network: changed in place.
        names: of the layers.
        dims: number of coordinates, at most.
        space: "subset" or "subspace".
        reach: largest change, in standard deviations of a parameter's entries.
        generator: draws entries or directions.
    """

    def __init__(
        self,
        network: nn.Module,
        names: list[str],
        dims: int,
        space: str,
        reach: float,
        generator: np.random.Generator,
    ) -> None:
        chosen: dict[str, nn.Parameter] = {}
        for name in names:
            chosen |= select_parameters(network, name)
        self.parameters = list(chosen.values())
        self._base = nn.utils.parameters_to_vector(self.parameters).detach().clone()
        widths = reach * torch.cat([_spread(p).expand(p.numel()) for p in self.parameters]).cpu()
        n = len(widths)
        self.dims = min(dims, n)
        if space == "subset":
            self._entries = torch.from_numpy(generator.choice(n, self.dims, replace=False))
            self._directions = torch.diag(widths[self._entries])
        else:
            self._entries = torch.arange(n)
            normal = generator.standard_normal((self.dims, n)) / math.sqrt(self.dims)
            self._directions = torch.from_numpy(normal.astype(np.float32)) * widths

    def apply(self, point: np.ndarray) -> None:
        """Set the layer to the point (dims,); 0 is where it was at the start."""
        values = self._base.clone()
        change = torch.from_numpy(point.astype(np.float32)) @ self._directions
        values[self._entries.to(values.device)] += change.to(values)
        nn.utils.vector_to_parameters(values, self.parameters)


def _spread(parameter: Tensor) -> Tensor:
    """Return the standard deviation of the entries; their size if all are equal; 1 if all are 0."""
    spread = parameter.detach().float().std(unbiased=False)
    size = parameter.detach().float().abs().mean()
    return torch.where(spread > 0, spread, torch.where(size > 0, size, torch.ones_like(size)))
