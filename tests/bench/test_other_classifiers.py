"""Other classifiers, in place of base networks."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from fairfix.bench.cells import run_cell
from fairfix.bench.other_classifiers import CLASSIFIERS, classifier_scores
from fairfix.bench.plan import plan_study
from fairfix.bench.protocol_task import encoded_split, protocol_task
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective


def test_other_classifiers_are_those_of_scikit_learn() -> None:
    data = encoded_split("loh/alpha=1", 0)
    train_rows = data.features["train"], data.labels["train"]
    found = {
        name: classifier_scores(name, train_rows, {"test": data.features["test"]}, seed=3)
        for name in CLASSIFIERS
    }
    expected = LogisticRegression(max_iter=1000).fit(*train_rows)
    np.testing.assert_allclose(
        found["logistic"]["test"], expected.predict_proba(data.features["test"])[:, 1], atol=1e-6
    )
    right = {
        name: ((rows["test"] > 0.5) == data.labels["test"]).mean() for name, rows in found.items()
    }
    assert min(right.values()) > 0.6
    again = classifier_scores("forest", train_rows, {"test": data.features["test"]}, seed=3)
    assert np.array_equal(again["test"], found["forest"]["test"])


def test_another_classifier_is_a_task_of_scores() -> None:
    other = protocol_task("loh/alpha=1", 0, "logistic", "logistic")
    assert other.name == "loh/alpha=1 logistic"
    study = plan_study([other], [Objective(METRICS["spd"])], ["identity", "eqodds", "prune"])
    rows = {cell.method: run_cell(cell, other) for cell in study.cells}
    assert rows["identity"]["status"] == rows["eqodds"]["status"] == "done"
    assert rows["prune"]["status"] == "refused"
    assert "needs a model" in rows["prune"]["reason"]
    assert rows["identity"]["test"]["unmodified"]["performances"]["auc"] > 0.6
