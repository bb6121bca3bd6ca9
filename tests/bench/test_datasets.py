"""The public data sets; AIF360's own classes are the oracle for rows and encodings."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fairfix.bench.datasets import DATASETS, Dataset, RawFile, dataset
from fairfix.bench.download import DownloadError, cache_folder, fetch
from fairfix.bench.prepare import PreparedSplit, group_column, prepare_split, write_split
from fairfix.data.spec import load_spec
from fairfix.data.table import Columns
from fairfix.errors import OutputError, UsageError
from fairfix.workflows.case import load
from fairfix.workflows.model_options import ModelOptions

AIF360 = {
    ("adult", "sex"): "AdultDataset",
    ("bank", "age-25-to-59"): "BankDataset",
    ("compas", "race"): "CompasDataset",
    ("german", "sex"): "GermanDataset",
    ("german", "age"): "GermanDataset",
}


@pytest.fixture
def raw() -> Path:
    """The folder of raw files; skips without it."""
    folder = Path(os.environ.get("FAIRFIX_DATA", "nowhere")) / "data" / "raw"
    if not folder.is_dir():
        pytest.skip("FAIRFIX_DATA names no folder with the raw benchmark data")
    return folder


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache and no local folder."""
    monkeypatch.delenv("FAIRFIX_DATA", raising=False)
    monkeypatch.setenv("FAIRFIX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def aif360_dataset(name: str, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the same files as AIF360 reads them."""
    from aif360 import datasets

    read = pd.read_csv

    def redirected(path: Any, *args: Any, **options: Any) -> pd.DataFrame:
        return read(folder / name / Path(path).name, *args, **options)

    monkeypatch.setattr(pd, "read_csv", redirected)
    return getattr(datasets, kind)()


@pytest.fixture
def old_strings() -> Iterator[None]:
    """Use the string type of pandas 2, which AIF360 expects."""
    with pd.option_context("future.infer_string", False):
        yield


def prepared_or_skip(name: str, attribute: str) -> PreparedSplit:
    """Return a split of a data set; skip if its files are not on this machine."""
    try:
        return prepare_split(dataset(name), attribute, seed=3, download=False)
    except DownloadError as error:
        pytest.skip(str(error))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "attribute"), AIF360)
def test_rows_and_encoding_are_those_of_aif360(
    name: str,
    attribute: str,
    raw: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    ours = prepared_or_skip(name, attribute)
    request.getfixturevalue("old_strings")
    other = aif360_dataset(name, AIF360[name, attribute], raw, monkeypatch)
    order = np.random.default_rng(3).permutation(len(other.features))
    start = 0
    sizes = {part: len(table) for part, table in ours.parts.items()}
    rows = {}
    for part, size in sizes.items():
        rows[part] = order[start : start + size]
        start += size
    assert start == len(other.features)
    assert sizes["train"] == int(0.6 * start)
    train = other.features[rows["train"]]
    scale = train.std(0)
    scale[scale == 0] = 1
    for part, at in rows.items():
        expected = (other.features[at] - train.mean(0)) / scale
        np.testing.assert_allclose(ours.inputs(part), expected, atol=2e-5, rtol=2e-5)
        assert np.array_equal(ours.labels(part) == 1, other.labels[at, 0] == 1)
        column = other.protected_attribute_names.index(attribute.partition("-")[0])
        inside = ours.parts[part][ours.group] == ours.privileged
        assert np.array_equal(inside, other.protected_attributes[at, column] == 1)


def test_the_privileged_ages_of_bank_are_named(raw: Path) -> None:
    """The papers have age >= 25, AIF360 from 0.6 on 25 <= age < 60."""
    rows = dataset("bank").rows([file.path for file in fetch(dataset("bank"))])
    assert set(rows["age"][prepared_group(rows, "age") == "under 25"]) == set(range(17, 25))
    older = rows["age"][prepared_group(rows, "age-25-to-59") == "under 25 or over 59"]
    assert older[older >= 25].min() == 60


def prepared_group(rows: pd.DataFrame, attribute: str) -> pd.Series[str]:
    return dataset("bank").protected[attribute].groups(rows)


def test_a_written_split_is_read_as_it_was_prepared(raw: Path, tmp_path: Path) -> None:
    prepared = prepare_split(dataset("compas"), "sex", seed=1)
    paths = write_split(prepared, tmp_path / "compas")
    assert {path.name for path in paths} == {
        "train.csv",
        "val.csv",
        "test.csv",
        "model.data.json",
        "fairfix.toml",
    }
    spec = load_spec(tmp_path / "compas" / "model.data.json")
    table = pd.read_csv(tmp_path / "compas" / "val.csv", dtype=str, keep_default_na=False)
    assert group_column("sex") in table
    assert set(table["race"]) > {"Caucasian", "African-American", "Hispanic"}
    assert spec == prepared.spec
    with pytest.raises(OutputError, match="exists"):
        write_split(prepared, tmp_path / "compas")


def test_a_prepared_table_feeds_a_network_by_its_data_spec(raw: Path, tmp_path: Path) -> None:
    import torch

    prepared = prepare_split(dataset("compas"), seed=1)
    write_split(prepared, tmp_path)
    torch.manual_seed(0)
    torch.save(torch.nn.Sequential(torch.nn.Linear(401, 1)).state_dict(), tmp_path / "model.pt")
    case = load(
        tmp_path / "model.pt",
        tmp_path / "val.csv",
        columns=Columns(
            label="two_year_recid", groups=("race_group", "race"), privileged="Caucasian"
        ),
        options=ModelOptions(arch="mlp:relu"),
    )
    assert case.problem.features is not None
    np.testing.assert_array_equal(case.problem.features.numpy(), prepared.inputs("val"))
    assert case.problem.group_names == ("not Caucasian", "Caucasian")
    assert len(case.table.groups[1].names) > 2


def test_equal_seeds_give_equal_splits_and_others_do_not(raw: Path) -> None:
    one, again, other = (prepare_split(dataset("compas"), seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one.parts["val"], again.parts["val"])
    assert not one.parts["val"].equals(other.parts["val"])


def tiny(*hashes: str, url: str = "", member: str = "") -> Dataset:
    """Return a data set of one file."""
    from dataclasses import replace

    raw = RawFile("tiny/file.csv", url, hashes, member)
    return replace(DATASETS["bank"], name="tiny", files=(raw,))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_of_another_edition_is_refused(empty: Path) -> None:
    path = empty / "tiny" / "file.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    assert fetch(tiny(sha256(b"mine")))[0].checked
    assert not fetch(tiny())[0].checked
    with pytest.raises(DownloadError, match=r"is not the published tiny/file\.csv"):
        fetch(tiny(sha256(b"other")))


def test_the_local_folder_is_preferred_to_the_cache(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, text in ((empty, "cached"), (tmp_path / "local" / "data" / "raw", "local")):
        (folder / "tiny").mkdir(parents=True)
        (folder / "tiny" / "file.csv").write_text(text)
    assert fetch(tiny())[0].path.read_text() == "cached"
    monkeypatch.setenv("FAIRFIX_DATA", str(tmp_path / "local"))
    assert fetch(tiny())[0].path.read_text() == "local"
    assert cache_folder() == empty


def test_a_missing_file_error_explains_how_to_get_it(empty: Path) -> None:
    with pytest.raises(DownloadError, match="run 'fairfix data fetch adult'"):
        fetch(dataset("adult"), download=False)


class Retrieve:
    """Stand-in for pooch.retrieve: the content a server sends, or a connection error."""

    def __init__(self, content: bytes | None) -> None:
        self.content = content

    def __call__(
        self, url: str, known_hash: None, fname: str, path: Path, processor: Any = None
    ) -> None:
        if self.content is None:
            raise OSError("no route to host")
        path.mkdir(parents=True)
        (path / fname).write_bytes(self.content)
        if processor is not None:
            processor(str(path / fname), "download", None)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_download_is_kept(
    zipped: bool, empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pooch

    content = b"a;b\n1;2\n"
    sent = content
    if zipped:
        with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
            archive.writestr("folder/inside.csv", content)
        sent = (tmp_path / "z.zip").read_bytes()
    monkeypatch.setattr(pooch, "retrieve", Retrieve(sent))
    wanted = tiny(sha256(content), member="folder/inside.csv" if zipped else "")
    assert fetch(wanted)[0].path.read_bytes() == content
    monkeypatch.setattr(pooch, "retrieve", Retrieve(None))
    assert fetch(wanted)[0].path == empty / "tiny" / "file.csv"


def test_a_connection_error_explains_where_to_put_the_file(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pooch

    monkeypatch.setattr(pooch, "retrieve", Retrieve(None))
    with pytest.raises(DownloadError, match=r"no route to host.*data/raw/tiny/file\.csv"):
        fetch(tiny())


@pytest.mark.parametrize(("name", "attribute"), [("adult", "age"), ("compas", "sx")])
def test_an_unknown_attribute_is_refused_by_name(name: str, attribute: str) -> None:
    with pytest.raises(UsageError, match=f"{name} has the protected attributes .*{attribute!r}"):
        prepare_split(dataset(name), attribute)


def test_an_unknown_data_set_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"The data sets are adult, bank, .*not 'iris'"):
        dataset("iris")


def german(rows: list[tuple[str, int, int]]) -> str:
    """Return lines in the published format with the given personal status, age and credit."""
    head = "A11 6 A34 A43 1169 A65 A75 4"
    return "".join(
        f"{head} {status} A101 4 A121 {age} A143 A152 2 A173 1 A192 A201 {credit}\n"
        for status, age, credit in rows
    )


def test_german_reads_sex_from_the_code_of_personal_status(empty: Path) -> None:
    path = empty / "german" / "german.data"
    path.parent.mkdir(parents=True)
    path.write_text(german([("A93", 67, 1), ("A92", 22, 2), ("A95", 30, 1), ("A91", 25, 2)]))
    rows = dataset("german").rows([path])
    assert list(rows["sex"]) == ["male", "female", "female", "male"]
    assert list(rows["credit"]) == ["good", "bad", "good", "bad"]
    assert "personal_status" not in rows
    ages = dataset("german").protected["age"].groups(rows)
    assert list(ages) == ["over 25", "25 and under", "over 25", "25 and under"]


def test_acs_keeps_working_adults(empty: Path) -> None:
    path = empty / "psam.csv"
    names = ["AGEP", "COW", "SCHL", "MAR", "OCCP", "POBP", "RELP", "WKHP", "SEX", "RAC1P"]
    frame = pd.DataFrame([[30, 1, 20, 1, 10, 6, 0, 40, 1, 1]] * 4, columns=names)
    frame["PINCP"], frame["PWGTP"] = [50_001, 50_000, 100, 60_000], 1
    frame.loc[3, "AGEP"] = 16
    empty.mkdir()
    frame.to_csv(path, index=False)
    rows = dataset("acs").rows([path])
    assert list(rows["income"]) == [">50000", "<=50000"]
    assert set(rows["SEX"]) == {"male"}


def test_law_has_the_published_rows() -> None:
    ours = prepared_or_skip("law", "race")
    table = pd.concat(ours.parts.values())
    assert len(table) == 20_798
    assert (table[ours.group] == "Non-White").sum() == 3_307
    assert (table["pass_bar"] == "passed").sum() == 18_505
    assert ours.inputs("val").shape == (4_160, 11)


def test_law_names_its_groups(empty: Path) -> None:
    names = ["decile1b", "decile3", "lsat", "ugpa", "zfygpa", "zgpa", "fulltime", "fam_inc"]
    frame = pd.DataFrame([[1.0] * 8] * 2, columns=names)
    frame["male"], frame["tier"] = [1.0, 0.0], 3.0
    frame["race"], frame["pass_bar"] = ["White", "Non-White"], [1.0, 0.0]
    empty.mkdir()
    frame.to_csv(empty / "law.csv", index=False)
    rows = dataset("law").rows([empty / "law.csv"])
    assert list(rows["sex"]) == ["male", "female"]
    assert list(rows["pass_bar"]) == ["passed", "failed"]


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_definition_is_consistent(name: str) -> None:
    each = DATASETS[name]
    assert set(each.categorical) < {*each.features} or not each.categorical
    assert {p.column for p in each.protected.values()} <= set(each.features)
    assert all(raw.url.startswith("https://") for raw in each.files)
    assert all(len(h) == 64 and int(h, 16) for raw in each.files for h in raw.sha256)
    assert each.label not in each.features
    assert json.dumps(each.terms)
    assert cache_folder()
