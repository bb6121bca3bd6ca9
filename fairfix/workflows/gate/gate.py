"""The gate: test every demand on the rows of a table and derive the exit code.

Certified needs every part of a demand at the chosen confidence (intersection-union test, no
correction). Violated must survive Holm's correction over all demands, so that many demands do not
fail a good model by chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from fairfix.errors import UsageError
from fairfix.metrics.fairness_metrics import AUCD
from fairfix.metrics.performance import PERFORMANCES, auc_by_group, is_trivial
from fairfix.report.sentences import reservations
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.verdicts import Verdict
from fairfix.thresholds.rule import DecisionRule
from fairfix.workflows.audit import check_labels, decide, ruled
from fairfix.workflows.case import Case
from fairfix.workflows.gate.checks import (
    BudgetPower,
    Check,
    Rows,
    Scored,
    check_trivial,
    power_of,
    run_check,
    with_column,
)
from fairfix.workflows.gate.constant_decisions import excludes_constants, met_by_constants
from fairfix.workflows.gate.demands import Demand, Kind, check_baseline
from fairfix.workflows.gate.holm_correction import after_holm
from fairfix.workflows.gate.reused_rows import Reuse
from fairfix.workflows.notebook_forms import NotebookForms
from fairfix.workflows.warnings import NEARLY_TRIVIAL, reversed_scores

OK, VIOLATED, INCONCLUSIVE = 0, 1, 3

MAX_OWN_BUDGET = 0.2
"""Largest budget that is taken from a rule; a larger one must be given with --budget."""

SHOWN = 6
"""Checks in the text form of a gate."""


@dataclass(frozen=True, repr=False)
class Gate(NotebookForms):
    """All checks of one model on one table, and the exit code.

    Attributes:
        model, table: file names; ``rule_found`` is the source of the rule.
        lenient: inconclusive demands pass with a warning (``--on-inconclusive warn``).
        trivial: nearly all rows are decided alike.
        warnings, notes: short sentences without a full stop.
        unchecked: what could not be checked, likewise.
        require_unseen: rows that may have been used for tuning cannot pass (``--require-unseen``).
        serious_warnings: those of the warnings that keep a certified model from being green.
        no_serious_warnings: nothing passes with one (``--no-serious-warnings``).
    """

    model: str
    table: str
    table_sha256: str
    rows: int
    rule: DecisionRule
    rule_found: str
    confidence: ConfidenceLevel
    lenient: bool
    trivial: bool
    power: tuple[BudgetPower, ...]
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    unchecked: tuple[str, ...] = ()
    require_unseen: bool = False
    serious_warnings: tuple[str, ...] = ()
    no_serious_warnings: bool = False

    def __repr__(self) -> str:
        shown = "".join(f"\n  {each.name}: {each.verdict}" for each in self.checks[:SHOWN])
        more = len(self.checks) - SHOWN
        return f"<Gate: {self.headline}{shown}" + (f"\n  {more} more>" if more > 0 else ">")

    @property
    def violated(self) -> tuple[Check, ...]:
        """Blocking checks that are violated."""
        return tuple(c for c in self.checks if c.blocking and c.verdict is Verdict.VIOLATED)

    @property
    def inconclusive(self) -> tuple[Check, ...]:
        """Blocking checks that are neither certified nor violated."""
        decided = (Verdict.CERTIFIED, Verdict.VIOLATED)
        return tuple(c for c in self.checks if c.blocking and c.verdict not in decided)

    def forgives(self, check: Check) -> bool:
        """Whether an inconclusive check may pass: lenient, and defined; a trivial rule never."""
        return self.lenient and not math.isnan(check.value)

    @property
    def exit_code(self) -> int:
        if self.violated:
            return VIOLATED
        if self.require_unseen and self.unchecked:
            return INCONCLUSIVE
        if self.no_serious_warnings and self.serious_warnings:
            return INCONCLUSIVE
        return OK if all(map(self.forgives, self.inconclusive)) else INCONCLUSIVE

    def standing(self, check: Check) -> Literal["passed", "warned", "failed", "inconclusive"]:
        """How a check affects the outcome; an open check blocks without being violated."""
        if check.verdict is Verdict.CERTIFIED:
            return "passed"
        if not check.blocking:
            return "warned"
        if check.verdict is Verdict.VIOLATED:
            return "failed"
        return "warned" if self.forgives(check) else "inconclusive"

    @property
    def headline(self) -> str:
        """The outcome in one sentence."""
        if self.exit_code != OK or self.color == "green":
            return self._outcome
        doubts = reservations(self.serious_warnings, self.unchecked)
        return f"{self._outcome.removesuffix('.')}; {doubts}."

    @property
    def color(self) -> Literal["green", "amber", "red", "gray"]:
        """Green for a pass without serious warnings and unchecked points, amber with them."""
        if self.exit_code == OK:
            return "amber" if self.serious_warnings or self.unchecked else "green"
        return "red" if self.exit_code == VIOLATED else "gray"

    @property
    def _outcome(self) -> str:
        asked = sum(check.blocking for check in self.checks)
        if self.exit_code == VIOLATED:
            return f"Failed: {_share(len(self.violated), asked)} violated."
        open_ = len(self.inconclusive)
        if self.exit_code == INCONCLUSIVE and all(map(self.forgives, self.inconclusive)):
            if self.require_unseen and self.unchecked:
                return "Inconclusive: --require-unseen does not let unchecked rows pass."
            return "Inconclusive: --no-serious-warnings does not let serious warnings pass."
        if self.exit_code == INCONCLUSIVE:
            return (
                f"Inconclusive: {_share(open_, asked)} not certified, which is neither a "
                "pass nor a finding of bias."
            )
        if open_:
            return (
                f"Passed by --on-inconclusive warn: {_share(open_, asked)} not certified, and "
                "nothing is shown to be violated."
            )
        if not asked:
            return "Passed: every demand only warns, so nothing here can fail."
        return f"Passed: {'the demand is' if asked == 1 else f'all {asked} demands are'} certified."


def _share(some: int, all_: int) -> str:
    if all_ == 1:
        return "the demand is"
    return f"{some} of {all_} demands {'is' if some == 1 else 'are'}"


@dataclass(frozen=True)
class Judged:
    """Rows decided by one rule; ``where`` is the source of the rule."""

    case: Case
    rule: DecisionRule
    where: str
    decisions: Tensor

    @classmethod
    def by(cls, case: Case, rule: DecisionRule, where: str) -> Judged:
        """Apply a rule to the rows of a case.

        Raises:
            UsageError: if the rule does not belong to the case (``audit.ruled``).
        """
        case = ruled(case, rule)
        return cls(case, rule, where, decide(case, rule))


def gate(
    judged: Judged,
    asked: Sequence[Demand],
    *,
    also: Sequence[Demand] = (),
    model: str,
    reuse: Reuse | None = None,
    baseline: Judged | None = None,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
    lenient: bool = False,
    require_unseen: bool = False,
    no_serious_warnings: bool = False,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
    unchecked: Sequence[str] = (),
) -> Gate:
    """Test every demand on the rows.

    Args:
        asked: the demands; without a budget, the rule's own is used.
        also: further demands, which do not replace the rule's budget.
        model: name for the report.
        reuse: how many of the rows the rule was tuned on (``reused_rows.reuse``).
        baseline: the same rows decided by another model, for demands that compare with it.
        confidence: of each one-sided test.
        lenient: inconclusive demands pass, unless undefined.
        require_unseen: nothing passes if ``reuse`` is unknown or something else is unchecked.
        no_serious_warnings: nothing passes with a serious warning.
        notes, warnings, unchecked: further sentences for the verdict, without a full stop.

    Raises:
        TableError: if a demand needs labels and the table has none.
        UsageError: if demands are missing or contradict each other.
    """
    asked, budget_notes = _with_budget(asked, judged)
    asked = (*asked, *also)
    check_baseline(asked, given=baseline is not None)
    check_labels(judged.case, [demand.key for demand in asked])
    trivial = is_trivial(judged.case.problem.counts(judged.decisions))
    problem, columns = judged.case.problem, judged.case.table.groups
    asked = tuple(with_column(demand, columns) for demand in asked)
    before = None
    if baseline is not None:
        before = Scored(baseline.case.problem.scores, baseline.decisions)
    rows = Rows(problem, judged.decisions, columns, before)
    gaps = sorted(asked, key=lambda demand: not demand.is_gap)
    checks = [
        *(run_check(demand, rows, confidence) for demand in gaps),
        *([check_trivial()] if trivial and not excludes_constants(asked, problem) else []),
    ]
    checks = after_holm(checks, confidence.alpha)
    found = Gate(
        model=model,
        table=judged.case.table.name,
        table_sha256=judged.case.table.sha256,
        rows=judged.case.table.rows,
        rule=judged.rule,
        rule_found=judged.where,
        confidence=confidence,
        lenient=lenient,
        require_unseen=require_unseen,
        no_serious_warnings=no_serious_warnings,
        trivial=trivial,
        power=tuple(
            power_of(demand, rows, confidence)
            for demand in asked
            if demand.is_gap and demand.key != AUCD
        ),
        checks=tuple(checks),
        warnings=(),
        notes=(
            *judged.case.notes,
            f"decisions by {judged.where}",
            *_baseline_notes(baseline),
            *budget_notes,
            *notes,
        ),
        unchecked=tuple(unchecked),
    )
    found = replace(found, serious_warnings=tuple(_serious_warnings(found, judged, asked)))
    return _with_reuse(replace(found, warnings=(*warnings, *_warnings(found, judged))), reuse)


def _with_budget(
    asked: Sequence[Demand], judged: Judged
) -> tuple[tuple[Demand, ...], tuple[str, ...]]:
    """Return the demands and a note; without a budget, the one that the rule was made for.

    Raises:
        UsageError: if the rule has no budget, or one above 0.2.
    """
    rule = judged.rule
    if any(demand.is_gap for demand in asked):
        return tuple(asked), ()
    if rule.metric is None or rule.budget is None:
        raise UsageError(
            "The gate needs a budget; give one such as --budget spd=0.05, or write "
            '[gate] budget = ["spd=0.05"] in fairfix.toml.'
        )
    if rule.budget > MAX_OWN_BUDGET:
        raise UsageError(
            f"The budget in {judged.where} is {rule.metric}={rule.budget:g}, above "
            f"{MAX_OWN_BUDGET:g}; name the budget to test with --budget."
        )
    known = [group.column for group in judged.case.table.groups]
    column = rule.group_column if rule.group_column in known else None
    budget = Demand(Kind.BUDGET, rule.metric, rule.budget, column=column)
    return (budget, *asked), (f"the budget is the rule's own: {budget.condition}",)


def _baseline_notes(baseline: Judged | None) -> tuple[str, ...]:
    if baseline is None:
        return ()
    checkpoint = baseline.case.checkpoint
    name = checkpoint.name if checkpoint is not None else "scores"
    return (f"the baseline is {name}, decided by {baseline.where}",)


def _serious_warnings(found: Gate, judged: Judged, asked: Sequence[Demand]) -> Iterator[str]:
    """Yield what keeps a certified model from being green, as sentences without a full stop."""
    if found.trivial:
        yield "the rule is trivial: deciding nearly all rows alike meets any budget"
    problem = judged.case.problem
    kept = float(PERFORMANCES["balanced_accuracy"](problem.counts(judged.decisions)))
    if not found.trivial and kept < NEARLY_TRIVIAL:
        yield (
            f"the rule is nearly trivial: its balanced accuracy is {kept:.3f}, and deciding all "
            "rows alike gives 0.5; set a --floor"
        )
    for demand in asked:
        if met_by_constants(demand, problem):
            yield f"{demand.condition} excludes nothing: deciding all rows alike meets it"
    everybody = torch.zeros_like(problem.groups)
    auc = auc_by_group(problem.scores, problem.labels, everybody, 1, problem.weights)
    yield from reversed_scores(float(auc), "these rows")
    made_for, gated = judged.rule.group_column, {check.column for check in found.checks}
    if judged.rule.metric is not None and made_for not in {None, *gated}:
        yield f"the rule was made for the groups of {made_for!r}, but that column is not gated"


def _warnings(found: Gate, judged: Judged) -> Iterator[str]:
    """Yield warnings as sentences without a full stop."""
    if judged.case.table.repeats:
        yield judged.case.table.repeats
    yield from found.serious_warnings
    gated = {check.column for check in found.checks}
    for group in judged.case.table.groups:
        if group.column not in gated:
            yield (
                f"no demand is by the group column {group.column!r}; write one with @{group.column}"
            )
    for check in found.checks:
        for other in check.alongside:
            if check.verdict is Verdict.CERTIFIED and other.verdict is not Verdict.CERTIFIED:
                yield (
                    f"{check.name} is certified while the {other.title} within "
                    f"{other.budget:g} is {other.verdict}: opposite differences cancel"
                )
    forgiven = ", ".join(check.name for check in found.inconclusive if found.forgives(check))
    if forgiven and found.exit_code == OK:
        yield f"not certified, but passed by --on-inconclusive warn: {forgiven}"


def _with_reuse(found: Gate, reuse: Reuse | None) -> Gate:
    """Add what is known of rows that the rule was tuned on."""
    if reuse is None:
        return found
    notes = (*found.notes, *reuse.notes)
    if reuse.share is None:
        return replace(found, notes=notes, unchecked=(*found.unchecked, reuse.sentence))
    if reuse.share:
        return replace(
            found,
            notes=notes,
            warnings=(*found.warnings, reuse.sentence),
            serious_warnings=(*found.serious_warnings, reuse.sentence),
        )
    return replace(found, notes=(*notes, reuse.sentence))
