"""The options that commands share, each defined once.

Every option is None unless it was given; ``Values`` then looks into the settings file and last
into ``DEFAULTS``. A group of options is a function whose signature says them; ``signature`` puts
groups together into what Typer reads.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fairfix.methods import Method

DEFAULTS: dict[str, Any] = {
    "label": "label",
    "group": ["group"],
    "missing_group": "error",
    "output_kind": "auto",
    "device": "auto",
    "batch_size": 65_536,
    "seed": 0,
    "metric": "spd",
    "budget": 0.05,
    "margin": "auto",
    "performance": "balanced_accuracy",
    "objective": "constrained",
    "lambda": 0.75,
    "k": math.sqrt(2),
    "holdout": 0.3,
    "threshold": 0.5,
    "confidence": 0.95,
    "on_inconclusive": "fail",
}

_Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Checkpoint file or folder; - with a score column.",
        show_default=False,
    ),
]
_Data = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="Table: .csv, .csv.gz or .parquet.", show_default=False),
]


def option(panel: str, text: str, *names: str, default: str = "") -> Any:
    """One option as Typer reads it; ``default`` is what its help says of it."""
    said = f"{text} (default: {default})" if default else text
    return typer.Option(*names, help=said, rich_help_panel=panel, show_default=False)


def shown(name: str) -> str:
    """The default of an option, as its help says it."""
    value = DEFAULTS[name]
    return ", ".join(value) if isinstance(value, list) else str(value)


T, M, G, O = "Table", "Model", "Goal", "Output"  # noqa: E741


def arguments(model: _Model, data: _Data) -> None: ...


def model_argument(model: _Model) -> None: ...


def table_options(
    label: Annotated[
        str | None, option(T, "Label column.", "--label", default=shown("label"))
    ] = None,
    favorable: Annotated[
        str | None, option(T, "Favorable label value.", "--favorable", default="1")
    ] = None,
    group: Annotated[
        list[str] | None,
        option(
            T,
            "Group column; repeatable, the first is debiased.",
            "--group",
            default=shown("group"),
        ),
    ] = None,
    privileged: Annotated[
        str | None, option(T, "Privileged value of the first group column.", "--privileged")
    ] = None,
    missing_group: Annotated[
        Literal["error", "keep"] | None,
        option(
            T,
            "A missing group value is an error, or a group of its own.",
            "--missing-group",
            default=shown("missing_group"),
        ),
    ] = None,
    id: Annotated[str | None, option(T, "Column that identifies a row.", "--id")] = None,
    ignore: Annotated[
        str | None, option(T, "Columns that are no features, comma-separated.", "--ignore")
    ] = None,
    weight: Annotated[str | None, option(T, "Column of row weights.", "--weight")] = None,
    features: Annotated[
        str | None,
        option(
            T,
            "Feature columns in the network's order, comma-separated.",
            "--features",
            default="as the data spec says, else all others in file order",
        ),
    ] = None,
    score: Annotated[
        str | None,
        option(T, "Column of scores in [0, 1]; needs no model, - in its place.", "--score"),
    ] = None,
    data_spec: Annotated[
        Path | None,
        option(
            T,
            "Data spec: how a raw table becomes the network's input.",
            "--data-spec",
            default="<model stem>.data.json",
        ),
    ] = None,
) -> None: ...


def model_options(
    arch: Annotated[
        str | None,
        option(
            M,
            "Architecture of bare weights: file.py:Class, package.module:callable, or mlp:relu "
            "and the like.",
            "--arch",
        ),
    ] = None,
    arch_args: Annotated[
        str | None, option(M, "Its keyword arguments, a JSON object.", "--arch-args")
    ] = None,
    output_kind: Annotated[
        Literal["auto", "prob", "logit"] | None,
        option(M, "What the network gives.", "--output-kind", default=shown("output_kind")),
    ] = None,
    output_label: Annotated[
        str | None,
        option(
            M,
            "Label value whose probability the network gives.",
            "--output-label",
            default="1, else the favorable value",
        ),
    ] = None,
    trust_checkpoint: Annotated[
        bool,
        option(M, "Allow code from the checkpoint to run.", "--trust-checkpoint"),
    ] = False,
    device: Annotated[
        str | None, option(M, "auto, cpu, cuda, ...", "--device", default=shown("device"))
    ] = None,
    batch_size: Annotated[
        int | None,
        option(M, "Rows scored at once.", "--batch-size", default=shown("batch_size")),
    ] = None,
) -> None: ...


def threshold_options(
    threshold: Annotated[
        float | None,
        option(G, "The cut deployed today.", "--threshold", default=shown("threshold")),
    ] = None,
) -> None: ...


def goal_options(
    metric: Annotated[
        str | None, option(G, "Fairness metric to bound.", "--metric", default=shown("metric"))
    ] = None,
    budget: Annotated[
        float | None,
        option(G, "Largest allowed absolute gap.", "--budget", default=shown("budget")),
    ] = None,
    margin: Annotated[
        str | None,
        option(
            G,
            "auto weighs performance by the chance that the budget is met; a number is taken off "
            "the budget.",
            "--margin",
            default=shown("margin"),
        ),
    ] = None,
    risk: Annotated[
        float | None,
        option(
            G,
            "With margin auto: largest allowed chance of missing the budget, for instance 0.1; the "
            "best performance within it is taken.",
            "--risk",
            default="none; performance and chance are weighed",
        ),
    ] = None,
    k: Annotated[
        float | None,
        option(
            G,
            "With margin auto: of which gap that chance is. 1: the true gap; sqrt(1 + n / m): the "
            "gap on a test table of m rows, n being fitted.",
            "--k",
            default="1.414, a test table of as many rows",
        ),
    ] = None,
    performance: Annotated[
        str | None,
        option(
            G,
            "balanced_accuracy, accuracy or f1.",
            "--performance",
            default=shown("performance"),
        ),
    ] = None,
    objective: Annotated[
        Literal["constrained", "tradeoff"] | None,
        option(G, "What is optimized.", "--objective", default=shown("objective")),
    ] = None,
    lambda_: Annotated[
        float | None,
        option(
            G,
            "Weight of the gap in the trade-off objective.",
            "--lambda",
            default=shown("lambda"),
        ),
    ] = None,
    test: Annotated[
        Path | None, option(G, "Table of rows to judge on; no method sees them.", "--test")
    ] = None,
    holdout: Annotated[
        float | None,
        option(
            G,
            "Without --test: share of the rows kept for judging.",
            "--holdout",
            default=shown("holdout"),
        ),
    ] = None,
    seed: Annotated[
        int | None, option(G, "Seed of every random choice.", "--seed", default=shown("seed"))
    ] = None,
) -> None: ...


def output_options(
    output: Annotated[
        Path | None,
        option(
            O,
            "Where the result goes.",
            "--output",
            "-o",
            default="<stem>.debiased<suffix> beside the model",
        ),
    ] = None,
    fold_threshold: Annotated[
        bool,
        option(
            O, "Fold the threshold into the last bias, so that 0.5 is right.", "--fold-threshold"
        ),
    ] = False,
    export: Annotated[
        Path | None,
        option(
            O,
            "Also write network and cuts as one program to be cut at 0.5: .pt is TorchScript, .pt2 "
            "torch.export.",
            "--export",
        ),
    ] = None,
    force: Annotated[bool, option(O, "Replace existing files.", "--force")] = False,
) -> None: ...


def audit_options(
    metric: Annotated[
        str | None,
        option(G, "Metric held against a budget.", "--metric", default=shown("metric")),
    ] = None,
    budget: Annotated[
        float | None,
        option(G, "Largest allowed absolute gap.", "--budget", default=shown("budget")),
    ] = None,
    power: Annotated[
        bool, option(G, "Say only what these rows can certify at all.", "--power")
    ] = False,
    html: Annotated[Path | None, option(O, "Write the audit as a page.", "--html")] = None,
    force: Annotated[bool, option(O, "Replace an existing file.", "--force")] = False,
) -> None: ...


def rule_options(
    rule: Annotated[
        Path | None,
        option(M, "Decision rule.", "--rule", default="in the checkpoint, else <stem>.rule.json"),
    ] = None,
) -> None: ...


def predict_options(
    output: Annotated[
        Path | None,
        option(
            O,
            "Where the decisions go; - is stdout.",
            "--output",
            "-o",
            default="<table stem>.decisions.csv beside the table",
        ),
    ] = None,
    force: Annotated[bool, option(O, "Replace an existing file.", "--force")] = False,
) -> None: ...


def evidence_options(
    confidence: Annotated[
        float | None,
        option(
            G,
            "1 - alpha of each one-sided test; intervals shown are two-sided at 1 - 2 alpha.",
            "--confidence",
            default=shown("confidence"),
        ),
    ] = None,
    strict: Annotated[
        bool,
        option(G, "Exact (Clopper-Pearson) limits for every rate; wider.", "--strict"),
    ] = False,
) -> None: ...


def gate_options(
    budget: Annotated[
        list[str] | None,
        option(
            G,
            "Largest allowed gap, metric=number; repeatable. metric=number:warn only warns. In "
            'the table gate of fairfix.toml: budget = ["spd=0.05", "eod=0.10:warn"].',
            "--budget",
            default="as the rule was made for",
        ),
    ] = None,
    floor: Annotated[
        list[str] | None,
        option(
            G,
            "Lowest allowed performance, measure=number of balanced_accuracy, accuracy, f1 or auc; "
            "repeatable, with :warn as above.",
            "--floor",
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        option(G, "Checkpoint that --max-drop compares with, on the same rows.", "--baseline"),
    ] = None,
    max_drop: Annotated[
        list[str] | None,
        option(
            G,
            "Largest allowed fall of performance below the baseline's, a number or "
            "measure=number; repeatable, with :warn as above.",
            "--max-drop",
        ),
    ] = None,
    on_inconclusive: Annotated[
        Literal["fail", "warn"] | None,
        option(
            G,
            "What the rows cannot decide exits with 3 (fail), or with 0 and a warning; an "
            "undefined figure always exits with 3.",
            "--on-inconclusive",
            default=shown("on_inconclusive"),
        ),
    ] = None,
    junit: Annotated[Path | None, option(O, "Write the findings as JUnit XML.", "--junit")] = None,
    sarif: Annotated[
        Path | None, option(O, "Write the findings as SARIF 2.1.0.", "--sarif")
    ] = None,
) -> None: ...


def talk_options(
    json: Annotated[
        bool, option(O, "Machine-readable result on stdout, nothing else there.", "--json")
    ] = False,
    quiet: Annotated[bool, option(O, "Say nothing but errors.", "--quiet")] = False,
    debug: Annotated[bool, option(O, "Show a traceback on errors.", "--debug")] = False,
) -> None: ...


def method_options(method: Method) -> list[inspect.Parameter]:
    """The options of a method as parameters, as its source describes them."""
    parameters = []
    for own in method.options:
        kind: Any = Literal.__getitem__(own.choices) if own.choices else own.type
        info = option(
            f"Method: {method.name}",
            own.help[:1].upper() + own.help[1:],
            f"--{own.name.replace('_', '-')}",
            default="" if own.type is bool else str(own.default),
        )
        default: Any = False if own.type is bool else None
        annotation: Any = kind if own.type is bool else kind | None
        parameters.append(
            inspect.Parameter(
                own.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=Annotated[annotation, info],
            )
        )
    return parameters


def signature(
    groups: Sequence[Callable[..., None]], own: Sequence[inspect.Parameter] = ()
) -> inspect.Signature:
    """The parameters of several groups, all by keyword; ``own`` ones replace shared namesakes."""
    replaced = {parameter.name for parameter in own}
    shared = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for group in groups
        for parameter in inspect.signature(group, eval_str=True).parameters.values()
        if parameter.name not in replaced
    ]
    return inspect.Signature([*shared, *own])
