"""Rows of studies with made-up figures, and the case and methods of small studies."""

from __future__ import annotations

from typing import Any

from fairfix.data.table import Columns
from fairfix.workflows.case import Case, load
from fairfix.workflows.model_options import ModelOptions
from tests.helpers.paths import ROOT

LOH = ROOT / "sample_models" / "loh"
FAST = ["identity", "thresholds", "roc", "prune"]


def loh_case() -> Case:
    """Return the sample model loh on its validation table."""
    return load(
        LOH / "model.pt",
        LOH / "val.csv",
        columns=Columns(privileged="1"),
        options=ModelOptions(arch="mlp:relu-bn", device="cpu"),
    )


def without_cost(rows: Any) -> dict[str, dict[str, Any]]:
    """Return rows by key, without the parts that may differ between two runs."""
    return {row["key"]: {k: v for k, v in row.items() if k not in ("cost", "host")} for row in rows}


def study_row(
    method: str, split: int, gap: float | None, performance: float, **more: Any
) -> dict[str, Any]:
    """Return a row of a study with made-up figures."""
    met = gap is not None and abs(gap) < 0.05
    evaluation = {
        "rows": 100,
        "gap": gap,
        "performance": performance,
        "objective": performance if met else 0.0,
        "met": met,
        "trivial": False,
        "gaps": {"spd": gap},
        "performances": {"accuracy": performance},
    }
    return {
        "version": 4,
        "key": f"{method}{split}",
        "fairfix": "1.2.3",
        "task": "t",
        "split": split,
        "task_sha256": f"{split}",
        "seed": split,
        "method": method,
        "options": {},
        "status": "done",
        "overlap": 0.0,
        "goal": {
            "metric": "spd",
            "budget": 0.05,
            "margin": None,
            "performance": "balanced_accuracy",
            "kind": "constrained",
            "lambda": 0.75,
            "k": 1.0,
            "risk": None,
        },
        "needs_group": method == "thresholds",
        "test": {state: dict(evaluation) for state in ("unmodified", "retuned", "debiased")},
        "validation": {state: dict(evaluation) for state in ("unmodified", "retuned", "debiased")},
        "ceiling": 0.9,
        "trajectory": [[gap, performance]],
        "chosen": 0,
        "cost": {"seconds": 1.0, "peak_memory_mib": 100.0},
        **more,
    }
