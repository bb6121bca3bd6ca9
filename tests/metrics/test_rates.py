"""Counts and metrics against hand counts, identities, and four libraries."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from aif360.datasets import BinaryLabelDataset
from aif360.metrics import ClassificationMetric
from fairlearn import metrics as fairlearn
from sklearn import metrics as sklearn
from torch import Tensor
from torchmetrics.functional.classification import binary_fairness, binary_groups_stat_rates

from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts, count, design_effect
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.performance import PERFORMANCES, auc_by_group, is_trivial
from fairfix.metrics.rates import (
    accuracy_rate,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)
from tests.helpers.toys import count_by_hand, gaps_by_hand, rates_by_hand, scored_rows, table

# Two groups of 10 and 20 rows.          group:  0   1
HAND = table(tp=[3, 9], fp=[1, 2], fn=[2, 3], tn=[4, 6])


def counted(problem: Problem, decisions: Tensor | None = None) -> Counts:
    decisions = problem.scores > 0.5 if decisions is None else decisions
    return count(decisions, problem.labels, problem.groups, problem.n_groups, problem.weights)


def sides(counts: Counts) -> np.ndarray:
    return torch.stack(counts.sides).detach().numpy()


CASES = [
    pytest.param(scored_rows(60 + seed, g, seed=seed, weighted=w), id=f"{g} groups, weights {w}")
    for seed, (g, w) in enumerate([(2, False), (2, True), (3, False), (3, True)])
]


# --- by hand ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spd", 4 / 10 - 11 / 20),
        ("eod", 3 / 5 - 9 / 12),
        ("fprd", 1 / 5 - 2 / 8),
        ("aod", (3 / 5 - 9 / 12 + 1 / 5 - 2 / 8) / 2),
        ("aaod", (9 / 12 - 3 / 5 + 2 / 8 - 1 / 5) / 2),
        ("eqodds", 9 / 12 - 3 / 5),
        ("ad", 7 / 10 - 15 / 20),
        ("di", (4 / 10) / (11 / 20)),
    ],
)
def test_a_table_counted_by_hand(key: str, value: float) -> None:
    gap = METRICS[key](HAND)
    assert gap.value.item() == pytest.approx(value)
    size = 1 - value if key == "di" else abs(value)
    assert gap.size.item() == pytest.approx(size)


def test_every_metric_is_in_the_table_counted_by_hand() -> None:
    assert set(METRICS) == set(gaps_by_hand(sides(HAND)))


@pytest.mark.parametrize("problem", CASES)
def test_counts_of_rows(problem: Problem) -> None:
    for decisions in (problem.scores > 0.5, (problem.scores > 0.5).long(), problem.scores):
        counts = counted(problem, decisions)
        assert sides(counts) == pytest.approx(count_by_hand(decisions, problem), abs=1e-9)
        assert sides(problem.counts(decisions)) == pytest.approx(sides(counts))


@pytest.mark.parametrize("problem", CASES)
def test_metrics_of_rows(problem: Problem) -> None:
    expected = gaps_by_hand(count_by_hand(problem.scores > 0.5, problem))
    counts = counted(problem)
    assert {key: float(m(counts).value) for key, m in METRICS.items()} == pytest.approx(expected)


def test_many_decisions_at_once_equal_one_by_one() -> None:
    problem = scored_rows(40, 3)
    cuts = torch.tensor([0.2, 0.5, 0.8])
    together = counted(problem, problem.scores > cuts.unsqueeze(1))
    for b, cut in enumerate(cuts):
        alone = counted(problem, problem.scores > cut)
        assert np.array_equal(sides(together)[:, b], sides(alone))
        for metric in METRICS.values():
            one, other = metric(together).value[b], metric(alone).value
            assert torch.equal(one, other) or (one.isnan() and other.isnan())


# --- identities ---------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", CASES)
def test_accuracy_is_the_share_of_right_decisions(problem: Problem) -> None:
    counts = counted(problem)
    weights = torch.ones(len(problem)) if problem.weights is None else problem.weights
    right = ((problem.scores > 0.5) == problem.labels.bool()) * weights
    for g in range(problem.n_groups):
        here = problem.groups == g
        share = right[here].sum() / weights[here].sum()
        assert float(accuracy_rate(counts).value[g]) == pytest.approx(float(share))
    total = float(PERFORMANCES["accuracy"](counts))
    assert total == pytest.approx(float(right.sum() / weights.sum()))


@pytest.mark.parametrize("key", METRICS)
def test_swapping_two_groups_flips_the_sign_and_keeps_the_size(key: str) -> None:
    swapped = Counts(*(side.flip(-1) for side in HAND.sides))
    one, other = METRICS[key](HAND), METRICS[key](swapped)
    if key in ("aaod", "eqodds"):
        assert torch.equal(one.value, other.value)
    elif key == "di":
        assert float(one.value * other.value) == pytest.approx(1)
    else:
        assert torch.equal(one.value, -other.value)
    assert float(one.size) == pytest.approx(float(other.size))


@pytest.mark.parametrize("key", METRICS)
def test_order_of_more_groups_does_not_matter(key: str) -> None:
    counts = counted(scored_rows(90, 4, seed=3))
    turned = Counts(*(side.roll(1, -1) for side in counts.sides))
    one, other = METRICS[key](counts), METRICS[key](turned)
    assert torch.equal(one.value, other.value)
    assert one.value >= 0
    chance, again = (float(gap.probability_within(0.3, 1.0)) for gap in (one, other))
    assert 0 < chance < 1
    assert chance == pytest.approx(again)


def test_the_opposite_of_decisions_and_labels() -> None:
    problem = scored_rows(80, 2, seed=5)
    decisions = problem.scores > 0.5
    counts = counted(problem)
    opposite = count(~decisions, 1 - problem.labels, problem.groups, 2)
    assert METRICS["spd"](opposite).value == pytest.approx(-METRICS["spd"](counts).value)
    assert METRICS["ad"](opposite).value == pytest.approx(METRICS["ad"](counts).value)
    assert METRICS["eod"](opposite).value == pytest.approx(-METRICS["fprd"](counts).value)
    assert METRICS["aaod"](opposite).value == pytest.approx(METRICS["aaod"](counts).value)
    assert torch.equal(true_positive_rate(opposite).value, 1 - false_positive_rate(counts).value)


@pytest.mark.parametrize("problem", CASES)
def test_odds_metrics_by_each_other(problem: Problem) -> None:
    gap = {key: float(metric(counted(problem)).value) for key, metric in METRICS.items()}
    if problem.n_groups == 2:
        assert gap["aod"] == pytest.approx((gap["eod"] + gap["fprd"]) / 2)
    assert abs(gap["aod"]) <= gap["aaod"] + 1e-12
    half_sum, half_difference = (gap["eod"] + gap["fprd"]) / 2, (gap["eod"] - gap["fprd"]) / 2
    assert gap["aaod"] == pytest.approx(max(abs(half_sum), abs(half_difference)))
    assert gap["eqodds"] == pytest.approx(max(abs(gap["eod"]), abs(gap["fprd"])))


def test_odds_of_opposite_signs_cancel_in_aod_alone() -> None:
    counts = table(tp=[3, 2], fp=[2, 3], fn=[1, 2], tn=[2, 1])
    assert float(METRICS["aod"](counts).value) == 0
    assert float(METRICS["aaod"](counts).value) == 0.25
    assert float(METRICS["eqodds"](counts).value) == 0.25


@pytest.mark.parametrize("key", METRICS)
@pytest.mark.parametrize("n_groups", [2, 3])
def test_parts_lie_within_the_bound_exactly_when_the_size_fits_the_budget(
    key: str, n_groups: int
) -> None:
    met = []
    for seed in range(40):
        gap = METRICS[key](counted(scored_rows(60, n_groups, seed=seed)))
        for budget in (0.05, 0.2, 0.4):
            inside = all(bool((part.value.abs() < gap.bound(budget)).all()) for part in gap.parts)
            assert inside == bool(gap.size < budget)
            met.append(inside)
    assert 0 < sum(met) < len(met)


@pytest.mark.parametrize("key", METRICS)
def test_equal_groups_have_no_gap(key: str) -> None:
    gap = METRICS[key](table(tp=[3, 6], fp=[1, 2], fn=[2, 4], tn=[4, 8]))
    assert float(gap.value) == METRICS[key].neutral
    assert float(gap.size) == 0


# --- undefined ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["eod", "aod", "aaod", "eqodds"])
@pytest.mark.parametrize("others", [1, 2])
def test_without_positives_in_a_group_the_odds_are_undefined(key: str, others: int) -> None:
    more = [2.0] * others
    gap = METRICS[key](table(tp=[0, *more], fp=[1, *more], fn=[0, *more], tn=[1, *more]))
    assert gap.value.isnan()
    assert gap.size.isnan()
    assert not gap.size < 1
    assert gap.probability_within(0.9, 1.0) == 0


def test_without_negatives_in_a_group_the_false_positive_rate_is_undefined() -> None:
    counts = table(tp=[1, 2], fp=[0, 2], fn=[1, 2], tn=[0, 2])
    assert METRICS["fprd"](counts).size.isnan()
    assert not METRICS["eod"](counts).size.isnan()


@pytest.mark.parametrize("n_groups", [2, 3])
def test_the_ratio_when_no_one_or_only_some_group_is_chosen(n_groups: int) -> None:
    ones = [1.0] * n_groups
    nobody = METRICS["di"](table(tp=[0.0] * n_groups, fp=[0.0] * n_groups, fn=ones, tn=ones))
    assert nobody.size.isnan()
    assert nobody.probability_within(0.9, 1.0) == 0
    for chosen in ([0.0, *ones[1:]], [*ones[1:], 0.0]):
        some = METRICS["di"](table(tp=chosen, fp=chosen, fn=ones, tn=ones))
        assert float(some.size) == 1
        assert some.probability_within(0.9, 1.0) == 0


# --- libraries ----------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_against_aif360(weighted: bool) -> None:
    problem = scored_rows(300, 2, seed=11, weighted=weighted)
    frame = pd.DataFrame(
        {"label": problem.labels.numpy(), "group": problem.groups.numpy(), "weight": 1.0}
    )
    if problem.weights is not None:
        frame["weight"] = problem.weights.numpy()
    frames = (frame, frame.assign(label=(problem.scores > 0.5).int().numpy()))
    true, decided = (
        BinaryLabelDataset(
            df=f,
            label_names=["label"],
            protected_attribute_names=["group"],
            instance_weights_name="weight",
        )
        for f in frames
    )
    oracle = ClassificationMetric(true, decided, [{"group": 0}], [{"group": 1}])
    counts = counted(problem)
    expected = {
        "spd": oracle.statistical_parity_difference(),
        "eod": oracle.equal_opportunity_difference(),
        "aod": oracle.average_odds_difference(),
        "aaod": oracle.average_abs_odds_difference(),
        "eqodds": oracle.equalized_odds_difference(),
        "fprd": oracle.false_positive_rate_difference(),
        "ad": -oracle.error_rate_difference(),
        "di": oracle.disparate_impact(),
        "ppvd": oracle.positive_predictive_value(False) - oracle.positive_predictive_value(True),
        "fdrd": oracle.false_discovery_rate_difference(),
        "ford": oracle.false_omission_rate_difference(),
        "fnrd": oracle.false_negative_rate_difference(),
    }
    assert {k: float(metric(counts).value) for k, metric in METRICS.items()} == pytest.approx(
        expected
    )
    assert float(PERFORMANCES["accuracy"](counts)) == pytest.approx(oracle.accuracy())
    balanced = (oracle.true_positive_rate() + oracle.true_negative_rate()) / 2
    assert float(PERFORMANCES["balanced_accuracy"](counts)) == pytest.approx(balanced)


@pytest.mark.parametrize("problem", CASES)
def test_against_fairlearn(problem: Problem) -> None:
    decisions = (problem.scores > 0.5).int().numpy()
    weights = None if problem.weights is None else problem.weights.numpy()
    rows = (problem.labels.numpy(), decisions)
    about = {"sensitive_features": problem.groups.numpy(), "sample_weight": weights}
    gap = {key: metric(counted(problem)) for key, metric in METRICS.items()}
    parity = fairlearn.demographic_parity_difference(*rows, **about)
    assert float(gap["spd"].size) == pytest.approx(parity)
    assert float(gap["eod"].size) == pytest.approx(
        fairlearn.equal_opportunity_difference(*rows, **about)
    )
    odds = {agg: fairlearn.equalized_odds_difference(*rows, **about, agg=agg)
            for agg in ("worst_case", "mean")}  # fmt: skip
    assert float(gap["eqodds"].size) == pytest.approx(odds["worst_case"])
    assert float(gap["aaod"].size) == pytest.approx(odds["mean"])
    ratio = fairlearn.demographic_parity_ratio(*rows, **about)
    assert float(gap["di"].size) == pytest.approx(1 - ratio)
    frame = fairlearn.MetricFrame(
        metrics={
            "selection": fairlearn.selection_rate,
            "tpr": fairlearn.true_positive_rate,
            "fpr": fairlearn.false_positive_rate,
            "accuracy": sklearn.accuracy_score,
        },
        y_true=rows[0],
        y_pred=rows[1],
        sensitive_features=about["sensitive_features"],
        sample_params={name: {"sample_weight": weights}
                       for name in ("selection", "tpr", "fpr", "accuracy")},
    )  # fmt: skip
    found = {
        "selection": selection_rate,
        "tpr": true_positive_rate,
        "fpr": false_positive_rate,
        "accuracy": accuracy_rate,
    }
    for name, rate in found.items():
        assert rate(counted(problem)).value.numpy() == pytest.approx(
            frame.by_group[name].to_numpy()
        )


@pytest.mark.parametrize("n_groups", [2, 3])
def test_against_torchmetrics(n_groups: int) -> None:
    problem = scored_rows(200, n_groups, seed=2)
    rows = (problem.scores, problem.labels, problem.groups)
    counts = counted(problem)
    shares = binary_groups_stat_rates(*rows, n_groups)
    tp, fp, fn, tn = sides(counts)
    for g in range(n_groups):
        size = tp[g] + fp[g] + fn[g] + tn[g]
        expected = np.array([tp[g], fp[g], tn[g], fn[g]]) / size
        assert shares[f"group_{g}"].numpy() == pytest.approx(expected, abs=1e-6)
    fairness = {key[:2]: float(value) for key, value in binary_fairness(*rows, "all").items()}
    assert fairness["DP"] == pytest.approx(1 - float(METRICS["di"](counts).size), rel=1e-5)
    tpr = rates_by_hand(sides(counts))["tpr"]
    assert fairness["EO"] == pytest.approx(tpr.min() / tpr.max(), rel=1e-5)


@pytest.mark.parametrize("problem", CASES)
def test_performance_against_sklearn(problem: Problem) -> None:
    decisions, weights = problem.scores > 0.5, problem.weights
    oracles = {
        "balanced_accuracy": sklearn.balanced_accuracy_score,
        "accuracy": sklearn.accuracy_score,
        "f1": sklearn.f1_score,
        "precision": sklearn.precision_score,
        "recall": sklearn.recall_score,
    }
    for key, performance in PERFORMANCES.items():
        expected = oracles[key](problem.labels, decisions, sample_weight=weights)
        assert float(performance(counted(problem))) == pytest.approx(expected)


def test_f1_is_0_when_nothing_is_found() -> None:
    assert float(PERFORMANCES["f1"](table(tp=[0, 0], fp=[0, 0], fn=[1, 2], tn=[3, 4]))) == 0


def test_precision_is_undefined_when_nothing_is_selected() -> None:
    assert PERFORMANCES["precision"](table(tp=[0, 0], fp=[0, 0], fn=[1, 2], tn=[3, 4])).isnan()


@pytest.mark.parametrize("levels", [0, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_auc_against_sklearn(levels: int, weighted: bool) -> None:
    problem = scored_rows(150, 3, seed=8, levels=levels, weighted=weighted)
    found = auc_by_group(problem.scores, problem.labels, problem.groups, 3, problem.weights)
    for g in range(3):
        here = problem.groups == g
        weights = None if problem.weights is None else problem.weights[here]
        expected = sklearn.roc_auc_score(
            problem.labels[here], problem.scores[here], sample_weight=weights
        )
        assert float(found[g]) == pytest.approx(expected)


def test_auc_of_one_label_is_undefined() -> None:
    scores, labels = torch.tensor([0.1, 0.9, 0.4]), torch.tensor([0, 1, 1])
    found = auc_by_group(scores, labels, torch.tensor([0, 0, 1]), 2)
    assert found[0] == 1
    assert found[1].isnan()


# --- weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.int64, torch.float32, torch.float64])
def test_weight_2_is_the_row_twice(kind: torch.dtype) -> None:
    problem = scored_rows(50, 3, seed=4)
    twice = torch.arange(50) % 3 == 0
    weighted = Problem(
        problem.scores, problem.labels, problem.groups, problem.group_names,
        weights=1 + twice.to(kind),
    )  # fmt: skip
    repeated = problem.take(torch.cat([torch.arange(50), torch.nonzero(twice).squeeze(1)]))
    one, other = counted(weighted), counted(repeated)
    for rate in (selection_rate, true_positive_rate, false_positive_rate, accuracy_rate):
        assert rate(one).value.numpy() == pytest.approx(rate(other).value.numpy())
    for measure in (*METRICS.values(), *PERFORMANCES.values()):
        first, second = measure(one), measure(other)
        if not isinstance(first, Tensor):
            first, second = first.value, second.value
        assert float(first) == pytest.approx(float(second))
    auc = [auc_by_group(p.scores, p.labels, p.groups, 3, p.weights) for p in (weighted, repeated)]
    assert auc[0].numpy() == pytest.approx(auc[1].numpy())


def test_the_unit_of_weights_does_not_matter() -> None:
    problem = scored_rows(60, 2, weighted=True)
    assert problem.weights is not None
    for factor in (1e-6, 1000):
        scaled = count(
            problem.scores > 0.5, problem.labels, problem.groups, 2, problem.weights * factor
        )
        assert sides(scaled) == pytest.approx(sides(counted(problem)))


def test_design_effect_by_hand() -> None:
    """Weights 1, 1, 4 have mean 2, so 1/2, 1/2, 2; then Kish's 3 (1 + 1 + 16) / 6^2 = 1.5."""
    groups = torch.tensor([0, 0, 0, 1, 1, 1])
    weights = torch.tensor([1.0, 1, 4, 2, 2, 2])
    found = design_effect(groups, 2, weights)
    assert isinstance(found, Tensor)
    assert found.tolist() == pytest.approx([1.5, 1.0])
    assert design_effect(groups, 2, None) == 1.0


def test_the_design_effect_leaves_each_group_its_effective_rows() -> None:
    """Also where one group weighs more than another, which makes none of its rows surer."""
    problem = scored_rows(90, 3, seed=1, weighted=True)
    assert problem.weights is not None
    weights = problem.weights * torch.tensor([0.1, 1.0, 20.0])[problem.groups]
    counts = count(problem.scores > 0.5, problem.labels, problem.groups, 3, weights)
    rows = selection_rate(counts).trials / counts.design_effect
    for g in range(3):
        w = weights[problem.groups == g].numpy()
        assert float(rows[g]) == pytest.approx(w.sum() ** 2 / (w**2).sum())


# --- how sure a gap is --------------------------------------------------------------------------


def test_smoothed_variance_by_hand() -> None:
    rate = selection_rate(table(tp=[3, 0], fp=[1, 0], fn=[2, 0], tn=[4, 8]))
    first, none = 5 / 12, 1 / 10
    assert rate.variance.tolist() == pytest.approx(
        [first * (1 - first) / 10, none * (1 - none) / 8]
    )
    assert rate.log_variance.tolist() == pytest.approx(
        [(1 - first) / (first * 10), (1 - none) / (none * 8)]
    )


def normal_cdf(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


@pytest.mark.parametrize("k", [0.5, 1.0, math.sqrt(2)])
@pytest.mark.parametrize("deff", [1.0, 2.5])
def test_probability_within_by_hand(k: float, deff: float) -> None:
    counts = Counts(*HAND.sides, torch.tensor([deff, deff]))
    shares = [(5 / 12, 10), (12 / 22, 20)]
    variance = sum(deff * p * (1 - p) / n for p, n in shares)
    value, budget = 4 / 10 - 11 / 20, 0.1
    scale = k * math.sqrt(variance)
    expected = normal_cdf((budget - value) / scale) - normal_cdf((-budget - value) / scale)
    assert float(METRICS["spd"](counts).probability_within(budget, k)) == pytest.approx(expected)


def test_of_more_groups_every_pair_counts() -> None:
    """A group of two rows leaves the gap unsure, also when its rate is none of the extreme ones."""
    counts = table(tp=[60, 50, 1], fp=[0, 0, 0], fn=[40, 50, 1], tn=[0, 0, 0])
    parts = METRICS["eod"](counts).parts
    values = torch.cat([part.value for part in parts])
    assert values.tolist() == pytest.approx([0.1, 0.1, 0.0])
    group = [61 / 102 * 41 / 102 / 100, 0.5 * 0.5 / 100, 0.5 * 0.5 / 2]
    pairs = [group[0] + group[1], group[0] + group[2], group[1] + group[2]]
    assert torch.cat([part.variance for part in parts]).tolist() == pytest.approx(pairs)


@pytest.mark.parametrize("n_groups", [3, 5])
def test_of_more_groups_the_chance_is_never_overstated(n_groups: int) -> None:
    """Groups with equal rates, whose largest gap is larger by chance than that of any one pair."""
    rng = np.random.default_rng(1)
    n, budget = 1_000, 0.06
    hits = torch.from_numpy(rng.binomial(n, 0.3, (40_000, n_groups))).double()
    zeros = torch.zeros_like(hits)
    frequency = float(
        (METRICS["spd"](Counts(hits, zeros, n - hits, zeros)).size < budget).double().mean()
    )
    seen = table(*([[300.0] * n_groups, [0.0] * n_groups, [700.0] * n_groups, [0.0] * n_groups]))
    probability = float(METRICS["spd"](seen).probability_within(budget, 1.0))
    assert probability < frequency < probability + 0.05


@pytest.mark.parametrize("key", METRICS)
def test_probability_within_is_how_often_fresh_tables_have_a_small_gap(key: str) -> None:
    """Tables drawn with the rates that were seen: the share of gaps below the budget.

    Labels are kept, except for rates among decisions, whose denominators vary.
    """
    rng = np.random.default_rng(0)
    seen = table(tp=[200, 460], fp=[110, 150], fn=[150, 300], tn=[300, 430])
    if all(rate.fixed_trials for rate in METRICS[key].rates):
        tp, fp = (torch.from_numpy(rng.binomial(
            (hit + miss).long().numpy(), (hit / (hit + miss)).numpy(), (40_000, 2)
        )).double() for hit, miss in ((seen.tp, seen.fn), (seen.fp, seen.tn)))  # fmt: skip
        drawn = Counts(tp, fp, seen.tp + seen.fn - tp, seen.fp + seen.tn - fp)
    else:
        rows = torch.stack(seen.sides, -1).long().numpy()
        tables = [rng.multinomial(r.sum(), r / r.sum(), 40_000) for r in rows]
        drawn = Counts(*torch.from_numpy(np.stack(tables, 1)).double().unbind(-1))
    budgets = {"di": 0.12, "aod": 0.03, "ad": 0.03, "ppvd": 0.1, "fdrd": 0.1, "ford": 0.08}
    budget = budgets.get(key, 0.05)
    frequency = float((METRICS[key](drawn).size < budget).double().mean())
    probability = float(METRICS[key](seen).probability_within(budget, 1.0))
    assert 0.05 < probability < 0.95
    assert probability == pytest.approx(frequency, abs=0.04)


def test_more_rows_make_a_small_gap_surer() -> None:
    found = []
    for times in (1, 4, 100):
        counts = table(*([10.0 * times, 10.4 * times] for _ in range(4)))
        found.append(float(METRICS["spd"](counts).probability_within(0.05, 1.0)))
    assert found == sorted(found)
    assert found[0] < 0.5
    assert found[-1] > 0.95


# --- trivial rules, gradients -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("positive", "trivial"), [(0, True), (1, True), (2, False), (98, False), (99, True)]
)
def test_trivial_is_under_two_percent_apart(positive: int, trivial: bool) -> None:
    counts = table(tp=[positive, 0], fp=[0, 0], fn=[50 - positive, 25], tn=[0, 25])
    assert is_trivial(counts) is trivial


@pytest.mark.parametrize("key", METRICS)
@pytest.mark.parametrize("problem", CASES)
def test_soft_counts_have_the_gradients_of_finite_differences(key: str, problem: Problem) -> None:
    scores = problem.scores.double().requires_grad_()

    def value(s: Tensor) -> Tensor:
        return METRICS[key](counted(problem, s)).value

    assert torch.autograd.gradcheck(value, scores)
