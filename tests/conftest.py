"""What the tests of the command line and the library share: a small trained network and tables."""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from fairfix.cli.app import app
from tests.helpers.runs import Draw, Ended, Place, Run


@pytest.fixture
def fairfix(monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line, run in this process."""

    def run(*arguments: object) -> Ended:
        words = [str(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["fairfix", *words])
        result = CliRunner().invoke(app, words, prog_name="fairfix")
        return Ended(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture(scope="session")
def schema() -> dict[str, Any]:
    """The schema of the report, as the package carries it."""
    text = (resources.files("fairfix.report") / "schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@pytest.fixture(scope="session")
def draw() -> Draw:
    """Rows on which the privileged group 1 is favored, as one of four features shows."""

    def rows(n: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        group = rng.integers(0, 2, n)
        x = rng.normal(size=(n, 4))
        x[:, 0] += 1.5 * group
        label = x @ [0.6, 1.0, 1.0, 0.5] + rng.normal(size=n) > 0.45
        columns = {f"x{i}": x[:, i].round(4) for i in range(4)}
        return pd.DataFrame({"label": label.astype(int), "group": group, **columns})

    return rows


@pytest.fixture(scope="session")
def trained(draw: Draw) -> nn.Sequential:
    """A network for such rows; it gives a logit. Not to be changed."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU())
        network.append(nn.Linear(8, 1))
    rows = draw(1500, 1)
    features = torch.tensor(rows.filter(like="x").to_numpy(np.float32))
    labels = torch.tensor(rows["label"].to_numpy(np.float32))
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(network(features)[:, 0], labels).backward()
        optimizer.step()
    return network.eval().requires_grad_(False)


@pytest.fixture
def place(tmp_path: Path, trained: nn.Sequential, draw: Draw) -> Place:
    """The network as a pickled module, with 1200 rows for fitting and 800 for judging."""
    made = Place(tmp_path)
    torch.save(trained, made.model)
    draw(1200, 2).to_csv(made.val, index=False)
    draw(800, 3).to_csv(made.test, index=False)
    return made
