"""Render a gate document as SARIF 2.1.0, the format of code scanning.

A violated demand is a result. A certified one has none, so that its alert closes. An inconclusive
one is a notification, since code scanning shows every result as an alert. A gate that failed before
it reached a verdict has no results and ``executionSuccessful`` false.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from fairfix._utils.text import printable
from fairfix._utils.version import __version__
from fairfix.report.gate_sentences import (
    EXIT_CODE_NAMES,
    Document,
    check_sentence,
    power_sentence,
)

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
VERSION = "2.1.0"
DRIVER = "fairfix gate"


class Location(NamedTuple):
    """A line of a file, whose path is relative to the root of the repository."""

    file: str
    line: int = 1


def sarif(gate: Document, locate: Callable[[Document], Location] | None = None) -> str:
    """Return the JSON of a gate.

    Args:
        locate: the place of a check; by default the model, or the table without one.
    """
    place = Location(gate["table"] if gate["model"] == "-" else gate["model"])
    rules = list({_rule_id(check): _rule(check) for check in gate["checks"]}.values())
    order = [rule["id"] for rule in rules]
    results = [
        _result(gate, check, order.index(_rule_id(check)), locate(check) if locate else place)
        for check in gate["checks"]
        if check["verdict"] == "violated"
    ]
    inconclusive = [
        {
            "level": "note" if check["severity"] == "warn" else "warning",
            "message": {"text": check_sentence(gate, check)},
            "associatedRule": {"id": _rule_id(check), "index": order.index(_rule_id(check))},
        }
        for check in gate["checks"]
        if check["verdict"] not in ("certified", "violated")
    ]
    messages = [(line, "note") for line in map(power_sentence, gate["power"])]
    messages += [(warning, "warning") for warning in gate["warnings"]]
    messages += [(f"unchecked: {each}", "warning") for each in gate["unchecked"]]
    invocation = _invocation(gate["exit_code"], gate["headline"], messages, inconclusive)
    return _log(rules, results, invocation)


def sarif_failure(message: str, code: int) -> str:
    """Return the JSON of a gate that failed before it reached a verdict."""
    return _log([], None, _invocation(code, EXIT_CODE_NAMES[code], [(message, "error")]))


def _log(
    rules: list[dict[str, Any]], results: list[dict[str, Any]] | None, invocation: dict[str, Any]
) -> str:
    driver = {
        "name": DRIVER,
        "semanticVersion": __version__,
        "rules": rules,
    }
    run: dict[str, Any] = {"tool": {"driver": driver}, "invocations": [invocation]}
    if results is not None:
        run["results"] = results
    log = {"$schema": SCHEMA, "version": VERSION, "runs": [_clean(run)]}
    return json.dumps(log, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _clean(value: Any) -> Any:
    """Return a JSON value whose strings are all printable."""
    if isinstance(value, dict):
        return {printable(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return printable(value) if isinstance(value, str) else value


def _invocation(
    code: int,
    description: str,
    messages: list[tuple[str, str]],
    inconclusive: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    return {
        "executionSuccessful": code not in (2, 4),
        "exitCode": code,
        "exitCodeDescription": description,
        "toolExecutionNotifications": [
            *(inconclusive or ()),
            *({"level": level, "message": {"text": text}} for text, level in messages),
        ],
    }


def _rule_id(check: Document) -> str:
    return f"{check['kind']}/{check['key']}"


def _rule(check: Document) -> dict[str, Any]:
    demand = {
        "budget": f"The {check['title']} between groups is within its budget",
        "floor": f"The {check['title']} is at or above its floor",
        "ceiling": f"The {check['title']} is at or below its ceiling",
        "max-drop": f"The {check['title']} is not further below the baseline's than allowed",
        "selection-rate-change": f"The {check['title']} is within the allowed one",
    }.get(check["kind"], "The rule does not decide nearly all rows alike")
    meaning = (
        f"{demand}, with confidence. A point estimate is never a verdict: the confidence interval "
        "must be within the limit."
    )
    return {
        "id": _rule_id(check),
        "name": "".join(part.capitalize() for part in f"{check['kind']}-{check['key']}".split("-")),
        "shortDescription": {"text": f"{demand}."},
        "fullDescription": {"text": meaning},
        "help": {
            "text": "Debias the model again, or use more test rows if the verdict is inconclusive."
        },
        "defaultConfiguration": {"level": "error"},
    }


def _result(gate: Document, check: Document, rule_index: int, location: Location) -> dict[str, Any]:
    place = quote(printable(location.file).replace("\\", "/"))
    return {
        "ruleId": _rule_id(check),
        "ruleIndex": rule_index,
        "kind": "fail",
        "level": {"error": "error", "warn": "warning"}[check["severity"]],
        "message": {"text": check_sentence(gate, check)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": place},
                    "region": {"startLine": location.line},
                }
            }
        ],
        "partialFingerprints": {"fairfixDemand/v1": _fingerprint(check)},
        "properties": {
            "demand": check["demand"],
            "column": check["column"],
            "limit": check["limit"],
            "severity": check["severity"],
            "verdict": check["verdict"],
            "value": check["value"],
            "low": check["low"],
            "high": check["high"],
            "rows_needed": check["rows_needed"],
            "test": check["test"],
        },
    }


def _fingerprint(check: Document) -> str:
    """Return a hash of the demand, independent of the result."""
    parts = (check["kind"], check["key"], check["column"] or "", check["severity"])
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()
