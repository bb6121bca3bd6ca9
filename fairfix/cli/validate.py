"""``fairfix validate``: checks settings files, data specs and rules, as a pre-commit hook does."""

from __future__ import annotations

from pathlib import Path

from fairfix.cli.console import print_document, print_messages, print_output
from fairfix.cli.settings import check_settings_file
from fairfix.data.spec import load_spec
from fairfix.errors import FairfixError, UsageError
from fairfix.thresholds.rule_file import read_rule

_DEFAULT = "fairfix.toml"


def run(*, files: list[Path] | None, json: bool, quiet: bool) -> int:
    """Check each file by its name; return 2 if one is not valid."""
    problems: dict[str, str | None] = {}
    for path in files or [Path(_DEFAULT)]:
        try:
            _check(path)
        except FairfixError as error:
            problems[str(path)] = str(error)
        else:
            problems[str(path)] = None
    found = {path: problem for path, problem in problems.items() if problem is not None}
    shown = (each if path in each else f"{path}: {each}" for path, each in found.items())
    print_messages(shown, quiet=False)
    if json:
        files_checked = [{"file": path, "problem": each} for path, each in problems.items()]
        print_document({"valid": not found, "files": files_checked})
    elif not found and not quiet:
        print_output(f"{len(problems)} valid")
    return FairfixError.exit_code if found else 0


def _check(path: Path) -> None:
    if path.name.endswith(".data.json"):
        load_spec(path)
    elif path.name.endswith(".rule.json"):
        read_rule(path)
    elif path.suffix == ".toml":
        check_settings_file(path)
    else:
        raise UsageError(
            f"{path} is none of fairfix.toml, pyproject.toml, a .data.json or a .rule.json; "
            "leave it out."
        )
