"""The torchmetrics metric against audits, over batches and over processes."""

from __future__ import annotations

import sys
from importlib import reload

import pytest
import torch
from torch import Tensor

import fairfix
from fairfix.errors import UsageError
from fairfix.metrics import METRICS
from fairfix.thresholds.rule import DecisionRule

pytest.importorskip("torchmetrics", reason="torchmetrics is not installed")

from fairfix.integrations import torchmetrics as integration
from fairfix.integrations.torchmetrics import GroupGap

NAMES = {2: ("a", "b"), 3: ("a", "b", "c")}


def rows(n_groups: int, n: int = 600) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n_groups)
    groups = torch.randint(n_groups, (n,), generator=generator)
    scores = (torch.rand(n, generator=generator) + 0.1 * groups).clamp(max=1)
    labels = (scores + 0.5 * torch.randn(n, generator=generator) > 0.5).long()
    return scores, labels, groups


def audited(key: str, n_groups: int) -> fairfix.Audit:
    scores, labels, groups = rows(n_groups)
    names = [NAMES[n_groups][g] for g in groups]
    table = {"score": scores.double().numpy(), "label": labels.numpy(), "group": names}
    privileged = "b" if n_groups == 2 else None
    case = fairfix.load(None, table, score="score", privileged=privileged)
    return fairfix.audit(case, metric=key, budget=0.1, subgroups=False)


@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("key", ["spd", "eod", "eqodds", "di", "ppvd"])
def test_value_and_claim_are_those_of_an_audit(key: str, n_groups: int) -> None:
    gap = GroupGap(key, groups=NAMES[n_groups])
    for batch in zip(*(values.split(170) for values in rows(n_groups)), strict=True):
        gap.update(*batch)
    expected = audited(key, n_groups).groups[0].claim
    assert float(gap.compute()) == expected.value
    assert gap.claim(budget=0.1) == expected


@pytest.mark.parametrize("key", METRICS)
def test_processes_add_their_counts(key: str) -> None:
    parts = [GroupGap(key), GroupGap(key)]
    whole = GroupGap(key)
    for part, *batch in zip(parts, *(values.split(400) for values in rows(2)), strict=True):
        part.update(*batch)
        whole.update(*batch)
    here, there = parts
    synced = GroupGap(
        key,
        dist_sync_fn=lambda state, group: [state, there.counts],
        distributed_available_fn=lambda: True,
    )
    synced.counts, synced._update_count = here.counts, 1
    assert float(synced.compute()) == float(whole.compute())
    assert synced.claim() == whole.claim()
    assert torch.equal(synced.counts, here.counts)  # what this process counted, once more
    here.merge_state(there)
    assert float(here.compute()) == float(whole.compute())


def test_decisions_count_as_they_are() -> None:
    scores, labels, groups = rows(2)
    gaps = []
    for preds in (scores, scores > 0.3, (scores > 0.3).int()):
        gap = GroupGap("eod", threshold=0.3)
        gap.update(preds, labels, groups)
        gaps.append(float(gap.compute()))
    assert len(set(gaps)) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_scores_of_low_precision_are_compared_as_rules_compare_them(
    dtype: torch.dtype, threshold: float
) -> None:
    scores = torch.full((2,), threshold, dtype=dtype)
    gap = GroupGap(threshold=threshold)
    gap.update(scores, torch.ones(2), torch.tensor([0, 1]))
    rule = DecisionRule(threshold=threshold)
    assert int(gap.counts[3].sum()) == int(rule.decide(scores.float()).sum())


def test_counts_stay_whole_numbers_in_every_dtype() -> None:
    gap = GroupGap().set_dtype(torch.float16).half()
    for _ in range(3):
        gap.update(torch.ones(30_001), torch.ones(30_001), torch.zeros(30_001))
    assert gap.counts.sum(0).tolist() == [90_003, 0]


def test_an_empty_batch_counts_nothing() -> None:
    gap = GroupGap("eod")
    gap.update(*rows(2))
    before = float(gap.compute())
    gap.update(*(torch.zeros(0) for _ in range(3)))
    assert float(gap.compute()) == before


def test_a_group_without_rows_is_undefined() -> None:
    gap = GroupGap(groups=NAMES[3])
    gap.update(*rows(2))
    assert gap.compute().isnan()
    assert gap.claim().verdict == "too few rows"
    gap.reset()
    assert int(gap.counts.sum()) == 0


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (([0.2, 3.0], [0, 1], [0, 1]), "apply sigmoid"),
        (([0.2, 0.3], [0, 2], [0, 1]), "Labels must be 0 or 1"),
        (([0.2, 0.3], [0, 1], [0, 2]), "Groups must be numbers from 0 to 1"),
        (([0.2, 0.3], [0, 1], [0, 0, 1]), "3 groups"),
        (([0.2, 0.3], [0, 1], [0, 0.7]), "Groups must be numbers from 0 to 1"),
        (([0.2, 0.3], [0, 1], [0, -1]), "Groups must be numbers from 0 to 1"),
        (([float("nan"), 0.3], [0, 1], [0, 1]), "scores in"),
    ],
)
def test_what_does_not_fit_is_refused(batch: tuple[list[float], ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GroupGap().update(*map(torch.tensor, batch))


def test_an_unknown_metric_or_a_single_group_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'spd'"):
        GroupGap("sdp")
    with pytest.raises(UsageError, match="at least two groups"):
        GroupGap(groups=["a"])
    with pytest.raises(UsageError, match="same name"):
        GroupGap(groups=["a", "b", "a"])
    with pytest.raises(UsageError, match="finite"):
        GroupGap(threshold=float("nan"))


def test_without_the_package_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(
        ImportError, match=r"GroupGap needs .*pip install 'fairfix\[torchmetrics\]'"
    ):
        reload(integration)
