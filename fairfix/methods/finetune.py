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

--penalty puts another penalty in place of the soft gap (Cherepanova and others 2021): "equal-loss"
the largest difference of the groups' losses, "eqodds" those of their soft true and false positive
rates, "di" minus the ratio of their soft selection rates, "aucd" the difference of their areas
under the ROC curve, by soft comparisons of all pairs, for scores that rank. "min-max" minimizes the
largest group loss alone, "group-dro" (Sagawa and others 2020) the group losses by weights that
follow them.
--alpha lists the weights of the penalty, each of which gives its own run; by default 1 and 2, for
group-dro the step sizes .01 and .1. Networks are compared by --metric in any case.

--flip flips the labels of a share of the rows of the better-off group in the loss: of the group
that the model in use today selects most often.

With --head the weights stay. In their place a small network, which reads the same inputs and the
score, is added to the logit; its output is 0 at first. It becomes part of the rule.

When not to use it: if a group has few rows of a label, which are then repeated in every minibatch.

Changes: network weights and threshold; with --head the score, by a head in the rule.
Group at prediction: no.
Gradients: yes.
Training rows: optional, for losses.
Cost: 480 minibatch steps.
Paper: Cherepanova and others 2021 for --penalty and --flip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import Annotated, Literal

import torch
from torch import Tensor

from fairfix._utils.constraints import Range
from fairfix._utils.name_list import split_names
from fairfix._utils.number_text import parse_float
from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods._added_head import STEP_SIZES, AddedHead
from fairfix.methods._gap_training import Job, train_jobs
from fairfix.methods._label_probabilities import Labels, label_probabilities
from fairfix.methods._losses import Penalty
from fairfix.methods._result import Result
from fairfix.methods._search import CandidateSearch, scores_of_unlabeled
from fairfix.metrics.objective import Objective
from fairfix.metrics.rates import selection_rate

ALPHAS: dict[Penalty, tuple[float, ...]] = {"min-max": (1.0,), "group-dro": (0.01, 0.1)}
OTHER_ALPHAS = 1.0, 2.0
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
    penalty: Literal["gap", "equal-loss", "eqodds", "di", "aucd", "min-max", "group-dro"] = "gap",
    alpha: str = "",
    flip: Annotated[float, Range(0, 1)] = 0.0,
    steps: Annotated[int, Range(0)] = 240,
    learning_rate: Annotated[float, Range(0, low_open=True)] = 1e-3,
) -> Result:
    """Fine-tune on balanced cross-entropy and the soft gap, and keep the best snapshot.

    Args:
        problem: the validation rows; needs the network.
        objective: what is optimized.
        seed: of minibatches, folds and flipped labels.
        layers: layers to train. Names or patterns such as fcs.*, comma-separated; head is the last
            one; empty for all.
        head: train a small network that is added to the logit of the score, and leave the weights
            alone; not with layers.
        labels: labels in the loss. They are those of the choice as well if the metric depends on
            labels.
        penalty: penalty in the loss. It is added to the cross-entropy, which min-max and group-dro
            replace.
        alpha: weights of the penalty, by default 1,2. For group-dro they are step sizes, by default
            .01,.1.
        flip: share of flipped labels in the better-off group. The others stay.
        steps: Adam steps for each weight; 0 leaves the network unchanged.
        learning_rate: step size; with head three times as large.

    Raises:
        TableError: if the problem has only scores, a group has no row of a label, or the training
            rows have no groups.
        UsageError: if a layer is unknown, layers are named for a head, or alpha is not a list of
            positive numbers or has no effect.
    """
    alphas = penalty_weights(penalty, alpha)
    if head and layers:
        raise UsageError("--head leaves all layers unchanged; remove --layers or --head.")
    added = AddedHead(problem, seed) if head else None
    network = problem if added is None else added.problem
    network.network()  # refuse problems without one before anything is fitted
    learned = problem.learning_rows("finetune")
    apart = learned is not problem
    choice = choice_of(problem, objective, labels, seed, learned if apart else None)
    search = choice.search
    targets, notes = flipped(learned, choice.probabilities, flip, seed)
    trained = network
    if apart:
        trained = learned if added is None else added.problem_of(learned)
    for snapshot in train_jobs(
        trained,
        objective.metric,
        [Job(targets, weight, penalty) for weight in alphas],
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
    result = search.result(choice.note, *notes)
    if added is None or result.state is None:
        return result
    return replace(result, state=None, score_model=added.score_model(result.state))


@dataclass(frozen=True)
class Choice:
    """How candidates are compared.

    Attributes:
        search: the candidates.
        probabilities: P(label = 1) of the rows to learn from.
        note: what is compared, for the user.
    """

    search: CandidateSearch
    probabilities: Tensor
    note: str


def choice_of(
    problem: Problem,
    objective: Objective,
    labels: Labels,
    seed: int,
    learned: Problem | None = None,
) -> Choice:
    """Return how the candidates of a problem are compared.

    Args:
        labels: in the loss, and in the choice if the metric depends on labels.
        seed: of folds.
        learned: other rows to learn from; None for those of the problem.
    """
    probabilities = label_probabilities(problem, labels, seed, learned)
    by_probabilities = learned is None and labels != "true" and objective.metric.needs_labels
    ranking = objective
    if learned is None:
        ranking = objective.with_default_k(K_BY_PROBABILITIES if by_probabilities else K_BY_LABELS)
    search = CandidateSearch(
        problem,
        objective,
        ranking_objective=ranking,
        label_probabilities=probabilities if by_probabilities else None,
    )
    by = f"{labels} labels" if by_probabilities else "labels"
    factor = f" and k = {ranking.factor:.4g}" if ranking.uses_probability else ""
    return Choice(search, probabilities, f"candidates were compared by {by}{factor}")


def penalty_weights(penalty: Penalty, text: str) -> tuple[float, ...]:
    """Return the weights of the penalty, one a run."""
    names = split_names(text)
    if not names:
        return ALPHAS.get(penalty, OTHER_ALPHAS)
    if penalty == "min-max":
        raise UsageError("--alpha has no effect with --penalty min-max; remove it.")
    try:
        found = tuple(map(parse_float, names))
    except ValueError as error:
        raise UsageError(f"--alpha: {error}.") from None
    if min(found) <= 0:
        raise UsageError(f"--alpha must be above 0, not {min(found):g}; --penalty chooses a loss.")
    return found


def flipped(
    problem: Problem, probabilities: Tensor, share: float, seed: int
) -> tuple[Tensor, tuple[str, ...]]:
    """Return the probabilities (N,) with those of some rows flipped, and a note on them."""
    if share == 0:
        return probabilities, ()
    rates = selection_rate(problem.counts(problem.scores > problem.threshold)).value
    group = int(rates.argmax())
    rows = (problem.groups == group).nonzero()[:, 0]
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(rows), generator=generator).to(rows.device)
    drawn = rows[order[: round(share * len(rows))]]
    turned = probabilities.clone()
    turned[drawn] = 1 - turned[drawn]
    name = problem.group_names[group]
    return turned, (f"flipped the labels of {len(drawn)} of {len(rows)} rows of {name!r}",)
