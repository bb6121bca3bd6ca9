"""Affine recalibration of a changed network, folded exactly into its last linear layer.

The logit z of the favorable outcome becomes a z + b with a > 0, and thresholds move along, so that
the scores are probabilities again and the decisions stay as they are.

Source: Platt 1999, without his smoothing of the labels.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import special
from torch import Tensor, nn

from fairfix.data.problem import Problem
from fairfix.models.scorer import Output, Scorer
from fairfix.thresholds.policy import Policy
from fairfix.thresholds.shared import separation_bound

_LOGITS = Output.LOGIT, Output.LOGITS
SLOPES = 1e-3, 1e3
"""Range of slopes that are folded; others mean labels without relation to the scores."""
TOLERANCE = 0.01
"""Largest difference of a score from the affine one, of weights in half precision."""
_LOWEST, _HIGHEST = 1e-30, 1 - 2.0**-24
"""Probabilities whose logit float32 still tells apart from those beyond."""


@dataclass(frozen=True)
class Recalibration:
    """Whether and how the logits were recalibrated.

    Attributes:
        slope, intercept: a and b of a z + b; None if it was not done.
        reason: why it was not done, as a clause; empty if it was.
    """

    slope: float | None = None
    intercept: float | None = None
    reason: str = ""

    @property
    def sentence(self) -> str:
        """What happened, without a full stop."""
        if self.slope is None or self.intercept is None:
            return f"the scores were not recalibrated: {self.reason}"
        return (
            f"the scores were recalibrated on the validation rows (logit times {self.slope:.4g}, "
            f"then {self.intercept:+.4g}), and the threshold with them; no decision changed"
        )


def fit_platt(scorer: Scorer, problem: Problem) -> tuple[float, float] | None:
    """Return a and b that minimize the cross-entropy of a z + b against the labels.

    Args:
        scorer: gives the logits z of the problem's rows, whose row weights count.

    Returns:
        None if a is not within ``SLOPES``.
    """
    from scipy import optimize  # slow to import

    z = _logits(scorer, problem)
    labels = problem.labels.cpu().double().numpy()
    weights = np.ones(len(z))
    if problem.weights is not None:
        weights = problem.weights.cpu().double().numpy()
    weights = weights / weights.sum()
    center, scale = float(weights @ z), float(np.sqrt(weights @ (z - weights @ z) ** 2))
    if not scale > 0:
        return None
    unit = (z - center) / scale

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logits = parameters[0] * unit + parameters[1]
        error = weights * (special.expit(logits) - labels)
        value = weights @ (np.logaddexp(0.0, logits) - labels * logits)
        return float(value), np.array([error @ unit, error.sum()])

    found = optimize.minimize(loss, np.array([scale, center]), jac=True, method="BFGS")
    slope = float(found.x[0]) / scale
    if not SLOPES[0] <= slope <= SLOPES[1]:
        return None
    return slope, float(found.x[1]) - slope * center


def fold_affine(scorer: Scorer, slope: float, intercept: float) -> Scorer | None:
    """Return a copy of the scorer with the logit ``slope`` z + ``intercept``.

    Returns:
        None if the network does not end in a linear layer with weight and bias of its own, or
            has classes.
    """
    if scorer.classes is not None:  # the slope of merged logits is not one of the layer
        return None
    outputs, own = 2 if scorer.output.is_two else 1, slice(None)
    if scorer.targets is not None:
        place = scorer.targets.place
        outputs, own = len(scorer.targets.names), slice(place, place + 1)
    changed = copy.deepcopy(scorer)
    layer = _last_linear(changed.network, outputs)
    if layer is None:
        return None
    weight, bias = layer
    with torch.no_grad():
        weight[own].mul_(slope)
        bias[own].mul_(slope)
        bias[own][-1] += -intercept if scorer.complement else intercept
    return changed


def _last_linear(network: nn.Module, outputs: int) -> tuple[nn.Parameter, nn.Parameter] | None:
    """Return weight and bias of the last layer if it has this many outputs."""
    parameters = dict(network.named_parameters())
    biases = [name for name, p in parameters.items() if name.rpartition(".")[2] == "bias"]
    last = next((name for name in reversed(biases) if parameters[name].shape == (outputs,)), None)
    weight = None if last is None else parameters.get(last.removesuffix("bias") + "weight")
    if last is None or weight is None or weight.dim() != 2 or weight.shape[0] != outputs:
        return None
    return weight, parameters[last]


def moved_policy(policy: Policy, slope: float, intercept: float) -> Policy:
    """Return the policy for scores of the logit ``slope`` z + ``intercept``."""

    def moved(threshold: float) -> float:
        if not 0 < threshold < 1:
            return threshold
        logit = math.log(threshold) - math.log1p(-threshold)
        return float(np.float32(special.expit(slope * logit + intercept)))

    return Policy(
        tuple(tuple((moved(at), chance) for at, chance in steps) for steps in policy.steps)
    )


def difference(
    problems: Sequence[Problem],
    before: tuple[Scorer, Policy],
    after: tuple[Scorer, Policy],
    recalibration: Recalibration,
) -> str:
    """Return why a recalibrated network is not as good as the other; empty if it is.

    Args:
        problems: all rows on which the decisions must be equal.
    """
    slope, intercept = recalibration.slope, recalibration.intercept
    assert slope is not None
    assert intercept is not None
    for problem in problems:
        assert problem.inputs is not None
        was, now = (scorer.score(problem.inputs) for scorer, _ in (before, after))
        expected = special.expit(slope * _logits(before[0], problem) + intercept)
        # Saturated probabilities do not tell their logit.
        exact = before[0].output in _LOGITS or (was > 0) & (was < 1)
        errors = np.abs(expected - now.cpu().double().numpy())
        if (errors * np.asarray(exact)).max() > TOLERANCE:
            return "the output of the network does not follow from its last linear layer alone"
        own = replace(problem, scores=was), replace(problem, scores=now)
        chances = [
            policy.probability(rows.scores, rows.groups)
            for rows, (_, policy) in zip(own, (before, after), strict=True)
        ]
        if not torch.equal(*chances):
            changed = int((chances[0] != chances[1]).sum())
            return f"round-off would change {changed} of {len(problem)} decisions"
        if not all(_apart(now, at) for steps in after[1].steps for at, _ in steps):
            return "round-off could change a decision next to the threshold"
    return ""


def _apart(scores: Tensor, threshold: float) -> bool:
    """Return whether the scores on the two sides of a threshold differ by more than round-off."""
    above, below = scores[scores > threshold], scores[scores <= threshold]
    if not len(above) or not len(below):
        return True
    return bool(below.max() < separation_bound(above.min()))


def _logits(scorer: Scorer, problem: Problem) -> np.ndarray:
    """Return the logit of every row, (N,), clipped where a probability has none."""
    assert problem.inputs is not None
    if scorer.output in _LOGITS:
        with torch.no_grad():
            found = scorer.differentiable_logit(problem.inputs)
        return found.cpu().double().numpy()
    p = scorer.score(problem.inputs).cpu().double().numpy()
    return np.asarray(special.logit(np.clip(p, _LOWEST, _HIGHEST)))
