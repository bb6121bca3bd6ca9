"""Partial forward passes equal full ones, and layers before the changed ones are not run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from fairfix.models.parameter_names import layer_names, select_parameters
from fairfix.models.scorer import Output, Scorer
from fairfix.models.weight_batches.partial_forward import PartialForward
from tests.helpers import zoo
from tests.helpers.zoo import WIDTH, Wired, wired

ROWS = zoo.features(24)


def change(parameters: list[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        parameter.data += torch.randn(parameter.shape, generator=generator)


def check(scorer: Scorer, layer: str) -> None:
    """Three changes of a layer, each replayed and run afresh; the features stay as they are."""
    parameters = list(select_parameters(scorer.network, layer).values())
    rows = ROWS.clone()
    replay = PartialForward(scorer, rows, parameters)
    with torch.no_grad():
        before = scorer(ROWS)
        assert torch.equal(replay.run(), before)
        for seed in range(3):
            change(parameters, seed)
            assert torch.equal(replay.run(), scorer(ROWS)), (layer, seed)
        assert not torch.equal(scorer(ROWS), before), layer
    assert torch.equal(rows, ROWS)


@pytest.mark.parametrize(("name", "form"), zoo.FORMS)
def test_every_layer_of_every_build(name: str, form: str) -> None:
    for layer in layer_names(zoo.network(name, form)):
        check(zoo.scorer(name, form), layer)


def _read_then_changed_in_place(m: Wired, x: Tensor) -> Tensor:
    """The free layer reads what is changed in place behind it."""
    h = m.a(x)
    read = m.b(h) + h
    h.relu_()
    return m.out(read + m.c(h))


def _changed_by_the_free_layer(m: Wired, x: Tensor) -> Tensor:
    h = m.a(x)
    h += m.b(h)
    return m.out(functional.relu(h))


def _written_by_the_free_layer(m: Wired, x: Tensor) -> Tensor:
    h = m.a(x)
    h[:, 0] = m.b(h)[:, 0]
    return m.out(h)


def _part_written(m: Wired, x: Tensor) -> Tensor:
    h = m.a(x)
    h[:, :3].copy_(m.b(h)[:, :3])
    return m.out(h)


def _given_a_place(m: Wired, x: Tensor) -> Tensor:
    h = m.a(x)
    torch.add(h, m.b(h), out=h)
    return m.out(h)


IN_PLACE = [
    _read_then_changed_in_place,
    _changed_by_the_free_layer,
    _written_by_the_free_layer,
    _part_written,
    _given_a_place,
]


@pytest.mark.parametrize("wiring", IN_PLACE)
@pytest.mark.parametrize("layer", ["a", "b", "out"])
def test_what_is_changed_in_place(wiring: Callable[[Wired, Tensor], Tensor], layer: str) -> None:
    names = "a b c out" if wiring is _read_then_changed_in_place else "a b out"
    torch.manual_seed(1)
    check(Scorer(wired(names, wiring)().eval(), Output.LOGIT), layer)


class Calls(TorchFunctionMode):
    """Counts the linear layers that are really computed, beneath every other mode."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.linear += func is functional.linear
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("free", range(4))
def test_layers_before_the_free_one_are_not_computed_again(free: int) -> None:
    network = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(3)), nn.Linear(WIDTH, 1))
    replay = PartialForward(network, ROWS, network[free].parameters())
    for _ in range(2):
        with Calls() as calls:
            replay.run()
        assert calls.linear == 4 - free


def test_a_branch_beside_the_free_layer_is_not_computed_again() -> None:
    network = zoo.network("two readers")
    replay = PartialForward(network, ROWS, network.get_submodule("c").parameters())
    with Calls() as calls:
        replay.run()
    assert calls.linear == 2  # c and out; a and b are on record


def test_several_layers_may_be_free() -> None:
    scorer = zoo.scorer("residual")
    parameters = list(select_parameters(scorer.network, "b,out").values())
    replay = PartialForward(scorer, ROWS, parameters)
    change(parameters, 0)
    with torch.no_grad():
        assert torch.equal(replay.run(), scorer(ROWS))


def test_partial_results_have_no_autograd_graph() -> None:
    network = zoo.network("modules")
    assert not PartialForward(network, ROWS, network[0].parameters()).run().requires_grad
