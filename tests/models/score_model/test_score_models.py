"""Score models by their formulas, and their settings and arrays as a round trip."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fairfix.errors import UsageError
from fairfix.models.score_model import BlindScore, RepairedScore, ResidualHead
from tests.helpers.score_models import KINDS, boosted, mixture, score_model

COLUMNS = (0, 2, 3)


def rows() -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(3)
    features = torch.randn(200, 4, generator=draws)
    scores = torch.rand(200, generator=draws)
    scores[:2] = torch.tensor([0.0, 1.0])
    return features, scores


def inputs() -> np.ndarray:
    """The inputs of a score model, by numpy alone."""
    features, scores = (each.double().numpy() for each in rows())
    clipped = scores.clip(1e-6, 1 - 1e-6)
    return np.column_stack([features[:, COLUMNS], np.log(clipped / (1 - clipped))])


def logistic(values: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-values)))


def trees(seed: int) -> np.ndarray:
    return np.asarray(boosted(4, seed).predict_proba(inputs())[:, 1])


def linear(seed: int) -> np.ndarray:
    """The linear model of ``mixture``, by numpy alone."""
    center, scale, coefficients = np.random.default_rng(seed).uniform(0.5, 1.5, size=(3, 4))
    standardized = np.clip((inputs() - center) / scale, -5, 5)
    return logistic(standardized @ coefficients - 0.3)


def fitted(seed: int) -> np.ndarray:
    return np.asarray(0.6 * trees(seed) + 0.4 * linear(seed))


def test_a_repaired_score_is_the_weighted_mean_of_its_members() -> None:
    found = score_model("repair").apply(*rows())
    np.testing.assert_allclose(found.score, fitted(0), rtol=0, atol=1e-12)
    assert torch.equal(found.score, found.probability)


def test_a_mixture_may_hold_the_calibrated_score() -> None:
    scaled = inputs()[:, -1] / 3
    alone = logistic(0.2 + 1.5 * scaled - 0.1 * scaled**2)
    found = score_model("repair with score").apply(*rows())
    expected = 0.5 * trees(0) + 0.3 * linear(0) + 0.2 * alone
    np.testing.assert_allclose(found.score, expected, rtol=0, atol=1e-12)


def test_a_missing_input_counts_as_the_mean_in_a_linear_model() -> None:
    model = mixture(2, 0).linear
    given = torch.tensor([[np.nan, 1.0]], dtype=torch.float64)
    filled = torch.tensor([[float(model.center[0]), 1.0]], dtype=torch.float64)
    assert torch.equal(model(given), model(filled))


@pytest.mark.parametrize("metric", ["spd", "eod", "fprd"])
def test_a_blind_score_is_utility_minus_unfairness(metric: str) -> None:
    eta, gamma = fitted(0), fitted(1)
    unfairness = gamma / 0.6 - (1 - gamma) / 0.3
    unfairness *= {"spd": 1, "eod": eta, "fprd": 1 - eta}[metric]
    expected = logistic(eta / 0.8 - (1 - eta) / 1.2 - 0.7 * unfairness)
    found = score_model(f"blind {metric}").apply(*rows())
    np.testing.assert_allclose(found.score, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.probability, eta, rtol=0, atol=1e-12)


def test_a_head_adds_to_the_logit() -> None:
    model = score_model("head")
    arrays, given = model.arrays(), inputs()
    hidden = np.maximum(given @ arrays["hidden_weight"].T + arrays["hidden_bias"], 0)
    expected = logistic(given[:, -1] + hidden @ arrays["output_weight"] + 0.1)
    np.testing.assert_allclose(model.apply(*rows()).score, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_and_arrays_make_the_same_model_again(kind: str) -> None:
    model = score_model(kind)
    again = type(model).from_parts(model.settings(), model.arrays())
    assert again.settings() == model.settings()
    for name, array in model.arrays().items():
        assert array.dtype == again.arrays()[name].dtype
        np.testing.assert_array_equal(array, again.arrays()[name])
    found, expected = again.apply(*rows()), model.apply(*rows())
    assert torch.equal(found.score, expected.score)
    assert torch.equal(found.probability, expected.probability)
    assert bool(((found.score >= 0) & (found.score <= 1)).all())


@pytest.mark.parametrize("kind", KINDS)
def test_other_settings_and_arrays_are_refused(kind: str) -> None:
    model = score_model(kind)
    settings, arrays = model.settings(), model.arrays()
    for name in settings:
        with pytest.raises(UsageError):
            model.from_parts({**settings, name: None}, arrays)
        with pytest.raises(UsageError):
            model.from_parts({k: v for k, v in settings.items() if k != name}, arrays)
    with pytest.raises(UsageError, match="other"):
        model.from_parts({**settings, "other": 1}, arrays)
    with pytest.raises(UsageError, match="other"):
        model.from_parts(settings, {**arrays, "other": np.zeros(1)})
    for name in arrays:
        with pytest.raises(UsageError):
            model.from_parts(settings, {k: v for k, v in arrays.items() if k != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [("pi", 0.0), ("pi", 1), ("share0", -1.0), ("share1", 2.0), ("metric", "di"), ("pi", True)],
)
def test_blind_settings_out_of_range_are_refused(name: str, value: float | str) -> None:
    model = score_model("blind spd")
    with pytest.raises(UsageError, match=name):
        BlindScore.from_parts({**model.settings(), name: value}, model.arrays())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights", [0.5, 0.4]),
        ("weights", [1.5, -0.5]),
        ("weights", [1.0]),
        ("linear.scale", [1.0, 1.0, 0.0, 1.0]),
        ("linear.center", [0.0, 0.0, 0.0]),
    ],
)
def test_parts_of_a_mixture_that_do_not_fit_are_refused(name: str, value: list[float]) -> None:
    model = score_model("blind spd")
    with pytest.raises(UsageError, match=name.rpartition(".")[2]):
        BlindScore.from_parts(
            model.settings(), {**model.arrays(), f"gamma.{name}": np.array(value)}
        )


@pytest.mark.parametrize("columns", [[0, 4, 1], [-1, 0, 1], [0, 0, 1], [0, 1]])
def test_columns_that_do_not_fit_are_refused(columns: list[int]) -> None:
    model = score_model("head")
    with pytest.raises(UsageError):
        ResidualHead.from_parts(model.settings(), {**model.arrays(), "columns": np.array(columns)})


def test_scores_that_are_not_numbers_are_refused() -> None:
    model = score_model("repair with score")
    arrays = {**model.arrays(), "eta.calibrated.coefficients": np.array([1e308, 1e308])}
    features = rows()[0]
    with pytest.raises(UsageError, match="no number for 200 of 200 rows"):
        model.from_parts(model.settings(), arrays).apply(features, torch.full((200,), 1e-6))


def test_rows_of_another_width_are_refused() -> None:
    features, scores = rows()
    with pytest.raises(UsageError, match="4 features a row"):
        score_model("repair").apply(features[:, :3], scores)


def test_a_column_may_be_read_by_no_tree() -> None:
    model = score_model("repair")
    wider = RepairedScore.from_parts({"n_features": 9}, model.arrays())
    features, scores = rows()
    padded = torch.cat([features, torch.full((200, 5), torch.nan)], 1)
    expected = model.apply(features, scores).score
    assert torch.equal(wider.apply(padded, scores).score, expected)
