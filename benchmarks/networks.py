"""The networks that are benchmarked, each with its validation and its test table.

With ``FAIRFIX_DATA`` set these are the six networks in its folder ``reference``; without it, two
of the sample models.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from fairfix.data.problem import Problem
from fairfix.data.table import Columns
from fairfix.workflows.case import Case, ModelOptions, load

SAMPLES = Path(__file__).resolve().parents[1] / "sample_models"
REFERENCE = ("adult_42", "adult_73", "bank_42", "bank_73", "compas_42", "compas_73")


@dataclass(frozen=True)
class Network:
    """A trained network and two tables that it was not trained on."""

    name: str
    model: Path
    validation: Path
    test: Path
    columns: Columns
    arch: str

    def validation_case(self) -> Case:
        """The network on its validation rows."""
        options = ModelOptions(arch=self.arch, device="cpu")
        return load(self.model, self.validation, columns=self.columns, options=options)

    def pooled_case(self) -> Case:
        """The network on its validation rows followed by its test rows."""
        first = self.validation_case()
        return replace(first, problem=_pooled(first.problem, first.companion(self.test).problem))


def _pooled(one: Problem, other: Problem) -> Problem:
    """The rows of both, scored by the same network."""
    assert one.features is not None
    assert other.features is not None
    return Problem(
        torch.cat([one.scores, other.scores]),
        torch.cat([one.labels, other.labels]),
        torch.cat([one.groups, other.groups]),
        one.group_names,
        one.scorer,
        torch.cat([one.features, other.features]),
        threshold=one.threshold,
    )


def networks() -> dict[str, Network]:
    """All networks by name."""
    data = os.environ.get("FAIRFIX_DATA")
    found = _samples() if data is None else _reference(Path(data) / "reference")
    return {network.name: network for network in found}


def speed_network() -> Network:
    """The one on which speed is measured."""
    known = networks()
    return known.get("bank_42") or known["loh"]


def _reference(folder: Path) -> list[Network]:
    columns = Columns(favorable="1", privileged="1")
    return [
        Network(
            name,
            folder / name / "model.pt",
            folder / name / "val.csv.gz",
            folder / name / "test.csv.gz",
            columns,
            "mlp:relu-bn",
        )
        for name in REFERENCE
    ]


def _samples() -> list[Network]:
    return [
        _sample("loh", "model.pt", Columns(privileged="1"), "mlp:relu-bn"),
        _sample(
            "zafar",
            "model.safetensors",
            Columns("outcome", "granted", ("sex",), "male"),
            "mlp:tanh",
        ),
    ]


def _sample(name: str, model: str, columns: Columns, arch: str) -> Network:
    folder = SAMPLES / name
    return Network(name, folder / model, folder / "val.csv", folder / "test.csv", columns, arch)
