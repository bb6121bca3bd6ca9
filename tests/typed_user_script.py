"""A user's script on the public API: it must pass mypy --strict and pyright."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import pandas as pd
import torch
from torch.utils.data import DataLoader, TensorDataset

import fairfix
from fairfix.methods import Result
from fairfix.metrics import Contrast, Metric, Rate

case = fairfix.load("model.pt", "val.csv", arch="mlp:relu", group=["sex", "race"], privileged=1)
assert_type(case, fairfix.Case)
assert_type(case.problem, fairfix.Problem)
assert_type(case.problem.scores, torch.Tensor)

outcome = fairfix.debias(case, "prune", metric="spd", budget=0.05, test="test.csv", max_units=8)
assert_type(outcome, fairfix.Outcome)
assert_type(outcome.rule, fairfix.DecisionRule)
assert_type(outcome.objective, fairfix.Objective)
assert_type(outcome.test.debiased.gaps["spd"], float)
assert_type(outcome.evidence.claim.interval.low, float)
assert_type(fairfix.save(outcome, "out.pt", force=True).model, Path | None)
assert_type(fairfix.export(outcome, "out.pt2"), Path)

assert_type(outcome.model, torch.nn.Module)
assert_type(outcome.rule.decide(torch.rand(3)), torch.Tensor)
assert_type(outcome.save("out.safetensors").model, Path | None)

network = torch.nn.Sequential(torch.nn.Linear(2, 1))
frame = pd.DataFrame({"age": [1.0, 2.0], "job": [0, 1], "label": [0, 1], "sex": ["f", "m"]})
dataset = TensorDataset(torch.rand(4, 2), torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1]))
options: fairfix.InputOptions = {"codes": {"x_cat": ["job"]}, "input_shape": (1, 2)}
assert_type(fairfix.load(network, frame, group="sex", inputs=options), fairfix.Case)
assert_type(fairfix.load(network, DataLoader(dataset), rule=outcome.rule), fairfix.Case)
assert_type(fairfix.load(network, {"x": torch.rand(4, 2), "label": [0, 1]}), fairfix.Case)
assert_type(outcome.predict(dataset).notes, tuple[str, ...])
assert_type(fairfix.debias(case, "prune", test=frame), fairfix.Outcome)

audit = fairfix.audit(case, metric="eod", budget=0.1)
assert_type(audit, fairfix.Audit)
gate = fairfix.gate(case, {"spd": 0.05}, floors={"accuracy": 0.7}, on_inconclusive="warn")
assert_type(gate, fairfix.Gate)
assert_type(gate.exit_code, int)
assert_type(fairfix.predict("model.pt", "new.csv").notes, tuple[str, ...])
assert_type(fairfix.show_versions(), dict[str, str | None])
assert_type(fairfix.methods.names(), tuple[str, ...])
assert_type(fairfix.metrics.get("spd"), Metric)

specificity = Rate("tnr", "true negative rate", ("tn",), ("fp", "tn"))
fairfix.metrics.register(Metric("tnrd", "specificity difference", (specificity,)))
fairfix.metrics.register(
    Metric("odds", "largest odds gap", (specificity, specificity), Contrast.LARGEST)
)


def keep(problem: fairfix.Problem, objective: fairfix.Objective, *, seed: int = 0) -> Result:
    """Return the unmodified network at a fixed threshold."""
    raise NotImplementedError


try:
    fairfix.load(None, "scores.csv", score="score")
except fairfix.FairfixError as error:
    print(error.exit_code)


classifier = fairfix.sklearn.FairThresholdClassifier(object(), budget=0.1, by_group=True)
classifier.fit([[0.1], [0.2]], [0, 1], sensitive_features=["f", "m"])
thresholds: fairfix.DecisionRule = classifier.rule_
