"""Valid files to mutate: checkpoints of every format, tables, and documents that fairfix reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from fairfix.models.score_model import (
    BlindScore,
    Logistic,
    Mixture,
    RepairedScore,
    StandardizedLogistic,
    TreeEnsemble,
)
from fairfix.models.score_model.storage import to_bytes
from fairfix.thresholds.rule import DecisionRule
from tests.fuzz import mutations
from tests.fuzz.mutations import ANY, Mutation
from tests.helpers.checkpoint_models import KINDS, plain_layers, trained
from tests.helpers.rules import as_saved
from tests.helpers.studies import study_row


@dataclass(frozen=True)
class Seed:
    """A valid file and the mutations that fit its structure."""

    name: str
    content: bytes
    mutations: tuple[Mutation, ...]


def checkpoints(folder: Path) -> list[Seed]:
    """Return a small file of every single-file checkpoint format."""
    seeds = []
    for name, kind in KINDS.items():
        path = kind.make(_empty(folder / name.replace(" ", "-")))
        if path.is_dir():
            continue
        content = path.read_bytes()
        if content.startswith(b"PK"):
            own: tuple[Mutation, ...] = (mutations.mutate_zip,) * 4
        elif name == "safetensors":
            own = (mutations.mutate_safetensors,) * 4
        else:
            own = (mutations.mutate_pickle,) * 4
        seeds.append(Seed(name, content, (*own, *ANY)))
    path = folder / "mlp.pt"
    torch.save(trained(plain_layers()).state_dict(), path)
    return [*seeds, Seed("mlp", path.read_bytes(), ((mutations.mutate_zip,) * 4) + ANY)]


def tables(folder: Path) -> list[Seed]:
    """Return the same rows as CSV, CSV with quotes, and Parquet."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, 60)
    frame = pd.DataFrame(
        {
            "label": rng.integers(0, 2, 60),
            "group": np.array(["a", "b", "c, d"])[group],
            "x0": rng.normal(size=60).round(4),
            "x1": rng.integers(0, 5, 60),
            "color": np.array(["red", "green"])[rng.integers(0, 2, 60)],
            "weight": rng.uniform(0.5, 2, 60).round(2),
            "score": rng.uniform(size=60).round(3),
            "id": [f"r{i}" for i in range(60)],
        }
    )
    text = frame.to_csv(index=False).encode()
    _empty(folder)
    frame.to_parquet(folder / "t.parquet")
    return [
        Seed("csv", text, (*(mutations.mutate_text,) * 5, *ANY)),
        Seed("parquet", (folder / "t.parquet").read_bytes(), ANY),
    ]


SPEC = {
    "version": 1,
    "features": [
        {"column": "x0", "mean": 0.5, "scale": 2.0},
        {"column": "x1"},
        {"column": "color", "map": {"red": 1, "green": 0}, "mean": 0.7, "scale": 0.5},
        {"column": "color", "categories": ["red", "green"], "unknown": "zeros"},
    ],
}
SETTINGS = b"""label = "label"
group = ["group"]
favorable = 1
ignore = ["id", "score"]
threshold = 0.4
weight = "weight"
arch = "mlp:relu"

[gate]
budget = ["spd=0.05", "eod=0.1"]
confidence = 0.95
on-inconclusive = "warn"

[prune]
metric = "eod"
budget = 0.04
seed = 3
"""


def rules(folder: Path) -> list[Seed]:
    """Return a rule of each kind."""
    made = (
        DecisionRule(threshold=0.4, metric="spd", budget=0.05),
        DecisionRule(thresholds={"a": 0.3, "b": 0.6}, group_column="sex"),
        DecisionRule(
            randomized_thresholds={"a": ((0.6, 1.0), (0.3, 0.5)), "b": ((0.5, 1.0),)},
            salt="0a",
            group_column="sex",
            id_column="id",
        ),
    )
    return [_document(f"rule {i}", as_saved(rule)) for i, rule in enumerate(made)]


def score_models(folder: Path) -> list[Seed]:
    """Return the arrays of a score model of each kind that methods write."""
    rng = np.random.default_rng(0)
    inputs, target = rng.normal(size=(80, 3)), rng.integers(0, 2, 80)
    fitted = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5).fit(inputs, target)
    trees = TreeEnsemble.from_sklearn(fitted)
    linear = StandardizedLogistic([0.0] * 3, [1.0] * 3, Logistic([0.5, 0.1, 1.0], 0.3))
    eta = Mixture([0.5, 0.3, 0.2], trees, linear, Logistic([1.0, 0.1], 0.2))
    gamma = Mixture([0.5, 0.5], trees, linear)
    made = {
        "repair": RepairedScore(4, [0, 2], eta),
        "blind": BlindScore(
            4, [0, 2], eta, gamma, metric="eod", pi=0.4, multiplier=0.3, shares=(0.2, 0.2)
        ),
    }
    own = (mutations.mutate_safetensors,) * 4
    return [Seed(kind, to_bytes(model), (*own, *ANY)) for kind, model in made.items()]


def specs(folder: Path) -> list[Seed]:
    """Return a data spec."""
    return [_document("spec", SPEC)]


def reports(folder: Path) -> list[Seed]:
    """Return a document as a report has it: numbers, text, lists and nulls, nested."""
    row = study_row("prune", 0, 0.01, 0.6)
    return [_document("report", {"data": row, "tuned_rows": ["0f" * 8] * 5, "warnings": [None]})]


def settings(folder: Path) -> list[Seed]:
    """Return a settings file."""
    return [Seed("settings", SETTINGS, (*(mutations.mutate_text,) * 5, *ANY))]


def journals(folder: Path) -> list[Seed]:
    """Return the journal of a study of four cells."""
    rows = [study_row(name, split, 0.02, 0.6) for name in ("identity", "gda") for split in (0, 1)]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    lines = (mutations.mutate_lines,) * 4
    return [Seed("journal", content, (*lines, mutations.mutate_text, *ANY))]


def _document(name: str, value: object) -> Seed:
    content = json.dumps(value).encode()
    return Seed(name, content, (*(mutations.mutate_json,) * 5, *ANY))


def _empty(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


Builder = Callable[[Path], list[Seed]]
