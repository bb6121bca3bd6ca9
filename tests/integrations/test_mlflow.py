"""Results in runs of MLflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fairfix

pytest.importorskip("mlflow", reason="mlflow is not installed")

import mlflow

from fairfix.integrations.mlflow import log_result

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow about its stores


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlflow")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    yield mlflow.create_experiment("fairness", artifact_location=str(folder / "artifacts"))
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def case() -> fairfix.Case:
    rng = np.random.default_rng(0)
    group, score = rng.choice(["f", "m"], 600), rng.random(600)
    label = (score + 0.4 * rng.normal(size=600) > 0.5).astype(int)
    rows = {"score": score, "label": label, "a:b": group}
    return fairfix.load(None, rows, score="score", group="a:b", privileged="m")


def results(case: fairfix.Case) -> dict[str, Any]:
    return {
        "gate": fairfix.gate(case, {"spd": 0.3}, floors={"accuracy": 0.5, "tpr.min": 0.99}),
        "audit": fairfix.audit(case, budget=0.3, subgroups=False),
        "report": fairfix.debias(case, "identity", budget=0.3, subgroups=False),
    }


@pytest.mark.parametrize("kind", ["gate", "audit", "report"])
def test_metrics_verdict_and_page_are_logged(
    experiment: str, case: fairfix.Case, kind: str
) -> None:
    result = results(case)[kind]
    with mlflow.start_run(experiment_id=experiment) as run:
        log_result(result)
    logged = mlflow.get_run(run.info.run_id)
    frame = result.to_frame()
    if kind == "report":
        frame = frame[frame["model"] == "debiased"]
    (gap,) = frame[frame["measure"] == "spd"].itertuples()
    metrics = logged.data.metrics
    assert metrics["fairfix/a_b/spd"] == gap.value
    assert metrics["fairfix/a_b/spd_low"] == gap.low
    assert metrics["fairfix/a_b/spd_high"] == gap.high
    assert 0.5 < metrics["fairfix/accuracy"] < 1
    assert ("fairfix/a_b/tpr" in metrics) == (kind == "gate")
    expected = "violated" if kind == "gate" else "certified"
    assert logged.data.tags["fairfix.verdict"] == expected
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id)) / "fairfix"
    assert "<html" in (folder / f"{kind}.html").read_text(encoding="utf-8")
    assert json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))["schema_version"]
