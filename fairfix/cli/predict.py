"""``fairfix predict``: scores and decisions for the rows of a table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from fairfix.cli.talk import emit, say, show
from fairfix.cli.values import Values
from fairfix.errors import OutputError
from fairfix.files import write_text
from fairfix.predict import predict


def run(
    *,
    model: str,
    data: Path,
    rule: Path | None,
    output: Path | None,
    force: bool,
    json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    destination = output or data.with_name(f"{data.name.split('.')[0]}.decisions.csv")
    if str(destination) != "-":
        _check(destination, data, force)
    values = Values.collect("predict", given, data)
    columns = values.columns()
    found = predict(model, data, columns=columns, options=values.model_options(), rule=rule)
    say(found.notes, quiet=quiet)
    text = found.csv(columns.id)
    if str(destination) == "-":
        sys.stdout.write(text)
        return
    write_text(destination, text)
    positive = int(found.decisions.sum())
    if json:
        rows = len(found.decisions)
        emit({"rows": rows, "positive": positive, "written": str(destination)})
    elif not quiet:
        show(f"{positive} of {len(found.decisions)} decisions are positive; wrote {destination}")


def _check(destination: Path, data: Path, force: bool) -> None:
    if not destination.exists():
        return
    if destination.samefile(data):
        raise OutputError(f"{destination} is the table itself; name another file with -o.")
    if not force:
        raise OutputError(
            f"{destination} exists; name another file with -o, or replace it with --force."
        )
