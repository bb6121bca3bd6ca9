"""An audit of a network with several classes: each against the rest, and the largest output."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import fairfix
from fairfix.workflows.documents import audit_document
from tests.helpers.runs import Run
from tests.workflows.test_classes import FAVORABLE, NAMES, files, load


@pytest.mark.parametrize("kind", ["logit", "prob"])
def test_each_class_is_measured_against_the_rest(tmp_path: Path, kind: str) -> None:
    model, data, x, module = files(tmp_path, kind)
    case = load(model, data)
    found = fairfix.audit(case, subgroups=False)
    document = audit_document(case, found_rule(case), found)["classes"]
    table = pd.read_csv(data)
    with torch.no_grad():
        largest = np.array(NAMES)[module(torch.from_numpy(x)).argmax(1).numpy()]
    assert list(document["one_against_rest"]) == list(NAMES)
    for name, measured in document["one_against_rest"].items():
        check(measured, largest == name, table["decision"] == name, table["group"])
    favorable = np.isin(largest, FAVORABLE)
    check(document["favorable"], favorable, table["decision"].isin(FAVORABLE), table["group"])


def found_rule(case: fairfix.Case) -> fairfix.DecisionRule:
    return fairfix.DecisionRule(threshold=0.5, positive_label=case.table.favorable)


def check(measured: dict, decided: np.ndarray, label: pd.Series, group: pd.Series) -> None:  # type: ignore[type-arg]
    """Compare selection rates and true positive rates by group, and their gaps."""
    rates = {}
    for each in measured["groups"]:
        here = (group == each["name"]).to_numpy()
        rates[each["name"]] = decided[here].mean(), decided[here & label.to_numpy()].mean()
        values = [each["rates"][key]["value"] for key in ("selection_rate", "tpr")]
        np.testing.assert_allclose(values, rates[each["name"]])
    gaps = [measured["gaps"][key]["value"] for key in ("spd", "eod")]
    np.testing.assert_allclose(gaps, np.subtract(rates["b"], rates["a"]), atol=1e-12)


def test_the_terminal_shows_classes_only_where_there_are_some(fairfix: Run, tmp_path: Path) -> None:
    model, data, *_ = files(tmp_path)
    roles = ("--label", "decision", "--favorable", ",".join(FAVORABLE), "--privileged", "a")
    named = ("--classes", ",".join(NAMES), "--trust-checkpoint", "--no-subgroups")
    shown = fairfix("audit", model, data, *roles, *named).out
    assert "Class with the largest output, by group" in shown
    assert shown.count("refer") >= 3
    page = tmp_path / "audit.html"
    ended = fairfix("audit", model, data, *roles, *named, "--html", page, "--json")
    section = page.read_text().partition('<section id="classes">')[2].partition("</section>")[0]
    classes = json.loads(ended.out)["classes"]
    gap = classes["one_against_rest"]["refer"]["gaps"]["spd"]["value"]
    assert re.search(rf"refer</bdi></th><td class=\"n\">[-−]?{abs(gap):.3f}", section)
    assert section.count("<bdi>favorable classes</bdi>") == 2
    table = pd.read_csv(data)
    scored, other = tmp_path / "scored.csv", tmp_path / "scores.html"
    table.assign(p=np.linspace(0, 1, len(table))).to_csv(scored, index=False)
    alone = fairfix(
        *("audit", "-", scored, *roles[:4], "--unfavorable", "others", "--score", "p"),
        *("--html", other, "--no-subgroups"),
    )
    assert alone.code == 0, alone.err
    assert "largest output" not in alone.out
    assert "Largest output" not in other.read_text()
