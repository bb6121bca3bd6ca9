"""Options for the goal: metric, budget, objective, test rows, confidence, today's threshold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from fairfix.cli.options.option import advanced, common, default_text


def goal_options(
    metric: Annotated[
        str | None,
        common(
            "Fairness metric; aucd for methods that change weights.",
            "--metric",
            default=default_text("metric"),
        ),
    ] = None,
    budget: Annotated[
        list[str] | None,
        common(
            "Largest absolute gap: number, or metric=number instead of --metric.",
            "--budget",
            default=default_text("budget"),
        ),
    ] = None,
    test: Annotated[Path | None, common("Table of held-out test rows.", "--test")] = None,
    seed: Annotated[
        int | None, common("Random seed.", "--seed", default=default_text("seed"))
    ] = None,
    margin: Annotated[
        str | None,
        advanced(
            "Safety margin subtracted from the budget on the validation rows; auto instead weighs "
            "performance by the probability that the budget holds.",
            "--margin",
            default=default_text("margin"),
        ),
    ] = None,
    risk: Annotated[
        str | None,
        advanced(
            "With --margin auto: low for more surety that the budget holds on new rows, high for "
            "more performance; or the largest allowed probability of exceeding it, such as 0.1.",
            "--risk",
            default="medium",
        ),
    ] = None,
    k: Annotated[
        float | None,
        advanced(
            "With --margin auto: factor on the standard error of the gap. 1 is for the true gap, "
            "sqrt(1 + n / m) for the gap on m test rows after tuning on n.",
            "--k",
            default="the method's own, 1.414 for most: a test set of equal size",
        ),
    ] = None,
    performance: Annotated[
        str | None,
        advanced(
            "balanced_accuracy, accuracy or f1; precision or recall with a --floor of the other; "
            "auc with one of balanced_accuracy, for methods that change scores.",
            "--performance",
            default=default_text("performance"),
        ),
    ] = None,
    objective: Annotated[
        Literal["constrained", "tradeoff"] | None,
        advanced(
            "constrained: best performance within the budget; tradeoff: a weighted sum of gap and "
            "performance.",
            "--objective",
            default=default_text("objective"),
            metavar="<choice>",
        ),
    ] = None,
    lambda_: Annotated[
        float | None,
        advanced(
            "Trade-off weight of the gap; needs --objective tradeoff.",
            "--lambda",
            default=default_text("lambda"),
        ),
    ] = None,
    holdout: Annotated[
        float | None,
        advanced(
            "Without --test: share of the rows held out as test rows.",
            "--holdout",
            default=default_text("holdout"),
        ),
    ] = None,
) -> None: ...


def promise_options(
    also: Annotated[
        list[str] | None,
        advanced(
            "A further budget that the search keeps, such as eod=0.1 or spd@race=0.05; repeatable. "
            "With :warn, it and the limits below are only tested on the test rows.",
            "--also",
        ),
    ] = None,
    floor: Annotated[
        list[str] | None,
        advanced(
            "Lowest rate or performance that the search keeps, such as accuracy=0.7, di=0.8 for a "
            "ratio, or tpr.min@race=0.6 for the smallest group; repeatable.",
            "--floor",
        ),
    ] = None,
    ceiling: Annotated[
        list[str] | None,
        advanced(
            "Highest rate or performance that the search keeps, such as selection_rate=0.5; "
            "repeatable.",
            "--ceiling",
        ),
    ] = None,
    selection_rate_change: Annotated[
        float | None,
        advanced(
            "Largest change of the selection rate that the search makes, relative to that of the "
            "decisions in use today, such as 0.1.",
            "--selection-rate-change",
        ),
    ] = None,
) -> None: ...


def training_options(
    train: Annotated[
        Path | None,
        advanced(
            "Table of training rows for methods that take them; candidates are chosen on "
            "the validation rows. It may lack the group column where a method needs no groups.",
            "--train",
        ),
    ] = None,
) -> None: ...


def unlabeled_options(
    unlabeled: Annotated[
        Path | None,
        advanced(
            "Table of further rows, with groups but without labels, that sharpen selection rates "
            "for blind and finetune; no test row may be among them.",
            "--unlabeled",
        ),
    ] = None,
) -> None: ...


def subgroup_options(
    no_subgroups: Annotated[
        bool,
        advanced("Do not search for subgroups that are treated differently.", "--no-subgroups"),
    ] = False,
) -> None: ...


def threshold_options(
    threshold: Annotated[
        float | None,
        advanced("Threshold in use today.", "--threshold", default=default_text("threshold")),
    ] = None,
) -> None: ...


def confidence_options(
    confidence: Annotated[
        float | None,
        advanced(
            "Confidence 1 - alpha of each one-sided test, in (0.5, 1); confidence intervals are "
            "two-sided at 1 - 2 alpha.",
            "--confidence",
            default=default_text("confidence"),
        ),
    ] = None,
    strict: Annotated[
        bool,
        advanced("Use exact (Clopper-Pearson) intervals for every rate; wider.", "--strict"),
    ] = False,
) -> None: ...
