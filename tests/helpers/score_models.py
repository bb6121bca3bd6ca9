"""Small score models, fitted on random rows."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import numpy as np
from numpy.random import default_rng
from sklearn.ensemble import HistGradientBoostingClassifier

from fairfix.models.score_model import (
    BlindScore,
    Logistic,
    Mixture,
    RepairedScore,
    ResidualHead,
    ScoreModel,
    StandardizedLogistic,
    TreeEnsemble,
)
from fairfix.models.score_model.blind_score import BlindMetric

KINDS = ("repair", "repair with score", "blind spd", "blind eod", "blind fprd", "head")


@cache
def boosted(n_inputs: int, seed: int = 0) -> HistGradientBoostingClassifier:
    """Trees fitted on 400 random rows, of which some inputs are missing."""
    draws = default_rng(seed)
    inputs = draws.normal(size=(400, n_inputs))
    labels = inputs[:, 0] + inputs[:, -1] + draws.normal(size=400) > 0.3
    inputs[draws.random(inputs.shape) < 0.1] = np.nan
    trees = HistGradientBoostingClassifier(
        max_iter=6, max_leaf_nodes=6, min_samples_leaf=5, early_stopping=False, random_state=0
    )
    return trees.fit(inputs, labels)


def tree_arrays() -> dict[str, Any]:
    """Two trees by hand: one split, and a leaf alone."""
    return {
        "feature": np.array([1, 0, 0, 0], np.int32),
        "threshold": np.array([0.5, 0.0, 0.0, 0.0]),
        "left": np.array([1, 1, 2, 3], np.int32),
        "right": np.array([2, 1, 2, 3], np.int32),
        "value": np.array([0.0, -1.0, 2.0, 0.25]),
        "is_leaf": np.array([False, True, True, True]),
        "missing_left": np.array([True, False, False, False]),
        "tree_start": np.array([0, 3]),
        "baseline": np.array(0.125),
    }


def mixture(n_inputs: int, seed: int, *, with_score: bool = False) -> Mixture:
    """Trees of ``boosted`` with a linear model, and with the calibrated score if asked for."""
    draws = default_rng(seed)
    center, scale, coefficients = draws.uniform(0.5, 1.5, size=(3, n_inputs))
    return Mixture(
        [0.5, 0.3, 0.2] if with_score else [0.6, 0.4],
        TreeEnsemble.from_sklearn(boosted(n_inputs, seed)),
        StandardizedLogistic(center, scale, Logistic(coefficients, -0.3)),
        Logistic([1.5, -0.1], 0.2) if with_score else None,
    )


def score_model(kind: str, n_features: int = 4, columns: tuple[int, ...] = (0, 2, 3)) -> ScoreModel:
    """A score model of one of ``KINDS``."""
    inputs = len(columns) + 1
    name, _, variant = kind.partition(" ")
    if name == "head":
        draws = default_rng(0)
        weights = draws.normal(size=(5, inputs)), draws.normal(size=5), draws.normal(size=5)
        return ResidualHead(n_features, columns, *weights, 0.1)
    if name == "repair":
        return RepairedScore(n_features, columns, mixture(inputs, 0, with_score=bool(variant)))
    return BlindScore(
        n_features,
        columns,
        mixture(inputs, 0),
        mixture(inputs, 1),
        metric=cast(BlindMetric, variant),
        pi=0.4,
        multiplier=0.7,
        shares=(0.3, 0.6),
    )
