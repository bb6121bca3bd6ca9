"""Networks of many builds, and which of their layers have units that can be taken out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import relu

from fairfix.models.checkpoint.graph_to_module import module_from_graph
from fairfix.models.scorer import Output, Scorer

WIDTH = 16  # features of every network here
H = 6  # units of its linear layers

Wiring = Callable[["Wired", Tensor], Tensor]
Recipe = Callable[[], nn.Module]


class Wired(nn.Module):
    """Layers by name, and a function that runs them."""

    def __init__(self, wiring: Wiring, **layers: nn.Module) -> None:
        super().__init__()
        self._wiring = wiring
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self._wiring(self, x)


class FixedBias(nn.Linear):
    """A linear layer whose bias is no parameter."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.register_buffer("shift", torch.linspace(-1, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.shift)


def mlp(*between: Recipe, outputs: int = 1) -> nn.Sequential:
    """Two hidden layers with ``between`` behind each of them, and an output layer."""
    return nn.Sequential(
        *(nn.Linear(WIDTH, H), *(make() for make in between)),
        *(nn.Linear(H, H), *(make() for make in between)),
        nn.Linear(H, outputs),
    )


def batch_norm() -> nn.BatchNorm1d:
    return nn.BatchNorm1d(H)


_LAYERS: dict[str, Recipe] = {
    "a": lambda: nn.Linear(WIDTH, H),
    "b": lambda: nn.Linear(H, H),
    "c": lambda: nn.Linear(H, H),
    "bn_a": batch_norm,
    "bn_b": batch_norm,
    "out": lambda: nn.Linear(H, 1),
}


def wired(names: str, wiring: Wiring, **special: Recipe) -> Recipe:
    """A recipe for the named layers, usual or ``special`` ones: ``a`` reads the features."""
    recipes = {name: special.get(name) or _LAYERS[name] for name in names.split()}
    return lambda: Wired(wiring, **{name: make() for name, make in recipes.items()})


def _in_place(m: Wired, x: Tensor) -> Tensor:
    return m.out(m.b(functional.relu_(m.a(x))).relu_())


def _residual(m: Wired, x: Tensor) -> Tensor:
    h = m.a(x)
    return m.out(h + relu(m.b(h)))


def _residual_norm(m: Wired, x: Tensor) -> Tensor:
    h = relu(m.bn_a(m.a(x)))
    return m.out(relu(h + m.bn_b(m.b(h))))


def _preactivated(m: Wired, x: Tensor) -> Tensor:
    h = m.a(x)
    return m.out(relu(m.bn_b(h + m.b(relu(m.bn_a(h))))))


def _branches(m: Wired, x: Tensor) -> Tensor:
    """One layer read before its BatchNorm, behind it, and by a product of units."""
    h = m.a(x)
    normal = m.bn_a(h)
    return m.out(relu(normal)) + normal.prod(1, keepdim=True) + m.c(h).sum(1, keepdim=True)


def _two_readers(m: Wired, x: Tensor) -> Tensor:
    h = relu(m.a(x))
    return m.out(torch.tanh(m.b(h)) * torch.tanh(m.c(h)))


def _overwritten(m: Wired, x: Tensor) -> Tensor:
    h = m.a(x)
    h[:, 0] = h[:, 1]
    return m.out(relu(h))


def _written_elsewhere(m: Wired, x: Tensor) -> Tensor:
    h, wide = m.a(x), x.clone()
    wide[:, :H] = h
    return m.out(relu(m.b(h))) + m.skip(wide)


def _used_twice(m: Wired, x: Tensor) -> Tensor:
    return m.out(relu(m.c(relu(m.b(relu(m.b(relu(m.a(x)))))))))


def _transposed(m: Wired, x: Tensor) -> Tensor:
    h = relu(m.b(relu(m.c(relu(m.a(x))))))
    return m.out(functional.linear(h, m.b.weight.t()))


def _shared_norm(m: Wired, x: Tensor) -> Tensor:
    return m.out(relu(m.c(m.bn_a(m.a(x)) + m.bn_a(m.b(x[:, :H])))))


def _pooled_units(m: Wired, x: Tensor) -> Tensor:
    h = functional.avg_pool1d(relu(m.a(x)), 3, 1, 1)
    return m.out(relu(m.b(h)))


def _conv1d(m: Wired, x: Tensor) -> Tensor:
    h = functional.max_pool1d(relu(m.bn_a(m.a(x.unsqueeze(1)))), 2)
    return m.out(functional.adaptive_avg_pool1d(relu(m.b(h)), 2).flatten(1))


def _conv2d(m: Wired, x: Tensor) -> Tensor:
    h = functional.max_pool2d(relu(m.bn_a(m.a(x.view(-1, 1, 4, 4)))), 2)
    return m.out(relu(m.b(h)).flatten(1))


def _depthwise(m: Wired, x: Tensor) -> Tensor:
    h = relu(m.b(relu(m.bn_a(m.a(x.view(-1, 1, 4, 4))))))
    return m.out(relu(m.c(h)).mean((2, 3)))


@dataclass(frozen=True)
class Toy:
    """A recipe for a network, the layers with removable units, and what the network gives."""

    build: Recipe
    prunable: tuple[str, ...]
    output: Output = Output.LOGIT


ZOO = {
    "modules": Toy(lambda: mlp(nn.ReLU), ("0", "2")),
    "functions": Toy(
        wired("out b a", lambda m, x: m.out(torch.tanh(m.b(relu(m.a(x)))))), ("a", "b")
    ),
    "in place": Toy(wired("a b out", _in_place), ("a", "b")),
    "a layer called input": Toy(
        wired(
            "input out",
            lambda m, x: m.out(relu(m.input(x))),
            input=lambda: nn.Linear(WIDTH, H),
        ),
        ("input",),
    ),
    "BatchNorm before": Toy(lambda: mlp(batch_norm, nn.ReLU), ("0", "3")),
    "BatchNorm behind": Toy(lambda: mlp(nn.ReLU, batch_norm), ("0", "3")),
    "sigmoid": Toy(lambda: mlp(nn.Sigmoid), ("0", "2")),
    "dropout": Toy(lambda: mlp(nn.GELU, nn.Dropout), ("0", "3")),
    "two probabilities": Toy(
        lambda: nn.Sequential(mlp(nn.ELU, outputs=2), nn.Softmax(1)), ("0.0", "0.2"), Output.PROBS
    ),
    "two logits": Toy(lambda: mlp(nn.LeakyReLU, outputs=2), ("0", "2"), Output.LOGITS),
    "one probability": Toy(
        lambda: nn.Sequential(mlp(nn.SiLU), nn.Sigmoid()), ("0.0", "0.2"), Output.PROB
    ),
    "conv1d": Toy(
        wired(
            "a bn_a b out",
            _conv1d,
            a=lambda: nn.Conv1d(1, H, 3),
            b=lambda: nn.Conv1d(H, 3, 2),
        ),
        ("a", "b"),
    ),
    "conv2d": Toy(
        wired(
            "a bn_a b out",
            _conv2d,
            a=lambda: nn.Conv2d(1, 3, 3, padding=1),
            bn_a=lambda: nn.BatchNorm2d(3),
            b=lambda: nn.Conv2d(3, 2, 2, padding=1),
            out=lambda: nn.Linear(18, 1),
        ),
        ("a", "b"),
    ),
    "depthwise": Toy(
        wired(
            "a bn_a b c out",
            _depthwise,
            a=lambda: nn.Conv2d(1, 4, 3),
            bn_a=lambda: nn.BatchNorm2d(4),
            b=lambda: nn.Conv2d(4, 4, 1, groups=4),
            c=lambda: nn.Conv2d(4, H, 1),
        ),
        ("a", "b", "c"),
    ),
    "residual": Toy(wired("a b out", _residual), ("a", "b")),
    "residual with BatchNorm": Toy(wired("a bn_a b bn_b out", _residual_norm), ("a", "b")),
    "residual, pre-activated": Toy(wired("a bn_a b bn_b out", _preactivated), ("a", "b")),
    "branches": Toy(wired("a bn_a c out", _branches), ("a",)),
    "two readers": Toy(wired("a b c out", _two_readers), ("a", "b", "c")),
    "overwritten column": Toy(wired("a out", _overwritten), ("a",)),
    "written elsewhere": Toy(
        wired("a b out skip", _written_elsewhere, skip=lambda: nn.Linear(WIDTH, 1)), ("a", "b")
    ),
    "pooled over units": Toy(wired("a b out", _pooled_units), ("a", "b")),
    "fixed bias": Toy(
        wired(
            "a out",
            lambda m, x: m.out(relu(m.a(x))),
            a=lambda: FixedBias(WIDTH, H),
        ),
        ("a",),
    ),
    # In the rest some layers must be left out.
    "fixed bias in a sum": Toy(
        wired(
            "a c out",
            lambda m, x: m.out(relu(m.c(m.a(x) + x[:, :H]))),
            a=lambda: FixedBias(WIDTH, H),
        ),
        ("c",),
    ),
    "sigmoid in a sum": Toy(
        wired("a c out", lambda m, x: m.out(relu(m.c(m.a(x).sigmoid() + x[:, :H])))),
        ("c",),
    ),
    "BatchNorm without scale in a sum": Toy(
        wired(
            "a bn_a c out",
            lambda m, x: m.out(relu(m.c(m.bn_a(m.a(x)) + x[:, :H]))),
            bn_a=lambda: nn.BatchNorm1d(H, affine=False),
        ),
        ("c",),
    ),
    "one BatchNorm for two layers": Toy(wired("a b bn_a c out", _shared_norm), ("c",)),
    "a layer used twice": Toy(wired("a b c out", _used_twice), ("a", "c")),
    "a weight used transposed": Toy(wired("a b c out", _transposed), ("a", "c")),
}

FORMS = [
    *((name, "as written") for name in ZOO),
    *((name, "unflattened") for name in ("modules", "conv2d", "residual with BatchNorm")),
    *((name, "as layers") for name in ("BatchNorm behind", "depthwise", "overwritten column")),
]


def network(name: str, form: str = "as written") -> nn.Module:
    """A network of the zoo in evaluation mode, always with the same weights and statistics.

    Other forms: "unflattened" and "as layers", made from its export.
    """
    if form == "as written":
        return copy.deepcopy(_built(name))
    program = _exported(name)
    if form == "unflattened":
        module = torch.export.unflatten(program)
    else:
        trained = program.graph_signature.parameters
        module = module_from_graph(program, program.state_dict, trained, name)
    for parameter in module.parameters():
        parameter.data = parameter.data.clone()  # the program keeps its own
    return module.eval()


@cache
def _built(name: str) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(len(name))
        module = ZOO[name].build().eval()
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
                for tensor in (norm.running_mean, norm.weight, norm.bias):
                    if tensor is not None:
                        nn.init.normal_(tensor, 0.3)
                nn.init.uniform_(norm.running_var, 0.5, 2)
    return module


@cache
def _exported(name: str) -> torch.export.ExportedProgram:
    batch = {0: torch.export.Dim("batch")}
    return torch.export.export(_built(name), (torch.zeros(4, WIDTH),), dynamic_shapes=(batch,))


def scorer(name: str, form: str = "as written") -> Scorer:
    return Scorer(network(name, form), ZOO[name].output).eval()


def features(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed))
