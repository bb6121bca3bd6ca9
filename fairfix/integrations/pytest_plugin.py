"""pytest: a fixture that gates a model and fails the test unless every demand passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fairfix.workflows.case import Case
    from fairfix.workflows.gate.gate import Gate


@pytest.fixture
def fairfix_gate(request: pytest.FixtureRequest) -> Callable[..., Gate]:
    """Return ``fairfix.gate``, with its arguments, that fails the test unless its exit code is 0.

    Outcome and figures become properties of the test in JUnit files.
    """

    def check(case: Case, budgets: Mapping[str, float] | None = None, **demands: Any) -> Gate:
        __tracebackhide__ = True
        # Imported here, so that other tests run without torch.
        from fairfix._utils.text import plain_number
        from fairfix.report.gate_sentences import check_name
        from fairfix.workflows.api import gate

        found = gate(case, budgets, **demands)
        document = found.to_dict()
        properties = request.node.user_properties
        properties.append(("fairfix.ending", document["ending"]))
        for each in document["checks"]:
            figures = f"{each['verdict']}, {plain_number(each['value'])}"
            properties.append((f"fairfix.{check_name(each)}", figures))
        if found.exit_code != 0:
            pytest.fail(_reasons(document), pytrace=False)
        return found

    return check


def _reasons(document: Mapping[str, Any]) -> str:
    """Return the headline, the demands that did not pass, and what keeps others from passing."""
    from fairfix.report.gate_sentences import check_sentence

    lines = [
        document["headline"],
        *(check_sentence(document, c) for c in document["checks"] if c["standing"] != "passed"),
        *(f"warning: {each}" for each in document["serious_warnings"]),
        *(f"unchecked: {each}" for each in document["unchecked"]),
    ]
    return "\n".join(lines)
