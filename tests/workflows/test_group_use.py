"""Every result says whether its decisions use the protected attribute."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.helpers.runs import Draw, Place, Run


def debiased(
    place: Place, fairfix: Run, method: str, *more: object
) -> tuple[str, dict[str, object]]:
    """The first line of the summary, and the method in the report."""
    ended = fairfix(
        method,
        place.model,
        place.val,
        "--test",
        place.test,
        "-o",
        place.folder / "new.pt",
        "--allow-trivial",
        *more,
    )
    assert ended.code in (0, 3), ended.err
    report = json.loads((place.folder / "new.report.json").read_text())
    return " ".join(ended.out.split()), report["method"]


@pytest.mark.parametrize(
    ("method", "kind", "sentence"),
    [
        ("gda", "group-blind", "group-blind: no input holds the group."),
        ("thresholds", "group-aware", "group-aware: needs the group."),
    ],
)
def test_methods_differ(place: Place, fairfix: Run, method: str, kind: str, sentence: str) -> None:
    line, found = debiased(place, fairfix, method, "--budget", "0.2")
    assert sentence in line
    assert found["group_use"] == kind
    assert found["protected_inputs"] == []


def test_a_network_that_reads_the_group_is_named(place: Place, fairfix: Run, draw: Draw) -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        torch.save(nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 1)), place.model)
    for path, seed in ((place.val, 5), (place.test, 6)):
        rows = draw(600, seed)
        rows.assign(sex=2.0 * rows["group"] - 1).to_csv(path, index=False)
    line, found = debiased(place, fairfix, "thresholds")
    assert found["group_use"] == "group-aware"
    (place.folder / "new.pt").unlink()
    line, found = debiased(place, fairfix, "gda", "--epochs", 1, "--budget", "0.5", "--force")
    assert "group-in-inputs: the network reads 'sex', which determines the group." in line
    assert (found["group_use"], found["protected_inputs"]) == ("group-in-inputs", ["sex"])
    page = Path(place.folder / "new.report.html").read_text()
    assert "group-in-inputs" in page


def test_scores_alone_are_not_determined(place: Place, fairfix: Run, draw: Draw) -> None:
    table = place.table(draw(600, 7).assign(p=lambda rows: 1 / (1 + 2.7 ** -rows["x1"])))
    ended = fairfix("identity", "-", table, "--score", "p", "--budget", "0.3", "--force")
    assert ended.code == 0, ended.err
    assert "it is not determined whether the network reads the group." in " ".join(
        ended.out.split()
    )
