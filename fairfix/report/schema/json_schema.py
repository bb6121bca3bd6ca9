"""Generate the JSON Schema files from the models of the documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from fairfix._utils.strict_json import StrictModel
from fairfix.report.schema.audit import Audit
from fairfix.report.schema.commands import COMMANDS
from fairfix.report.schema.gate import Gate
from fairfix.report.schema.report import Report

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FOLDER = Path(__file__).parent.parent
_REFERENCE = "#/$defs/"


def schema_files() -> dict[str, str]:
    """Return the text of each JSON Schema file by its file name."""
    files = {
        "schema.json": json_schema("report", Report, Audit),
        "gate.schema.json": json_schema("gate", Gate),
        "commands.schema.json": _schema_of_commands(),
    }
    return {
        name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in files.items()
    }


def write_schema_files(folder: Path = FOLDER) -> None:
    """Write the JSON Schema files into ``folder``, by default the package's."""
    for name, text in schema_files().items():
        (folder / name).write_text(text, encoding="utf-8")


def json_schema(name: str, root: type[StrictModel], *others: type[StrictModel]) -> Schema:
    """Return the JSON Schema (draft 2020-12) of a document.

    Args:
        name: name of the document, for the title and the identifier.
        root: model of the document, with a ``schema_version``; its schema is the root.
        others: further models; their schemas are definitions, as are those of all parts.
    """
    names, definitions = _definitions((root, *others))
    whole = definitions[names[0]]
    version = whole["properties"]["schema_version"]["const"]
    return {
        "$schema": DIALECT,
        "$id": f"urn:fairfix:{name}:{version}",
        "title": f"fairfix {name}",
        **whole,
        "$defs": {key: each for key, each in definitions.items() if key != names[0]},
    }


def _schema_of_commands() -> Schema:
    """Return a schema whose definitions are the documents of commands, and their parts."""
    return {
        "$schema": DIALECT,
        "$id": "urn:fairfix:commands:1",
        "title": "fairfix commands",
        "$defs": _definitions(COMMANDS)[1],
    }


def _definitions(roots: Sequence[type[StrictModel]]) -> tuple[list[str], dict[str, Schema]]:
    """Return the names of models, and the definitions of them and their parts by name."""
    models = [(model, "validation") for model in roots]
    _, generated = models_json_schema(models)  # type: ignore[arg-type]
    definitions = {_snake_case(key): _plain(node) for key, node in generated["$defs"].items()}
    for definition in definitions.values():
        for field in definition["properties"].values():
            if "$ref" in field:  # pydantic leaves out a description that equals the model's
                target = definitions[field["$ref"].removeprefix(_REFERENCE)]
                field.setdefault("description", target["description"])
    names = [_snake_case(model.__name__) for model in roots]
    order = dict.fromkeys(each for start in names for each in _reach(start, definitions))
    return names, {key: definitions[key] for key in order}


def _reach(name: str, definitions: dict[str, Schema], seen: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield a definition and those that it refers to, depth first."""
    yield name
    for reference in _references(definitions[name]):
        if reference not in (*seen, name):
            yield from _reach(reference, definitions, (*seen, name))


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].removeprefix(_REFERENCE)
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _references(each)


def _plain(node: Any, inside_properties: bool = False) -> Any:
    """Return a schema without generated titles, with one-line descriptions and renamed references.

    Objects with a pattern of keys refuse all other keys.
    """
    if isinstance(node, list):
        return [_plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    if inside_properties:
        return {key: _plain(value) for key, value in node.items()}
    plain = {key: _plain(value, key == "properties") for key, value in node.items()}
    plain.pop("title", None)
    if "description" in plain:
        plain["description"] = " ".join(plain["description"].partition("\n\n")[0].split())
    if "$ref" in plain:
        plain["$ref"] = _REFERENCE + _snake_case(plain["$ref"].removeprefix(_REFERENCE))
    if "patternProperties" in plain:
        plain["additionalProperties"] = False
    first = {key: plain.pop(key) for key in ("description", "type") if key in plain}
    return {**first, **plain}


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
