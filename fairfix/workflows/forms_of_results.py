"""Documents, tables, plots and pages of outcomes, audits and gates, by the type of the result."""

from __future__ import annotations

import math
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import pandas as pd

from fairfix.metrics.fairness_metrics import title
from fairfix.report.html import audit_html, gate_html, html
from fairfix.report.markdown import STATES
from fairfix.report.plots import Plotted, plot
from fairfix.report.tidy import audit_frame, gate_frame, report_frame
from fairfix.workflows.audit import Audit
from fairfix.workflows.documents import (
    audit_document,
    report_document,
)
from fairfix.workflows.explored import explored_audit, explored_outcome
from fairfix.workflows.gate.document import gate_document
from fairfix.workflows.gate.gate import Gate
from fairfix.workflows.outcome import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@singledispatch
def document_of(result: object) -> dict[str, Any]:
    """Return the JSON document of a result."""
    raise TypeError(f"{type(result).__name__} is not a result of fairfix.")


@document_of.register
def _(result: Outcome) -> dict[str, Any]:
    return report_document(result)


@document_of.register
def _(result: Audit) -> dict[str, Any]:
    return audit_document(result.case, result.rule, result)


@document_of.register
def _(result: Gate) -> dict[str, Any]:
    return gate_document(result)


def frame_of(result: Outcome | Audit | Gate) -> pd.DataFrame:
    """Return the figures of a result as a tidy table."""
    document = document_of(result)
    if isinstance(result, Outcome):
        return report_frame(document)
    return audit_frame(document) if isinstance(result, Audit) else gate_frame(document)


def page_of(result: Outcome | Audit | Gate) -> str:
    """Return the HTML page of a result."""
    document = document_of(result)
    if isinstance(result, Outcome):
        return html(document, explored_outcome(result))
    if isinstance(result, Gate):
        return gate_html(document)
    explored = explored_audit(result.case, result.rule, result.confidence, document)
    return audit_html(document, explored)


def plot_of(result: Outcome | Audit | Gate, kind: str, axes: Axes | None = None) -> Axes:
    """Draw one kind of plot of a result (``report.plots.plot``)."""
    return plot(_plotted(result), kind, axes)


def _plotted(result: Outcome | Audit | Gate) -> Plotted:
    document = document_of(result)
    if isinstance(result, Gate):
        return Plotted({}, checks=document["checks"])
    if isinstance(result, Outcome):
        return _plotted_outcome(result, document)
    column, measured = next(iter(document["groups"].items()))
    claim = measured["evidence"]["claims"][0]
    sweep = result.threshold_sweep
    points = [] if sweep is None else [*sweep.points, sweep.current]
    return Plotted(
        {column: measured},
        (claim["metric"], claim["budget"]),
        explored_audit(result.case, result.rule, result.confidence, document),
        measured["calibration"],
        [
            (each.size, each.performance, sweep is not None and each is sweep.current)
            for each in points
            if not math.isnan(each.size + each.performance)
        ],
        f"gap, {title(claim['metric'])}",
        "" if sweep is None else title(sweep.performance),
    )


def _plotted_outcome(result: Outcome, document: dict[str, Any]) -> Plotted:
    objective = result.objective
    return Plotted(
        {STATES[state]: e for state, e in document["results"]["test"].items()},
        (objective.metric.key, objective.budget),
        explored_outcome(result),
        document["calibration"]["debiased"],
        [
            (point.probability, point.performance, point.chosen)
            for point in result.tradeoff_curve
            if not math.isnan(point.probability + point.performance)
        ],
        "probability of meeting the budget",
        objective.performance.title,
    )
