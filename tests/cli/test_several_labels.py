"""Commands on all labels of a network at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.helpers.runs import Run
from tests.helpers.several_labels import LABELS, write

TRUST = ("--trust-checkpoint", "--device", "cpu")
ALL = ("--label", ",".join(LABELS), "--privileged", "a")
WAY = ("--budget", "0.2", "--allow-trivial", "--no-subgroups")


def test_labels_with_their_own_thresholds_have_the_figures_of_single_runs(
    fairfix: Run, tmp_path: Path
) -> None:
    write(tmp_path)
    model, rows = tmp_path / "model.pt", tmp_path / "rows.csv"
    test = ("--test", tmp_path / "unseen.csv", "--json")
    ended = fairfix("identity", model, rows, *ALL, *TRUST, *WAY, *test)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    sizes = []
    for label in LABELS:
        alone = fairfix(
            "identity",
            model,
            rows,
            *ALL,
            *TRUST,
            *WAY,
            *test,
            "--target",
            label,
            "-o",
            tmp_path / f"alone.{label}.pt",
        )
        expected = json.loads(alone.out)
        for part in ("results", "rule", "evidence", "data"):
            assert found["reports"][label][part] == expected[part]
        sizes.append(abs(expected["results"]["test"]["debiased"]["gaps"]["spd"]["value"]))
        assert found["labels"][label]["verdict"] == expected["evidence"]["claims"][0]["verdict"]
    assert found["mean"]["debiased"]["size"] == pytest.approx(np.mean(sizes))
    assert found["worst"]["debiased"]["size"] == max(sizes)


def test_each_label_has_a_rule_and_a_report_beside_one_checkpoint(
    fairfix: Run, tmp_path: Path
) -> None:
    write(tmp_path)
    model, rows = tmp_path / "model.pt", tmp_path / "rows.csv"
    ended = fairfix("prune", model, rows, *ALL, *TRUST, *WAY, "--per-step", "2")
    assert ended.code == 0, ended.err
    for word in ("heart", "lung", "skin", "mean", "worst"):
        assert word in ended.out
    written, decided = tmp_path / "model.debiased.pt", tmp_path / "decisions.csv"
    assert fairfix("predict", written, rows, *TRUST, "-o", decided).code == 0
    table, found = pd.read_csv(rows), pd.read_csv(decided)
    x = torch.tensor(table.filter(regex="^x").to_numpy(np.float32))
    with torch.no_grad():
        scores = torch.load(written, weights_only=False)(x).sigmoid().numpy()
    tuned = set()
    for place, label in enumerate(LABELS):
        rule = json.loads((tmp_path / f"model.debiased.{label}.rule.json").read_text())
        np.testing.assert_allclose(found[f"{label} score"], scores[:, place], atol=1e-6)
        expected = (scores[:, place] > rule["threshold"]).astype(int)
        assert found[f"{label} decision"].tolist() == expected.tolist()
        tuned.add(rule["weights_sha256"])
    assert len(tuned) == 1

    unseen = tmp_path / "unseen.csv"
    gate = ("gate", written, unseen, *TRUST, "--budget", "spd=0.9")
    every = fairfix(*gate, "--json")
    assert every.code == 0, every.err
    documents = json.loads(every.out)["labels"]
    assert list(documents) == list(LABELS)
    one = fairfix(*gate, "--target", "skin")
    assert one.code == 0, one.err
    assert "compared rows equal a row that the rule was tuned on" in one.err
    assert documents["skin"] == json.loads(fairfix(*gate, "--json", "--target", "skin").out)
    assert every.code == 0
    assert fairfix("audit", written, unseen, *TRUST, "--target", "lung").code == 0


def test_no_label_is_tested_on_rows_that_another_was_tuned_on(fairfix: Run, tmp_path: Path) -> None:
    write(tmp_path)
    ended = fairfix("thresholds", tmp_path / "model.pt", tmp_path / "rows.csv", *ALL, *TRUST, *WAY)
    assert ended.code == 0, ended.err
    counts = [
        json.loads((tmp_path / f"model.debiased.{label}.report.json").read_text())["data"]
        for label in LABELS
    ]
    table = pd.read_csv(tmp_path / "rows.csv")
    for label, data in zip(LABELS, counts, strict=True):
        assert data["validation_rows"] + data["test_rows"] == table[label].notna().sum()


@pytest.mark.parametrize(
    "option", [("--fold-threshold",), ("--export", "p.pt2"), ("--also", "eod=0.2")]
)
def test_options_for_one_label_are_refused(
    fairfix: Run, tmp_path: Path, option: tuple[str, ...]
) -> None:
    write(tmp_path)
    ended = fairfix("prune", tmp_path / "model.pt", tmp_path / "rows.csv", *ALL, *TRUST, *option)
    assert (ended.code, f"{option[0]} works on one label at a time" in ended.sentence) == (2, True)


def test_a_list_of_rules_in_other_folders_is_refused(fairfix: Run, tmp_path: Path) -> None:
    write(tmp_path)
    listed = {"labels": {"heart": {"rule": "../heart.rule.json"}}}
    (tmp_path / "model.labels.json").write_text(json.dumps(listed))
    ended = fairfix("predict", tmp_path / "model.pt", tmp_path / "rows.csv", *TRUST)
    assert ended.sentence.startswith("model.labels.json does not name the rule of each label")


def test_audits_and_gates_take_all_labels_and_the_worst_verdict_decides(
    fairfix: Run, tmp_path: Path
) -> None:
    write(tmp_path)
    model, rows = tmp_path / "model.pt", tmp_path / "rows.csv"
    audits = json.loads(fairfix("audit", model, rows, *ALL, *TRUST, "--json").out)["labels"]
    gaps = {label: audits[label]["groups"]["group"]["gaps"]["spd"]["value"] for label in LABELS}
    for label in LABELS:
        one = fairfix("audit", model, rows, *ALL, *TRUST, "--json", "--target", label)
        assert json.loads(one.out) == audits[label]
    order = sorted(LABELS, key=lambda label: abs(gaps[label]))
    limit = (abs(gaps[order[0]]) + abs(gaps[order[-1]])) / 2
    ended = fairfix("gate", model, rows, *ALL, *TRUST, "--budget", f"spd={limit}", "--json")
    codes = [each["exit_code"] for each in json.loads(ended.out)["labels"].values()]
    assert ended.code == (1 if 1 in codes else 3)
    assert "Label heart" in fairfix("audit", model, rows, *ALL, *TRUST).out
    junit = ("--junit", tmp_path / "gate.xml")
    ended = fairfix("gate", model, rows, *ALL, *TRUST, "--budget", "spd=0.1", *junit)
    assert (ended.code, "--junit works on one label" in ended.sentence) == (2, True)
