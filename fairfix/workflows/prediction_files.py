"""Encode predictions as the suffix of a file says: CSV, CSV.gz, Parquet or JSON lines."""

from __future__ import annotations

import gzip
from io import BytesIO

import numpy as np
import pandas as pd

from fairfix.workflows.predict import Predictions


def encoded(
    predictions: Predictions, name: str, label_values: tuple[str, str] | None = None
) -> bytes:
    """Return the content of a file; names without a known suffix get CSV.

    Args:
        label_values: how negative and positive decisions are written; by default 0 and 1.
    """
    suffix = name.lower()
    if suffix.endswith(".parquet"):
        file = BytesIO()
        _frame(predictions, label_values).to_parquet(file, index=False)
        return file.getvalue()
    if suffix.endswith(".jsonl"):
        lines = _frame(predictions, label_values).to_json(
            orient="records", lines=True, double_precision=15, force_ascii=False
        )
        return str(lines).encode("utf-8")
    return text_bytes(predictions.csv(label_values=label_values), name)


def text_bytes(text: str, name: str) -> bytes:
    """Return CSV text as bytes, compressed for a name that ends in ``.gz``."""
    content = text.encode("utf-8")
    return gzip.compress(content, mtime=0) if name.lower().endswith(".gz") else content


def _frame(predictions: Predictions, label_values: tuple[str, str] | None) -> pd.DataFrame:
    decisions = predictions.decisions.astype(np.int8)
    words = decisions if label_values is None else np.array(label_values, object)[decisions]
    columns = {
        str(predictions.id_column): predictions.ids,
        "score": predictions.scores,
        "probability": predictions.probabilities,
        "decision": words,
    }
    return pd.DataFrame({key: each for key, each in columns.items() if each is not None})
