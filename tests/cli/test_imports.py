"""A command imports only what it uses."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tests.helpers.runs import Place

UNUSED = [
    "aif360",
    "dask",
    "distributed",
    "fairfix.bench",
    "fairfix.methods.adversarial",
    "fairfix.methods.gda",
    "fairfix.methods.layerwise",
    "joblib",
    "pooch",
    "scipy.optimize",
    "scipy.sparse",
    "scipy.stats",
    "skopt",
    "skops",
    "sklearn",
    "sympy",
    "torch._dynamo",
    "torch._inductor",
    "torch.onnx",
    "transformers",
]
SCRIPT = """
import json, sys
from typer.testing import CliRunner
from fairfix.cli.app import app
unused, commands = json.loads(sys.argv[1])
for command in commands:
    ended = CliRunner().invoke(app, command, prog_name="fairfix")
    found = [name for name in unused if name in sys.modules]
    print(json.dumps([command[0], ended.exit_code, found]), file=sys.stderr)
"""


@pytest.mark.parametrize("source", ["scores", "module", "mlp:relu"])
def test_a_command_imports_nothing_that_it_does_not_use(
    place: Place, trained: nn.Module, source: str
) -> None:
    given: list[object] = [place.model, place.test, "--trust-checkpoint"]
    if source == "mlp:relu":
        torch.save(trained.state_dict(), place.model)
        given[2:] = ["--arch", source]
    if source == "scores":
        scored = pd.read_csv(place.test)[["label", "group"]]
        scored["score"] = np.linspace(0, 1, len(scored))
        given = ["-", place.table(scored), "--score", "score"]
    commands = [
        *([] if source == "scores" else [["inspect", place.model, *given[2:]]]),
        ["predict", *given, "--output", place.folder / "decisions.csv"],
        ["gate", *given, "--budget", "spd=0.9"],
        ["audit", *given],
        ["identity", *given, "--output", place.folder / "out.pt"],
        ["thresholds", *given, "--output", place.folder / "out2.pt"],
        *([["prune", *given, "--allow-trivial"]] if source == "mlp:relu" else []),
    ]
    text = json.dumps([UNUSED, [[str(word) for word in command] for command in commands]])
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, text], capture_output=True, text=True, check=True
    )
    found = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith('["')]
    assert [name for name, _, _ in found] == [str(command[0]) for command in commands]
    assert {name: imported for name, _, imported in found if imported} == {}
    assert {name: code for name, code, _ in found if code not in (0, 3)} == {}
