"""Render a gate document as JUnit XML.

A violated demand is a failure. An inconclusive demand is an error, since it does not show bias.
A demand that only warns is skipped. A gate that failed before it reached a verdict is one test case
with an error, so that it counts neither as bias nor as a pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from fairfix._utils.text import printable
from fairfix.report.gate_sentences import (
    EXIT_CODE_NAMES,
    Document,
    check_name,
    check_sentence,
    power_sentence,
)

SUITE = "fairfix gate"
_OUTCOMES = {"failed": "failure", "inconclusive": "error", "warned": "skipped"}


def junit(gate: Document) -> str:
    """Return the XML of a gate."""
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
        *map(power_sentence, gate["power"]),
        *(f"warning: {warning}" for warning in gate["warnings"]),
        *(f"unchecked: {each}" for each in gate["unchecked"]),
        *gate["notes"],
    ]
    return _document(cases, facts, lines)


def junit_failure(message: str, code: int) -> str:
    """Return the XML of a gate that failed before it reached a verdict.

    Args:
        message: the error message.
        code: the exit code.
    """
    case = Element("testcase", name="the gate reaches a verdict", classname=SUITE)
    SubElement(case, "error", type=EXIT_CODE_NAMES[code], message=printable(message))
    return _document([case], {"exit code": code}, [])


def _case(gate: Document, check: Document) -> Element:
    classname = printable(f"{SUITE}.{check['kind']}")
    case = Element("testcase", name=printable(check_name(check)), classname=classname)
    message = printable(check_sentence(gate, check))
    outcome = _OUTCOMES.get(check["standing"])
    if outcome == "skipped":
        SubElement(case, outcome, message=message)
    elif outcome is not None:
        SubElement(case, outcome, type=check["verdict"], message=message)
    SubElement(case, "system-out").text = message
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
