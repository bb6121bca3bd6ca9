"""The papers' networks, trained on real data: read as they are, run as they were trained."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from fairfix.models import checkpoint as checkpoints

FOLDER = Path(os.environ.get("FAIRFIX_DATA", "nowhere")) / "reference"
NETWORKS = [f"{data}_{seed}" for data in ("adult", "bank", "compas") for seed in (42, 73)]

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="FAIRFIX_DATA names no folder with the reference networks"
)


def by_hand(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The network written out: Linear, ReLU, BatchNorm, eleven times; Linear."""
    names = [("fc0", "bn0"), *((f"fcs.{i}", f"bns.{i}") for i in range(10))]
    for fc, bn in names:
        x = torch.relu(x @ state[f"{fc}.weight"].T + state[f"{fc}.bias"])
        x = (x - state[f"{bn}.running_mean"]) / (state[f"{bn}.running_var"] + 1e-5).sqrt()
        x = x * state[f"{bn}.weight"] + state[f"{bn}.bias"]
    return x @ state["out.weight"].T + state["out.bias"]


@pytest.mark.parametrize("name", NETWORKS)
def test_runs_as_it_was_trained(name: str, tmp_path: Path) -> None:
    path = FOLDER / name / "model.pt"
    checkpoint = checkpoints.read(path, arch="mlp:relu")
    assert isinstance(checkpoint.module, nn.Module)
    assert any("BatchNorm was placed after relu" in note for note in checkpoint.notes)
    state = torch.load(path, weights_only=True)
    assert list(checkpoint.module.state_dict()) == list(state)
    table = pd.read_csv(FOLDER / name / "test.csv.gz")
    features = table.drop(columns=["label", "group"]).to_numpy(np.float32)
    with torch.no_grad():
        logits = checkpoint.module(torch.from_numpy(features))
    assert torch.allclose(logits, by_hand(state, torch.from_numpy(features)), atol=1e-3)
    assert roc_auc_score(table["label"], logits.numpy()) > 0.65
    changed = {n: t.clone() for n, t in checkpoint.module.state_dict().items()}
    changed["fcs.4.weight"][:, 3] = 0
    checkpoints.write(checkpoint, changed, tmp_path / "model.debiased.pt")
    after = torch.load(tmp_path / "model.debiased.pt", weights_only=True)
    assert [n for n in state if not torch.equal(state[n], after[n])] == ["fcs.4.weight"]
