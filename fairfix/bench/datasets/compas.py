"""ProPublica COMPAS: predict recidivism within two years."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairfix.bench.datasets.definition import Dataset, ProtectedAttribute, RawFile, one_of

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "sex",
    "age",
    "age_cat",
    "race",
    "juv_fel_count",
    "juv_misd_count",
    "juv_other_count",
    "priors_count",
    "c_charge_degree",
    "c_charge_desc",
)


def _read(paths: Sequence[Path]) -> pd.DataFrame:
    """Read the rows that ProPublica's analysis keeps."""
    import pandas as pd

    rows = pd.read_csv(paths[0])
    return rows[
        rows["days_b_screening_arrest"].between(-30, 30)
        & (rows["is_recid"] != -1)
        & (rows["c_charge_degree"] != "O")
    ]


COMPAS = Dataset(
    name="compas",
    title="ProPublica COMPAS: recidivism within two years",
    terms="Larson, Mattu, Kirchner and Angwin 2016, ProPublica",
    files=(
        RawFile(
            "compas/compas-scores-two-years.csv",
            "https://raw.githubusercontent.com/propublica/compas-analysis/master/"
            "compas-scores-two-years.csv",
            (
                "c451db85908b2f7fef1d83203bedf6b71ecda0d5af468d82ae62178f91d0cc7d",
                # without names and case numbers
                "30eb20d79ba476ec24979ea00d0e77ef74fb5adc0ee843fd0d00079465a6089d",
            ),
        ),
    ),
    read=_read,
    label="two_year_recid",
    favorable="1",
    features=COLUMNS,
    categorical=("age_cat", "c_charge_degree", "c_charge_desc"),
    protected={
        "race": ProtectedAttribute("race", "Caucasian", "not Caucasian", one_of("Caucasian")),
        "sex": ProtectedAttribute("sex", "Female", "Male", one_of("Female")),
    },
)
