"""The gate: what several demands together decide, and what must be said beside it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fairfix.data.table import Columns
from fairfix.errors import UsageError
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.stats.intervals import Interval, rate_interval
from fairfix.stats.verdicts import Verdict
from fairfix.workflows.audit import choose_rule
from fairfix.workflows.case import load
from fairfix.workflows.gate.checks import Check
from fairfix.workflows.gate.demands import Demand, Kind, Severity, demands, demands_of
from fairfix.workflows.gate.gate import Gate, Judged, gate
from fairfix.workflows.gate.holm_correction import after_holm
from fairfix.workflows.gate.reused_rows import Reuse


def cell(sex: str, label: int, decision: int, rows: int) -> pd.DataFrame:
    score = 0.9 if decision else 0.1
    return pd.DataFrame({"label": [label] * rows, "sex": sex, "p": score})


def judged(path: Path, *cells: pd.DataFrame, groups: tuple[str, ...] = ("sex",)) -> Judged:
    frame = pd.concat(cells)
    frame.to_csv(path, index=False)
    two = frame[groups[0]].nunique() == 2
    columns = Columns(groups=groups, score="p", privileged="m" if two else None)
    case = load(None, path, columns=columns)
    return Judged.by(case, *choose_rule(case))


def fair(n: int = 1000) -> tuple[pd.DataFrame, ...]:
    return tuple(
        cell(sex, label, decision, rows)
        for sex in "fm"
        for label, decision, rows in (
            (1, 1, n // 4),
            (1, 0, n // 4),
            (0, 1, n // 8),
            (0, 0, n // 2),
        )
    )


def budget(entry: str) -> list[Demand]:
    return demands(Kind.BUDGET, [entry])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "rows.csv"


# Reading demands.


def test_entries() -> None:
    assert demands(Kind.BUDGET, ["spd=0.05", " eod = 1e-1 : warn", "di=.2:error"]) == [
        Demand(Kind.BUDGET, "spd", 0.05),
        Demand(Kind.BUDGET, "eod", 0.1, Severity.WARN),
        Demand(Kind.BUDGET, "di", 0.2),
    ]
    assert demands(Kind.MAX_DROP, ["0"], default="f1") == [Demand(Kind.MAX_DROP, "f1", 0)]
    drop, floor = (demands(kind, ["recall=0.1"]) for kind in (Kind.MAX_DROP, Kind.FLOOR))
    assert [drop[0].key, floor[0].key] == ["recall", "tpr"]
    two = demands(Kind.BUDGET, ["spd=0.1", "spd=0.05:warn"])
    assert [d.severity for d in two] == [Severity.ERROR, Severity.WARN]


@pytest.mark.parametrize(
    "entry",
    ["", "spd", "spd=", "=", "spd=1", "spd=-0.1", "spd=inf", "spd=0.1:", "auc=0.1", "a=b=0.1"],
)
def test_what_is_no_budget(entry: str) -> None:
    with pytest.raises(UsageError):
        demands(Kind.BUDGET, [entry])


@pytest.mark.parametrize(
    "entry",
    ["spd=\u0660.5", "spd=0.0_5", "spd=0x1", "spd=1e400", "spd.min=0.1", "di=0.5", "spd=0.1:x"],
)
def test_other_numbers_and_keys_are_refused(entry: str) -> None:
    with pytest.raises(UsageError):
        demands(Kind.BUDGET, [entry])


@pytest.mark.parametrize(
    ("kind", "entry", "expected"),
    [
        ("budget", "spd@race=0.1", Demand(Kind.BUDGET, "spd", 0.1, column="race")),
        ("budget", "spd@a=b:c=0.1:warn", Demand(Kind.BUDGET, "spd", 0.1, Severity.WARN, "a=b:c")),
        ("floor", "tpr.min=0.6", Demand(Kind.FLOOR, "tpr", 0.6, smallest=True)),
        ("floor", "tpr.min@race=0.6", Demand(Kind.FLOOR, "tpr", 0.6, column="race", smallest=True)),
        ("floor", "di@race=0.8", Demand(Kind.FLOOR, "di", 0.8, column="race")),
        ("ceiling", "fpr=0.1", Demand(Kind.CEILING, "fpr", 0.1)),
    ],
)
def test_the_grammar(kind: str, entry: str, expected: Demand) -> None:
    assert demands(Kind(kind), [entry]) == [expected]
    target = entry.removesuffix(":warn").rpartition("=")
    assert demands_of(Kind(kind), {target[0]: float(target[2])}) == [
        replace(expected, severity=Severity.ERROR)
    ]


@pytest.mark.parametrize(
    ("kind", "entry", "said"),
    [
        ("floor", "di=0.2", "A budget of di is 1 - ratio"),
        ("floor", "di=1e-9", "A floor of 1e-09 for the ratio di lets one group have half the rate"),
        ("budget", "spd@=0.05", "names no column after @; name a group column, such as spd@sex="),
        ("floor", "accuracy@sex=0.7", "write --floor accuracy.min@sex=0.7."),
        ("floor", "f1@sex=0.7", "remove @sex."),
        ("ceiling", "fpr.min=0.1", "it needs --floor, not --ceiling."),
        ("ceiling", "spd=0.1", "write --budget spd=0.1."),
        ("floor", "f1.min=0.7", "A floor of the smallest group needs one of selection_rate, tpr"),
        (
            "max-drop",
            "tpr=0.1",
            "A max-drop needs one of balanced_accuracy, accuracy, f1, precision",
        ),
    ],
)
def test_what_a_kind_cannot_limit(kind: str, entry: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        demands(Kind(kind), [entry])
    assert said in str(caught.value)


def test_the_smallest_rate_needs_rows_in_every_group(table: Path) -> None:
    rows = judged(table, *fair(), cell("x", 1, 1, 20), cell("x", 0, 0, 9))
    floor = demands(Kind.FLOOR, ["selection_rate.min=0.2"])
    found = gate(rows, [*budget("spd=0.5:warn"), *floor], model="m").checks[-1]
    assert (found.verdict, found.reason) == (
        Verdict.TOO_FEW,
        "a group has fewer than 30 rows behind the rate",
    )
    low = demands(Kind.FLOOR, ["selection_rate.min=0.95"])
    found = gate(rows, [*budget("spd=0.5:warn"), *low], model="m").checks[-1]
    assert found.verdict is Verdict.VIOLATED


def test_the_upper_limit_of_the_smallest_rate_is_corrected_for_the_groups(table: Path) -> None:
    """Either of two equal rates may be the smallest by chance."""
    found = gate(
        judged(table, *fair()),
        [*budget("spd=0.5"), *demands(Kind.FLOOR, ["tpr.min=0.4"])],
        model="m",
    ).checks[-1]
    assert found.interval.high == pytest.approx(rate_interval(250, 500, 0.025).high)
    assert found.interval.low == pytest.approx(rate_interval(250, 500, 0.05).low)


def test_the_condition_of_each_kind() -> None:
    assert Demand(Kind.CEILING, "selection_rate", 0.5).condition == "selection rate <= 0.5"
    assert Demand(Kind.FLOOR, "di", 0.8).condition == "ratio of di > 0.8"
    assert Demand(Kind.FLOOR, "tpr", 0.6, smallest=True).condition == (
        "smallest tpr of a group >= 0.6"
    )
    assert Demand(Kind.BUDGET, "spd", 0.05).condition == "gap of spd < 0.05"
    assert Demand(Kind.FLOOR, "balanced_accuracy", 0.7).condition == "balanced accuracy >= 0.7"
    assert Demand(Kind.MAX_DROP, "f1", 0.02).condition == "drop of f1 <= 0.02"


# Several demands.


def violated(p_value: float, severity: Severity = Severity.ERROR) -> Check:
    return Check(
        asked="gap of spd < 0.05",
        kind="budget",
        key="spd",
        limit=0.05,
        severity=severity,
        title="t",
        column="sex",
        sign="",
        value=0.1,
        interval=Interval(0.06, 0.14, "i"),
        verdict=Verdict.VIOLATED if p_value <= 0.05 else Verdict.INCONCLUSIVE,
        reason="because",
        rows_needed=None,
        p_violated=p_value,
        test="t",
    )


@pytest.mark.parametrize(
    ("p_values", "stand"),
    [
        ([0.04], [True]),
        ([0.04, 0.9], [False, False]),
        ([0.02, 0.9], [True, False]),
        ([0.03, 0.02], [True, True]),
        ([0.02, 0.02, 0.02], [False, False, False]),
        ([0.01, 0.02, 0.06], [True, True, False]),
        ([0.04, math.nan], [True, False]),
    ],
)
def test_violations_stand_holms_correction(p_values: list[float], stand: list[bool]) -> None:
    found = after_holm([violated(p) for p in p_values], 0.05)
    assert [check.verdict is Verdict.VIOLATED for check in found] == stand


def test_what_only_warns_is_a_family_of_its_own() -> None:
    many = [violated(0.9, Severity.WARN)] * 9
    first, *_ = after_holm([violated(0.04), *many], 0.05)
    assert first.verdict is Verdict.VIOLATED
    taken, *_ = after_holm([violated(0.04), violated(0.9)], 0.05)
    assert taken.reason == "because, but not after Holm's correction for 2 demands"


def test_all_must_be_certified_to_pass(table: Path) -> None:
    rows = judged(table, *fair())
    pass_ = gate(rows, demands(Kind.BUDGET, ["spd=0.1", "eod=0.15", "di=0.4"]), model="m")
    assert [c.verdict for c in pass_.checks] == [Verdict.CERTIFIED] * 3
    assert pass_.exit_code == 0
    one = gate(rows, demands(Kind.BUDGET, ["spd=0.1", "eod=0.01"]), model="m")
    assert [c.verdict for c in one.checks] == [Verdict.CERTIFIED, Verdict.INCONCLUSIVE]
    assert one.exit_code == 3


def test_more_than_two_groups(table: Path) -> None:
    third = [cell("x", 1, 1, 100), cell("x", 0, 0, 900)]
    found = gate(judged(table, *fair(), *third), budget("spd=0.1"), model="m")
    (check,) = found.checks
    assert (check.verdict, check.sign) == (Verdict.VIOLATED, "largest minus smallest")
    assert check.value == pytest.approx(0.375 / 1.125 - 0.1)


# What the table can certify at all.


def test_power_is_said_whatever_is_seen(table: Path) -> None:
    (power,) = gate(judged(table, *fair()), budget("spd=0.1"), model="m").power
    assert power.rows == {"f": 1125, "m": 1125}
    assert power.certifiable_gap is not None
    assert 0.05 < power.certifiable_gap < 0.1
    (power,) = gate(judged(table, *fair(80)), budget("spd=0.05"), model="m").power
    assert power.certifiable_gap is None
    assert power.rows_needed is not None
    assert min(power.rows_needed.values()) > 400


def test_a_limit_is_written_with_all_its_digits() -> None:
    assert budget("spd=0.9999999")[0].condition == "gap of spd < 0.9999999"
    assert budget("spd=0.05")[0].condition == "gap of spd < 0.05"


# What must be said beside it.


def test_a_trivial_rule_needs_a_floor_that_it_keeps(table: Path) -> None:
    rows = judged(table, cell("f", 0, 0, 900), cell("m", 0, 0, 900), cell("m", 1, 0, 90))
    found = gate(rows, budget("spd=0.05"), model="m")
    assert [(c.kind, c.verdict) for c in found.checks] == [
        ("budget", Verdict.CERTIFIED),
        ("trivial", Verdict.INCONCLUSIVE),
    ]
    assert (found.exit_code, found.trivial) == (3, True)
    assert any("trivial" in warning for warning in found.warnings)
    floor = demands(Kind.FLOOR, ["accuracy=0.9"])
    assert gate(rows, [*budget("spd=0.05"), *floor], model="m").exit_code == 0
    floor = demands(Kind.FLOOR, ["accuracy=0.9:warn"])
    assert gate(rows, [*budget("spd=0.05"), *floor], model="m").exit_code == 3


def test_odds_that_cancel_are_warned_of(table: Path) -> None:
    """TPR .6 and .4, FPR .4 and .6: the average odds are equal."""
    rows = judged(
        table,
        *(
            cell(sex, label, decision, 2 * n)
            for sex, label, n in (("f", 1, 600), ("f", 0, 400), ("m", 1, 400), ("m", 0, 600))
            for decision, n in ((1, n), (0, 1000 - n))
        ),
    )
    found = gate(rows, budget("aod=0.1"), model="m")
    assert found.exit_code == 0
    assert any("equal opportunity difference within 0.1 is violated" in w for w in found.warnings)


def test_a_rule_for_another_column_is_warned_of(table: Path) -> None:
    rows = judged(table, *fair())
    other = replace(rows, rule=replace(rows.rule, metric="spd", budget=0.1, group_column="race"))
    assert gate(other, [], model="m").warnings == (
        "the rule was made for the groups of 'race', but that column is not gated",
    )


def test_scores_the_wrong_way_round_are_warned_of(table: Path) -> None:
    rows = judged(table, *(cell(s, y, 1 - y, 500) for s in "fm" for y in (0, 1)))
    found = gate(rows, budget("spd=0.1"), model="m")
    assert any("in reverse (AUC 0.000)" in warning for warning in found.warnings)


def test_what_is_let_through_is_named(table: Path) -> None:
    rows = judged(table, *fair(80))
    found = gate(rows, budget("spd=0.05"), model="m", lenient=True)
    assert found.exit_code == 0
    assert found.warnings == (
        "not certified, but passed by --on-inconclusive warn: gap of spd < 0.05 by sex",
    )


@pytest.mark.parametrize(
    ("share", "where"), [(0.2, "warnings"), (0.0, "notes"), (None, "unchecked")]
)
def test_reused_rows_are_said(table: Path, share: float | None, where: str) -> None:
    rows = judged(table, *fair())
    found = gate(rows, budget("spd=0.1"), model="m", reuse=Reuse(share, "as it is"))
    places = ("warnings", "notes", "unchecked")
    assert [place for place in places if "as it is" in getattr(found, place)] == [where]


def test_the_rules_own_budget(table: Path) -> None:
    rows = judged(table, *fair())
    made = replace(rows, rule=replace(rows.rule, metric="eod", budget=0.2))
    (check,) = gate(made, [], model="m").checks
    assert (check.key, check.limit) == ("eod", 0.2)
    with pytest.raises(UsageError, match="The gate needs a budget"):
        gate(rows, [], model="m")


def test_a_drop_is_paired(table: Path) -> None:
    """On the same rows a change of few decisions is sure, whatever the performance itself is."""
    rows = judged(table, *fair(400))
    flipped = rows.decisions.clone()
    flipped[:8] = ~flipped[:8]
    after = replace(rows, decisions=flipped)

    def check(limit: float) -> Check:
        asked = [*budget("spd=0.5"), Demand(Kind.MAX_DROP, "accuracy", limit)]
        return gate(after, asked, model="m", baseline=rows).checks[-1]

    assert check(0.03).value == pytest.approx(8 / 900)
    assert check(0.03).interval.low < 8 / 900 < check(0.03).interval.high < 0.03
    assert check(0.03).verdict is Verdict.CERTIFIED
    assert check(0.009).verdict is Verdict.INCONCLUSIVE
    assert check(0.001).verdict is Verdict.VIOLATED


def test_a_gate_of_nothing_but_warnings_passes(table: Path) -> None:
    rows = judged(table, *fair(80))
    found: Gate = gate(rows, budget("spd=0.05:warn"), model="m")
    assert (found.exit_code, found.checks[0].verdict) == (0, Verdict.INCONCLUSIVE)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"spd": "x"}, "budget of spd must be a number, not 'x'"),
        ({"spd": True}, "budget of spd must be a number, not True"),
        ({"spd": None}, "budget of spd must be a number, not None"),
        ({"spd": math.nan}, "between 0 and 1, not nan"),
        ({1: 0.1}, "key of a budget must be text, not 1"),
        ("spd=0.1", r"number by its key, such as \{'spd': 0.05\}, not 'spd=0.1'"),
    ],
)
def test_limits_of_other_types_are_refused(limits: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        demands_of(Kind.BUDGET, limits)


def test_a_trivial_rule_is_never_green_and_its_sentences_agree(table: Path) -> None:
    rows = judged(table, cell("f", 0, 0, 900), cell("m", 0, 0, 900), cell("m", 1, 0, 90))
    asked = [*budget("spd=0.05"), *demands(Kind.FLOOR, ["accuracy=0.9"])]
    found = gate(rows, asked, model="m")
    assert (found.exit_code, found.color) == (0, "amber")
    assert [each.partition(":")[0] for each in found.serious_warnings] == ["the rule is trivial"]
    assert found.headline == "Passed: all 2 demands are certified; 1 serious warning."
    assert found.checks[0].verdict is Verdict.CERTIFIED
    assert found.power[0].certifiable_gap is not None
    assert gate(rows, asked, model="m", no_serious_warnings=True).exit_code == 3
    good = gate(judged(table, *fair()), budget("spd=0.1"), model="m", no_serious_warnings=True)
    assert (good.exit_code, good.color) == (0, "green")


def test_holm_has_the_alpha_of_the_confidence(table: Path) -> None:
    """A p-value between 0.05 and 0.2 is a violation at a confidence of 0.8 alone."""
    rows = judged(table, *fair())
    floor = demands(Kind.FLOOR, ["accuracy=0.683"])
    low, high = (
        gate(
            rows, [*budget("spd=0.5:warn"), *floor], model="m", confidence=ConfidenceLevel(level)
        ).checks[-1]
        for level in (0.8, 0.95)
    )
    assert 0.05 < low.p_violated < 0.2
    assert (low.verdict, high.verdict) == (Verdict.VIOLATED, Verdict.INCONCLUSIVE)


@pytest.mark.parametrize(("limit", "verdict"), [(0.9, Verdict.CERTIFIED), (0.01, Verdict.VIOLATED)])
def test_a_ceiling_of_the_calibration_error(table: Path, limit: float, verdict: Verdict) -> None:
    asked = [*budget("spd=0.1"), Demand(Kind.CEILING, "calibration_error", limit)]
    check = gate(judged(table, *fair()), asked, model="m").checks[1]
    assert (check.verdict, check.title) == (verdict, "expected calibration error")
    with pytest.raises(UsageError, match="A floor needs one of"):
        Demand(Kind.FLOOR, "calibration_error", 0.1)


@pytest.mark.parametrize(("name", "key"), [("precision", "ppv"), ("recall", "tpr")])
def test_precision_and_recall_are_rates_of_all_rows(name: str, key: str) -> None:
    for given in ("{}=0.6", "{}.min@sex=0.6:warn"):
        assert demands(Kind.FLOOR, [given.format(name)]) == demands(Kind.FLOOR, [given.format(key)])
    assert demands_of(Kind.CEILING, {name: 0.6}) == demands_of(Kind.CEILING, {key: 0.6})
