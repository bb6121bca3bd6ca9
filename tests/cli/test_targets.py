"""The command line on a network with one output for each of three labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tests.helpers.runs import Run
from tests.helpers.several_labels import LABELS, write

TRUST = ("--trust-checkpoint", "--device", "cpu")
NAMED = ("--label", ",".join(LABELS), "--target", "lung", "--privileged", "a")


def test_commands_read_the_target_from_the_rule(fairfix: Run, tmp_path: Path) -> None:
    write(tmp_path)
    way = ("--budget", "0.2", "--allow-trivial", "--no-subgroups", "--fold-threshold")
    run = fairfix(
        "gda", tmp_path / "model.pt", tmp_path / "rows.csv", *NAMED, *TRUST, *way, "--epochs", "1"
    )
    assert run.code == 0, run.err
    written, rows = tmp_path / "model.debiased.pt", tmp_path / "rows.csv"
    decided = tmp_path / "decisions.csv"
    assert fairfix("predict", written, rows, *TRUST, "-o", decided).code == 0
    table, found = pd.read_csv(rows), pd.read_csv(decided)
    x = torch.tensor(table.filter(regex="^x").to_numpy(np.float32))
    with torch.no_grad():
        scores = torch.load(written, weights_only=False)(x)[:, 1].sigmoid().numpy()
    np.testing.assert_allclose(found["score"], scores, atol=1e-6)
    assert found["decision"].tolist() == (scores > 0.5).astype(int).tolist()
    gate = fairfix("gate", written, tmp_path / "unseen.csv", *TRUST, "--budget", "spd=0.9")
    assert gate.code == 0, gate.err
    refused = fairfix("gate", written, rows, *TRUST, "--target", "skin", "--budget", "spd=0.9")
    assert "--target is 'skin', but the rule" in refused.sentence


def test_inspect_and_a_settings_file_take_several_labels(fairfix: Run, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "fairfix.toml").write_text('label = ["heart", "lung", "skin"]\ntarget = "skin"\n')
    rows = tmp_path / "rows.csv"
    shown = fairfix("inspect", tmp_path / "model.pt", rows, *TRUST)
    assert "logit (on rows of the table)" in " ".join(shown.out.split()), shown.err
    audited = fairfix("audit", tmp_path / "model.pt", rows, *TRUST, "--no-subgroups", "-v")
    assert "output for 'skin' is read as the logit" in audited.err


def test_bench_needs_a_target(fairfix: Run, tmp_path: Path) -> None:
    write(tmp_path)
    ended = fairfix("bench", tmp_path / "model.pt", tmp_path / "rows.csv", *NAMED[:2], *TRUST)
    assert ended.code == 2
    assert ended.sentence.endswith("'heart', 'lung', 'skin'; choose one with --target.")
