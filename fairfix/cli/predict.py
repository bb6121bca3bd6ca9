"""``fairfix predict``: writes scores and decisions for the rows of a table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from fairfix._utils.atomic_write import check_destination, write_text
from fairfix.cli.console import print_json, print_messages, print_output
from fairfix.cli.option_values import OptionValues
from fairfix.errors import UsageError
from fairfix.workflows.predict import predict


def run(
    *,
    model: str,
    data: Path,
    rule: Path | None,
    output: Path | None,
    label_values: bool,
    force: bool,
    json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    to_stdout = str(output) == "-"
    if to_stdout and json:
        raise UsageError("--json and -o - both write to stdout; give one of them.")
    destination = _destination(output, data)
    if not to_stdout:
        used = [data, *(() if model == "-" else (Path(model),)), *(() if rule is None else (rule,))]
        check_destination(destination, used, force=force)
    values = OptionValues.collect("predict", given, data)
    prediction = predict(
        model, data, given=values.column_roles(), options=values.model_options(), rule=rule
    )
    words = prediction.label_values if label_values else None
    if label_values and words is None:
        raise UsageError(
            "--label-values needs a rule that knows two label values, and there is none; leave it "
            "out to write decisions as 0 and 1."
        )
    print_messages((*values.file_notes, *prediction.notes), quiet=quiet)
    text = prediction.csv(label_values=words)
    if to_stdout:
        sys.stdout.write(text)
        return
    write_text(destination, text)
    rows, positive = len(prediction.decisions), int(prediction.decisions.sum())
    if json:
        print_json({"rows": rows, "positive": positive, "written": str(destination)})
    elif not quiet:
        print_output(f"{positive} of {rows} decisions are positive; wrote {destination}")


def _destination(output: Path | None, data: Path) -> Path:
    stem = data.name.removesuffix(".gz").removesuffix(".csv").removesuffix(".parquet")
    name = f"{stem}.decisions.csv"
    if output is None:
        return data.with_name(name)
    return output / name if output.is_dir() else output
