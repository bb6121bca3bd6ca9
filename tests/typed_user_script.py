"""A user's script on the public API: it must pass mypy --strict and pyright."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import torch

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
