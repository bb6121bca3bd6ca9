"""Check that a method uses rows without a group for performance alone."""

from __future__ import annotations

from fairfix.data.problem import Problem
from fairfix.errors import UsageError

TAKE_UNKNOWN_GROUPS = "finetune", "gda", "identity", "layerwise", "perturb", "prune"
"""Methods whose rules and losses allow rows without a group."""


def check_unknown_groups(method: str, problem: Problem) -> None:
    """Raise ``UsageError`` if some rows have no group and the method needs that of each."""
    learned = None if problem.training is None else problem.training.groups
    lacks = problem.has_unknown_groups or (learned is not None and bool((learned < 0).any()))
    if method in TAKE_UNKNOWN_GROUPS or not lacks:
        return
    raise UsageError(
        f"{method} needs the group of every row; remove rows without one, choose --missing-group "
        f"keep, or use {', '.join(TAKE_UNKNOWN_GROUPS[:-1])} or {TAKE_UNKNOWN_GROUPS[-1]}."
    )
