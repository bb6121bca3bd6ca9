"""Columns by name: roles and the order of the network's inputs from a contract or from metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from fairfix._utils.text import plural, quoted_list
from fairfix.data.memory_table import MemoryTable, TableSource
from fairfix.data.spec import Spec, comparable, find_spec, load_spec, spec_from_json
from fairfix.data.table import Columns
from fairfix.data.table.columns import is_saved_index
from fairfix.data.table.open_table import open_table
from fairfix.errors import UsageError
from fairfix.models.checkpoint import Checkpoint
from fairfix.models.run_network import takes_one
from fairfix.thresholds.contract import Contract
from fairfix.thresholds.rule import DecisionRule
from fairfix.workflows.model_options import ModelOptions

_NAME_KEYS = ("feature_names", "feature_names_in_")
"""Keys of a checkpoint's metadata under which training programs store the names of the inputs."""


def resolve_columns(given: Mapping[str, Any], rule: DecisionRule | None = None) -> Columns:
    """Return the roles of columns: as given, else as the rule's contract has them, else defaults.

    Args:
        given: fields of ``Columns`` that the user set; None counts as not set.
        rule: the rule that decides, if there is one.

    Raises:
        UsageError: a column has two roles.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    contract = None if rule is None else rule.contract
    if rule is not None and contract is not None:
        chosen = _from_contract(contract, rule) | chosen
    return Columns(
        **{field.name: chosen[field.name] for field in fields(Columns) if field.name in chosen}
    )


def _from_contract(contract: Contract, rule: DecisionRule) -> dict[str, Any]:
    roles = contract.roles
    return {
        "label": roles.label,
        "targets": () if rule.targets is None else rule.targets.names,
        "favorable": rule.positive_label,
        "groups": roles.groups,
        "id": roles.id,
        "weight": roles.weight,
        "score": roles.score,
        "cluster": roles.cluster,
        "missing_group": contract.missing_group,
    }


def name_features(
    columns: Columns,
    table: TableSource,
    spec: Spec | None,
    contract: Contract | None,
    checkpoint: Checkpoint,
) -> tuple[Columns, tuple[str, ...]]:
    """Return the columns with the network's inputs by name, as far as names are known, and notes.

    The names are those of the contract, else of the data spec, else of the checkpoint's metadata.

    Raises:
        UsageError: if the features that were given are not those of the contract.
        TableError: if the table cannot be read.
    """
    if contract is not None and contract.reads_table:
        return _by_contract(columns, table, contract)
    stored = _stored_names(checkpoint) if columns.features is None and spec is None else ()
    if not stored or not set(stored) & set(open_table(table).header.names):
        return columns, ()
    note = f"features are the {len(stored)} whose names {checkpoint.name} has"
    return replace(columns, features=stored), (note,)


def _by_contract(
    columns: Columns, table: TableSource, contract: Contract
) -> tuple[Columns, tuple[str, ...]]:
    if contract.data_spec is not None:
        return columns, _surplus_notes(table, columns, contract.columns)
    names = contract.feature_names
    if columns.features not in (None, names):
        raise UsageError(
            "--features names other features, or another order, than the rule, which reads "
            f"{quoted_list(names)}; leave out --features."
        )
    return by_name(columns, names, table, contract.columns)


def by_name(
    columns: Columns, names: tuple[str, ...], table: TableSource, known: Iterable[str] = ()
) -> tuple[Columns, tuple[str, ...]]:
    """Return the columns with the features by name, and a note on columns that are not read.

    Args:
        names: names of the features in the order of the network's inputs.
        table: what will be read.
        known: further columns that need no note.
    """
    return replace(columns, features=names), _surplus_notes(table, columns, (*names, *known))


def _surplus_notes(table: TableSource, columns: Columns, known: Iterable[str]) -> tuple[str, ...]:
    """Return a note on the columns of a table that are neither known nor have a role."""
    expected = {*known, *columns.ignore, *(name for _, name in columns.roles())}
    header = open_table(table).header
    surplus = [name for name in header.names if name not in expected]
    saved = [name for name in surplus if is_saved_index(name)]
    new = [name for name in surplus if name not in saved]
    notes = [f"column {quoted_list(saved)} is left out as a saved row index"] if saved else []
    if new:
        some = plural(len(new), "column is", "columns are")
        notes.append(f"{some} new and not read: {quoted_list(new)}")
    return tuple(notes)


def unread_notes(source: TableSource, columns: Columns, spec: Spec | None) -> tuple[str, ...]:
    """Return a note on the columns beside arrays in memory that are not inputs of the network."""
    if spec is None or not isinstance(source, MemoryTable) or not source.arrays:
        return ()
    known = {*spec.columns, *columns.ignore, *(name for _, name in columns.roles())}
    unread = [name for name in source.cells.column_names if name not in known]
    if not unread:
        return ()
    some = plural(len(unread), "column is", "columns are")
    return (f"{some} not read, since arrays are the inputs: {quoted_list(unread)}",)


def label_values(columns: Columns, contract: Contract | None) -> tuple[str, ...] | None:
    """Return the label values of the contract; None if they are those of the table."""
    if contract is None or contract.roles.label != columns.label:
        return None
    return contract.label_values or None


def two_groups(columns: Columns, contract: Contract | None) -> dict[str, tuple[str, ...]]:
    """Return the group names of the columns that have two groups in the contract.

    They keep their order, so that gaps keep their sign, unless a privileged group is named.
    """
    if contract is None or contract.missing_group == "keep":
        return {}
    if columns.privileged is not None or columns.reference is not None:
        return {}
    return {column: names for column, names in contract.group_values.items() if len(names) == 2}


def _stored_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the names of the inputs in a checkpoint's metadata; () if there are none."""
    hyperparameters = checkpoint.metadata.get("hyper_parameters")
    places = (checkpoint.metadata, hyperparameters if isinstance(hyperparameters, dict) else {})
    for value in (place[key] for place in places for key in _NAME_KEYS if key in place):
        try:
            names = json.loads(value) if isinstance(value, str) else value
        except ValueError:
            continue
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
    return ()


def network_inputs(
    checkpoint: Checkpoint | None,
    columns: Columns,
    table: TableSource,
    options: ModelOptions,
    contract: Contract | None = None,
) -> tuple[Columns, Spec | None]:
    """Return the data spec, from a file, from options or from the contract, and the other columns.

    Args:
        checkpoint: the model; None for scores, which have no data spec.
        columns: also the features, which are inputs of the data spec where options name others.
        table: whose other columns are the features if none are named, and whose arrays are inputs.
        contract: that of the rule, if there is one.

    Raises:
        UsageError: as ``data_spec``, or if options say what the data spec says.
    """
    given = options.inputs
    arrays = table.arrays if isinstance(table, MemoryTable) else {}
    if checkpoint is None or not (given.options or arrays):
        return columns, data_spec(checkpoint, options.data_spec, contract, trust=options.trust)
    path = checkpoint.path
    beside = None if path is None else find_spec(path, trust=options.trust)
    if not given.options and (options.data_spec is not None or beside is not None):
        return columns, data_spec(checkpoint, options.data_spec, contract, trust=options.trust)
    if options.data_spec is not None or beside is not None:
        raise UsageError(
            f"{given.options[0]} is given beside a data spec, which describes all inputs; leave "
            "out one of them."
        )
    alone = given.shape_alone and not arrays
    others = open_table(table).header.feature_names(columns)[0] if alone else ()
    spec = given.spec(path, table, columns.features, others)
    if len(spec.inputs) > 1 and takes_one(checkpoint.module, spec.inputs):
        spec = replace(spec, call="mapping")
    if contract is not None and contract.reads_table:
        known = contract.data_spec
        described = ", ".join((*given.options, *(f"the array {name!r}" for name in arrays)))
        if known is None or comparable(plain_json(spec.to_json())) != comparable(known):
            raise UsageError(
                f"The rule was made with other inputs than {described} describe; leave these out "
                "to use those of the rule."
            )
    return replace(columns, features=None), spec


def data_spec(
    checkpoint: Checkpoint | None,
    named: str | Path | Mapping[str, Any] | None,
    contract: Contract | None = None,
    *,
    trust: bool = False,
) -> Spec | None:
    """Return the named data spec, the one beside the model, or the contract's own copy.

    Args:
        checkpoint: the model; None for scores, which have no data spec.
        named: the file that the user named, or its content.
        contract: that of the rule, if there is one.
        trust: see ``load_spec``.

    Raises:
        UsageError: if it is not the data spec that the rule was made with.
    """
    if checkpoint is None:
        return None
    path = checkpoint.path
    if named is None:
        found = None if path is None else find_spec(path, trust=trust)
    elif isinstance(named, Mapping):
        found = spec_from_json(plain_json(named), file="data_spec", trust=trust)
    else:
        found = load_spec(Path(named), trust=trust)
    if contract is None or not contract.reads_table:
        return found
    if contract.data_spec is None:
        if named is not None:
            raise UsageError(
                "The rule was made on a table that holds the network's inputs themselves; leave "
                "out --data-spec."
            )
        return None
    if found is None:
        content = contract.data_spec
        folder = Path() if path is None else path if path.is_dir() else path.parent
        return spec_from_json(content, file="data spec of the rule", folder=folder, trust=trust)
    if comparable(plain_json(found.to_json())) != comparable(contract.data_spec):
        raise UsageError(
            "The data spec is not the one that the rule was made with; restore that one, or "
            "remove it to use the copy in the rule."
        )
    return found


def plain_json(value: Any) -> Any:
    """Return a value as JSON has it, with lists for tuples."""
    return json.loads(json.dumps(value))
