"""Small random problems and counting by hand, shared by several tests."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.data.training_rows import TrainingRows
from fairfix.metrics.counts import Counts
from fairfix.models.inputs import Inputs
from fairfix.models.scorer import Scorer

Floats = NDArray[np.float64]


def scored_rows(
    n: int, n_groups: int = 2, *, seed: int = 0, levels: int = 0, weighted: bool = False
) -> Problem:
    """A problem of scores alone, which lean towards label and group; few ``levels``, many ties.

    Every cell of label and group has rows.
    """
    rng = np.random.default_rng(seed)
    cells = rng.permutation(np.arange(n) % (2 * n_groups))
    labels, groups = cells % 2, cells // 2
    scores = 1 / (1 + np.exp(-rng.normal(labels + 0.5 * groups - 0.7)))
    if levels:
        scores = np.round(scores * levels) / levels
    return Problem(
        torch.from_numpy(scores).float(),
        torch.from_numpy(labels),
        torch.from_numpy(groups),
        tuple("abcdefgh"[:n_groups]),
        weights=torch.from_numpy(rng.uniform(0.2, 3, n)) if weighted else None,
    )


def biased_problem(
    scorer: Scorer,
    features: Tensor,
    n_groups: int = 2,
    *,
    tiny: int = 0,
    weighted: bool = False,
    seed: int = 0,
) -> Problem:
    """Labels and groups that both follow the scorer, in part; of the last group ``tiny`` rows."""
    rng = np.random.default_rng(seed)
    scores = scorer.score(features)
    n = len(scores)
    z = scores.numpy().argsort().argsort() / n - 0.5
    lean = (z + rng.normal(scale=0.4, size=n)).argsort().argsort()
    groups = lean * (n_groups - bool(tiny)) // n
    groups[rng.permutation(n)[:tiny]] = n_groups - 1
    return Problem(
        scores,
        torch.from_numpy((z + rng.normal(scale=0.3, size=n) > 0).astype(np.int64)),
        torch.from_numpy(groups),
        tuple("abcdefgh"[:n_groups]),
        scorer,
        Inputs.of(features),
        torch.from_numpy(rng.uniform(0.2, 3, n)) if weighted else None,
    )


def with_training_rows(problem: Problem, rows: Problem, *, groups: bool = True) -> Problem:
    """The problem with the rows of another one to learn from."""
    assert rows.inputs is not None
    training = TrainingRows(
        rows.inputs, rows.scores, rows.labels, rows.groups if groups else None, rows.weights
    )
    return replace(problem, training=training)


def table(
    tp: Sequence[float], fp: Sequence[float], fn: Sequence[float], tn: Sequence[float]
) -> Counts:
    """Counts from one entry a group."""
    return Counts(*(torch.tensor(side, dtype=torch.float64) for side in (tp, fp, fn, tn)))


def count_by_hand(decisions: Tensor, problem: Problem) -> Floats:
    """(4, G) true positives, false positives, false negatives and true negatives, row by row."""
    counts = np.zeros((4, problem.n_groups))
    weights = np.ones(len(problem)) if problem.weights is None else problem.weights.cpu().numpy()
    rows = zip(decisions, problem.labels, problem.groups, weights / weights.mean(), strict=True)
    for decision, label, group, weight in rows:
        side = 0 if label == 1 else 1
        counts[side, group] += weight * float(decision)
        counts[side + 2, group] += weight * (1 - float(decision))
    return counts


def rates_by_hand(counts: Floats) -> dict[str, Floats]:
    """Each rate by group, (G,), from the (4, G) of ``count_by_hand``."""
    tp, fp, fn, tn = counts
    with np.errstate(invalid="ignore"):
        return {
            "selection": (tp + fp) / counts.sum(0),
            "tpr": tp / (tp + fn),
            "fpr": fp / (fp + tn),
            "accuracy": (tp + tn) / counts.sum(0),
            "fnr": fn / (tp + fn),
            "ppv": tp / (tp + fp),
            "fdr": fp / (tp + fp),
            "for": fn / (fn + tn),
        }


def spread(rates: Floats) -> float:
    """The difference of two groups' rates, or the range of more."""
    return float(rates[0] - rates[1] if len(rates) == 2 else rates.max() - rates.min())


def gaps_by_hand(counts: Floats) -> dict[str, float]:
    """Every metric's value from the (4, G) of ``count_by_hand``; NaN where there are no rows."""
    rates = rates_by_hand(counts)
    share = rates["selection"]
    tpr, fpr = spread(rates["tpr"]), spread(rates["fpr"])
    low, high = (share[0], share[1]) if len(share) == 2 else (share.min(), share.max())
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = low / high
    return {
        "spd": spread(share),
        "eod": tpr,
        "aod": spread((rates["tpr"] + rates["fpr"]) / 2),
        "aaod": (abs(tpr) + abs(fpr)) / 2,
        "eqodds": float(np.maximum(abs(tpr), abs(fpr))),
        "fprd": fpr,
        "ad": spread(rates["accuracy"]),
        "di": float(ratio),
        "ppvd": spread(rates["ppv"]),
        "fdrd": spread(rates["fdr"]),
        "ford": spread(rates["for"]),
        "fnrd": spread(rates["fnr"]),
    }


def random_state() -> list[Any]:
    """The global random state of torch, numpy and Python."""
    return [
        torch.get_rng_state().tolist(),
        [np.asarray(part).tolist() for part in np.random.get_state()],
        random.getstate(),
    ]
