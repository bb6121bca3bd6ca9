"""A model and a table read together, checked, and scored."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.data.spec import Spec
from fairfix.data.table import Columns, Table, read_table
from fairfix.data.table_source import Data, table_source
from fairfix.errors import CheckpointError, TableError, UsageError
from fairfix.models.checkpoint import Checkpoint
from fairfix.models.checkpoint.configuration import CONFIG, TIMM_ARCH, timm_architecture
from fairfix.models.classes import Classes
from fairfix.models.inputs import Inputs
from fairfix.models.run_network import OUTPUT_KINDS, checked_scores, make_scorer
from fairfix.models.scorer import Output, Scorer
from fairfix.models.targets import Targets
from fairfix.models.threads import MAX_THREADS, default_threads, limited_threads
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.rule_file import NO_RULE, FoundRule, arch_hint
from fairfix.workflows.classifier import ScoredBy
from fairfix.workflows.input_width import check_width, match_rows
from fairfix.workflows.model_options import Model, ModelOptions
from fairfix.workflows.named_columns import (
    by_name,
    label_values,
    name_features,
    network_inputs,
    two_groups,
    unread_notes,
)
from fairfix.workflows.output_reading import (
    batch_notes,
    check_output_label,
    classes_read,
    output_notes,
    read_as,
    read_output_label,
    reading_of,
    with_other_classes,
)


@dataclass(frozen=True, repr=False)
class Case:
    """A model (or scores alone) on a labeled, grouped table.

    Attributes:
        checkpoint: None when the table carries the scores.
        output_label: the label value whose probability the network gives.
        notes: what was inferred, for the user.
        spec: the data spec that made the inputs; None if the table holds them already.
        found: the rule whose contract named the columns.
        scored_by: the rule that reads the network's output for the scores; None as options say.
        training: the table of ``problem.training``; None without training rows.
        classifier: what the scores are from, if it is a classifier in memory.
    """

    checkpoint: Checkpoint | None
    table: Table
    columns: Columns
    options: ModelOptions
    problem: Problem
    output_label: str
    notes: tuple[str, ...] = ()
    spec: Spec | None = None
    found: FoundRule = NO_RULE
    scored_by: DecisionRule | None = None
    training: Table | None = None
    classifier: ScoredBy | None = None

    def __repr__(self) -> str:
        model = "scores" if self.checkpoint is None else self.checkpoint.name
        return f"<Case: {model} on {self.table.name}, {self.problem!r}>"

    def in_table_units(self, problem: Problem) -> tuple[Problem, tuple[str, ...]]:
        """Return a problem with features in values and units of the table, and their names."""
        if problem.features is None:
            return problem, ()
        if self.spec is None:
            return problem, self.table.feature_names
        features, names = self.spec.in_table_units(problem.features.cpu().numpy())
        return replace(problem, inputs=Inputs.of(torch.from_numpy(features))), names

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of tables and model, as far as they are not in memory."""
        path = None if self.checkpoint is None else self.checkpoint.path
        learned = () if self.training is None else self.training.files
        return (*self.table.files, *learned, *(() if path is None else (path,)))

    @property
    def threads(self) -> int:
        """CPU threads that torch uses for this network and table."""
        scorer = self.problem.scorer
        network = None if scorer is None else scorer.network
        return self.options.threads or default_threads(network, self.table.rows)

    @property
    def output(self) -> str:
        scorer = self.problem.scorer
        return str(scorer.output) if scorer is not None else str(Output.PROB)

    @property
    def classes(self) -> Classes | None:
        """The classes of a network with more than two outputs; else None."""
        scorer = self.problem.scorer
        return None if scorer is None else scorer.classes

    @property
    def targets(self) -> Targets | None:
        """The labels of a network with one output for each of several; else None."""
        scorer = self.problem.scorer
        return None if scorer is None else scorer.targets

    @property
    def output_name(self) -> str | None:
        """Key or position of the output with the scores; None if the network has one output."""
        scorer = self.problem.scorer
        return scorer.output_name if scorer is not None else None

    @property
    def batch_size(self) -> int | None:
        """Rows in one forward pass; None for scores without a model."""
        scorer = self.problem.scorer
        return scorer.batch_size if scorer is not None else None

    def companion(self, data: Data, *, allow_no_labels: bool = False) -> Case:
        """Read another table for the same model, with the same coding of labels and groups.

        Features are found by their names.

        Args:
            data: the table, as a path or in memory.
            allow_no_labels: lets the table lack the label column.

        Raises:
            TableError: if it lacks a column, or holds values that this case's table does not.
            UsageError: if it is the same table.
        """
        columns: Columns = self.columns
        source = table_source(data, columns)
        if self.classifier is not None:
            source = self.classifier.table(source, columns)
        notes: tuple[str, ...] = ()
        if self.spec is None and self.checkpoint is not None:
            columns, notes = by_name(columns, self.table.feature_names, source)
        table = read_table(
            source,
            columns,
            spec=self.spec,
            input_options=self.options.files,
            label_values=self.table.label_values,
            group_names=self.table.group_names,
            expected_features=None,
            allow_no_labels=allow_no_labels,
        )
        if table.sha256 == self.table.sha256:
            raise UsageError(
                f"{table.name} holds the same rows as {self.table.name}, which the "
                "method is tuned on; give a table of other rows."
            )
        with limited_threads(self.threads):
            problem = problem_of(table, self.problem.scorer, self.options, self.problem.threshold)
            problem = replace(problem, input_blocks=self.problem.input_blocks)
        notes = (*notes, *table.notes)
        return replace(
            self, table=table, problem=problem, notes=notes, scored_by=None, training=None
        )


def load(
    model: Model | Checkpoint | None,
    data: Data,
    *,
    columns: Columns | None = None,
    options: ModelOptions | None = None,
    threshold: float = 0.5,
    found: FoundRule = NO_RULE,
    require_labels: bool = True,
) -> Case:
    """Read a model and a table, run the model on it once, and check that they match.

    Args:
        model: a checkpoint in any format of ``fairfix.models.checkpoint``, one that was read, or a
            network in memory; None (or "-") when ``columns.score`` names a column of scores.
        data: CSV, CSV.gz or Parquet, or rows in memory (``table_source``).
        columns: the roles of the columns.
        options: how to read and run the model.
        threshold: the threshold in use today, in [-1, 1]; positive where score > threshold.
        found: the rule whose contract names the network's inputs.
        require_labels: whether the table must have labels (``read_table``).

    Raises:
        FairfixError: of the kind that fits, with the fact and the remedy.
    """
    columns = columns or Columns()
    options = options or ModelOptions()
    check_options(options, threshold)
    check_score_source(model, columns, options)
    values = label_values(columns, found.contract)
    source = table_source(data, columns)
    read = partial(
        read_table,
        source,
        input_options=options.files,
        label_values=values,
        group_names=two_groups(columns, found.contract),
        allow_no_labels=not require_labels,
    )
    if columns.score is not None:
        table = read(columns)
        problem = problem_of(table, None, options, threshold)
        favorable = table.favorable
        return Case(None, table, columns, options, problem, favorable, table.notes, found=found)
    assert model is not None
    checkpoint = model if isinstance(model, Checkpoint) else read_model(model, options)
    options = read_as(options, found, columns)
    columns, spec = network_inputs(checkpoint, columns, source, options, found.contract)
    columns, named = name_features(columns, source, spec, found.contract, checkpoint)
    if found.contract is None:  # else the columns that it does not know are named
        named = (*named, *unread_notes(source, columns, spec))
    read = partial(read, with_other_classes(columns, checkpoint, options), spec=spec)
    table = read()
    with limited_threads(options.threads or default_threads(checkpoint.module, table.rows)):
        try:
            checkpoint = match_rows(checkpoint, table, options, read)
            scorer, output_label, notes = scorer_of(checkpoint, table, options)
        except CheckpointError:
            check_width(checkpoint, table, read)
            raise
        problem = problem_of(table, scorer, options, threshold)
        problem = replace(problem, input_blocks=() if spec is None else spec.blocks)
    return Case(
        checkpoint,
        table,
        columns,
        options,
        problem,
        output_label,
        (*checkpoint.notes, *named, *table.notes, *notes),
        spec,
        found,
    )


def check_options(options: ModelOptions, threshold: float = 0.5) -> None:
    """Check options before anything is read.

    Raises:
        UsageError: if a value is out of range, or a device is not available.
    """
    if not (math.isfinite(threshold) and -1 <= threshold <= 1):
        raise UsageError(f"The threshold must be in [-1, 1], not {threshold}.")
    if options.output_kind not in ("auto", *OUTPUT_KINDS):
        raise UsageError(f"The output kind must be auto, prob or logit, not {options.output_kind}.")
    if options.batch_size is not None and options.batch_size < 1:
        raise UsageError(f"The batch size must be at least 1, not {options.batch_size}.")
    if options.threads is not None and not 1 <= options.threads <= MAX_THREADS:
        raise UsageError(
            f"The number of threads must be from 1 to {MAX_THREADS}, not {options.threads}."
        )
    options.torch_device()


def check_score_source(
    model: Model | Checkpoint | None, columns: Columns, options: ModelOptions
) -> None:
    """Raise UsageError unless scores come from exactly one of a model and a score column."""
    absent = model is None or (isinstance(model, str | Path) and str(model) == "-")
    if absent != (columns.score is not None):
        raise UsageError(
            "Scores come from a model or from a score column: give a model file, or '-' in its "
            "place with --score COLUMN."
        )
    if absent and options.network_alone:
        raise UsageError(f"{options.network_alone[0]} needs a model; leave it out with --score.")


def read_model(model: Model, options: ModelOptions, rule: Path | None = None) -> Checkpoint:
    """Read a checkpoint with a network that can run.

    Args:
        rule: the rule file that was given; its hint names the architecture in messages.

    Raises:
        CheckpointError: also if it holds weights alone and no architecture is named.
    """
    checkpoint = options.read_model(model)
    if checkpoint.module is None:
        hint = arch_hint(checkpoint, rule)
        if hint is not None:
            raise CheckpointError(
                f"{checkpoint.name} holds weights but no architecture. Its rule was made "
                f"with --arch {hint}; a file never names the code to run, so give --arch again."
            )
        timm = timm_architecture(checkpoint.metadata.get("config"))
        if timm is not None:
            raise CheckpointError(
                f"{checkpoint.name} holds weights but no architecture. By {CONFIG} they are of "
                f"{timm} of timm; build it with --arch {TIMM_ARCH}."
            )
        raise CheckpointError(
            f"{checkpoint.name} holds weights but no architecture. Name it with "
            "--arch file.py:Class or --arch package.module:callable, or --arch mlp:relu (or "
            "another activation) for a plain multilayer perceptron."
        )
    return checkpoint


def scorer_of(
    checkpoint: Checkpoint, table: Table, options: ModelOptions
) -> tuple[Scorer, str, tuple[str, ...]]:
    """Return the network as a function to P(favorable), the output label, and notes.

    Raises:
        CheckpointError: if the network does not run on the table's features.
        UsageError: if the table lacks the output label.
    """
    assert table.inputs is not None
    output_label, complement = read_output_label(table, options.output_label)
    scorer = make_scorer(
        checkpoint,
        table.inputs.to(options.torch_device()),
        reading_of(options, classes=classes_read(checkpoint, table, options)),
        complement=bool(complement),
        batch_size=options.batch_size,
    )
    check_output_label(scorer, table, output_label, complement)
    if scorer.classes is not None:
        output_label = table.favorable
    notes = output_notes(table, options, scorer, output_label)
    return scorer, output_label, (*notes, *batch_notes(scorer))


def problem_of(
    table: Table, scorer: Scorer | None, options: ModelOptions, threshold: float
) -> Problem:
    """Make the problem of a table, scored by the network or by its score column."""
    group = table.groups[0]
    labels = np.zeros(table.rows, np.int64) if table.labels is None else table.labels
    device = next((p.device for p in scorer.parameters()), None) if scorer else None
    inputs = table.inputs
    if scorer is not None:
        assert inputs is not None
        inputs = inputs if device is None else inputs.to(device)
        scores = checked_scores(scorer, inputs)
        check_scores(scores, table)
    else:
        assert table.scores is not None
        inputs, scores = None, torch.from_numpy(table.scores)
    try:
        return Problem(
            scores=scores,
            labels=torch.from_numpy(labels).to(device),
            groups=torch.from_numpy(group.ids).to(device),
            group_names=group.names,
            scorer=scorer,
            inputs=inputs,
            weights=_on(device, table.weights),
            threshold=threshold,
            ids=table.ids,
            labeled=table.labels is not None,
            clusters=_on(device, table.clusters),
        )
    except TableError as error:
        said = str(error)
        raise TableError(f"{table.name}: {said[0].lower()}{said[1:]}") from None


def _on(device: torch.device | None, values: np.ndarray | None) -> Tensor | None:
    return None if values is None else torch.from_numpy(values).to(device)


def check_scores(scores: Tensor, table: Table) -> None:
    """Check that every score is a probability.

    Raises:
        CheckpointError: names the first row whose score is not.
    """
    bad = ~((scores >= 0) & (scores <= 1))
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise CheckpointError(
            f"The network's score for row {row + 1} of {table.name} is "
            f"{float(scores[row])}, not a probability; check --output-kind and the features."
        )
