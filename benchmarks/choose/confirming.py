"""Guard the confirming seeds: they are used once, for methods named in a committed file."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.choose.bed import CONFIRMING, write_file
from benchmarks.choose.results import METRIC_KEYS
from fairfix import methods
from fairfix.errors import UsageError

CHOICE_FILE = Path(__file__).with_name("choice.toml")
RECORD = f"confirming-{CONFIRMING.start}.json"


@dataclass(frozen=True)
class Choice:
    """The methods to confirm.

    Attributes:
        named: methods by metric; the first is judged.
        sha256: hash of the file.
        commit: the commit that the file and the code belong to.
    """

    named: Mapping[str, tuple[str, ...]]
    sha256: str
    commit: str

    @property
    def methods(self) -> tuple[str, ...]:
        """Every method once, in the order of the file."""
        return tuple(dict.fromkeys(name for names in self.named.values() for name in names))


def committed_choice(path: Path = CHOICE_FILE) -> Choice:
    """Read the choice, which must be as committed and name a method for every metric.

    Raises:
        UsageError: if the file is not committed or differs from its commit, or if a metric has no
            method or an unknown one.
    """
    content = path.read_bytes()
    if _git(path, "show", f"HEAD:./{path.name}") != content:
        raise UsageError(
            f"{path.name} is not as committed; commit the choice before the confirming seeds are "
            "used."
        )
    named = {
        metric: tuple(tomllib.loads(content.decode()).get(metric, ())) for metric in METRIC_KEYS
    }
    for metric, names in named.items():
        if not names:
            raise UsageError(f"{path.name} names no method for {metric}; add and commit one.")
        for name in names:
            methods.describe(name)
    commit = (_git(path, "rev-parse", "HEAD") or b"").decode().strip()
    return Choice(named, hashlib.sha256(content).hexdigest(), commit)


def _git(path: Path, *words: str) -> bytes | None:
    """Return the output of git in the file's folder, None if it fails."""
    done = subprocess.run(["git", *words], cwd=path.parent, capture_output=True)
    return done.stdout if done.returncode == 0 else None


def open_confirming_seeds(folder: Path, choice: Choice) -> str:
    """Record that the confirming seeds are used for a choice; return a sentence on earlier use.

    Raises:
        UsageError: if they were used for another choice.
    """
    record = folder / RECORD
    if record.is_file():
        before = json.loads(record.read_text())
        if before["sha256"] != choice.sha256:
            raise UsageError(
                f"The confirming seeds were used on {before['time']} for "
                f"{', '.join(before['methods'])}; confirm another choice on new seeds."
            )
        return f"The confirming seeds were used before, on {before['time']}, for the same choice."
    used = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "methods": choice.methods,
        "sha256": choice.sha256,
        "commit": choice.commit,
    }
    write_file(record, json.dumps(used, indent=2).encode())
    return "The confirming seeds are used for the first time."
