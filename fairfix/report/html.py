"""Render a report or an audit as one self-contained HTML page, without requests.

Every string is escaped. Sections without data are left out, as in version 1 reports. The templates
are ``report.html.j2`` and ``audit.html.j2``, with the style ``report.css``. The only script is that
of the threshold explorer, which the page's Content-Security-Policy names by its hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fairfix._utils.text import (
    format_change,
    format_count,
    format_number,
    format_p_value,
    format_threshold,
    shorten,
    unique_labels,
)
from fairfix.metrics.fairness_metrics import METRICS, titles
from fairfix.metrics.objective import Objective
from fairfix.report import audit_sections, charts, sections, sentences, svg
from fairfix.report.compared_models import compared_models
from fairfix.report.confusion import confusion_matrices
from fairfix.report.explorer import Explored, explorer_section
from fairfix.report.gate_sentences import HEADER, check_cells
from fairfix.report.markdown import CHANGED, STATES
from fairfix.report.reference_table import INTERVALS, reference_table
from fairfix.report.reweighting_tables import reweighting_tables

Report = Mapping[str, Any]

LISTED_CHARACTERS = 800
NEEDED_GROUPS = 12


def html(report: Report, explored: Explored | None = None) -> str:
    """Return the page of a report document, with a threshold explorer if its data are given."""
    return environment().get_template("report.html.j2").render(_page(report, explored))


def audit_html(report: Report, explored: Explored | None = None) -> str:
    """Return the page of an audit document, with a threshold explorer if its data are given."""
    return environment().get_template("audit.html.j2").render(_audit_page(report, explored))


def gate_html(gate: Report) -> str:
    """Return the page of a gate document."""
    return (
        environment()
        .get_template("gate.html.j2")
        .render(
            {
                "gate": gate,
                "header": HEADER,
                "checks": [check_cells(each) for each in gate["checks"]],
                "lists": {
                    "Warnings": gate["warnings"][: sections.LISTED_LINES],
                    "Unchecked": gate["unchecked"][: sections.LISTED_LINES],
                    "Notes": gate["notes"][: sections.LISTED_LINES],
                },
            }
        )
    )


@cache
def environment() -> Environment:
    """Return the template environment of all pages: autoescape, number filters and globals."""
    templates = Environment(
        loader=PackageLoader("fairfix", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "number": format_number,
        "count": format_count,
        "signed": format_change,
        "threshold": format_threshold,
        "p_value": format_p_value,
        "short": shorten,
        "clean": lambda raw: _isolated(shorten(raw, LISTED_CHARACTERS)),
        "capital": _capital,
    }
    templates.globals |= {
        "key": svg.key,
        "states": STATES,
        "titles": titles(),
        "needed_groups": NEEDED_GROUPS,
    }
    return templates


def _capital(line: str) -> str:
    """Return a sentence with a capital letter, unless it begins with the key of a metric."""
    return line if line.partition(" ")[0] in METRICS else line[:1].upper() + line[1:]


_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]+(?:[ -]+[\u0590-\u08ff]+)*")


def _isolated(line: str) -> str:
    """Return a sentence in which names written from right to left move no number beside them."""
    return _RIGHT_TO_LEFT.sub("\u2068\\g<0>\u2069", line)


def _page(report: Report, explored: Explored | None) -> dict[str, Any]:
    objective = report["objective"]
    claim = {"metric": objective["metric"], "budget": objective["budget"]}
    test = report["results"]["test"]
    names = _names(test["debiased"])
    thresholds = explored and audit_sections.thresholds(
        explored.sweep, report["data"]["group"], claim["budget"]
    )
    return {
        "report": report,
        "objective": report["objective"],
        "names": names,
        "headline": sentences.headline(report),
        "certifiable": sentences.certifiable_sentence(report),
        "interval_name": sentences.interval_name(report),
        "has_intervals": sentences.confidence(report) is not None,
        "sign_sentence": sentences.sign_sentence(report, names),
        "objective_phrase": sentences.objective_phrase(report["objective"]),
        "before": sections.target_figures(report, test["unmodified"]),
        "after": sections.target_figures(report, test["debiased"]),
        "warnings": report["warnings"][: sections.LISTED_LINES],
        "unchecked": report.get("unchecked", ()),
        "notes": report["notes"][: sections.LISTED_LINES],
        "claims": sections.claims(report),
        "promises": [check_cells(each) for each in sentences.promises(report)],
        "promise_header": HEADER,
        "goals": sentences.goal_rows(report),
        "goals_header": sentences.GOALS_HEADER,
        "gaps": sections.gaps(report),
        "groups": sections.groups({kind: test[kind] for kind in ("unmodified", "debiased")}, names),
        "to_reference": reference_table({state: test[state] for state in CHANGED}),
        "reference_intervals": INTERVALS,
        "change": sections.change(report, names),
        "search": sections.search(report),
        "scores": sections.scores(report, names),
        "confusion": confusion_matrices(
            {state: test[state] for state in CHANGED},
            names,
            sections.shown_groups(test["debiased"]["groups"], sections.SHOWN_HISTOGRAMS),
        ),
        "calibration": sections.calibration_change(report, names),
        "reweighting": list(reweighting_tables(report)),
        "tradeoff_curve": charts.tradeoff_curve(report) if report.get("tradeoff_curve") else None,
        "subgroups": sections.subgroups(report.get("subgroups")),
        "metrics": sections.metrics(list(test.values()), report["objective"]["metric"]),
        "rule": sections.rule(report["rule"]),
        "options": report["method"]["options"],
        "explorer": explored
        and explorer_section(
            explored,
            claim,
            objective["performance"],
            thresholds["drawn"] if thresholds else (),
        ),
        "thresholds": thresholds,
    }


def _audit_page(report: Report, explored: Explored | None) -> dict[str, Any]:
    column, measured = next(iter(report["groups"].items()))
    claim = measured["evidence"]["claims"][0]
    thresholds = audit_sections.thresholds(report["threshold_sweep"], column, claim["budget"])
    return {
        "report": report,
        "interval_name": sentences.interval_name(report),
        "facts": audit_sections.facts(report),
        "unchecked": report.get("unchecked", ()),
        "notes": report["notes"][: sections.LISTED_LINES],
        "columns": audit_sections.columns(report),
        "reference_intervals": INTERVALS,
        "compared": compared_models(report),
        "classes": audit_sections.classes(report),
        "intersections": audit_sections.intersections(report),
        "explorer": explored
        and explorer_section(
            explored,
            claim,
            Objective.performance.key,
            thresholds["drawn"] if thresholds else (),
        ),
        "thresholds": thresholds,
        "subgroups": sections.subgroups((report["subgroups"] or {}).get("found")),
        "rule": sections.rule(report["rule"]),
    }


def _names(measured: Report) -> dict[str, str]:
    return unique_labels(group["name"] for group in measured["groups"])
