"""The public data sets of the field: where they come from and what their columns mean.

A data set is read into a table of raw values, one column a feature, beside the label and the
protected attributes. Rows with missing values are dropped. The encoding that the papers use (those
of AIF360) is derived from the training rows by ``fairfix.bench.prepare``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairfix.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Source:
    """A file as its publisher distributes it.

    Attributes:
        place: its path below a data folder, and below the cache.
        url: where it can be had.
        sha256: of every edition that is known to be the same data; empty where the publisher
            makes a new one for every request.
        member: its name inside a zip archive; "" when it is none.
    """

    place: str
    url: str
    sha256: tuple[str, ...] = ()
    member: str = ""


@dataclass(frozen=True)
class Protected:
    """A protected attribute with two groups.

    Attributes:
        column: the raw column it is read from.
        privileged, unprivileged: names of its groups.
        is_privileged: from the raw column to whether each row is privileged.
    """

    column: str
    privileged: str
    unprivileged: str
    is_privileged: Callable[[pd.Series[Any]], pd.Series[bool]]

    def groups(self, rows: pd.DataFrame) -> pd.Series[str]:
        """The group of each row, by name."""
        inside = self.is_privileged(rows[self.column])
        return inside.map({True: self.privileged, False: self.unprivileged})


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        read: from the paths of ``sources`` to raw rows with the columns below.
        favorable: the label value whose probability networks learn.
        features: the raw columns that a network may look at, in file order; protected ones are
            among them.
        categorical: those of them that are categories.
        protected: by name, the first being the usual one.
    """

    name: str
    title: str
    terms: str
    sources: tuple[Source, ...]
    read: Callable[[Sequence[Path]], pd.DataFrame]
    label: str
    favorable: str
    features: tuple[str, ...]
    categorical: tuple[str, ...]
    protected: Mapping[str, Protected]

    def rows(self, paths: Sequence[Path]) -> pd.DataFrame:
        """The raw rows, none with a missing value, numbered from 0."""
        return self.read(paths)[[*self.features, self.label]].dropna().reset_index(drop=True)

    def attribute(self, name: str | None) -> str:
        """The name of a protected attribute; the usual one for None.

        Raises:
            UsageError: when there is none of that name.
        """
        if name is None:
            return next(iter(self.protected))
        if name not in self.protected:
            raise UsageError(
                f"{self.name} has the protected attributes {', '.join(self.protected)}, not "
                f"{name!r}."
            )
        return name


def dataset(name: str) -> Dataset:
    """A data set by name.

    Raises:
        UsageError: for an unknown one.
    """
    if name not in DATASETS:
        raise UsageError(f"The data sets are {', '.join(DATASETS)}, not {name!r}.")
    return DATASETS[name]


def _one_of(*values: str) -> Callable[[pd.Series[Any]], pd.Series[bool]]:
    return lambda column: column.isin(values)


_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases"

_ADULT = (
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


def _read_adult(paths: Sequence[Path]) -> pd.DataFrame:
    """The published test rows first, as AIF360 has them."""
    import pandas as pd

    train, test = paths
    parts = [
        pd.read_csv(
            path,
            header=None,
            names=list(_ADULT),
            skiprows=skip,
            skipinitialspace=True,
            na_values="?",
        )
        for path, skip in ((test, 1), (train, 0))  # the test file begins with a remark
    ]
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(income=rows["income"].str.removesuffix("."))


def _read_bank(paths: Sequence[Path]) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(paths[0], sep=";", na_values="unknown")


_COMPAS = (
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


def _read_compas(paths: Sequence[Path]) -> pd.DataFrame:
    """The rows that ProPublica's analysis keeps."""
    import pandas as pd

    rows = pd.read_csv(paths[0])
    return rows[
        rows["days_b_screening_arrest"].between(-30, 30)
        & (rows["is_recid"] != -1)
        & (rows["c_charge_degree"] != "O")
    ]


_GERMAN = (
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


def _read_german(paths: Sequence[Path]) -> pd.DataFrame:
    """Sex is read from the code of personal status, which is no feature beside it."""
    import pandas as pd

    rows = pd.read_csv(paths[0], sep=r"\s+", header=None, names=[*_GERMAN, "credit"])
    women = rows["personal_status"].isin(_WOMEN)
    return rows.assign(
        sex=women.map({True: "female", False: "male"}),
        credit=rows["credit"].map({1: "good", 2: "bad"}),
    )


_LAW = (
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


def _read_law(paths: Sequence[Path]) -> pd.DataFrame:
    import pandas as pd

    rows = pd.read_csv(paths[0])
    return rows.assign(
        sex=rows["male"].map({1: "male", 0: "female"}),
        pass_bar=rows["pass_bar"].map({1: "passed", 0: "failed"}),
    )


_ACS = ("AGEP", "COW", "SCHL", "MAR", "OCCP", "POBP", "RELP", "WKHP", "SEX", "RAC1P")


def _read_acs(paths: Sequence[Path]) -> pd.DataFrame:
    """Adults who work: the filter of ACSIncome (Ding, Hardt, Miller, Schmidt 2021)."""
    import pandas as pd

    rows = pd.read_csv(paths[0], usecols=[*_ACS, "PINCP", "PWGTP"])
    kept = (rows["AGEP"] > 16) & (rows["PINCP"] > 100) & (rows["WKHP"] > 0) & (rows["PWGTP"] >= 1)
    rows = rows[kept]
    return rows.assign(
        SEX=rows["SEX"].map({1: "male", 2: "female"}),
        income=(rows["PINCP"] > 50_000).map({True: ">50000", False: "<=50000"}),
    )


DATASETS: dict[str, Dataset] = {
    each.name: each
    for each in (
        Dataset(
            name="adult",
            title="UCI Adult: income above 50,000 dollars",
            terms="Becker and Kohavi 1996, doi 10.24432/C5XW20, CC BY 4.0",
            sources=(
                Source(
                    "adult/adult.data",
                    f"{_UCI}/adult/adult.data",
                    ("5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",),
                ),
                Source(
                    "adult/adult.test",
                    f"{_UCI}/adult/adult.test",
                    ("a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",),
                ),
            ),
            read=_read_adult,
            label="income",
            favorable=">50K",
            features=tuple(name for name in _ADULT[:-1] if name != "fnlwgt"),
            categorical=(
                "workclass",
                "education",
                "marital-status",
                "occupation",
                "relationship",
                "native-country",
            ),
            protected={
                "sex": Protected("sex", "Male", "Female", _one_of("Male")),
                "race": Protected("race", "White", "Non-white", _one_of("White")),
            },
        ),
        Dataset(
            name="bank",
            title="UCI Bank Marketing: subscribes a term deposit",
            terms="Moro, Cortez and Rita 2014, doi 10.24432/C5K306, CC BY 4.0",
            sources=(
                Source(
                    "bank/bank-additional-full.csv",
                    f"{_UCI}/00222/bank-additional.zip",
                    ("74adfc578bf77a7ff4bb1ba4a9f8709d9e3c6907342959c2c8416847e0afb4d8",),
                    member="bank-additional/bank-additional-full.csv",
                ),
            ),
            read=_read_bank,
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
                "age": Protected(
                    "age", "25 and over", "under 25", lambda age: age.astype(float) >= 25
                ),
                "age-25-to-59": Protected(
                    "age",
                    "25 to 59",
                    "under 25 or over 59",
                    lambda age: age.astype(float).between(25, 60, inclusive="left"),
                ),
            },
        ),
        Dataset(
            name="compas",
            title="ProPublica COMPAS: recidivism within two years",
            terms="Larson, Mattu, Kirchner and Angwin 2016, ProPublica",
            sources=(
                Source(
                    "compas/compas-scores-two-years.csv",
                    "https://raw.githubusercontent.com/propublica/compas-analysis/master/"
                    "compas-scores-two-years.csv",
                    (
                        "c451db85908b2f7fef1d83203bedf6b71ecda0d5af468d82ae62178f91d0cc7d",
                        # the same without names and case numbers
                        "30eb20d79ba476ec24979ea00d0e77ef74fb5adc0ee843fd0d00079465a6089d",
                    ),
                ),
            ),
            read=_read_compas,
            label="two_year_recid",
            favorable="1",
            features=_COMPAS,
            categorical=("age_cat", "c_charge_degree", "c_charge_desc"),
            protected={
                "race": Protected("race", "Caucasian", "not Caucasian", _one_of("Caucasian")),
                "sex": Protected("sex", "Female", "Male", _one_of("Female")),
            },
        ),
        Dataset(
            name="german",
            title="UCI Statlog German Credit: good credit risk",
            terms="Hofmann 1994, doi 10.24432/C5NC77, CC BY 4.0",
            sources=(
                Source(
                    "german/german.data",
                    f"{_UCI}/statlog/german/german.data",
                    ("b21f3d81db8071257d5ff1deaeba1fd4303b62712e6fcc9715c7a86202cb5871",),
                ),
            ),
            read=_read_german,
            label="credit",
            favorable="good",
            features=(*(name for name in _GERMAN if name != "personal_status"), "sex"),
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
                "sex": Protected("sex", "male", "female", _one_of("male")),
                "age": Protected(
                    "age", "over 25", "25 and under", lambda age: age.astype(float) > 25
                ),
            },
        ),
        Dataset(
            name="law",
            title="LSAC law school: passes the bar",
            terms="Wightman 1998, Law School Admission Council; copy of Le Quy and others 2022",
            sources=(
                Source(
                    "law/law_school_clean.csv",
                    "https://raw.githubusercontent.com/tailequy/fairness_dataset/main/experiments/"
                    "data/law_school_clean.csv",
                    (
                        "23c1b173f3480beb7afc4957b107a9917dfc4a8dc9d87ea6034ec35222152452",
                        # the same with line ends of Windows
                        "670aeba570dbe12d0f004f212d2fe41eb6015caa6e065a162e91b0d57d336d73",
                    ),
                ),
            ),
            read=_read_law,
            label="pass_bar",
            favorable="passed",
            features=(*(name for name in _LAW if name not in ("male", "race")), "sex", "race"),
            categorical=(),
            protected={
                "race": Protected("race", "White", "Non-White", _one_of("White")),
                "sex": Protected("sex", "male", "female", _one_of("male")),
            },
        ),
        Dataset(
            name="acs",
            title="ACSIncome, California 2018: income above 50,000 dollars",
            terms="US Census Bureau, ACS PUMS, terms of service of the Census Bureau",
            sources=(
                Source(
                    "acs/psam_p06.csv",
                    "https://www2.census.gov/programs-surveys/acs/data/pums/2018/1-Year/"
                    "csv_pca.zip",
                    ("dc2187fc90df2c5f6b546ee89a2b41c9a97379c9e7136461b6a6c8de871b43e0",),
                    member="psam_p06.csv",
                ),
            ),
            read=_read_acs,
            label="income",
            favorable=">50000",
            features=_ACS,
            categorical=("COW", "SCHL", "MAR", "RELP"),
            protected={
                "sex": Protected("SEX", "male", "female", _one_of("male")),
                "race": Protected(
                    "RAC1P", "White alone", "other", lambda race: race.astype(int) == 1
                ),
            },
        ),
    )
}
