"""Changes of decisions, other group columns and overfitting, by hand and by resampling."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import sklearn.metrics as sklearn
import torch
from scipy.stats import binomtest
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import AUC, PERFORMANCES
from fairfix.stats.auc_intervals import auc
from fairfix.stats.decision_changes import (
    decision_change,
    group_changes,
    levelling_down,
    sign_test,
)
from fairfix.stats.other_attributes import column_changes
from fairfix.stats.overfitting import overfitting
from tests.helpers.toys import scored_rows

SPD, EOD = METRICS["spd"], METRICS["eod"]


@dataclass(frozen=True)
class Column:
    """A protected column as a table has it."""

    column: str
    ids: np.ndarray
    names: tuple[str, ...]


def column(name: str, ids: np.ndarray) -> Column:
    return Column(name, ids, tuple(f"{name}{i}" for i in range(int(ids.max()) + 1)))


def own(problem: Problem) -> Column:
    return Column("own", problem.groups.numpy(), problem.group_names)


def problem(labels: np.ndarray, groups: np.ndarray, weights: np.ndarray | None = None) -> Problem:
    return Problem(
        torch.full((len(labels),), 0.5),
        torch.from_numpy(labels),
        torch.from_numpy(groups),
        tuple("abcdef"[: int(groups.max()) + 1]),
        weights=None if weights is None else torch.from_numpy(weights),
    )


# One entry: rows of this group and label, decided so before and after.
Cell = tuple[int, int, int, int, int]


def made(*cells: Cell) -> tuple[Problem, Tensor, Tensor]:
    """Rows from (rows, group, label, before, after)."""
    table = np.concatenate([np.tile(cell[1:], (cell[0], 1)) for cell in cells])
    group, label, before, after = table.T
    return problem(label, group), torch.tensor(before == 1), torch.tensor(after == 1)


# Group a: 10 rows; b: 10 rows.
HAND = made(
    (3, 0, 1, 1, 1), (1, 0, 1, 0, 1), (1, 0, 1, 1, 0), (2, 0, 0, 0, 1), (3, 0, 0, 0, 0),
    (4, 1, 1, 1, 1), (1, 1, 1, 0, 0), (3, 1, 0, 1, 0), (2, 1, 0, 0, 0),
)  # fmt: skip


def test_groups_counted_by_hand() -> None:
    a, b = group_changes(*HAND)
    assert (a.name, a.rows, a.gained, a.lost) == ("a", 10, 3, 1)
    assert (a.selection_rate_before, a.selection_rate_after) == pytest.approx((0.4, 0.6))
    assert (a.tpr_before, a.tpr_after) == pytest.approx((0.8, 0.8))
    assert (a.fpr_before, a.fpr_after) == pytest.approx((0.0, 0.4))
    assert (b.name, b.rows, b.gained, b.lost) == ("b", 10, 0, 3)
    assert (b.selection_rate_before, b.selection_rate_after) == pytest.approx((0.7, 0.4))
    assert (b.tpr_before, b.tpr_after) == pytest.approx((0.8, 0.8))
    assert (b.fpr_before, b.fpr_after) == pytest.approx((0.6, 0.0))


def test_row_weights_count_in_rates_and_not_in_rows() -> None:
    rows, before, after = HAND
    weights = torch.ones(20)
    weights[3] = 3.0  # the positive row of group a that gained
    a, b = group_changes(replace(rows, weights=weights), before, after)
    assert (a.rows, a.gained, a.lost) == (10, 3, 1)
    assert a.selection_rate_before == pytest.approx(4 / 12)
    assert (a.tpr_before, a.tpr_after) == pytest.approx((4 / 7, 6 / 7))
    assert b.tpr_before == pytest.approx(0.8)


def test_decision_change_collects_every_part() -> None:
    found = decision_change(*HAND, SPD, [own(HAND[0])])
    assert found.groups == group_changes(*HAND)
    assert found.levelling_down == ()
    assert [each.column for each in found.columns] == ["own"]


@pytest.mark.parametrize("gained", [0, 1, 4, 11])
@pytest.mark.parametrize("lost", [0, 1, 7, 11, 40])
def test_the_sign_test_is_the_binomial_test(gained: int, lost: int) -> None:
    n = gained + lost
    expected = binomtest(gained, n).pvalue if n else 1.0
    assert sign_test(gained, lost) == pytest.approx(expected)


def test_sign_test_of_effective_rows_is_between_those_of_whole_rows() -> None:
    assert sign_test(2, 11) < sign_test(2, 10.5) < sign_test(2, 10)


# --- levelling down


def test_a_group_that_lost_significantly_is_named() -> None:
    found = levelling_down(
        *made(
            (200, 0, 0, 0, 0), (50, 0, 1, 1, 1), (50, 0, 1, 0, 0),
            (100, 1, 0, 0, 0), (100, 1, 1, 1, 1), (40, 1, 1, 1, 0), (2, 1, 1, 0, 1),
            (50, 1, 0, 1, 1),
        ),
        SPD,
    )  # fmt: skip
    assert found == (
        "levelling down: abs(spd) shrank from 0.484 to 0.354 while the true positive rate of 'b' "
        "went from 0.986 to 0.718 (40 rows lost, 2 gained), the selection rate of 'b' went from "
        "0.651 to 0.521 (40 rows lost, 2 gained), and no group gained significantly",
    )


KEPT = ((100, 0, 0, 0, 0), (50, 0, 1, 1, 1), (100, 1, 0, 0, 0), (100, 1, 1, 1, 1))


@pytest.mark.parametrize(
    ("moved", "why"),
    [
        (((5, 1, 1, 1, 0), (1, 1, 1, 0, 1)), "5 against 1 is noise"),
        (((40, 1, 1, 1, 0), (30, 0, 1, 0, 1)), "the other group gained"),
        (((40, 1, 1, 1, 0), (30, 0, 0, 0, 1)), "the other group gained, if without merit"),
        (((40, 0, 1, 1, 0),), "the gap grew"),
        (((40, 0, 1, 0, 1),), "nobody lost"),
        ((), "nothing changed"),
    ],
)
def test_no_levelling_down(moved: tuple[Cell, ...], why: str) -> None:
    assert levelling_down(*made(*KEPT, *moved), SPD) == (), why


def test_small_losses_everywhere_add_up() -> None:
    """4 of a's rows and 5 of b's lost: noise in each group (p .125, .06), not in all (.004)."""
    (said,) = levelling_down(
        *made((400, 0, 0, 0, 0), (60, 0, 1, 1, 1), (4, 0, 1, 1, 0),
              (100, 1, 0, 0, 0), (80, 1, 1, 1, 1), (5, 1, 1, 1, 0)),
        SPD,
    )  # fmt: skip
    assert "shrank from 0.322 to 0.303 while no group gained" in said
    assert "'a' went from 1.000 to 0.938 (4 rows lost, 0 gained)" in said
    assert "'b' went from 1.000 to 0.941 (5 rows lost, 0 gained)" in said


def test_small_losses_by_one_of_two_rates_are_corrected_for_the_other() -> None:
    """3 of each group's rows lost: p = .03 together, which is enough for one rate."""
    rows = made((100, 0, 0, 0, 0), (60, 0, 1, 0, 0), (60, 0, 1, 1, 1), (3, 0, 1, 1, 0),
                (20, 1, 0, 0, 0), (30, 1, 1, 1, 1), (3, 1, 1, 1, 0))  # fmt: skip
    assert "while no group gained" in levelling_down(*rows, EOD)[0]
    assert levelling_down(*rows, SPD) == ()


@pytest.mark.parametrize(("groups", "named"), [(2, True), (5, False)])
def test_a_loss_in_one_of_many_groups_is_corrected_for_the_others(groups: int, named: bool) -> None:
    """7 lost and none gained: p = .016."""
    others = [(30, g, 1, decided, decided) for g in range(2, groups) for decided in (0, 1)]
    rows = made((60, 0, 1, 0, 0), (60, 0, 1, 1, 1), (20, 0, 0, 0, 0),
                (99, 1, 1, 1, 1), (7, 1, 1, 1, 0), *others)  # fmt: skip
    sizes = [float(EOD(rows[0].counts(decided)).size) for decided in rows[1:]]
    assert sizes == pytest.approx([0.5, 99 / 106 - 0.5])
    assert bool(levelling_down(*rows, EOD)) == named


def test_fewer_false_positives_are_harm_to_selection_only() -> None:
    rows = made(*KEPT, (40, 1, 0, 1, 0))
    assert "selection rate of 'b'" in levelling_down(*rows, SPD)[0]
    assert "true positive rate" not in levelling_down(*rows, SPD)[0]
    assert METRICS["eqodds"](rows[0].counts(rows[1])).size > 0.2  # which shrinks to 0
    assert levelling_down(*rows, METRICS["eqodds"]) == ()


def test_few_heavy_rows_are_weaker_evidence_than_many_rows() -> None:
    """Eight rows that lost are harm; two that weigh as much are not."""
    rows, before, after = made(*KEPT, (8, 1, 1, 1, 0))
    assert levelling_down(rows, before, after, EOD) == ()  # the gap grew
    rows, before, after = made(*KEPT, (20, 0, 1, 0, 0), (8, 1, 1, 1, 0))
    assert levelling_down(rows, before, after, EOD) != ()
    few = torch.ones(len(rows))
    few[-8:] = torch.tensor([6.0, 6, 0, 0, 0, 0, 0, 0])
    assert levelling_down(replace(rows, weights=few), before, after, EOD) == ()
    same = torch.full((len(rows),), 7.0)
    weighted = levelling_down(replace(rows, weights=same), before, after, EOD)
    assert weighted == levelling_down(rows, before, after, EOD)


def test_random_changes_are_rarely_called_levelling_down() -> None:
    """Each changed row gains or loses by the toss of a coin: at most 5 % of all tables."""
    rng = np.random.default_rng(0)
    named = 0
    for _ in range(400):
        labels, groups = rng.integers(0, 2, 600), rng.integers(0, 3, 600)
        before = rng.random(600) < 0.4
        after = np.where(rng.random(600) < 0.1, rng.random(600) < 0.4, before)
        named += bool(
            levelling_down(
                problem(labels, groups), torch.from_numpy(before), torch.from_numpy(after), SPD
            )
        )
    assert named <= 20


# --- other columns


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_sizes_are_those_of_the_metric(metric: str, n_groups: int, weighted: bool) -> None:
    rows = scored_rows(1000, n_groups, weighted=weighted)
    before, after = rows.scores > 0.4, rows.scores > 0.6
    (found,) = column_changes(rows, before, after, METRICS[metric], [own(rows)])
    assert found.before == pytest.approx(float(METRICS[metric](rows.counts(before)).size))
    assert found.after == pytest.approx(float(METRICS[metric](rows.counts(after)).size))
    assert found.low < found.after - found.before < found.high
    assert found.left_out == ()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_groups", [2, 3])
def test_the_interval_is_that_of_resampled_rows(metric: str, n_groups: int) -> None:
    """Resampled within groups; all gaps here are wide, so that the extreme groups stay the same."""
    rng = np.random.default_rng(3)
    n = 3000
    groups, labels = rng.integers(0, n_groups, n), rng.integers(0, 2, n)
    lean = groups / (n_groups - 1)
    u = rng.random(n)
    mixed = np.where(rng.random(n) < 0.3, rng.random(n), u)
    before = decide(u, np.where(labels == 1, 0.3 + 0.6 * lean, 0.2 + 0.2 * lean))
    after = decide(mixed, np.where(labels == 1, 0.2 + 0.7 * lean, 0.15 + 0.35 * lean))
    rows = problem(labels, groups, rng.uniform(0.5, 1.5, n))

    def growth(i: Tensor) -> float:
        sample = rows.take(i)
        was, now = (METRICS[metric](sample.counts(decided[i])).size for decided in (before, after))
        return float(now - was)

    where = [np.flatnonzero(groups == g) for g in range(n_groups)]
    resampled = [
        growth(torch.from_numpy(np.concatenate([rng.choice(w, len(w)) for w in where])))
        for _ in range(300)
    ]
    (found,) = column_changes(rows, before, after, METRICS[metric], [own(rows)])
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.std(resampled), rel=0.15)


def people(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Label, sex, race and a uniform number a row."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, n), rng.integers(0, 2, n), rng.integers(0, 2, n), rng.random(n)


def decide(u: np.ndarray, rate: np.ndarray) -> Tensor:
    return torch.from_numpy(u < rate)


def test_a_gap_that_grew_in_an_intersection_is_detected() -> None:
    """Men were selected more often; now black men and white women are, which neither sex nor race
    shows alone."""
    label, sex, race, u = people(1500, 0)
    other = np.random.default_rng(1).integers(0, 3, 1500)
    by_race, by_both, by_other = column_changes(
        problem(label, sex),
        decide(u, 0.2 + 0.2 * sex),
        decide(u, 0.1 + 0.4 * (sex ^ race)),
        SPD,
        [column("race", race), column("both", 2 * sex + race), column("other", other)],
    )
    assert by_both.worse
    assert by_both.low > 0
    was, now = f"{by_both.before:.3f}", f"{by_both.after:.3f}"
    assert f"of 'both' abs(spd) grew from {was} to {now} (95 % interval" in by_both.sentence
    for each in (by_race, by_other):
        assert not each.worse
        assert each.sentence.endswith("which is not significant")


def test_a_gap_between_other_groups_did_not_grow() -> None:
    label, sex, race, u = people(1500, 0)
    (found,) = column_changes(
        problem(label, sex),
        decide(u, 0.2 + 0.2 * sex),
        decide(u, 0.2 + 0.2 * (sex ^ race)),
        SPD,
        [column("both", 2 * sex + race)],
    )
    assert found.before == pytest.approx(0.2, abs=0.07)
    assert found.after == pytest.approx(0.2, abs=0.07)
    assert not found.worse


def test_pairing_detects_growth_that_independent_tables_would_not() -> None:
    """The gap grew by .06, with a standard error of .04 were the decisions on other rows."""
    cells = (
        (300, 0, 0, 0, 0), (200, 0, 1, 1, 1), (500, 1, 0, 0, 0), (480, 1, 1, 1, 1),
        (20, 0, 1, 1, 0), (20, 1, 0, 0, 1),
    )  # fmt: skip
    rows, before, after = made(*cells)
    (found,) = column_changes(rows, before, after, SPD, [own(rows)])
    assert found.after - found.before == pytest.approx(20 / 520 + 20 / 1000)
    assert found.worse
    assert found.high - found.low < 0.05


def test_a_gap_of_unknown_sign_did_not_grow_significantly() -> None:
    """Three rows of a hundred gained, which parts the groups or brings them together: before, a
    led or trailed by chance."""
    rows, before, after = made(
        (30, 0, 0, 1, 1), (70, 0, 1, 0, 0), (28, 1, 0, 1, 1), (69, 1, 1, 0, 0), (3, 0, 1, 0, 1)
    )
    (found,) = column_changes(rows, before, after, SPD, [own(rows)])
    assert found.after > found.before
    assert found.p > 0.5


def test_holm_over_columns() -> None:
    """What is shown for a column alone is not among many that show nothing."""
    rows, before, after = made(
        (300, 0, 0, 0, 0), (200, 0, 1, 1, 1), (150, 1, 0, 0, 0), (360, 1, 1, 1, 1),
        (8, 0, 1, 1, 0), (1, 0, 0, 0, 1),
    )  # fmt: skip
    (alone,) = column_changes(rows, before, after, SPD, [own(rows)])
    assert 0.01 < alone.p < 0.05
    assert alone.worse
    rng = np.random.default_rng(0)
    others = [column(f"c{i}", rng.integers(0, 2, len(rows))) for i in range(9)]
    together = column_changes(rows, before, after, SPD, [own(rows), *others])
    assert together[0] == replace(alone, worse=False)
    assert not any(each.worse for each in together)


def test_groups_with_too_few_rows_are_left_out_and_named() -> None:
    rows, before, after = made(
        (50, 0, 0, 0, 0), (50, 0, 1, 1, 1), (50, 1, 0, 0, 0), (50, 1, 1, 1, 1),
        (29, 2, 1, 0, 1), (1, 2, 0, 0, 1),
    )  # fmt: skip
    (by_selection,) = column_changes(rows, before, after, SPD, [own(rows)])
    assert (by_selection.before, by_selection.after) == (0.5, 0.5)
    assert by_selection.left_out == ()
    (by_label,) = column_changes(rows, before, after, EOD, [own(rows)])
    assert (by_label.before, by_label.after, by_label.left_out) == (0.0, 0.0, ("c",))


def test_one_large_group_has_no_gap() -> None:
    rows, before, after = made((80, 0, 0, 0, 1), (80, 0, 1, 1, 1), (9, 1, 1, 1, 1))
    (found,) = column_changes(rows, before, after, SPD, [own(rows)])
    assert math.isnan(found.before)
    assert not found.worse
    assert found.left_out == ("b",)
    assert "too few rows" in found.sentence


def test_a_ratio_of_nothing_is_undefined_and_one_of_zero_is_not() -> None:
    cells = (40, 0, 0, 0, 0), (40, 0, 1, 0, 0), (40, 1, 0, 0, 0), (40, 1, 1, 0, 1)
    rows, before, after = made(*cells)
    (found,) = column_changes(rows, before, after, METRICS["di"], [own(rows)])
    assert math.isnan(found.before)
    (found,) = column_changes(rows, after, after, METRICS["di"], [own(rows)])
    assert (found.before, found.after, found.worse) == (1.0, 1.0, False)


def test_equal_weights_change_nothing() -> None:
    label, sex, race, u = people(800, 5)
    rows = problem(label, sex)
    arguments = decide(u, 0.3 + 0.1 * race), decide(u, 0.2 + 0.2 * race), METRICS["aod"]
    plain = column_changes(rows, *arguments, [column("race", race)])
    seven = column_changes(replace(rows, weights=torch.full((800,), 7.0)), *arguments,
                           [column("race", race)])  # fmt: skip
    for one, other in zip(vars(plain[0]).values(), vars(seven[0]).values(), strict=True):
        assert one == (pytest.approx(other) if isinstance(one, float) else other)


@pytest.mark.parametrize("metric", ["spd", "eod", "aaod"])
@pytest.mark.parametrize("groups", [2, 4])
def test_false_alarms_of_growth_are_rare(metric: str, groups: int) -> None:
    """The gap is .2 before and after, between other people: at most 5 % and three errors."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(200):
        label, ids = rng.integers(0, 2, 800), rng.integers(0, groups, 800)
        u = rng.random(800)
        mixed = np.where(rng.random(800) < 0.3, rng.random(800), u)
        rate = 0.2 + 0.2 * ids / (groups - 1)
        (found,) = column_changes(
            problem(label, ids), decide(u, rate), decide(mixed, rate), METRICS[metric],
            [column("c", ids)],
        )  # fmt: skip
        alarms += found.worse
    assert alarms <= 200 * 0.05 + 3 * math.sqrt(200 * 0.05 * 0.95)


# --- overfitting


def test_a_gap_closed_only_on_validation_rows_is_overfitting() -> None:
    label, sex, _, u = people(2000, 0)
    rows = problem(label, sex)
    fair, unfair = decide(u, 0.3 + 0 * sex), decide(u, 0.3 + 0.15 * sex)
    (said,) = overfitting(rows, fair, rows, unfair, Objective())
    sizes = [float(SPD(rows.counts(decided)).size) for decided in (fair, unfair)]
    assert said.sentence.startswith(
        f"overfitting: abs(spd) is {sizes[0]:.3f} on the 2,000 validation rows and "
        f"{sizes[1]:.3f} on the 2,000 test rows, worse by "
    )
    assert overfitting(rows, unfair, rows, fair, Objective()) == ()
    assert overfitting(rows, fair, rows, fair, Objective()) == ()


@pytest.mark.parametrize("performance", PERFORMANCES)
def test_a_performance_only_on_validation_rows_is_overfitting(performance: str) -> None:
    label, sex, _, u = people(1000, 1)
    rows = problem(label, sex)
    good, poor = decide(u, 0.1 + 0.8 * label), decide(u, 0.3 + 0.4 * label)
    objective = Objective(performance=PERFORMANCES[performance])
    said = overfitting(rows, good, rows, poor, objective)
    start = f"overfitting: {objective.performance.title} is"
    assert any(each.sentence.startswith(start) for each in said)
    better = overfitting(rows, poor, rows, good, objective)
    assert objective.performance.key not in {each.key for each in better}


@pytest.mark.parametrize("clustered", [False, True])
def test_an_auc_only_on_validation_rows_is_overfitting(clustered: bool) -> None:
    label, sex, _, u = people(1000, 1)
    rows = problem(label, sex)
    if clustered:
        rows = replace(rows, clusters=torch.arange(1000) // 2)
    good, poor = (
        replace(rows, scores=torch.from_numpy(size * label + (1 - size) * u)) for size in (0.4, 0.1)
    )
    objective = Objective(performance=AUC)
    decided = decide(u, 0.5 + 0 * label)
    (said,) = overfitting(good, decided, poor, decided, objective)
    values = [sklearn.roc_auc_score(label, each.scores) for each in (good, poor)]
    start = f"overfitting: {AUC.title} is {values[0]:.3f} on the 1,000 validation rows and"
    assert said.sentence.startswith(f"{start} {values[1]:.3f}")
    estimates = [auc(e.scores.numpy(), label, None, rows.clusters) for e in (good, poor)]
    variances = []
    for estimate in estimates:
        interval, odds = estimate.interval(0.025), estimate.value * (1 - estimate.value)
        logits = [math.log(x / (1 - x)) for x in (interval.low, interval.high)]
        variances.append(((logits[1] - logits[0]) / 2 / 1.96 * odds) ** 2)
    z = (values[0] - values[1]) / math.sqrt(sum(variances))
    assert f"worse by {z:.1f} standard errors" in said.sentence
    assert overfitting(poor, decided, good, decided, objective) == ()


@pytest.mark.parametrize("performance", PERFORMANCES)
def test_the_variance_of_a_performance_is_that_of_resampled_rows(performance: str) -> None:
    rng = np.random.default_rng(4)
    label, sex, _, u = people(2000, 4)
    rows, decided = problem(label, sex), decide(u, 0.05 + 0.1 * label)
    measure = PERFORMANCES[performance]
    samples = [torch.from_numpy(rng.integers(0, 2000, 2000)) for _ in range(400)]
    resampled = [float(measure(rows.take(i).counts(decided[i]))) for i in samples]
    found = float(PERFORMANCES[performance].variance(rows.counts(decided).total()))
    assert found**0.5 == pytest.approx(np.std(resampled), rel=0.12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("what", ["spd", "eqodds", "balanced_accuracy", "accuracy", "f1"])
def test_overfitting_has_its_nominal_false_alarm_rate(what: str, weighted: bool) -> None:
    """Two tables of one kind: a one-sided test at 1.96 errors fires in 2.5 % of all pairs.

    The bounds are where 400 such pairs stay with a chance of .9999; the lower one shows that the
    variance is not merely large. A gap near 0 folds, so that its test fires less often.
    """
    rng = np.random.default_rng(2)
    objective = Objective(
        metric=METRICS[what if what in METRICS else "spd"],
        performance=PERFORMANCES[what if what in PERFORMANCES else "accuracy"],
    )
    name = f"abs({what})" if what in METRICS else objective.performance.title

    def table() -> tuple[Problem, Tensor]:
        n = 500
        label, sex = rng.integers(0, 2, n), rng.integers(0, 2, n)
        weights = rng.choice([0.5, 1, 4], n) if weighted else None
        rate = 0.1 + 0.4 * label + 0.3 * sex
        return problem(label, sex, weights), decide(rng.random(n), rate)

    fired = 0
    for _ in range(400):
        said = overfitting(*table(), *table(), objective)
        fired += any(name in each.sentence for each in said)
    assert 1 <= fired <= 24


def test_an_undefined_gap_is_not_overfitting() -> None:
    rows, _, decided = made((30, 0, 1, 0, 1), (30, 1, 0, 0, 1), (30, 1, 1, 0, 1))
    assert overfitting(rows, decided, rows, decided, Objective(metric=METRICS["eqodds"])) == ()
