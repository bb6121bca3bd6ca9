"""The report as one self-contained HTML page: no scripts, nothing fetched, every string escaped.

A section stands where the report has its figures; older reports have fewer. ``report.html.j2`` is
the page, ``report.css`` its looks, ``charts`` draws.
"""

from __future__ import annotations

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
from fairfix.metrics.registry import titles
from fairfix.report import audit_sections, charts, sections, svg, words
from fairfix.report.markdown import STATES

Report = Mapping[str, Any]

LISTED_LINES = 200
LISTED_LETTERS = 800
NEEDED_GROUPS = 12


def html(report: Report) -> str:
    """The page of a report made by ``fairfix.workflows.documents``."""
    return environment().get_template("report.html.j2").render(_page(report))


def audit_html(report: Report) -> str:
    """The page of an audit made by ``fairfix.workflows.documents.audit_document``."""
    return environment().get_template("audit.html.j2").render(_audit_page(report))


@cache
def environment() -> Environment:
    """What every page is made with: autoescape, and figures as a reader sees them."""
    made = Environment(
        loader=PackageLoader("fairfix", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": format_number,
        "count": format_count,
        "signed": format_change,
        "threshold": format_threshold,
        "p_value": format_p_value,
        "short": shorten,
        "clean": lambda raw: shorten(raw, LISTED_LETTERS),
        "capital": lambda line: line[:1].upper() + line[1:],
    }
    made.globals |= {
        "key": svg.key,
        "states": STATES,
        "titles": titles(),
        "needed_groups": NEEDED_GROUPS,
    }
    return made


def _page(report: Report) -> dict[str, Any]:
    judged = report["results"]["test"]
    names = _names(judged["debiased"])
    return {
        "report": report,
        "objective": report["objective"],
        "names": names,
        "headline": words.headline(report),
        "certifiable": words.certifiable(report),
        "interval_name": words.interval_name(report),
        "has_intervals": words.confidence(report) is not None,
        "gap_words": words.gap_words(report, names),
        "objective_words": words.objective_words(report["objective"]),
        "before": sections.aims(report, judged["unmodified"]),
        "after": sections.aims(report, judged["debiased"]),
        "warnings": report["warnings"][:LISTED_LINES],
        "notes": report["notes"][:LISTED_LINES],
        "claims": sections.claims(report),
        "gaps": sections.gaps(report),
        "groups": sections.groups(
            {kind: judged[kind] for kind in ("unmodified", "debiased")}, names
        ),
        "change": sections.change(report, names),
        "search": sections.search(report),
        "scores": sections.scores(report, names),
        "tradeoff_curve": charts.tradeoff_curve(report) if report.get("tradeoff_curve") else None,
        "subgroups": sections.subgroups(report.get("subgroups")),
        "metrics": sections.metrics(list(judged.values()), report["objective"]["metric"]),
        "rule": sections.rule(report["rule"]),
        "options": report["method"]["options"],
    }


def _audit_page(report: Report) -> dict[str, Any]:
    return {
        "report": report,
        "interval_name": words.interval_name(report),
        "facts": audit_sections.facts(report),
        "notes": report["notes"][:LISTED_LINES],
        "columns": audit_sections.columns(report),
        "intersections": audit_sections.intersections(report),
        "thresholds": audit_sections.thresholds(report),
        "subgroups": sections.subgroups(report["subgroups"]["found"]),
        "rule": sections.rule(report["rule"]),
    }


def _names(measured: Report) -> dict[str, str]:
    return unique_labels(group["name"] for group in measured["groups"])
