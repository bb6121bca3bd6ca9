"""The file of a decision rule, ``*.rule.json``, and the rule that belongs to a checkpoint.

Rule, report and weights are bound by hashes: the rule has the hash of the weights and of the
report, and the report contains the rule. The pages of the report end with its hash.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from fairfix._utils.strict_json import parse_json, read_json
from fairfix.data.table.labels import favorable_among
from fairfix.errors import UsageError
from fairfix.models.checkpoint import Checkpoint, weights_sha256
from fairfix.thresholds.contract import Contract
from fairfix.thresholds.rule import DecisionRule

_SUFFIX = ".rule.json"
ARRAYS_SUFFIX = ".rule.safetensors"
"""Of the file beside the rule that holds the arrays of its score model."""

LABELS_SUFFIX = ".labels.json"
"""Of the file beside a network with several labels that lists the rule of each."""

PAGE_SUFFIXES = (".md", ".html")
"""Of the pages of a report, beside it."""


@dataclass(frozen=True)
class FoundRule:
    """A rule and where it was found.

    Attributes:
        rule: None if there is none.
        where: the file in words, "" if there is none.
        report: the path where its report is written; the report may be missing.
    """

    rule: DecisionRule | None = None
    where: str = ""
    report: Path | None = None

    @property
    def contract(self) -> Contract | None:
        """The columns that the rule reads; None without a rule, or by position."""
        return None if self.rule is None else self.rule.contract

    @property
    def by_position(self) -> bool:
        """Whether there is a rule that does not know its columns, as in version 1."""
        return self.rule is not None and self.rule.contract is None

    @property
    def foreign_pages(self) -> tuple[str, ...]:
        """The names of pages beside the report that were not written with it."""
        if self.rule is None or self.rule.report_sha256 is None or self.report is None:
            return ()
        pages = (self.report.with_suffix(suffix) for suffix in PAGE_SUFFIXES)
        mark = page_mark(self.rule.report_sha256)
        return tuple(page.name for page in pages if page.is_file() and not _ends_with(page, mark))

    def require_contract(self) -> None:
        """Raise ``UsageError`` if the rule takes columns by position."""
        if self.by_position:
            raise UsageError(
                f"The rule in {self.where} takes columns by position (version 1), so a table in "
                "another order would pass unnoticed. Debias again to get a rule of version 2, or "
                "gate its threshold with --threshold."
            )


NO_RULE = FoundRule()


def read_rule(path: Path) -> DecisionRule:
    """Read the rule in a ``.rule.json`` file.

    Raises:
        UsageError: if the file cannot be read or does not hold a rule.
    """
    return _written(read_json(path), path.name, path.with_suffix(".safetensors"))


def _written(data: object, source: str, arrays: Path) -> DecisionRule:
    """Return a rule as ``save`` writes it: bound to its report, its weights and its columns.

    Raises:
        UsageError: if it is not a rule, or was unbound after it was written.
    """
    rule = DecisionRule.from_json(data, source, arrays)
    if isinstance(data, dict) and data["version"] == 1:
        return rule
    unbound = None
    if rule.contract is None or rule.report_sha256 is None:
        unbound = "has no contract" if rule.contract is None else "has no hash of its report"
    elif rule.contract.reads_table and rule.weights_sha256 is None:
        unbound = "does not say which weights it belongs to"
    elif rule.weights_sha256 is not None and not rule.contract.reads_table:
        unbound = "belongs to weights, but has no features"
    elif rule.needs_group and rule.group_column not in rule.contract.roles.groups:
        unbound = f"has thresholds by {rule.group_column!r}, which is not among its group columns"
    elif (values := rule.contract.label_values) and not favorable_among(
        rule.positive_label, values
    ):
        unbound = f"has the favorable label {rule.positive_label!r}, which is not among its labels"
    elif rule.score_model is None and arrays.is_file():
        unbound = f"has no score model, but {arrays.name} has one"
    if unbound is not None:
        raise UsageError(
            f"The rule in {source} {unbound}, so it was changed after it was written. Restore "
            "the files that were written together, or debias again."
        )
    return rule


def page_mark(report_sha256: str) -> str:
    """Return the last line of the pages of a report, a comment in Markdown and in HTML."""
    return f"<!-- report sha256 {report_sha256} -->\n"


def rule_in(given: DecisionRule | Path) -> FoundRule:
    """Return the rule given, or in the file given, for scores without a checkpoint.

    Raises:
        UsageError: as ``read_rule``, or if the report beside it belongs to another rule.
    """
    if isinstance(given, DecisionRule):
        return FoundRule(given, "memory")
    found = FoundRule(read_rule(given), given.name, _report_of(given))
    _check_report(found)
    return found


def stem_of(path: Path, *, folder: bool) -> str:
    """Return the common stem of the files written next to a checkpoint.

    Args:
        path: the checkpoint.
        folder: whether it is a directory, whose suffix belongs to its name.
    """
    return path.name if folder or path.suffix == ".debiased" else path.stem


def find_rule(checkpoint: Checkpoint, given: DecisionRule | Path | None = None) -> FoundRule:
    """Return the rule of a checkpoint.

    It is the one given, or in the file given, else that in the checkpoint's metadata, else that in
    the ``.rule.json`` file next to the checkpoint.

    Raises:
        UsageError: if the rule cannot be read, was made for other weights, or is not the rule of
            the report or rule file beside it.
    """
    found = _locate(checkpoint, given)
    if found.rule is None:
        return found
    if found.rule.weights_sha256 not in (None, weights_sha256(checkpoint.tensors)):
        raise UsageError(
            f"The rule in {found.where} was made for other weights than those in "
            f"{checkpoint.name}. Name the rule that was written with them (--rule), or debias "
            "again."
        )
    if found.rule.contract is not None and found.rule.weights_sha256 is None:
        raise UsageError(
            f"The rule in {found.where} does not say which weights it belongs to, so it was "
            "changed after it was written. Use the rule as it was written, or debias again."
        )
    _check_report(found)
    return found


def _locate(checkpoint: Checkpoint, given: DecisionRule | Path | None) -> FoundRule:
    if isinstance(given, DecisionRule):
        return FoundRule(given, "memory")
    if given is not None:
        return FoundRule(read_rule(given), given.name, _report_of(given))
    if checkpoint.path is None:
        return NO_RULE
    sibling = beside(checkpoint.path, _SUFFIX)
    report = _report_of(sibling)
    if checkpoint.rule is not None:
        arrays = beside(checkpoint.path, ARRAYS_SUFFIX)
        rule = _written(checkpoint.rule, checkpoint.name, arrays)
        _check_sibling(rule, checkpoint.path, sibling)
        return FoundRule(rule, f"{checkpoint.name} itself", report)
    if sibling.is_file():
        return FoundRule(read_rule(sibling), sibling.name, report)
    for left in (report, beside(checkpoint.path, ARRAYS_SUFFIX)):
        if left.is_file():
            raise UsageError(
                f"{left.name} belongs to a rule, but {sibling.name} is missing, and without it "
                f"{checkpoint.name} would decide by score > 0.5. Restore the rule, name it with "
                f"--rule, or move {left.name} away."
            )
    return NO_RULE


def beside(model: Path, suffix: str) -> Path:
    """Return the path of a file next to a checkpoint, such as its ``.report.json``.

    A link to a checkpoint has the files beside it, else those beside the checkpoint itself.
    """
    folder = model.is_dir()
    path = model.with_name(f"{stem_of(model, folder=folder)}{suffix}")
    if not model.is_symlink() or path.exists():
        return path
    target = model.resolve()
    there = target.with_name(f"{stem_of(target, folder=folder)}{suffix}")
    return there if there.exists() else path


def _report_of(rule: Path) -> Path:
    return rule.with_name(f"{rule.name.removesuffix(_SUFFIX)}.report.json")


def _check_sibling(rule: DecisionRule, model: Path, sibling: Path) -> None:
    """Raise ``UsageError`` if the rule file beside a model is not the rule inside it."""
    if rule.report_sha256 is None or not sibling.is_file():
        return
    if read_rule(sibling) != rule:
        raise UsageError(
            f"{sibling.name} is not the rule inside {model.name}: the files are not of one run. "
            "Restore the files that were written together, or debias again."
        )


def _ends_with(page: Path, mark: str) -> bool:
    """Return whether a page has a mark in its last line; editors may change the line's end."""
    try:
        with page.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 2 * len(mark)))
            return mark.strip().encode() in file.read()
    except OSError:
        return False


def _check_report(found: FoundRule) -> None:
    """Raise ``UsageError`` if the report beside a rule was not written with it."""
    rule, report = found.rule, found.report
    if rule is None or rule.report_sha256 is None or report is None or not report.is_file():
        return
    try:
        content = report.read_bytes()
    except OSError as error:
        raise UsageError(f"Cannot read the report {report}: {error.strerror}.") from None
    bound = hashlib.sha256(content).hexdigest() == rule.report_sha256
    if bound:
        described = parse_json(content, report.name).get("rule")
        bound = described == replace(rule, report_sha256=None).to_json()
    if not bound:
        raise UsageError(
            f"{report.name} is not the report of the rule in {found.where}: the files are not of "
            "one run or were changed. Restore the files that were written together, or debias "
            "again."
        )


def checkpoint_key_of(model: Path, rule: Path | None = None) -> str | None:
    """Return which of several networks a rule file was made with, before the model is read.

    Args:
        rule: the rule file; by default that beside the model.
    """
    path = beside(model, _SUFFIX) if rule is None else rule
    try:
        contract = read_rule(path).contract if path.is_file() else None
    except UsageError:  # said where the rule is used
        return None
    return None if contract is None else contract.checkpoint_key


def arch_hint(checkpoint: Checkpoint, path: Path | None = None) -> str | None:
    """Return the architecture that a checkpoint's rule was made with; None if it is not known.

    It is for messages only.
    """
    try:
        contract = _locate(checkpoint, path).contract
    except UsageError:
        return None
    return None if contract is None else contract.arch
