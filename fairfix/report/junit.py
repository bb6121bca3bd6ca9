"""A gate as JUnit XML, which every CI server shows.

A violated demand is a failure; one that blocks without being violated is an error, for nothing was
found; one that only warns is skipped. A run that could not judge is one test case with an error, so
that it reads neither as bias nor as a pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from fairfix._utils.text import printable
from fairfix.report.gate_words import ENDINGS, Document, named, power_line, sentence

SUITE = "fairfix gate"
_OUTCOMES = {"failed": "failure", "inconclusive": "error", "warned": "skipped"}


def junit(gate: Document) -> str:
    """The XML text of a gate."""
    cases = [_case(gate, check) for check in gate["checks"]]
    facts = {
        "model": gate["model"],
        "table": gate["table"],
        "table sha256": gate["table_sha256"],
        "rows": gate["rows"],
        "rule": gate["rule_found"],
        "confidence": f"{gate['confidence']:g}",
        "exit code": gate["exit_code"],
    }
    lines = [
        gate["headline"],
        *map(power_line, gate["power"]),
        *(f"warning: {warning}" for warning in gate["warnings"]),
        *gate["notes"],
    ]
    return _document(cases, facts, lines)


def junit_failure(said: str, code: int) -> str:
    """The XML text of a gate that ended before it could judge: what was said, and the exit code."""
    case = Element("testcase", name="the gate judges", classname=SUITE)
    SubElement(case, "error", type=ENDINGS[code], message=printable(said))
    return _document([case], {"exit code": code}, [])


def _case(gate: Document, check: Document) -> Element:
    classname = printable(f"{SUITE}.{check['kind']}")
    case = Element("testcase", name=printable(named(check)), classname=classname)
    said = printable(sentence(gate, check))
    outcome = _OUTCOMES.get(check["standing"])
    if outcome == "skipped":
        SubElement(case, outcome, message=said)
    elif outcome is not None:
        SubElement(case, outcome, type=check["verdict"], message=said)
    SubElement(case, "system-out").text = said
    return case


def _document(cases: list[Element], facts: dict[str, object], lines: Iterable[str]) -> str:
    totals = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
    }
    skipped = str(sum(case.find("skipped") is not None for case in cases))
    root = Element("testsuites", {"name": SUITE, **totals})
    suite = SubElement(root, "testsuite", {"name": SUITE, **totals, "skipped": skipped})
    properties = SubElement(suite, "properties")
    for name, value in facts.items():
        SubElement(properties, "property", name=name, value=printable(value))
    suite.extend(cases)
    SubElement(suite, "system-out").text = printable("\n".join(lines))
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'
