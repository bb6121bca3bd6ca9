"""A debiasing command on several labels of a network at once."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from fairfix import methods
from fairfix._utils.text import plain_number
from fairfix.cli.console import build_table, print_json, print_messages, print_output, progress_bars
from fairfix.cli.option_values import OptionValues
from fairfix.cli.summary import short_warnings
from fairfix.errors import NoResultError, UsageError
from fairfix.methods._several_labels import joint_method
from fairfix.metrics.fairness_metrics import title
from fairfix.workflows.documents import report_document
from fairfix.workflows.next_commands import is_trivial_result
from fairfix.workflows.open_case import open_case
from fairfix.workflows.save_labels import LabelFiles, save_labels
from fairfix.workflows.several_labels import debias_labels, labels_document

_ONE_LABEL = (
    *("train", "unlabeled", "fold_threshold", "export", "also", "floor", "ceiling"),
    "selection_rate_change",
)
"""Options that work on one label at a time."""


def run_labels(
    values: OptionValues, name: str, model: str, data: Path, *, json: bool, quiet: bool, force: bool
) -> None:
    """Run a method on all label columns of the command line."""
    joint_method(name)
    for option in _ONE_LABEL:
        if values[option]:
            raise UsageError(
                f"--{option.replace('_', '-')} works on one label at a time; name it with "
                "--target, or leave out the option."
            )
    objective, test_table, confidence = values.objective(), values.test(), values.confidence()
    options = methods.get(name).checked(values.own)
    case = open_case(
        model,
        data,
        values.column_roles(),
        values.model_options(),
        threshold=values["threshold"],
        decides=False,
    )
    test = None if test_table is None else case.companion(test_table)
    LabelFiles.plan(case, values["output"], test, force=force)
    print_messages((*values.file_notes, *case.notes), quiet=quiet)
    with progress_bars(quiet=quiet):
        outcomes = debias_labels(
            case,
            name,
            objective,
            test=test,
            holdout_share=values["holdout"],
            seed=values["seed"],
            confidence=confidence,
            subgroups=not values["no_subgroups"],
            options=options,
        )
    command = shlex.join(["fairfix", *sys.argv[1:]])
    reports = {label: report_document(each, command) for label, each in outcomes.items()}
    trivial = [label for label, each in outcomes.items() if is_trivial_result(each)]
    refused = bool(trivial) and not values["allow_trivial"]
    document = labels_document(outcomes)
    files = None
    if not refused:
        files = save_labels(
            outcomes, values["output"], force=force, allow_trivial=True, reports=reports
        )
    if json:
        print_json({**document, "reports": reports})
    elif not quiet:
        print_output(_table(document), *_written(files))
    for label, report in reports.items():
        warnings = (f"{label}: {each}" for each in short_warnings(report["warnings"]))
        print_messages(warnings, quiet=quiet)
    if refused:
        raise NoResultError(
            f"The result is trivial for {', '.join(map(repr, trivial))}: it decides fewer than 2 % "
            "of the rows unlike the rest, so nothing was written. Try another method or a larger "
            "--budget; --allow-trivial writes it."
        )


def _table(document: dict[str, Any]) -> Table:
    """Return gap and performance on test rows by label, their mean and the worst."""
    metric, measure = document["metric"], document["performance"]
    header = ["label", f"{metric} before", "after", f"{measure} before", "after", "verdict"]
    rows = [
        [label, *_cells(each, "gap"), *_cells(each, "performance"), each["verdict"]]
        for label, each in document["labels"].items()
    ]
    for over in ("mean", "worst"):
        figures = {state: document[over][state] for state in ("unmodified", "debiased")}
        rows.append([over, *_cells(figures, "size"), *_cells(figures, "performance"), ""])
    return build_table(f"{title(metric)} on test rows", header, rows)


def _cells(figures: dict[str, Any], key: str) -> list[str]:
    return [plain_number(figures[state][key]) for state in ("unmodified", "debiased")]


def _written(files: LabelFiles | None) -> Iterator[str]:
    if files is None:
        return
    first, *_ = files.paths
    yield f"wrote {first}"
    yield f"wrote {files.labels.name}, and for each label its .rule.json, .report.json, .md, .html"
