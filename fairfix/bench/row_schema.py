"""What a row of a study is: read from a file, it is not to be trusted before it was looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

STATES = ("unmodified", "retuned", "debiased")
Check = Callable[[Any], bool]


def is_row(row: Any) -> bool:
    """Whether a value has all that the summary and the page look at, each of its kind."""
    if not (_has(row, _EVERY) and _has(row["goal"], _GOAL)):
        return False
    of_status = _STATUS.get(row["status"])
    return of_status is not None and _has(row, of_status)


def _has(value: Any, checks: Mapping[str, Check]) -> bool:
    return isinstance(value, dict) and all(
        name in value and check(value[name]) for name, check in checks.items()
    )


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _figure(value: Any) -> bool:
    return value is None or _number(value)


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _figures(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_figure, value.values()))


def _evaluation(value: Any) -> bool:
    return _has(value, _EVALUATION)


def _comparison(value: Any) -> bool:
    return _has(value, dict.fromkeys(STATES, _evaluation))


def _steps(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(step, list) and len(step) == 2 and all(map(_figure, step)) for step in value
    )


def _attribution(value: Any) -> bool:
    return _has(value, _ATTRIBUTION)


_EVERY: dict[str, Check] = {
    "key": _text,
    "fairfix": _text,
    "task": _text,
    "split": _number,
    "task_sha256": _text,
    "method": _text,
    "seed": _number,
    "goal": _object,
    "options": _object,
    "status": _text,
}
_GOAL: dict[str, Check] = {
    "metric": _text,
    "budget": _number,
    "margin": _figure,
    "performance": _text,
    "kind": _text,
    "lambda": _number,
    "k": _number,
    "risk": _figure,
}
_EVALUATION: dict[str, Check] = {
    "rows": _number,
    "gap": _figure,
    "performance": _figure,
    "met": _flag,
    "trivial": _flag,
    "gaps": _figures,
    "performances": _figures,
}
_ATTRIBUTION: dict[str, Check] = {
    "draws": _number,
    "sd": _number,
    "spread": _figure,
    "r2": _figure,
    "r2_of_decisions": _figure,
    "r2_of_fit": _figure,
    "shares": _figures,
    "share_of_largest": _figures,
    "coefficients": _text,
}
_DONE: dict[str, Check] = {
    "needs_group": _flag,
    "test": _comparison,
    "validation": _comparison,
    "ceiling": _figure,
    "overlap": _number,
    "trajectory": _steps,
    "chosen": _number,
    "cost": lambda value: _has(value, {"seconds": _number, "peak_memory_mib": _figure}),
}
_STATUS: dict[str, dict[str, Check]] = {
    "done": _DONE,
    "measured": {"attribution": _attribution},
    "refused": {"reason": _text},
    "failed": {"reason": _text},
}
