"""The readers under test: each takes a mutated file and refuses it, accepts it, or misreads it."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file
from torch import Tensor

from fairfix._utils.strict_json import read_json
from fairfix.bench.journal import Journal
from fairfix.cli.settings import load_settings
from fairfix.data.spec import DataSpec, load_spec
from fairfix.data.table import Columns, read_table
from fairfix.errors import FairfixError
from fairfix.models import checkpoint as checkpoints
from fairfix.models.inputs import Inputs
from fairfix.models.score_model.storage import read_score_model
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.rule_file import read_rule
from tests.fuzz import seeds
from tests.fuzz.seeds import Builder, Seed
from tests.helpers.checkpoint_models import ARCH

ARCHITECTURES = (ARCH["arch"], "mlp:relu", None)


Reader = Callable[[Path, int], None]


class MisreadError(AssertionError):
    """An accepted file that another reader reads differently or refuses for its checksums."""


@dataclass(frozen=True)
class Target:
    """A kind of file.

    Attributes:
        build: makes the valid files to mutate.
        suffix: of the mutated file's name.
        read: reads a file; raises ``FairfixError`` to refuse it, ``MisreadError`` if misread.
    """

    build: Builder
    suffix: str
    read: Reader


def read_checkpoint(path: Path, case: int) -> None:
    """Read without trust, compare every number with torch or safetensors, and write it back."""
    found = checkpoints.read(path, arch=ARCHITECTURES[case % len(ARCHITECTURES)])
    checkpoints.weights_sha256(found.tensors)
    other = _by_its_own_library(path, found.format)
    if other is not None:
        for name, tensor in found.tensors.items():
            _compare(found.stored_names.get(name, name), tensor, other)
    if case % 3 == 0:
        changed = {name: tensor + 0 for name, tensor in found.tensors.items()}
        checkpoints.write(found, changed, path.with_name("written" + path.suffix), force=True)


def _by_its_own_library(path: Path, kind: str) -> dict[str, Tensor] | None:
    """Return all tensors as the format's own library reads them, None where it runs no code."""
    if kind == "safetensors":
        try:
            return load_file(path)
        except Exception as error:
            raise MisreadError(f"safetensors refuses it: {error}") from error
    if kind in ("torchscript", "pt2"):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if "PytorchStreamReader" in str(error):
            raise MisreadError(f"torch refuses it: {str(error).splitlines()[0]}") from error
        return None  # torch refuses types, which fairfix reads without making them
    tensors: dict[str, Tensor] = {}
    _collect(content, "", tensors)
    return tensors


def _collect(content: Any, prefix: str, into: dict[str, Tensor]) -> None:
    if isinstance(content, Tensor):
        into[prefix] = content
    elif isinstance(content, dict):
        for name, value in content.items():
            _collect(value, f"{prefix}.{name}" if prefix else str(name), into)


def _compare(name: str, tensor: Tensor, other: dict[str, Tensor]) -> None:
    candidates = [value for key, value in other.items() if key == name or key.endswith(f".{name}")]
    same = [
        value
        for value in candidates
        if value.dtype == tensor.dtype
        and value.shape == tensor.shape
        and torch.equal(
            value.contiguous().view(-1).view(torch.uint8),
            tensor.contiguous().view(-1).view(torch.uint8),
        )
    ]
    if not same:
        raise MisreadError(f"{name!r} differs from what the format's own library reads")


def read_any_table(path: Path, case: int) -> None:
    """Read under several roles; what is accepted must count rows as pyarrow does."""
    roles = (
        Columns(label="label", groups=("group",), ignore=("id", "color", "score", "weight")),
        Columns(label="label", groups=("group", "color"), weight="weight", id="id", score="score"),
        Columns(label="label", groups=("group",), features=("x0", "x1"), missing_group="keep"),
    )
    table = read_table(path, roles[case % len(roles)])
    if path.suffix == ".parquet":
        rows = len(pq.read_table(path, columns=["group"]))
        if rows != table.rows:
            raise MisreadError(f"{table.rows} rows, but pyarrow reads {rows}")
    for array in (table.features, table.scores, table.weights):
        if array is not None and len(array) != table.rows:
            raise MisreadError("an array of another length than the table")


def read_any_rule(path: Path, case: int) -> None:
    """Read a rule; what is accepted must survive a round trip and decide."""
    rule = read_rule(path)
    if DecisionRule.from_json(json.loads(json.dumps(rule.to_json()))) != rule:
        raise MisreadError("the rule changes in a round trip")
    groups = rule.group_names or ("a",)
    scores = torch.linspace(0, 1, 7)
    ids = pd.Series([f"r{i}" for i in range(7)]).to_numpy()
    inputs = Inputs.of(scores.unsqueeze(1))
    rule.decide(scores, torch.zeros(7, dtype=torch.int64), groups, ids, inputs)


SCORE_MODEL_SETTINGS: dict[str, dict[str, str | int | float | bool | None]] = {
    "repair": {"n_features": 4},
    "blind": {
        "n_features": 4,
        "metric": "eod",
        "pi": 0.4,
        "multiplier": 0.3,
        "share0": 0.2,
        "share1": 0.2,
    },
}


def read_any_score_model(path: Path, case: int) -> None:
    """Read a score model whose hash fits; what is accepted must give scores in [0, 1]."""
    content = path.read_bytes()
    kind = "blind" if b"gamma" in content[:4096] else "repair"
    digest = hashlib.sha256(content).hexdigest()
    model = read_score_model(path, kind, SCORE_MODEL_SETTINGS[kind], digest, "rule.json")
    features = torch.linspace(-2, 2, 28).reshape(7, 4)
    modeled = model.apply(features, torch.linspace(0, 1, 7))
    for values in (modeled.score, modeled.probability):
        if not bool(((values >= 0) & (values <= 1)).all()):
            raise MisreadError("a score outside [0, 1]")


def read_any_spec(path: Path, case: int) -> None:
    """Read a data spec, encode rows that fit the valid one, and check the result's shape."""
    spec = load_spec(path)
    frame = pd.DataFrame({"x0": [0.5, 1.5], "x1": [1.0, 2.0], "color": ["red", "green"]})
    if isinstance(spec, DataSpec) and set(spec.columns) <= set(frame):
        inputs = spec.encode(frame)
        if inputs.shape != (2, len(spec.names)):
            raise MisreadError(f"inputs of shape {inputs.shape} for {len(spec.names)} names")


def read_any_settings(path: Path, case: int) -> None:
    """Read a settings file as every command does."""
    place = path.with_name(f"settings{case % 2}")
    place.mkdir(exist_ok=True)
    shutil.copy(path, place / "fairfix.toml")
    settings = load_settings(place / "table.csv", place)
    for command in ("gate", "prune", "audit"):
        settings.for_command(command)
    settings.needs_trust()


def read_any_journal(path: Path, case: int) -> None:
    """Read the rows of a study and resume it."""
    journal = Journal(path)
    rows = list(journal.rows())
    if not journal.resume() <= {row["key"] for row in rows}:
        raise MisreadError("resuming finds cells that are not in the file")


def read_any_json(path: Path, case: int) -> None:
    """Read a JSON document as the gate reads a report; accepted numbers must be finite."""
    json.dumps(read_json(path), allow_nan=False)


TARGETS = {
    "checkpoints": Target(seeds.checkpoints, ".pt", read_checkpoint),
    "tables": Target(seeds.tables, ".csv", read_any_table),
    "rules": Target(seeds.rules, ".json", read_any_rule),
    "score-models": Target(seeds.score_models, ".safetensors", read_any_score_model),
    "specs": Target(seeds.specs, ".json", read_any_spec),
    "settings": Target(seeds.settings, ".toml", read_any_settings),
    "journals": Target(seeds.journals, ".jsonl", read_any_journal),
    "reports": Target(seeds.reports, ".json", read_any_json),
}


def suffix_of(target: Target, seed: Seed) -> str:
    """Return the suffix of a mutated file."""
    return ".parquet" if seed.name == "parquet" else target.suffix


def outcome(target: Target, path: Path, case: int) -> str:
    """Read one file: "refused", "accepted", or a description of what went wrong."""
    try:
        target.read(path, case)
    except FairfixError as error:
        return "refused" if error.exit_code == 2 else f"exit code {error.exit_code}: {error}"
    except MisreadError as error:
        return f"misread: {error}"
    except MemoryError as error:
        return f"memory: {error}"
    except Exception as error:
        return f"internal error: {type(error).__name__}: {error}"
    return "accepted"
