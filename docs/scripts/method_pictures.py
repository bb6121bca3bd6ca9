"""Draw what each method does to a sample network: scores and thresholds, before and after.

``python -m docs.scripts.method_pictures [METHOD...]`` writes docs/pictures/methods. All have
default options and the budget spd=0.05; eqodds, which serves its own metric alone, has that one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

import fairfix
from fairfix import methods
from tests.helpers.paths import ROOT, SAMPLES

PICTURES = ROOT / "docs" / "pictures" / "methods"
SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "fairfix", "font.family": "sans-serif"}


def load(training: bool) -> fairfix.Case:
    """Return network and validation rows; training rows are a half of them."""
    rows, folder = pd.read_csv(SAMPLES / "loh" / "val.csv"), SAMPLES / "loh"
    half = len(rows) // 2
    return fairfix.load(
        folder / "model.pt",
        rows[half:] if training else rows,
        arch="mlp:relu-bn",
        privileged=1,
        train=rows[:half] if training else None,
    )


def draw(name: str, path: Path) -> None:
    method = methods.get(name)
    metric = "eqodds" if name == "eqodds" else "spd"
    case = load(method.needs_training)
    test = case.companion(SAMPLES / "loh" / "test.csv")
    outcome: Any = fairfix.debias(case, name, metric=metric, test=test, subgroups=False)
    figure = Figure(figsize=(7.6, 2.7), layout="constrained")
    before, after = figure.subplots(1, 2, sharey=True)
    fairfix.audit(test, subgroups=False).plot("scores", before)
    outcome.plot("scores", after)
    after.set_ylabel("")
    shown = ((before, "before", outcome.test.unmodified), (after, name, outcome.test.debiased))
    for axes, title, measured in shown:
        gap, performance = measured.gaps[metric], measured.performance["balanced_accuracy"]
        axes.set_title(f"{title}: {metric} {gap:.3f}, balanced accuracy {performance:.3f}", size=9)
        axes.set_xlim(0, 1)
    figure.savefig(path, metadata={"Date": None, "Creator": None})


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(SETTINGS):
        for name in sys.argv[1:] or methods.builtin_names():
            draw(name, PICTURES / f"{name}.svg")


if __name__ == "__main__":
    main()
