"""Standard errors of clustered rows against statsmodels, and what few clusters can certify."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from scipy import special

from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import METRICS, rates
from fairfix.metrics.rates import accuracy_rate, true_positive_rate
from fairfix.stats.auc_intervals import PlacementValues, auc, auc_change
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.stats.gap_intervals import MetricRates
from fairfix.stats.intervals import few_clusters_alpha, few_clusters_p, normal_quantile
from fairfix.stats.paired_gaps import PairedDecisions, paired_rates
from fairfix.stats.performance_intervals import performance, performance_change
from fairfix.stats.power import rows_needed
from fairfix.stats.verdicts import Verdict, claim, floor_claim


def clustered(
    n_clusters: int = 300, size: int = 6, *, across_groups: bool = False, seed: int = 0
) -> Problem:
    """Rows whose scores and labels are alike within clusters; groups of clusters or of rows."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(n_clusters), rng.integers(1, 2 * size, n_clusters))
    shared = rng.normal(size=n_clusters)[cluster]
    group = rng.integers(0, 2, n_clusters)[cluster]
    if across_groups:
        group = rng.integers(0, 2, len(cluster))
    latent = shared + rng.normal(size=len(cluster)) + 0.3 * group
    score = 1 / (1 + np.exp(-(shared + rng.normal(size=len(cluster)))))
    return Problem(
        torch.from_numpy(score.astype(np.float32)),
        torch.from_numpy((latent > 0).astype(np.int64)),
        torch.from_numpy(group.astype(np.int64)),
        ("f", "m"),
        clusters=torch.from_numpy(cluster),
    )


def clusters_of(problem: Problem) -> np.ndarray:
    assert problem.clusters is not None
    return problem.clusters.numpy()


def decided(problem: Problem, threshold: float = 0.5) -> torch.Tensor:
    return problem.scores > threshold


def counts_of(problem: Problem) -> Counts:
    return problem.clustered_counts(decided(problem))


@pytest.mark.parametrize("rate", ["selection_rate", "tpr", "fpr", "accuracy", "ppv", "fnr"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_variance_of_a_rate_is_that_of_statsmodels(rate: str, weighted: bool) -> None:
    problem = clustered()
    if weighted:
        w = np.random.default_rng(1).uniform(0.2, 3, len(problem))
        problem = replace(problem, weights=torch.from_numpy(w))
    counts = counts_of(problem)
    share = rates()[rate](counts)
    p, n = share.value, share.trials
    found = (share.design_effect * p * (1 - p) / n).sqrt().numpy()
    d, y = decided(problem).numpy(), problem.labels.numpy() == 1
    sides = {"tp": d & y, "fp": d & ~y, "fn": ~d & y, "tn": ~d & ~y}
    hit = np.any([sides[cell] for cell in rates()[rate].hits], axis=0)
    among = np.any([sides[cell] for cell in rates()[rate].trials], axis=0)
    weights = np.ones(len(d)) if problem.weights is None else problem.weights.numpy()
    for g in (0, 1):
        here = among & (problem.groups.numpy() == g)
        fit = sm.WLS(hit[here].astype(float), np.ones(here.sum()), weights[here]).fit(
            cov_type="cluster",
            cov_kwds={"groups": clusters_of(problem)[here], "use_correction": False},
        )
        c = len(np.unique(clusters_of(problem)[here]))
        assert found[g] == pytest.approx(fit.bse[0] * np.sqrt(c / (c - 1)), rel=1e-9)


def test_the_variance_of_a_contrast_counts_what_its_rates_share() -> None:
    """TPR and FPR of one group rise and fall together where rows of both labels share clusters."""
    problem = clustered()
    counts = counts_of(problem)
    d, y, g = (t.numpy().astype(float) for t in (decided(problem), problem.labels, problem.groups))
    cells = np.stack([(g == a) & (y == b) for b in (1, 0) for a in (0, 1)], 1).astype(float)
    fit = sm.OLS(d, cells).fit(
        cov_type="cluster",
        cov_kwds={"groups": clusters_of(problem), "use_correction": False},
    )
    contrast = np.array([0.5, -0.5, 0.5, -0.5])
    expected = contrast @ fit.cov_params() @ contrast
    found = MetricRates.from_counts("aod", counts)
    hits, trials = (side[0] for side in found.by_contrast())
    p = hits / trials
    assert (contrast**2 * p * (1 - p) / trials).sum() == pytest.approx(expected, rel=0.01)
    assert float(np.min(found.inflation)) > 1.03
    separate = MetricRates.from_counts("spd", counts)
    assert float(np.min(separate.inflation)) == pytest.approx(1.0)


def test_the_balanced_accuracy_of_clusters() -> None:
    problem = clustered()
    counts = counts_of(problem)
    d, y = decided(problem).numpy().astype(float), problem.labels.numpy()
    cells = np.stack([y == 1, y == 0], 1).astype(float)
    fit = sm.OLS(d, cells).fit(
        cov_type="cluster",
        cov_kwds={"groups": clusters_of(problem), "use_correction": False},
    )
    contrast = np.array([0.5, -0.5])
    expected = float(np.sqrt(contrast @ fit.cov_params() @ contrast))
    found = performance("balanced_accuracy", counts)
    interval = found.interval(0.05)
    half_width = (interval.high - interval.low) / 2
    plain = performance("balanced_accuracy", replace(counts, clusters=None)).interval(0.05)
    floor = (plain.high - plain.low) / 2
    assert half_width >= floor
    assert half_width == pytest.approx(max(expected * normal_quantile(0.05), floor), rel=0.1)


@pytest.mark.parametrize("key", ["balanced_accuracy", "accuracy", "f1"])
def test_performance_of_copies_is_that_of_the_single_rows(key: str) -> None:
    single = clustered(200, 1)
    single = replace(single, clusters=None)
    copies = single.take(torch.arange(len(single)).repeat_interleave(8))
    copies = replace(copies, clusters=torch.arange(len(single)).repeat_interleave(8))
    one, many = (performance(key, counts_of(each)) for each in (single, copies))
    assert one.value == pytest.approx(many.value)
    for alpha in (0.05, 0.01):
        a, b = one.interval(alpha), many.interval(alpha)
        assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.03)


@pytest.mark.parametrize("metric", [*METRICS])
def test_copies_of_rows_do_not_change_a_verdict_by_their_number(metric: str) -> None:
    single = replace(clustered(300, 1), clusters=None)
    index = torch.arange(len(single)).repeat_interleave(30)
    copies = replace(single.take(index), clusters=index)
    one, many = (claim(metric, counts_of(each), each.group_names, 0.3) for each in (single, copies))
    assert many.value == pytest.approx(one.value)
    assert many.verdict is one.verdict
    assert many.interval.low == pytest.approx(one.interval.low, abs=0.03)
    assert many.interval.high == pytest.approx(one.interval.high, abs=0.06)
    naive = replace(copies, clusters=None)
    wrong = claim(metric, counts_of(naive), naive.group_names, 0.3).interval
    assert wrong.high - wrong.low < (many.interval.high - many.interval.low) / 3


def test_the_area_of_copies() -> None:
    single = replace(clustered(150, 1), clusters=None)
    index = np.arange(len(single)).repeat(12)
    scores, labels = single.scores.numpy(), single.labels.numpy()
    one = auc(scores, labels).interval(0.05)
    many = auc(scores[index], labels[index], None, index).interval(0.05)
    assert (many.low, many.high) == pytest.approx((one.low, one.high), abs=2e-3)
    noise = np.random.default_rng(0).normal(0, 0.2, len(scores))
    one = auc_change(scores, scores + noise, labels).interval(0.05)
    many = auc_change(scores[index], (scores + noise)[index], labels[index], None, index).interval(
        0.05
    )
    assert (many.low, many.high) == pytest.approx((one.low, one.high), abs=2e-3)


def test_the_variance_of_an_area_is_that_of_a_cluster_bootstrap() -> None:
    problem = clustered(150, 4)
    scores, labels = problem.scores.numpy(), problem.labels.numpy()
    clusters = clusters_of(problem)
    found = PlacementValues.from_scores(scores, labels, None, clusters)
    rng, rows = np.random.default_rng(0), [np.flatnonzero(clusters == c) for c in range(150)]
    areas = []
    for _ in range(400):
        drawn = np.concatenate([rows[c] for c in rng.integers(0, 150, 150)])
        areas.append(float(PlacementValues.from_scores(scores[drawn], labels[drawn], None).auc[0]))
    assert np.sqrt(found.variance(np.ones(1))) == pytest.approx(np.std(areas), rel=0.15)
    assert found.variance(np.ones(1)) > 1.3 * float(found.covariance[0, 0])


@pytest.mark.parametrize("key", ["balanced_accuracy", "accuracy", "f1"])
def test_a_change_of_performance_on_copies(key: str) -> None:
    single = clustered(200, 1)
    before, after = (decided(single, t).numpy() for t in (0.5, 0.6))
    labels, index = single.labels.numpy(), np.arange(len(single)).repeat(12)
    one = performance_change(key, before, after, labels).interval(0.05)
    many = performance_change(
        key, before[index], after[index], labels[index], None, index
    ).interval(0.05)
    assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.05)


@pytest.mark.parametrize("metric", ["spd", "eod", "ppvd", "di"])
def test_paired_rates_of_copies(metric: str) -> None:
    single = clustered(300, 1)
    index = np.arange(len(single)).repeat(12)

    def rows(index: np.ndarray, clusters: np.ndarray | None) -> PairedDecisions:
        before, after = (decided(single, t).numpy()[index] for t in (0.5, 0.6))
        return PairedDecisions(
            before,
            after,
            single.labels.numpy()[index],
            single.groups.numpy()[index],
            np.ones(len(index)),
            2,
            clusters,
        )

    (one,), (many,) = (
        paired_rates(METRICS[metric], each)
        for each in (rows(np.arange(len(single)), None), rows(index, index))
    )
    assert many.n == pytest.approx(one.n, rel=0.05)
    for part in ("var_before", "var_after"):
        assert getattr(many, part) == pytest.approx(getattr(one, part), rel=0.1)
    change = one.var_before + one.var_after - 2 * one.covariance
    found = many.var_before + many.var_after - 2 * many.covariance
    assert np.all(found >= 0.7 * change)


def test_single_clusters_change_nothing_but_the_factor_of_cr1() -> None:
    problem = replace(clustered(), clusters=None)
    alone = replace(problem, clusters=torch.arange(len(problem)))
    effect = accuracy_rate(counts_of(alone)).design_effect
    n = torch.bincount(problem.groups).double()
    assert torch.as_tensor(effect).numpy() == pytest.approx((n / (n - 1)).numpy(), rel=1e-9)


def test_alternating_clusters_never_make_rows_count_for_more() -> None:
    """Each cluster has one hit and one miss, so the rate varies less than among single rows."""
    n = 100
    cells = torch.tensor([1, 0] * n)
    problem = Problem(
        torch.tensor([0.9, 0.1] * 2 * n),
        torch.cat([cells, cells]),
        torch.tensor([0] * 2 * n + [1] * 2 * n),
        ("a", "b"),
        clusters=torch.arange(4 * n) // 2,
    )
    effect = METRICS["spd"].rates[0](counts_of(problem)).design_effect
    assert torch.as_tensor(effect).tolist() == [1.0, 1.0]


def test_where_all_rows_agree_a_cluster_counts_as_one_row() -> None:
    problem = clustered(60, 5)
    counts = problem.clustered_counts(torch.ones(len(problem), dtype=torch.bool))
    share = true_positive_rate(counts)
    for g in (0, 1):
        here = (problem.groups == g) & (problem.labels == 1)
        sizes = torch.bincount(torch.from_numpy(clusters_of(problem))[here]).double()
        expected = float(sizes.square().sum() / sizes.sum())
        assert float(torch.as_tensor(share.design_effect)[g]) == pytest.approx(expected)


@pytest.mark.parametrize(("clusters", "df"), [(10, 9), (49, 48), (50, np.inf), (np.inf, np.inf)])
def test_few_clusters_have_quantiles_of_t(clusters: float, df: float) -> None:
    alpha = 0.05
    t = normal_quantile(alpha) if df == np.inf else -float(special.stdtrit(df, alpha))
    assert normal_quantile(few_clusters_alpha(alpha, clusters)) == pytest.approx(t)
    adjusted = few_clusters_alpha(alpha, clusters)
    assert float(few_clusters_p(np.asarray(adjusted), clusters)) == pytest.approx(alpha)


def test_fewer_than_ten_clusters_are_too_few_rows() -> None:
    problem = clustered(18, 60, seed=3)
    counts = counts_of(problem)
    found = claim("spd", counts, problem.group_names, 0.9)
    assert found.verdict is Verdict.TOO_FEW
    number = counts.clusters.number(("tp", "fp", "fn", "tn")) if counts.clusters else None
    assert number is not None
    few = int(number.argmin())
    assert found.reason == (
        f"group {problem.group_names[few]} has rows of {int(number[few])} clusters, and at least "
        "10 are needed"
    )
    assert float(number.min()) < 10
    needed = rows_needed("spd", counts, 0.9)
    assert needed is not None
    assert min(needed) >= int(torch.bincount(problem.groups).min())
    few_rows = clustered(8, 40)
    floor = floor_claim("accuracy", performance("accuracy", counts_of(few_rows)), 0.1)
    assert floor.verdict is Verdict.TOO_FEW
    assert "8 clusters, and at least 10 are needed" in floor.reason


@pytest.mark.parametrize("across_groups", [False, True])
def test_intervals_of_clusters_cover_and_those_of_rows_do_not(across_groups: bool) -> None:
    """Nominal 90 %: true gap 0 (spd), 40 clusters of about 8 rows in each group."""
    confidence, covered, naive = ConfidenceLevel(), 0, 0
    n = 200
    for seed in range(n):
        rng = np.random.default_rng(seed)
        cluster = np.repeat(np.arange(80), 8)
        group = np.arange(80)[cluster] % 2 if not across_groups else rng.integers(0, 2, 640)
        score = special.ndtr(rng.normal(size=80)[cluster] + 0.5 * rng.normal(size=640))
        problem = Problem(
            torch.from_numpy(score.astype(np.float32)),
            torch.from_numpy(rng.integers(0, 2, 640)),
            torch.from_numpy(group),
            ("a", "b"),
            clusters=torch.from_numpy(cluster),
        )
        counts = counts_of(problem)
        plain: Counts = replace(counts, clusters=None)
        for each, clustered_ in ((counts, True), (plain, False)):
            interval = claim("spd", each, ("a", "b"), 0.5, confidence=confidence).interval
            hit = interval.low <= 0 <= interval.high
            covered += hit and clustered_
            naive += hit and not clustered_
    assert covered / n > 0.87
    if not across_groups:
        assert naive / n < 0.7
