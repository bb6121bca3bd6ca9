"""Prune and gda on the papers' networks and data: what is written decides as reported."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import fairfix
from fairfix.workflows.case import Case

DATA = os.environ.get("FAIRFIX_DATA")
SETS = [f"{name}_{seed}" for name in ("adult", "bank", "compas") for seed in (42, 73)]
QUICK: dict[str, dict[str, Any]] = {
    "prune": {"per_step": 20},
    "gda": {"epochs": 3, "learning_rate": 1e-3},
}

pytestmark = pytest.mark.skipif(
    DATA is None, reason="FAIRFIX_DATA names no folder with the reference networks"
)


class Papers(nn.Module):
    """The network of Savani and others (2020), by hand: BatchNorm stands behind the ReLU."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.fc0 = nn.Linear(inputs, 32)
        self.bn0 = nn.BatchNorm1d(32)
        self.fcs = nn.ModuleList(nn.Linear(32, 32) for _ in range(10))
        self.bns = nn.ModuleList(nn.BatchNorm1d(32) for _ in range(10))
        self.out = nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn0(torch.relu(self.fc0(x)))
        for linear, norm in zip(self.fcs, self.bns, strict=True):
            x = norm(torch.relu(linear(x)))
        return torch.sigmoid(self.out(x))[:, 0]


def folder(name: str) -> Path:
    assert DATA is not None
    return Path(DATA) / "reference" / name


@cache
def cases(name: str) -> tuple[Case, Case]:
    """The rows to fit on and to judge on; read once for all tests of a data set."""
    case = fairfix.load(folder(name) / "model.pt", folder(name) / "val.csv.gz", arch="mlp:relu")
    return case, case.companion(folder(name) / "test.csv.gz")


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("metric", ["spd", "eod"])
@pytest.mark.parametrize("method", QUICK)
def test_the_written_network_decides_as_reported(
    tmp_path: Path, schema: dict[str, Any], name: str, metric: str, method: str
) -> None:
    case, test = cases(name)
    outcome = fairfix.debias(case, method, metric=metric, test=test, **QUICK[method])
    written = fairfix.save(outcome, tmp_path / "made.pt", allow_trivial=True)
    report = json.loads(written.report.read_text())
    jsonschema.Draft202012Validator(schema).validate(report)

    rows = pd.read_csv(folder(name) / "test.csv.gz")
    features = torch.tensor(rows.drop(columns=["label", "group"]).to_numpy(np.float32))
    network = Papers(features.shape[1])
    network.load_state_dict(torch.load(written.model, weights_only=True))
    with torch.no_grad():
        scores = network.eval()(features).numpy()
    decisions = scores > np.float32(json.loads(written.rule.read_text())["threshold"])

    for group in report["results"]["test"]["debiased"]["groups"]:
        here = (rows["group"] == int(group["name"])).to_numpy()
        label = rows["label"].to_numpy() == 1
        counted = {
            "tp": here & decisions & label,
            "fp": here & decisions & ~label,
            "fn": here & ~decisions & label,
            "tn": here & ~decisions & ~label,
        }
        assert {key: group[key] for key in counted} == {k: v.sum() for k, v in counted.items()}
