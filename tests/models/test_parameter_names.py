"""Layers are chosen by name, by pattern, and as the last one."""

from __future__ import annotations

import pytest
from torch import nn

from fairfix.errors import UsageError
from fairfix.models.parameter_names import select_parameters


def network(last: str = "out") -> nn.Module:
    module = nn.Module()
    module.add_module("first", nn.Linear(2, 3))
    module.add_module("fcs", nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)))
    module.add_module(last, nn.Linear(3, 1, bias=False))
    return module


@pytest.mark.parametrize(
    ("layers", "selected"),
    [
        ("", "first.weight first.bias fcs.0.weight fcs.0.bias fcs.2.weight fcs.2.bias out.weight"),
        ("head", "out.weight"),
        ("fcs.*", "fcs.0.weight fcs.0.bias fcs.2.weight fcs.2.bias"),
        ("fcs", "fcs.0.weight fcs.0.bias fcs.2.weight fcs.2.bias"),
        ("head, f*s.0", "fcs.0.weight fcs.0.bias out.weight"),
        ("*.bias", "first.bias fcs.0.bias fcs.2.bias"),
        ("first.weight", "first.weight"),
    ],
)
def test_layers_by_name_and_pattern(layers: str, selected: str) -> None:
    assert list(select_parameters(network(), layers)) == selected.split()


def test_a_layer_named_head_goes_before_the_last_one() -> None:
    module = network("head")
    module.add_module("last", nn.Linear(1, 1))
    assert list(select_parameters(module, "head")) == ["head.weight"]


@pytest.mark.parametrize("layers", ["fc", "out.*.weight", "first,nothing", "Head"])
def test_a_name_without_a_layer_is_refused(layers: str) -> None:
    with pytest.raises(UsageError, match=r"no layer '.+'; layers: first, fcs.0, fcs.2, out\."):
        select_parameters(network(), layers)
