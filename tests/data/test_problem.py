"""A problem checks its rows once, when it is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fairfix.data.problem import Problem
from fairfix.data.training_rows import TrainingRows
from fairfix.errors import TableError
from fairfix.models.inputs import Inputs
from tests.helpers import zoo
from tests.helpers.toys import biased_problem, count_by_hand, scored_rows, with_training_rows

VALID: dict[str, Any] = {
    "scores": torch.tensor([0.0, 0.2, 0.7, 1.0]),
    "labels": torch.tensor([0, 1, 0, 1]),
    "groups": torch.tensor([0, 0, 1, 1]),
    "group_names": ("women", "men"),
}


def test_valid_rows_are_accepted() -> None:
    problem = Problem(**VALID)
    assert len(problem) == 4
    assert problem.n_groups == 2
    assert problem.threshold == 0.5


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        ({name: torch.tensor([]) for name in ("scores", "labels", "groups")}, "no rows"),
        ({"labels": torch.tensor([0, 1])}, "Lengths differ: scores 4, labels 2, groups 4"),
        ({"groups": torch.tensor([0, 1])}, "groups 2."),
        ({"weights": torch.ones(3)}, "weights 3."),
        ({"inputs": Inputs.of(torch.ones(5, 2))}, "inputs 5."),
        ({"ids": np.array(["a", "b"], object)}, "ids 2."),
        ({"scores": torch.tensor([0.0, 0.2, 0.7, 1.1])}, "outside"),
        ({"scores": torch.tensor([-0.1, 0.2, 0.7, 1.0])}, "outside"),
        ({"scores": torch.tensor([0.0, torch.nan, 0.7, 1.0])}, "NaN"),
        ({"labels": torch.tensor([0, 2, 0, 1])}, "Labels must be 0 or 1"),
        ({"labels": torch.tensor([-1, 1, 0, 1])}, "Labels must be 0 or 1"),
        ({"labels": torch.tensor([1, 1, 1, 1])}, "All rows have the same label"),
        ({"group_names": ("all",), "groups": torch.zeros(4).long()}, "at least two groups"),
        ({"groups": torch.tensor([0, 0, 1, 2])}, "Groups must be numbers from 0 to 1"),
        ({"groups": torch.tensor([0, 0, -2, 1])}, "Groups must be numbers from 0 to 1"),
        ({"group_names": ("women", "men", "others")}, "'others' has no rows"),
        ({"weights": torch.tensor([1.0, 1, -1, 1])}, "not negative"),
        ({"weights": torch.tensor([1.0, 1, torch.nan, 1])}, "finite"),
        ({"weights": torch.tensor([1.0, 1, torch.inf, 1])}, "finite"),
        ({"weights": torch.zeros(4)}, "not all 0"),
    ],
)
def test_invalid_rows_are_refused_with_the_reason(invalid: dict[str, Any], message: str) -> None:
    with pytest.raises(TableError, match=message):
        Problem(**{**VALID, **invalid})


@pytest.mark.parametrize("weighted", [False, True])
def test_taking_rows(weighted: bool) -> None:
    whole = biased_problem(zoo.scorer("modules"), zoo.features(60), weighted=weighted)
    index = torch.arange(0, 60, 2)
    half = whole.take(index)
    assert len(half) == 30
    for name in ("scores", "labels", "groups", "features", "weights"):
        before, after = getattr(whole, name), getattr(half, name)
        assert (before is None and after is None) or torch.equal(after, before[index])
    decisions = half.scores > 0.5
    found = torch.stack(half.counts(decisions).sides).numpy()
    assert found == pytest.approx(count_by_hand(decisions, half))


def test_cells_hold_each_row_once_with_its_weight() -> None:
    problem = scored_rows(30, 3, weighted=True)
    assert problem.weights is not None
    cells = problem.cells.numpy()
    assert cells.shape == (30, 6)
    assert np.count_nonzero(cells, axis=1).tolist() == [1] * 30
    weights = problem.weights.numpy()
    assert cells.max(1) == pytest.approx(weights / weights.mean())
    assert cells.argmax(1).tolist() == (2 * problem.groups + problem.labels).tolist()


def test_a_problem_of_scores_has_no_network() -> None:
    with pytest.raises(TableError, match="needs a model"):
        scored_rows(20).network()


def test_the_network_is_a_copy_whose_parameters_may_all_change() -> None:
    scorer = zoo.scorer("modules").requires_grad_(False).train()
    problem = biased_problem(scorer, zoo.features(40))
    copied, features = problem.network()
    assert features is problem.inputs
    assert not copied.training
    assert all(p.requires_grad for p in copied.parameters())
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert scorer.training
    assert not any(p.requires_grad for p in scorer.parameters())
    assert torch.equal(scorer.score(features), problem.scores)


def test_everything_moves_to_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the device without values, which fails the checks of values."""
    for checked in (Problem, TrainingRows):
        monkeypatch.setattr(checked, "__post_init__", lambda self: None)
    problem = biased_problem(zoo.scorer("modules"), zoo.features(40), weighted=True)
    more = {"further": {"race": problem.groups}, "probabilities": problem.scores}
    problem = replace(problem, clusters=problem.labels, unlabeled=problem, **more)
    problem = with_training_rows(problem, problem)
    before = dict(tensors_of(problem, "problem"))
    meta = torch.device("meta")
    moved = dict(tensors_of(problem.to(meta), "problem"))
    assert moved.keys() == before.keys()
    assert {name for name, tensor in moved.items() if tensor.device != meta} == set()
    assert {tensor.device.type for tensor in before.values()} == {"cpu"}


def tensors_of(value: object, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors in fields, parameters and parts."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from tensors_of(each, f"{name}.{key}")
    elif isinstance(value, nn.Module):
        yield from tensors_of(value.state_dict(), name)
    elif isinstance(value, Inputs):
        yield f"{name}.empty", torch.empty(0, device=value.device)
        for part in value.parts:
            yield from tensors_of(vars(part), f"{name}.{part.keys}")
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors_of(getattr(value, field.name), f"{name}.{field.name}")


def test_other_groups_give_other_cells() -> None:
    problem = Problem(**VALID)
    before = problem.cells
    turned = replace(problem, groups=1 - problem.groups)
    assert torch.equal(turned.cells, before.roll(2, 1))
