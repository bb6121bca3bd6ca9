"""A network on raw strings and numbers, as of Adult, gives equal numbers from files and memory."""

from __future__ import annotations

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import fairfix as library
from tests.helpers.runs import Run

NETWORK = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(4, 2), nn.Embedding(3, 2)])
        self.hidden, self.last = nn.Linear(6, 8), nn.Linear(8, 1)

    def forward(self, x_cat, x_num):
        embedded = [table(x_cat[:, i]) for i, table in enumerate(self.tables)]
        return self.last(self.hidden(torch.cat([*embedded, x_num], 1)).relu())
"""
JOBS, EDUCATIONS = ["Private", "Self-emp", "State-gov"], ["HS-grad", "Bachelors"]
SPEC = {
    "version": 2,
    "inputs": {
        "x_cat": {
            "kind": "codes",
            "columns": [
                {"column": "job", "categories": JOBS, "first": 1, "unknown": 0},
                {"column": "education", "categories": EDUCATIONS, "first": 1, "unknown": 0},
            ],
        },
        "x_num": {
            "kind": "numbers",
            "entries": [
                {"column": "age", "mean": 38.6, "scale": 13.7},
                {"column": "hours", "mean": 40.4, "scale": 12.3},
            ],
        },
    },
}
ROLES: dict[str, Any] = {
    "label": "income",
    "favorable": ">50K",
    "group": "sex",
    "privileged": "Male",
}


def draw(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    male = rng.random(n) < 0.6
    job = np.array([*JOBS, "?"])[rng.choice(4, n, p=[0.6, 0.2, 0.15, 0.05])]
    education = np.array([*EDUCATIONS, "Doctorate"])[rng.choice(3, n, p=[0.6, 0.3, 0.1])]
    age, hours = rng.integers(18, 70, n), rng.integers(10, 60, n) + 8 * male
    level = 0.04 * age + 0.06 * hours + (education != "HS-grad") + rng.normal(size=n)
    return pd.DataFrame(
        {
            "age": age,
            "job": job,
            "education": education,
            "hours": hours,
            "sex": np.where(male, "Male", "Female"),
            "income": np.where(level > np.median(level), ">50K", "<=50K"),
        }
    )


VAL, TEST = draw(600, 1), draw(500, 2)


def codes(rows: pd.DataFrame) -> np.ndarray:
    known = [
        [{name: i for i, name in enumerate(names, 1)}.get(value, 0) for value in rows[column]]
        for column, names in (("job", JOBS), ("education", EDUCATIONS))
    ]
    return np.array(known, np.int64).T


def numbers(rows: pd.DataFrame) -> np.ndarray:
    scaled = [(rows["age"] - 38.6) / 13.7, (rows["hours"] - 40.4) / 12.3]
    return np.array(scaled, np.float32).T.copy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network in a state_dict and in a Lightning checkpoint, tables, and a data spec."""
    folder = tmp_path_factory.mktemp("adult")
    (folder / "net.py").write_text(NETWORK)
    network = made(folder)
    x_cat, x_num = torch.from_numpy(codes(VAL)), torch.from_numpy(numbers(VAL))
    favorable = torch.tensor(np.array(VAL["income"] == ">50K", np.float32))
    optimizer = torch.optim.Adam(network.parameters(), 0.03)
    for _ in range(40):
        optimizer.zero_grad()
        logits = network(x_cat=x_cat, x_num=x_num)[:, 0]
        nn.functional.binary_cross_entropy_with_logits(logits, favorable).backward()
        optimizer.step()
    state = network.state_dict()
    torch.save(state, folder / "state.pt")
    lightning = {f"model.{name}": value for name, value in state.items()}
    content = {"pytorch-lightning_version": "2.5.0", "epoch": 1, "state_dict": lightning}
    torch.save(content, folder / "lit.ckpt")
    (folder / "spec.json").write_text(json.dumps(SPEC))
    for rows, name in ((VAL, "val"), (TEST, "test")):
        rows.to_csv(folder / f"{name}.csv", index=False)
    return folder


def made(folder: Path) -> nn.Module:
    spec = spec_from_file_location("net", folder / "net.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    network: nn.Module = module.Net()
    return network


def in_memory(folder: Path) -> nn.Module:
    network = made(folder)
    network.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    return network


def arrays(rows: pd.DataFrame) -> dict[str, Any]:
    columns = {"income": rows["income"].to_list(), "sex": rows["sex"].to_numpy(str)}
    return columns | {"x_cat": codes(rows), "x_num": numbers(rows)}


def outcome_of(folder: Path, kind: str, method: str) -> library.Outcome:
    if kind == "arrays":
        case = library.load(in_memory(folder), arrays(VAL), **ROLES)
        test: Any = arrays(TEST)
    elif kind == "module":
        case = library.load(in_memory(folder), VAL, data_spec=SPEC, **ROLES)
        test = TEST
    else:
        options = {"arch": f"{folder / 'net.py'}:Net", "data_spec": folder / "spec.json"}
        case = library.load(folder / kind, folder / "val.csv", **options, **ROLES)
        test = folder / "test.csv"
    own: dict[str, Any] = {"gda": {"epochs": 2}, "prune": {"max_units": 4}}
    return library.debias(
        case, method, metric="eod", budget=0.1, test=test, subgroups=False, **own[method]
    )


@pytest.mark.parametrize("method", ["prune", "gda"])
def test_checkpoints_and_memory_give_the_same_numbers(folder: Path, method: str) -> None:
    known = outcome_of(folder, "state.pt", method)
    for kind in ("lit.ckpt", "module", "arrays"):
        found = outcome_of(folder, kind, method)
        assert (found.validation, found.test) == (known.validation, known.test)
        assert found.rule.threshold == known.rule.threshold
        assert found.rule.weights_sha256 == known.rule.weights_sha256
        assert found.evidence.claim == known.evidence.claim
        assert torch.equal(found.test_rows.scores, known.test_rows.scores)


def test_what_is_saved_from_memory_serves_the_command_line(
    fairfix: Run, folder: Path, tmp_path: Path
) -> None:
    outcome = outcome_of(folder, "module", "prune")
    saved = outcome.save(tmp_path / "new.pt")
    arch = ("--arch", f"{folder / 'net.py'}:Net")
    ended = fairfix("predict", saved.model, folder / "test.csv", *arch, "-o", "-")
    assert ended.code == 0, ended.err
    assert ended.out == outcome.predict(TEST).csv()
    ended = fairfix("gate", saved.model, folder / "test.csv", *arch, "--budget", "eod=0.5")
    assert ended.code == 0, ended.err
