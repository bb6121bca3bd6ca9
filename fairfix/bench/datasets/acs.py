"""ACSIncome, California 2018: predict an income above 50,000 dollars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairfix.bench.datasets.definition import Dataset, ProtectedAttribute, RawFile, one_of

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("AGEP", "COW", "SCHL", "MAR", "OCCP", "POBP", "RELP", "WKHP", "SEX", "RAC1P")


def _read(paths: Sequence[Path]) -> pd.DataFrame:
    """Read working adults: the ACSIncome filter (Ding, Hardt, Miller, Schmidt 2021)."""
    import pandas as pd

    rows = pd.read_csv(paths[0], usecols=[*COLUMNS, "PINCP", "PWGTP"])
    kept = (rows["AGEP"] > 16) & (rows["PINCP"] > 100) & (rows["WKHP"] > 0) & (rows["PWGTP"] >= 1)
    rows = rows[kept]
    return rows.assign(
        SEX=rows["SEX"].map({1: "male", 2: "female"}),
        income=(rows["PINCP"] > 50_000).map({True: ">50000", False: "<=50000"}),
    )


ACS = Dataset(
    name="acs",
    title="ACSIncome, California 2018: income above 50,000 dollars",
    terms="US Census Bureau, ACS PUMS, terms of service of the Census Bureau",
    files=(
        RawFile(
            "acs/psam_p06.csv",
            "https://www2.census.gov/programs-surveys/acs/data/pums/2018/1-Year/csv_pca.zip",
            ("dc2187fc90df2c5f6b546ee89a2b41c9a97379c9e7136461b6a6c8de871b43e0",),
            member="psam_p06.csv",
        ),
    ),
    read=_read,
    label="income",
    favorable=">50000",
    features=COLUMNS,
    categorical=("COW", "SCHL", "MAR", "RELP"),
    protected={
        "sex": ProtectedAttribute("SEX", "male", "female", one_of("male")),
        "race": ProtectedAttribute(
            "RAC1P", "White alone", "other", lambda race: race.astype(int) == 1
        ),
    },
)
