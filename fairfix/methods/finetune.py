"""Fine-tuning on balanced cross-entropy and a soft gap.

From the given network, a few hundred Adam steps minimize balanced cross-entropy plus mu times the
soft gap of sigmoid(z / 0.5), where z is the logit of the score, for mu of 1 and of 2. Every
minibatch has 48 rows of each group and label, with importance weights. Snapshots are moving
averages of the weights, taken every 40 steps; the best of them and of the unmodified network is
kept at its exact optimal threshold.

Snapshots are chosen on the rows they were trained on, where labels are memorized: the rates among
rows of one label look better than they are. So probabilities replace labels in the loss, and in the
choice for metrics that depend on labels: "smooth" ones, P(label | score, group) by logistic
regression, or "repaired" ones, P(label | features, score) by cross-fitted boosted trees. The
default of --k is 1.2 where the choice is by probabilities, else 1.7. These settings were chosen on
58 networks of five data sets (docs/results.md).

With --train the losses are those of the training rows, whose probabilities are by models fitted on
the validation rows. Snapshots are then chosen by the labels of the validation rows, which were not
trained on, with the usual default of --k.

With --head the weights stay. In their place a small network, which reads the same inputs and the
score, is added to the logit; its output is 0 at first. It becomes part of the rule.

When not to use it: if a group has few rows of a label, which are then repeated in every minibatch.

Changes: network weights and threshold; with --head the score, by a head in the rule.
Group at prediction: no.
Gradients: yes.
Training rows: optional, for losses.
Cost: 480 minibatch steps.
Paper: none.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Annotated, Literal

from fairfix._utils.constraints import Range
from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods._added_head import STEP_SIZES, AddedHead
from fairfix.methods._gap_training import Job, train_jobs
from fairfix.methods._label_probabilities import label_probabilities
from fairfix.methods._result import Result
from fairfix.methods._search import CandidateSearch, scores_of_unlabeled
from fairfix.metrics.objective import Objective

MUS = 1.0, 2.0
K_BY_LABELS, K_BY_PROBABILITIES = 1.7, 1.2
"""Factor on standard errors for a choice by labels, which are memorized, or by probabilities."""


def finetune(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    layers: str = "",
    head: bool = False,
    labels: Literal["smooth", "repaired", "true"] = "smooth",
    steps: Annotated[int, Range(0)] = 240,
    learning_rate: Annotated[float, Range(0, low_open=True)] = 1e-3,
) -> Result:
    """Fine-tune on balanced cross-entropy and the soft gap, and keep the best snapshot.

    Args:
        problem: the validation rows; needs the network.
        objective: what is optimized.
        seed: of minibatches and folds.
        layers: layers to train. Names or patterns such as fcs.*, comma-separated; head is the last
            one; empty for all.
        head: train a small network that is added to the logit of the score, and leave the weights
            alone; not with layers.
        labels: labels in the loss. They are those of the choice as well if the metric depends on
            labels.
        steps: Adam steps for each mu; 0 leaves the network unchanged.
        learning_rate: step size; with head three times as large.

    Raises:
        TableError: if the problem has only scores, a group has no row of a label, or the training
            rows have no groups.
        UsageError: if a layer is unknown, or layers are named for a head.
    """
    if head and layers:
        raise UsageError("--head leaves all layers unchanged; remove --layers or --head.")
    added = AddedHead(problem, seed) if head else None
    network = problem if added is None else added.problem
    network.network()  # refuse problems without one before anything is fitted
    learned = problem.learning_rows("finetune")
    apart = learned is not problem
    probabilities = label_probabilities(problem, labels, seed, learned if apart else None)
    by_probabilities = not apart and labels != "true" and objective.metric.needs_labels
    ranking = objective
    if not apart:
        ranking = objective.with_default_k(K_BY_PROBABILITIES if by_probabilities else K_BY_LABELS)
    search = CandidateSearch(
        problem,
        objective,
        ranking_objective=ranking,
        label_probabilities=probabilities if by_probabilities else None,
    )
    trained = network
    if apart:
        trained = learned if added is None else added.problem_of(learned)
    for snapshot in train_jobs(
        trained,
        objective.metric,
        [Job(probabilities, mu) for mu in MUS],
        seed=seed,
        evaluated=network.inputs if apart else None,
        layers=layers,
        steps=steps,
        learning_rate=learning_rate if added is None else STEP_SIZES * learning_rate,
    ):
        scores = snapshot.scores
        if added is None:
            of_unlabeled = scores_of_unlabeled(problem, snapshot.weights)
        else:
            model = added.score_model(snapshot.weights)
            scores, of_unlabeled = added.scores(model), added.scores_of_unlabeled(model)
        search.add(scores, partial(attrgetter("weights"), snapshot), of_unlabeled)
    by = f"{labels} labels" if by_probabilities else "labels"
    factor = f" and k = {ranking.factor:.4g}" if ranking.uses_probability else ""
    result = replace(search.result(f"candidates were compared by {by}{factor}"), k=ranking.k)
    if added is None or result.state is None:
        return result
    return replace(result, state=None, score_model=added.score_model(result.state))
