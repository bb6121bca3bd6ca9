"""The public functions that read a model and rows: keyword arguments around the workflows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from fairfix.data.table.columns import MissingGroup
from fairfix.data.table_source import Data
from fairfix.thresholds.rule import DecisionRule
from fairfix.workflows.case import Case
from fairfix.workflows.classifier import Classifier
from fairfix.workflows.library_arguments import InputOptions, column_roles, input_options
from fairfix.workflows.library_messages import in_library_terms
from fairfix.workflows.model_options import Model, ModelOptions
from fairfix.workflows.open_case import open_case
from fairfix.workflows.predict import Predictions
from fairfix.workflows.predict import predict as predict_table
from fairfix.workflows.training import with_training


@in_library_terms
def load(
    model: Model | Classifier | None,
    data: Data,
    *,
    label: str | Sequence[str] | None = None,
    target: str | None = None,
    favorable: object = None,
    unfavorable: object = (),
    group: str | Sequence[str] | None = None,
    privileged: object = None,
    reference: object = None,
    missing_group: MissingGroup | None = None,
    id: str | None = None,
    ignore: Sequence[str] | None = None,
    weight: str | None = None,
    cluster: str | None = None,
    features: Sequence[str] | None = None,
    score: str | None = None,
    threshold: float = 0.5,
    rule: DecisionRule | str | Path | None = None,
    arch: str | None = None,
    arch_args: Mapping[str, Any] | None = None,
    trust: bool = False,
    data_spec: str | Path | Mapping[str, Any] | None = None,
    inputs: InputOptions | None = None,
    output_kind: Literal["auto", "prob", "logit"] = "auto",
    output_name: str | None = None,
    output_label: str | None = None,
    classes: Sequence[str] | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    checkpoint_key: str | None = None,
    threads: int | None = None,
    train: Data | None = None,
) -> Case:
    """Read a model and a labeled, group-labeled table, and run the model on it once.

    What is not given is taken from the contract of the rule, which also names the network's inputs.
    Without a column of labels, ``audit`` and ``gate`` measure what decisions alone define.

    Args:
        model: a checkpoint, a network in memory, which is copied, or an object with
            ``predict_proba``, for its scores; None if ``score`` names a column of scores.
        data: a CSV, CSV.gz or Parquet file, or rows in memory: a pandas, polars or Arrow table, a
            mapping of arrays, or a PyTorch dataset or loader of (inputs, label, group). Arrays of
            more than one dimension are inputs of the network.
        label: the label column, by default "label"; ``favorable`` is its favorable value, by
            default 1. Several are those of a network with one output for each, in their order.
        target: which of several label columns; rows without its value are left out.
        unfavorable: the other label values, needed if there are several; "others" takes all.
        group: the group column, by default "group", or several, of which the first is debiased;
            ``privileged`` is the privileged value of the first.
        reference: instead of ``privileged``, to compare that group with all others together.
        missing_group: "keep" makes rows without a group value a group of their own; with
            "performance-only" they count for performance and gradients, not for gaps.
        id: column that identifies a row, for randomized thresholds and reports.
        ignore: columns that are not features.
        weight: column of non-negative row weights.
        cluster: column that names the cluster of a row, such as a person with several rows.
        features: feature columns in the order of the network's inputs; by default all columns
            without another role, in file order.
        score: column of scores in [0, 1], instead of a model.
        threshold: the threshold in use today, in [-1, 1]; positive where score > threshold.
        rule: a rule or its file; by default the one in the checkpoint or beside it.
        arch: the architecture of bare weights: "file.py:Class", "package.module:callable" or
            "mlp:relu"; ``arch_args`` are its keyword arguments.
        trust: allow code from the checkpoint to run.
        data_spec: JSON file that maps raw columns to inputs, or its content; by default the one
            beside the model.
        inputs: inputs other than columns of numbers, as ``fairfix.InputOptions`` lists them.
        output_kind: how the output is read, "prob" or "logit"; "auto" follows from its last
            operation.
        output_name: key or position of the output with the scores, if the network has several.
        output_label: the label value whose probability the network gives; by default 1.
        classes: the label value of each output, if the network has more than two.
        device: "auto" takes a GPU if there is one.
        batch_size: rows run at once; None chooses it from the network's memory per row.
        checkpoint_key: which of several networks: a dotted prefix of its tensors' names.
        threads: CPU threads; None takes 1 for small networks and all for large ones.
        train: a table of training rows, which methods that take them then learn from;
            candidates are chosen on ``data``. It needs a group column only where a method does.

    Raises:
        FairfixError: the fact and the remedy. ``TableError``, ``CheckpointError``, ``TrustError``
            and ``UsageError`` are its kinds.
    """
    given = column_roles(
        label=label,
        target=target,
        favorable=favorable,
        unfavorable=unfavorable,
        groups=group,
        privileged=privileged,
        reference=reference,
        id=id,
        ignore=ignore,
        weight=weight,
        cluster=cluster,
        features=features,
        score=score,
        missing_group=missing_group,
    )
    how = (arch, arch_args, trust, data_spec, output_kind, output_name, output_label)
    files, described = input_options(inputs)
    options = ModelOptions(
        *how, device, batch_size, checkpoint_key, threads, files, described, classes
    )
    case = open_case(
        model,
        data,
        given,
        options,
        threshold=threshold,
        rule=Path(rule) if isinstance(rule, str) else rule,
        decides=rule is not None,
        require_labels=False,
    )
    return case if train is None else with_training(case, train)


@in_library_terms
def predict(
    model: Model | Classifier | None,
    data: Data,
    *,
    rule: DecisionRule | str | Path | None = None,
    label: str | Sequence[str] | None = None,
    target: str | None = None,
    favorable: object = None,
    unfavorable: object = (),
    group: str | Sequence[str] | None = None,
    missing_group: MissingGroup | None = None,
    id: str | None = None,
    ignore: Sequence[str] | None = None,
    weight: str | None = None,
    features: Sequence[str] | None = None,
    score: str | None = None,
    arch: str | None = None,
    arch_args: Mapping[str, Any] | None = None,
    trust: bool = False,
    data_spec: str | Path | Mapping[str, Any] | None = None,
    inputs: InputOptions | None = None,
    output_kind: Literal["auto", "prob", "logit"] = "auto",
    output_name: str | None = None,
    output_label: str | None = None,
    classes: Sequence[str] | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    checkpoint_key: str | None = None,
) -> Predictions:
    """Score and decide the rows of a table by the rule that belongs to the model.

    Labels are not needed, and the group only if the rule has group thresholds; both columns are
    named so that they are not taken for features. Arguments are as for ``load``.

    Args:
        rule: a rule or its file; by default the one in the checkpoint or beside it, else the score
            must exceed 0.5.

    Raises:
        FairfixError: as ``load``.
    """
    given = column_roles(
        label=label,
        target=target,
        favorable=favorable,
        unfavorable=unfavorable,
        groups=group,
        id=id,
        ignore=ignore,
        weight=weight,
        features=features,
        score=score,
        missing_group=missing_group,
    )
    how = (arch, arch_args, trust, data_spec, output_kind, output_name, output_label)
    files, described = input_options(inputs)
    options = ModelOptions(
        *how, device, batch_size, checkpoint_key, None, files, described, classes
    )
    return predict_table(model, data, given=given, options=options, rule=rule)
