"""Holm's correction of the violations among several checks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from fairfix.stats.verdicts import Verdict, holm
from fairfix.workflows.gate.checks import Check
from fairfix.workflows.gate.demands import Severity


def after_holm(checks: Sequence[Check], alpha: float) -> list[Check]:
    """The checks with violations that do not stand Holm's correction taken back.

    Those that decide the exit code are one family, those that only warn another.
    """
    kept = list(checks)
    for severity in Severity:
        family = [
            index
            for index, check in enumerate(checks)
            if check.severity is severity and not math.isnan(check.p_violated)
        ]
        rejected = holm([checks[index].p_violated for index in family], alpha)
        for index, is_rejected in zip(family, rejected, strict=True):
            if checks[index].verdict is Verdict.VIOLATED and not is_rejected:
                kept[index] = _taken_back(checks[index], len(family))
    return kept


def _taken_back(check: Check, tests: int) -> Check:
    reason = f"{check.reason}, but not after Holm's correction for {tests} demands"
    return replace(check, verdict=Verdict.INCONCLUSIVE, reason=reason)
