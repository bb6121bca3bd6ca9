"""Which tensors of a file are the network's: prefixes, copies, averages, losses, ambiguity."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fairfix.errors import CheckpointError, UsageError
from fairfix.models import checkpoint as checkpoints
from tests.helpers.checkpoint_models import FEATURES, rows

ARCHES = [f"{__file__}:Net", "mlp:relu"]
LIGHTNING = {"pytorch-lightning_version": "2.1.0"}
State = dict[str, Tensor]


class Net(nn.Sequential):
    """Three linear layers."""

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(FEATURES, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 1)
        )


class Wrapper(nn.Module):
    """Returns the first of two outputs of a network."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class SharedBody(nn.Module):
    """DataParallel around one part, as in old image networks."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(FEATURES, 6), nn.ReLU())
        self.head = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def state(seed: int, prefix: str = "", make: Callable[[], nn.Module] = Net) -> State:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {prefix + name: tensor for name, tensor in make().state_dict().items()}


def saved(content: Any, folder: Path) -> Path:
    path = folder / "model.pt"
    torch.save(content, path)
    return path


def outputs(seed: int) -> Tensor:
    network = Net()
    network.load_state_dict(state(seed))
    return network(rows())


def run(checkpoint: checkpoints.Checkpoint) -> Tensor:
    assert checkpoint.module is not None
    return checkpoint.module(rows())


def plus_one(checkpoint: checkpoints.Checkpoint) -> State:
    return {name: tensor + 1 for name, tensor in checkpoint.tensors.items()}


AVERAGED = {"n_averaged": torch.tensor(3), **state(1, "module.")}
ONE_NETWORK = {
    "plain": state(1),
    "Opacus": state(1, "_module."),
    "any prefix": state(1, "net."),
    "deep prefix": state(1, "_forward_module.module.model."),
    "average": AVERAGED,
    "average in a dictionary": {"epoch": 1, "swa": AVERAGED},
    "average with counters": {"initted": torch.tensor(True), "step": torch.tensor(9), **state(1)},
    "loss": {**state(1, "model."), "criterion.pos_weight": torch.tensor([2.0])},
    "scalar loss": {**state(1, "model."), "criterion.pos_weight": torch.tensor(2.0)},
    "loss of the network": {**state(1), "loss_fn.weight": torch.ones(2)},
    "class weights": {**state(1), "class_weights": torch.ones(2)},
    "metric": {**state(1), "val_acc.tp": torch.ones(2), "train_auroc.confmat": torch.ones(2, 2)},
    "Lightning loss": {
        **LIGHTNING,
        "state_dict": {**state(1, "model."), "criterion.pos_weight": torch.tensor(2.0)},
    },
    "deep dictionary": {"run": {"best": {"weights": {"net": state(1)}}}},
    "list": {"folds": [state(1)]},
    "optimizer": {"model": state(1), "optimizer": {"state": {"model": state(2)}}},
    "other network": {"model": state(1), "critic": state(2, make=SharedBody)},
}


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("content", ONE_NETWORK.values(), ids=ONE_NETWORK.keys())
def test_one_network_is_found_run_and_written_back(
    content: dict[str, Any], arch: str, tmp_path: Path
) -> None:
    checkpoint = checkpoints.read(saved(content, tmp_path), arch=arch)
    assert torch.equal(run(checkpoint), outputs(1))
    checkpoints.write(checkpoint, plus_one(checkpoint), tmp_path / "out.pt")
    again = checkpoints.read(tmp_path / "out.pt", arch=arch)
    assert all(torch.equal(again.tensors[n], t + 1) for n, t in checkpoint.tensors.items())


def test_tensors_that_are_not_the_networks_are_kept(tmp_path: Path) -> None:
    content = {**state(1, "model."), "criterion.pos_weight": torch.tensor([2.0])}
    checkpoint = checkpoints.read(saved(content, tmp_path), arch=ARCHES[0])
    assert any("not the network's stay as they are: 1" in note for note in checkpoint.notes)
    checkpoints.write(checkpoint, plus_one(checkpoint), tmp_path / "out.pt")
    after = torch.load(tmp_path / "out.pt", weights_only=True)
    assert after["criterion.pos_weight"].tolist() == [2]
    assert torch.equal(after["model.0.bias"], content["model.0.bias"] + 1)


TWO_NETWORKS = {
    "Lightning": {**LIGHTNING, "state_dict": {**state(1, "student."), **state(2, "teacher.")}},
    "prefixes": {**state(1, "student."), **state(2, "teacher.")},
    "average": {"state_dict": state(1), "teacher": state(2)},
    "unusual keys": {"generator": state(1), "teacher": state(2)},
    "wrapped": {"model": state(1, "module."), "teacher": state(2, "module.")},
}


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("content", TWO_NETWORKS.values(), ids=TWO_NETWORKS.keys())
def test_two_networks_are_refused_until_one_is_chosen(
    content: dict[str, Any], arch: str, tmp_path: Path
) -> None:
    path = saved(content, tmp_path)
    with pytest.raises(CheckpointError, match=r"teacher.*--checkpoint-key"):
        checkpoints.read(path, arch=arch)
    options: dict[str, Any] = {"arch": arch, "checkpoint_key": "teacher"}
    checkpoint = checkpoints.read(path, **options)
    assert torch.equal(run(checkpoint), outputs(2))
    checkpoints.write(checkpoint, plus_one(checkpoint), tmp_path / "out.pt")
    again = checkpoints.read(tmp_path / "out.pt", **options)
    assert all(torch.equal(again.tensors[n], t + 1) for n, t in checkpoint.tensors.items())


@pytest.mark.parametrize("arch", ARCHES)
def test_the_top_level_is_chosen_by_a_dot(arch: str, tmp_path: Path) -> None:
    path = saved({**state(1), "ema": state(2)}, tmp_path)
    with pytest.raises(CheckpointError, match=r"under '\.', 'ema'"):
        checkpoints.read(path, arch=arch)
    assert torch.equal(run(checkpoints.read(path, arch=arch, checkpoint_key=".")), outputs(1))


def test_two_networks_in_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({**state(1, "online."), **state(2, "target.")}, path)
    with pytest.raises(CheckpointError, match="under 'online', 'target'"):
        checkpoints.read(path, arch=ARCHES[0])
    checkpoint = checkpoints.read(path, arch=ARCHES[0], checkpoint_key="target")
    assert torch.equal(run(checkpoint), outputs(2))


def test_two_networks_without_an_architecture(tmp_path: Path) -> None:
    path = saved({"state_dict": state(1), "state_dict_ema": state(2)}, tmp_path)
    with pytest.raises(CheckpointError, match="under 'state_dict', 'state_dict_ema'"):
        checkpoints.read(path)
    chosen = checkpoints.read(path, checkpoint_key="state_dict_ema")
    assert torch.equal(chosen.tensors["0.weight"], state(2)["0.weight"])


@pytest.mark.parametrize("arch", [*ARCHES, None])
def test_equal_weights_under_two_names_are_one_network(arch: str | None, tmp_path: Path) -> None:
    path = saved({"model": state(1), "ema": state(1)}, tmp_path)
    checkpoint = checkpoints.read(path, arch=arch)
    assert any("same weights are also under 'ema'" in note for note in checkpoint.notes)
    checkpoints.write(checkpoint, plus_one(checkpoint), tmp_path / "out.pt")
    after = torch.load(tmp_path / "out.pt", weights_only=True)
    assert all(torch.equal(after["ema"][name], after["model"][name]) for name in state(1))
    assert torch.equal(after["ema"]["0.bias"], state(1)["0.bias"] + 1)


@pytest.mark.parametrize("key", ["teachr", "0"])
def test_a_key_without_tensors_is_named(key: str, tmp_path: Path) -> None:
    path = saved({**state(1, "student."), **state(2, "teacher.")}, tmp_path)
    with pytest.raises(UsageError, match=f"key {key} (names no|is ambiguous).*teacher"):
        checkpoints.read(path, arch=ARCHES[0], checkpoint_key=key)


def test_a_wrapper_class_adds_the_prefix_that_the_file_lacks(tmp_path: Path) -> None:
    checkpoint = checkpoints.read(saved(state(1), tmp_path), arch=f"{__file__}:Wrapper")
    assert torch.equal(run(checkpoint), outputs(1))
    assert any("lack the prefix net. of the architecture" in note for note in checkpoint.notes)
    checkpoints.write(checkpoint, plus_one(checkpoint), tmp_path / "out.pt")
    assert torch.load(tmp_path / "out.pt", weights_only=True).keys() == state(1).keys()


@pytest.mark.parametrize("inner", ["_fsdp_wrapped_module.", "_orig_mod.", "module."])
def test_wrappers_of_inner_modules(inner: str, tmp_path: Path) -> None:
    original = state(1, make=SharedBody)
    content = {name.replace("body.", f"body.{inner}"): t for name, t in original.items()}
    checkpoint = checkpoints.read(saved(content, tmp_path), arch=f"{__file__}:SharedBody")
    assert all(torch.equal(checkpoint.tensors[name], t) for name, t in original.items())


@pytest.mark.parametrize(
    "more",
    [
        {"6.weight": torch.ones(1, 2)},
        {"1.running_mean": torch.ones(6)},
        {"temperature": torch.ones(1)},  # would change the scores
        {"head.weight": torch.ones(1, 6)},
    ],
)
def test_a_network_of_more_parts_does_not_fit(more: State, tmp_path: Path) -> None:
    path = saved({**state(1), **more}, tmp_path)
    for arch in ARCHES:
        with pytest.raises(CheckpointError):
            checkpoints.read(path, arch=arch)


def test_one_layer_of_a_network_is_not_the_network(tmp_path: Path) -> None:
    arch = {"arch": "torch.nn:Linear", "arch_args": {"in_features": 6, "out_features": 1}}
    wrapper = f"{__file__}:OneLayer"
    with pytest.raises(CheckpointError, match="do not fit"):
        checkpoints.read(saved(state(1), tmp_path), arch=wrapper)
    chosen = checkpoints.read(tmp_path / "model.pt", **arch, checkpoint_key="4")  # type: ignore[arg-type]
    assert torch.equal(chosen.tensors["bias"], state(1)["4.bias"])


class OneLayer(nn.Sequential):
    """Its names without their common prefix are those of any linear layer."""

    def __init__(self) -> None:
        super().__init__(nn.Identity(), nn.Linear(6, 1))
