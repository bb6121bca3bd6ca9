"""``--arch`` that names the user's own code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fairfix.errors import CheckpointError, UsageError
from fairfix.models import checkpoint as checkpoints
from tests.helpers.checkpoint_models import Tabular, rows, trained

CODE = """
import torch
from dataclasses import dataclass
from torch import nn
from helper_beside_it import WIDTH

@dataclass
class Settings:
    width: int = WIDTH

class Net(nn.Sequential):
    class Inner(nn.Linear):
        def __init__(self):
            super().__init__(7, 1)

    def __init__(self, width=None):
        super().__init__(nn.Linear(7, width or Settings().width), nn.Linear(4, 1))

def make(width: int = 4) -> nn.Module:
    return Net(width)

def broken():
    raise ValueError("first line\\nsecond line")

def no_module():
    return 3

class Lazy(nn.Sequential):
    def __init__(self):
        super().__init__(nn.LazyLinear(4), nn.Linear(4, 1))

answer = 42
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_net.py").write_text(CODE)
    (tmp_path / "helper_beside_it.py").write_text("WIDTH = 4\n")
    torch.save(nn.Sequential(nn.Linear(7, 4), nn.Linear(4, 1)).state_dict(), tmp_path / "model.pt")
    return tmp_path


def read(folder: Path, arch: str, **options: Any) -> checkpoints.Checkpoint:
    sys.modules.pop("helper_beside_it", None)
    return checkpoints.read(folder / "model.pt", arch=arch, **options)


@pytest.mark.parametrize("name", ["Net", "make", "Lazy"])
def test_class_or_function_in_a_file(folder: Path, name: str) -> None:
    before = list(sys.path)
    module = read(folder, f"{folder}/my_net.py:{name}").module
    assert module is not None
    assert module(rows()).shape == (5, 1)
    assert torch.equal(module.state_dict()["0.weight"], torch.load(folder / "model.pt")["0.weight"])
    assert sys.path == before


def test_class_within_a_class(folder: Path) -> None:
    torch.save(nn.Linear(7, 1).state_dict(), folder / "model.pt")
    module = read(folder, f"{folder}/my_net.py:Net.Inner").module
    assert type(module).__name__ == "Inner"


def test_arguments(folder: Path) -> None:
    arch = f"{folder}/my_net.py:make"
    assert read(folder, arch, arch_args={"width": 4}).module is not None
    with pytest.raises(CheckpointError, match="do not fit the architecture"):
        read(folder, arch, arch_args={"width": 9})
    with pytest.raises(CheckpointError, match=r"TypeError: .*'depth'\. .*--arch-args"):
        read(folder, arch, arch_args={"depth": 9})


def test_module_in_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert read(folder, "my_net:Net").module is not None
    assert read(folder, "my_net.py:Net").module is not None


def test_installed_package(tmp_path: Path) -> None:
    torch.save(nn.Linear(7, 1).state_dict(), tmp_path / "model.pt")
    options = {"in_features": 7, "out_features": 1}
    module = read(tmp_path, "torch.nn:Linear", arch_args=options).module
    assert isinstance(module, nn.Linear)


@pytest.mark.parametrize(
    ("arch", "kind", "sentence"),
    [
        ("Net", UsageError, "Write file.py:Class"),
        ("my_net.py:", UsageError, "is not understood"),
        (":Net", UsageError, "is not understood"),
        ("nowhere.py:Net", UsageError, "nowhere.py does not exist"),
        ("my_net.py:Nett", UsageError, "there is no Nett to call. Its networks: Lazy, Net"),
        ("my_net.py:answer", UsageError, "there is no answer to call"),
        ("no_such_package:Net", CheckpointError, "importing no_such_package failed: ModuleNot"),
        ("my_net.py:broken", CheckpointError, r"failed: ValueError: first line\. Pass arguments"),
        ("my_net.py:no_module", CheckpointError, "returned int, not an nn.Module"),
        ("torn.py:Net", CheckpointError, r"torn\.py raised SyntaxError"),
    ],
)
def test_what_cannot_be_made(
    arch: str, kind: type[Exception], sentence: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "torn.py").write_text("class Net(:\n")
    monkeypatch.chdir(folder)
    with pytest.raises(kind, match=sentence):
        read(folder, arch)


def test_weights_do_not_keep_the_state_of_training(tmp_path: Path) -> None:
    torch.save(trained(Tabular()).state_dict(), tmp_path / "model.pt")
    (tmp_path / "frozen.py").write_text(
        "from tests.helpers.checkpoint_models import Tabular\n"
        "def make():\n"
        "    return Tabular().double().train().requires_grad_(False)\n"
    )
    module = read(tmp_path, f"{tmp_path}/frozen.py:make").module
    assert module is not None
    assert not module.training
    assert all(p.requires_grad and p.dtype == torch.float32 for p in module.parameters())
