"""Options of a single command: audit, gate, predict, bench, data, init, doctor, validate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fairfix.cli.options.option import advanced, common, default_text


def init_options(
    yes: Annotated[
        bool,
        common("Ask nothing: write what the files show, or exit with 2.", "--yes", "-y"),
    ] = False,
    force: Annotated[bool, common("Replace existing files.", "--force")] = False,
) -> None: ...


def validate_options(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE...",
            help="fairfix.toml, pyproject.toml, data specs (.data.json) and rules (.rule.json).",
            show_default=False,
        ),
    ] = None,
) -> None: ...


def audit_options(
    metric: Annotated[
        str | None,
        common("Metric compared with the budget.", "--metric", default=default_text("metric")),
    ] = None,
    budget: Annotated[
        list[str] | None,
        common(
            "Largest absolute gap: number, or metric=number instead of --metric.",
            "--budget",
            default=default_text("budget"),
        ),
    ] = None,
    power: Annotated[
        bool, common("Print only the largest gap that these rows can certify.", "--power")
    ] = False,
    compare: Annotated[
        list[Path] | None,
        common(
            "Checkpoint to show beside the model, on the same rows and by its own rule; "
            "repeatable.",
            "--compare",
        ),
    ] = None,
    html: Annotated[Path | None, common("Write the audit as an HTML page.", "--html")] = None,
    force: Annotated[bool, common("Replace an existing file.", "--force")] = False,
) -> None: ...


def gate_options(
    budget: Annotated[
        list[str] | None,
        common(
            "Largest allowed gap as metric=number or metric@column=number; repeatable. A number "
            "followed by :warn only warns. In the gate table of fairfix.toml: budget = "
            '["spd=0.05", "spd@race=0.1:warn"].',
            "--budget",
            default="the budget in the rule",
        ),
    ] = None,
    also: Annotated[
        list[str] | None,
        advanced("Further budgets, which do not replace that of the rule; repeatable.", "--also"),
    ] = None,
    floor: Annotated[
        list[str] | None,
        common(
            "Lowest allowed performance or rate as measure=number, where measure is "
            "balanced_accuracy, accuracy, f1, auc or a rate; di=number for a ratio; "
            "rate.min@column=number for the smallest group; repeatable, :warn as above.",
            "--floor",
        ),
    ] = None,
    ceiling: Annotated[
        list[str] | None,
        advanced(
            "Highest allowed performance or rate as measure=number; repeatable, :warn as above.",
            "--ceiling",
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        common(
            "Checkpoint that --max-drop and --selection-rate-change compare with, on the same "
            "rows.",
            "--baseline",
        ),
    ] = None,
    max_drop: Annotated[
        list[str] | None,
        common(
            "Largest allowed drop in performance below the baseline, as number or "
            "measure=number; repeatable, :warn as above.",
            "--max-drop",
        ),
    ] = None,
    selection_rate_change: Annotated[
        float | None,
        advanced(
            "Largest allowed change of the selection rate relative to the baseline's, such as 0.1.",
            "--selection-rate-change",
        ),
    ] = None,
    on_inconclusive: Annotated[
        Literal["fail", "warn"] | None,
        common(
            "Exit with 3 (fail) if a verdict is inconclusive, or with 0 and a warning (warn). An "
            "undefined value always exits with 3.",
            "--on-inconclusive",
            default=default_text("on_inconclusive"),
        ),
    ] = None,
    require_unseen: Annotated[
        bool,
        common(
            "Exit with 3 if it cannot be checked whether the rule was tuned on these rows.",
            "--require-unseen",
        ),
    ] = False,
    no_serious_warnings: Annotated[
        bool,
        advanced("Exit with 3 if there is a serious warning.", "--no-serious-warnings"),
    ] = False,
    junit: Annotated[Path | None, common("Write the result as JUnit XML.", "--junit")] = None,
    sarif: Annotated[Path | None, common("Write the result as SARIF 2.1.0.", "--sarif")] = None,
) -> None: ...


def predict_options(
    output: Annotated[
        Path | None,
        common(
            "File for the decisions: .csv, .csv.gz, .parquet or .jsonl; - is stdout.",
            "--output",
            "-o",
            default="<table stem>.decisions.csv next to DATA; stdout if DATA is stdin",
        ),
    ] = None,
    label_values: Annotated[
        bool,
        common("Write decisions as label values of the rule, not as 0 and 1.", "--label-values"),
    ] = False,
    force: Annotated[bool, common("Replace an existing file.", "--force")] = False,
) -> None: ...


def bench_options(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL... DATA",
            help="Checkpoints and a table; omit with --protocol or --rows.",
            show_default=False,
        ),
    ] = None,
    method_names: Annotated[
        str | None,
        common(
            "Methods, comma-separated, or all. The unmodified model, identity and thresholds are "
            "always included.",
            "--methods",
            default="those of the protocol, else all",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        common(
            "A method with its options, such as gda:optimizer=sgd,learning_rate=1e-5; repeatable, "
            "instead of --methods.",
            "--method",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        common(
            "Metrics, comma-separated.", "--metrics", default="those of the protocol, else --metric"
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        common(
            "Number of splits. The first uses the tables as given, later ones redraw the rows.",
            "--seeds",
            default="that of the protocol, else 5",
        ),
    ] = None,
    protocol: Annotated[
        str | None, common("Protocol of a paper: m22, m22-paper, s20 or c21.", "--protocol")
    ] = None,
    datasets: Annotated[
        str | None,
        advanced(
            "Data sets of the protocol, comma-separated: compas, compas/sex, loh/alpha=0.5, ...",
            "--datasets",
            default="all",
        ),
    ] = None,
    variants: Annotated[
        str | None,
        advanced(
            "Other base networks of the protocol, comma-separated: width-64, ...", "--variants"
        ),
    ] = None,
    attribution: Annotated[
        bool,
        advanced(
            "Also attribute the gap to weights, from 1,000 random changes of all weights.",
            "--attribution",
        ),
    ] = False,
    training_rows: Annotated[
        bool,
        advanced(
            "Let methods that take training rows learn from those of the protocol's "
            "splits, as --train FILE does.",
            "--training-rows",
        ),
    ] = False,
    rows: Annotated[
        list[Path] | None,
        common("Summarize these rows.jsonl files and run nothing; repeatable.", "--rows"),
    ] = None,
    jobs: Annotated[
        int | None, common("Processes on this machine.", "--jobs", default="one per core")
    ] = None,
    backend: Annotated[
        Literal["local", "dask"], advanced("Where cells run.", "--backend", default="local")
    ] = "local",
    scheduler: Annotated[
        str | None, advanced("Address of the Dask scheduler.", "--scheduler")
    ] = None,
    array: Annotated[
        str | None,
        advanced(
            "Run part i of n (i/n), as in a job array; combine the parts with --rows.", "--array"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        common(
            "Directory for rows.jsonl, summary.csv and report.html; an existing study resumes.",
            "--output",
            "-o",
            default="fairfix-bench",
        ),
    ] = None,
) -> None: ...


def data_options(
    action: Annotated[
        Literal["list", "fetch", "prepare"],
        typer.Argument(metavar="ACTION", help="list, fetch or prepare.", show_default=False),
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Data set.", show_default=False)
    ] = None,
    attribute: Annotated[
        str | None,
        common("Protected attribute to debias.", "--attribute", default="its first"),
    ] = None,
    seed: Annotated[int, common("Seed of the split.", "--seed", default="0")] = 0,
    output: Annotated[
        Path | None,
        common(
            "Directory for the prepared tables.", "--output", "-o", default="the data set's name"
        ),
    ] = None,
    force: Annotated[bool, common("Replace existing files.", "--force")] = False,
) -> None: ...
