"""Write the outcomes of several labels: one checkpoint, and a rule and reports for each label."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fairfix._utils.atomic_write import staged
from fairfix.errors import UsageError, VerificationError
from fairfix.models import checkpoint as checkpoints
from fairfix.thresholds.rule_file import read_rule
from fairfix.workflows.case import Case
from fairfix.workflows.next_commands import refuse_trivial
from fairfix.workflows.outcome import Outcome
from fairfix.workflows.save import (
    Destination,
    compare_decisions,
    json_text,
    rule_and_texts,
    write_spec,
    write_texts,
)
from fairfix.workflows.several_labels import labels_document

_ENDS = ("rule", "report", "markdown", "html")
_FILE_NAME = re.compile(r"[^\x00-\x1f/\\:*?\"<>|]+")


@dataclass(frozen=True)
class LabelFiles:
    """Paths of the files of several outcomes.

    Attributes:
        labels: the list of the labels, their rules and their figures.
        of: by label, with the rule and the reports of its own.
    """

    labels: Path
    of: Mapping[str, Destination]

    @classmethod
    def plan(
        cls, case: Case, output: str | Path | None, test: Case | None = None, *, force: bool
    ) -> LabelFiles:
        """Derive the paths, and check before the run that everything can be written.

        Raises:
            OutputError: as ``Destination.check``.
            UsageError: if a label cannot be part of a file name.
        """
        shared = Destination.of(case, output)
        found = {name: _own(shared, name) for name in case.columns.targets}
        for each in found.values():
            each.check(case, test, force=force)
        return cls(shared.labels, found)

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files, the checkpoint first."""
        files = [path for each in self.of.values() for path in each.paths]
        return (*dict.fromkeys(files), self.labels)


def _own(shared: Destination, label: str) -> Destination:
    """Return the files of one label: the checkpoint is shared."""
    if not _FILE_NAME.fullmatch(label) or len({label.casefold(), "data"}) < 2:
        raise UsageError(
            f"The label {label!r} cannot be part of a file name, and each label has files of its "
            "own; rename the column, or work on one label with --target."
        )
    stem = shared.rule.name.removesuffix("rule.json")
    named = {
        end: path.with_name(f"{stem}{label}.{path.name.removeprefix(stem)}")
        for end, path in ((end, getattr(shared, end)) for end in _ENDS)
    }
    return replace(shared, arrays=None, **named)


def save_labels(
    outcomes: Mapping[str, Outcome],
    output: str | Path | None = None,
    *,
    force: bool = False,
    allow_trivial: bool = False,
    reports: Mapping[str, Mapping[str, Any]],
) -> LabelFiles:
    """Write all files, read the checkpoint back, and compare its decisions with those reported.

    Args:
        outcomes: by label, with one state (``debias_labels``).
        reports: the document of each outcome.
        allow_trivial: write results that decide nearly all rows alike.

    Raises:
        FairfixError: as ``save``; nothing is written.
    """
    if not allow_trivial:
        for each in outcomes.values():
            refuse_trivial(each)
    first = next(iter(outcomes.values()))
    files = LabelFiles.plan(first.case, output, first.test_case, force=force)
    own = Destination.of(first.case, output)
    stale = [getattr(own, end) for end in (*_ENDS, "arrays")]
    document = labels_document(outcomes)
    with staged(files.paths, remove=stale) as staging:
        _write_model(outcomes, staging[next(iter(files.of.values())).model or files.labels])
        write_spec(first, own, staging)
        for label, outcome in outcomes.items():
            destination = files.of[label]
            rule, texts = rule_and_texts(outcome, destination, reports[label])
            write_texts(texts, staging)
            if read_rule(staging[destination.rule]).to_json() != rule.to_json():
                raise VerificationError("The rule read back differs, so nothing was written.")
            document["labels"][label]["rule"] = destination.rule.name
            document["labels"][label]["report"] = destination.report.name
        write_texts({files.labels: json_text(document)}, staging)
    return files


def _write_model(outcomes: Mapping[str, Outcome], path: Path) -> None:
    first = next(iter(outcomes.values()))
    checkpoint = first.case.checkpoint
    assert checkpoint is not None
    state = checkpoint.tensors if first.state is None else first.state
    checkpoints.write(checkpoint, state, path)
    for outcome in outcomes.values():
        compare_decisions(outcome, path)
