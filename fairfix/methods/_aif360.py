"""Problems as data sets of AIF360, whose post-processing engines some methods use."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.errors import UsageError

PRIVILEGED, UNPRIVILEGED = [{"group": 1}], [{"group": 0}]


@contextmanager
def no_warnings() -> Iterator[None]:
    """Suppress warnings and log messages; importing AIF360 warns of optional packages."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def check_two_groups(problem: Problem, method: str) -> None:
    """Raise ``UsageError`` unless there are two groups, each with rows of both labels."""
    if problem.n_groups != 2:
        raise UsageError(
            f"{method} supports two groups, not {problem.n_groups}; use the method thresholds for "
            "more."
        )
    empty = (problem.cells.sum(0) == 0).nonzero()
    if len(empty):
        group, label = divmod(int(empty[0]), 2)
        raise UsageError(
            f"{method} needs rows of both labels in both groups, but group "
            f"{problem.group_names[group]!r} has no row with label {label}; add rows or choose "
            "another method."
        )


def binary_label_dataset(problem: Problem, labels: Tensor, scores: Tensor) -> Any:
    """Return a ``BinaryLabelDataset`` of the rows of a problem.

    Args:
        problem: groups and row weights.
        labels: (N,) labels or decisions.
        scores: (N,) in [0, 1].
    """
    with no_warnings():
        from aif360.datasets import BinaryLabelDataset

        frame = pd.DataFrame(
            {
                "group": problem.groups.cpu().numpy().astype(float),
                "label": labels.cpu().numpy().astype(float),
                "weight": _row_weights(problem),
                "score": scores.cpu().numpy().astype(float),
            }
        )
        return BinaryLabelDataset(
            favorable_label=1.0,
            unfavorable_label=0.0,
            df=frame,
            label_names=["label"],
            protected_attribute_names=["group"],
            instance_weights_name="weight",
            scores_names=["score"],
        )


def _row_weights(problem: Problem) -> np.ndarray:
    if problem.weights is None:
        return np.ones(len(problem))
    weights: np.ndarray = problem.weights.cpu().numpy().astype(float)
    return weights
