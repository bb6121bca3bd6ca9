"""``fairfix init``: inspects a network and a table, and writes the settings for both."""

from __future__ import annotations

import json as json_text
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from fairfix._utils.atomic_write import check_destination, staged
from fairfix._utils.text import quoted_list
from fairfix.cli.console import print_document, print_messages, print_output
from fairfix.cli.option_values import OptionValues
from fairfix.cli.standard_input import is_stdin
from fairfix.data.spec import find_spec
from fairfix.data.table.cell_values import normalized_text
from fairfix.errors import UsageError
from fairfix.models.checkpoint import Checkpoint
from fairfix.workflows.encoding_candidates import (
    Candidate,
    candidates_of,
    decided,
    measured,
    transformer_candidate,
)
from fairfix.workflows.model_options import ModelOptions
from fairfix.workflows.named_columns import resolve_columns
from fairfix.workflows.proposals import (
    Proposal,
    propose_architecture,
    propose_favorable,
    propose_groups,
    propose_label,
    propose_privileged,
    read_frame,
)

_SORTED = "codes follow the sorted order of the values, which training may not have used"
_FILE = "fairfix.toml"
_WRITTEN_AS_GIVEN = (
    *("label", "favorable", "unfavorable", "group", "privileged", "reference", "missing_group"),
    *("id", "ignore", "weight", "cluster", "features", "arch_args", "checkpoint_key"),
    *("output_kind", "output_name", "output_label", "classes"),
)


class _Decisions:
    """The settings that are decided so far, with their evidence, and the questions left open."""

    def __init__(self, given: dict[str, Any], *, ask: bool) -> None:
        self.values = {name: given[name] for name in _WRITTEN_AS_GIVEN if name in given}
        self.why = dict.fromkeys(self.values, "given")
        self._ask = ask
        self._open: list[str] = []

    def decide(self, proposal: Proposal) -> str | None:
        """Return the value of a setting: as given, by unique evidence, or as the user answers."""
        key = proposal.option.removeprefix("--").replace("-", "_")
        if key in self.values:
            value = self.values[key]
            return str(value[0] if key == "group" else value)
        choices = proposal.choices
        answer = choices[0] if len(choices) == 1 else self._answer(proposal)
        if answer is None:
            self._open.append(_remedy(proposal))
            return None
        self.values[key] = [answer] if key == "group" else answer
        self.why[key] = proposal.why if len(choices) == 1 else "as answered"
        return answer

    def take(self, key: str, value: Any) -> None:
        """Set a setting as it was given."""
        self.values[key], self.why[key] = value, "given"

    def _answer(self, proposal: Proposal) -> str | None:
        if not self._ask:
            return None
        shown = f" ({', '.join(proposal.choices[:12])})" if proposal.choices else ""
        question = f"{proposal.option.removeprefix('--').replace('-', ' ')}{shown}"
        return str(typer.prompt(question, err=True)).strip()

    def refuse_open(self) -> None:
        """Raise UsageError if a question is left open."""
        if self._open:
            raise UsageError(
                f"The table and the network leave open what to write; add {', '.join(self._open)}."
            )


def _remedy(proposal: Proposal) -> str:
    if not proposal.choices:
        return f"{proposal.option} (nothing fits by {proposal.why})"
    some = proposal.choices[:8]
    more = ", ..." if len(proposal.choices) > len(some) else ""
    return f"{proposal.option} ({quoted_list(some)}{more})"


def run(
    *, model: str, data: Path, yes: bool, force: bool, json: bool, quiet: bool, **given: Any
) -> None:
    if is_stdin(data):
        raise UsageError("fairfix.toml is written beside the table; save stdin as one and name it.")
    settings_file = data.parent / _FILE
    _check_destination(settings_file, model, data, force=force)
    values = OptionValues.without_file(given)
    ask = not yes and not json and _on_terminal()
    frame = read_frame(data)
    decisions = _Decisions(_written(values), ask=ask)
    _decide_roles(decisions, frame)
    options = values.model_options().completed(model)
    checkpoint = options.read_checkpoint(model)
    if checkpoint.module is None:
        options = replace(options, arch=decisions.decide(propose_architecture(checkpoint)))
    elif options.arch is not None:
        decisions.take("arch", _relative_arch(options.arch, data.parent))
    decisions.refuse_open()
    if checkpoint.module is None:
        checkpoint = options.read_checkpoint(model)
    assert checkpoint.module is not None
    chosen = _choose_encoding(decisions, frame, checkpoint, Path(model), data, options, ask=ask)
    files = {settings_file: _toml(decisions, chosen, data, model)}
    if chosen is not None and chosen.spec is not None:
        place = Path(model).with_name(f"{Path(model).stem}.data.json")
        _check_destination(place, model, data, force=force)
        files[place] = json_text.dumps(chosen.spec, indent=2) + "\n"
    with staged(files) as staging:
        for path, text in files.items():
            staging[path].write_text(text, encoding="utf-8")
    commands = _next_commands(model, data, decisions.values, trust=options.trust)
    print_messages((*checkpoint.notes, *_notes(chosen)), quiet=quiet)
    if json:
        written = [str(path) for path in files]
        print_document({"settings": decisions.values, "written": written, "next": commands})
    elif not quiet:
        print_output(*(f"wrote {path}" for path in files), "Next:", *(f"  {c}" for c in commands))


def _on_terminal() -> bool:
    return sys.stdin.isatty()


def _check_destination(path: Path, model: str, data: Path, *, force: bool) -> None:
    if path.is_file() and not force:
        raise UsageError(f"{path} exists and is not overwritten; add --force to replace it.")
    check_destination(path, [data, Path(model)], force=force, option="--force")


def _written(values: OptionValues) -> dict[str, Any]:
    """Return the given options as a settings file has them."""
    roles = values.column_roles()
    lists = {"ignore": roles["ignore"], "features": roles["features"]}
    lists["unfavorable"] = roles["unfavorable"]
    return {**values.given, **{name: list(found) for name, found in lists.items() if found}}


def _decide_roles(decisions: _Decisions, frame: pd.DataFrame) -> None:
    """Decide label, favorable value, group and privileged value."""
    known = decisions.values
    roles = [known[name] for name in ("id", "weight", "cluster") if name in known]
    unused = frame.drop(columns=[*roles, *known.get("ignore", ())], errors="ignore")
    label = decisions.decide(propose_label(unused))
    for name in (label, *known.get("group", ())):
        if name is not None and name not in frame:
            raise UsageError(f"The table has no column {name!r}; its columns: {_names(frame)}.")
    favorable = None if label is None else decisions.decide(propose_favorable(frame[label]))
    group = decisions.decide(propose_groups(unused, [] if label is None else [label]))
    if group is not None and group not in frame:
        raise UsageError(f"The table has no column {group!r}; its columns: {_names(frame)}.")
    if None in (label, favorable, group) or "privileged" in known or "reference" in known:
        return
    privileged = propose_privileged(frame, str(label), normalized_text(favorable), str(group))
    if privileged.choices:
        decisions.decide(privileged)


def _names(frame: pd.DataFrame) -> str:
    return quoted_list([str(name) for name in frame])


def _choose_encoding(
    decisions: _Decisions,
    frame: pd.DataFrame,
    checkpoint: Checkpoint,
    model: Path,
    data: Path,
    options: ModelOptions,
    *,
    ask: bool,
) -> Candidate | None:
    """Return how the columns become the network's inputs; None if that is known already.

    Raises:
        UsageError: several encodings fit equally well.
    """
    known = decisions.values
    if options.data_spec is not None or find_spec(model, trust=options.trust) is not None:
        if options.data_spec is not None:
            decisions.take("data_spec", os.path.relpath(str(options.data_spec), data.parent))
        return None
    found = transformer_candidate(model, frame, trust=options.trust)
    if found is not None:
        return found
    columns = resolve_columns({k: v for k, v in _roles(known).items() if v is not None})
    taken = {name for _, name in columns.roles()} | set(columns.ignore)
    features = [str(name) for name in frame if name not in taken]
    with_group = [str(n) for n in frame if n not in taken - set(columns.groups)]
    sets = [list(columns.features)] if columns.features else [features, with_group]
    ranked = measured(_candidates(checkpoint, frame, sets), checkpoint, data, columns, options)
    if decided(ranked):
        return ranked[0]
    listed = "; ".join(f"{each.words} (AUC {each.auc:.3f})" for each in ranked[:4])
    if not ask:
        raise UsageError(
            f"Several encodings of the columns fit the network about as well: {listed}. Describe "
            "the inputs in a data spec (--data-spec), or choose on a terminal."
        )
    for number, each in enumerate(ranked, 1):
        typer.echo(f"  {number}. {each.words} (AUC {each.auc:.3f})", err=True)
    wanted = int(typer.prompt("encoding of the columns", type=int, default=1, err=True))
    if not 1 <= wanted <= len(ranked):
        raise UsageError(f"The encodings are numbered 1 to {len(ranked)}; {wanted} is none.")
    return ranked[wanted - 1]


def _candidates(
    checkpoint: Checkpoint, frame: pd.DataFrame, sets: Sequence[Sequence[str]]
) -> list[Candidate]:
    """Return the encodings of any of the sets of columns.

    Raises:
        UsageError: there are none; the reason for the first set.
    """
    found: list[Candidate] = []
    reasons: list[UsageError] = []
    for names in sets:
        try:
            found += candidates_of(checkpoint, frame, names)
        except UsageError as error:
            reasons.append(error)
    if not found and reasons:
        raise reasons[0]
    return found


def _roles(known: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of ``Columns``."""
    return {
        "label": known["label"],
        "favorable": known["favorable"],
        "unfavorable": tuple(known.get("unfavorable", ())) or None,
        "groups": tuple(known["group"]),
        "ignore": tuple(known.get("ignore", ())) or None,
        "features": tuple(known.get("features", ())) or None,
        **{
            name: known.get(name)
            for name in ("privileged", "reference", "missing_group", "id", "weight", "cluster")
        },
    }


def _relative_arch(arch: str, folder: Path) -> str:
    """Return an architecture as a settings file in a folder names it."""
    place, colon, symbol = arch.rpartition(":")
    if not place.endswith(".py"):
        return arch
    return f"{os.path.relpath(place, folder)}{colon}{symbol}"


def _notes(chosen: Candidate | None) -> list[str]:
    if chosen is None or chosen.auc != chosen.auc:
        return []
    note = f"inputs: {chosen.words}; AUC {chosen.auc:.3f} on the table"
    notes = [note if chosen.auc >= 0.6 else f"warning: {note}, which is low: check the inputs"]
    if _has_codes(chosen):
        notes.append(f"warning: {_SORTED}; compare the AUC with that of training")
    return notes


def _has_codes(chosen: Candidate) -> bool:
    """Whether places in lists of categories are inputs of the network."""
    return "codes from" in chosen.words


def _toml(decisions: _Decisions, chosen: Candidate | None, data: Path, model: str) -> str:
    """Return the settings file."""
    lines = [
        f"# Settings of fairfix for {Path(model).name} and {data.name}. The command line wins."
    ]
    values = dict(decisions.values)
    if chosen is not None and chosen.features is not None:
        values["features"] = list(chosen.features)
        decisions.why["features"] = f"{chosen.words}: AUC {chosen.auc:.3f} on this table"
    for key, value in values.items():
        why = decisions.why.get(key, "given")
        lines += [f"# {key.replace('_', '-')}: {' '.join(why.split())}"]
        lines += [f"{key.replace('_', '-')} = {_toml_value(value)}"]
    if chosen is not None and chosen.spec is not None:
        measured_as = "" if chosen.auc != chosen.auc else f" (AUC {chosen.auc:.3f} on this table)"
        lines += [f"# {Path(model).stem}.data.json has the inputs: {chosen.words}{measured_as}."]
        if "standardized" in chosen.words:
            lines += ["# Means and scales are those of this table, not of the training rows."]
        if _has_codes(chosen):
            lines += [f"# Check it: {_SORTED}."]
    lines += [
        '# metric = "spd"  # the gap to limit, by default',
        '# test = "test.csv"  # held-out rows',
    ]
    lines += ["", "[gate]", '# budget = ["spd=0.05"]', '# floor = ["balanced_accuracy=0.6"]']
    return "\n".join(lines) + "\n"


def _toml_value(value: Any) -> str:
    """Return a value of TOML; texts and lists are written as in JSON."""
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json_text.dumps(k)} = {_toml_value(v)}" for k, v in value.items())
            + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return json_text.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007f")


def _next_commands(model: str, data: Path, settings: dict[str, Any], *, trust: bool) -> list[str]:
    arch = str(settings.get("arch", "mlp:"))
    flags = ["--trust-checkpoint"] if trust or not arch.startswith("mlp:") else []
    steps: Sequence[Sequence[str]] = (
        ("inspect", model, str(data)),
        ("audit", model, str(data)),
        ("auto", model, str(data), "--metric", "spd", "--budget", "0.05"),
    )
    return [shlex.join(["fairfix", *step, *flags]) for step in steps]
