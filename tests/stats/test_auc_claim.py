"""Verdicts on a budget of the AUC difference."""

from __future__ import annotations

import numpy as np
import pytest

from fairfix.stats.auc_claim import auc_gap_claim
from fairfix.stats.verdicts import Claim, Verdict

N = 400


def rows(shift: tuple[float, float], n: int = N) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scores, labels and groups; ``shift`` of group 0 and 1 separates their labels."""
    rng = np.random.default_rng(0)
    labels, groups = np.arange(n) % 2, np.arange(n) // 2 % 2
    scores = 1 / (1 + np.exp(-rng.normal(size=n) - np.array(shift)[groups] * labels))
    return scores, labels, groups


def area(scores: np.ndarray, labels: np.ndarray) -> float:
    """P(a favorable row has the higher score), by counting pairs."""
    return float((scores[labels == 1][:, None] > scores[labels == 0]).mean())


def claimed(shift: tuple[float, float], budget: float, n: int = N) -> Claim:
    return auc_gap_claim(*rows(shift, n), ("u", "p"), budget)


@pytest.mark.parametrize(
    ("shift", "budget", "verdict"),
    [
        ((1, 1), 0.2, Verdict.CERTIFIED),
        ((0, 3), 0.2, Verdict.VIOLATED),
        ((3, 0), 0.2, Verdict.VIOLATED),
        ((1, 1), 0.02, Verdict.INCONCLUSIVE),
    ],
)
def test_the_interval_of_the_difference_decides(
    shift: tuple[float, float], budget: float, verdict: Verdict
) -> None:
    scores, labels, groups = rows(shift)
    found = claimed(shift, budget)
    areas = [area(scores[groups == g], labels[groups == g]) for g in (0, 1)]
    assert found.value == pytest.approx(areas[0] - areas[1])
    assert found.verdict is verdict
    assert (found.p_violated < 0.05) == (verdict is Verdict.VIOLATED)


def test_few_rows_of_a_label_certify_nothing() -> None:
    found = claimed((1, 1), 0.99, n=80)
    assert found.verdict is Verdict.TOO_FEW
    assert found.reason == (
        "group u has 20 rows with unfavorable label, and at least 30 are needed"
    )


def test_a_group_with_one_label_is_undefined() -> None:
    scores, labels, groups = rows((1, 1))
    found = auc_gap_claim(scores, np.where(groups == 0, 1, labels), groups, ("u", "p"), 0.2)
    assert found.verdict is Verdict.TOO_FEW
    assert np.isnan(found.value)
