"""The classes of an audit as plain data."""

from __future__ import annotations

from typing import Any

from fairfix.workflows.class_audit import ClassAudit, MeasuredDecisions
from fairfix.workflows.measured_document import measured_document


def class_document(found: ClassAudit) -> dict[str, Any]:
    """Return the decisions by the largest output, for the favorable classes and for each class."""
    return {
        "favorable": _document(found.favorable),
        "one_against_rest": {
            name: _document(each) for name, each in found.one_against_rest.items()
        },
    }


def _document(each: MeasuredDecisions) -> dict[str, Any]:
    return measured_document(each.evaluation, each.intervals)
