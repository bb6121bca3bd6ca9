"""UCI Adult: predict an income above 50,000 dollars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairfix.bench.datasets.definition import UCI, Dataset, ProtectedAttribute, RawFile, one_of

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
    "income",
)


def _read(paths: Sequence[Path]) -> pd.DataFrame:
    """Read both files, the published test rows first, in AIF360's order."""
    import pandas as pd

    train, test = paths
    parts = [
        pd.read_csv(
            path,
            header=None,
            names=list(COLUMNS),
            skiprows=skip,
            skipinitialspace=True,
            na_values="?",
        )
        for path, skip in ((test, 1), (train, 0))  # the first line of the test file is a comment
    ]
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(income=rows["income"].str.removesuffix("."))


ADULT = Dataset(
    name="adult",
    title="UCI Adult: income above 50,000 dollars",
    terms="Becker and Kohavi 1996, doi 10.24432/C5XW20, CC BY 4.0",
    files=(
        RawFile(
            "adult/adult.data",
            f"{UCI}/adult/adult.data",
            ("5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",),
        ),
        RawFile(
            "adult/adult.test",
            f"{UCI}/adult/adult.test",
            ("a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",),
        ),
    ),
    read=_read,
    label="income",
    favorable=">50K",
    features=tuple(name for name in COLUMNS[:-1] if name != "fnlwgt"),
    categorical=(
        "workclass",
        "education",
        "marital-status",
        "occupation",
        "relationship",
        "native-country",
    ),
    protected={
        "sex": ProtectedAttribute("sex", "Male", "Female", one_of("Male")),
        "race": ProtectedAttribute("race", "White", "Non-white", one_of("White")),
    },
)
