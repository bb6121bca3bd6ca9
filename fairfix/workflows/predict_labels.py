"""Apply the rules of several labels to the rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fairfix.data.spreadsheet import csv_cell
from fairfix.thresholds.label_rules import label_rules
from fairfix.workflows.model_options import ModelOptions
from fairfix.workflows.predict import Predictions, csv_lines, decision_words, predict


def predict_labels(
    model: str | Path,
    data: str | Path,
    *,
    given: Mapping[str, Any] | None = None,
    options: ModelOptions | None = None,
) -> dict[str, Predictions]:
    """Score and decide every row of a table for each label that has a rule beside the network.

    Raises:
        FairfixError: as ``predict``.
    """
    return {
        label: predict(model, data, given={**(given or {}), "label": label}, options=options)
        for label in label_rules(model)
    }


def labels_csv(found: Mapping[str, Predictions], *, label_values: bool = False) -> str:
    """Return CSV text: the id column, if any, then ``<label> score`` and ``<label> decision``.

    Args:
        label_values: write decisions as label values, where the rule knows two, not as 0 and 1.
    """
    first = next(iter(found.values()))
    names = [] if first.ids is None else [csv_cell(str(first.id_column))]
    columns: list[np.ndarray] = []
    for label, each in found.items():
        names += [csv_cell(f"{label} score"), csv_cell(f"{label} decision")]
        words = decision_words(each.label_values if label_values else None)
        columns += [each.scores, words[each.decisions.astype(np.int8)]]
    return "".join([",".join(names), "\n", *csv_lines(first.ids, columns)])
