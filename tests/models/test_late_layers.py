"""Late layers on kept tensors give the scores and gradients of the whole network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from fairfix.models import late_layers as late_module
from fairfix.models.inputs import Inputs, TensorPart
from fairfix.models.late_layers import late_layers
from fairfix.models.parameter_names import layer_names, select_parameters
from fairfix.models.scorer import Output, Scorer
from tests.helpers import zoo
from tests.helpers.zoo import WIDTH, Wired, wired

ROWS = zoo.features(24)


def change(parameters: list[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        parameter.data += torch.randn(parameter.shape, generator=generator)


def check(scorer: Scorer, layer: str) -> None:
    """Three changes of a layer, each run in part and as a whole; the features stay as they are."""
    parameters = list(select_parameters(scorer.network, layer).values())
    rows = ROWS.clone()
    late, kept = late_layers(scorer, Inputs.of(rows), parameters)
    before = scorer.score(ROWS)
    assert torch.equal(late.score(kept), before)
    for seed in range(3):
        change(parameters, seed)
        assert torch.allclose(late.score(kept), scorer.score(ROWS), atol=1e-6), (layer, seed)
    assert not torch.equal(scorer.score(ROWS), before), layer
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


def _values_decide(m: Wired, x: Tensor) -> Tensor:
    h = m.a(x)
    return m.out(m.b(h) if h.sum().item() > 0 else -m.b(h))


def _rows_are_mixed(m: Wired, x: Tensor) -> Tensor:
    h = m.a(x)
    return m.out(m.b(h) + h.mean(0))


def _rows_are_turned(m: Wired, x: Tensor) -> Tensor:
    h = m.a(x).t().contiguous()
    return m.out(m.b(h.t()))


def _writes_into_zeros(m: Wired, x: Tensor) -> Tensor:
    h = m.a(x)
    place = torch.zeros(len(h), h.shape[1])
    place[:, 1:] = h[:, 1:]
    return m.out(m.b(place))


WIRINGS = [
    _read_then_changed_in_place,
    _changed_by_the_free_layer,
    _written_by_the_free_layer,
    _part_written,
    _given_a_place,
    _values_decide,
    _rows_are_mixed,
    _rows_are_turned,
    _writes_into_zeros,
]


@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize("layer", ["a", "b", "out"])
def test_every_wiring(wiring: Callable[[Wired, Tensor], Tensor], layer: str) -> None:
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


def linear_layers(count: int) -> Scorer:
    layers = [nn.Linear(WIDTH, WIDTH) for _ in range(count - 1)]
    return Scorer(nn.Sequential(*layers, nn.Linear(WIDTH, 1)).eval(), Output.LOGIT)


@pytest.mark.parametrize("free", range(4))
def test_layers_before_the_free_one_are_not_computed_again(free: int) -> None:
    scorer = linear_layers(4)
    late, kept = late_layers(scorer, Inputs.of(ROWS), scorer.network[free].parameters())
    with Calls() as calls:
        late.score(kept)
    assert calls.linear == 4 - free


def test_a_branch_beside_the_free_layer_is_not_computed_again() -> None:
    scorer = zoo.scorer("two readers")
    free = scorer.network.get_submodule("c").parameters()
    late, kept = late_layers(scorer, Inputs.of(ROWS), free)
    with Calls() as calls:
        late.score(kept)
    assert calls.linear == 2  # c and out; a and b are kept


def test_several_layers_may_be_free() -> None:
    scorer = zoo.scorer("residual")
    parameters = list(select_parameters(scorer.network, "b,out").values())
    late, kept = late_layers(scorer, Inputs.of(ROWS), parameters)
    change(parameters, 0)
    assert torch.equal(late.score(kept), scorer.score(ROWS))


@pytest.mark.parametrize("name", ["modules", "residual", "conv2d"])
def test_gradients_of_any_rows_are_those_of_the_whole_network(name: str) -> None:
    scorer = zoo.scorer(name)
    parameters = list(select_parameters(scorer.network, "head").values())
    late, kept = late_layers(scorer, Inputs.of(ROWS), parameters)
    assert kept.parts[0].values.shape[1:] != ROWS.shape[1:] or name == "modules"
    rows = torch.tensor([5, 1, 17])
    wanted = torch.autograd.grad(scorer.differentiable(ROWS[rows]).sum(), parameters)
    found = torch.autograd.grad(late.differentiable(kept.take(rows)).sum(), parameters)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(5, 3), nn.Linear(3 + WIDTH, 1)

    def forward(self, x_num: Tensor, x_cat: Tensor) -> Tensor:
        return self.head(torch.cat([x_num, self.table(x_cat)], 1))


def test_inputs_by_name_are_kept_as_they_are_read() -> None:
    torch.manual_seed(0)
    codes = torch.arange(24) % 5
    parts = [TensorPart("x_num", ROWS), TensorPart("x_cat", codes)]
    inputs = Inputs(parts, by_name=True)
    scorer = Scorer(TwoInputs().eval(), Output.LOGIT, batch_size=7)
    late, kept = late_layers(scorer, inputs, scorer.network.head.parameters())
    assert kept.keys == ("0",)
    change(list(scorer.network.head.parameters()), 1)
    assert torch.equal(late.score(kept), scorer.score(inputs))
    assert len(late.score(kept.take(slice(1)))) == 1


def test_large_kept_tensors_are_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_module, "_IN_MEMORY", 100)
    scorer = linear_layers(3)
    late, kept = late_layers(scorer, Inputs.of(ROWS), scorer.network[2].parameters())
    change(list(scorer.network[2].parameters()), 0)
    assert torch.equal(late.score(kept), scorer.score(ROWS))


def test_kept_tensors_that_do_not_fit_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_module, "_IN_MEMORY", 100)
    monkeypatch.setattr(late_module, "_SHARE_OF_DISK", 0)
    scorer, inputs = linear_layers(3), Inputs.of(ROWS)
    assert late_layers(scorer, inputs, scorer.network[2].parameters()) == (scorer, inputs)
