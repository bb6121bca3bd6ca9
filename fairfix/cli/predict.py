"""``fairfix predict``: scores and decisions for the rows of a table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from fairfix._utils.atomic_write import check_place, write_text
from fairfix.cli.console import emit, say, show
from fairfix.cli.option_values import Values
from fairfix.errors import UsageError
from fairfix.workflows.predict import predict


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
    to_stdout = str(output) == "-"
    if to_stdout and json:
        raise UsageError("--json and -o - both want standard output: give one of them.")
    destination = _destination(output, data)
    if not to_stdout:
        used = [data, *(() if model == "-" else (Path(model),)), *(() if rule is None else (rule,))]
        check_place(destination, used, force=force)
    values = Values.collect("predict", given, data)
    columns = values.columns()
    found = predict(model, data, columns=columns, options=values.model_options(), rule=rule)
    say(found.notes, quiet=quiet)
    text = found.csv(columns.id)
    if to_stdout:
        sys.stdout.write(text)
        return
    write_text(destination, text)
    rows, positive = len(found.decisions), int(found.decisions.sum())
    if json:
        emit({"rows": rows, "positive": positive, "written": str(destination)})
    elif not quiet:
        show(f"{positive} of {rows} decisions are positive; wrote {destination}")


def _destination(output: Path | None, data: Path) -> Path:
    stem = data.name.removesuffix(".gz").removesuffix(".csv").removesuffix(".parquet")
    name = f"{stem}.decisions.csv"
    if output is None:
        return data.with_name(name)
    return output / name if output.is_dir() else output
