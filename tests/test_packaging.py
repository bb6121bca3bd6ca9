"""Wheel and source archive: what they hold, and what their metadata promises."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import yaml

from fairfix import errors
from fairfix._utils.version import __version__
from fairfix.bench import download
from fairfix.bench.datasets import DATASETS
from tests.helpers.paths import ROOT

EXTRAS = {
    "bench",
    "dask",
    "vision",
    "text",
    "sklearn",
    "torchmetrics",
    "lightning",
    "huggingface",
    "mlflow",
    "notebook",
    "all",
}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and the wheel built from it."""
    pytest.importorskip("build", reason="building needs the package build")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_the_source_archive_holds_what_readme_and_tests_use(archives: Path) -> None:
    (path,) = archives.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    tracked = {
        path.relative_to(ROOT).as_posix()
        for folder in ("docs", "sample_models", "tests", "fairfix", "benchmarks")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and ".debiased." not in path.name
        and path.suffix != ".pyc"
    }
    assert tracked <= held
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "constraints.txt", "Makefile"} <= held


def test_the_wheel_holds_types_schemas_and_templates(archives: Path) -> None:
    (path,) = archives.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        held = set(archive.namelist())
        (metadata,) = (name for name in held if name.endswith("/METADATA"))
        fields = message_from_bytes(archive.read(metadata))
    data = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "fairfix").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert data <= held
    assert not [name for name in held if name.startswith("tests/")]
    assert set(fields.get_all("Provides-Extra", [])) >= EXTRAS


def test_the_version_is_that_of_the_changelog() -> None:
    """An unreleased section is a development version of it, and CITATION.cff has the release."""
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## \[(.+?)\] - (.+)$", changes, re.MULTILINE)
    (newest, date), *_ = sections
    assert __version__ == (f"{newest}.dev0" if date == "Unreleased" else newest)
    released = next(each for each in sections if each[1] != "Unreleased")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["date-released"]) == released


def test_links_of_the_readme_are_absolute() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [part.partition(")")[0] for part in page.split("](")[1:]]
    assert targets
    assert [each for each in targets if not each.startswith(("https://", "#"))] == []


def test_all_holds_every_extra_for_users() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (names,) = project["optional-dependencies"]["all"]
    listed = set(names.removeprefix("fairfix[").removesuffix("]").split(","))
    assert listed == EXTRAS - {"all"}


def test_only_a_download_needs_pooch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    monkeypatch.setenv("FAIRFIX_DATA", str(tmp_path))
    monkeypatch.delenv("FAIRFIX_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dataset = next(iter(DATASETS.values()))
    with pytest.raises(errors.UsageError, match=r"pip install 'fairfix\[bench\]'"):
        download.fetch(dataset)
