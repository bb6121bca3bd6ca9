"""What could not be verified is listed, makes a certified result amber, and is shown everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.table import Table

import fairfix as library
from fairfix.cli.summary import summary
from fairfix.errors import UsageError
from fairfix.report.html import audit_html, html
from fairfix.report.markdown import markdown
from fairfix.report.model_card import update
from fairfix.report.sentences import headline
from fairfix.workflows.documents import audit_document, report_document
from fairfix.workflows.warnings import warnings_of
from tests.helpers.runs import Place


def terminal(report: dict[str, Any]) -> str:
    return " ".join(line for line in summary(report) if not isinstance(line, Table))


def card(report: dict[str, Any]) -> str:
    return update("", report)


def report_of(place: Place, **options: Any) -> dict[str, Any]:
    case = library.load(place.model, place.val)
    return report_document(library.debias(case, "identity", budget=0.9, **options))


def test_a_separate_test_table_leaves_nothing_unchecked(place: Place) -> None:
    report = report_of(place, test=place.test)
    assert report["unchecked"] == []
    report["serious_warnings"] = []
    assert headline(report).tone == "certified"
    assert not any("Amber" in shown(report) for shown in (terminal, markdown, html, card))


@pytest.mark.parametrize("shown", [terminal, markdown, html, card])
def test_every_output_shows_that_a_holdout_is_amber(
    place: Place, shown: Callable[[dict[str, Any]], str]
) -> None:
    report = report_of(place)
    assert report["unchecked"] == [
        "the test rows were held out from val.csv, so rows from elsewhere are unchecked"
    ]
    report["serious_warnings"] = []
    assert headline(report).tone == "amber"
    text = " ".join(shown(report).split())
    assert "Amber, not green: 1 point is unchecked." in text
    assert "he test rows were held out from val.csv, so rows from elsewhere are unchecked" in text


def test_test_rows_that_were_also_tuned_on_are_a_serious_warning(place: Place) -> None:
    rows = pd.concat([pd.read_csv(place.test), pd.read_csv(place.val)[:200]])
    report = report_of(place, test=place.table(rows))
    serious = report["serious_warnings"][-1]
    assert "compared rows equal a row that the rule was tuned on" in serious
    assert serious in report["warnings"]
    assert headline(report).tone == "amber"


def test_scores_without_a_model_are_unchecked(place: Place) -> None:
    scores = pd.read_csv(place.val).assign(p=lambda table: table.index % 10 / 10)
    case = library.load(None, place.table(scores), score="p")
    rule = library.DecisionRule(threshold=0.5)
    document = audit_document(case, rule, library.audit(case, rule, subgroups=False))
    assert document["unchecked"] == [
        "scores were given without a model, so it is unchecked which weights they are from"
    ]
    assert 'id="unchecked"' in audit_html(document)
    assert "Subgroups were not searched." in audit_html(document)


def test_a_gate_of_the_library_can_refuse_serious_warnings(place: Place) -> None:
    case = library.load(place.model, place.test)
    poor = library.DecisionRule(threshold=0.01, output="logit")
    exits = [
        library.gate(case, {"spd": 0.5}, floors={"tpr": 0.01}, rule=poor, **asked).exit_code
        for asked in ({}, {"no_serious_warnings": True}, {"require_unseen": True})
    ]
    assert exits == [0, 3, 3]


def test_an_audit_of_a_tuned_rule_does_not_check_its_rows(place: Place) -> None:
    rule = library.debias(library.load(place.model, place.val), "identity").rule
    case = library.load(place.model, place.test)
    document = audit_document(case, rule, library.audit(case, rule, subgroups=False))
    assert document["unchecked"] == [
        "an audit does not check whether the rule was tuned on these rows; gate does"
    ]


def test_a_serious_warning_is_listed_and_makes_a_certified_result_amber(place: Place) -> None:
    case = library.load(place.model, place.val)
    poor = library.debias(case, one_threshold(0.02), budget=0.9, test=place.test)
    report = report_document(poor)
    (changed,) = report["serious_warnings"]
    assert changed.startswith("the selection rate on the test rows went from ")
    assert changed in report["warnings"]
    assert headline(report).tone == "amber"
    kept = report_document(library.debias(case, one_threshold(0.5), budget=0.9, test=place.test))
    assert kept["serious_warnings"] == []
    assert headline(kept).tone == "certified"


def one_threshold(threshold: float) -> library.methods.MethodFunction:
    """Return a method that decides by this threshold."""

    def fixed(problem: Any, objective: Any, *, seed: int) -> library.methods.Result:
        return library.methods.Result(library.methods.Policy.shared(threshold))

    return fixed


def test_an_outcome_in_memory_tells_the_rows_that_it_was_tuned_on() -> None:
    rng = np.random.default_rng(3)

    def rows(n: int) -> pd.DataFrame:
        labels, groups = rng.integers(0, 2, (2, n))
        scores = 1 / (1 + np.exp(-rng.normal(labels, 1, n)))
        return pd.DataFrame({"score": scores, "label": labels, "group": groups})

    tuned, unseen = rows(300), rows(300)
    case = library.load(None, tuned, score="score")
    outcome = library.debias(case, "identity", budget=0.4, subgroups=False)
    gated = library.load(None, unseen, score="score")
    found = library.gate(gated, {"spd": 0.4}, rule=outcome)
    assert found.unchecked == ()
    assert found.rule == outcome.rule
    alone = library.gate(gated, {"spd": 0.4}, rule=outcome.rule)
    assert "a rule alone does not list the rows" in alone.unchecked[0]
    with pytest.raises(UsageError, match="the rule was tuned on 210 of its 300 rows"):
        library.gate(case, {"spd": 0.4}, rule=outcome)


def test_equal_rows_are_said_of_each_of_two_tables_of_one_name(place: Place) -> None:
    case = library.load(place.model, place.val)
    outcome = library.debias(case, "identity", test=place.test, budget=0.4, subgroups=False)
    test = outcome.test_case
    assert test is not None
    same = [
        replace(each, table=replace(each.table, source=Path(folder) / "rows.csv", repeats="equal"))
        for each, folder in ((case, "a"), (test, "b"))
    ]
    said = warnings_of(replace(outcome, case=same[0], test_case=same[1]))
    assert [each for each in said if each.endswith(": equal")] == [
        "rows.csv (validation): equal",
        "rows.csv (test): equal",
    ]
