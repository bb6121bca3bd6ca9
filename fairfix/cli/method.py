"""A debiasing command: loads the inputs, runs the method, saves and prints the result."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from fairfix import methods
from fairfix._utils.detail import Detail
from fairfix._utils.text import format_count, shorten
from fairfix.cli.console import print_json, print_messages, print_output, progress_bars
from fairfix.cli.demand_values import promises
from fairfix.cli.option_values import OptionValues
from fairfix.cli.standard_input import is_stdin
from fairfix.cli.summary import short_warnings, summary, written_files
from fairfix.errors import UsageError
from fairfix.metrics.objective import Objective
from fairfix.stats.gap_claims import gap_power
from fairfix.workflows.case import Case
from fairfix.workflows.debias import checked_options, debias
from fairfix.workflows.documents import report_document
from fairfix.workflows.export import check_export, check_suffix
from fairfix.workflows.next_commands import (
    is_poor,
    is_trivial_result,
    next_commands,
    refuse_trivial,
)
from fairfix.workflows.open_case import open_case
from fairfix.workflows.save import Destination, save
from fairfix.workflows.training import check_training, with_training


def run(
    *, name: str, model: str, data: Path, json: bool, quiet: bool, force: bool, **given: Any
) -> None:
    method = methods.get(name)
    own = [option.name for option in method.options]
    values = OptionValues.collect(name, given, data, own, model=model)
    if model == "-" and is_stdin(data) and values["output"] is None:
        raise UsageError(
            "The rule is written beside the table, which is stdin; name its file with --output."
        )
    if len(values.labels) > 1 and values.target is None:
        from fairfix.cli.labels import run_labels

        run_labels(
            values.of_label(values.labels[0]),
            name,
            model,
            data,
            json=json,
            quiet=quiet,
            force=force,
        )
        return
    check_training(method, given=values["train"] is not None)
    objective, test_table = values.objective(), values.test()
    confidence = values.confidence()
    goals = promises(values)
    options = checked_options(
        name,
        values.own,
        holdout_share=values["holdout"] if test_table is None else None,
        seed=values["seed"],
    )
    export_to = values["export"] and Path(values["export"])
    if export_to is not None:
        check_suffix(export_to)
    case = open_case(
        model,
        data,
        values.column_roles(),
        values.model_options(),
        threshold=values["threshold"],
        decides=False,
    )
    if values["train"] is not None:
        case = with_training(case, values["train"])
    test = None if test_table is None else case.companion(test_table)
    unlabeled = values["unlabeled"] and case.companion(values["unlabeled"], allow_no_labels=True)
    destination = Destination.of(case, values["output"], export_to)
    destination.check(case, test, force=force)
    may_need_group = method.needs_group is True or options.get("use_group") is True
    scored = (method.changes_score or options.get("head") is True) and not options.get("distill")
    export_notes: tuple[str, ...] = ()
    if export_to is not None:
        export_notes = check_export(case, may_need_group, test, scored=scored)
    source = () if values.source is None else (Detail(f"settings from {values.source}"),)
    of_test = () if test is None else (f"{test.table.name}: {note}" for note in test.notes)
    print_messages((*source, *values.file_notes, *case.notes, *of_test), quiet=quiet)
    print_messages([_power(case, test, values, objective)], quiet=quiet)
    with progress_bars(quiet=quiet):
        outcome = debias(
            case,
            name,
            objective,
            test=test,
            unlabeled=unlabeled,
            holdout_share=values["holdout"],
            seed=values["seed"],
            fold=bool(values["fold_threshold"]),
            recalibrate=not values["no_recalibrate"],
            confidence=confidence,
            promises=goals,
            subgroups=not values["no_subgroups"],
            options=options,
        )
    print_messages(outcome.notes, quiet=quiet)
    if outcome.rule.needs_group:
        print_messages(export_notes, quiet=quiet)
    report = report_document(outcome, shlex.join(["fairfix", *sys.argv[1:]]))
    report["notes"] += values.file_notes
    refused = is_trivial_result(outcome) and not values["allow_trivial"]
    if not refused:
        destination = save(
            outcome,
            values["output"],
            force=force,
            allow_trivial=True,
            export_to=export_to,
            report=report,
        )
    if json:
        print_json(report)
    elif not quiet:
        print_output(*summary(report), *(() if refused else written_files(destination)))
    print_messages(short_warnings(report["warnings"]), quiet=quiet)
    if refused:
        refuse_trivial(outcome)
    elif is_poor(outcome):
        print_messages([next_commands(outcome)], quiet=quiet)


def _power(case: Case, test: Case | None, values: OptionValues, objective: Objective) -> str:
    """Return which gap the test rows can certify at today's threshold, in words."""
    problem = case.problem if test is None else test.problem
    share = values["holdout"] if test is None else 1.0
    what = "scores" if objective.metric.of_scores else "decisions"
    result = gap_power(
        objective.metric,
        problem,
        problem.scores > problem.threshold,
        objective.budget,
        share=share,
        confidence=values.confidence(),
    )
    if result.certifiable_gap is not None:
        return (
            f"before the run: {what} like today's certify the budget on the test rows if their "
            f"estimated gap is at most {result.certifiable_gap:.4f}"
        )
    needed = result.rows_needed or {}
    rows = ", ".join(f"{format_count(n)} of {shorten(name)}" for name, n in needed.items())
    remedy = f": even a gap of 0 needs about {rows}" if needed else ", whatever their gap"
    return (
        f"before the run: the test rows are too few for {what} like today's{remedy}; others may "
        "need fewer"
    )
