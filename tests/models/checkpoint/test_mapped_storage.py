"""Large checkpoints: memory to look at one and to save it, as multiples of its size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from fairfix.models import checkpoint as checkpoints
from fairfix.models.checkpoint.mapped_storage import is_mapped

WIDTH = 2200  # each of two layers is over 16 MiB
CODE = """
import resource, sys
from pathlib import Path
from fairfix.models import checkpoint as checkpoints
from torch import nn
folder = Path(sys.argv[1])
checkpoint = checkpoints.read(folder / sys.argv[2], arch="mlp:relu")
checkpoints.weights_sha256(checkpoint.tensors)
if sys.argv[3] == "save":
    state = {name: tensor.clone() for name, tensor in checkpoint.module.state_dict().items()}
    state["0.bias"] += 1
    checkpoints.write(checkpoint, state, folder / "out.pt", force=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("large")
    for name, width in (("large.pt", WIDTH), ("small.pt", 2)):
        layers = [nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        torch.save(nn.Sequential(*layers, nn.Linear(width, 1)).state_dict(), place / name)
    return place


@pytest.mark.skipif(sys.platform != "linux", reason="units of memory differ")
@pytest.mark.parametrize(("what", "multiple"), [("look", 1.3), ("save", 2.3)])
def test_memory_is_a_small_multiple_of_the_file(what: str, multiple: float, folder: Path) -> None:
    used = [
        int(
            subprocess.run(
                [sys.executable, "-c", CODE, str(folder), name, what],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for name in ("small.pt", "large.pt")
    ]
    size = (folder / "large.pt").stat().st_size
    assert used[1] - used[0] < multiple * size + 2**23  # and the allocator's slack


def test_mapped_weights_are_read_run_and_written_exactly(folder: Path, tmp_path: Path) -> None:
    checkpoint = checkpoints.read(folder / "large.pt", arch="mlp:relu")
    original = torch.load(folder / "large.pt", weights_only=True)
    assert is_mapped(checkpoint.tensors["0.weight"])
    assert checkpoint.module is not None
    loaded = checkpoint.module.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in original.items())
    state = {**loaded, "2.weight": loaded["2.weight"] * 2}
    checkpoints.write(checkpoint, state, tmp_path / "out.pt")
    after = torch.load(tmp_path / "out.pt", weights_only=True, mmap=True)
    assert torch.equal(after["2.weight"], original["2.weight"] * 2)
    assert torch.equal(after["0.weight"], original["0.weight"])
    assert torch.equal(checkpoint.tensors["2.weight"], original["2.weight"])
