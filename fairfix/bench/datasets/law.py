"""LSAC law school: predict whether a student passes the bar exam."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairfix.bench.datasets.definition import Dataset, ProtectedAttribute, RawFile, one_of

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "decile1b",
    "decile3",
    "lsat",
    "ugpa",
    "zfygpa",
    "zgpa",
    "fulltime",
    "fam_inc",
    "male",
    "tier",
    "race",
)


def _read(paths: Sequence[Path]) -> pd.DataFrame:
    import pandas as pd

    rows = pd.read_csv(paths[0])
    return rows.assign(
        sex=rows["male"].map({1: "male", 0: "female"}),
        pass_bar=rows["pass_bar"].map({1: "passed", 0: "failed"}),
    )


LAW = Dataset(
    name="law",
    title="LSAC law school: passes the bar",
    terms="Wightman 1998, Law School Admission Council; copy of Le Quy and others 2022",
    files=(
        RawFile(
            "law/law_school_clean.csv",
            "https://raw.githubusercontent.com/tailequy/fairness_dataset/main/experiments/"
            "data/law_school_clean.csv",
            (
                "23c1b173f3480beb7afc4957b107a9917dfc4a8dc9d87ea6034ec35222152452",
                # with Windows line endings
                "670aeba570dbe12d0f004f212d2fe41eb6015caa6e065a162e91b0d57d336d73",
            ),
        ),
    ),
    read=_read,
    label="pass_bar",
    favorable="passed",
    features=(*(name for name in COLUMNS if name not in ("male", "race")), "sex", "race"),
    categorical=(),
    protected={
        "race": ProtectedAttribute("race", "White", "Non-White", one_of("White")),
        "sex": ProtectedAttribute("sex", "male", "female", one_of("male")),
    },
)
