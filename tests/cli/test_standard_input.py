"""A table on stdin, and scores without a model."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from fairfix.cli.app import app
from tests.helpers.runs import Ended, Place, Run

Piped = Callable[..., Ended]


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Piped:
    """The command line with bytes on stdin."""

    def run(content: bytes, *arguments: object) -> Ended:
        words = [str(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["fairfix", *words])
        result = CliRunner().invoke(app, words, prog_name="fairfix", input=content)
        return Ended(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def scores(place: Place, draw: Callable[[int, int], pd.DataFrame]) -> Path:
    rows = draw(300, 5)
    return place.table(rows.assign(p=rows["x0"].rank(pct=True))[["p", "group", "label"]])


def parquet(text: bytes) -> bytes:
    file = io.BytesIO()
    pd.read_csv(io.BytesIO(text)).to_parquet(file)
    return file.getvalue()


@pytest.mark.parametrize("packed", [bytes, gzip.compress, parquet])
def test_a_table_on_stdin_is_measured_as_the_file_is(
    fairfix: Run, piped: Piped, place: Place, packed: Callable[[bytes], bytes]
) -> None:
    arguments = ("--json", "--no-subgroups", "--quiet")
    named = json.loads(fairfix("audit", place.model, place.test, *arguments).out)
    content = packed(place.test.read_bytes())
    read = json.loads(piped(content, "audit", place.model, "-", *arguments).out)
    assert read["table"].startswith("stdin.")
    assert read["groups"] == named["groups"]


def test_settings_of_a_table_on_stdin_are_those_of_the_current_folder(
    piped: Piped, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = scores.parent / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    (scores.parent / "fairfix.toml").write_text('budget = ["spd=0.9"]\n')
    ended = piped(scores.read_bytes(), "gate", "-", "--score", "p", "--json")
    assert json.loads(ended.out)["checks"][0]["limit"] == 0.9


def test_decisions_of_a_table_on_stdin_go_to_stdout(
    fairfix: Run, piped: Piped, place: Place
) -> None:
    fairfix("predict", place.model, place.test)
    before = place.files()
    ended = piped(place.test.read_bytes(), "predict", place.model, "-")
    assert ended.code == 0
    assert ended.out == (place.folder / "test.decisions.csv").read_text()
    assert place.files() == before
    both = piped(place.test.read_bytes(), "predict", place.model, "-", "--json")
    assert "--output" in both.sentence


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("audit", ("--score=p", "--no-subgroups")),
        ("gate", ("--score", "p")),
        ("predict", ("--score", "p")),
        ("thresholds", ("--score", "p", "--no-subgroups")),
    ],
)
def test_scores_need_no_model(
    fairfix: Run, scores: Path, command: str, option: tuple[str, ...]
) -> None:
    goal = ["--budget", "spd=0.9"] if command == "gate" else []
    goal += [] if command == "gate" else ["--force"]
    kept = {}
    for model in ([], ["-"]):
        ended = fairfix(command, *model, scores, *option, *goal, "--quiet", "--json")
        assert ended.code in (0, 3), ended.err
        kept[len(model)] = ended.out.replace("thresholds - ", "thresholds ")
    assert kept[0] == kept[1] != ""


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (("audit", "-"), "Missing argument 'DATA'"),
        (("init", "model.pt", "-"), "save stdin as one"),
        (("thresholds", "-", "--score", "p"), "--output"),
    ],
)
def test_refusals(piped: Piped, scores: Path, words: tuple[str, ...], fact: str) -> None:
    ended = piped(scores.read_bytes(), *words)
    assert ended.code == 2
    assert fact in ended.sentence


def test_an_empty_stdin_and_a_terminal_are_refused(
    piped: Piped, place: Place, fairfix: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "empty file" in piped(b"", "audit", place.model, "-").sentence
    monkeypatch.setattr("sys.stdin", None)
    from fairfix.cli.standard_input import table_file
    from fairfix.errors import UsageError

    with pytest.raises(UsageError, match="pipe"), table_file(Path("-")):
        pass
