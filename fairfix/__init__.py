"""Debias an already trained PyTorch classifier and certify the result on held-out rows.

>>> import fairfix
>>> case = fairfix.load(
...     samples / "loh/model.pt", samples / "loh/val.csv", arch="mlp:relu-bn", privileged=1
... )
>>> outcome = fairfix.debias(case, "thresholds", metric="spd", budget=0.05)
>>> abs(outcome.test.debiased.gaps["spd"]) < abs(outcome.test.unmodified.gaps["spd"])
True
>>> written = fairfix.save(outcome, folder / "model.debiased.pt")
>>> written.model.name
'model.debiased.pt'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fairfix._utils.version import __version__

if TYPE_CHECKING:
    from fairfix import methods, metrics
    from fairfix._utils.show_versions import show_versions
    from fairfix.data.problem import Problem
    from fairfix.errors import FairfixError
    from fairfix.integrations import sklearn
    from fairfix.metrics.objective import Objective
    from fairfix.thresholds.rule import DecisionRule
    from fairfix.workflows.api import audit, debias, gate
    from fairfix.workflows.api_labels import LabelOutcomes, debias_labels
    from fairfix.workflows.api_outcome import Outcome
    from fairfix.workflows.api_outputs import export, save
    from fairfix.workflows.api_read import load, predict
    from fairfix.workflows.audit import Audit
    from fairfix.workflows.case import Case
    from fairfix.workflows.gate.gate import Gate
    from fairfix.workflows.library_arguments import InputOptions

__all__ = [
    "Audit",
    "Case",
    "DecisionRule",
    "FairfixError",
    "Gate",
    "InputOptions",
    "LabelOutcomes",
    "Objective",
    "Outcome",
    "Problem",
    "__version__",
    "audit",
    "debias",
    "debias_labels",
    "export",
    "gate",
    "load",
    "methods",
    "metrics",
    "predict",
    "save",
    "show_versions",
    "sklearn",
]

# Imported at first use, so that "import fairfix" does not import torch.
_HOMES = {
    "Audit": "workflows.audit",
    "Case": "workflows.case",
    "DecisionRule": "thresholds.rule",
    "FairfixError": "errors",
    "Gate": "workflows.gate.gate",
    "InputOptions": "workflows.library_arguments",
    "LabelOutcomes": "workflows.api_labels",
    "Objective": "metrics.objective",
    "Outcome": "workflows.api_outcome",
    "Problem": "data.problem",
    "audit": "workflows.api",
    "debias": "workflows.api",
    "debias_labels": "workflows.api_labels",
    "export": "workflows.api_outputs",
    "gate": "workflows.api",
    "load": "workflows.api_read",
    "predict": "workflows.api_read",
    "save": "workflows.api_outputs",
    "show_versions": "_utils.show_versions",
}
_MODULES = {"methods": "methods", "metrics": "metrics", "sklearn": "integrations.sklearn"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"fairfix.{_HOMES[name]}"), name)
    elif name in _MODULES:
        value = import_module(f"fairfix.{_MODULES[name]}")
    else:
        raise AttributeError(f"module 'fairfix' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
