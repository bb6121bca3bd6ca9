"""Classifiers in memory that are no networks: objects with ``predict_proba``, for their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from torch import nn

from fairfix._utils.text import error_summary, quoted_list
from fairfix.data.memory_table import MemoryTable, TableSource
from fairfix.data.table import Columns, equal_values
from fairfix.data.table.labels import favorable_among
from fairfix.data.table.open_table import open_table
from fairfix.errors import CheckpointError, UsageError
from fairfix.workflows.model_options import Model

if TYPE_CHECKING:
    import pandas as pd

_SUM = 1e-3  # more than round-off changes the sum of probabilities


@runtime_checkable
class Classifier(Protocol):
    """What scikit-learn and others call a classifier."""

    def predict_proba(self, X: Any) -> Any:
        """Return the probability of each class, (N, K)."""
        ...


@dataclass(frozen=True)
class ScoredBy:
    """A classifier that scores tables.

    Attributes:
        classifier: it gets the feature columns: as a pandas frame where it was fitted on one
            (``feature_names_in_``) or a column is text, else as an array.
        features: the feature columns; None takes those that it was fitted on, else all columns
            without a role.
        column: the name of the column of scores.
    """

    classifier: Classifier
    features: tuple[str, ...] | None = None
    column: str = "score"

    def table(self, source: TableSource, columns: Columns) -> MemoryTable:
        """Return a table with the scores as a further column.

        Args:
            source: the rows.
            columns: the roles of the columns.

        Raises:
            CheckpointError: if the classifier fails or does not give probabilities.
            TableError: if a column is missing.
            UsageError: if the classes are not known, or the table has a column of this name.
        """
        import pyarrow as pa

        reader = open_table(source)
        names = reader.header.names
        if self.column in names:
            raise UsageError(
                f"{source.name} has a column {self.column!r}, the name for the scores of the "
                f"classifier; rename it, or give the column alone with --score {self.column}."
            )
        arrays = source.arrays if isinstance(source, MemoryTable) else {}
        rows = (
            self._named(next(iter(arrays.values()))) if arrays else self._features(source, columns)
        )
        scores = self._scores(rows, columns)
        if isinstance(source, MemoryTable):
            cells = source.cells
        else:  # cells as they are written, so that codes such as 01 stay what they are
            cells = pa.Table.from_pandas(_frame(source, names, names), preserve_index=False)
        return MemoryTable(source.name, cells.append_column(self.column, pa.array(scores)))

    def _named(self, rows: np.ndarray) -> pd.DataFrame | np.ndarray:
        """Return an array with the names of the columns that the classifier was fitted on."""
        import pandas as pd

        fitted = getattr(self.classifier, "feature_names_in_", None)
        if fitted is None or rows.ndim != 2 or rows.shape[1] != len(fitted):
            return rows
        return pd.DataFrame(rows, columns=list(fitted))

    def _features(self, source: TableSource, columns: Columns) -> pd.DataFrame | np.ndarray:
        header = open_table(source).header
        fitted = getattr(self.classifier, "feature_names_in_", None)
        wanted = self.features or (None if fitted is None else tuple(map(str, fitted)))
        if wanted is None:
            wanted = tuple(header.feature_names(replace(columns, score=None))[0])
        header.require(wanted, "feature")
        frame = _frame(source, wanted, ())
        numeric = all(kind.kind in "biuf" for kind in frame.dtypes)
        return frame.to_numpy() if fitted is None and numeric else frame

    def _scores(self, rows: pd.DataFrame | np.ndarray, columns: Columns) -> np.ndarray:
        """Return the probability of the favorable label, (N,)."""
        name = type(self.classifier).__name__
        try:
            found = np.asarray(self.classifier.predict_proba(rows), np.float64)
        except Exception as error:  # the code of the classifier may raise anything
            raise CheckpointError(
                f"{name} does not run on the {rows.shape[1]} features of these rows: "
                f"{error_summary(error)}"
            ) from None
        if found.ndim == 1:
            return found
        if found.ndim != 2 or not np.allclose(found.sum(1), 1, atol=_SUM):
            raise CheckpointError(
                f"{name}.predict_proba gives values of shape {found.shape} that are not one "
                "probability per class with sum 1; give an object that does."
            )
        favorable = columns.favorable or "1"
        classes = getattr(self.classifier, "classes_", None)
        if classes is None:
            if found.shape[1] == 2:
                return found[:, 1]
            raise UsageError(
                f"{name} gives {found.shape[1]} probabilities and does not name its classes; set "
                "its attribute classes_ to the label values in their order."
            )
        names = tuple(map(str, classes))
        chosen = favorable_among(favorable, names)
        if not chosen:
            raise UsageError(
                f"The favorable value {favorable!r} is not among the classes of {name}, "
                f"{quoted_list(names)}; name one of them with --favorable."
            )
        places = [place for place, each in enumerate(names) if _among(each, chosen)]
        return np.asarray(found[:, places].sum(1)).clip(max=1.0)


def scored_by(
    model: Model | Classifier | None, given: Mapping[str, Any]
) -> tuple[ScoredBy | None, Model | None, Mapping[str, Any]]:
    """Return a classifier apart from networks, and the columns when its scores are a column.

    Args:
        given: fields of ``Columns`` that the user set.

    Raises:
        UsageError: if the model is neither a path, a network nor a classifier.
    """
    if model is None or isinstance(model, str | Path | nn.Module):
        return None, model, given
    if not isinstance(model, Classifier):
        raise UsageError(
            f"A model cannot be a {type(model).__name__}; give a path, a torch.nn.Module, or an "
            "object with predict_proba."
        )
    scored = ScoredBy(model, given.get("features"))
    return scored, None, {**given, "features": None, "score": scored.column}


def _among(name: str, chosen: tuple[str, ...]) -> bool:
    return any(equal_values(name, each) for each in chosen)


def _frame(source: TableSource, names: tuple[str, ...], text: tuple[str, ...]) -> pd.DataFrame:
    """Return columns of a table as a pandas frame, some of them as text."""
    import pandas as pd

    return pd.concat(list(open_table(source).chunks(names, text)))
