"""Bayes-fair rule without the protected attribute (Zeng, Cheng, Dobriban 2024; Chen et al. 2024).

The fair rule with the highest balanced accuracy is a threshold on utility minus a multiple of the
unfairness of a positive decision. Both depend on P(label) and P(group) given what is known of a
row. Mixtures of boosted trees and logistic regressions estimate the two from the inputs of the
network, without those that hold the protected attribute, and from its score; for images, texts and
arrays from embeddings, that is, from what the last linear layer reads. Multiplier and threshold are
chosen exactly, on predictions by models that were fitted without the row: out of fold, or with
--train on the training rows.

Deviations from the papers: the rule maximizes balanced accuracy, not accuracy, and its chance of
meeting the budget; the multiplier comes from 61 values in place of a linear program. The threshold
chosen on predictions for unseen rows is used with mixtures that are fitted again on all rows. For
eod and fprd, probabilities of the label replace labels in that choice, by a mixture that may read
the protected attribute, and the default of --k is 1.2.

With --distill the network is trained to imitate these scores, so that other programs can run the
checkpoint alone; the mixtures are not kept. It loses .02 to .04 of balanced accuracy
(docs/results.md). finetune changes weights as well, without another model in between.

When not to use it: for more than two groups, if other programs must run the checkpoint alone
(the mixtures are part of the rule; --export writes both as one program, and --distill trains the
network instead), or with so few rows of a
group that its share cannot be learned.

Changes: the score, by two mixtures in the rule; threshold; with --distill network weights instead.
Group at prediction: no.
Gradients: only with --distill.
Training rows: optional, for the mixtures.
Cost: 12 fits of 35 small trees and 42 of logistic regressions, with training rows a sixth.
Paper: Zeng, Cheng, Dobriban 2024; Chen, Klochkov, Liu 2024.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import cast

import numpy as np
import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.errors import TableError, UsageError
from fairfix.methods._cross_fitting import Floats, informative_columns, row_weights
from fairfix.methods._gap_training import Job, train_jobs
from fairfix.methods._label_models import fit_probability, table_features
from fairfix.methods._result import Result
from fairfix.methods._search import CandidateSearch, policy_result, scores_of_unlabeled
from fairfix.metrics.objective import Objective
from fairfix.models.score_model import BlindScore
from fairfix.models.score_model.blind_score import BlindMetric
from fairfix.thresholds.policy import Policy
from fairfix.thresholds.shared import best_threshold_of
from fairfix.thresholds.unlabeled import best_threshold_with_unlabeled

METRICS: dict[str, int | None] = {"spd": None, "eod": 1, "fprd": 0}
"""Supported metrics, and the label of the rows that their rate is defined on."""
K_BY_PROBABILITIES = 1.2
"""Factor on standard errors of rates counted by label probabilities (docs/results.md)."""
N_MULTIPLIERS = 61
WIDEST = 2.5
"""Largest multiplier, in standard deviations of utility by standard deviations of unfairness."""
TARGET_SPREAD, LARGEST_TARGET = 2.0, 6.0
"""Standard deviation and largest size of the logits that a network is trained to give."""
DISTILLING_RATE = 2e-3
"""Step size."""


def blind(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    distill: bool = False,
) -> Result:
    """Weigh utility against unfairness, both estimated without the protected attribute.

    Supports spd, eod and fprd with two groups.

    Args:
        problem: the validation rows; needs the inputs of a network.
        objective: what is optimized.
        seed: of the folds.
        distill: train the network to imitate these scores, in place of models in the rule; loses
            .02 to .04 of balanced accuracy.

    Raises:
        UsageError: if the metric or the number of groups is unsupported.
        TableError: if there are only scores, or too few rows of a group or a label.
        CheckpointError: if the weights of the network cannot be changed, with ``distill``.
    """
    metric = objective.metric.key
    if problem.n_groups != 2:
        raise UsageError(
            f"blind supports two groups, not {problem.n_groups}; use finetune or thresholds for "
            "more."
        )
    if metric not in METRICS:
        raise UsageError(
            f"blind supports {', '.join(METRICS)}, not {metric}; use finetune for other metrics."
        )
    features = table_features(problem, "blind")
    learned = problem.learning_rows("blind")
    aware = informative_columns(learned)
    columns = np.setdiff1d(aware, problem.protected_inputs)
    labels, groups = problem.labels.cpu().numpy(), problem.groups.cpu().numpy()
    of = METRICS[metric]
    counted = np.ones(len(problem), dtype=bool) if of is None else labels == of
    weights = row_weights(problem)
    pi = float(np.average(labels, weights=weights))
    shares = tuple(float(np.average((groups == g) & counted, weights=weights)) for g in (0, 1))
    if 0 in shares:
        raise TableError(
            f"{metric} needs rows with {'' if of else 'un'}favorable label in both groups, but "
            f"group {problem.group_names[shares.index(0)]!r} has none; add rows or choose another "
            "metric."
        )
    label = fit_probability(problem, learned, columns, "labels", seed=seed)
    group = fit_probability(problem, learned, columns, "groups", seed=seed, among=of)
    likely = label.unseen
    counted_by = None
    if of is not None:
        objective = objective.with_default_k(K_BY_PROBABILITIES)
        counted_by = torch.from_numpy(
            fit_probability(problem, learned, aware, "labels", seed=seed).unseen
            if len(aware) > len(columns)
            else likely
        ).to(problem.scores.device)

    utility = likely / (2 * pi) - (1 - likely) / (2 * (1 - pi))
    unfairness = group.unseen / shares[1] - (1 - group.unseen) / shares[0]
    if of is not None:
        unfairness = unfairness * (likely if of else 1 - likely)
    modeled = partial(
        BlindScore,
        features.shape[1],
        columns,
        label.model,
        group.model,
        metric=cast(BlindMetric, metric),
        pi=pi,
        shares=(shares[0], shares[1]),
    )
    of_unlabeled = None
    if problem.unlabeled is not None:
        rows = problem.unlabeled
        of_unlabeled = modeled(multiplier=0.0).parts(
            table_features(rows, "blind").cpu(), rows.scores.cpu()
        )
    multiplier, scores, threshold = _best_multiplier(
        problem, objective, utility, unfairness, counted_by, of_unlabeled
    )
    if distill:
        return _distilled(problem, objective, scores, threshold, seed)
    return policy_result(
        replace(problem, unlabeled=None),
        objective,
        Policy.shared(threshold),
        score_model=modeled(multiplier=multiplier).of_embeddings(problem.features is None),
        validation_scores=scores,
    )


def _distilled(
    problem: Problem, objective: Objective, scores: Tensor, threshold: float, seed: int
) -> Result:
    """Return the network that is trained to give scores (N,) by models that did not see the row.

    The targets are probabilities whose logits have a standard deviation of 2, with .5 at the
    threshold.
    """
    above = scores.logit() - math.log(threshold / (1 - threshold)) if 0 < threshold < 1 else scores
    targets = (TARGET_SPREAD * above / above.std()).clamp(-LARGEST_TARGET, LARGEST_TARGET)
    search = CandidateSearch(problem, objective, in_sample=True)
    job = Job(targets.sigmoid(), mu=0.0)
    for snapshot in train_jobs(
        problem, objective.metric, [job], seed=seed, learning_rate=DISTILLING_RATE, task="blind"
    ):
        of_unlabeled = scores_of_unlabeled(problem, snapshot.weights)
        search.add(snapshot.scores, partial(attrgetter("weights"), snapshot), of_unlabeled)
    return search.result("the network imitates other models, which loses some performance to them")


def _best_multiplier(
    problem: Problem,
    objective: Objective,
    utility: Floats,
    unfairness: Floats,
    label_probabilities: Tensor | None,
    of_unlabeled: tuple[Tensor, ...] | None,
) -> tuple[float, Tensor, float]:
    """Return the multiplier of the highest objective, its scores (N,) and their threshold.

    Args:
        label_probabilities: (N,) that take the place of labels in the choice, if there are any.
        of_unlabeled: utility and unfairness of the unlabeled rows, if there are any.
    """
    spread = WIDEST * utility.std() / max(unfairness.std(), np.finfo(np.float64).tiny)
    multipliers = np.linspace(-1, 1, N_MULTIPLIERS) * spread
    multipliers = multipliers[np.argsort(np.abs(multipliers), kind="stable")]
    base = torch.from_numpy(utility - multipliers[:, None] * unfairness)
    scores = base.sigmoid().to(problem.scores.device)
    if of_unlabeled is not None:
        more = of_unlabeled[0] - torch.from_numpy(multipliers[:, None]) * of_unlabeled[1]
        found = [
            best_threshold_with_unlabeled(problem, *each, objective)
            for each in zip(scores, more.sigmoid().to(scores.device), strict=True)
        ]
        at = max(range(len(found)), key=lambda index: found[index][0])
        return float(multipliers[at]), scores[at].clone(), found[at][1]
    best = best_threshold_of(problem, scores, objective, label_probabilities)
    at = int(best.utility.argmax())
    return float(multipliers[at]), scores[at].clone(), float(best.threshold[at])
