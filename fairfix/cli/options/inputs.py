"""Options for the inputs: the model, the table and its columns, the decision rule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fairfix.cli.options.option import advanced, common, default_text

_Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Checkpoint file or directory; omitted with --score.",
        show_default=False,
    ),
]
_Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help="CSV, CSV.gz or Parquet table; - is stdin.", show_default=False
    ),
]


def arguments(model: _Model, data: _Data) -> None: ...


def model_argument(model: _Model) -> None: ...


def optional_table(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help="Table whose first rows the network is run on: .csv, .csv.gz or .parquet; - is "
            "stdin.",
            show_default=False,
        ),
    ] = None,
) -> None: ...


def table_options(
    label: Annotated[
        str | None,
        common(
            "Label column; several, comma-separated, for a network with one output for each.",
            "--label",
            default=default_text("label"),
        ),
    ] = None,
    target: Annotated[
        str | None,
        advanced(
            "Which of several label columns; rows without its value are left out.", "--target"
        ),
    ] = None,
    favorable: Annotated[
        str | None,
        common("Favorable values: a,b.", "--favorable", default="1"),
    ] = None,
    unfavorable: Annotated[
        str | None,
        advanced(
            "Unfavorable label values, comma-separated, or others for all; required if the label "
            "has more than two values and one is favorable.",
            "--unfavorable",
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        common(
            "Group column; repeatable, the first is debiased.",
            "--group",
            default=default_text("group"),
        ),
    ] = None,
    privileged: Annotated[
        str | None, common("Privileged group; with several columns, of the first.", "--privileged")
    ] = None,
    reference: Annotated[
        str | None,
        advanced(
            "Privileged group, compared with all other groups together; with several columns, of "
            "the first.",
            "--reference",
        ),
    ] = None,
    missing_group: Annotated[
        Literal["error", "keep", "performance-only"] | None,
        advanced(
            "error, keep, performance-only: refuse rows that lack a group value, keep them as a "
            "group of their own, or count them for performance alone, not for gaps.",
            "--missing-group",
            default=default_text("missing_group"),
            metavar="<choice>",
        ),
    ] = None,
    id: Annotated[str | None, advanced("Column that identifies a row.", "--id")] = None,
    ignore: Annotated[
        str | None,
        advanced(
            "Columns that are not features, comma-separated; quote a name that contains a comma: "
            "'a,\"b, c\"'.",
            "--ignore",
        ),
    ] = None,
    weight: Annotated[str | None, advanced("Column of row weights.", "--weight")] = None,
    cluster: Annotated[
        str | None,
        advanced(
            "Column that names the cluster of a row, such as a person with several rows; repeated "
            "values of --id count as clusters too.",
            "--cluster",
        ),
    ] = None,
    features: Annotated[
        str | None,
        advanced(
            "Feature columns in the order of the network's inputs, as in --ignore.",
            "--features",
            default="the order in the data spec, else all other columns in file order",
        ),
    ] = None,
    score: Annotated[
        str | None,
        advanced(
            "Column of scores in [0, 1], used in place of a model, which is left out or -.",
            "--score",
        ),
    ] = None,
    data_spec: Annotated[
        Path | None,
        advanced(
            "Data spec: how a raw table is encoded for the network.",
            "--data-spec",
            default="<model stem>.data.json",
        ),
    ] = None,
) -> None: ...


def model_options(
    arch: Annotated[
        str | None,
        common(
            "Architecture of bare weights: file.py:Class, package.module:callable or mlp:relu.",
            "--arch",
        ),
    ] = None,
    arch_args: Annotated[
        str | None,
        advanced("Keyword arguments of the architecture, as a JSON object.", "--arch-args"),
    ] = None,
    checkpoint_key: Annotated[
        str | None,
        advanced(
            "Which of several networks in the checkpoint: prefix of its tensor names.",
            "--checkpoint-key",
        ),
    ] = None,
    output_kind: Annotated[
        Literal["auto", "prob", "logit"] | None,
        advanced(
            "Output of the network: probability or logit; auto follows from its last operation.",
            "--output-kind",
            default=default_text("output_kind"),
        ),
    ] = None,
    output_name: Annotated[
        str | None,
        advanced(
            "Key or position of the output with the scores, if the network has several.",
            "--output-name",
            default="the only one with the shape of scores",
        ),
    ] = None,
    output_label: Annotated[
        str | None,
        advanced(
            "Label value whose probability the network outputs.",
            "--output-label",
            default="1, else the favorable value",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        advanced(
            "Label value of each output of a network with more than two, comma-separated.",
            "--classes",
            default="id2label or label_names of config.json",
        ),
    ] = None,
    trust_checkpoint: Annotated[
        bool,
        advanced("Allow code from the checkpoint to run.", "--trust-checkpoint"),
    ] = False,
    device: Annotated[
        str | None,
        advanced("auto, cpu, cuda, ...", "--device", default=default_text("device")),
    ] = None,
    threads: Annotated[
        int | None,
        advanced(
            "CPU threads; equal numbers give equal bytes.",
            "--threads",
            default="1 for small networks, else one per core",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        advanced(
            "Rows in one forward pass.",
            "--batch-size",
            default="from the network's memory per row, at most 65536",
        ),
    ] = None,
) -> None: ...


def rule_options(
    rule: Annotated[
        Path | None,
        common(
            "Decision rule.", "--rule", default="the rule in the checkpoint, else <stem>.rule.json"
        ),
    ] = None,
) -> None: ...
