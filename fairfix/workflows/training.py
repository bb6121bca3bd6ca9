"""A second table of training rows: read it, check it, and say in the report what it was for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from fairfix.data.known_rows import KnownRows
from fairfix.data.memory_table import TableSource
from fairfix.data.table import Columns, read_table
from fairfix.data.table.open_table import open_table
from fairfix.data.table_source import Data, table_source
from fairfix.data.training_rows import TrainingRows
from fairfix.errors import UsageError
from fairfix.methods import Method, builtin_names, describe
from fairfix.models.run_network import checked_scores
from fairfix.models.threads import limited_threads
from fairfix.workflows.case import Case, check_scores
from fairfix.workflows.named_columns import by_name
from fairfix.workflows.reweighted import reweighting_document

if TYPE_CHECKING:
    from fairfix.workflows.outcome import Outcome


def with_training(case: Case, data: Data) -> Case:
    """Return the case with a table of training rows, which is read as its own table is.

    The table may lack the group column, and the columns of ids and clusters.

    Args:
        data: the table, as a path or in memory.

    Raises:
        TableError: if it lacks another column, or holds values that the case's table does not.
        UsageError: if the case has no model, or it is the case's own table.
    """
    source, problem = table_source(data, case.columns), case.problem
    scorer = problem.scorer
    if scorer is None or problem.inputs is None:
        raise UsageError("Training rows need a model to learn; leave out --train, or give a model.")
    columns = _known_columns(case.columns, source)
    notes: tuple[str, ...] = ()
    if case.spec is None:
        columns, notes = by_name(columns, case.table.feature_names, source)
    table = read_table(
        source,
        columns,
        spec=case.spec,
        input_options=case.options.files,
        require_groups=bool(columns.groups),
        label_values=case.table.label_values,
        group_names=case.table.group_names,
    )
    if table.sha256 == case.table.sha256:
        raise UsageError(f"{_refused(table.name, case)}; give a table of other rows.")
    device = problem.inputs.device
    inputs = None if table.inputs is None else table.inputs.to(device)
    assert inputs is not None
    assert table.labels is not None
    with limited_threads(case.threads):
        scores = checked_scores(scorer, inputs)
    check_scores(scores, table)
    column = case.columns.groups[0]
    groups = next((group.ids for group in table.groups if group.column == column), None)
    rows = TrainingRows(
        inputs=inputs,
        scores=scores,
        labels=torch.from_numpy(table.labels).to(device),
        groups=None if groups is None else torch.from_numpy(groups).to(device),
        weights=None if table.weights is None else torch.from_numpy(table.weights).to(device),
        ids=table.ids,
    )
    if groups is None:
        notes = (*notes, f"{table.name} has no column {column!r}: training rows without groups")
    notes = tuple(f"{table.name}: {note}" for note in (*table.notes, *notes))
    return replace(
        case,
        problem=replace(problem, training=rows),
        training=table,
        notes=(*case.notes, *notes),
    )


def _known_columns(columns: Columns, source: TableSource) -> Columns:
    """Return the roles of columns without those that training rows may lack."""
    header = open_table(source).header
    groups = tuple(name for name in columns.groups if name in header)
    return replace(
        columns,
        groups=groups,
        privileged=columns.privileged if groups else None,
        reference=columns.reference if groups else None,
        id=columns.id if columns.id is not None and columns.id in header else None,
        cluster=None,
    )


def check_training(method: Method, *, given: bool) -> None:
    """Raise ``UsageError`` unless the method takes training rows that are given, or needs none."""
    if given and method.training_use is None:
        others = [name for name in builtin_names() if describe(name).training_use is not None]
        raise UsageError(
            f"{method.name} does not learn from training rows; remove --train, or choose "
            f"{', '.join(others[:-1])} or {others[-1]}."
        )
    if method.needs_training and not given:
        raise UsageError(
            f"{method.name} learns from training rows; add their table with --train FILE."
        )


def check_apart(case: Case, test: Case | None) -> None:
    """Check that the training rows are neither those to choose on nor those to test on.

    Raises:
        UsageError: if more rows of a table equal training rows than chance explains.
    """
    rows = case.problem.training
    if rows is None or case.training is None:
        return
    known = KnownRows.of(rows, case.training.sha256)
    for other in (case, test):
        if other is None:
            continue
        found = [each for each in known.overlaps(other.problem) if each.too_many]
        if found or other.table.sha256 == case.training.sha256:
            shares = f" ({found[0].share_of_rows:.1%} of its rows)" if found else ""
            raise UsageError(
                f"{_refused(case.training.name, other)}{shares}; learn from rows that are neither "
                "chosen on nor tested on, or leave out --train."
            )


def _refused(name: str, other: Case) -> str:
    return f"{name}, the table of training rows, holds the rows of {other.table.name}"


def training_document(outcome: Outcome) -> dict[str, Any] | None:
    """Return the training rows of a run as plain data; None if there were none."""
    case, known = outcome.case, outcome.evidence.learned
    if case.training is None or known is None or case.problem.training is None:
        return None
    return {
        "table": case.training.name,
        "table_sha256": case.training.sha256,
        "rows": len(case.problem.training),
        "has_groups": case.problem.training.groups is not None,
        "used_for": outcome.training_use,
        "reweighting": reweighting_document(outcome),
        **known.to_json(),
    }
