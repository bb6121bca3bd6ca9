"""Write an outcome: checkpoint, rule and reports, all of them or none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from fairfix._utils.atomic_write import check_destination, staged
from fairfix.data.spec import InputsSpec, Spec, find_spec
from fairfix.data.spec.find_spec import INSIDE
from fairfix.data.spec.spec_files import SpecFile, spec_files, with_places
from fairfix.errors import CheckpointError, OutputError, UsageError, VerificationError
from fairfix.models import checkpoint as checkpoints
from fairfix.models.checkpoint import Checkpoint
from fairfix.models.checkpoint.memory import SUFFIXES as MEMORY_SUFFIXES
from fairfix.models.run_network import make_scorer, reading_like
from fairfix.models.score_model.storage import to_bytes
from fairfix.report.html import html
from fairfix.report.markdown import markdown
from fairfix.report.model_card import update
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.rule_file import LABELS_SUFFIX, page_mark, read_rule, stem_of
from fairfix.workflows.case import Case
from fairfix.workflows.documents import report_document
from fairfix.workflows.explored import explored_outcome
from fairfix.workflows.export import export
from fairfix.workflows.next_commands import refuse_trivial
from fairfix.workflows.outcome import Outcome


@dataclass(frozen=True)
class Destination:
    """Paths of the files of one outcome.

    Attributes:
        model: None for scores without a model.
        spec: a copy of the data spec, if the new model would not find it otherwise.
        spec_copies: copies of the files and folders that it names.
        arrays: of the rule's score model; None if it has none.
        export: network and thresholds as one program (``fairfix.export``).
    """

    model: Path | None
    rule: Path
    report: Path
    markdown: Path
    html: Path
    arrays: Path | None
    spec: Path | None = None
    spec_copies: Mapping[SpecFile, Path] = field(default_factory=dict)
    export: Path | None = None

    @classmethod
    def of(
        cls, case: Case, output: str | Path | None = None, export: str | Path | None = None
    ) -> Destination:
        """Derive the paths from ``output``; ``<stem>.debiased<suffix>`` by default.

        A folder given as ``output`` takes the default names inside it, unless both it and the
        input are folders that hold a model.
        """
        checkpoint = case.checkpoint
        source = _source(case, output)
        path = _default(source)
        is_folder = checkpoint is not None and source.is_dir()
        if output is not None:
            given = Path(output)
            inside = given.is_dir() and not (is_folder and _holds_model(given))
            path = given / path.name if inside else given
        stem = stem_of(path, folder=is_folder)
        rule, report, text, page, arrays = (
            path.with_name(f"{stem}.{end}")
            for end in (
                "rule.json",
                "report.json",
                "report.md",
                "report.html",
                "rule.safetensors",
            )
        )
        program = None if export is None else Path(export)
        if checkpoint is None:
            return cls(None, rule, report, text, page, arrays, export=program)
        own = path.with_name(f"{stem}.data.json")
        copied = [each for each in spec_files(case.spec) if not each.is_found_from(path.parent)]
        lost = case.spec is not None and (find_spec(path) is None or (copied and own.is_file()))
        if not lost or _has_inside(checkpoint, case.spec):
            return cls(path, rule, report, text, page, arrays, export=program)
        copies = {each: path.with_name(f"{stem}.{each.name}") for each in copied}
        return cls(path, rule, report, text, page, arrays, own, copies, program)

    @property
    def labels(self) -> Path:
        """The list of the labels of a network with several, which this outcome is not one of."""
        stem = self.rule.name.removesuffix(".rule.json")
        return self.rule.with_name(f"{stem}{LABELS_SUFFIX}")

    @property
    def paths(self) -> tuple[Path, ...]:
        reports = (self.report, self.markdown, self.html)
        files = (
            self.model,
            self.rule,
            self.arrays,
            *reports,
            self.spec,
            *self.spec_copies.values(),
            self.export,
        )
        return tuple(path for path in files if path is not None)

    def check(self, case: Case, test: Case | None = None, *, force: bool) -> None:
        """Check before the run that everything can be written.

        Raises:
            OutputError: as ``check_destination``, or if the suffix is that of another format.
            UsageError: if two files have the same path.
        """
        given = (*case.files, *(test.files if test else ()))
        is_folder = self.model is not None and any(path.is_dir() for path in given)
        copied = (to for each, to in self.spec_copies.items() if each.path.is_dir())
        folders = (*((self.model,) if is_folder else ()), *copied)
        for path in self.paths:
            check_destination(
                path,
                given,
                force=force,
                folder=path in folders,
                option="--export" if path == self.export else "-o",
            )
        if self.export in self.paths[:-1]:
            raise UsageError(f"{self.export} is named by --export and by -o; give two files.")
        if self.model is not None and case.checkpoint is not None:
            _check_suffix(self.model, case.checkpoint)


def _source(case: Case, output: str | Path | None) -> Path:
    """Return the file or folder of the model, else of the table; its name decides that of outputs.

    Raises:
        UsageError: if it is in memory and the output has no name.
    """
    if case.checkpoint is None and case.table.files:
        return case.table.files[0]
    if case.checkpoint is not None and case.checkpoint.path is not None:
        return case.checkpoint.path
    if output is None:
        raise UsageError("What is in memory has no file name; name the output, as in 'model.pt'.")
    return Path("model.pt")


def _default(source: Path) -> Path:
    if not source.name:  # "." has no name of its own
        source = source.resolve()
    suffix = "" if source.is_dir() else source.suffix
    stem = source.name.removesuffix(suffix).removesuffix(".csv")
    return source.with_name(f"{stem}.debiased{suffix}")


def _check_suffix(path: Path, checkpoint: Checkpoint) -> None:
    """Raise OutputError if the suffix is that of another format."""
    if checkpoint.path is None:
        if path.suffix not in MEMORY_SUFFIXES:
            raise OutputError(
                f"{path.name} would hold the state_dict of a network in memory; name a file that "
                f"ends in {', '.join(MEMORY_SUFFIXES)}."
            )
        return
    safe = checkpoint.format == "safetensors"
    foreign = path.suffix in (".csv", ".gz", ".parquet", ".json", ".md", ".html", ".toml", ".py")
    if not checkpoint.path.is_dir() and (foreign or (path.suffix == ".safetensors") != safe):
        raise OutputError(
            f"{path.name} would hold a checkpoint in the format of {checkpoint.name}; name "
            f"the output with its suffix, {checkpoint.path.suffix or 'none'}."
        )


def _holds_model(folder: Path) -> bool:
    try:
        checkpoints.detect(folder)
    except CheckpointError:
        return False
    return True


def save(
    outcome: Outcome,
    output: str | Path | None = None,
    *,
    force: bool = False,
    allow_trivial: bool = False,
    export_to: str | Path | None = None,
    report: Mapping[str, Any] | None = None,
) -> Destination:
    """Write all files, read the checkpoint back, and compare its decisions with those reported.

    Args:
        allow_trivial: write a result that decides nearly all rows alike.
        export_to: file for network and thresholds as one program (``fairfix.export``).
        report: the outcome's document, if it has been made already.

    Raises:
        NoResultError: for a trivial result (without ``allow_trivial``).
        OutputError: when a file is there already (without ``force``), is one of the inputs, or
            cannot be written.
        VerificationError: if the written checkpoint decides differently; nothing is written.
        UsageError, CheckpointError: for what cannot be exported (``workflows.export.export``).
    """
    if not allow_trivial:
        refuse_trivial(outcome)
    destination = Destination.of(outcome.case, output, export_to)
    destination.check(outcome.case, outcome.test_case, force=force)
    report = report_document(outcome) if report is None else dict(report)
    rule, texts = rule_and_texts(outcome, destination, report)
    stale: tuple[Path, ...] = (destination.labels,)
    if rule.score_model is None and destination.arrays is not None:
        stale = (*stale, destination.arrays)
        destination = replace(destination, arrays=None)
    with staged(destination.paths, remove=stale) as staging:
        if destination.model is not None:
            _write_model(outcome, rule, staging[destination.model])
            _write_card(staging[destination.model], report)
        if destination.export is not None:
            export(outcome, staging[destination.export])
        if destination.arrays is not None and rule.score_model is not None:
            staging[destination.arrays].write_bytes(to_bytes(rule.score_model))
        write_spec(outcome, destination, staging)
        write_texts(texts, staging)
        if read_rule(staging[destination.rule]).to_json() != rule.to_json():
            raise VerificationError("The rule read back differs, so nothing was written.")
    return destination


def rule_and_texts(
    outcome: Outcome, destination: Destination, report: Mapping[str, Any]
) -> tuple[DecisionRule, dict[Path, str]]:
    """Return the rule, bound to the report, and the contents of rule, report and its pages."""
    report = dict(report)
    report_text = json_text(report)
    report_sha256 = hashlib.sha256(report_text.encode()).hexdigest()
    rule, mark = replace(outcome.rule, report_sha256=report_sha256), page_mark(report_sha256)
    return rule, {
        destination.rule: json_text(rule.to_json()),
        destination.report: report_text,
        destination.markdown: markdown(report) + mark,
        destination.html: html(report, explored_outcome(outcome)) + mark,
    }


def write_texts(texts: Mapping[Path, str], staging: Mapping[Path, Path]) -> None:
    """Write texts to the staging files of their destinations."""
    for path, text in texts.items():
        staging[path].write_text(text, encoding="utf-8", newline="\n")


def write_spec(outcome: Outcome, destination: Destination, staging: Mapping[Path, Path]) -> None:
    """Write the copy of the data spec and of its files, if the new model needs one."""
    if destination.spec is None or outcome.case.spec is None:
        return
    spec = _write_copies(outcome.case.spec, destination.spec_copies, staging)
    write_texts({destination.spec: json_text(spec.to_json())}, staging)


def _has_inside(checkpoint: Checkpoint, spec: Spec | None) -> bool:
    """Return whether a data spec and its files lie in the folder of a model, and go with it."""
    home = checkpoint.path
    if home is None:
        return False
    inside = isinstance(spec, InputsSpec) and spec.folder.resolve() == home.resolve()
    return inside and (home / INSIDE).is_file()


def _write_copies(
    spec: Spec, copies: Mapping[SpecFile, Path], staging: Mapping[Path, Path]
) -> Spec:
    """Copy the files of a data spec, and return the data spec that names the copies."""
    for each, path in copies.items():
        each.copy(staging[path])
    return with_places(spec, {each.place: path.name for each, path in copies.items()})


def json_text(value: dict[str, Any]) -> str:
    """Return a document as the text of its file."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _write_model(outcome: Outcome, rule: DecisionRule, path: Path) -> None:
    checkpoint = outcome.case.checkpoint
    assert checkpoint is not None
    state = outcome.state if outcome.state is not None else checkpoint.tensors
    checkpoints.write(checkpoint, state, path, rule=rule.to_json())
    compare_decisions(outcome, path)


def _write_card(model: Path, report: dict[str, Any]) -> None:
    """Update the model card of a folder in Hugging Face's layout."""
    if not model.is_dir():
        return
    card = model / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    card.write_text(update(text, report), encoding="utf-8")


def compare_decisions(outcome: Outcome, path: Path) -> None:
    """Read the checkpoint back and apply the rule to the test rows."""
    case, problem = outcome.case, outcome.test_rows.problem
    assert problem.scorer is not None
    assert problem.inputs is not None
    checkpoint = case.checkpoint
    assert checkpoint is not None
    in_memory = checkpoint.path is None
    again = (
        checkpoints.reload(checkpoint, path)
        if in_memory
        else case.options.read_checkpoint(path, problem.inputs)
    )
    scorer = make_scorer(
        again,
        problem.inputs,
        reading_like(problem.scorer),
        complement=problem.scorer.complement,
        batch_size=problem.scorer.batch_size,
    )
    scores = scorer.score(problem.inputs)
    decisions = outcome.rule.decide(
        scores, problem.groups, problem.group_names, problem.ids, problem.inputs, scorer
    )
    if not torch.equal(decisions, outcome.test_rows.debiased):
        differ = int((decisions != outcome.test_rows.debiased).sum())
        raise VerificationError(
            f"The checkpoint read back decides {differ} of {len(decisions)} rows differently "
            "than reported, so nothing was written."
        )
