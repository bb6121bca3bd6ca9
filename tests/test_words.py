"""User-visible text uses one term for one thing, in standard American English."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

REPLACED = {
    r"\bcuts?\b(?! (short|off))": "threshold",
    r"judged rows|fitting rows|rows for judging": "test rows, validation rows",
    r"untouched network|as deployed|deployed today": "unmodified model",
    r"best (shared )?cut": "retuned threshold",
    r"\blotter(y|ies)\b": "randomized thresholds",
    r"\bnot shown\b(?! to| on|,| for)|\bundecided\b|not shown:(?! to differ)": "inconclusive",
    r"favour|optimis|randomis|labelled|recognis|behaviour|colour": "American spelling",
    r"\bcautions?\b": "warning",
    r"price of being sure": "trade-off curve",
    r"\bmend(ed|s)?\b|\bwhoever\b|\bby heart\b": "plain English",
}
ALLOWED = {'"lottery"', "`lottery`", "and lottery with"}  # the key of the rule file


def strings(path: Path) -> list[str]:
    """Text that a user may see: strings, docstrings among them, or the whole of a page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return [text]
    nodes = ast.walk(ast.parse(text))
    return [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def pages() -> list[Path]:
    found = [p for end in ("*.py", "*.j2", "*.json") for p in (ROOT / "fairfix").rglob(end)]
    return sorted([*found, *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])


@pytest.mark.parametrize("pattern", REPLACED)
def test_replaced_terms_are_gone(pattern: str) -> None:
    hits = []
    for path in pages():
        for text in strings(path):
            for allowed in ALLOWED:
                text = text.replace(allowed, "")
            for line in text.splitlines():
                if text != "lottery" and re.search(pattern, line, re.I):
                    hits.append(f"{path.relative_to(ROOT)}: {line.strip()[:100]}")
    assert not hits, f"say {REPLACED[pattern]!r}:\n" + "\n".join(hits)
