"""Large checkpoints: memory to look at one and to save it, as multiples of its size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from fairfix.models import checkpoint as checkpoints
from fairfix.models.checkpoint.mapped_storage import is_mapped

WIDTH = 2200  # each of two layers is over 16 MiB
CODE = """
import resource, sys
from pathlib import Path
from fairfix.models import checkpoint as checkpoints
from fairfix.models.input_width import accepted_widths
folder = Path(sys.argv[1])
checkpoint = checkpoints.read(folder / sys.argv[2], arch="mlp:relu")
if sys.argv[3] == "run":
    accepted_widths(checkpoint)
checkpoints.weights_sha256(checkpoint.tensors)
if sys.argv[3] == "save":
    state = {name: tensor.clone() for name, tensor in checkpoint.module.state_dict().items()}
    state["0.bias"] += 1
    checkpoints.write(checkpoint, state, folder / f"out{checkpoint.path.suffix}", force=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("large")
    for name, width in (("large", WIDTH), ("small", 2)):
        layers = [nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        state = nn.Sequential(*layers, nn.Linear(width, 1)).state_dict()
        torch.save(state, place / f"{name}.pt")
        save_file(state, place / f"{name}.safetensors")
    return place


@pytest.mark.skipif(sys.platform != "linux", reason="units of memory differ")
@pytest.mark.parametrize(
    ("suffix", "what", "multiple"),
    [(".pt", "run", 1.3), (".pt", "save", 2.3), (".safetensors", "run", 1.3)],
)
def test_memory_is_a_small_multiple_of_the_file(
    suffix: str, what: str, multiple: float, folder: Path
) -> None:
    used = [
        int(
            subprocess.run(
                [sys.executable, "-c", CODE, str(folder), name, what],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for name in (f"small{suffix}", f"large{suffix}")
    ]
    size = (folder / f"large{suffix}").stat().st_size
    assert used[1] - used[0] < multiple * size + 2**23  # and the allocator's slack


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_mapped_weights_are_read_run_and_written_exactly(
    suffix: str, folder: Path, tmp_path: Path
) -> None:
    def load(path: Path) -> dict[str, torch.Tensor]:
        tensors = torch.load(path, weights_only=True) if suffix == ".pt" else load_file(path)
        return dict(tensors)

    checkpoint = checkpoints.read(folder / f"large{suffix}", arch="mlp:relu")
    original = load(checkpoint.path)
    assert is_mapped(checkpoint.tensors["0.weight"])
    assert checkpoint.module is not None
    loaded = checkpoint.module.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in original.items())
    state = {**loaded, "2.weight": loaded["2.weight"] * 2}
    checkpoints.write(checkpoint, state, tmp_path / f"out{suffix}")
    after = load(tmp_path / f"out{suffix}")
    assert torch.equal(after["2.weight"], original["2.weight"] * 2)
    assert torch.equal(after["0.weight"], original["0.weight"])
    assert torch.equal(checkpoint.tensors["2.weight"], original["2.weight"])
