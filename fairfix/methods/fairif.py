"""Fine-tuning on training rows reweighted by their influence (Wang, Wu, He 2023, FairIF).

For every training row, influence functions give the change of the gaps between groups on the
validation rows, to first order, if the row counted for more. Row weights near 1/N are chosen that
close the gaps by this account; negative ones become 0. Then the network is fine-tuned on
the cross-entropy with these weights, and the best epoch is kept at its exact optimal threshold.
Training rows need no groups.

Compare it with --unweighted, the same training without the weights: in our runs further training
alone often did as much (docs/results.md).

The gaps are those of the rates that the metric compares, with scores in place of decisions; the
paper always takes those of the true positive and the true negative rate (--gaps eod,fprd), by a
Gumbel-softmax (--decisions gumbel). Equations with the Hessian of the training loss are solved by
conjugate gradients. Where it is not positive definite with the damping, which is usual for deep
networks, the Gauss-Newton matrix takes its place. Beyond 500,000 parameters the last layers alone
are considered and trained; --layers chooses others. Deviations from the paper: damping;
fine-tuning is the default, and --retrain trains from freshly initialized weights.

When not to use it: without the rows that the network was trained on, or if these reach the same
loss in every group, so that weights change little.

Changes: network weights and threshold.
Group at prediction: no.
Gradients: yes.
Training rows: needed, for influences and losses.
Cost: up to 50 passes over the training rows for each gap, and 20 epochs.
Paper: Wang, Wu, He 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from fairfix import metrics
from fairfix._utils.constraints import Range
from fairfix._utils.name_list import split_names
from fairfix.data.problem import Problem
from fairfix.data.training_rows import TrainingRows
from fairfix.errors import TableError
from fairfix.methods._balancing_weights import balancing_weights, weight_factors
from fairfix.methods._fine_tuning import descend, fine_tune, private_random_state
from fairfix.methods._gap_gradients import (
    Relaxation,
    gap_gradients,
    gaps_behind,
    gumbel_decisions,
)
from fairfix.methods._reinitialization import reinitialize
from fairfix.methods._result import Result
from fairfix.methods._reweighting import GapChange, Reweighting
from fairfix.methods._row_influences import Curvature, row_influences
from fairfix.methods._row_losses import RowLosses
from fairfix.methods._search import CandidateSearch
from fairfix.methods._soft_gap import soft_gap
from fairfix.metrics.counts import in_rows
from fairfix.metrics.fairness_metrics import Metric
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.late_layers import late_layers
from fairfix.models.parameter_names import last_layers, select_parameters
from fairfix.models.scorer import Scorer

MOST_PARAMETERS = 500_000
"""Parameters beyond which only the last layers are considered."""
TOLERANCE = 1e-3


def fairif(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    unweighted: bool = False,
    gaps: str = "",
    ridge: Annotated[float, Range(0, low_open=True)] = 0.1,
    epochs: Annotated[int, Range(0)] = 20,
    learning_rate: Annotated[float, Range(0, low_open=True)] = 2e-4,
    minibatch: Annotated[int, Range(2)] = 256,
    retrain: bool = False,
    layers: str = "",
    show_rows: bool = False,
    decisions: Literal["score", "gumbel"] = "score",
    gauss_newton: bool = False,
    damping: Annotated[float, Range(0)] = 0.01,
    iterations: Annotated[int, Range(1)] = 50,
) -> Result:
    """Reweight the training rows by influence, fine-tune on them, and keep the best epoch.

    Args:
        problem: the validation rows; needs the network and training rows.
        objective: what is optimized.
        seed: of minibatches, new weights, dropout and the Gumbel noise.
        unweighted: leave row weights as they are. It is the control, which shows what further
            training does without reweighting.
        gaps: gaps to close, as metrics. A list such as eod,fprd, which is the paper's; empty for
            those of the rates that the metric compares.
        ridge: lambda of the paper. Larger values keep the weights closer together.
        epochs: passes over the training rows; 0 leaves the network unchanged.
        learning_rate: step size of Adam.
        minibatch: training rows per step.
        retrain: start from freshly initialized weights. Dropout and BatchNorm are then in training
            mode; it needs more epochs and a larger step size.
        layers: layers to consider and to train. Names or patterns, comma-separated; head is the
            last one; empty for all, or for the last ones beyond 500,000 parameters. With --retrain
            all are trained.
        show_rows: list rows in the report. They are the training rows weighted up and down most,
            with the first 20 columns of the table, and with their images if the network takes any.
        decisions: differentiable decisions behind the gaps: "score" is the score itself, "gumbel"
            a Gumbel-softmax as in the paper.
        gauss_newton: take the Gauss-Newton matrix in place of the Hessian from the start.
        damping: added to the diagonal of the matrix.
        iterations: of conjugate gradients for each gap, at most; they end at a relative residual
            of 0.001.

    Raises:
        TableError: if the problem has only scores, or no training rows.
        UsageError: if a layer or a metric is unknown, or a layer cannot be initialized again.
    """
    scorer, inputs = problem.network()
    rows = problem.training
    if rows is None:
        raise TableError("fairif learns from training rows; add them with --train FILE.")
    notes: list[str] = []
    if not layers and (layers := last_layers(scorer.network, MOST_PARAMETERS)):
        notes.append(f"a large network: only its last layers {layers} are considered")
    parameters = select_parameters(scorer.network, layers)
    for name, parameter in scorer.network.named_parameters():
        parameter.requires_grad_(name in parameters)
    learner, learned = late_layers(scorer, rows.inputs, parameters.values())
    evaluator, evaluated = late_layers(scorer, inputs, parameters.values())
    search = CandidateSearch(problem, objective)
    weights = _weights(rows)
    reweighting = None
    if unweighted:
        notes.append("the control: training rows keep their weights")
    else:
        known = [metrics.get(key) for key in split_names(gaps)] or gaps_behind(objective.metric)
        noise = gumbel_decisions(len(problem), seed, inputs.device)
        relaxation = noise if decisions == "gumbel" else None
        reweighting, reason = _reweighted(
            problem,
            known,
            relaxation,
            (evaluator, evaluated),
            RowLosses(learner, learned, rows.labels, weights, parameters),
            parameters,
            ridge=ridge,
            curvature="gauss-newton" if gauss_newton else "hessian",
            damping=damping,
            iterations=iterations,
        )
        if reweighting is None:
            return search.result(*notes)
        notes += [reason] if reason else []
        reweighting = replace(reweighting, show_rows=show_rows)
        weights = weights * reweighting.factors
    if retrain:
        with private_random_state(seed, inputs.device):
            reinitialize(scorer.network)
        scorer.network.requires_grad_()
        learner, learned, evaluator, evaluated = scorer, rows.inputs, scorer, inputs
    optimizer = torch.optim.Adam(
        [p for p in scorer.network.parameters() if p.requires_grad], lr=learning_rate, fused=True
    )
    fine_tune(
        search,
        evaluator,
        evaluated,
        task="fairif",
        rounds=epochs,
        train_round=_epoch(learner, learned, rows.labels, weights, optimizer, minibatch, seed),
        train_mode=retrain,
        seed=seed,
    )
    result = search.result(*notes)
    if reweighting is None:
        return result
    realized = _gaps(problem, known, relaxation, result)
    reweighting = replace(
        reweighting,
        gaps=tuple(
            replace(gap, realized=value)
            for gap, value in zip(reweighting.gaps, realized, strict=True)
        ),
    )
    changes = [
        f"soft gap of {gap.metric} {gap.before:+.4f}, predicted {gap.predicted:+.4f}, realized "
        f"{gap.realized:+.4f}"
        for gap in reweighting.gaps
    ]
    return replace(result, notes=(*result.notes, *changes), reweighting=reweighting)


def _epoch(
    learner: Scorer,
    inputs: Inputs,
    labels: Tensor,
    weights: Tensor,
    optimizer: torch.optim.Optimizer,
    minibatch: int,
    seed: int,
) -> Callable[[], None]:
    """Return a function that trains for one epoch on the weighted cross-entropy."""
    generator = torch.Generator().manual_seed(seed)

    def train() -> None:
        for rows in torch.randperm(len(labels), generator=generator).split(minibatch):
            if learner.training and len(rows) == 1:  # BatchNorm cannot train on it
                continue
            logits = learner.differentiable_logit(inputs.take(rows))
            losses = softplus(logits) - labels[rows] * logits
            descend((weights[rows].to(losses.dtype) * losses).mean(), optimizer)

    return train


def _weights(rows: TrainingRows) -> Tensor:
    """Return the given weights of the training rows, (N,) float64 with mean 1."""
    if rows.weights is None:
        return torch.ones(len(rows), dtype=torch.float64, device=rows.labels.device)
    return in_rows(rows.weights)


def _reweighted(
    problem: Problem,
    known: Sequence[Metric],
    relaxation: Relaxation | None,
    evaluation: tuple[Scorer, Inputs],
    losses: RowLosses,
    parameters: Mapping[str, nn.Parameter],
    *,
    ridge: float,
    curvature: Curvature,
    damping: float,
    iterations: int,
) -> tuple[Reweighting | None, str]:
    """Return weights that close the gaps, and why not by the Hessian; None if one is undefined."""
    before, gradients = gap_gradients(
        known, *evaluation, problem, tuple(parameters.values()), relaxation
    )
    if not (before.isfinite().all() and gradients.isfinite().all()):
        return None, ""
    found = row_influences(
        losses,
        gradients,
        curvature=curvature,
        damping=damping,
        tolerance=TOLERANCE,
        iterations=iterations,
    )
    additions = balancing_weights(before, found.values, ridge)
    factors = weight_factors(additions)
    predicted = before + found.values @ (factors - 1) / len(factors)
    changes = tuple(
        GapChange(metric.key, *figures)
        for metric, *figures in zip(
            known,
            before.tolist(),
            predicted.tolist(),
            found.residuals,
            found.iterations,
            strict=True,
        )
    )
    clipped = float((1 + len(additions) * additions < 0).double().mean())
    size = gradients.shape[1]
    reason = f"{found.reason}, so the Gauss-Newton matrix is used" if found.reason else ""
    return Reweighting(factors, clipped, changes, found.curvature, damping, size), reason


def _gaps(
    problem: Problem, known: Sequence[Metric], relaxation: Relaxation | None, result: Result
) -> list[float]:
    """Return the soft gaps of the result's network on the validation rows."""
    scores = problem.scores if result.state is None else problem.score(result.state)
    soft = scores if relaxation is None else relaxation(scores)
    return [float(soft_gap(metric, soft, problem.cells)) for metric in known]
