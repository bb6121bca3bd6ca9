"""Where the results of a gate are shown: files of the repository, as code scanning needs them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from fairfix.report.gate_sentences import Document
from fairfix.report.sarif import Location


def locations(
    model: Path | None, table: Path, settings: Path | None
) -> Callable[[Document], Location]:
    """Return a function from a check to its place.

    That is the model in the repository; else the demand in the settings file there, else the
    table there. Outside a repository it is the model as it was named.

    Args:
        model: None where a table has the scores.
        settings: the file that set the demands.
    """
    root = repository()
    inside = None if model is None else _relative(model, root)
    of_settings = None if settings is None else _relative(settings, root)

    def locate(check: Document) -> Location:
        if inside is not None:
            return Location(inside)
        if settings is not None and of_settings is not None:
            return Location(of_settings, _line(settings, check))
        return Location(_relative(table, root) or (model or table).name)

    return locate


def repository() -> Path:
    """Return the root of the repository that holds the current folder, else that folder."""
    given = os.environ.get("GITHUB_WORKSPACE") or os.environ.get("CI_PROJECT_DIR")
    if given:
        return Path(given).resolve()
    here = Path.cwd().resolve()
    return next((each for each in (here, *here.parents) if (each / ".git").exists()), here)


def _relative(path: Path, root: Path) -> str | None:
    """Return a path from the root with slashes, None if it lies outside."""
    resolved = path.resolve()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else None


def _line(settings: Path, check: Document) -> int:
    """Return the line of a demand in a settings file: of its key and name, else of its option."""
    option = re.compile(rf"\s*[\"']?{re.escape(check['kind']).replace('-', '[-_]')}[\"']?\s*=")
    lines = settings.read_text(encoding="utf-8", errors="replace").splitlines()
    starts = [number for number, line in enumerate(lines, 1) if option.match(line)]
    if not starts:
        return 1
    named = re.compile(rf"[\"']{re.escape(check['key'])}(\.min)?(@[^=]*)?\s*=")
    after = range(starts[0], len(lines) + 1)
    return next((number for number in after if named.search(lines[number - 1])), starts[0])
