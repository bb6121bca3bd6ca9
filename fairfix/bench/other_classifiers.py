"""Other classifiers trained on the same rows, as a reference for the base networks.

Logistic regression and a random forest (Savani, White, Govindarajulu 2020, table 3) from
scikit-learn. Only their scores are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

CLASSIFIERS = ("logistic", "forest")


def classifier_scores(
    name: str,
    train_rows: tuple[np.ndarray, np.ndarray],
    parts: Mapping[str, np.ndarray],
    *,
    seed: int,
) -> dict[str, np.ndarray]:
    """Train a classifier and return P(label = 1) for the rows of each part, (N,) float32.

    Args:
        name: one of ``CLASSIFIERS``.
        train_rows: features (N, D) and labels (N,) in {0, 1}.
        parts: features (N, D) by part.
        seed: seed of the random forest.
    """
    features, labels = train_rows
    classifier = _classifier(name, seed).fit(features, labels)
    return {
        part: classifier.predict_proba(rows)[:, 1].astype(np.float32)
        for part, rows in parts.items()
    }


def _classifier(name: str, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    if name == "logistic":
        return LogisticRegression(max_iter=1000)
    return RandomForestClassifier(random_state=seed, n_jobs=1)
