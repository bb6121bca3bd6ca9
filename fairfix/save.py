"""Writing an outcome: checkpoint, rule and reports, all of them or none."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fairfix import checkpoint as checkpoints
from fairfix.case import Case
from fairfix.debias import Outcome
from fairfix.errors import OutputError, VerificationError
from fairfix.report.document import document
from fairfix.report.markdown import markdown
from fairfix.scorer import Scorer


@dataclass(frozen=True)
class Destination:
    """Where the files of one outcome go; ``model`` is None when there are scores alone."""

    model: Path | None
    rule: Path
    report: Path
    markdown: Path

    @classmethod
    def of(cls, case: Case, output: str | Path | None = None) -> Destination:
        """``output`` and its companions; ``<stem>.debiased<suffix>`` beside the input by default.

        An ``output`` that is a folder takes the default names inside it.
        """
        source = case.table.path if case.checkpoint is None else case.checkpoint.path
        path = source.with_name(f"{source.name.split('.')[0]}.debiased{source.suffix}")
        if output is not None:
            given = Path(output)
            path = given / path.name if given.is_dir() and not source.is_dir() else given
        stem = path.name.removesuffix(path.suffix) if source.suffix else path.name
        rule, report, text = (
            path.with_name(f"{stem}.{end}") for end in ("rule.json", "report.json", "report.md")
        )
        return cls(None if case.checkpoint is None else path, rule, report, text)

    @property
    def paths(self) -> tuple[Path, ...]:
        files = (self.rule, self.report, self.markdown)
        return files if self.model is None else (self.model, *files)

    def check(self, inputs: Iterable[Path], *, force: bool) -> None:
        """See that everything can be written, before the work.

        Raises:
            OutputError: when a file is one of the inputs, exists (without ``force``), or its
                folder does not.
        """
        folder = self.rule.parent
        if not folder.is_dir():
            raise OutputError(f"The folder {folder} does not exist; make it first.")
        for path in self.paths:
            if not path.exists():
                continue
            if any(given.exists() and path.samefile(given) for given in inputs):
                raise OutputError(
                    f"{path} is an input and is never overwritten; name another file with -o."
                )
            if not force:
                raise OutputError(
                    f"{path} exists; name another file with -o, or replace it with --force."
                )


def save(
    outcome: Outcome,
    output: str | Path | None = None,
    *,
    force: bool = False,
    command: str | None = None,
) -> Destination:
    """Write everything, read the checkpoint back, and compare its decisions with those reported.

    Raises:
        OutputError: when a file is there already (without ``force``), is one of the inputs, or
            cannot be written.
        VerificationError: when the written checkpoint decides otherwise. Nothing is written then.
    """
    destination = Destination.of(outcome.case, output)
    destination.check(inputs(outcome.case, outcome.judged_case), force=force)
    report = document(outcome, command)
    folder = destination.rule.parent
    try:
        stage = Path(tempfile.mkdtemp(dir=folder, prefix=".fairfix-"))
    except OSError as error:
        raise OutputError(
            f"Cannot write in {folder}: {error.strerror}. Name another place with -o."
        ) from None
    try:
        if destination.model is not None:
            _write_model(outcome, stage / destination.model.name)
        for path, text in (
            (destination.rule, _json(outcome.rule.to_json())),
            (destination.report, _json(report)),
            (destination.markdown, markdown(report)),
        ):
            (stage / path.name).write_text(text, encoding="utf-8")
        _move(stage, destination.paths)
    except OSError as error:
        raise OutputError(f"Cannot write in {folder}: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return destination


def inputs(case: Case, test: Case | None = None) -> list[Path]:
    """The files of a run that must never be overwritten."""
    files = [case.table.path]
    if case.checkpoint is not None:
        files.append(case.checkpoint.path)
    return files if test is None else [*files, test.table.path]


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _write_model(outcome: Outcome, path: Path) -> None:
    checkpoint = outcome.case.checkpoint
    assert checkpoint is not None
    state = outcome.state if outcome.state is not None else checkpoint.tensors
    checkpoints.write(checkpoint, state, path, rule=outcome.rule.to_json())
    _compare_decisions(outcome, path)


def _compare_decisions(outcome: Outcome, path: Path) -> None:
    """Read the checkpoint as anybody would and apply the rule to the judged rows."""
    case, problem = outcome.case, outcome.judged_problem
    assert problem.scorer is not None
    assert problem.features is not None
    again = checkpoints.read(
        path, arch=case.options.arch, arch_args=case.options.arch_args, trust=case.options.trust
    )
    assert again.module is not None
    scorer = Scorer(
        again.module.to(problem.features.device),
        problem.scorer.output,
        complement=problem.scorer.complement,
    )
    scores = scorer.score(problem.features, case.options.batch_size)
    decisions = outcome.rule.decide(scores, problem.groups, problem.group_names)
    if not torch.equal(decisions, outcome.judged_decisions):
        differ = int((decisions != outcome.judged_decisions).sum())
        raise VerificationError(
            f"The checkpoint read back decides {differ} of {len(decisions)} rows otherwise than "
            "reported, so nothing was written."
        )


def _move(stage: Path, paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():  # a folder cannot be replaced in one step: the old one steps aside
            path.rename(stage / f"{path.name}.replaced")
        (stage / path.name).replace(path)
