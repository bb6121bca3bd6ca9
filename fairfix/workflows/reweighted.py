"""How training rows were reweighted, as plain data for the report."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fairfix.data.inputs.image_part import ImagePart
from fairfix.data.table import Table
from fairfix.data.table.open_table import open_table
from fairfix.methods._reweighting import Reweighting
from fairfix.models.inputs import Inputs

if TYPE_CHECKING:
    from fairfix.data.training_rows import TrainingRows
    from fairfix.workflows.outcome import Outcome

FEWEST_ROWS = 10
"""Rows below which the share of a group and label is not reported."""
LISTED_ROWS = 10
LISTED_COLUMNS = 20
PICTURE_SIDE = 96
"""Pixels of the longer side of a listed image, at most."""


def reweighting_document(outcome: Outcome) -> dict[str, Any] | None:
    """Return how the training rows of a run were reweighted; None if their weights were kept."""
    reweighting, table = outcome.result.reweighting, outcome.case.training
    rows = outcome.case.problem.training
    if reweighting is None or rows is None:
        return None
    factors = reweighting.factors.cpu().numpy()
    return {
        "gaps": [
            {
                "metric": gap.metric,
                "before": gap.before,
                "predicted": gap.predicted,
                "realized": gap.realized,
                "residual": gap.residual,
                "iterations": gap.iterations,
            }
            for gap in reweighting.gaps
        ],
        "curvature": reweighting.curvature,
        "damping": reweighting.damping,
        "parameters": reweighting.parameters,
        "clipped": reweighting.clipped,
        "largest_factor": float(factors.max()),
        "cells": _cells(outcome, rows, factors),
        "listed_rows": _listed(reweighting, table, rows) if reweighting.show_rows else None,
    }


def _cells(outcome: Outcome, rows: TrainingRows, factors: np.ndarray) -> list[dict[str, Any]]:
    """Return the shares of rows and of weight by group and label; by label without groups."""
    given = np.ones(len(rows)) if rows.weights is None else rows.weights.double().cpu().numpy()
    weights, labels = given * factors, rows.labels.cpu().numpy()
    groups = None if rows.groups is None else rows.groups.cpu().numpy()
    names = (None,) if groups is None else outcome.case.problem.group_names
    cells = []
    for group, name in enumerate(names):
        for label in (0, 1):
            inside = labels == label
            if groups is not None:
                inside &= groups == group
            shown = inside.sum() >= FEWEST_ROWS
            cells.append(
                {
                    "group": name,
                    "favorable": bool(label),
                    "rows": int(inside.sum()) if shown else None,
                    "share_before": float(given[inside].sum() / given.sum()) if shown else None,
                    "share_after": float(weights[inside].sum() / weights.sum()) if shown else None,
                }
            )
    return cells


def _listed(
    reweighting: Reweighting, table: Table | None, rows: TrainingRows
) -> list[dict[str, Any]]:
    """Return the rows weighted up most, then those weighted down most, as the file has them."""
    factors = reweighting.factors.cpu().numpy()
    order = np.argsort(-factors, kind="stable")
    most = min(LISTED_ROWS, len(order) // 2)
    chosen = [*order[:most].tolist(), *order[len(order) - most :].tolist()]
    in_file = {row: row for row in chosen}
    if table is not None and table.file_rows is not None:
        in_file = {row: int(table.file_rows[row]) for row in chosen}
    values = {} if table is None else _values(table, set(in_file.values()))
    return [
        {
            "row": in_file[row],
            "factor": float(factors[row]),
            "values": values.get(in_file[row], {}),
            "picture": picture,
        }
        for row, picture in zip(chosen, _pictures(rows.inputs, chosen), strict=True)
    ]


def _pictures(inputs: Inputs, rows: list[int]) -> Iterator[str | None]:
    """Yield the image of each row as the network gets it, as a data URL; None without images."""
    part = next((part for part in inputs.parts if isinstance(part, ImagePart)), None)
    if part is None:
        yield from [None] * len(rows)
        return
    from PIL import Image  # optional, but images were read

    for pixels in part.pixels(torch.tensor(rows)):
        image = Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[:, :, 0])
        image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
        content = BytesIO()
        image.save(content, "PNG")
        yield f"data:image/png;base64,{b64encode(content.getvalue()).decode()}"


def _values(table: Table, rows: set[int]) -> dict[int, dict[str, str]]:
    """Return the first columns of some rows of a table file, as text."""
    reader = open_table(table.source)
    columns = list(reader.header.names)[:LISTED_COLUMNS]
    found: dict[int, dict[str, str]] = {}
    for chunk in reader.chunks(columns, columns):
        for row in rows & set(chunk.index):
            found[row] = {name: str(chunk.at[row, name]) for name in columns}
    return found
