"""Apply a checkpoint and its rule to rows with or without labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairfix.data.memory_table import TableSource
from fairfix.data.spec import Spec
from fairfix.data.spreadsheet import csv_cell, csv_cells
from fairfix.data.table import Columns, Table, equal_values, read_table
from fairfix.data.table.groups import merged_reference
from fairfix.data.table.open_table import open_table
from fairfix.data.table_source import Data, table_source
from fairfix.errors import CheckpointError, UsageError
from fairfix.models.checkpoint import Checkpoint
from fairfix.models.run_network import checked_scores, make_scorer
from fairfix.models.scorer import Scorer
from fairfix.thresholds.label_rules import rule_of_label
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.rule_file import FoundRule
from fairfix.workflows.case import (
    check_options,
    check_score_source,
    check_scores,
)
from fairfix.workflows.classifier import Classifier, scored_by
from fairfix.workflows.given_values import check_given
from fairfix.workflows.input_width import check_width, match_rows
from fairfix.workflows.model_options import Model, ModelOptions
from fairfix.workflows.named_columns import name_features, network_inputs, resolve_columns
from fairfix.workflows.open_case import open_model, rule_notes
from fairfix.workflows.output_reading import (
    batch_notes,
    check_output_label,
    classes_read,
    output_notes,
    read_as,
    read_output_label,
    reading_of,
)

_CHUNK_ROWS = 1_000_000


@dataclass(frozen=True)
class Predictions:
    """Scores (N,) float64 and decisions (N,) bool in table order.

    Comparing the scores with the rule's thresholds in double precision gives the decisions. With
    a score model in the rule, these are its scores.

    Attributes:
        ids: (N,) row ids, from ``id_column``; both None without ids.
        notes: what was inferred, for the user.
        label_values: the label values of a negative and of a positive decision; None if the rule
            does not know exactly two.
        probabilities: (N,) float64, calibrated probabilities of a score model; None without one.
    """

    ids: np.ndarray | None
    id_column: str | None
    scores: np.ndarray
    decisions: np.ndarray
    notes: tuple[str, ...]
    label_values: tuple[str, str] | None = None
    probabilities: np.ndarray | None = None

    def csv(self, id_column: str | None = None, label_values: tuple[str, str] | None = None) -> str:
        """Return CSV text: the id column, if any, ``score``, ``probability`` if any, ``decision``.

        Args:
            id_column: another name for the id column.
            label_values: how negative and positive decisions are written; by default 0 and 1.
        """
        named = [] if self.ids is None else [csv_cell(str(id_column or self.id_column))]
        numbers = ["score"] if self.probabilities is None else ["score", "probability"]
        header = ",".join([*named, *numbers, "decision"])
        words = decision_words(label_values)
        columns = [x for x in (self.scores, self.probabilities) if x is not None]
        columns.append(words[self.decisions.astype(np.int8)])
        return "".join([header, "\n", *csv_lines(self.ids, columns)])


def decision_words(label_values: tuple[str, str] | None) -> np.ndarray:
    """Return the CSV cells of a negative and of a positive decision; 0 and 1 without values."""
    return np.array([csv_cell(word) for word in label_values or ("0", "1")], dtype=object)


def csv_lines(ids: np.ndarray | None, columns: Sequence[np.ndarray]) -> Iterator[str]:
    """Yield the lines of a CSV text, many at once.

    Args:
        ids: (N,) of the first column; None for none.
        columns: (N,) each, numbers or cells that are guarded already.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for start in range(0, len(columns[0]), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        cells = [pc.cast(pa.array(column[rows]), pa.string()) for column in columns]
        if ids is not None:
            cells.insert(0, pa.array(csv_cells(ids[rows]), pa.string()))
        lines = pc.binary_join_element_wise(*cells, ",")
        (text,) = pc.binary_join(pa.ListArray.from_arrays([0, len(lines)], lines), "\n").to_pylist()
        yield f"{text}\n"


def predict(
    model: Model | Classifier | None,
    data: Data,
    *,
    given: Mapping[str, Any] | None = None,
    options: ModelOptions | None = None,
    rule: DecisionRule | str | Path | None = None,
) -> Predictions:
    """Score and decide every row of a table by the rule that belongs to the model.

    Labels are not needed, and the group column only if the rule has group thresholds.

    Args:
        model: a checkpoint or a network, or None (or "-") where a column of scores is named.
        given: fields of ``Columns`` that the user set; the rule's contract has the others.
        rule: a rule or its file; by default the one in the checkpoint or beside it, else the score
            must exceed 0.5.

    Raises:
        FairfixError: as ``load``.
    """
    given, options = given or {}, options or ModelOptions()
    check_options(options)
    rule = Path(rule) if isinstance(rule, str) else rule
    scored, model, given = scored_by(model, given)
    options = options.completed(model, rule)
    rule = rule_of_label(model, rule, given.get("label"))
    checkpoint, found = open_model(model, options, rule)
    check_given(given, options, found, measures=False)
    columns = resolve_columns(given, found.rule)
    source = table_source(data, columns)
    if scored is not None:
        source = scored.table(source, columns)
    return predict_rows(checkpoint, found, source, given, options)


def predict_rows(
    checkpoint: Checkpoint | None,
    found: FoundRule,
    data: Data,
    given: Mapping[str, Any],
    options: ModelOptions,
    spec: Spec | None = None,
) -> Predictions:
    """Score and decide every row of a table by a rule that was found. See ``predict``.

    Args:
        spec: the data spec; None finds it as ``network_inputs`` does.
    """
    columns = resolve_columns(given, found.rule)
    if checkpoint is not None and given.get("score") is None:
        columns = replace(columns, score=None)
    check_score_source(checkpoint, columns, options)
    decision = found.rule or DecisionRule(threshold=0.5)
    options = read_as(options, found, columns)
    source = table_source(data, columns)
    columns = _needed(columns, given, decision, source)
    if spec is None:
        columns, spec = network_inputs(checkpoint, columns, source, options, found.contract)
    notes: tuple[str, ...] = ()
    if checkpoint is not None:
        columns, notes = name_features(columns, source, spec, found.contract, checkpoint)
    read = partial(
        read_table,
        source,
        replace(columns, privileged=None, reference=None),  # no gap is measured here
        spec=spec,
        input_options=options.files,
        require_labels=False,
        require_groups=decision.needs_group,
        read_labels=found.rule is None,
        read_groups=decision.needs_group,
        group_names=_merged_groups(found),
    )
    table = read()
    _check_matched(table)
    try:
        if checkpoint is not None:
            checkpoint = match_rows(checkpoint, table, options, read)
        scores, scorer, score_notes = _scores(checkpoint, table, options, found.rule)
    except CheckpointError:
        if checkpoint is not None:
            check_width(checkpoint, table, read)
        raise
    group = next((g for g in table.groups if g.column == decision.group_column), None)
    ids = None if group is None else torch.from_numpy(group.ids).to(scores.device)
    inputs = None if table.inputs is None else table.inputs.to(scores.device)
    modeled = decision.model(scores, inputs, scorer)
    decisions = decision.decide_modeled(
        modeled.score, ids, group.names if group else (), table.ids, table.inputs
    )
    return Predictions(
        ids=table.ids,
        id_column=columns.id,
        scores=_in_double_precision(modeled.score, decision),
        decisions=decisions.cpu().numpy(),
        notes=(*notes, *table.notes, *score_notes, *rule_notes(found)),
        label_values=_two_label_values(found),
        probabilities=None
        if decision.score_model is None
        else modeled.probability.cpu().numpy().astype(float),
    )


def _check_matched(table: Table) -> None:
    """Raise UsageError if rows were left out and the others have no ids to find them by."""
    if table.file_rows is not None and table.ids is None:
        raise UsageError(
            f"Rows of {table.name} are left out, so that decisions belong to rows by id "
            "alone. Name the id column with --id, or correct the rows."
        )


def _two_label_values(found: FoundRule) -> tuple[str, str] | None:
    """Return the unfavorable and the favorable label value of a rule that knows exactly two."""
    if found.rule is None or found.contract is None:
        return None
    favorable = found.rule.positive_label
    others = [each for each in found.contract.label_values if not equal_values(each, favorable)]
    return (others[0], favorable) if len(others) == 1 else None


def _in_double_precision(scores: Tensor, rule: DecisionRule) -> np.ndarray:
    """Return scores (N,) as float64 that decide as the scores themselves do.

    A float32 score becomes the shortest decimal number that rounds to it. If a threshold rounds to
    it as well, and that number is above the threshold, the score becomes the threshold.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    stored = scores.cpu().numpy()
    if stored.dtype == np.float64:
        return stored
    shortest: np.ndarray = pc.cast(pc.cast(pa.array(stored), pa.string()), pa.float64()).to_numpy()
    steps = rule.policy(rule.group_names).steps
    for threshold in sorted({each for pairs in steps for each, _ in pairs}, reverse=True):
        at = stored == np.float32(threshold)
        shortest = np.where(at, np.minimum(shortest, threshold), shortest)
    return shortest


def _merged_groups(found: FoundRule) -> dict[str, tuple[str, ...]]:
    """Return the group names of columns whose groups are one value and all others."""
    groups = {} if found.contract is None else found.contract.group_values
    return {column: names for column, names in groups.items() if merged_reference(names)}


def _needed(
    columns: Columns, given: Mapping[str, Any], rule: DecisionRule, table: TableSource
) -> Columns:
    """Return the columns with those that the rule needs, without roles that nothing here needs.

    Columns of ids, weights and clusters that only the contract names may be missing.
    """
    groups = columns.groups
    if rule.group_column is not None and rule.group_column not in groups:
        named = groups if given.get("groups") is not None else ()
        groups = (*named, rule.group_column)
    header = open_table(table).header
    id_column = columns.id or rule.id_column
    drawn = rule.randomized and rule.id_column is not None
    if not (drawn or given.get("id") is not None or id_column in header):
        id_column = None
    weight, cluster = (
        name if given.get(role) is not None or name in header else None
        for role, name in (("weight", columns.weight), ("cluster", columns.cluster))
    )
    return replace(columns, groups=groups, id=id_column, weight=weight, cluster=cluster)


def _scores(
    checkpoint: Checkpoint | None,
    table: Table,
    options: ModelOptions,
    rule: DecisionRule | None,
) -> tuple[Tensor, Scorer | None, tuple[str, ...]]:
    """Return scores (N,), the network and notes; the rule decides how the output is read."""
    if checkpoint is None:
        assert table.scores is not None
        return torch.from_numpy(table.scores), None, ()
    assert table.inputs is not None
    inputs = table.inputs.to(options.torch_device())
    if rule is not None:
        label = rule.output_label
        complement: bool | None = rule.positive_label != label
        reading = reading_of(options, rule)
    else:
        label, complement = read_output_label(table, options.output_label)
        reading = reading_of(options, classes=classes_read(checkpoint, table, options))
    scorer = make_scorer(
        checkpoint,
        inputs,
        reading,
        complement=bool(complement),
        batch_size=options.batch_size,
    )
    check_output_label(scorer, table, label, complement)
    scores = checked_scores(scorer, inputs)
    check_scores(scores, table)
    notes = () if rule is not None else output_notes(table, options, scorer, label)
    return scores, scorer, (*checkpoint.notes, *notes, *batch_notes(scorer))
