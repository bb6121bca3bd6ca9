"""Binary histogram gradient boosting as plain arrays, evaluated for all rows and trees at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fairfix.errors import UsageError
from fairfix.models.score_model.parts import as_tensor, checked_array, checked_indices

MAX_DEPTH = 64
"""Deepest tree that is evaluated; time grows with the depth."""
MAX_TREES = 1000
"""Most trees that are evaluated; time and memory grow with their number."""
_NODE_ARRAYS: dict[str, tuple[type, type]] = {
    "feature": (np.int64, np.int32),
    "threshold": (np.float64, np.float64),
    "left": (np.int64, np.int32),
    "right": (np.int64, np.int32),
    "value": (np.float64, np.float64),
    "is_leaf": (np.bool_, np.bool_),
    "missing_left": (np.bool_, np.bool_),
}
"""The dtype of each array in memory and in a file."""


class TreeEnsemble(nn.Module):
    """Gradient-boosted trees: the raw score is the baseline plus one leaf of every tree.

    All M nodes of all T trees are in one array per property, tree after tree, parents before
    children. A row goes left where its input is at most the threshold, and where
    ``missing_left`` decides if the input is NaN. Leaves are added to the baseline in the order of
    the trees, in float64, as scikit-learn does.

    Args:
        n_inputs: number of inputs.
        arrays: ``feature`` (M,) index of the input that a node compares; ``threshold`` (M,);
            ``left`` and ``right`` (M,) node numbers of the children; ``value`` (M,) of a leaf,
            already times the learning rate; ``is_leaf`` (M,) bool; ``missing_left`` (M,) bool;
            ``tree_start`` (T,) the root of every tree; ``baseline`` (). In a leaf, ``feature``,
            ``left`` and ``right`` are not used, nor is ``value`` elsewhere.

    Raises:
        UsageError: if an array is missing, has another shape or kind, an index is out of range, or
            the nodes are not at most 1,000 trees of depth at most 64.
    """

    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    is_leaf: Tensor
    missing_left: Tensor
    tree_start: Tensor
    baseline: Tensor

    def __init__(self, n_inputs: int, arrays: Mapping[str, Any]) -> None:
        super().__init__()
        self.n_inputs = n_inputs
        if set(arrays) != {*_NODE_ARRAYS, "tree_start", "baseline"}:
            raise UsageError("The arrays of a tree ensemble are incomplete, or there are others.")
        nodes = len(np.atleast_1d(arrays["feature"]))
        checked = {
            name: checked_array(name, arrays[name], dtype, (nodes,))
            for name, (dtype, _) in _NODE_ARRAYS.items()
        }
        checked["tree_start"] = checked_array("tree_start", arrays["tree_start"], np.int64, (-1,))
        checked["baseline"] = checked_array("baseline", arrays["baseline"], np.float64, ())
        leaf = checked["is_leaf"]
        checked["feature"] = np.where(leaf, 0, checked["feature"])
        checked_indices("feature", checked["feature"], n_inputs)
        own = np.arange(nodes)  # a leaf leads to itself, so that all rows take equally many steps
        for side in ("left", "right"):
            checked[side] = np.where(leaf, own, checked[side])
            checked_indices(side, checked[side], nodes)
        self.depth = _depth(**{name: checked[name] for name in _STRUCTURE})
        for name, array in checked.items():
            self.register_buffer(name, as_tensor(array))

    @classmethod
    def from_sklearn(cls, model: Any) -> TreeEnsemble:
        """Return the trees of a fitted binary ``HistGradientBoostingClassifier``.

        Raises:
            UsageError: if it has categorical splits or more than two classes.
        """
        trees = [predictor.nodes for (predictor,) in model._predictors]
        start = np.cumsum([0, *map(len, trees)])
        nodes = np.concatenate(trees)
        if nodes["is_categorical"].any():
            raise UsageError("Trees with categorical splits cannot be a score model.")
        offset = np.repeat(start[:-1], np.diff(start))
        leaf = nodes["is_leaf"].astype(bool)
        top = np.finfo(np.float64).max  # an infinite threshold separates missing values alone
        return cls(
            model.n_features_in_,
            {
                "feature": nodes["feature_idx"].astype(np.int64),
                "threshold": np.where(leaf, 0.0, np.minimum(nodes["num_threshold"], top)),
                "left": nodes["left"] + offset,
                "right": nodes["right"] + offset,
                "value": np.where(leaf, nodes["value"], 0.0),
                "is_leaf": leaf,
                "missing_left": nodes["missing_go_to_left"].astype(bool),
                "tree_start": start[:-1],
                "baseline": np.float64(np.squeeze(model._baseline_prediction)),
            },
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the raw score, a logit, of every row, (N,) float64.

        Args:
            inputs: (N, n_inputs) float64; NaN is a missing value.
        """
        rows = inputs.shape[0]
        node = self.tree_start.expand(rows, -1)
        for _ in range(self.depth):
            value = inputs.gather(1, self.feature[node])
            goes_left = torch.where(
                value.isnan(), self.missing_left[node], value <= self.threshold[node]
            )
            node = torch.where(goes_left, self.left[node], self.right[node])
        terms = torch.cat([self.baseline.expand(rows, 1), self.value[node]], 1)
        return terms.cumsum(1)[:, -1]  # unlike a sum, in the order of the trees

    def probability(self, inputs: Tensor) -> Tensor:
        """Return the logistic function of the raw score, (N,) float64."""
        raw: Tensor = self(inputs)
        return raw.sigmoid()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays as they are stored."""
        stored = {name: dtype for name, (_, dtype) in _NODE_ARRAYS.items()}
        return {
            name: buffer.cpu().numpy().astype(stored.get(name, buffer.cpu().numpy().dtype))
            for name, buffer in self.named_buffers()
        }


_STRUCTURE = ("left", "right", "is_leaf", "tree_start")


def _depth(left: np.ndarray, right: np.ndarray, is_leaf: np.ndarray, tree_start: np.ndarray) -> int:
    """Return the depth of the deepest tree.

    Raises:
        UsageError: unless every node is the root of one tree or the child of one earlier node in
            the same tree, there are at most ``MAX_TREES``, and none is deeper than ``MAX_DEPTH``.
    """
    if len(tree_start) > MAX_TREES:
        raise UsageError(f"There are more than {MAX_TREES} trees.")
    nodes = len(left)
    ends = np.append(tree_start[1:], nodes)
    if len(tree_start) == 0 or tree_start[0] != 0 or not (tree_start < ends).all():
        raise UsageError("The array 'tree_start' must begin with 0 and increase.")
    inner = np.flatnonzero(~is_leaf)
    end_of = np.repeat(ends, ends - tree_start)
    children = np.stack([left[inner], right[inner]])
    if not ((children > inner) & (children < end_of[inner])).all():
        raise UsageError("A node's children must come after it, in the same tree.")
    parents = np.bincount(np.concatenate([tree_start, children.ravel()]), minlength=nodes)
    if not (parents == 1).all():
        raise UsageError("Every node must be a root or the child of exactly one node.")
    level, depth = tree_start, 0
    while not is_leaf[level].all():
        inner = level[~is_leaf[level]]
        level = np.concatenate([left[inner], right[inner]])
        depth += 1
        if depth > MAX_DEPTH:
            raise UsageError(f"A tree is deeper than {MAX_DEPTH} levels.")
    return depth
