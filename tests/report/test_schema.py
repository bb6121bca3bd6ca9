"""The JSON Schema files: generated from the models, current, and not imported by commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fairfix._utils.strict_json import validate
from fairfix.errors import UsageError
from fairfix.metrics.fairness_metrics import METRICS, rates
from fairfix.metrics.performance import PERFORMANCES
from fairfix.report.schema.commands import COMMANDS
from fairfix.report.schema.json_schema import schema_files, write_schema_files
from fairfix.report.schema.shared import Rule
from fairfix.thresholds.rule import DecisionRule

THRESHOLD = DecisionRule(threshold=0.4).to_json()
RANDOMIZED: dict[str, Any] = {
    **{key: value for key, value in THRESHOLD.items() if key != "threshold"},
    "lottery": {"a": [[0.5, 1.0], [0.25, 0.5]], "b": [[0.5, 1.0]]},
    "salt": "s",
    "id_column": None,
}


@pytest.mark.parametrize("name", ["schema.json", "gate.schema.json", "commands.schema.json"])
def test_the_file_in_the_package_is_what_the_models_generate(name: str) -> None:
    text = (resources.files("fairfix.report") / name).read_text(encoding="utf-8")
    assert text == schema_files()[name], "run: python -m fairfix.report.schema"
    jsonschema.Draft202012Validator.check_schema(json.loads(text))


def test_all_files_are_written(tmp_path: Path) -> None:
    write_schema_files(tmp_path)
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == schema_files()


def test_every_reference_has_a_definition_and_every_definition_a_reference() -> None:
    commands = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", each.__name__).lower() for each in COMMANDS}
    whole = {"schema.json": {"audit"}, "commands.schema.json": commands}
    for name, text in schema_files().items():
        definitions = set(json.loads(text)["$defs"])
        references = set(re.findall(r'"#/\$defs/(\w+)"', text))
        assert references <= definitions
        assert definitions - references == whole.get(name, set())


def test_patterns_take_the_keys_of_registered_metrics_and_no_others(schema: dict[str, Any]) -> None:
    measured, group = schema["$defs"]["evaluation"], schema["$defs"]["group"]
    for node, keys in (
        (measured["properties"]["gaps"], {*METRICS, "aucd"}),
        (measured["properties"]["performance"], {*PERFORMANCES, "auc"}),
        (group["properties"]["rates"], set(rates())),
    ):
        (pattern,) = node["patternProperties"]
        assert all(re.search(pattern, key) for key in keys)
        assert not any(re.search(pattern, key) for key in ("", "Spd", "1st", "a b", "é"))
        assert node["additionalProperties"] is False


def valid(rule: dict[str, Any]) -> bool:
    """Whether a rule is valid; the model and its JSON Schema must agree."""
    try:
        validate(Rule, rule, "rule")
        by_model = True
    except UsageError:
        by_model = False
    schema = json_schema_of_rule()
    assert jsonschema.Draft202012Validator(schema).is_valid(rule) == by_model
    return by_model


def json_schema_of_rule() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(schema_files()["schema.json"])
    return {"$ref": "#/$defs/rule", "$defs": schema["$defs"]}


@pytest.mark.parametrize("rule", [THRESHOLD, RANDOMIZED])
def test_a_rule_has_all_keys_that_apply(rule: dict[str, Any]) -> None:
    assert valid(rule)
    for key in rule:
        assert not valid({k: v for k, v in rule.items() if k != key}), key


@pytest.mark.parametrize(
    "extra",
    [
        {"threshold": 2.0},
        {"threshold": None},
        {"thresholds": {"a": 0.5}},
        {"salt": "s"},
        {"needs_group": None},
        {"positive_label": 1},
        {"weights_sha256": "0"},
        {"surprise": 1},
    ],
)
def test_a_rule_has_no_other_keys_and_no_null_where_it_has_a_value(extra: dict[str, Any]) -> None:
    assert not valid({**THRESHOLD, **extra})


def test_commands_do_not_import_the_models() -> None:
    code = (
        "import sys, fairfix.cli.app, fairfix.cli.audit, fairfix.cli.gate, fairfix.cli.method\n"
        "assert not [name for name in sys.modules if name.startswith('fairfix.report.schema')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
