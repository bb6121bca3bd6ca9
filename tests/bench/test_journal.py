"""The journal: invalid lines, locks, full disks and truncated rows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fairfix.bench.journal import Journal
from fairfix.bench.study import Study, serial_backend
from fairfix.cli.app import app
from fairfix.errors import OutputError, TableError
from tests.helpers.studies import study_row


def test_an_invalid_line_is_named(tmp_path: Path) -> None:
    first = json.dumps(study_row("identity", 0, 0.0, 0.6))
    (tmp_path / "rows.jsonl").write_text(f"{first}\nnonsense\n")
    with pytest.raises(TableError, match=r"rows\.jsonl, line 2: not a row of a study"):
        Journal(tmp_path / "rows.jsonl").resume()


@pytest.mark.parametrize("text", ["a list of mine", '{"a": 1}', "[1, 2]\n3", '{"key": "a"}\n'])
def test_a_file_that_is_not_a_journal_is_left_untouched(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(TableError, match=r"rows\.jsonl, line 1: not a row of a study"):
        Journal(tmp_path / "rows.jsonl").resume()
    assert (tmp_path / "rows.jsonl").read_text() == text


@pytest.mark.parametrize(
    "damage",
    [
        lambda row: row.pop("test"),
        lambda row: row["goal"].pop("metric"),
        lambda row: row["test"]["debiased"].update(gap="abc"),
        lambda row: row.update(overlap=None),
        lambda row: row.update(status=7),
        lambda row: row.update(trajectory=[[0.1]]),
        lambda row: row["test"]["unmodified"].update(gaps={"spd": "x"}),
    ],
)
def test_a_damaged_row_is_named(damage: Callable[[Any], Any], tmp_path: Path) -> None:
    rows = [study_row("identity", 0, 0.0, 0.6), study_row("identity", 1, 0.0, 0.6)]
    rows = json.loads(json.dumps(rows))
    damage(rows[1])
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    result = CliRunner().invoke(app, ["bench", "--rows", str(path)])
    assert result.exit_code == 2
    assert "rows.jsonl, line 2: not a row of a study" in result.stderr


def test_two_studies_cannot_write_one_file(small: Study, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "rows.jsonl")
    begun = small.run(journal, serial_backend)
    next(begun)
    with pytest.raises(OutputError, match="Another study is writing"):
        next(small.run(Journal(journal.path), serial_backend))
    begun.close()
    next(small.run(journal, serial_backend))


def test_a_full_disk_leaves_no_partial_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "rows.jsonl")
    journal.append(study_row("a", 0, 0.0, 0.6))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            journal.append(study_row("b", 0, 0.0, 0.6))
    assert [each["method"] for each in journal.rows()] == ["a"]
    journal.append(study_row("c\udcff", 0, 0.0, 0.6))
    assert [each["method"] for each in journal.rows()] == ["a", "c?"]


def test_a_truncated_row_longer_than_a_chunk_is_removed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "rows.jsonl")
    journal.append(study_row("a", 0, 0.0, 0.6))
    whole = journal.path.read_bytes()
    begun = b'{"version": 4, "x": "'
    for truncated in (begun + b"x" * 200_000, b"", b"{"):
        journal.path.write_bytes(whole + truncated)
        assert journal.resume() == {"a0"}
        assert journal.path.read_bytes() == whole
    journal.path.write_bytes(begun + b"y" * 70_000)
    assert journal.resume() == set()
    assert journal.path.read_bytes() == b""
