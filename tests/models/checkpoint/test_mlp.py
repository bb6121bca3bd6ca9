"""Networks inferred from their tensors, against the networks that the tensors came from."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fairfix.errors import CheckpointError, UsageError
from fairfix.models import checkpoint as checkpoints
from tests.helpers.checkpoint_models import Tabular, Tied, rows, trained


class Chain(nn.Module):
    """Layers under given names, defined in one order and computed in another."""

    def __init__(
        self, layers: Mapping[str, nn.Module], order: str, activation: nn.Module | None = None
    ) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.activation = activation or nn.ReLU()
        self.order = order.split()

    def forward(self, x: Tensor) -> Tensor:
        for name in self.order:
            x = self.activation(x) if name == "*" else self.get_submodule(name)(x)
        return x


def linear(*widths: int) -> list[nn.Module]:
    return [nn.Linear(*pair) for pair in itertools.pairwise(widths)]


def sequential(*layers: nn.Module) -> dict[str, nn.Module]:
    return {"net": nn.Sequential(*layers)}


def lists(fcs: list[nn.Module], bns: list[nn.Module], **more: nn.Module) -> dict[str, nn.Module]:
    return {"fcs": nn.ModuleList(fcs), "bns": nn.ModuleList(bns), **more}


ReLU, Drop, BN, LN, Lin = nn.ReLU, nn.Dropout, nn.BatchNorm1d, nn.LayerNorm, nn.Linear
CASES: dict[str, tuple[str, Mapping[str, nn.Module], str]] = {
    "logistic regression": ("relu", {"fc": Lin(7, 1)}, "fc"),
    "no norm": ("relu", dict(zip("abc", linear(7, 8, 8, 1), strict=True)), "a * b * c"),
    "no bias": ("relu", {"a": Lin(7, 8, bias=False), "b": Lin(8, 2)}, "a * b"),
    "sequential after": (
        "relu",
        sequential(Lin(7, 8), ReLU(), Drop(), BN(8), Lin(8, 8), ReLU(), BN(8), Lin(8, 1)),
        "net",
    ),
    "sequential before": (
        "relu",
        sequential(Lin(7, 8), BN(8), ReLU(), Lin(8, 8), ReLU(), Lin(8, 1)),
        "net",
    ),
    "norm of the input": ("relu", sequential(BN(7), Lin(7, 8), ReLU(), Lin(8, 1)), "net"),
    "ten and more": (
        "relu",
        sequential(*[x for w in linear(7, *[6] * 11) for x in (w, ReLU())], Lin(6, 1)),
        "net",
    ),
    "lists": ("relu", lists(linear(7, 8, 8), [BN(8), BN(8)], out=Lin(8, 1)),
              "fcs.0 * bns.0 fcs.1 * bns.1 out"),
    "lists before": ("relu-bn", lists(linear(7, 8, 8), [BN(8), BN(8)], out=Lin(8, 1)),
                     "fcs.0 * bns.0 fcs.1 * bns.1 out"),
    "explicitly before": ("bn-relu", {"fc1": Lin(7, 8), "bn1": BN(8), "fc2": Lin(8, 1)},
                          "fc1 bn1 * fc2"),
    "a norm for one only": (
        "relu", {"fc1": Lin(7, 8), "fc2": Lin(8, 8), "bn1": BN(8), "fc3": Lin(8, 1)},
        "fc1 * bn1 fc2 * fc3",
    ),
    "norms first": (
        "relu", {"bn1": BN(8), "bn2": BN(8), "fc1": Lin(7, 8), "fc2": Lin(8, 8), "fc3": Lin(8, 1)},
        "fc1 * bn1 fc2 * bn2 fc3",
    ),
    "output defined first": (
        "relu", {"out": Lin(8, 1), "hidden1": Lin(9, 8), "hidden0": Lin(7, 9)},
        "hidden0 * hidden1 * out",
    ),
    "layer norm": ("relu-ln", {"a": Lin(7, 8), "norm": LN(8), "b": Lin(8, 1)}, "a * norm b"),
    "norm without weights": (
        "relu", {"a": Lin(7, 8), "bn": BN(8, affine=False), "b": Lin(8, 1)}, "a * bn b"
    ),
    "name of the activations taken": (
        "relu", {"activations": Lin(7, 8), "b": Lin(8, 1)}, "activations * b"
    ),
    "two outputs": ("relu", {"a": Lin(7, 8), "b": Lin(8, 2)}, "a * b"),
}  # fmt: skip


def original(layers: Mapping[str, nn.Module], order: str) -> nn.Module:
    return trained(Chain(layers, order))


@pytest.mark.parametrize(("words", "layers", "order"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_computes_what_the_original_does(
    words: str, layers: Mapping[str, nn.Module], order: str, suffix: str, tmp_path: Path
) -> None:
    model = original(layers, order)
    path = tmp_path / f"model.{suffix}"
    state = model.state_dict()
    if suffix == "pt":
        torch.save(state, path)
    else:
        save_file(state, path)
    checkpoint = checkpoints.read(path, arch=f"mlp:{words}")
    assert checkpoint.module is not None
    assert torch.allclose(checkpoint.module(rows()), model(rows()), atol=1e-6)
    found = checkpoint.module.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    if suffix == "pt":
        assert list(found) == list(state)


ACTIVATIONS: dict[str, nn.Module] = {
    "relu6": nn.ReLU6(),
    "leaky_relu": nn.LeakyReLU(),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "softplus": nn.Softplus(),
}


@pytest.mark.parametrize(("name", "activation"), ACTIVATIONS.items(), ids=ACTIVATIONS.keys())
@pytest.mark.parametrize("words", ["{}-bn", "bn-{}", "{}"])
def test_activations(name: str, activation: nn.Module, words: str, tmp_path: Path) -> None:
    layers = {"a": Lin(7, 16), "bn": BN(16), "b": Lin(16, 1)}
    order = "a bn * b" if words.startswith("bn") else "a * bn b"
    model = trained(Chain(layers, order, activation))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    arch = "mlp:" + words.format(name)
    if words == "{}" and name not in ("relu6", "sigmoid", "softplus"):
        with pytest.raises(UsageError, match=f"mlp:{name}-bn .*mlp:bn-{name}"):
            checkpoints.read(tmp_path / "model.pt", arch=arch)
        return
    module = checkpoints.read(tmp_path / "model.pt", arch=arch).module
    assert module is not None
    assert torch.allclose(module(rows()), model(rows()), atol=1e-6)


def notes(state: Mapping[str, Tensor], folder: Path, arch: str = "mlp:relu") -> str:
    torch.save(dict(state), folder / "model.pt")
    return "\n".join(checkpoints.read(folder / "model.pt", arch=arch).notes)


def test_says_what_it_inferred(tmp_path: Path) -> None:
    text = notes(trained(Tabular()).state_dict(), tmp_path)
    assert "3 Linear layers (7 -> 6 x2 -> 1), relu after each but the last" in text
    assert "BatchNorm was placed after relu: none of 12 running means is negative" in text
    assert "read as a logit" in text


def test_says_why_it_placed_the_norm_before(tmp_path: Path) -> None:
    model = trained(Chain({"a": Lin(7, 16), "bn": BN(16), "b": Lin(16, 1)}, "a bn * b"))
    negative = int((model.state_dict()["bn.running_mean"] < 0).sum())
    assert 0 < negative < 16
    text = notes(model.state_dict(), tmp_path)
    assert f"placed before relu: {negative} of 16 running means are negative" in text


@pytest.mark.parametrize("width", [6, 7])
def test_few_means_prove_nothing(width: int, tmp_path: Path) -> None:
    layers = {"a": Lin(7, width), "bn": BN(width), "b": Lin(width, 1)}
    state = trained(Chain(layers, "a * bn b")).state_dict()
    if width == 7:
        assert "after relu" in notes(state, tmp_path)
    else:
        with pytest.raises(
            UsageError, match="do not show whether normalization comes before or after relu"
        ):
            notes(state, tmp_path)


def test_untrained_statistics_prove_nothing(tmp_path: Path) -> None:
    state = Chain({"a": Lin(7, 16), "bn": BN(16), "b": Lin(16, 1)}, "a * bn b").state_dict()
    with pytest.raises(UsageError, match="do not show whether normalization comes before or after"):
        notes(state, tmp_path)


def test_layer_norm_leaves_no_statistics(tmp_path: Path) -> None:
    state = Chain({"a": Lin(7, 16), "ln": LN(16), "b": Lin(16, 1)}, "a * ln b").state_dict()
    with pytest.raises(UsageError, match="do not show whether normalization comes before or after"):
        notes(state, tmp_path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("rleu", r"not mlp:rleu; did you mean 'relu'\?$"),
        ("", "not mlp:; the activations are relu, "),
        ("bn", "not mlp:bn; the activations are relu, "),
        ("relu-bn-relu", "not mlp:relu-bn-relu"),
        ("relu-gelu", "not mlp:relu-gelu"),
        ("bn-bn", "not mlp:bn-bn; the activations are relu, "),
    ],
)
def test_words_not_understood(words: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=sentence):
        notes(Tabular().state_dict(), tmp_path, f"mlp:{words}")


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3)), r"'0' is neither \(weight \[2, 1, 3, 3\], bias"),
        (nn.Sequential(nn.PReLU(4), nn.Linear(4, 1)), r"'0' is neither \(weight \[4\]\)"),
        (nn.Sequential(nn.BatchNorm1d(3)), "belongs to a Linear layer"),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 1)), "no order fits"),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1), nn.BatchNorm1d(1)), "each normalization"),
        (nn.LSTM(3, 4), "is neither"),
    ],
)
def test_other_networks(state: nn.Module, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=sentence) as caught:
        notes(state.state_dict(), tmp_path)
    assert re.search("--arch file.py:Class", str(caught.value))


def test_order_that_names_and_shapes_do_not_tell(tmp_path: Path) -> None:
    layers = {"enter": Lin(7, 7), "middle": Lin(7, 7), "out": Lin(7, 1)}
    path = tmp_path / "model.safetensors"
    save_file(Chain(layers, "").state_dict(), path)
    with pytest.raises(CheckpointError, match="several orders fit"):
        checkpoints.read(path, arch="mlp:relu")


def test_norms_that_names_and_shapes_do_not_place(tmp_path: Path) -> None:
    layers = {
        "fc0": Lin(7, 8),
        "fcs": nn.ModuleList(linear(8, 8, 8)),
        "bns": nn.ModuleList([BN(8), BN(8)]),
        "last_sorted": BN(8),
        "out": Lin(8, 1),
    }
    path = tmp_path / "model.safetensors"
    save_file(Chain(layers, "").state_dict(), path)
    with pytest.raises(CheckpointError, match="which layer each normalization follows"):
        checkpoints.read(path, arch="mlp:relu-bn")


def test_norm_of_input_and_hidden_of_one_width(tmp_path: Path) -> None:
    layers = {"bn_in": BN(7), "fc1": Lin(7, 7), "bn1": BN(7), "fc2": Lin(7, 7), "fc3": Lin(7, 1)}
    model = trained(Chain(layers, "bn_in fc1 * bn1 fc2 * fc3"))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    module = checkpoints.read(tmp_path / "model.pt", arch="mlp:relu-bn").module
    assert module is not None
    assert torch.allclose(module(rows()), model(rows()), atol=1e-6)


def test_a_linear_layer_on_its_own(tmp_path: Path) -> None:
    layer = nn.Linear(7, 1)
    torch.save(layer.state_dict(), tmp_path / "model.pt")
    module = checkpoints.read(tmp_path / "model.pt", arch="mlp:relu").module
    assert module is not None
    assert torch.equal(module(rows()), layer(rows()))


def test_takes_no_arguments(tmp_path: Path) -> None:
    torch.save(Tied().state_dict(), tmp_path / "model.pt")
    with pytest.raises(UsageError, match="not mlp:ACTIVATION"):
        checkpoints.read(tmp_path / "model.pt", arch="mlp:relu", arch_args={"width": 3})
