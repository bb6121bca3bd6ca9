"""The options of ``bench`` and ``data``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fairfix.cli.options import O, T, option

B, S = "Study", "Scale"


def bench_options(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL... DATA]",
            help="Checkpoints and the table they are debiased on; none with --protocol or --rows.",
            show_default=False,
        ),
    ] = None,
    method_names: Annotated[
        str | None,
        option(
            B,
            "Methods, comma-separated, or all; identity, thresholds and the unmodified model are "
            "always included.",
            "--methods",
            default="those of the protocol, else all",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        option(
            B, "Metrics, comma-separated.", "--metrics", default="the protocol's, else --metric"
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        option(
            B,
            "How many splits: the first is the tables as they are, later ones draw the rows anew.",
            "--seeds",
            default="the protocol's, else 5",
        ),
    ] = None,
    protocol: Annotated[
        str | None, option(B, "A paper's protocol: m22 or s20.", "--protocol")
    ] = None,
    datasets: Annotated[
        str | None,
        option(
            B,
            "Its data sets, comma-separated: compas, compas/sex, loh/alpha=0.5, ...",
            "--datasets",
            default="the protocol's",
        ),
    ] = None,
    variants: Annotated[
        str | None,
        option(B, "Its other base networks, comma-separated: width-64, ...", "--variants"),
    ] = None,
    attribution: Annotated[
        bool,
        option(
            B,
            "Also say which weights carry the gap, by 1,000 random changes of all weights.",
            "--attribution",
        ),
    ] = False,
    rows: Annotated[
        list[Path] | None,
        option(B, "Run nothing: sum up these rows.jsonl files; repeatable.", "--rows"),
    ] = None,
    jobs: Annotated[
        int | None, option(S, "Processes on this machine.", "--jobs", default="one a core")
    ] = None,
    backend: Annotated[
        Literal["local", "dask"], option(S, "Where cells run.", "--backend", default="local")
    ] = "local",
    scheduler: Annotated[
        str | None, option(S, "Address of the Dask scheduler.", "--scheduler")
    ] = None,
    array: Annotated[
        str | None,
        option(S, "Run part i of n, as in a job array; join the parts' rows.jsonl.", "--array"),
    ] = None,
    output: Annotated[
        Path | None,
        option(
            O,
            "Folder for rows.jsonl, summary.csv and report.html; a study that stands there goes "
            "on.",
            "--output",
            "-o",
            default="fairfix-bench",
        ),
    ] = None,
) -> None: ...


def data_options(
    action: Annotated[
        Literal["list", "fetch", "prepare"],
        typer.Argument(help="What to do.", show_default=False),
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Data set.", show_default=False)
    ] = None,
    attribute: Annotated[
        str | None,
        option(T, "Protected attribute to debias.", "--attribute", default="its first"),
    ] = None,
    seed: Annotated[int, option(T, "Seed of the split.", "--seed", default="0")] = 0,
    output: Annotated[
        Path | None,
        option(O, "Folder for the prepared tables.", "--output", "-o", default="the name"),
    ] = None,
    force: Annotated[bool, option(O, "Replace existing files.", "--force")] = False,
) -> None: ...
