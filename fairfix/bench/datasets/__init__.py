"""The public data sets of the field, by name.

A data set is read into a table of raw values: one column for each feature, plus the label and the
protected attributes. Rows with missing values are dropped. ``fairfix.bench.prepare`` derives the
papers' encoding (that of AIF360) from the training rows.
"""

from fairfix.bench.datasets.acs import ACS
from fairfix.bench.datasets.adult import ADULT
from fairfix.bench.datasets.bank import BANK
from fairfix.bench.datasets.compas import COMPAS
from fairfix.bench.datasets.definition import Dataset, ProtectedAttribute, RawFile
from fairfix.bench.datasets.german import GERMAN
from fairfix.bench.datasets.law import LAW
from fairfix.errors import UsageError

__all__ = ["DATASETS", "Dataset", "ProtectedAttribute", "RawFile", "dataset"]

DATASETS: dict[str, Dataset] = {each.name: each for each in (ADULT, BANK, COMPAS, GERMAN, LAW, ACS)}


def dataset(name: str) -> Dataset:
    """Return a data set by name.

    Raises:
        UsageError: if the name is unknown.
    """
    if name not in DATASETS:
        raise UsageError(f"The data sets are {', '.join(DATASETS)}, not {name!r}.")
    return DATASETS[name]
