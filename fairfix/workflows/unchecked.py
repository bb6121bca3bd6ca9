"""What a report or an audit could not verify: sentences without a full stop."""

from __future__ import annotations

from fairfix.data.row_fingerprints import Overlap
from fairfix.thresholds.rule import DecisionRule
from fairfix.workflows.case import Case
from fairfix.workflows.outcome import Outcome

_SCORES = "scores were given without a model, so it is unchecked which weights they are from"


def unchecked_of(outcome: Outcome) -> tuple[str, ...]:
    """Return what could not be verified about a result."""
    found = [] if outcome.case.checkpoint else [_SCORES]
    table, test = outcome.case.table.name, outcome.test_case
    if test is None:
        found.append(
            f"the test rows were held out from {table}, so rows from elsewhere are unchecked"
        )
    elif not any(each.known for each in _overlaps(outcome)):
        found.append(
            f"it is unchecked whether rows of {test.table.name} are also in {table}, since "
            "they cannot be told apart"
        )
    return tuple(found)


def reused_test_rows(outcome: Outcome) -> tuple[str, ...]:
    """Return a serious warning if rows of the test table were also used for tuning."""
    if outcome.test_case is None:
        return ()
    return tuple(each.description for each in _overlaps(outcome) if each.beyond_chance)[:1]


def unchecked_in_audit(case: Case, rule: DecisionRule) -> tuple[str, ...]:
    """Return what could not be verified about a rule on the rows of a case."""
    found = [] if case.checkpoint else [_SCORES]
    if rule.metric is not None:
        found.append("an audit does not check whether the rule was tuned on these rows; gate does")
    return tuple(found)


def _overlaps(outcome: Outcome) -> list[Overlap]:
    """Return how many test rows equal validation rows, by values, by ids, and by most columns."""
    return outcome.evidence.tuned.overlaps(outcome.test_rows.problem)
