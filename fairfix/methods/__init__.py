"""Methods that debias a classifier, built-in ones and those from outside the package.

A method is a function ``f(problem, objective, *, seed, <options with defaults>) -> Result`` that
sees only the validation rows. A built-in method is one file of this folder. ``register`` adds a
function for this process; another package offers one by the entry-point group ``fairfix.methods``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fairfix._utils.constraints import Range
from fairfix.methods._builtin_source import builtin_names, read_builtin
from fairfix.methods._description import Method, MethodFunction, Option
from fairfix.methods._registry import (
    describe,
    get,
    names,
    provider,
    register,
    registered_functions,
    table,
    version,
)

if TYPE_CHECKING:
    from fairfix.data.problem import Problem
    from fairfix.methods._result import Result, Step
    from fairfix.methods._search import CandidateSearch, policy_result
    from fairfix.metrics.objective import Objective
    from fairfix.thresholds.policy import Policy

__all__ = [
    "CandidateSearch",
    "Method",
    "MethodFunction",
    "Objective",
    "Option",
    "Policy",
    "Problem",
    "Range",
    "Result",
    "Step",
    "builtin_names",
    "describe",
    "get",
    "names",
    "policy_result",
    "provider",
    "read_builtin",
    "register",
    "registered_functions",
    "table",
    "version",
]

# Imported at first use, so that describing methods does not import torch.
_MODULES = {
    "CandidateSearch": "fairfix.methods._search",
    "Objective": "fairfix.metrics.objective",
    "Policy": "fairfix.thresholds.policy",
    "Problem": "fairfix.data.problem",
    "Result": "fairfix.methods._result",
    "Step": "fairfix.methods._result",
    "policy_result": "fairfix.methods._search",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
