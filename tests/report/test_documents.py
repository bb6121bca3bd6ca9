"""The report: its schema, its documentation, and its text for people."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from typing import Any

import jsonschema
import pytest

import fairfix as library
from fairfix._utils.strict_json import StrictModel, validate
from fairfix._utils.text import plain_number
from fairfix.errors import UsageError
from fairfix.metrics.fairness_metrics import METRICS, rates, title
from fairfix.metrics.performance import PERFORMANCES
from fairfix.report.markdown import markdown, text, verdict
from fairfix.report.schema.audit import Audit
from fairfix.report.schema.report import Report
from fairfix.thresholds.rule import DecisionRule
from fairfix.workflows.debias import Outcome
from fairfix.workflows.documents import SCHEMA_VERSION, audit_document, report_document
from tests.helpers.paths import ROOT
from tests.helpers.runs import Draw, Place

DOCS = ROOT / "docs" / "report.md"
Schema = dict[str, Any]


@pytest.fixture
def outcome(place: Place) -> Outcome:
    case = library.load(place.model, place.val)
    made: Outcome = library.debias(case, "prune", budget=0.1, test=place.test)
    return made


# The schema.


def described(node: Schema, before: str = "") -> Iterator[tuple[str, Schema]]:
    """Every field of an object by its path, those of objects inside it included."""
    for name, field in node.get("properties", {}).items():
        yield f"{before}{name}", field
        yield from described(field, f"{before}{name}.")


def valid(report: Schema, schema: Schema, model: type[StrictModel]) -> bool:
    """Whether a document is valid; JSON Schema and model must agree."""
    try:
        validate(model, report, "document")
        by_model = True
    except UsageError:
        by_model = False
    assert jsonschema.Draft202012Validator(schema).is_valid(report) == by_model
    return by_model


def definitions(schema: Schema) -> dict[str, Schema]:
    """Every object that has fields, by name."""
    objects = {name: node for name, node in schema["$defs"].items() if "properties" in node}
    return {"report": schema, **objects}


def test_the_schema_is_valid_and_has_its_version(schema: Schema) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema_version"]["const"] == SCHEMA_VERSION
    assert schema["$id"] == f"urn:fairfix:report:{SCHEMA_VERSION}"


def test_every_field_is_described_and_no_other_allowed(schema: Schema) -> None:
    for name, node in definitions(schema).items():
        assert node["additionalProperties"] is False, name
        assert node["description"].endswith("."), name
        optional = {
            "threshold",
            "thresholds",
            "lottery",
            "salt",
            "id_column",
            "score_model",
            "classes",
            "targets",
        }
        assert set(node["required"]) | (optional if name == "rule" else set()) == set(
            node["properties"]
        )
        for path, field in described(node):
            assert field.get("description", "").endswith("."), f"{name}: {path}"


def test_a_report_holds_every_metric_and_rate(outcome: Outcome) -> None:
    after = report_document(outcome)["results"]["test"]["debiased"]
    assert list(after["gaps"]) == [*METRICS, "aucd"]
    assert all(list(group["rates"]) == list(rates()) for group in after["groups"])


def test_the_package_carries_the_schema() -> None:
    assert (resources.files("fairfix.report") / "schema.json").is_file()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("results", "test", "debiased", "met"), None),
        (("results", "test", "debiased", "groups", 0, "tp"), -1),
        (("results", "validation", "retuned", "gaps", "spd"), "0.1"),
        (("rule", "threshold"), 2),
        (("objective", "budget"), 0),
        (("surprise",), 1),
    ],
)
def test_the_schema_refuses_what_is_wrong(
    outcome: Outcome, schema: Schema, path: tuple[Any, ...], value: object
) -> None:
    report: Any = json.loads(json.dumps(report_document(outcome)))
    assert valid(report, schema, Report)
    *parents, last = path
    node = report
    for step in parents:
        node = node[step]
    node[last] = value
    assert not valid(report, schema, Report)


# The document.


def test_the_document_records_inputs_and_results(outcome: Outcome, place: Place) -> None:
    report = report_document(outcome, "fairfix prune")
    assert report["made_by"]["command"] == "fairfix prune"
    data = report["data"]
    assert (data["table"], data["test_table"]) == ("val.csv", "test.csv")
    assert data["table_sha256"] != data["test_table_sha256"]
    assert (data["validation_rows"], data["test_rows"]) == (1200, 800)
    assert (data["groups"], data["privileged"]) == (["0", "1"], "1")
    assert report["model"]["weights_sha256_after"] == report["rule"]["weights_sha256"]
    steps = report["method"]["trajectory"]
    assert [step["step"] for step in steps] == list(range(len(steps)))
    assert steps[report["method"]["chosen_step"]]["utility"] == max(s["utility"] for s in steps)
    for rows in ("test", "validation"):
        for evaluation in report["results"][rows].values():
            counted = sum(g[c] for g in evaluation["groups"] for c in ("tp", "fp", "fn", "tn"))
            assert counted == evaluation["rows"] == data[f"{rows}_rows"]
            gap = evaluation["gaps"]["spd"]
            within = abs(gap["value"]) < 0.1
            assert evaluation["met"] == within
            assert (gap["low"] is None) == (rows == "validation")
            accuracy = evaluation["performance"]["balanced_accuracy"]["value"]
            assert evaluation["objective"] == (accuracy if within else 0)


def test_undefined_is_null_and_valid(
    place: Place, draw: Draw, outcome: Outcome, schema: Schema
) -> None:
    rows = draw(400, 4)
    table = place.table(rows.assign(label=rows["label"].where(rows["group"] == 1, 0)))
    case = library.load(place.model, table)
    report = report_document(library.debias(case, "identity"))
    assert valid(report, schema, Report)
    debiased = report["results"]["test"]["debiased"]
    nothing = dict.fromkeys(("value", "low", "high"))
    assert debiased["gaps"]["eod"] == nothing
    assert debiased["groups"][0]["rates"]["tpr"] == {**nothing, "n": 0}
    assert "NaN" not in json.dumps(report, allow_nan=False)
    assert "| eod | undefined | undefined | undefined |" in markdown(report)


def test_an_audit_is_valid_too(place: Place, schema: Schema) -> None:
    case = library.load(place.model, place.val)
    rule = DecisionRule(threshold=0.4, output="logit")
    found = json.loads(json.dumps(audit_document(case, rule, library.audit(case, rule))))
    audit = {"$ref": "#/$defs/audit", "$defs": schema["$defs"]}
    assert valid(found, audit, Audit)
    assert not valid({**found, "surprise": 1}, audit, Audit)


# The text.


def test_a_trivial_rule_is_named_in_the_verdict(outcome: Outcome) -> None:
    report = report_document(outcome)
    assert verdict(report).startswith("Certified. On 800 test rows")
    report["results"]["test"]["debiased"]["trivial"] = True
    assert verdict(report).startswith("Certified, by a trivial rule. On 800 test rows")
    assert "decides nearly all rows alike" in verdict(report)
    report["evidence"]["claims"][0]["verdict"] = "inconclusive"
    assert verdict(report).startswith("Inconclusive. On 800 test rows")


def test_the_rows_needed_are_stated(outcome: Outcome) -> None:
    report = report_document(outcome)
    assert "needs about" not in verdict(report)
    report["evidence"]["claims"][0] |= {
        "verdict": "inconclusive",
        "rows_needed": {"0": 1234, "1": 5},
    }
    here = [group["rows"] for group in report["results"]["test"]["debiased"]["groups"]]
    said = f"certification needs about 1,234 of 0 (here {here[0]:,}), 5 of 1 (here {here[1]:,})."
    assert said in verdict(report)


def test_warnings_come_first(outcome: Outcome) -> None:
    quiet = report_document(outcome) | {"warnings": []}
    assert "## Warnings" not in markdown(quiet)
    page = markdown(report_document(replace(outcome, warnings=("group 'a|b' is small",))))
    assert "## Warnings\n\n- group 'a\\|b' is small\n" in page
    assert page.index("## Warnings") < page.index("## Before and after")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("[click](http://x)", r"\[click\](http://x)"),
        ("a|b", r"a\|b"),
        ("<script>", r"\<script\>"),
        ("`x`", r"\`x\`"),
        ("*x* _y_ ~z~ &amp;", r"\*x\* \_y\_ \~z\~ \&amp;"),
        ("back\\slash", r"back\\slash"),
        ("two\nlines\r\n# three", "two lines # three"),
    ],
)
def test_strings_from_files_are_taken_literally(written: str, shown: str) -> None:
    assert text(written) == shown


def test_every_table_of_the_page_keeps_its_columns(outcome: Outcome) -> None:
    report = report_document(outcome, "fairfix prune `model`.pt")
    for evaluation in report["results"]["test"].values():
        evaluation["groups"][0]["name"] = "a|b\n| c"
    page = markdown(report)
    widths = {}
    for block in page.split("\n\n"):
        if block.startswith("|"):
            lines = [line.replace(r"\|", "") for line in block.splitlines()]
            widths[lines[0]] = {line.count("|") for line in lines}
    assert len(widths) == 3
    assert [header for header, counts in widths.items() if len(counts) > 1] == []
    assert "command: `` fairfix prune `model`.pt ``" in page


@pytest.mark.parametrize(
    ("decision", "sentence"),
    [
        ({"threshold": 0.25}, "(label = 1) where score > 0.25, with score = probability of 1"),
        (
            {"thresholds": {"a*": 0.25, "b": -1.0}},
            r"where a\*: score > 0.25, b: score > -1.0, with",
        ),
        (
            {"lottery": {"a": [[0.5, 1.0], [0.25, 0.125]], "b": [[0.5, 1.0]]}},
            "at random, with this probability: "
            "for a, 1.0 if score > 0.5, else 0.125 if score > 0.25; for",
        ),
    ],
)
def test_the_rule_in_words(outcome: Outcome, decision: dict[str, Any], sentence: str) -> None:
    report = report_document(outcome)
    report["rule"].pop("threshold")
    report["rule"].update(decision)
    assert sentence in markdown(report)


def test_numbers() -> None:
    shown = [plain_number(value) for value in (0.12345, -0.5, 1.0, None, math.nan)]
    assert shown == ["0.123", "-0.500", "1.000", "undefined", "undefined"]


# The documentation.


def documented(schema: Schema) -> str:
    """The fields of every object as Markdown, from the schema."""
    sections = []
    for name, node in definitions(schema).items():
        rows = [f"| `{path}` | {field['description']} |" for path, field in described(node)]
        head = f"### {name}\n\n{node.get('description', '')}".rstrip()
        sections.append("\n".join([f"{head}\n", "| field | meaning |", "| --- | --- |", *rows]))
    return "\n\n".join(sections)


def documented_keys() -> str:
    """The built-in metrics, measures and rates as Markdown, from their registries."""
    kinds = {
        "metric": {key: metric.title for key, metric in METRICS.items()} | {"aucd": title("aucd")},
        "measure": {key: measure.title for key, measure in PERFORMANCES.items()}
        | {"auc": title("auc")},
        "rate": {key: rate.title for key, rate in rates().items()},
    }
    rows = [
        f"| {kind} | `{key}` | {name} |"
        for kind, titles in kinds.items()
        for key, name in titles.items()
    ]
    return "\n".join(["| kind | key | name |", "| --- | --- | --- |", *rows])


def part(name: str) -> str:
    """What the documentation has between two marks."""
    _, _, rest = DOCS.read_text(encoding="utf-8").partition(f"<!-- {name}:begin -->\n\n")
    return rest.partition(f"\n\n<!-- {name}:end -->")[0]


def test_the_documentation_lists_every_field(schema: Schema) -> None:
    assert part("fields") == documented(schema)


def test_the_documentation_lists_every_key() -> None:
    assert part("keys") == documented_keys()
