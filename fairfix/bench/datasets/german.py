"""UCI Statlog German Credit: predict a good credit risk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairfix.bench.datasets.definition import UCI, Dataset, ProtectedAttribute, RawFile, one_of

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "status",
    "month",
    "credit_history",
    "purpose",
    "credit_amount",
    "savings",
    "employment",
    "investment_as_income_percentage",
    "personal_status",
    "other_debtors",
    "residence_since",
    "property",
    "age",
    "installment_plans",
    "housing",
    "number_of_credits",
    "skill_level",
    "people_liable_for",
    "telephone",
    "foreign_worker",
)
_WOMEN = ("A92", "A95")  # codes of "personal_status"


def _read(paths: Sequence[Path]) -> pd.DataFrame:
    """Read the rows; sex comes from the personal status code, which is not kept as a feature."""
    import pandas as pd

    rows = pd.read_csv(paths[0], sep=r"\s+", header=None, names=[*COLUMNS, "credit"])
    women = rows["personal_status"].isin(_WOMEN)
    return rows.assign(
        sex=women.map({True: "female", False: "male"}),
        credit=rows["credit"].map({1: "good", 2: "bad"}),
    )


GERMAN = Dataset(
    name="german",
    title="UCI Statlog German Credit: good credit risk",
    terms="Hofmann 1994, doi 10.24432/C5NC77, CC BY 4.0",
    files=(
        RawFile(
            "german/german.data",
            f"{UCI}/statlog/german/german.data",
            ("b21f3d81db8071257d5ff1deaeba1fd4303b62712e6fcc9715c7a86202cb5871",),
        ),
    ),
    read=_read,
    label="credit",
    favorable="good",
    features=(*(name for name in COLUMNS if name != "personal_status"), "sex"),
    categorical=(
        "status",
        "credit_history",
        "purpose",
        "savings",
        "employment",
        "other_debtors",
        "property",
        "installment_plans",
        "housing",
        "skill_level",
        "telephone",
        "foreign_worker",
    ),
    protected={
        "sex": ProtectedAttribute("sex", "male", "female", one_of("male")),
        "age": ProtectedAttribute(
            "age", "over 25", "25 and under", lambda age: age.astype(float) > 25
        ),
    },
)
