"""A trivial result is not written without consent, and every poor one names what to try next."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

import fairfix as library
from fairfix.cli.summary import summary
from fairfix.errors import NoResultError
from fairfix.workflows.documents import report_document
from fairfix.workflows.next_commands import is_poor, next_commands
from tests.helpers.runs import Place, Run

TIGHT = ("--budget", 0.001, "--margin", 0)


def trivial(place: Place) -> library.Outcome:
    case = library.load(place.model, place.val)
    return library.debias(
        case, "identity", budget=0.001, margin=0.0, test=place.test, subgroups=False
    )


def test_saving_a_trivial_result_needs_consent(place: Place) -> None:
    outcome = trivial(place)
    with pytest.raises(NoResultError, match="fewer than 2 % of the rows unlike the rest"):
        library.save(outcome, place.folder / "out.pt")
    assert not list(place.folder.glob("out*"))
    library.save(outcome, place.folder / "out.pt", allow_trivial=True)
    assert (place.folder / "out.rule.json").is_file()


def test_the_command_writes_nothing_and_exits_with_3(fairfix: Run, place: Place) -> None:
    words = ("identity", place.model, place.val, "--test", place.test, *TIGHT)
    ended = fairfix(*words)
    assert ended.code == 3
    assert not list(place.folder.glob("*.debiased*"))
    assert "wrote" not in ended.out
    last = ended.err.splitlines()[-1]
    assert last.startswith("fairfix: The result is trivial: ")
    assert last.endswith("or more rows; --allow-trivial writes it.")
    assert re.search(r"fairfix thresholds, .* \(balanced accuracy about 0\.\d\d\)", last)
    assert json.loads(fairfix(*words, "--json").out)["results"]["test"]["debiased"]["trivial"]
    assert fairfix(*words, "--allow-trivial").code == 0
    assert (place.folder / "model.debiased.pt").is_file()


def test_the_figures_are_those_of_the_validation_rows(place: Place) -> None:
    outcome = trivial(place)
    text = next_commands(outcome)
    case = library.load(place.model, place.val)
    other = library.debias(
        case, "thresholds", budget=0.001, margin=0.0, test=place.test, subgroups=False
    )
    kept = other.validation.debiased.performance["balanced_accuracy"]
    assert f"needs the group of a row (balanced accuracy about {kept:.2f})" in text


def test_a_good_result_is_written_without_advice(fairfix: Run, place: Place) -> None:
    ended = fairfix("thresholds", place.model, place.val, "--test", place.test)
    assert ended.code == 0
    assert "Try " not in ended.err
    outcome = library.debias(library.load(place.model, place.val), "thresholds", test=place.test)
    assert not is_poor(outcome)


def test_an_infeasible_result_says_so_in_its_first_line(place: Place) -> None:
    case = library.load(place.model, place.val)
    report = report_document(library.debias(case, "roc", test=place.test, subgroups=False))
    first = next(str(line) for line in summary(report))
    report["results"]["validation"]["debiased"]["met"] = False
    now = next(str(line) for line in summary(report))
    assert first.startswith("roc for statistical parity difference")
    assert now.startswith("Budget not met: the statistical parity difference of this result is not")


def test_a_goal_out_of_reach_is_not_said_of_all_that_was_tried(place: Place) -> None:
    """Other thresholds meet the budget; the accuracy of 0.99 is what nothing reaches."""
    case = library.load(place.model, place.val)
    outcome = library.debias(
        case, "identity", test=place.test, floors={"accuracy": 0.99}, subgroups=False
    )
    lines = [str(line) for line in summary(report_document(outcome))]
    assert lines[0].startswith("Budget not met: the statistical parity difference of this result")
    assert outcome.goals is not None
    assert outcome.goals.binding.text.startswith("accuracy >= 0.99")


def test_thresholds_per_group_are_named_only_where_they_apply(place: Place) -> None:
    table = pd.read_csv(place.val)
    table.loc[::4, "group"] = None
    case = library.load(
        place.model, table, missing_group="performance-only", privileged="1", arch="mlp:relu"
    )
    unknown = library.debias(case, "identity", budget=0.001, margin=0.0, subgroups=False)
    other_metric = library.debias(
        library.load(place.model, place.val), "identity", metric="ppvd", budget=0.001, margin=0.0
    )
    for outcome in (unknown, other_metric):
        assert "fairfix thresholds" not in next_commands(outcome)
