"""A network with one output for each of three labels, tables with missing labels, and its parts."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

LABELS = ("heart", "lung", "skin")
ROWS, WIDTH = 400, 4


def network(kind: str = "logit") -> nn.Sequential:
    torch.manual_seed(1)
    layers: list[nn.Module] = [nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, len(LABELS))]
    return nn.Sequential(*layers, *([nn.Sigmoid()] if kind == "prob" else [])).eval()


def only(module: nn.Sequential, label: str) -> nn.Sequential:
    """Return a network with the output for one label alone."""
    place = LABELS.index(label)
    alone = copy.deepcopy(module)
    last = nn.Linear(8, 1)
    last.weight = nn.Parameter(module[2].weight[[place]].detach().clone())  # type: ignore[index]
    last.bias = nn.Parameter(module[2].bias[[place]].detach().clone())  # type: ignore[index]
    alone[2] = last
    return alone


def write(folder: Path, kind: str = "logit") -> Path:
    """Write the network, ``rows.csv`` and ``unseen.csv``, and both for each label alone.

    Of the first label no row is missing, of the others about one in seven.
    """
    rng = np.random.default_rng(5)
    module = network(kind)
    torch.save(module, folder / "model.pt")
    for label in LABELS:
        torch.save(only(module, label), folder / f"{label}.pt")
    for name in ("rows", "unseen"):
        x = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
        group = np.where(rng.random(ROWS) < 0.5, "a", "b")
        x[:, 0] += group == "a"
        table = pd.DataFrame(x, columns=[f"x{i}" for i in range(WIDTH)])
        table["group"] = group
        with torch.no_grad():
            raw = module(torch.from_numpy(x)).numpy()
        for place, label in enumerate(LABELS):
            favorable = 2 * raw[:, place] + rng.logistic(size=ROWS) > 2 * np.median(raw[:, place])
            values = np.where(favorable, "1", "0").astype(object)
            if place:
                values[rng.random(ROWS) < 0.15] = ""
            table[label] = values
        table.to_csv(folder / f"{name}.csv", index=False)
        for label in LABELS:
            others = [each for each in LABELS if each != label]
            alone = table[table[label] != ""].drop(columns=others)
            alone.to_csv(folder / f"{name}.{label}.csv", index=False)
    return folder
