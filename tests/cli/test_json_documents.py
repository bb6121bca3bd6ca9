"""The document that each command prints with --json is valid under its JSON Schema."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from fairfix.cli import data as data_command
from fairfix.cli.command_specs import command_specs
from tests.helpers import several_labels
from tests.helpers.runs import Place, Run
from tests.helpers.studies import study_row

QUICK = ("--no-subgroups", "--allow-trivial", "--force")
LABELS = ("--label", ",".join(several_labels.LABELS), "--privileged", "a")
TRUST = ("--trust-checkpoint", "--device", "cpu")
LINES = {
    "schema.json": ["thresholds {model} {val} --test {test} --trust-checkpoint", *QUICK],
    "schema.json#audit": ["audit {model} {test} --trust-checkpoint --no-subgroups"],
    "gate.schema.json": ["gate {model} {test} --trust-checkpoint --budget spd=0.5"],
    "commands.schema.json#doctor": ["doctor"],
    "commands.schema.json#validation": ["validate {rule} {val}"],
    "commands.schema.json#init": ["init {model} {val} --yes --trust-checkpoint --data-spec {spec}"],
    "commands.schema.json#predict": ["predict {model} {val} --trust-checkpoint"],
    "commands.schema.json#inspect": ["inspect {model} --trust-checkpoint"],
    "commands.schema.json#bench": ["bench --rows {rows} -o {folder}/study"],
    "commands.schema.json#data_list": ["data list"],
    "commands.schema.json#data_fetch": ["data fetch compas"],
    "commands.schema.json#data_prepare": ["data prepare compas -o {folder}/compas"],
}
"""A command line by schema and definition."""


def check(document: Any, schema: str) -> None:
    name, _, definition = schema.partition("#")
    whole = json.loads((resources.files("fairfix.report") / name).read_text(encoding="utf-8"))
    part = {"$ref": f"#/$defs/{definition}", "$defs": whole["$defs"]} if definition else whole
    jsonschema.validate(document, part, jsonschema.Draft202012Validator)


@pytest.fixture
def no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was fetched and a split that was prepared, without either."""
    fetched = SimpleNamespace(path=Path("a.csv"), sha256="0" * 64, checked=True)
    split = SimpleNamespace(attribute="sex", group="group", parts={"val": [1], "test": []})
    monkeypatch.setattr(data_command, "fetch", lambda *a, **k: [fetched])
    monkeypatch.setattr(data_command, "prepare_split", lambda *a, **k: split)
    monkeypatch.setattr(data_command, "write_split", lambda *a, **k: [Path("val.csv")])


def test_every_command_has_a_line() -> None:
    run = {line[0].split()[0] for line in LINES.values()}
    assert {name for name, spec in command_specs().items() if spec.module != "method"} <= run


@pytest.mark.usefixtures("no_downloads")
@pytest.mark.parametrize("schema", LINES)
def test_the_document_of_a_command(fairfix: Run, place: Place, schema: str) -> None:
    rows, rule = place.folder / "rows.jsonl", place.folder / "other.rule.json"
    lines = [study_row(name, 0, 0.1, 0.8) for name in ("unmodified", "prune")]
    rows.write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    rule.write_text('{"version": 1, "operator": ">", "output": "logit", "threshold": 0.5}')
    spec = place.folder / "spec.data.json"
    spec.write_text(json.dumps({"features": [{"column": f"x{i}"} for i in range(4)]}))
    names = {
        "model": place.model,
        "spec": spec,
        "val": place.val,
        "test": place.test,
        "rows": rows,
        "rule": rule,
    }
    text, *more = LINES[schema]
    words = [each.format(**names, folder=place.folder) for each in text.split()]
    ended = fairfix(*words, *more, "--json")
    assert ended.out, ended.err
    check(json.loads(ended.out), schema)


def test_the_document_of_a_network_on_rows(fairfix: Run, place: Place) -> None:
    ended = fairfix("inspect", place.model, place.val, "--trust-checkpoint", "--json")
    document = json.loads(ended.out)
    assert document["on_rows"]["rows"] > 0
    check(document, "commands.schema.json#inspect")


def test_the_documents_of_several_labels(fairfix: Run, tmp_path: Path) -> None:
    several_labels.write(tmp_path)
    model, rows = tmp_path / "model.pt", tmp_path / "rows.csv"
    ended = fairfix("identity", model, rows, *LABELS, *TRUST, *QUICK, "--json")
    document = json.loads(ended.out)
    check(document, "commands.schema.json#debiased_labels")
    for report in document["reports"].values():
        check(report, "schema.json")
    ended = fairfix("gate", model, rows, *LABELS, *TRUST, "--budget", "spd=0.5", "--json")
    document = json.loads(ended.out)
    check(document, "commands.schema.json#each_label")
    assert len(document["labels"]) == len(several_labels.LABELS)
    for each in document["labels"].values():
        check(each, "gate.schema.json")
