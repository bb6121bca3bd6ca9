"""Terminal output: 80 columns, about 30 lines for a run, no broken intervals, names or markup."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from fairfix.cli.console import build_table, print_messages, print_output, wrap
from fairfix.cli.summary import short_warnings
from tests.helpers.runs import Draw, Ended, Place, Run

NAMES = ["never married (*)", "mother_of [two]", "a<b|c`"]
"""Group names that Markdown would escape, with spaces that could be broken."""
OPEN_INTERVAL = re.compile(r"\[[^\]\n]*$|\d to$|^\s*-?\d[\d.]*\]|\d$\n% ", re.MULTILINE)


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def three(place: Place, draw: Draw) -> Place:
    """Put tables with three groups in the place of those with two."""
    for path, rows, seed in ((place.val, 1200, 3), (place.test, 900, 4)):
        frame = draw(rows, seed)
        frame["group"] += frame["x3"].gt(0.3)
        frame["group"] = frame["group"].map(dict(enumerate(NAMES)))
        frame.to_csv(path, index=False)
    return place


def assert_fits(ended: Ended, names: list[str]) -> list[str]:
    """Check width, intervals, names and markup; return the lines without those with paths."""
    lines = [line for line in ended.out.splitlines() if not line.startswith("wrote ")]
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert not OPEN_INTERVAL.search(text), text
    assert not re.search(r"\\[\\`*_\[\]<>|&~]", text)
    for name in names:
        assert name in text
        broken = r"\s*\n\s*".join(map(re.escape, name.split()))
        assert len(name.split()) == 1 or not re.search(broken, text)
    return lines


def test_prune(fairfix: Run, place: Place) -> None:
    ended = fairfix(
        "prune", place.model, place.val, "--test", place.test, "--budget", 0.02, "--allow-trivial"
    )
    assert ended.code == 0
    assert_fits(ended, [])
    assert len(ended.out.splitlines()) <= 32
    threshold = json.loads((place.folder / "model.debiased.rule.json").read_text())["threshold"]
    assert f"Positive if score > {threshold:.4g}." in ended.out.splitlines()


def test_thresholds_of_three_groups(fairfix: Run, three: Place) -> None:
    ended = fairfix("thresholds", three.model, three.val, "--test", three.test)
    assert ended.code == 0
    lines = assert_fits(ended, NAMES)
    assert len(ended.out.splitlines()) <= 36
    rule = json.loads((three.folder / "model.debiased.rule.json").read_text())
    assert rule["thresholds"].keys() == {*NAMES}
    for name, threshold in rule["thresholds"].items():
        assert f"  {name}: score > {threshold:.4g}" in lines


def test_randomized_thresholds(fairfix: Run, place: Place) -> None:
    options = ("--metric", "eqodds", "--budget", 0.1)
    ended = fairfix("eqodds", place.model, place.val, "--test", place.test, *options)
    assert ended.code == 0
    lines = assert_fits(ended, [])
    rule = json.loads((place.folder / "model.debiased.rule.json").read_text())
    assert rule["lottery"].keys() == {"0", "1"}
    for name, steps in rule["lottery"].items():
        chances = ", else ".join(f"{chance:.4g} if score > {at:.4g}" for at, chance in steps)
        assert f"{name}: {chances}" in " ".join(" ".join(lines).split())


def test_audit(fairfix: Run, three: Place) -> None:
    ended = fairfix("audit", three.model, three.val)
    assert ended.code == 0
    assert_fits(ended, NAMES)
    power = fairfix("audit", three.model, three.val, "--power")
    assert_fits(power, [])


def test_gate(fairfix: Run, three: Place) -> None:
    demands = ("--budget", "spd=0.05", "--budget", "eod=0.1", "--floor", "balanced_accuracy=0.5")
    ended = fairfix("gate", three.model, three.val, *demands)
    assert ended.code in (1, 3)
    lines = assert_fits(ended, NAMES)
    check = json.loads(fairfix("gate", three.model, three.val, *demands, "--json").out)["checks"][0]
    row = next(line for line in lines if line.startswith("gap of spd < 0.05 "))
    assert f"{check['low']:.3f} to {check['high']:.3f}  {check['verdict']}" in row


def test_a_demand_that_only_warns_is_marked(fairfix: Run, place: Place) -> None:
    ended = fairfix("gate", place.model, place.val, "--budget", "spd=0.9:warn")
    assert ended.code == 0
    assert "certified (warns)" in ended.out


def test_long_names_are_shortened_to_the_room_there_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [["n" * 60, "0.123 [0.111, 0.222]", "0.5"], ["all rows", "-1", "2"]]
    print_output(build_table("Title", ["name", "a long heading of many words", "b" * 30], rows))
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == "Title"
    assert max(map(len, lines)) <= 80
    assert any("\N{HORIZONTAL ELLIPSIS}nnn" in line and "[0.111, 0.222]" in line for line in lines)


def test_wrapped_text_keeps_phrases_together() -> None:
    text = "word " * 14 + "0.101 to 0.146 at 90 % in [0.1, 0.2] of never married"
    lines = wrap(text, indent="  ", names=["never married"])
    assert " ".join(line.strip() for line in lines) == text
    assert all(line.startswith("  ") for line in lines[1:])
    for phrase in ("0.101 to 0.146", "90 %", "[0.1, 0.2]", "never married"):
        assert any(phrase in line for line in lines)


def test_shortened_names_stay_distinct(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["a" * 50 + "x" + "b" * 50, "a" * 50 + "y" + "b" * 50]
    print_output(build_table("", ["name", "n"], [[name, n] for n, name in enumerate(names)]))
    first, second = (line.split() for line in capsys.readouterr().out.splitlines()[-2:])
    assert first[:-1] != second[:-1]


def test_long_warnings_end_after_a_clause() -> None:
    first = "levelling down: the gap shrank, " + "the rate of one group fell, " * 10
    assert [*short_warnings([first, "short"])] == [
        "warning: levelling down: the gap shrank, "
        + ", ".join(["the rate of one group fell"] * 3)
        + ", ... (more in the report)",
        "warning: short",
    ]


def test_warnings_of_a_run_are_short(fairfix: Run, place: Place) -> None:
    words = (
        "prune",
        place.model,
        place.val,
        "--test",
        place.test,
        "--budget",
        0.001,
        "--allow-trivial",
    )
    warnings = [line for line in fairfix(*words).err.splitlines() if ": warning: " in line]
    report = json.loads((place.folder / "model.debiased.report.json").read_text())
    assert len(warnings) == len(report["warnings"]) > 0
    assert max(map(len, warnings)) <= 200


def test_the_files_keep_full_precision(fairfix: Run, place: Place) -> None:
    fairfix("prune", place.model, place.val, "--test", place.test)
    rule = json.loads((place.folder / "model.debiased.rule.json").read_text())
    assert f"{rule['threshold']!r}" in (place.folder / "model.debiased.report.md").read_text()
    assert pd.notna(rule["threshold"])


def test_messages_are_wrapped_on_a_terminal_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "the network's output is read as the logit of 'yes' " * 4 + "\N{MINUS SIGN}0.5"
    print_messages([long], quiet=False)
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    print_messages([long], quiet=False)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 2
    assert max(map(len, lines)) <= 80
    assert lines[-1].endswith("-0.5")
