"""What CI servers read of a gate: JUnit, SARIF, GitHub's annotations and summary, a model card."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from importlib import resources
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml

from fairfix._utils.strict_json import validate
from fairfix.report import github, model_card
from fairfix.report.gate_sentences import check_sentence
from fairfix.report.junit import junit, junit_failure
from fairfix.report.sarif import sarif, sarif_failure
from fairfix.report.schema import gate as schemas
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.stats.intervals import Interval
from fairfix.stats.verdicts import Verdict
from fairfix.thresholds.rule import DecisionRule
from fairfix.workflows.gate.checks import BudgetPower, Check
from fairfix.workflows.gate.demands import Severity
from fairfix.workflows.gate.document import gate_document
from fairfix.workflows.gate.gate import Gate

NASTY = "a\x00b\x1b[31m\ud800<&\"']]>\n::error::x %0A, y: |z|` $x\ufffe"


def check(verdict: Verdict, **fields: Any) -> Check:
    values: dict[str, Any] = {
        "asked": "gap of spd < 0.05",
        "kind": "budget",
        "key": "spd",
        "limit": 0.05,
        "severity": Severity.ERROR,
        "title": "statistical parity difference",
        "column": "sex",
        "sign": "f minus m",
        "value": 0.1,
        "interval": Interval(0.07, 0.13, "Miettinen-Nurminen score"),
        "verdict": verdict,
        "reason": "the interval lies outside the budget",
        "rows_needed": None,
        "p_violated": 0.001,
        "test": "Miettinen-Nurminen score",
    }
    return Check(**{**values, **fields})


def gate(*checks: Check, **fields: Any) -> Gate:
    values: dict[str, Any] = {
        "model": "models/net.pt",
        "table": "test.csv",
        "table_sha256": "0" * 64,
        "rows": 800,
        "rule": DecisionRule(threshold=0.5),
        "rule_found": "the rule in net.rule.json",
        "confidence": ConfidenceLevel(),
        "lenient": False,
        "trivial": False,
        "power": (
            BudgetPower("spd", "sex", 0.05, {"f": 300, "m": 500}, None, {"f": 900, "m": 1500}),
        ),
        "checks": checks,
        "warnings": (),
        "notes": (),
    }
    return Gate(**{**values, **fields})


PASSED = check(Verdict.CERTIFIED, reason="the interval lies within the budget")
FAILED = check(Verdict.VIOLATED, asked="gap of eod < 0.1", key="eod", limit=0.1)
OPEN = check(
    Verdict.INCONCLUSIVE, asked="gap of aod < 0.1", key="aod", rows_needed={"f": 1200, "m": 2000}
)
WARNED = replace(FAILED, severity=Severity.WARN)
UNDEFINED = check(
    Verdict.TOO_FEW, key="fprd", value=math.nan, interval=Interval(math.nan, math.nan, "none")
)
MIXED = gate(PASSED, FAILED, OPEN, WARNED, UNDEFINED)


@pytest.mark.parametrize("found", [MIXED, gate(PASSED), gate(OPEN), gate(UNDEFINED)])
def test_the_document_is_valid(found: Gate) -> None:
    document = json.loads(json.dumps(gate_document(found)))
    schema = json.loads((resources.files("fairfix.report") / "gate.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(document)
    validate(schemas.Gate, document, "gate")


# How a gate ends.


@pytest.mark.parametrize(
    ("checks", "strict_code", "lenient_code"),
    [
        ((PASSED,), 0, 0),
        ((PASSED, FAILED), 1, 1),
        ((FAILED, OPEN), 1, 1),
        ((PASSED, OPEN), 3, 0),
        ((PASSED, WARNED), 0, 0),
        ((replace(OPEN, severity=Severity.WARN),), 0, 0),
        ((UNDEFINED,), 3, 3),
        ((OPEN, UNDEFINED), 3, 3),
        ((replace(UNDEFINED, severity=Severity.WARN),), 0, 0),
    ],
)
def test_the_exit_code(checks: tuple[Check, ...], strict_code: int, lenient_code: int) -> None:
    assert gate(*checks).exit_code == strict_code
    assert gate(*checks, lenient=True).exit_code == lenient_code


def test_the_headline_counts_demands() -> None:
    assert gate(PASSED).headline == "Passed: the demand is certified."
    assert gate(PASSED, PASSED, WARNED).headline == "Passed: all 2 demands are certified."
    assert gate(WARNED).headline.startswith("Passed: every demand only warns")
    assert gate(PASSED, FAILED, OPEN).headline == "Failed: 1 of 3 demands is violated."
    assert gate(PASSED, OPEN).headline.startswith("Inconclusive: 1 of 2 demands is not certified")
    assert gate(OPEN, OPEN, lenient=True).headline.startswith(
        "Passed by --on-inconclusive warn: 2 of 2 demands are not certified"
    )


# JUnit.


def parsed(text: str) -> ElementTree.Element:
    """The one suite of a file that keeps the rules which readers of JUnit XML rely on."""
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    root = ElementTree.fromstring(text.encode())
    assert root.tag == "testsuites"
    (suite,) = root
    allowed = {"properties", "testcase", "system-out"}
    assert {child.tag for child in suite} <= allowed
    cases = suite.findall("testcase")
    assert int(suite.attrib["tests"]) == int(root.attrib["tests"]) == len(cases) > 0
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.attrib[attribute]) == len(suite.findall(f"testcase/{tag}"))
    for case in cases:
        assert case.attrib["name"]
        assert case.attrib["classname"]
        outcomes = [child.tag for child in case if child.tag != "system-out"]
        assert outcomes in ([], ["failure"], ["error"], ["skipped"])
    return suite


def outcomes(suite: ElementTree.Element) -> list[str]:
    return [
        next((child.tag for child in case if child.tag != "system-out"), "passed")
        for case in suite.findall("testcase")
    ]


def test_junit_distinguishes_violated_from_inconclusive() -> None:
    suite = parsed(junit(gate_document(MIXED)))
    assert outcomes(suite) == ["passed", "failure", "error", "skipped", "error"]
    names = [case.attrib["name"] for case in suite.findall("testcase")]
    assert names[:3] == [
        "gap of spd < 0.05 by sex",
        "gap of eod < 0.1 by sex",
        "gap of aod < 0.1 by sex",
    ]
    open_ = suite.findall("testcase/error")[0]
    assert open_.attrib["type"] == "inconclusive"
    assert (
        "Rows needed if the true gap equals the estimate: f: 1,200, m: 2,000."
        in open_.attrib["message"]
    )
    facts = {p.attrib["name"]: p.attrib["value"] for p in suite.iter("property")}
    assert facts["exit code"] == "1"
    assert facts["rule"] == "the rule in net.rule.json"
    assert "cannot certify a gap of spd < 0.05 by sex" in str(suite.findtext("system-out"))


def test_junit_of_a_lenient_gate_skips_what_it_lets_through() -> None:
    assert outcomes(parsed(junit(gate_document(gate(OPEN, UNDEFINED, lenient=True))))) == [
        "skipped",
        "error",
    ]


@pytest.mark.parametrize(("code", "kind"), [(2, "wrong input"), (4, "internal error")])
def test_a_crash_is_an_error_of_its_own_kind(code: int, kind: str) -> None:
    suite = parsed(junit_failure("The file is empty.", code))
    assert outcomes(suite) == ["error"]
    (error,) = suite.iter("error")
    assert error.attrib == {"type": kind, "message": "The file is empty."}
    run = json.loads(sarif_failure("The file is empty.", code))["runs"][0]
    assert "results" not in run
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    assert (invocation["exitCode"], invocation["exitCodeDescription"]) == (code, kind)
    (said,) = invocation["toolExecutionNotifications"]
    assert said == {"level": "error", "message": {"text": "The file is empty."}}
    assert github.failure_command("100 % wrong.", code) == (
        f"::error title=fairfix gate reached no verdict%3A {kind}::100 %25 wrong."
    )
    assert github.failure_summary("It is `x`.", code) == (
        f"## fairfix gate reached no verdict: {kind}\n\nIt is \\`x\\`.\n"
    )


def test_untrusted_strings_break_no_format() -> None:
    nasty = replace(OPEN, column=NASTY, sign=NASTY, rows_needed={NASTY: 3}, reason=NASTY)
    found = gate_document(
        gate(nasty, model=f"{NASTY}.pt", table=NASTY, warnings=(NASTY,), notes=(NASTY,))
    )
    parsed(junit(found)), parsed(junit_failure(NASTY, 4))
    assert json.loads(sarif(found).encode())["runs"][0]["invocations"]
    for line in github.commands(found):
        assert re.fullmatch(r"::(error|warning) title=[^:,]*::.*", line)
    summary = github.summary(found)
    rows = [line for line in summary.splitlines() if line.startswith("| gap")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [8]
    for text in (summary, *github.commands(found), junit(found), sarif(found)):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe]", text)
        text.encode()


# SARIF.


def run_of(found: Gate) -> dict[str, Any]:
    log = json.loads(sarif(gate_document(found)))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    loaded: dict[str, Any] = run
    return loaded


def test_sarif_keeps_the_rules_of_the_standard() -> None:
    run = run_of(MIXED)
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules) == 4
    for rule in rules:
        assert all(rule[key]["text"] for key in ("shortDescription", "fullDescription", "help"))
        assert re.fullmatch("[A-Za-z]+", rule["name"])
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        assert (result["kind"], result["level"] != "none") == ("fail", True)
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert place == {
            "artifactLocation": {"uri": "models/net.pt"},
            "region": {"startLine": 1},
        }
    prints = [result["partialFingerprints"]["fairfixDemand/v1"] for result in run["results"]]
    assert len(set(prints)) == len(prints)


def test_sarif_has_a_result_for_each_violated_check_and_notifies_of_inconclusive_ones() -> None:
    run = run_of(MIXED)
    found = [(r["ruleId"], r["kind"], r["level"]) for r in run["results"]]
    assert found == [
        ("budget/eod", "fail", "error"),
        ("budget/eod", "fail", "warning"),
    ]
    (invocation,) = run["invocations"]
    told = [each for each in invocation["toolExecutionNotifications"] if "associatedRule" in each]
    assert [each["associatedRule"]["id"] for each in told] == ["budget/aod", "budget/fprd"]
    assert all(each["level"] == "warning" for each in told)
    assert (invocation["executionSuccessful"], invocation["exitCode"]) == (True, 1)
    assert run_of(gate(PASSED))["results"] == []


def test_a_demand_keeps_its_fingerprint() -> None:
    later = replace(FAILED, value=0.2, severity=Severity.ERROR)
    one, two = (run_of(gate(each))["results"][0] for each in (FAILED, later))
    assert one["partialFingerprints"] == two["partialFingerprints"]


@pytest.mark.parametrize("model", ["a b/nét%.pt", "-"])
def test_the_location_of_a_result_is_a_uri(model: str) -> None:
    (result,) = run_of(gate(FAILED, model=model))["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri.isascii()
    assert " " not in uri
    assert unquote(uri) == ("test.csv" if model == "-" else model)


# GitHub.


def unescaped(line: str) -> tuple[str, str, str]:
    """Kind, title and message of a workflow command, as the runner undoes it."""
    found = re.fullmatch(r"::(\w+) title=([^:,]*)::(.*)", line)
    assert found is not None

    def undo(value: str, codes: dict[str, str]) -> str:
        for code, character in codes.items():
            value = value.replace(code, character)
        return value.replace("%25", "%")

    data = {"%0D": "\r", "%0A": "\n"}
    return found[1], undo(found[2], {**data, "%3A": ":", "%2C": ","}), undo(found[3], data)


def test_a_workflow_command_comes_out_as_it_went_in() -> None:
    for said in ("50 % : done, a::b", "two\nlines\r\n", "%0A %25 %2C"):
        assert unescaped(github.command("warning", said, title=said)) == ("warning", said, said)


def test_annotations_distinguish_violated_from_inconclusive() -> None:
    found = [
        unescaped(line)
        for line in github.commands(gate_document(replace(MIXED, warnings=("mind it",))))
    ]
    assert [(kind, title) for kind, title, _ in found] == [
        ("error", "fairfix gate: violated"),
        ("error", "fairfix gate: inconclusive, not a finding of bias"),
        ("warning", "fairfix gate: violated, warning only"),
        ("error", "fairfix gate: too few rows, not a finding of bias"),
        ("warning", "fairfix gate"),
    ]
    assert found[0][2] == check_sentence(
        gate_document(MIXED), gate_document(gate(FAILED))["checks"][0]
    )
    assert found[-1][2] == "mind it"


def test_the_summary_of_the_step() -> None:
    text = github.summary(gate_document(replace(MIXED, warnings=("a|b",))))
    assert text.startswith("## fairfix gate: violated\n\nFailed: 1 of 4 demands is violated.\n")
    assert "| demand | by | value | interval | verdict | rows needed | severity |\n| --- |" in text
    assert "| gap of spd \\< 0.05 | sex | 0.100 | 0.070 to 0.130 | certified | - | error |" in text
    assert "- power: these rows (f: 300, m: 500) cannot certify" in text
    assert "- warning: a\\|b" in text
    assert text.endswith("\n")


# Model card.


def report(**changes: Any) -> dict[str, Any]:
    def state(gap: float, performance: float | None) -> dict[str, Any]:
        return {
            "rows": 800,
            "gaps": {"spd": {"value": gap, "low": gap - 0.02, "high": gap + 0.02}},
            "performance": {
                "balanced_accuracy": {"value": performance, "low": performance, "high": performance}
            },
        }

    whole = {
        "objective": {
            "metric": "spd",
            "metric_title": "statistical parity difference",
            "budget": 0.05,
            "performance": "balanced_accuracy",
        },
        "method": {"name": "prune", "group_use_sentence": "group-blind: no input determines it"},
        "model": {"file": "net.safetensors"},
        "data": {
            "table": "val.csv",
            "test_table": "test: 1.csv",
            "group": "sex|x",
            "groups": ["f", "m"],
        },
        "rule": {"needs_group": False},
        "results": {"test": {"unmodified": state(-0.2, 0.8), "debiased": state(0.01, 0.75)}},
        "evidence": {
            "claims": [
                {
                    "title": "statistical parity difference",
                    "budget": 0.05,
                    "verdict": "certified",
                    "reason": "the interval lies within",
                }
            ]
        },
        "warnings": ["mind <this>"],
    }
    return {**whole, **changes}


def metadata(card: str) -> dict[str, Any]:
    _, front, _ = card.split("---\n", 2)
    loaded: dict[str, Any] = yaml.safe_load(front)
    return loaded


def test_an_empty_card_is_filled() -> None:
    card = model_card.update("", report())
    (entry,) = metadata(card)["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == "net.safetensors"
    assert result["dataset"] == {"type": "test: 1.csv", "name": "test: 1.csv"}
    assert [(m["type"], m["value"]) for m in result["metrics"]] == [
        ("statistical_parity_difference", 0.01),
        ("balanced_accuracy", 0.75),
    ]
    assert "| statistical parity difference | -0.200 | 0.010 | -0.010 to 0.030 |" in card
    assert "within 0.05: **certified** (the interval lies within)." in card
    assert "sex\\|x" in card
    assert "- mind \\<this\\>" in card


def test_the_rest_of_a_card_stays_and_the_section_is_replaced() -> None:
    card = "---\nlicense: mit\ntags:\n- x\n---\n# Net\n\nWords.\n"
    once = model_card.update(card, report())
    assert metadata(once)["license"] == "mit"
    assert "# Net\n\nWords.\n" in once
    assert model_card.update(once, report()) == once
    after = once.replace("Words.\n", "Words.\n\n").rstrip("\n") + "\n\n## Later\n"
    other = report(method={"name": "gda", "group_use_sentence": "group-blind"})
    twice = model_card.update(after, other)
    assert twice.count(model_card.BEGIN) == twice.count("model-index") == 1
    assert "fairfix prune" not in twice
    assert "fairfix gda" in twice
    assert twice.endswith("\n\n## Later\n")


def test_metadata_from_another_source_is_kept() -> None:
    card = "---\nmodel-index:\n- name: mine\n---\nText\n"
    once = model_card.update(card, report())
    assert metadata(once) == {"model-index": [{"name": "mine"}]}
    assert "## Fairness" in once


def test_an_undefined_figure_is_no_metadata() -> None:
    changed = report()
    for state in changed["results"]["test"].values():
        state["gaps"]["spd"] = {"value": None, "low": None, "high": None}
    card = model_card.update("", changed)
    (entry,) = metadata(card)["model-index"]
    assert [m["name"] for m in entry["results"][0]["metrics"]] == ["balanced accuracy"]
    assert "| statistical parity difference | undefined | undefined |" in card
