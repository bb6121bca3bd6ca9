"""The bed: data sets, seeds, networks, and the files that hold what was computed.

Every file is written atomically and named for what it holds, so a run that was stopped anywhere
continues with the next missing file.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.torch import save

from fairfix._utils.atomic_write import write_bytes
from fairfix.bench.protocol_task import EncodedSplit, encoded_split, network_task
from fairfix.bench.protocols import protocol
from fairfix.bench.task import Task
from fairfix.bench.training import Recipe, train
from fairfix.data.problem import Problem
from fairfix.workflows.case import Case

DATA_SETS = (
    "adult/sex",
    "bank/age",
    "compas/race",
    "loh/alpha=1",
    "zafar/theta=0.8",
    "adult/race",
    "loh/alpha=2.5",
    "zafar/theta=1.1",
)
CHOOSING = range(10)
CONFIRMING = range(130, 140)
"""Seeds 100 to 129 judged earlier choices (docs/results.md)."""

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Cell:
    """One data set with one seed of its split, network and methods."""

    data_set: str
    seed: int

    @property
    def family(self) -> str:
        """The data set without attribute or strength; cells of a family may share rows."""
        return self.data_set.partition("/")[0]

    def __str__(self) -> str:
        return f"{self.data_set} seed {self.seed}"


@dataclass(frozen=True)
class Bed:
    """Where the files are, and what the networks are trained and evaluated on.

    Attributes:
        folder: where every file is kept.
        recipe: architecture and training of the networks.
        fresh_test_rows: test rows of a synthetic problem.
    """

    folder: Path
    recipe: Recipe = protocol("m22").recipe
    fresh_test_rows: int = 50_000

    def path(self, stage: str, cell: Cell, suffix: str) -> Path:
        """Return the file of a stage and a cell; ``suffix`` follows the seed."""
        name = cell.data_set.replace("/", "-")
        return self.folder / stage / name / f"{cell.seed:03d}{suffix}"

    def split(self, cell: Cell) -> EncodedSplit:
        """Return the encoded rows of a cell."""
        return encoded_split(cell.data_set, cell.seed, fresh_test_rows=self.fresh_test_rows)

    def task(self, cell: Cell) -> Task:
        """Return a cell's network with its rows; the network is trained once, then kept."""
        split = self.split(cell)
        return network_task(split, self._network(split), self.recipe, cell.data_set)

    def cases(self, cell: Cell) -> tuple[Case, Case]:
        """Return the network of a cell with its validation rows, and with its test rows."""
        return self.task(cell).cases()

    def problems(self, cell: Cell) -> tuple[Problem, Problem]:
        """Return the problems of both cases."""
        validation, test = self.cases(cell)
        return validation.problem, test.problem

    def _network(self, split: EncodedSplit) -> bytes:
        """Return the network as safetensors; cells with equal training rows share it."""
        key = json.dumps([self.recipe.to_json(), split.seed, split.sha256()])
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        path = self.folder / "networks" / f"{name}.safetensors"
        if not path.is_file():
            state = train(
                (split.features["train"], split.labels["train"]),
                (split.features["val"], split.labels["val"]),
                self.recipe,
                seed=split.seed,
            )
            write_file(path, save(state))
        return path.read_bytes()


def cells(data_sets: Iterable[str], seeds: Iterable[int]) -> Iterator[Cell]:
    """Yield the cells seed by seed, so that a part of them covers every data set."""
    names = tuple(data_sets)
    return (Cell(name, seed) for seed in seeds for name in names)


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write named arrays atomically."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_file(path, buffer.getvalue())


def read_arrays(path: Path) -> Arrays:
    """Read what ``write_arrays`` wrote."""
    with np.load(path, allow_pickle=False) as saved:
        return dict(saved)
