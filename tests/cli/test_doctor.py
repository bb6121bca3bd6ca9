"""``fairfix doctor`` and ``fairfix validate``."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from fairfix.cli import doctor
from tests.helpers.paths import ROOT
from tests.helpers.runs import Run


def test_versions_the_build_of_torch_and_devices_are_shown(fairfix: Run) -> None:
    ended = fairfix("doctor", "--json")
    assert (ended.code, ended.err) == (0, "")
    document = json.loads(ended.out)
    assert document["versions"]["torch"].startswith("2.")
    assert "cpu" in document["torch"]["devices"]
    assert document["torch"]["build"]
    plain = fairfix("doctor")
    assert plain.code == 0
    assert document["versions"]["torch"] in plain.out


def test_a_missing_extra_is_shown_with_its_command(
    fairfix: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(doctor.EXTRAS, "dask", ("no-such-package",))
    assert "pip install 'fairfix[dask]'" in fairfix("doctor").out
    extras = json.loads(fairfix("doctor", "--json").out)["extras"]
    assert extras["dask"] == {"installed": False, "packages": {"no-such-package": None}}


def test_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = {
        name: tuple(each.partition(">=")[0] for each in needed if not each.startswith("fairfix["))
        for name, needed in project["optional-dependencies"].items()
        if name in doctor.EXTRAS
    }
    assert listed == doctor.EXTRAS


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("fairfix.toml", 'labl = "y"', "labl"),
        ("fairfix.toml", "[gat]\nbudget = 0.1", "unknown command 'gat'"),
        ("pyproject.toml", '[tool.fairfix]\nseed = "y"', "seed"),
        ("model.data.json", '{"version": 1, "features": []}', "features"),
        ("model.rule.json", "{}", "model.rule.json"),
        ("notes.txt", "", "is none of"),
    ],
)
def test_a_file_that_is_not_valid_is_named(
    fairfix: Run, tmp_path: Path, name: str, text: str, problem: str
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    ended = fairfix("validate", path)
    assert ended.code == 2
    assert str(path) in ended.sentence
    assert problem in ended.sentence
    checked = json.loads(fairfix("validate", path, "--json").out)
    assert checked["valid"] is False


def test_valid_files(fairfix: Run, tmp_path: Path) -> None:
    (tmp_path / "fairfix.toml").write_text('label = "y"\n[gate]\nbudget = ["spd=0.1"]\n')
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "m.data.json").write_text('{"version": 1, "features": [{"column": "x"}]}')
    ended = fairfix("validate", *sorted(tmp_path.iterdir()))
    assert (ended.code, ended.out.strip(), ended.err) == (0, "3 valid", "")
