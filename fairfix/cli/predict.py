"""``fairfix predict``: writes scores and decisions for the rows of a table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from fairfix._utils.atomic_write import check_destination, write_bytes
from fairfix.cli.console import print_document, print_messages, print_output
from fairfix.cli.option_values import OptionValues
from fairfix.cli.standard_input import is_stdin
from fairfix.errors import UsageError
from fairfix.thresholds.label_rules import label_rules
from fairfix.workflows.predict import predict
from fairfix.workflows.predict_labels import labels_csv, predict_labels
from fairfix.workflows.prediction_files import encoded, text_bytes


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
    to_stdout = str(output) == "-" or (output is None and is_stdin(data))
    if to_stdout and json and output is None:
        raise UsageError(
            "Decisions of stdin and --json both write to stdout; name a file with --output."
        )
    if to_stdout and json:
        raise UsageError("--json and -o - both write to stdout; give one of them.")
    destination = None if to_stdout else _destination(output, data)
    if destination is not None:
        used = [data, *(() if model == "-" else (Path(model),)), *(() if rule is None else (rule,))]
        check_destination(destination, used, force=force)
    values = OptionValues.collect("predict", given, data, model=model)
    if rule is None and values.target is None and label_rules(model):
        found = predict_labels(
            model, data, given=values.column_roles(), options=values.model_options()
        )
        notes = dict.fromkeys(note for each in found.values() for note in each.notes)
        print_messages((*values.file_notes, *notes), quiet=quiet)
        if destination is not None and destination.suffix.lower() in (".parquet", ".jsonl"):
            raise UsageError("Decisions of several labels are written as .csv or .csv.gz; use one.")
        text = labels_csv(found, label_values=label_values)
        content = text_bytes(text, "" if destination is None else destination.name)
        positive = {label: int(each.decisions.sum()) for label, each in found.items()}
        rows = len(next(iter(found.values())).decisions)
        _write(content, destination, {"rows": rows, "positive": positive}, json=json, quiet=quiet)
        return
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
    counted = {"rows": len(prediction.decisions), "positive": int(prediction.decisions.sum())}
    content = encoded(prediction, "" if destination is None else destination.name, words)
    _write(content, destination, counted, json=json, quiet=quiet)


def _write(
    content: bytes, destination: Path | None, counted: dict[str, Any], *, json: bool, quiet: bool
) -> None:
    """Write a table of decisions, to stdout without a destination, and say how many there are."""
    if destination is None:
        sys.stdout.write(content.decode("utf-8"))
        return
    write_bytes(destination, content)
    if json:
        print_document({**counted, "written": str(destination)})
        return
    positive, rows = counted["positive"], counted["rows"]
    by_label = positive.items() if isinstance(positive, dict) else [("", positive)]
    shares = ", ".join(f"{name and f'{name}: '}{count} of {rows}" for name, count in by_label)
    if not quiet:
        print_output(f"{shares} decisions are positive; wrote {destination}")


def _destination(output: Path | None, data: Path) -> Path:
    stem = data.name.removesuffix(".gz").removesuffix(".csv").removesuffix(".parquet")
    name = f"{stem}.decisions.csv"
    if output is None:
        return data.with_name(name)
    return output / name if output.is_dir() else output
