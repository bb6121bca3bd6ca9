"""A debiasing command: read, debias, judge, write, show."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from fairfix import methods
from fairfix.case import load
from fairfix.cli.summary import summary
from fairfix.cli.talk import emit, progress, say, show
from fairfix.cli.values import Values
from fairfix.debias import debias
from fairfix.report.document import document
from fairfix.save import Destination, save


def run(
    *, name: str, model: str, data: Path, json: bool, quiet: bool, force: bool, **given: Any
) -> None:
    own = [option.name for option in methods.get(name).options]
    values = Values.collect(name, given, data, own)
    objective = values.objective()
    case = load(
        model,
        data,
        columns=values.columns(),
        options=values.model_options(),
        threshold=values["threshold"],
    )
    judged_on = values.test()
    test = None if judged_on is None else case.companion(judged_on)
    destination = Destination.of(case, values["output"])
    destination.check(case, test, force=force)
    if values.source is not None:
        say([f"settings from {values.source}"], quiet=quiet)
    say(case.notes, quiet=quiet)
    if test is not None:
        say((f"{test.table.path.name}: {note}" for note in test.notes), quiet=quiet)
    with progress(quiet=quiet):
        outcome = debias(
            case,
            name,
            objective,
            test=test,
            holdout_share=values["holdout"],
            seed=values["seed"],
            fold=bool(values["fold_threshold"]),
            options=values.own,
        )
    say(outcome.result.notes, quiet=quiet)
    command = shlex.join(["fairfix", *sys.argv[1:]])
    save(outcome, values["output"], force=force, command=command)
    report = document(outcome, command)
    if json:
        emit(report)
    elif not quiet:
        show(*summary(report), *(f"wrote {path}" for path in destination.paths))
    say([f"warning: {warning}" for warning in outcome.warnings], quiet=quiet)
