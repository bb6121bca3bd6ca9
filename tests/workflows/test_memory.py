"""Networks and rows in memory give the numbers of the same network and rows in files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import fairfix as library

Rows = pd.DataFrame


class Codes(nn.Module):
    """Takes codes and numbers by name."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.hidden = nn.Embedding(5, 2), nn.Linear(6, 6)
        self.last = nn.Linear(6, 1)

    def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        joined = torch.cat([self.embedding(x_cat).flatten(1), x_num], 1)
        out: Tensor = self.last(self.hidden(joined).relu())
        return out


def tabular(outputs: int = 1) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, outputs))


def convolution() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1)
    )


def draw(n: int, seed: int) -> Rows:
    """Rows on which the group shows in x0 and in the code, with labels a, b and c."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 2, n)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    x[:, 0] += 1.5 * group
    level = x @ [0.6, 1.0, 1.0, 0.5] + rng.normal(size=n)
    cells: dict[str, Any] = {"label": (level > 0.45).astype(int), "group": group}
    cells["class"] = np.array(["a", "b", "c"])[np.digitize(level, [0, 1])]
    cells |= {"job": (group + rng.integers(0, 4, n)), "city": rng.integers(0, 5, n)}
    return pd.DataFrame(cells | {f"x{i}": x[:, i] for i in range(4)})


VAL, TEST = draw(400, 1), draw(300, 2)
NUMBERS = ["x0", "x1", "x2", "x3"]


def numbers(rows: Rows, width: int = 4) -> np.ndarray:
    return np.array(rows[NUMBERS[:width]], np.float32)


def codes(rows: Rows) -> np.ndarray:
    return np.array(rows[["job", "city"]])


def images(rows: Rows) -> np.ndarray:
    return numbers(rows).reshape(-1, 1, 2, 2)


class Items(Dataset[Any]):
    """A dataset whose inputs are those of ``inputs`` for each row."""

    def __init__(self, rows: Rows, inputs: Any, label: str = "label") -> None:
        self.rows, self.inputs, self.label = rows, inputs, label

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Any:
        if isinstance(self.inputs, Mapping):
            inputs: Any = {name: torch.tensor(values[row]) for name, values in self.inputs.items()}
        elif isinstance(self.inputs, tuple):
            inputs = tuple(torch.tensor(values[row]) for values in self.inputs)
        else:
            inputs = torch.tensor(self.inputs[row])
        cells = self.rows.iloc[row]
        return inputs, cells[self.label], int(cells["group"])


class Stream:
    """Rows by the Arrow protocol alone, as a library other than pandas has them."""

    def __init__(self, rows: Rows) -> None:
        self._table = pa.Table.from_pandas(rows)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)


def polars(rows: Rows) -> Any:
    frame = pytest.importorskip("polars", reason="polars is not installed")
    return frame.DataFrame({name: rows[name].to_numpy() for name in rows})


Give = Callable[[Rows], Any]
OPTIONS: dict[str, Any] = {"ignore": ["class", "job", "city"]}
FRAMES: dict[str, Give] = {
    "pandas": lambda rows: rows,
    "polars": polars,
    "arrow": pa.Table.from_pandas,
    "stream": Stream,
    "columns": lambda rows: {name: rows[name].to_numpy() for name in rows},
}


def labeled(rows: Rows, label: str = "label", **arrays: np.ndarray) -> dict[str, Any]:
    return {label: rows[label].to_list(), "group": torch.tensor(rows["group"]), **arrays}


@dataclass(frozen=True)
class Kind:
    """A network and how its rows are given: in files, and in each way in memory."""

    network: Callable[[], nn.Module]
    inputs: Callable[[Rows], dict[str, Any]]
    """The arguments of ``forward``."""
    options: dict[str, Any]
    """Of ``load`` for tables."""
    frames: dict[str, Give] = field(default_factory=lambda: FRAMES)
    arrays: dict[str, Give] = field(default_factory=dict)
    roles: dict[str, Any] = field(default_factory=dict)
    """Of ``load`` for tables and arrays."""
    files: Callable[[Rows, Path], None] | None = None
    """Writes further files beside the table."""


def write_images(rows: Rows, table: Path) -> None:
    np.savez(table.with_suffix(".npz"), x=images(rows))


CODES = {"codes": {"x_cat": ["job", "city"]}}
CODES_SPEC = {
    "version": 2,
    "inputs": {
        "x_cat": {"kind": "codes", "columns": [{"column": "job"}, {"column": "city"}]},
        "x_num": {"kind": "numbers", "entries": [{"column": "x0"}, {"column": "x1"}]},
    },
}
THREE = {"label": "class", "favorable": ["b", "c"], "unfavorable": "others"}
KINDS = {
    "tabular": Kind(
        tabular,
        lambda rows: {"input": numbers(rows)},
        OPTIONS,
        arrays={
            "matrix": lambda rows: labeled(rows, x=numbers(rows)),
            "dataset": lambda rows: Items(rows, numbers(rows)),
            "loader": lambda rows: DataLoader(Items(rows, numbers(rows)), 32, shuffle=True),
        },
    ),
    "codes": Kind(
        Codes,
        lambda rows: {"x_cat": codes(rows), "x_num": numbers(rows, 2)},
        {"features": ["x_num=x0", "x1"], "inputs": CODES},
        arrays={
            "arrays": lambda rows: labeled(rows, x_num=numbers(rows, 2), x_cat=codes(rows)),
            "dict": lambda rows: Items(rows, {"x_cat": codes(rows), "x_num": numbers(rows, 2)}),
            "tuple": lambda rows: Items(rows, (codes(rows), numbers(rows, 2))),
        },
    ),
    "images": Kind(
        convolution,
        lambda rows: {"input": images(rows)},
        {"inputs": {"array": "{folder}/{{table}}.npz:x"}},
        frames={},
        arrays={
            "array": lambda rows: labeled(rows, x=images(rows)),
            "dataset": lambda rows: Items(rows, images(rows)),
        },
        files=write_images,
    ),
    "classes": Kind(
        lambda: tabular(3),
        lambda rows: {"input": numbers(rows)},
        {"ignore": ["label", "job", "city"]},
        arrays={
            "matrix": lambda rows: labeled(rows, "class", x=numbers(rows)),
            "dataset": lambda rows: Items(rows, numbers(rows), "class"),
        },
        roles=THREE | {"classes": ["a", "b", "c"]},
    ),
}
METHODS = {"tabular": "prune", "codes": "gda", "images": "prune", "classes": "prune"}
SETTINGS: dict[str, dict[str, Any]] = {"gda": {"epochs": 2, "learning_rate": 0.01}}
MEMORY = [
    (kind, name, False)
    for kind, made in KINDS.items()
    for name in (*made.frames, *made.arrays, *(["spec"] if kind == "codes" else []))
]
FILES = [(kind, next(iter(made.frames or made.arrays)), True) for kind, made in KINDS.items()]


@dataclass(frozen=True)
class Reference:
    """A network, its files, and the outcome of the file route."""

    network: nn.Module
    folder: Path
    outcome: library.Outcome


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Reference]:
    made: dict[str, Reference] = {}

    def reference(kind: str) -> Reference:
        if kind not in made:
            made[kind] = _reference(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return reference


def _reference(name: str, folder: Path) -> Reference:
    kind = KINDS[name]
    torch.manual_seed(0)
    network = kind.network()
    _train(network, kind)
    torch.save(network, folder / "model.pt")
    for rows, stem in ((VAL, "val"), (TEST, "test")):
        rows.to_csv(folder / f"{stem}.csv", index=False)
        if kind.files is not None:
            kind.files(rows, folder / f"{stem}.csv")
    options = kind.options | kind.roles
    if name == "images":
        options = {"inputs": {"array": options["inputs"]["array"].format(folder=folder)}}
    case = library.load(folder / "model.pt", folder / "val.csv", trust=True, **options)
    return Reference(network, folder, debias(name, case, folder / "test.csv"))


def _train(network: nn.Module, kind: Kind) -> None:
    inputs = {name: torch.from_numpy(values) for name, values in kind.inputs(VAL).items()}
    labels = torch.tensor(VAL["class"].map({"a": 0, "b": 1, "c": 2}).to_numpy())
    optimizer = torch.optim.Adam(network.parameters(), 0.05)
    for _ in range(40):
        optimizer.zero_grad()
        raw = network(**inputs)
        if raw.shape[1] == 1:
            favorable = torch.tensor(VAL["label"].to_numpy(np.float32))
            loss = nn.functional.binary_cross_entropy_with_logits(raw[:, 0], favorable)
        else:
            loss = nn.functional.cross_entropy(raw, labels)
        loss.backward()
        optimizer.step()


def debias(name: str, case: library.Case, test: Any) -> library.Outcome:
    method = METHODS[name]
    settings = SETTINGS.get(method, {})
    return library.debias(case, method, budget=0.1, test=test, subgroups=False, **settings)


def given(kind: Kind, name: str) -> tuple[Give, dict[str, Any]]:
    """How rows are given, and the options of ``load`` for it."""
    if name == "spec":
        return lambda rows: rows, {"data_spec": CODES_SPEC}
    if name in kind.arrays:
        return kind.arrays[name], kind.roles
    return kind.frames[name], kind.options | kind.roles


def figures(outcome: library.Outcome) -> dict[str, Any]:
    """Everything that must not depend on where network and rows come from."""
    found = outcome.rule.to_json()
    evidence = outcome.evidence
    return {
        "rule": {key: found[key] for key in ("threshold", "weights_sha256", "output")},
        "comparisons": (outcome.validation, outcome.test),
        "claim": evidence.claim,
        "change": evidence.change,
        "trajectory": outcome.result.trajectory,
    }


@pytest.mark.parametrize(("kind", "name", "in_file"), MEMORY + FILES)
def test_memory_gives_the_numbers_of_files(
    references: Callable[[str], Reference], tmp_path: Path, kind: str, name: str, in_file: bool
) -> None:
    known, made = references(kind), KINDS[kind]
    give, options = given(made, name)
    model: Any = known.folder / "model.pt" if in_file else known.network
    trust = {"trust": True} if in_file else {}
    outcome = debias(kind, library.load(model, give(VAL), **trust, **options), give(TEST))
    assert figures(outcome) == figures(known.outcome)
    decided = known.outcome.test_rows.debiased

    predicted = outcome.predict(give(TEST))
    assert torch.equal(torch.from_numpy(predicted.decisions), decided)
    reference = known.outcome.predict(known.folder / "test.csv")
    assert (predicted.scores == reference.scores).all()

    inputs = made.inputs(TEST).values()
    with torch.no_grad():
        raw = outcome.model(*(torch.from_numpy(values) for values in inputs))
    scores = raw[:, 0].sigmoid() if raw.shape[1] == 1 else raw.softmax(1)[:, 1:].sum(1)
    assert (outcome.rule.decide(scores) == decided).float().mean() > 0.997  # batches of other sizes

    again = library.load(outcome.model, give(TEST), rule=outcome.rule, **options)
    audit = library.audit(again, subgroups=False)
    assert audit.groups[0].evaluation.gaps == outcome.test.debiased.gaps
    assert library.gate(again, {"spd": 0.1}).checks[0].verdict == outcome.evidence.claim.verdict

    saved = outcome.save(tmp_path / "new.pt", allow_trivial=True)
    if not in_file:
        network = made.network()
        network.load_state_dict(torch.load(saved.model, weights_only=True))
        written = library.predict(network, give(TEST), rule=saved.rule)
        assert (written.decisions == predicted.decisions).all()
