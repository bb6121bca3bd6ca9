"""Train a network on balanced cross-entropy and a penalty, from its own weights.

Each minibatch has rows of every combination of group and label, so that the gap of a minibatch is
always defined; importance weights restore the shares of all rows. Snapshots are exponential moving
averages of the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import one_hot

from fairfix._utils.progress import track
from fairfix.data.problem import Problem
from fairfix.errors import TableError
from fairfix.methods._fine_tuning import descend
from fairfix.methods._losses import Minibatch, Penalty, loss_of
from fairfix.metrics.counts import in_rows
from fairfix.metrics.fairness_metrics import Metric
from fairfix.models.inputs import Inputs
from fairfix.models.late_layers import late_layers
from fairfix.models.parameter_names import select_parameters
from fairfix.models.scorer import Scorer

ROWS_PER_CELL = 48
DECAY = 0.95


@dataclass(frozen=True)
class Job:
    """One training run.

    Attributes:
        labels: (N,) probability of the favorable label of every row.
        mu: weight of the penalty in the loss; 0 trains on the probabilities alone.
        penalty: see ``loss_of``.
    """

    labels: Tensor
    mu: float
    penalty: Penalty = "gap"


@dataclass(frozen=True)
class Snapshot:
    """The averaged network after some steps of a job.

    Attributes:
        job: position of the job.
        step: number of steps, from 1.
        scores: (N,) in [0, 1], of the rows that candidates are evaluated on.
        weights: complete state of the network.
    """

    job: int
    step: int
    scores: Tensor
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class SharedSnapshot:
    """A ``Snapshot`` of a network that several problems share, with the scores of each."""

    job: int
    step: int
    scores: tuple[Tensor, ...]
    weights: dict[str, Tensor]


def train_jobs(
    problem: Problem,
    metric: Metric,
    jobs: Sequence[Job],
    *,
    seed: int,
    evaluated: Inputs | None = None,
    layers: str = "",
    steps: int = 240,
    every: int = 40,
    learning_rate: float = 1e-3,
    task: str = "finetune",
) -> Iterator[Snapshot]:
    """Train the network of a problem once for each job and yield snapshots, job by job.

    All jobs see the same minibatches. BatchNorm and dropout are in evaluation mode. A job ends
    early once its loss or its scores are no longer finite.

    Args:
        problem: the rows to train on; needs the network, which is left unchanged.
        metric: of the gap, where that is the penalty.
        jobs: one training run each.
        seed: of the minibatches.
        evaluated: inputs of the rows that snapshots score; None for the rows to train on.
        layers: parameters to train, see ``select_parameters``; empty for all.
        steps: Adam steps of a job.
        every: steps between two snapshots; the last step has one as well.
        learning_rate: step size.
        task: name shown with the progress.

    Raises:
        CheckpointError: if the weights of the network cannot be changed.
        TableError: if the problem has only scores, or a group has no row of a label.
        UsageError: if ``layers`` names no parameter.
    """
    scorer, inputs = problem.network()
    runs = train_shared(
        [problem],
        [(scorer, inputs)],
        metric,
        [[job] for job in jobs],
        seed=seed,
        evaluated=evaluated,
        layers=layers,
        steps=steps,
        every=every,
        learning_rate=learning_rate,
        task=task,
    )
    for found in runs:
        yield Snapshot(found.job, found.step, found.scores[0], found.weights)


def train_shared(
    problems: Sequence[Problem],
    networks: Sequence[tuple[Scorer, Inputs]],
    metric: Metric,
    jobs: Sequence[Sequence[Job]],
    *,
    seed: int,
    evaluated: Inputs | None = None,
    layers: str = "",
    steps: int = 240,
    every: int = 40,
    learning_rate: float = 1e-3,
    task: str = "finetune",
) -> Iterator[SharedSnapshot]:
    """Train one network on several problems, such as its labels; see ``train_jobs``.

    The loss is the mean of the problems' losses, each on a minibatch of its own rows.

    Args:
        problems: the rows of each.
        networks: how each reads the output of the network, which is changed in place, and inputs.
        jobs: training runs, each with one job a problem.
        evaluated: as in ``train_jobs``, with one problem.
        others: as in ``train_jobs``.
    """
    network = networks[0][0].network
    parameters = select_parameters(network, layers)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in parameters)
    changing = parameters.values()
    learners = [late_layers(*each, changing) for each in networks]
    evaluators = learners
    if evaluated is not None:
        evaluators = [late_layers(networks[0][0], evaluated, changing)]
    start = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    batches = [StratifiedBatches(problem, ROWS_PER_CELL, seed) for problem in problems]
    losses = [[loss_of(job.penalty, job.mu, metric) for job in each] for each in jobs]
    minibatches = [
        [_Minibatches(*parts) for parts in zip(problems, each, batches, strict=True)]
        for each in jobs
    ]
    for index in track(range(len(jobs) * steps), task):
        job, step = index // steps, index % steps + 1
        if step == 1:
            _assign(parameters, start)
            for each in batches:
                each.restart()
            optimizer = torch.optim.Adam(changing, lr=learning_rate, fused=True)
            average = {name: value.clone() for name, value in start.items()}
            is_finite = True
        if not is_finite:
            continue
        parts = []
        for place, (scorer, inputs) in enumerate(learners):
            rows = batches[place].draw()
            logits = scorer.differentiable_logit(inputs.take(rows))
            parts.append(losses[job][place](minibatches[job][place](logits, rows)))
        is_finite = descend(torch.stack(parts).mean(), optimizer)
        _update_average(average, parameters, step)
        if is_finite and (step % every == 0 or step == steps):
            current = {name: parameter.detach().clone() for name, parameter in parameters.items()}
            _assign(parameters, average)
            scores = tuple(scorer.score(inputs) for scorer, inputs in evaluators)
            is_finite = all(bool(own.isfinite().all()) for own in scores)
            if is_finite:
                yield SharedSnapshot(job, step, scores, networks[0][0].weights())
            _assign(parameters, current)


class StratifiedBatches:
    """Minibatches with the same number of rows of each group and label.

    Rows without a group are a further group, if there are any.

    Rows are drawn without replacement within a minibatch, or with replacement where a cell has too
    few. Rows with weight 0 are not drawn.

    Args:
        problem: the rows.
        rows_per_cell: rows of each cell in a minibatch.
        seed: of the draws.

    Raises:
        TableError: if a group has no row of a label.
    """

    def __init__(self, problem: Problem, rows_per_cell: int, seed: int) -> None:
        weights = torch.ones_like(problem.scores, dtype=torch.float64)
        if problem.weights is not None:
            weights = in_rows(problem.weights)
        n_known = 2 * problem.n_groups
        cell = (2 * problem.groups + problem.labels).cpu().numpy()
        drawable = weights.cpu().numpy() > 0
        self._cells: list[NDArray[np.int64]] = [
            np.flatnonzero((cell == c) & drawable) for c in range(n_known)
        ]
        for c, rows in enumerate(self._cells):
            if len(rows) == 0:
                name, favorable = problem.group_names[c // 2], c % 2 == 1
                row = "row" if problem.weights is None else "row of positive weight"
                raise TableError(
                    f"Training needs rows of both labels in every group, but group {name!r} has no "
                    f"{row} with {'' if favorable else 'un'}favorable label; add rows, or merge or "
                    "drop the group."
                )
        for c in (-2, -1):  # without a group
            rows = np.flatnonzero((cell == c) & drawable)
            self._cells += [rows] if len(rows) else []
        self._rows_per_cell, self._seed = rows_per_cell, seed
        self._device = problem.groups.device
        sizes = torch.tensor([len(rows) for rows in self._cells], device=self._device)
        scale = sizes.double() / (rows_per_cell * len(problem))
        self._scale = scale.repeat_interleave(rows_per_cell)
        self._weights = weights
        of_cell = torch.arange(len(self._cells), device=self._device) // 2
        self.groups = of_cell.repeat_interleave(rows_per_cell)
        self.restart()

    def restart(self) -> None:
        """Begin again with the first minibatch."""
        self._generator = np.random.default_rng(self._seed)

    def draw(self) -> Tensor:
        """Return the row numbers of the next minibatch, (B,), cell by cell."""
        n = self._rows_per_cell
        drawn = [self._generator.choice(c, n, replace=len(c) < n) for c in self._cells]
        return torch.from_numpy(np.concatenate(drawn)).to(self._device)

    def importance(self, rows: Tensor) -> Tensor:
        """Return the weights (B,) of a minibatch that represents all rows; their sum is about 1."""
        return self._scale * self._weights[rows]


class _Minibatches:
    """What the loss of a job gets of a minibatch."""

    def __init__(self, problem: Problem, job: Job, batches: StratifiedBatches) -> None:
        weights = 1.0 if problem.weights is None else in_rows(problem.weights)
        self._labels = job.labels.double()
        self._base_rate = float((weights * self._labels).mean())
        self._batches = batches
        self._membership = one_hot(batches.groups, problem.n_groups + 1)[:, :-1]

    def __call__(self, logits: Tensor, rows: Tensor) -> Minibatch:
        return Minibatch(
            logits=logits,
            favorable=self._labels[rows].to(logits.dtype),
            weight=self._batches.importance(rows).to(logits.dtype),
            membership=self._membership.to(logits.dtype),
            base_rate=self._base_rate,
        )


@torch.no_grad()
def _assign(parameters: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        parameters[name].copy_(value)


@torch.no_grad()
def _update_average(
    average: dict[str, Tensor], parameters: dict[str, nn.Parameter], step: int
) -> None:
    """Move the average to the parameters, faster in the first steps."""
    decay = min(DECAY, step / (step + 5))
    for name, value in average.items():
        value.lerp_(parameters[name], 1 - decay)
