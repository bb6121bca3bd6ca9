"""Other classifiers on the same rows, to see what a base network is worth.

Logistic regression and a random forest (Savani, White, Govindarajulu 2020, table 3), as
scikit-learn has them. Only their scores are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

RIVALS = ("logistic", "forest")


def scores(
    rival: str,
    train_rows: tuple[np.ndarray, np.ndarray],
    others: Mapping[str, np.ndarray],
    *,
    seed: int,
) -> dict[str, np.ndarray]:
    """P(label = 1) of the rows of every part of ``others``, (N,) float32, by its name.

    Args:
        rival: one of ``RIVALS``.
        train_rows: features (N, D) and labels (N,) in {0, 1} to learn from.
        others: features (N, D) of each part.
        seed: of the forest's trees.
    """
    features, labels = train_rows
    fitted = _classifier(rival, seed).fit(features, labels)
    return {
        part: fitted.predict_proba(rows)[:, 1].astype(np.float32) for part, rows in others.items()
    }


def _classifier(rival: str, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    if rival == "logistic":
        return LogisticRegression(max_iter=1000)
    return RandomForestClassifier(random_state=seed, n_jobs=1)
