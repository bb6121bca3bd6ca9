"""Apply a checkpoint and its rule to rows with or without labels."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fairfix.data.table import Columns, Table, read_table
from fairfix.data.table.cell_values import parse_number
from fairfix.models.checkpoint import Checkpoint
from fairfix.models.scorer import Scorer
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.rule_file import find_rule, read_rule
from fairfix.workflows.case import (
    ModelOptions,
    check_score_source,
    check_scores,
    data_spec,
    input_width,
    output_kind,
    output_notes,
    read_model,
    read_output_label,
)


@dataclass(frozen=True)
class Predictions:
    """Scores (N,) and decisions (N,) bool in table order, with row ids or None."""

    ids: np.ndarray | None
    scores: np.ndarray
    decisions: np.ndarray
    notes: tuple[str, ...]

    def csv(self, id_column: str | None) -> str:
        """Return CSV text: the id column, if any, then ``score`` and ``decision`` (0 or 1)."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        named = [] if self.ids is None else [_inert(str(id_column))]
        writer.writerow([*named, "score", "decision"])
        ids = [()] * len(self.scores) if self.ids is None else [(_inert(i),) for i in self.ids]
        for row_id, score, decision in zip(ids, self.scores, self.decisions, strict=True):
            writer.writerow([*row_id, f"{score:.9g}", int(decision)])
        return text.getvalue()


def _inert(cell: str) -> str:
    """Escape a cell that a spreadsheet would take for a formula; numbers stay as they are."""
    risky = cell[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{cell}" if risky and parse_number(cell) is None else cell


def predict(
    model: str | Path | None,
    data: str | Path,
    *,
    columns: Columns | None = None,
    options: ModelOptions | None = None,
    rule: str | Path | None = None,
) -> Predictions:
    """Score and decide every row of a table by the rule that belongs to the model.

    Labels are not needed, and the group column only if the rule has group thresholds.

    Args:
        model: a checkpoint, or None (or "-") when ``columns.score`` names a column of scores.
        rule: a rule file; by default the one in the checkpoint or beside it, else score > 0.5.

    Raises:
        FairfixError: as ``load``.
    """
    columns, options = columns or Columns(), options or ModelOptions()
    check_score_source(model, columns)
    checkpoint = None if columns.score is not None else read_model(str(model), options)
    if checkpoint is not None:
        found, where = find_rule(checkpoint, None if rule is None else Path(rule))
    else:
        found = None if rule is None else read_rule(Path(rule))
        where = str(rule)
    note = (
        f"decisions by the rule in {where}" if found else "no rule found: decisions by score > 0.5"
    )
    if found is not None:
        columns = _as_ruled(columns, found)
    needs_group = found is not None and found.needs_group
    table = read_table(
        Path(data),
        replace(columns, privileged=None),  # no gap is measured here
        spec=data_spec(checkpoint, options),
        require_labels=False,
        require_groups=needs_group,
        expected_features=None if checkpoint is None else input_width(checkpoint),
    )
    scores, notes = _scores(checkpoint, table, options, found)
    group = next((g for g in table.groups if found and g.column == found.group_column), None)
    ids = None if group is None else torch.from_numpy(group.ids).to(scores.device)
    decisions = (found or DecisionRule(threshold=0.5)).decide(
        scores,
        ids,
        group.names if group else (),
        table.ids,
        None if table.features is None else torch.from_numpy(table.features),
    )
    return Predictions(
        table.ids, scores.cpu().numpy(), decisions.cpu().numpy(), (*table.notes, *notes, note)
    )


def _as_ruled(columns: Columns, rule: DecisionRule) -> Columns:
    """Add the rule's group and id columns where no others are named."""
    groups = columns.groups
    if rule.group_column is not None and rule.group_column not in groups:
        named = () if groups == Columns().groups else groups
        groups = (*named, rule.group_column)
    return replace(columns, groups=groups, id=columns.id or rule.id_column)


def _scores(
    checkpoint: Checkpoint | None,
    table: Table,
    options: ModelOptions,
    rule: DecisionRule | None,
) -> tuple[Tensor, tuple[str, ...]]:
    """Return scores (N,) and notes; the rule decides how the output is read."""
    if checkpoint is None:
        assert table.scores is not None
        return torch.from_numpy(table.scores.astype(np.float32)), ()
    assert checkpoint.module is not None
    assert table.features is not None
    device = options.torch_device()
    features = torch.from_numpy(table.features).to(device)
    network = checkpoint.module.to(device).eval()
    output = output_kind(network, features, options, rule)
    notes = [*checkpoint.notes]
    if rule is not None:
        complement = rule.positive_label != rule.output_label
    else:
        label, complement = read_output_label(table, options.output_label)
        notes += output_notes(table, options, output, label, complement=complement)
    scores = Scorer(network, output, complement=complement).score(features, options.batch_size)
    check_scores(scores, table)
    return scores, tuple(notes)
