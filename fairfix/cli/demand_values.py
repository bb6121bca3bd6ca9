"""Demands from the options of a command: budgets, floors, ceilings and changes."""

from __future__ import annotations

from fairfix.cli.option_values import OptionValues
from fairfix.workflows.gate.demands import Demand, Kind, demands, selection_change


def gate_demands(values: OptionValues) -> tuple[Demand, ...]:
    """Return the demands of a gate except ``--also``; none without options and settings.

    Raises:
        UsageError: a demand is invalid.
    """
    places = (values.given, values.settings)  # without the default: it is not a demand
    budget = next((place["budget"] for place in places if "budget" in place), ())
    one = not isinstance(budget, list | tuple)
    entries = [str(budget)] if one else budget
    change = () if _is_left_out(values) else selection_change(values["selection_rate_change"])
    return (
        *demands(Kind.BUDGET, entries, default=values["metric"] if one else None),
        *_limits(values),
        *demands(Kind.MAX_DROP, values["max_drop"] or (), default=values["performance"]),
        *change,
    )


def left_out_warnings(values: OptionValues) -> tuple[str, ...]:
    """Say which demand of a settings file a gate cannot test."""
    if not _is_left_out(values):
        return ()
    assert values.source is not None
    return (f"selection-rate-change in {values.source.name} is not tested without --baseline",)


def _is_left_out(values: OptionValues) -> bool:
    """Whether a change in the settings file, meant for debiasing commands, has no baseline here."""
    return "selection_rate_change" in values.from_file and values["baseline"] is None


def also(values: OptionValues) -> tuple[Demand, ...]:
    """Return the further budgets.

    Raises:
        UsageError: one is invalid.
    """
    return tuple(demands(Kind.BUDGET, values["also"] or (), option="also"))


def promises(values: OptionValues) -> tuple[Demand, ...]:
    """Return all goals of a debiasing command besides the budget.

    Raises:
        UsageError: one is invalid.
    """
    change = selection_change(values["selection_rate_change"])
    return (*also(values), *_limits(values), *change)


def _limits(values: OptionValues) -> tuple[Demand, ...]:
    """Return floors and ceilings."""
    return (
        *demands(Kind.FLOOR, values["floor"] or (), default=values["performance"]),
        *demands(Kind.CEILING, values["ceiling"] or (), default=values["performance"]),
    )
