"""What notebooks show of an outcome, an audit and a gate."""

from __future__ import annotations

import json
import re
import sys
from html import unescape

import pandas as pd
import pytest
import torch
from torch import nn

import fairfix as library
from fairfix.errors import UsageError
from fairfix.workflows.audit import Audit
from fairfix.workflows.gate.gate import Gate
from fairfix.workflows.outcome import Outcome
from tests.helpers.runs import Draw

Result = Outcome | Audit | Gate
KINDS = ("gaps", "rates", "roc", "scores", "calibration", "tradeoff")
TIDY = ["column", "group", "measure", "value", "low", "high", "n"]


@pytest.fixture(scope="module")
def results(
    tmp_path_factory: pytest.TempPathFactory, trained: nn.Sequential, draw: Draw
) -> dict[str, Result]:
    folder = tmp_path_factory.mktemp("notebook")
    torch.save(trained, folder / "model.pt")
    for name, rows in {"val": draw(800, 2), "test": draw(700, 3)}.items():
        rows.to_csv(folder / f"{name}.csv", index=False)
    case = library.load(folder / "model.pt", folder / "val.csv", trust=True)
    return {
        "outcome": library.debias(case, "thresholds", test=folder / "test.csv", subgroups=False),
        "audit": library.audit(case, subgroups=False),
        "gate": library.gate(case, {"spd": 0.05}, floors={"accuracy": 0.6, "tpr.min": 0.5}),
    }


every_result = pytest.mark.parametrize("name", ["outcome", "audit", "gate"])


@every_result
def test_the_text_form_is_short(results: dict[str, Result], name: str) -> None:
    text = repr(results[name])
    assert len(text.splitlines()) < 10
    assert len(text) < 800
    assert text.startswith(f"<{name.capitalize()}")


@every_result
def test_the_dictionary_is_plain_json(results: dict[str, Result], name: str) -> None:
    document = results[name].to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_table_of_an_outcome_has_its_figures(results: dict[str, Result]) -> None:
    outcome = results["outcome"]
    assert isinstance(outcome, Outcome)
    frame = outcome.to_frame()
    assert list(frame.columns) == ["model", *TIDY]
    own = frame[frame["model"] == "debiased"]
    gap = own[own["measure"] == "spd"].iloc[0]
    assert gap["value"] == outcome.test.debiased.gaps["spd"]
    assert gap["low"] == outcome.evidence.debiased.gaps["spd"].low
    group = outcome.test.debiased.groups[0]
    rates = own[(own["group"] == group.name) & (own["measure"] == "tpr")]
    assert rates[["value", "n"]].iloc[0].tolist() == [
        group.rates["tpr"].value,
        group.rates["tpr"].n,
    ]
    assert own[own["measure"] == "accuracy"]["group"].isna().sum() == 1


def test_the_tables_of_audit_and_gate(results: dict[str, Result]) -> None:
    audit, gate = results["audit"].to_frame(), results["gate"].to_frame()
    assert list(audit.columns) == TIDY
    assert not audit.duplicated(["column", "group", "measure"]).any()
    assert list(gate.columns) == [*TIDY, "demand", "limit", "verdict"]
    assert gate["measure"].tolist() == ["spd", "accuracy", "tpr"]
    assert pd.api.types.is_float_dtype(gate["value"])


@every_result
@pytest.mark.parametrize("kind", KINDS)
def test_plots_are_drawn_on_given_axes(results: dict[str, Result], name: str, kind: str) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    axes = figure.subplots()
    if name == "gate" and kind != "gaps":
        with pytest.raises(UsageError, match=f"no data for the plot '{kind}'; it has 'gaps'"):
            results[name].plot(kind)
        return
    assert results[name].plot(kind, axes) is axes
    assert axes.has_data()
    figure.canvas.draw()


def test_the_operating_point_is_on_its_curve(results: dict[str, Result]) -> None:
    pytest.importorskip("matplotlib")
    outcome = results["outcome"]
    assert isinstance(outcome, Outcome)
    drawn = [line.get_xydata() for line in outcome.plot("roc").lines]
    points = [points[0].tolist() for points in drawn if len(points) == 1]
    for point, group in zip(points, outcome.test.debiased.groups, strict=True):
        assert point == pytest.approx([group.rates["fpr"].value, group.rates["tpr"].value])


def test_an_unknown_plot_names_the_nearest(results: dict[str, Result]) -> None:
    with pytest.raises(UsageError, match="did you mean 'rates'"):
        results["audit"].plot("rate")


def test_without_matplotlib_the_command_that_installs_it_is_named(
    results: dict[str, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"pip install 'fairfix\[notebook\]'"):
        results["audit"].plot()


@every_result
def test_the_page_is_framed(results: dict[str, Result], name: str) -> None:
    text = results[name]._repr_html_()
    found = re.fullmatch(r'<iframe srcdoc="([^"]*)" sandbox="allow-scripts" [^>]*></iframe>', text)
    assert found is not None
    page = unescape(found[1])
    assert page.startswith("<!doctype html>")
    assert ('id="explorer"' in page) == (name != "gate")
    if name == "gate":
        assert "smallest tpr of a group" in page
