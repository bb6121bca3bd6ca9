"""Influences of training rows against dense algebra and actual retraining."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from fairfix import metrics
from fairfix.data.problem import Problem
from fairfix.methods._balancing_weights import balancing_weights, weight_factors
from fairfix.methods._conjugate_gradients import conjugate_gradients
from fairfix.methods._gap_gradients import gap_gradients, gaps_behind, gumbel_decisions
from fairfix.methods._row_influences import row_influences
from fairfix.methods._row_losses import RowLosses, flatten, unflatten
from fairfix.methods._soft_gap import soft_gap, soft_gap_gradient
from fairfix.models.inputs import Inputs, TensorPart
from fairfix.models.scorer import Output, Scorer


class NoForwardMode(torch.autograd.Function):
    """The identity, without a forward-mode derivative."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


class NoSecondDerivative(torch.autograd.Function):
    """The identity, which can be differentiated once, forward or backward."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:  # type: ignore[override]
        return x.clone()

    @staticmethod
    def setup_context(ctx: object, inputs: object, output: object) -> None:  # type: ignore[override]
        pass

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]
        if torch.is_grad_enabled():
            raise RuntimeError("derivative is not implemented")
        return gradient

    @staticmethod
    def jvp(ctx: object, tangent: Tensor) -> Tensor:  # type: ignore[override]
        return tangent.clone()


class Through(nn.Module):
    """A function as a module."""

    def __init__(self, function: type[torch.autograd.Function]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.function.apply(x)
        return result


def network(*more: nn.Module) -> nn.Module:
    """A network with a BatchNorm whose statistics are not trivial, float64."""
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(4)
    norm.running_mean = torch.randn(4)
    norm.running_var = torch.rand(4) + 0.5
    layers = nn.Linear(5, 4), nn.Tanh(), norm, *more, nn.Linear(4, 1)
    return nn.Sequential(*layers).double().eval()


@dataclass
class Dense:
    """Everything written out: the derivatives of rows' losses as matrices."""

    losses: RowLosses
    hessian: Tensor
    gauss_newton: Tensor
    jacobian: Tensor


def dense(module: nn.Module, names: tuple[str, ...] = (), n: int = 50) -> Dense:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(n, 5, generator=rng, dtype=torch.float64)
    labels = (torch.rand(n, generator=rng) < 0.5).long()
    weights = torch.rand(n, generator=rng, dtype=torch.float64)
    weights /= weights.mean()
    parameters = {k: p for k, p in module.named_parameters() if not names or k in names}
    like = tuple(parameters.values())

    def logits(vector: Tensor) -> Tensor:
        values = dict(zip(parameters, unflatten(vector, like), strict=True))
        result: Tensor = torch.func.functional_call(module, values, (x,)).squeeze(1)
        return result

    def losses(vector: Tensor) -> Tensor:
        return weights * binary_cross_entropy_with_logits(
            logits(vector), labels.double(), reduction="none"
        )

    at = flatten(like, like).detach()
    differentiate = torch.autograd.functional
    of_logits = differentiate.jacobian(logits, at)
    p = logits(at).sigmoid()
    return Dense(
        RowLosses(
            Scorer(module, Output.LOGIT, batch_size=16), Inputs.of(x), labels, weights, parameters
        ),
        differentiate.hessian(lambda vector: losses(vector).mean(), at),
        of_logits.T @ ((weights * p * (1 - p) / n)[:, None] * of_logits),
        differentiate.jacobian(losses, at),
    )


@pytest.mark.parametrize("names", [(), ("4.weight", "0.bias")])
@pytest.mark.parametrize("forward_mode", [True, False])
def test_products_equal_those_of_the_matrices(names: tuple[str, ...], forward_mode: bool) -> None:
    module = network(nn.Identity())
    found = dense(module, names)
    vector = torch.randn(len(found.hessian), dtype=torch.float64)
    found.losses.forward_mode = forward_mode
    close = {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(
        found.losses.hessian_product(vector), found.hessian @ vector, **close
    )
    torch.testing.assert_close(
        found.losses.gauss_newton_product(vector), found.gauss_newton @ vector, **close
    )
    torch.testing.assert_close(found.losses.derivatives(vector), found.jacobian @ vector, **close)
    assert found.losses.forward_mode is forward_mode


def test_double_backward_replaces_a_missing_forward_mode() -> None:
    expected = dense(network(nn.Identity()))
    found = dense_losses_of(network(Through(NoForwardMode)))
    vector = torch.randn(len(expected.hessian), dtype=torch.float64)
    torch.testing.assert_close(found.derivatives(vector), expected.jacobian @ vector)
    assert not found.forward_mode


def dense_losses_of(module: nn.Module) -> RowLosses:
    """The same rows without the matrices, for a network that lacks a derivative."""
    of = dense(network(nn.Identity())).losses
    return RowLosses(
        Scorer(module, Output.LOGIT),
        of._inputs,
        of._labels,
        of._weights,
        dict(module.named_parameters()),
    )


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (network(Through(NoSecondDerivative)), "has no second derivative"),
        (network(nn.Identity()), "not positive definite with a damping of 1e-06"),
    ],
)
def test_gauss_newton_replaces_the_hessian_for_a_reason(module: nn.Module, reason: str) -> None:
    expected = dense(network(nn.Identity()))
    found = row_influences(
        dense_losses_of(module),
        torch.ones(1, len(expected.hessian), dtype=torch.float64),
        damping=1e-6,
        iterations=200,
    )
    assert found.curvature == "gauss-newton"
    assert reason in found.reason
    matrix = expected.gauss_newton + 1e-6 * torch.eye(len(expected.hessian))
    exact = -expected.jacobian @ torch.linalg.solve(matrix, torch.ones(len(matrix)).double())
    assert np.corrcoef(found.values[0], exact)[0, 1] > 0.999


def test_conjugate_gradients_equal_a_direct_solution() -> None:
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(30, 30, generator=rng, dtype=torch.float64)
    matrix = root @ root.T / 30 + 0.1 * torch.eye(30)
    right = torch.randn(30, generator=rng, dtype=torch.float64)
    exact = torch.linalg.solve(matrix, right)
    found = conjugate_gradients(lambda d: matrix @ d, right, tolerance=1e-10, iterations=60)
    torch.testing.assert_close(found.vector, exact, rtol=1e-7, atol=1e-9)
    for limit in (1, 3, 10):
        early = conjugate_gradients(lambda d: matrix @ d, right, tolerance=0, iterations=limit)
        residual = (right - matrix @ early.vector).norm() / right.norm()
        assert early.iterations == limit
        assert early.residual == pytest.approx(float(residual))
    none = conjugate_gradients(lambda d: matrix @ d, 0 * right)
    assert (none.iterations, none.residual, float(none.vector.norm())) == (0, 0, 0)


def test_conjugate_gradients_stop_at_negative_curvature() -> None:
    matrix = torch.diag(torch.tensor([2.0, 1.0, -0.1]))
    assert conjugate_gradients(lambda d: matrix @ d, torch.ones(3)).indefinite
    assert not conjugate_gradients(lambda d: matrix @ d, torch.tensor([1.0, 1.0, 0.0])).indefinite


@pytest.mark.parametrize("ridge", [0.1, 10.0])
def test_ridge_weights_solve_the_regularized_least_squares(ridge: float) -> None:
    rng = np.random.default_rng(0)
    influences, gaps = rng.normal(size=(2, 40)), np.array([0.2, -0.1])
    stacked = np.vstack([influences, np.sqrt(ridge) * np.eye(40)])
    exact = np.linalg.lstsq(stacked, np.append(-gaps, np.zeros(40)), rcond=None)[0]
    found = balancing_weights(torch.from_numpy(gaps), torch.from_numpy(influences), ridge)
    assert found.numpy() == pytest.approx(exact)
    closed = gaps + influences @ found.numpy()
    assert (np.abs(closed) < np.abs(gaps)).all()


def test_weight_factors_are_clipped_at_0() -> None:
    additions = torch.tensor([-1.0, -0.1, 0.0, 0.5], dtype=torch.float64)
    assert weight_factors(additions).tolist() == pytest.approx([0, 0.6, 1, 3])


# A logistic regression, trained to its minimum

PENALTY = 0.01


@dataclass
class Regression:
    """Training rows of a logistic regression, and validation rows with two groups."""

    x: Tensor
    labels: Tensor
    validation: Problem
    module: nn.Linear

    @property
    def losses(self) -> RowLosses:
        scorer = Scorer(self.module, Output.LOGIT)
        ones = torch.ones(len(self.x), dtype=torch.float64)
        parameters = dict(self.module.named_parameters())
        return RowLosses(scorer, Inputs.of(self.x), self.labels, ones, parameters)

    def gap(self, weights: Tensor, key: str) -> float:
        """The soft gap after training to the minimum with row weights (N,)."""
        fit(self.module, self.x, self.labels, weights)
        validation = self.validation
        assert validation.scorer is not None
        assert validation.inputs is not None
        scores = validation.scorer.score(validation.inputs)
        return float(soft_gap(metrics.get(key), scores, validation.cells))

    def influences(self, *keys: str) -> tuple[Tensor, Tensor]:
        """The gaps (K,) and the influences (K, N) at equal weights."""
        fit(self.module, self.x, self.labels, torch.ones(len(self.x)).double() / len(self.x))
        validation = self.validation
        assert validation.scorer is not None
        assert validation.inputs is not None
        gaps, gradients = gap_gradients(
            [metrics.get(key) for key in keys],
            validation.scorer,
            validation.inputs,
            validation,
            tuple(self.module.parameters()),
        )
        found = row_influences(self.losses, gradients, damping=PENALTY, tolerance=1e-10)
        assert found.curvature == "hessian"
        return gaps, found.values


def fit(module: nn.Linear, x: Tensor, labels: Tensor, weights: Tensor) -> None:
    """Minimize the weighted loss plus PENALTY / 2 times the squared parameters, by Newton steps."""
    design = torch.cat([x, torch.ones(len(x), 1).double()], 1)
    theta = torch.zeros(design.shape[1], dtype=torch.float64)
    for _ in range(30):
        p = (design @ theta).sigmoid()
        gradient = design.T @ (weights * (p - labels)) + PENALTY * theta
        hessian = design.T @ ((weights * p * (1 - p))[:, None] * design)
        step = torch.linalg.solve(hessian + PENALTY * torch.eye(len(theta)), gradient)
        theta -= step
        if step.norm() < 1e-13:
            break
    with torch.no_grad():
        module.weight.copy_(theta[None, :-1])
        module.bias.copy_(theta[-1:])


@pytest.fixture
def regression() -> Regression:
    rng = torch.Generator().manual_seed(3)

    def rows(n: int) -> tuple[Tensor, Tensor, Tensor]:
        groups = torch.arange(n) % 2
        x = torch.randn(n, 4, generator=rng, dtype=torch.float64) + 0.5 * groups[:, None]
        chance = (x[:, 0] - 0.7 * x[:, 1] + 0.5 * groups - 0.5).sigmoid()
        return x, (torch.rand(n, generator=rng) < chance).long(), groups

    module = nn.Linear(4, 1).double()
    x, labels, _ = rows(120)
    scorer = Scorer(module, Output.LOGIT)
    seen, seen_labels, groups = rows(200)
    inputs = Inputs.of(seen)
    validation = Problem(scorer.score(inputs), seen_labels, groups, ("a", "b"), scorer, inputs)
    return Regression(x, labels, validation, module)


@pytest.mark.parametrize("key", ["spd", "eod", "fprd"])
def test_influences_are_minus_gradient_inverse_hessian_gradient(
    regression: Regression, key: str
) -> None:
    _, found = regression.influences(key)
    design = torch.cat([regression.x, torch.ones(120, 1).double()], 1)
    p = regression.module(regression.x).detach().squeeze(1).sigmoid()
    hessian = design.T @ ((p * (1 - p) / 120)[:, None] * design) + PENALTY * torch.eye(5)
    _, _, gradient = soft_gap_gradient(
        metrics.get(key),
        Scorer(regression.module, Output.LOGIT),
        regression.validation,
        tuple(regression.module.parameters()),
    )
    rows = (p - regression.labels)[:, None] * design
    explicit = -rows @ torch.linalg.solve(hessian, flatten(gradient, gradient))
    torch.testing.assert_close(found[0], explicit, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("key", ["spd", "eod", "fprd"])
def test_predicted_changes_of_the_gap_are_those_of_retraining(
    regression: Regression, key: str
) -> None:
    """Of small random weights and of every row left out."""
    gaps, influences = regression.influences(key)
    n = len(regression.x)
    equal = torch.full((n,), 1 / n, dtype=torch.float64)
    rng = torch.Generator().manual_seed(0)
    random = 0.1 / n * torch.randn(30, n, generator=rng, dtype=torch.float64)
    left_out = -torch.eye(n, dtype=torch.float64) / n
    for additions, exact in ((random, 0.02), (left_out, 0.1)):
        predicted = additions @ influences[0]
        changed = torch.tensor(
            [regression.gap(equal + each, key) - float(gaps[0]) for each in additions],
            dtype=torch.float64,
        )
        assert np.corrcoef(predicted, changed)[0, 1] > 0.99
        slope = float(predicted @ changed / (predicted @ predicted))
        assert slope == pytest.approx(1, abs=exact)


def test_balancing_weights_close_the_gaps_on_retraining(regression: Regression) -> None:
    keys = "eod", "fprd"
    gaps, influences = regression.influences(*keys)
    additions = balancing_weights(gaps, influences, 0.1)
    n = len(regression.x)
    for share in (0.1, 1.0):
        weights = 1 / n + share * additions
        for key, gap, influence in zip(keys, gaps, influences, strict=True):
            predicted = float(share * influence @ additions)
            change = regression.gap(weights, key) - float(gap)
            assert change == pytest.approx(predicted, rel=0.5 * share)
            assert abs(float(gap) + change) < (1 - 0.7 * share) * abs(float(gap))


def test_equal_factors_move_the_gap_as_a_weaker_penalty_does(regression: Regression) -> None:
    """The sum of all influences: without a penalty nothing would move."""
    gaps, influences = regression.influences("eod")
    n = len(regression.x)
    more = regression.gap(torch.full((n,), 1.001 / n, dtype=torch.float64), "eod")
    predicted = 0.001 / n * float(influences[0].sum())
    assert more - float(gaps[0]) == pytest.approx(predicted, rel=0.01)


# Gaps


def test_the_gaps_behind_a_metric_are_differences_of_its_rates() -> None:
    expected = {"spd": "spd", "di": "spd", "eod": "eod", "aod": "eod fprd", "eqodds": "eod fprd"}
    for key, behind in expected.items():
        assert " ".join(each.key for each in gaps_behind(metrics.get(key))) == behind


@pytest.mark.parametrize("batch_size", [64, 1000])
def test_gradients_of_several_gaps_equal_those_of_each(
    regression: Regression, batch_size: int
) -> None:
    validation = regression.validation
    assert validation.inputs is not None
    scorer = Scorer(regression.module, Output.LOGIT, batch_size=batch_size)
    parameters = tuple(regression.module.parameters())
    known = [metrics.get(key) for key in ("spd", "eod", "ppvd")]
    values, gradients = gap_gradients(known, scorer, validation.inputs, validation, parameters)
    for metric, value, gradient in zip(known, values, gradients, strict=True):
        _, gap, expected = soft_gap_gradient(metric, scorer, validation, parameters)
        torch.testing.assert_close(value, gap)
        torch.testing.assert_close(gradient, flatten(expected, expected))


def test_gumbel_decisions_follow_the_scores_and_the_seed() -> None:
    scores = torch.full((20_000,), 0.3, dtype=torch.float64, requires_grad=True)
    decided = gumbel_decisions(20_000, 0, scores.device)(scores)
    assert float((decided > 0.5).double().mean()) == pytest.approx(0.3, abs=0.01)
    assert torch.equal(decided, gumbel_decisions(20_000, 0, scores.device)(scores))
    assert not torch.equal(decided, gumbel_decisions(20_000, 1, scores.device)(scores))
    (gradient,) = torch.autograd.grad(decided.sum(), scores)
    assert bool((gradient > 0).all())


def test_products_take_named_inputs() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 1)

        def forward(self, *, x: Tensor) -> Tensor:
            result: Tensor = self.linear(x)
            return result

    module = Named()
    scorer = Scorer(module, Output.LOGIT)
    x = torch.randn(6, 3)
    inputs = Inputs([TensorPart("x", x)], by_name=True)
    losses = RowLosses(
        scorer, inputs, torch.ones(6).long(), torch.ones(6), dict(module.named_parameters())
    )
    vector = torch.ones(4)
    expected = (module.linear(x).sigmoid().squeeze(1) - 1) * (x.sum(1) + 1)
    torch.testing.assert_close(losses.derivatives(vector), expected.detach())
