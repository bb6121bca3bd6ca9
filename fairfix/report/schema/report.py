"""The report of a debiasing command: ``<name>.report.json``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fairfix._utils.strict_json import StrictModel
from fairfix.data.coarse_fingerprints import CoarseFingerprints
from fairfix.data.row_fingerprints import RowFingerprints
from fairfix.report.schema.calibration import Calibration
from fairfix.report.schema.gate import Check
from fairfix.report.schema.reweighting import Reweighting
from fairfix.report.schema.shared import (
    CONFIDENCE,
    Budget,
    Confidence,
    Count,
    Evidence,
    Key,
    Measured,
    PositiveCount,
    Rule,
    Sha256,
    Share,
    Subgroup,
    Verdict,
)

OpenShare = Annotated[float, Field(gt=0, lt=1)]


class MadeBy(StrictModel):
    """The software and command that made the report."""

    fairfix: str = Field(description="Version of fairfix.")
    torch: str = Field(description="Version of torch.")
    python: str = Field(description="Version of Python.")
    command: str | None = Field(description="The command line; null if called from Python.")
    seed: Count = Field(description="Seed of every random choice.")
    threads: PositiveCount = Field(description="CPU threads of torch, on which last digits depend.")


class Model(StrictModel):
    """The network."""

    file: str = Field(description="File name of the checkpoint that was read.")
    format: str = Field(description="Format of the checkpoint, recognized from its bytes.")
    weights_sha256_before: Sha256 = Field(description="Hash of the weights as read.")
    weights_sha256_after: Sha256 = Field(description="Hash of the weights as written.")
    output: Literal["prob", "logit", "two probabilities", "two logits"] = Field(
        description="Form of the network's output."
    )
    output_name: str | None = Field(
        description="Which of several outputs of the network was read; null if it has one."
    )
    batch_size: PositiveCount = Field(description="Rows in one forward pass, at most.")


class Data(StrictModel):
    """The tables and their columns."""

    table: str = Field(description="File name of the table.")
    table_sha256: Sha256 = Field(description="Hash of the table's bytes.")
    test_table: str | None = Field(
        description="File name of the test table; null if test rows were held out from the table."
    )
    test_table_sha256: Sha256 | None = Field(description="Hash of the test table's bytes.")
    holdout: OpenShare | None = Field(
        description="Share of the table's rows held out for testing; null with a test table."
    )
    label: str = Field(description="The label column.")
    favorable: str = Field(description="The favorable label value.")
    group: str = Field(description="The group column that was debiased.")
    groups: Annotated[tuple[str, ...], Field(min_length=2)] = Field(
        description="Names of its groups; with two, the unprivileged one comes first."
    )
    privileged: str | None = Field(
        description="The privileged group; null with more than two groups."
    )
    weight: str | None = Field(
        description="The column of row weights; null if all rows have the same weight."
    )
    validation_rows: PositiveCount = Field(description="Number of rows that the method tuned on.")
    test_rows: PositiveCount = Field(description="Number of held-out rows, unseen by the method.")


class Training(StrictModel):
    """The training rows of the run."""

    table: str = Field(description="File name of the table of training rows.")
    table_sha256: Sha256 = Field(description="Hash of the table's bytes.")
    rows: PositiveCount = Field(description="Number of training rows.")
    has_groups: bool = Field(description="Whether the table has the group column.")
    used_for: str = Field(description="What the method used the rows for.")
    reweighting: Reweighting | None = Field(
        description="New weights of the rows; null if the method kept their weights."
    )
    tuned_rows: RowFingerprints | None = Field(
        description="Salted hashes of the rows, as those of the validation rows."
    )
    tuned_ids: RowFingerprints | None = Field(description="The same for ids with labels.")
    tuned_values: CoarseFingerprints | None = Field(
        description="The same by coarse values of most columns."
    )


class Objective(StrictModel):
    """What the method optimized."""

    metric: Key = Field(description="Key of the fairness metric.")
    metric_title: str = Field(description="Full name of the fairness metric.")
    budget: Budget = Field(
        description="Largest allowed absolute gap; it is met if the gap is strictly below."
    )
    margin: Literal["auto"] | Annotated[float, Field(ge=0)] = Field(
        description="Amount subtracted from the budget on validation rows; with auto, candidates "
        "are compared by the probability that the budget is met."
    )
    performance: Key = Field(description="Key of the performance measure.")
    kind: Literal["constrained", "tradeoff"] = Field(description="Form of the objective.")
    lambda_: Share | None = Field(
        alias="lambda", description="Weight of the gap in a trade-off; null otherwise."
    )
    standard_errors: float | None = Field(
        description="With margin auto, factor on the standard error of the gap: 1 for the true "
        "gap, sqrt(2) for the gap on a test set of equal size; null otherwise."
    )
    risk: OpenShare | Literal["low", "medium", "high"] | None = Field(
        description="Largest allowed probability of missing the budget, or a preset by its name; "
        "null if performance is weighted by that probability, or with a fixed margin."
    )


class Goal(StrictModel):
    """One goal of the search at its result, on validation rows."""

    goal: str = Field(description="The goal as a formula.")
    column: str | None = Field(description="The group column; null for all rows together.")
    value: float | None = Field(description="The figure on validation rows; null if undefined.")
    probability: Share = Field(description="Probability that the goal holds on new rows.")
    held: bool = Field(description="Whether it holds on the validation rows.")
    verdict: Verdict | None = Field(
        description="The verdict on the test rows; null if it was not tested."
    )


class Goals(StrictModel):
    """The goals of the search, the budget first."""

    probability: Share = Field(description="Probability that all goals hold on new rows.")
    binding: str = Field(description="The goal that is least likely to hold.")
    goals: tuple[Goal, ...] = Field(description="Every goal.")


class Step(StrictModel):
    """One candidate at its best threshold, measured on validation rows."""

    step: Count = Field(description="Number of the step.")
    gap: float | None = Field(description="The fairness metric.")
    performance: float | None = Field(description="The performance measure.")
    utility: float | None = Field(description="Value of the objective; higher is better.")
    threshold: float | None = Field(description="The best threshold.")


class Recalibration(StrictModel):
    """The affine recalibration of the logits, slope times logit plus intercept."""

    slope: float | None = Field(description="The slope; null if it was not done.")
    intercept: float | None = Field(description="The intercept; null if it was not done.")
    reason: str = Field(description="Why it was not done; empty if it was.")


class Method(StrictModel):
    """The debiasing method and its search."""

    name: str = Field(description="Name of the method.")
    options: dict[str, str | bool | int | float] = Field(
        description="Options of the method, including defaults."
    )
    needs_group: bool = Field(description="Whether a decision depends on the group of the row.")
    group_use: Literal["group-aware", "group-in-inputs", "group-blind", "not determined"] = Field(
        description="group-aware: a decision needs the group column; group-in-inputs: inputs of "
        "the network determine the group; group-blind: none does."
    )
    group_use_sentence: str = Field(description="The same in words.")
    protected_inputs: tuple[str, ...] = Field(
        description="Names of the inputs that determine the group."
    )
    changes_weights: bool = Field(
        description="Whether the written weights differ from those that were read."
    )
    recalibration: Recalibration | None = Field(
        description="How the scores of changed weights were recalibrated; null if that was not "
        "asked for or the weights are unchanged.",
    )
    chosen_step: Count = Field(description="The step that was chosen.")
    trajectory: tuple[Step, ...] = Field(
        description="Every candidate on validation rows, in order; the first is the unmodified "
        "network."
    )


class Evaluation(Measured):
    """Decisions measured on rows and compared with the objective."""

    met: bool = Field(
        description="Whether the gap is strictly below the budget; an undefined gap is not."
    )
    objective: float | None = Field(
        description="The performance measure if the budget is met, otherwise 0."
    )


class Comparison(StrictModel):
    """Three models on the same rows."""

    unmodified: Evaluation = Field(
        description="The unmodified model, at the threshold in use today."
    )
    retuned: Evaluation = Field(
        description="The unmodified network at its best single threshold on validation rows."
    )
    debiased: Evaluation = Field(description="The debiased model.")


class Results(StrictModel):
    """The figures on test rows and on validation rows."""

    test: Comparison = Field(description="On test rows, which the method never saw.")
    validation: Comparison = Field(description="On validation rows, which the method tuned on.")


class GroupChange(StrictModel):
    """How the decisions for one group changed."""

    name: str = Field(description="The group's value in the group column.")
    rows: Count = Field(description="Number of rows.")
    gained: Count = Field(description="Rows decided negative before and positive after.")
    lost: Count = Field(description="Rows decided positive before and negative after.")
    selection_rate_before: Share | None = Field(description="Selection rate before.")
    selection_rate_after: Share | None = Field(description="Selection rate after.")
    tpr_before: Share | None = Field(description="True positive rate before.")
    tpr_after: Share | None = Field(description="True positive rate after.")
    fpr_before: Share | None = Field(description="False positive rate before.")
    fpr_after: Share | None = Field(description="False positive rate after.")


class ColumnChange(StrictModel):
    """How the gap changed between the groups of another column or of an intersection."""

    column: str = Field(description="The column, or columns joined by &.")
    metric: Key = Field(description="Key of the metric.")
    before: float | None = Field(description="Absolute gap before.")
    after: float | None = Field(description="Absolute gap after.")
    low: float | None = Field(description="Lower 95 % confidence limit of the change.")
    high: float | None = Field(description="Upper 95 % confidence limit of the change.")
    p: Share | None = Field(description="p-value of the hypothesis that the gap did not grow.")
    worse: bool = Field(
        description="Whether the gap grew significantly, adjusted for the number of columns (Holm)."
    )
    left_out: tuple[str, ...] = Field(
        description="Groups left out because a rate has fewer than 30 rows."
    )


class Change(StrictModel):
    """The debiased model compared with the unmodified model on test rows."""

    groups: tuple[GroupChange, ...] = Field(description="Changed decisions by group.")
    levelling_down: tuple[str, ...] = Field(
        description="Statements where the gap shrank only by harming groups (levelling down)."
    )
    columns: tuple[ColumnChange, ...] = Field(
        description="The same metric by the other group columns and by intersections."
    )
    overfitting: tuple[str, ...] = Field(
        description="Statements where figures are better on validation rows than sampling error "
        "explains."
    )


class TradeoffPoint(StrictModel):
    """One choice of thresholds, measured on validation rows."""

    probability: Share | None = Field(description="Probability that the budget is met.")
    performance: Share | None = Field(description="The performance measure.")
    gap: float | None = Field(description="The fairness metric.")
    trivial: bool = Field(description="Whether nearly all rows are decided alike.")
    chosen: bool = Field(description="Whether these thresholds were chosen.")


class GroupHistogram(StrictModel):
    """Test rows of one group in each bin of scores."""

    unmodified: tuple[Count, ...] = Field(description="By the scores of the unmodified model.")
    debiased: tuple[Count, ...] = Field(description="By the scores of the debiased model.")


class Histograms(StrictModel):
    """The distributions of the scores on test rows."""

    edges: tuple[float, ...] = Field(description="Edges of the bins, ascending.")
    groups: dict[str, GroupHistogram] = Field(description="Histograms by group.")


class CalibrationChange(StrictModel):
    """Calibration of the scores on test rows, before and after: all rows, then each group."""

    unmodified: tuple[Calibration, ...] = Field(description="Of the unmodified model.")
    debiased: tuple[Calibration, ...] = Field(
        description="Of the debiased model; with a score model, of its calibrated probabilities."
    )


class ReportEvidence(Evidence):
    """What the test rows show about the budget and about further demands."""

    promises: tuple[Check, ...] = Field(
        description="Further budgets, floors and ceilings, tested on the test rows."
    )


class Report(StrictModel):
    """What a debiasing method did to a classifier, with results. Undefined figures are null."""

    schema_version: Literal[2] = Field(
        description="Version of this schema; it changes when a field is removed or changes its "
        "meaning."
    )
    made_by: MadeBy = Field(description="The software and command that made the report.")
    model: Model | None = Field(description="The network; null if the table has the scores.")
    data: Data = Field(description="The tables and their columns.")
    training: Training | None = Field(
        description="The training rows; null if the method learned from the validation rows."
    )
    objective: Objective = Field(description="What the method optimized.")
    goals: Goals | None = Field(
        description="The budget and all further limits that the search kept; null with the budget "
        "alone."
    )
    method: Method = Field(description="The debiasing method and its search.")
    rule: Rule = Field(description="The decision rule, as in the rule file.")
    confidence: Confidence = Field(description=CONFIDENCE)
    evidence: ReportEvidence = Field(description="What the test rows show about the budget.")
    results: Results = Field(description="The figures on test rows and on validation rows.")
    change: Change = Field(
        description="The debiased model compared with the unmodified model on test rows."
    )
    subgroups: tuple[Subgroup, ...] | None = Field(
        description="Subgroups that the debiased model treats differently from all other rows: "
        "searched on one part of the test rows, tested on the other; null if not searched."
    )
    tradeoff_curve: tuple[TradeoffPoint, ...] = Field(
        description="The trade-off curve of the debiased scores on validation rows: performance "
        "against the probability that the budget is met, over thresholds."
    )
    histograms: Histograms = Field(description="The distributions of the scores on test rows.")
    calibration: CalibrationChange = Field(
        description="Calibration of the scores on test rows, before and after."
    )
    tuned_rows: RowFingerprints | None = Field(
        description="Salted hashes of the validation rows, so that a gate can detect them in a "
        "test table; null if rows cannot be told apart."
    )
    tuned_ids: RowFingerprints | None = Field(
        description="The same for ids with labels; null without ids or labels."
    )
    tuned_values: CoarseFingerprints | None = Field(
        description="The same by coarse values of most columns, without labels, or by scores; null "
        "if rows cannot be told apart so."
    )
    warnings: tuple[str, ...] = Field(description="Warnings.")
    serious_warnings: tuple[str, ...] = Field(
        description="Those of the warnings with which a certified result is amber, not green."
    )
    unchecked: tuple[str, ...] = Field(description="What could not be checked.")
    notes: tuple[str, ...] = Field(
        description="What was inferred from the model and the table, and remarks of the method."
    )
