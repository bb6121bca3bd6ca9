"""The recipe for a new checkpoint format: a module, an entry in FORMATS, and its detection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fairfix.models import checkpoint as checkpoints
from fairfix.models.checkpoint import Checkpoint, detect_format, read_write
from fairfix.models.checkpoint.checkpoint import ReadRequest
from fairfix.models.checkpoint.load_weights import attach_network, by_module_name, by_stored_name


class JsonFormat:
    """Weights as JSON lists, with the decision rule beside them."""

    KEY = "json"

    def read(self, request: ReadRequest) -> Checkpoint:
        data = json.loads(request.path.read_bytes())
        tensors = {name: torch.tensor(values) for name, values in data["weights"].items()}
        checkpoint = Checkpoint(
            request.path, self.KEY, "JSON weights", None, tensors, rule=data.get("rule")
        )
        return attach_network(checkpoint, request)

    def save(
        self,
        checkpoint: Checkpoint,
        stored: Mapping[str, Tensor],
        rule: Mapping[str, Any] | None,
        destination: Path,
    ) -> None:
        weights = {n: t.tolist() for n, t in by_stored_name(checkpoint, stored).items()}
        destination.write_text(json.dumps({"weights": weights, "rule": rule}))

    def read_back(self, checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
        weights = json.loads(destination.read_bytes())["weights"]
        return by_module_name(checkpoint, {n: torch.tensor(v) for n, v in weights.items()})


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the new format, and the package with steps 2 and 3 of the recipe applied."""

    def detect(path: str | PathLike[str]) -> str:
        is_json = Path(path).is_file() and Path(path).read_bytes()[:1] == b"{"
        return JsonFormat.KEY if is_json else detect_format.detect(path)

    monkeypatch.setitem(read_write.FORMATS, JsonFormat.KEY, JsonFormat())
    monkeypatch.setattr(read_write, "detect", detect)
    weights = {"0.weight": [[0.5, -1.0]], "0.bias": [0.25], "2.weight": [[2.0]], "2.bias": [0.0]}
    path = tmp_path / "model.json"
    path.write_text(json.dumps({"weights": weights}))
    return path


def test_a_new_format_is_read_written_and_verified(model: Path) -> None:
    checkpoint = checkpoints.read(model, arch="mlp:relu")
    assert checkpoint.module is not None
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert checkpoint.module(rows).tolist() == [[1.5], [0.0]]
    new = {name: tensor * 2 for name, tensor in checkpoint.tensors.items()}
    output = model.with_name("new.json")
    checkpoints.write(checkpoint, new, output, rule={"threshold": 0.5})
    again = checkpoints.read(output, arch="mlp:relu")
    assert again.rule == {"threshold": 0.5}
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in new.items())


def test_every_listed_format_has_a_key_of_its_own_and_the_three_functions() -> None:
    for key, module in read_write.FORMATS.items():
        assert key == module.KEY
        assert all(callable(getattr(module, name)) for name in ("read", "save", "read_back"))
    assert len(read_write.FORMATS) == 7
