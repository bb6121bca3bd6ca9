"""The synthetic problems against the definitions of the paper, by oracles of their own."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import multivariate_normal
from sklearn.linear_model import LogisticRegression

from fairfix.bench import synthetic
from fairfix.bench.synthetic import SyntheticRows, loh, zafar
from fairfix.errors import UsageError

MANY = 100_000
UNLIKE = multivariate_normal([-2, -2], [[10, 1], [1, 3]])
LIKE = multivariate_normal([2, 2], [[5, 1], [1, 5]])


@cache
def many_loh() -> tuple[SyntheticRows, dict[str, np.ndarray]]:
    data = loh(MANY, alpha=1.0, seed=1)
    return data, dict(zip(data.feature_names, data.features.T, strict=True))


def one_hot(column: dict[str, np.ndarray]) -> np.ndarray:
    return np.column_stack([column[f"X6_{category}"] for category in range(10)])


@pytest.mark.parametrize(
    ("draw", "width"),
    [
        (lambda n: loh(n, seed=3), 20),
        (lambda n: zafar(n, seed=3), 500),
        (lambda n: zafar(n, features=1, hidden=1, seed=3), 1),
    ],
)
@pytest.mark.parametrize("n", [1, 50])
def test_shapes_and_types(draw: Callable[[int], SyntheticRows], width: int, n: int) -> None:
    data = draw(n)
    assert data.features.shape == (n, width)
    assert data.features.dtype == np.float64
    assert np.isfinite(data.features).all()
    assert len(set(data.feature_names)) == width
    for column in (data.label, data.group):
        assert column.shape == (n,)
        assert column.dtype == np.int64
        assert set(column.tolist()) <= {0, 1}


@pytest.mark.parametrize("draw", [loh, zafar])
def test_a_seed_fixes_the_rows_and_another_changes_them(draw: Callable[..., SyntheticRows]) -> None:
    first, again, other = draw(200, seed=5), draw(200, seed=5), draw(200, seed=6)
    for name in ("features", "label", "group"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))


@pytest.mark.parametrize("draw", [loh, zafar])
def test_global_random_state_is_neither_read_nor_changed(
    draw: Callable[..., SyntheticRows],
) -> None:
    np.random.seed(1)
    torch.manual_seed(1)
    numpy_before, torch_before = np.random.get_state(), torch.get_rng_state()
    first = draw(100, seed=0)
    numpy_after, torch_after = np.random.get_state(), torch.get_rng_state()
    assert all(np.array_equal(a, b) for a, b in zip(numpy_before, numpy_after, strict=True))
    assert torch.equal(torch_before, torch_after)
    np.random.seed(2)
    assert np.array_equal(draw(100, seed=0).features, first.features)


@pytest.mark.parametrize(
    ("draw", "named"),
    [
        (lambda: loh(0, seed=0), "n is 0"),
        (lambda: loh(5, alpha=-0.1, seed=0), "alpha is -0.1"),
        (lambda: loh(5, alpha=math.nan, seed=0), "alpha is nan"),
        (lambda: loh(5, alpha=math.inf, seed=0), "alpha is inf"),
        (lambda: zafar(-1, seed=0), "n is -1"),
        (lambda: zafar(5, features=0, seed=0), "features is 0"),
        (lambda: zafar(5, hidden=0, seed=0), "hidden is 0"),
        (lambda: zafar(5, theta=math.inf, seed=0), "theta is inf"),
    ],
)
def test_arguments_out_of_range_are_named(draw: Callable[[], SyntheticRows], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        draw()


def test_loh_normals_have_the_correlations_of_the_definition() -> None:
    _, column = many_loh()
    names = ["X1", "X2", "X3", "X7", "X8", "X9", "X10"]
    normals = np.column_stack([column[name] for name in names])
    expected = np.eye(7)
    expected[1, 2] = expected[2, 1] = 0.5
    expected[3:, 3:] = 0.5 + 0.5 * np.eye(4)
    assert np.cov(normals.T) == pytest.approx(expected, abs=0.02)
    assert normals.mean(0) == pytest.approx(np.zeros(7), abs=0.015)
    within_one_sd = (np.abs(normals) < 1).mean(0)
    assert within_one_sd == pytest.approx(np.full(7, 0.6827), abs=0.01)


def test_loh_other_columns_have_their_distributions() -> None:
    data, column = many_loh()
    assert column["X4"].min() >= 0
    for quantile in (0.25, 0.5, 0.9):
        value = -math.log(1 - quantile)
        assert (column["X4"] < value).mean() == pytest.approx(quantile, abs=0.01)
    assert set(np.unique(column["X5"])) == {0, 1}
    assert column["X5"].mean() == pytest.approx(0.5, abs=0.01)
    assert (one_hot(column).sum(1) == 1).all()
    assert one_hot(column).mean(0) == pytest.approx(np.full(10, 0.1), abs=0.005)
    assert np.array_equal(column["A"], data.group)
    assert data.group.mean() == pytest.approx(0.5, abs=0.01)


def test_loh_only_feature_a_is_related_to_the_group() -> None:
    data, _ = many_loh()
    others = data.features[:, :-1]
    difference = others[data.group == 0].mean(0) - others[data.group == 1].mean(0)
    standard_error = 2 * others.std(0) / math.sqrt(MANY)
    assert np.abs(difference / standard_error).max() < 4


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_loh_label_follows_the_logit_model(alpha: float) -> None:
    data = loh(MANY, alpha=alpha, seed=2)
    column = dict(zip(data.feature_names, data.features.T, strict=True))
    odd = one_hot(column)[:, 1::2].sum(1)
    numeric = [column[f"X{i}"] for i in (1, 2, 3, 4, 5, 7, 8, 9, 10)]
    inputs = np.column_stack([*numeric, odd, data.group, data.group * odd])
    fit = LogisticRegression(C=np.inf, max_iter=1000).fit(inputs, data.label)
    expected = [0.5, 0.5, 0, 0, -0.5, 0, 0, 0, 0, 0, 0, 2 * alpha]
    assert fit.coef_[0] == pytest.approx(expected, abs=0.08)
    assert fit.intercept_[0] == pytest.approx(0, abs=0.05)
    assert data.label_probability == pytest.approx(fit.predict_proba(inputs)[:, 1], abs=0.06)


def test_loh_gap_of_the_labels_grows_with_alpha_as_computed() -> None:
    """X1 + X2 is N(0, 2), so a one-dimensional integral gives each group's share of label 1."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()

    def share(shift: float) -> float:
        return sum(weights @ expit((math.sqrt(2) * nodes - x5) / 2 + shift) for x5 in (0, 1)) / 2

    sizes = []
    for alpha in (0.0, 0.5, 1.0, 2.5):
        data = loh(MANY, alpha=alpha, seed=4)
        difference = data.label[data.group == 0].mean() - data.label[data.group == 1].mean()
        assert difference == pytest.approx((share(0) - share(2 * alpha)) / 2, abs=0.012)
        sizes.append(abs(difference))
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.012 < 0.1 < sizes[1]


def plane(monkeypatch: pytest.MonkeyPatch, theta: float) -> SyntheticRows:
    """Zafar's rows with the random network taken out: the features are the plane itself."""
    monkeypatch.setattr(synthetic, "_random_network", lambda x, widths: x)
    return zafar(MANY, theta=theta, seed=1)


def test_zafar_classes_are_the_two_normals(monkeypatch: pytest.MonkeyPatch) -> None:
    data = plane(monkeypatch, 0.8)
    assert data.label.mean() == pytest.approx(0.5, abs=0.01)
    for label, normal in ((0, UNLIKE), (1, LIKE)):
        x = data.features[data.label == label]
        assert x.mean(0) == pytest.approx(normal.mean, abs=0.05)
        assert np.cov(x.T) == pytest.approx(normal.cov, abs=0.2)
        distance = ((x - normal.mean) @ np.linalg.inv(normal.cov) * (x - normal.mean)).sum(1)
        assert (distance < 2 * math.log(2)).mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("theta", [0.0, 0.8, 1.2, -0.8])
def test_zafar_group_has_the_posterior_at_the_rotated_point(
    monkeypatch: pytest.MonkeyPatch, theta: float
) -> None:
    data = plane(monkeypatch, theta)
    x, y = data.features.T
    rotated = np.column_stack(
        (x * math.cos(theta) - y * math.sin(theta), x * math.sin(theta) + y * math.cos(theta))
    )
    like, unlike = LIKE.pdf(rotated), UNLIKE.pdf(rotated)
    probability = like / (like + unlike)
    assert data.group_probability == pytest.approx(probability)
    assert data.label_probability == pytest.approx(
        LIKE.pdf(data.features) / (LIKE.pdf(data.features) + UNLIKE.pdf(data.features))
    )
    residual = data.group - probability
    standard_error = np.sqrt((probability * (1 - probability)).sum())
    assert abs(residual.sum() / standard_error) < 4
    for low in np.arange(0, 1, 0.1):
        inside = (probability >= low) & (probability < low + 0.1)
        assert data.group[inside].mean() == pytest.approx(probability[inside].mean(), abs=0.03)
    for coordinate in (x, y, x * y):
        spread = np.sqrt((coordinate**2 * probability * (1 - probability)).sum())
        assert abs((coordinate * residual).sum() / spread) < 4


def test_zafar_rotation_changes_the_group_only() -> None:
    near, far = (
        zafar(20_000, theta=0.7, features=5, seed=7),
        zafar(20_000, theta=1.2, features=5, seed=7),
    )
    assert np.array_equal(near.features, far.features)
    assert np.array_equal(near.label, far.label)
    agreement = [(data.label == data.group).mean() for data in (near, far)]
    assert agreement[0] > agreement[1] + 0.03 > 0.6


def test_zafar_seeds_share_one_map_that_keeps_the_classes_apart() -> None:
    """A line fitted on one seed's features serves another's, up to the plane's own overlap."""
    train, test = zafar(5_000, features=20, seed=1), zafar(4_000, features=20, seed=2)
    scale = train.features.std(0)
    fit = LogisticRegression(max_iter=2000).fit(train.features / scale, train.label)
    rng = np.random.default_rng(0)
    points = np.vstack((UNLIKE.rvs(5_000, rng), LIKE.rvs(5_000, rng)))
    best = (LIKE.pdf(points) > UNLIKE.pdf(points)) == np.repeat([False, True], 5_000)
    assert fit.score(test.features / scale, test.label) > best.mean() - 0.03
