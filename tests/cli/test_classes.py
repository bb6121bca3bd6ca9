"""The command line on a network with one output for each of three label values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.helpers.runs import Run
from tests.workflows.test_classes import FAVORABLE, NAMES, files, softmax

TRUST = ("--trust-checkpoint", "--device", "cpu")
NAMED = ("--classes", ",".join(NAMES))
ROLES = ("--label", "decision", "--favorable", ",".join(FAVORABLE), "--privileged", "a")


@pytest.mark.parametrize("table", [(), ("rows.csv", "--label", "decision")], ids=["alone", "rows"])
def test_inspect_shows_the_classes_without_a_rule(
    fairfix: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: tuple[str, ...]
) -> None:
    files(tmp_path)
    monkeypatch.chdir(tmp_path)
    ended = fairfix("inspect", "model.pt", *table, *NAMED, *TRUST, "--json")
    assert ended.code == 0, ended.err
    shown = json.loads(ended.out)
    assert shown["output"].startswith("logit of each of 'deny', 'grant', 'refer'")
    assert shown["prunable_units"] == {"0": 8}


def test_inspect_refuses_other_classes_than_those_of_the_rule(fairfix: Run, tmp_path: Path) -> None:
    model, data, *_ = files(tmp_path)
    way = ("--budget", "0.2", "--allow-trivial", "--no-subgroups")
    assert fairfix("identity", model, data, *ROLES, *NAMED, *TRUST, *way).code == 0
    written = tmp_path / "model.debiased.pt"
    refused = fairfix("inspect", written, data, "--classes", "a,b,c", *TRUST)
    assert refused.code == 2
    assert "was made with 'deny,grant,refer'" in refused.sentence
    assert (
        "(from the rule)" in json.loads(fairfix("inspect", written, *TRUST, "--json").out)["output"]
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--classes", "deny,grant,refer"),
        ("--output-label", "1"),
        ("--output-name", "0"),
        ("--output-kind", "logit"),
        ("--arch", "mlp:relu"),
        ("--checkpoint-key", "ema"),
    ],
)
def test_what_says_how_a_network_is_read_needs_one(
    fairfix: Run, tmp_path: Path, option: str, value: str
) -> None:
    _, data, *_ = files(tmp_path)
    ended = fairfix("audit", "-", data, "--score", "x1", option, value)
    assert (ended.code, ended.sentence) == (
        2,
        f"{option} needs a model; leave it out with --score.",
    )


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("logit", ("prune", "--fold-threshold")),
        ("prob", ("gda", "--epochs", "1", "--layers", "head", "--fold-threshold")),
        ("logit", ("layerwise", "--calls", "12", "--layers", "head")),
        ("prob", ("adversarial", "--rounds", "1")),
    ],
)
def test_every_command_decides_by_the_favorable_classes(
    fairfix: Run, tmp_path: Path, kind: str, method: tuple[str, ...]
) -> None:
    model, data, x, _ = files(tmp_path, kind)
    name, *options = method
    way = ("--budget", "0.3", "--allow-trivial", "--no-subgroups")
    run = fairfix(name, model, data, *ROLES, *NAMED, *TRUST, *way, *options)
    assert run.code == 0, run.err
    written = tmp_path / "model.debiased.pt"

    decided = tmp_path / "decisions.csv"
    assert fairfix("predict", written, data, *TRUST, "-o", decided).code == 0
    threshold = json.loads((tmp_path / "model.debiased.rule.json").read_text())["threshold"]
    assert threshold == 0.5 or "--fold-threshold" not in options
    with torch.no_grad():
        raw = torch.load(written, weights_only=False)(torch.from_numpy(x)).double().numpy()
    scores = (softmax(raw) if kind == "logit" else raw)[:, 1:].sum(1)
    found = pd.read_csv(decided)
    np.testing.assert_allclose(found["score"], scores, atol=1e-6)
    assert found["decision"].tolist() == (scores > threshold).astype(int).tolist()

    gate = fairfix("gate", written, tmp_path / "unseen.csv", *TRUST, "--budget", "spd=0.9")
    assert gate.code in (0, 3), gate.err


def test_one_favorable_class_of_several_needs_no_unfavorable_ones(
    fairfix: Run, tmp_path: Path
) -> None:
    model, data, *_ = files(tmp_path)
    roles = ("--label", "decision", "--favorable", FAVORABLE[0], "--privileged", "a")
    ended = fairfix("audit", model, data, *roles, *NAMED, *TRUST, "--no-subgroups")
    assert ended.code == 0, ended.err
    refused = fairfix("audit", model, data, *roles, *TRUST)
    assert "--unfavorable" in refused.sentence
