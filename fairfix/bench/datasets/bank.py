"""UCI Bank Marketing: predict whether a client subscribes to a term deposit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairfix.bench.datasets.definition import UCI, Dataset, ProtectedAttribute, RawFile

if TYPE_CHECKING:
    import pandas as pd


def _read(paths: Sequence[Path]) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(paths[0], sep=";", na_values="unknown")


BANK = Dataset(
    name="bank",
    title="UCI Bank Marketing: subscribes to a term deposit",
    terms="Moro, Cortez and Rita 2014, doi 10.24432/C5K306, CC BY 4.0",
    files=(
        RawFile(
            "bank/bank-additional-full.csv",
            f"{UCI}/00222/bank-additional.zip",
            ("74adfc578bf77a7ff4bb1ba4a9f8709d9e3c6907342959c2c8416847e0afb4d8",),
            member="bank-additional/bank-additional-full.csv",
        ),
    ),
    read=_read,
    label="y",
    favorable="yes",
    features=(
        "age",
        "job",
        "marital",
        "education",
        "default",
        "housing",
        "loan",
        "contact",
        "month",
        "day_of_week",
        "duration",
        "campaign",
        "pdays",
        "previous",
        "poutcome",
        "emp.var.rate",
        "cons.price.idx",
        "cons.conf.idx",
        "euribor3m",
        "nr.employed",
    ),
    categorical=(
        "job",
        "marital",
        "education",
        "default",
        "housing",
        "loan",
        "contact",
        "month",
        "day_of_week",
        "poutcome",
    ),
    protected={
        "age": ProtectedAttribute(
            "age", "25 and over", "under 25", lambda age: age.astype(float) >= 25
        ),
        "age-25-to-59": ProtectedAttribute(
            "age",
            "25 to 59",
            "under 25 or over 59",
            lambda age: age.astype(float).between(25, 60, inclusive="left"),
        ),
    },
)
