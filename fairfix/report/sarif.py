"""A gate as SARIF 2.1.0, which code scanning shows.

What is certified is no result, so that an alert closes when its demand holds again. A violated
demand is of kind ``fail``; one that nothing could be shown of is of kind ``open``. A run that could
not judge has no results at all and says that it was not successful.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

from fairfix._utils.text import printable
from fairfix._utils.version import __version__
from fairfix.report.gate_words import ENDINGS, Document, power_line, sentence

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
VERSION = "2.1.0"
DRIVER = "fairfix gate"


def sarif(gate: Document) -> str:
    """The JSON text of a gate; the model, or the table without one, is where results lie."""
    rules = list({_rule_id(check): _rule(check) for check in gate["checks"]}.values())
    order = [rule["id"] for rule in rules]
    results = [
        _result(gate, check, order.index(_rule_id(check)))
        for check in gate["checks"]
        if check["standing"] != "passed"
    ]
    said = [(line, "note") for line in map(power_line, gate["power"])]
    said += [(warning, "warning") for warning in gate["warnings"]]
    return _log(rules, results, _invocation(gate["exit_code"], gate["headline"], said))


def sarif_failure(said: str, code: int) -> str:
    """The JSON text of a gate that ended before it could judge."""
    return _log([], None, _invocation(code, ENDINGS[code], [(said, "error")]))


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


def _invocation(code: int, description: str, said: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "executionSuccessful": code not in (2, 4),
        "exitCode": code,
        "exitCodeDescription": description,
        "toolExecutionNotifications": [
            {"level": level, "message": {"text": text}} for text, level in said
        ],
    }


def _rule_id(check: Document) -> str:
    return f"{check['kind']}/{check['key']}"


def _rule(check: Document) -> dict[str, Any]:
    what = {
        "budget": f"The {check['title']} between groups stays within its budget",
        "floor": f"The {check['title']} stays at or above its floor",
        "max-drop": f"The {check['title']} falls no further below the baseline's than allowed",
    }.get(check["kind"], "The rule does not decide nearly all rows alike")
    meaning = (
        f"{what}, as far as the rows of a table can show. A point estimate is never a verdict: the "
        "confidence interval must lie within the limit."
    )
    return {
        "id": _rule_id(check),
        "name": "".join(part.capitalize() for part in f"{check['kind']}-{check['key']}".split("-")),
        "shortDescription": {"text": f"{what}."},
        "fullDescription": {"text": meaning},
        "help": {"text": "Debias the model again, or judge it on more rows if nothing is shown."},
        "defaultConfiguration": {"level": "error"},
    }


def _result(gate: Document, check: Document, rule_index: int) -> dict[str, Any]:
    fail = check["verdict"] == "violated"
    level = {"error": "error", "warn": "warning"}[check["severity"]]
    file = gate["table"] if gate["model"] == "-" else gate["model"]
    place = quote(printable(file).replace("\\", "/"))
    return {
        "ruleId": _rule_id(check),
        "ruleIndex": rule_index,
        "kind": "fail" if fail else "open",
        "level": level if fail else "none",  # only a failure may have one
        "message": {"text": sentence(gate, check)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": place},
                    "region": {"startLine": 1},
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
    """The same for one demand in every run, whatever was found."""
    parts = (check["kind"], check["key"], check["column"] or "", check["severity"])
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()
