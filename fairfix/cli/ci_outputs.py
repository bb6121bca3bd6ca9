"""Outputs of a gate for CI: JUnit and SARIF files, GitHub annotations and step summary."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fairfix._utils.atomic_write import check_destination, write_text
from fairfix.cli.failures import Failure
from fairfix.errors import OutputError, UsageError
from fairfix.report import github
from fairfix.report.gate_sentences import Document
from fairfix.report.junit import SUITE, junit, junit_failure
from fairfix.report.sarif import DRIVER, Location, sarif, sarif_failure


@dataclass(frozen=True)
class CiOutputs:
    """The files of a gate; on GitHub Actions also annotations and the step summary."""

    junit: Path | None = None
    sarif: Path | None = None

    def remove_stale(self, inputs: Iterable[Path]) -> None:
        """Remove the files of an earlier gate, which would look like this one's result.

        Args:
            inputs: files that must not be replaced.

        Raises:
            OutputError: a file cannot be written, or was not written by a gate.
        """
        used = tuple(inputs)
        if self.junit is not None and self.junit == self.sarif:
            raise UsageError("--junit and --sarif name the same file; give each its own.")
        for path, option, sign in (
            (self.junit, "--junit", f'name="{SUITE}"'),
            (self.sarif, "--sarif", f'"name": "{DRIVER}"'),
        ):
            if path is None:
                continue
            check_destination(path, used, force=True, option=option)
            if path.exists() and sign not in path.read_text(encoding="utf-8", errors="replace"):
                raise OutputError(
                    f"{path} exists and was not written by fairfix gate; name another file with "
                    f"{option}."
                )
        for path in (self.junit, self.sarif):
            if path is not None:
                path.unlink(missing_ok=True)

    def write(self, gate: Document, locate: Callable[[Document], Location]) -> None:
        """Write the result of a gate to every output.

        Args:
            locate: the place of a check in the repository.

        Raises:
            OutputError: a file cannot be written.
        """
        if self.junit is not None:
            write_text(self.junit, junit(gate))
        if self.sarif is not None:
            write_text(self.sarif, sarif(gate, locate))
        _github(github.commands(gate), github.summary(gate))

    def write_failure(self, failure: Failure) -> None:
        """Write to every output that no verdict was reached; ignore outputs that fail."""
        if self.junit is not None:
            with suppress(OutputError):
                write_text(self.junit, junit_failure(*failure))
        if self.sarif is not None:
            with suppress(OutputError):
                write_text(self.sarif, sarif_failure(*failure))
        command = github.failure_command(*failure)
        with suppress(OutputError):
            _github([command], github.failure_summary(*failure))


def _github(commands: Iterable[str], summary: str) -> None:
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    for line in commands:
        print(line, file=sys.stderr)  # the runner reads both streams; stdout may hold JSON
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(summary)
        except OSError as error:
            raise OutputError(f"Cannot write the step summary {path}: {error.strerror}.") from None
