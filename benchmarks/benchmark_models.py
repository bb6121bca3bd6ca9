"""The models that are benchmarked, each with its validation and test table.

With ``FAIRFIX_DATA`` set these are the six networks in its folder ``reference``; without it, two of
the sample models.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from fairfix.bench.task import Task, task_from_cases
from fairfix.data.splitting import random_parts
from fairfix.data.table import Columns
from fairfix.workflows.case import Case, load
from fairfix.workflows.model_options import ModelOptions

SAMPLES = Path(__file__).resolve().parents[1] / "sample_models"
REFERENCE = ("adult_42", "adult_73", "bank_42", "bank_73", "compas_42", "compas_73")
HALVES = {"validation": (0.0, 0.5), "test": (0.5, 1.0)}


@dataclass(frozen=True)
class BenchmarkModel:
    """A trained network and two tables that it was not trained on."""

    name: str
    model: Path
    validation: Path
    test: Path
    columns: Columns
    arch: str

    def case(self) -> Case:
        """Return the network on its validation rows."""
        options = ModelOptions(arch=self.arch, device="cpu")
        return load(self.model, self.validation, columns=self.columns, options=options)

    def task(self) -> Task:
        """Return the network with its validation and test rows."""
        case = self.case()
        return task_from_cases(case, case.companion(self.test), self.name)


def halved(task: Task, seed: int) -> Task:
    """Return the task with its rows pooled and split into random halves, not stratified."""
    halves = random_parts(len(task.rows), HALVES, seed, task.rows.clusters)
    return replace(
        task,
        split=seed,
        validation_index=halves["validation"],
        test_index=halves["test"],
    )


def benchmark_models() -> dict[str, BenchmarkModel]:
    """Return all models by name."""
    data = os.environ.get("FAIRFIX_DATA")
    models = _samples() if data is None else _reference(Path(data) / "reference")
    return {model.name: model for model in models}


def speed_model() -> BenchmarkModel:
    """Return the model on which speed is measured."""
    models = benchmark_models()
    return models.get("bank_42") or models["loh"]


def _reference(folder: Path) -> list[BenchmarkModel]:
    columns = Columns(favorable="1", privileged="1")
    return [
        BenchmarkModel(
            name,
            folder / name / "model.pt",
            folder / name / "val.csv.gz",
            folder / name / "test.csv.gz",
            columns,
            "mlp:relu-bn",
        )
        for name in REFERENCE
    ]


def _samples() -> list[BenchmarkModel]:
    return [
        _sample("loh", "model.pt", Columns(privileged="1"), "mlp:relu-bn"),
        _sample(
            "zafar",
            "model.safetensors",
            Columns(label="outcome", favorable="granted", groups=("sex",), privileged="male"),
            "mlp:tanh",
        ),
    ]


def _sample(name: str, model: str, columns: Columns, arch: str) -> BenchmarkModel:
    folder = SAMPLES / name
    return BenchmarkModel(
        name, folder / model, folder / "val.csv", folder / "test.csv", columns, arch
    )
