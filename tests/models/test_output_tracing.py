"""The kind of a network's output follows from its operations, not from the rows it runs on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.graph_to_module import module_from_graph
from fairfix.models.run_network import output_of, traced_output
from fairfix.models.scorer import Output

Wiring = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """Two linear layers of one and two outputs, and a function that runs them."""

    def __init__(self, wiring: Wiring) -> None:
        super().__init__()
        self.hidden = nn.Linear(3, 5)
        self.one, self.two, self.three = (nn.Linear(5, n) for n in (1, 2, 3))
        self.temperature = nn.Parameter(torch.tensor(2.0))
        self.norm = nn.BatchNorm1d(1)
        self.wiring = wiring

    def forward(self, x: Tensor) -> Tensor:
        return self.wiring(self, torch.relu(self.hidden(x)))


def complement(z: Tensor) -> Tensor:
    return torch.stack([1 - z.sigmoid(), z.sigmoid()], 1)


KNOWN: dict[str, tuple[Output, Wiring]] = {
    "linear": (Output.LOGIT, lambda m, h: m.one(h)),
    "linear, squeezed": (Output.LOGIT, lambda m, h: m.one(h).squeeze(-1)),
    "linear, indexed": (Output.LOGIT, lambda m, h: m.one(h)[:, 0]),
    "matrix product": (Output.LOGIT, lambda m, h: h @ m.one.weight.t() + m.one.bias),
    "sum over units": (Output.LOGIT, lambda m, h: (h * m.one.weight).sum(1)),
    "with temperature": (Output.LOGIT, lambda m, h: m.one(h) / m.temperature),
    "residual": (Output.LOGIT, lambda m, h: m.one(h) + h.mean(1, keepdim=True)),
    "BatchNorm": (Output.LOGIT, lambda m, h: m.norm(m.one(h))),
    "clamped logit": (Output.LOGIT, lambda m, h: m.one(h).clamp(-30, 30)),
    "difference of two logits": (Output.LOGIT, lambda m, h: m.two(h)[:, 1] - m.two(h)[:, 0]),
    "masked_fill": (
        Output.LOGIT,
        lambda m, h: m.one(h).masked_fill(h[:, :1].isnan(), float("nan")),
    ),
    "where": (
        Output.LOGIT,
        lambda m, h: torch.where(h[:, :1] > 1, m.one(h).clamp(min=0.1), m.one(h).clamp(max=-0.1)),
    ),
    "sigmoid": (Output.PROB, lambda m, h: m.one(h).sigmoid()),
    "sigmoid, functional": (Output.PROB, lambda m, h: torch.sigmoid(m.one(h)).flatten()),
    "sigmoid in place": (Output.PROB, lambda m, h: m.one(h).sigmoid_()),
    "sigmoid, clamped": (Output.PROB, lambda m, h: m.one(h).sigmoid().clamp(1e-6, 1 - 1e-6)),
    "hard sigmoid": (Output.PROB, lambda m, h: functional.hardsigmoid(m.one(h))),
    "one minus sigmoid": (Output.PROB, lambda m, h: 1 - m.one(h).sigmoid()),
    "mean of sigmoids": (
        Output.PROB,
        lambda m, h: torch.stack([m.one(h).sigmoid(), m.one(h / 2).sigmoid()]).mean(0),
    ),
    "product of sigmoids": (
        Output.PROB,
        lambda m, h: m.one(h).sigmoid() * m.one(h / 2).sigmoid(),
    ),
    "second of a softmax": (Output.PROB, lambda m, h: m.two(h).softmax(1)[:, 1]),
    "linear probability": (Output.PROB, lambda m, h: m.one(h).clamp(0, 1)),
    "float16 and back": (Output.PROB, lambda m, h: m.one(h).sigmoid().half().float()),
    "two linear": (Output.LOGITS, lambda m, h: m.two(h)),
    "log_softmax": (Output.LOGITS, lambda m, h: m.two(h).log_softmax(-1)),
    "log of softmax": (Output.LOGITS, lambda m, h: m.two(h).softmax(-1).log()),
    "plus and minus": (Output.LOGITS, lambda m, h: torch.cat([-m.one(h), m.one(h)], 1)),
    "softmax": (Output.PROBS, lambda m, h: m.two(h).softmax(1)),
    "softmax, functional": (Output.PROBS, lambda m, h: functional.softmax(m.two(h), dim=-1)),
    "softmax, squeezed": (Output.PROBS, lambda m, h: m.two(h).unsqueeze(1).softmax(2).squeeze(1)),
    "softmax, last step": (
        Output.PROBS,
        lambda m, h: torch.stack([m.two(h), m.two(h)], 1).softmax(2)[:, -1],
    ),
    "exp of log_softmax": (Output.PROBS, lambda m, h: m.two(h).log_softmax(1).exp()),
    "p and 1 - p": (Output.PROBS, lambda m, h: complement(m.one(h)[:, 0])),
}
UNKNOWN: dict[str, tuple[str, Wiring]] = {
    "two sigmoids": ("need not sum to 1", lambda m, h: m.two(h).sigmoid()),
    "two of three": ("need not sum to 1", lambda m, h: m.three(h).softmax(1)[:, :2]),
    "two unrelated": (
        "need not sum to 1",
        lambda m, h: torch.cat([1 - m.one(h).sigmoid(), m.one(h / 2).sigmoid()], 1),
    ),
    "softmax over rows": ("comes from softmax", lambda m, h: m.two(h).softmax(0)),
    "softmax of one": ("comes from softmax", lambda m, h: m.one(h).softmax(1)),
    "tanh": ("comes from tanh", lambda m, h: m.one(h).tanh()),
    "relu": ("comes from relu", lambda m, h: m.one(h).relu()),
    "log of sigmoid": ("comes from log_?sigmoid", lambda m, h: functional.logsigmoid(m.one(h))),
    "exp": ("comes from exp", lambda m, h: m.one(h).exp()),
    "sum of sigmoids": ("comes from", lambda m, h: m.two(h).sigmoid().sum(1)),
    "log-probability": ("comes from log_softmax", lambda m, h: m.two(h).log_softmax(1)[:, 1]),
}


def kind_of(wiring: Wiring, rows: Tensor) -> Output:
    network = Net(wiring).eval()
    tensor, value = traced_output(network, rows, None)
    return output_of(value, two=tensor.numel() == 2 * len(rows))


ROWS = [torch.zeros(2, 3), torch.full((4, 3), 1e3), torch.linspace(-2, 2, 9).reshape(3, 3)]


@pytest.mark.parametrize("name", KNOWN)
def test_the_kind_follows_from_the_last_operations(name: str) -> None:
    kind, wiring = KNOWN[name]
    assert {kind_of(wiring, rows) for rows in ROWS} == {kind}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_the_operations_do_not_tell_is_asked_for(name: str) -> None:
    why, wiring = UNKNOWN[name]
    for rows in ROWS:
        with pytest.raises(CheckpointError, match=f"{why}.*--output-kind"):
            kind_of(wiring, rows)


@pytest.mark.parametrize("form", ["exported", "as layers"])
@pytest.mark.parametrize("name", ["linear", "sigmoid", "softmax", "p and 1 - p"])
def test_exported_programs_are_traced_alike(name: str, form: str) -> None:
    kind, wiring = KNOWN[name]
    program = torch.export.export(Net(wiring).eval(), (ROWS[2],))
    if form == "exported":
        module = program.module()
    else:
        trained = program.graph_signature.parameters
        module = module_from_graph(program, program.state_dict, trained, name)
    tensor, value = traced_output(module, ROWS[2], None)
    assert output_of(value, two=tensor.numel() == 2 * len(ROWS[2])) is kind
