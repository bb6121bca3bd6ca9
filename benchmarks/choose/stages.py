"""The stages that compute and keep what choices are made from; each leaves one file per cell."""

from __future__ import annotations

import numpy as np

from benchmarks.choose.bed import Bed, Cell, write_arrays

SCORES = "scores"


def network_scores(bed: Bed, cell: Cell) -> bool:
    """Train the network of a cell and keep its scores with labels and groups.

    Returns:
        False if they were there.
    """
    path = bed.path(SCORES, cell, ".npz")
    if path.is_file():
        return False
    arrays = {}
    for part, problem in zip(("validation", "test"), bed.problems(cell), strict=True):
        arrays[f"{part}_scores"] = problem.scores.numpy()
        arrays[f"{part}_labels"] = problem.labels.numpy().astype(np.int8)
        arrays[f"{part}_groups"] = problem.groups.numpy().astype(np.int8)
    write_arrays(path, arrays)
    return True
