"""State dictionaries and training dictionaries, against torch.load as the judge."""

from __future__ import annotations

import argparse
import collections
import datetime
import hashlib
import pathlib
import pickle
import struct
import types
import warnings
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fairfix.errors import CheckpointError, TrustError
from fairfix.models import checkpoint as checkpoints
from tests.helpers import checkpoint_models
from tests.helpers.checkpoint_models import (
    ARCH,
    FEATURES,
    Tabular,
    Tied,
    exchange,
    plain_layers,
    rows,
    trained,
)

TIED = f"{checkpoint_models.__file__}:Tied"


def saved(content: Any, folder: Path, **options: Any) -> Path:
    path = folder / "model.pt"
    torch.save(content, path, **options)
    return path


def doubled(checkpoint: checkpoints.Checkpoint) -> dict[str, Tensor]:
    return {n: t * 2 if t.is_floating_point() else t for n, t in checkpoint.tensors.items()}


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.model."])
@pytest.mark.parametrize("arch", [ARCH["arch"], "mlp:relu-bn", None])
def test_prefixes_are_taken_off_and_put_back(prefix: str, arch: str | None, tmp_path: Path) -> None:
    state = trained(Tabular()).state_dict()
    path = saved({prefix + name: tensor for name, tensor in state.items()}, tmp_path)
    checkpoint = checkpoints.read(path, arch=arch)
    assert checkpoint.tensors.keys() == state.keys()
    assert any(f"{prefix}fc0.weight is called fc0.weight" in note for note in checkpoint.notes)
    checkpoints.write(checkpoint, doubled(checkpoint), tmp_path / "out.pt")
    after = torch.load(tmp_path / "out.pt", weights_only=True)
    assert list(after) == [prefix + name for name in state]
    assert torch.equal(after[prefix + "out.bias"], state["out.bias"] * 2)


class Wrapped(nn.Module):
    """A network whose own names begin with ``model.``, as wrappers' do."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Linear(FEATURES, 1))


def test_a_prefix_that_is_the_networks_own_stays(tmp_path: Path) -> None:
    path = saved({f"module.{n}": t for n, t in Wrapped().state_dict().items()}, tmp_path)
    checkpoint = checkpoints.read(path, arch=f"{__file__}:Wrapped")
    assert list(checkpoint.tensors) == ["model.0.weight", "model.0.bias"]


def test_compiled_part_inside_a_network(tmp_path: Path) -> None:
    state = {n.replace("fcs.", "fcs._orig_mod."): t for n, t in Tabular().state_dict().items()}
    checkpoint = checkpoints.read(saved(state, tmp_path), **ARCH)
    assert checkpoint.tensors.keys() == Tabular().state_dict().keys()


@pytest.mark.parametrize(
    "key", ["state_dict", "model_state_dict", "model", "net", "network", "my_very_own"]
)
def test_weights_are_found_in_a_training_dictionary(key: str, tmp_path: Path) -> None:
    content = {"epoch": 7, "best": 0.5, key: trained(Tabular()).state_dict(), "tags": ["a"]}
    checkpoint = checkpoints.read(saved(content, tmp_path), **ARCH)
    assert key in checkpoint.title
    assert checkpoint.metadata == {"epoch": 7, "best": 0.5}


def test_weights_two_levels_deep(tmp_path: Path) -> None:
    path = saved({"checkpoint": {"model": trained(Tabular()).state_dict()}}, tmp_path)
    assert "'checkpoint.model'" in checkpoints.read(path, **ARCH).title


def test_two_networks_are_not_guessed_between(tmp_path: Path) -> None:
    state = Tabular().state_dict()
    path = saved({"generator": state, "critic": state, "step": 1}, tmp_path)
    with pytest.raises(CheckpointError, match=r"'generator', 'critic'; keys in the file.*step"):
        checkpoints.read(path)


def test_a_network_is_preferred_to_a_stray_tensor(tmp_path: Path) -> None:
    path = saved({"pos_weight": torch.ones(1), "model": Tabular().state_dict()}, tmp_path)
    assert checkpoints.read(path, **ARCH).tensors.keys() == Tabular().state_dict().keys()


def test_what_an_optimizer_remembers_is_no_network(tmp_path: Path) -> None:
    content = {"optimizer": {"momentum": torch.ones(3)}, "mine": Tabular().state_dict()}
    checkpoint = checkpoints.read(saved(content, tmp_path), **ARCH)
    assert "'mine'" in checkpoint.title


def test_a_whole_network_in_a_training_dictionary(tmp_path: Path) -> None:
    path = saved({"model": trained(Tabular()), "epoch": 1}, tmp_path)
    checkpoint = checkpoints.read(path, **ARCH)
    assert checkpoint.module is not None
    assert torch.equal(checkpoint.module(rows()), trained(Tabular())(rows()))
    checkpoints.write(checkpoint, doubled(checkpoint), tmp_path / "out.pt")
    after = torch.load(tmp_path / "out.pt", weights_only=False)["model"]
    assert torch.equal(after.out.bias, trained(Tabular()).out.bias * 2)


@pytest.mark.parametrize("key", ["model", "ema"])
def test_a_whole_network_in_a_training_dictionary_by_trust(key: str, tmp_path: Path) -> None:
    path = saved({key: trained(Tabular()), "epoch": 1, "other": None}, tmp_path)
    with pytest.raises(TrustError, match=r"needs .*Tabular.*--trust-checkpoint"):
        checkpoints.read(path)
    checkpoint = checkpoints.read(path, trust=True)
    assert isinstance(checkpoint.module, Tabular)
    assert torch.equal(checkpoint.module(rows()), trained(Tabular())(rows()))
    assert "pickled network" in checkpoint.title
    checkpoints.write(checkpoint, doubled(checkpoint), tmp_path / "out.pt")
    after = torch.load(tmp_path / "out.pt", weights_only=False)[key]
    assert torch.equal(after.out.bias, trained(Tabular()).out.bias * 2)


def test_a_dictionary_of_torch_layers_needs_no_trust(tmp_path: Path) -> None:
    path = saved({"nested": [{"net": trained(plain_layers())}]}, tmp_path)
    module = checkpoints.read(path).module
    assert module is not None
    assert torch.equal(module(rows()), trained(plain_layers())(rows()))


def test_two_whole_networks_are_refused_until_one_is_chosen(tmp_path: Path) -> None:
    other = trained(plain_layers())
    with torch.no_grad():
        next(other.parameters()).add_(1)
    path = saved({"model": trained(plain_layers()), "ema": other}, tmp_path)
    with pytest.raises(CheckpointError, match="under 'model', 'ema'"):
        checkpoints.read(path)
    module = checkpoints.read(path, checkpoint_key="ema").module
    assert module is not None
    assert torch.equal(module(rows()), other(rows()))


class Custom:
    """A class that the reader of a file does not have."""

    def __init__(self) -> None:
        self.values = [1, 2]


def quantized() -> Tensor:
    with warnings.catch_warnings():  # torch is about to drop such tensors; old files hold them
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)


EXTRAS = {
    "numpy scalar": np.float64(0.25),
    "numpy array": np.arange(3),
    "namespace": argparse.Namespace(lr=0.1),
    "simple namespace": types.SimpleNamespace(a=1),
    "path": pathlib.PurePosixPath("/a/b"),
    "time": datetime.datetime(2024, 1, 2),
    "default dictionary": collections.defaultdict(list, {"a": [1]}),
    "deque": collections.deque([1, 2]),
    "counter": collections.Counter("aab"),
    "set": {1, 2},
    "frozenset": frozenset({3}),
    "range": range(3),
    "slice": slice(1, 2),
    "complex": 1 + 2j,
    "bytes": b"ab",
    "own class": Custom(),
    "sparse": torch.eye(2).to_sparse(),
    "quantized": quantized(),
    "version": torch.__version__,
    "device": torch.device("cpu"),
    "dtype": torch.bfloat16,
}


@pytest.mark.filterwarnings("ignore:TypedStorage")
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_extras_of_any_kind_come_through_untouched(legacy: bool, tmp_path: Path) -> None:
    model = trained(Tabular())
    optimizer = torch.optim.Adam(model.parameters())
    model(rows()).sum().backward()
    optimizer.step()
    content = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "x": EXTRAS}
    path = saved(content, tmp_path, _use_new_zipfile_serialization=not legacy)
    checkpoint = checkpoints.read(path, **ARCH)
    checkpoints.write(checkpoint, doubled(checkpoint), tmp_path / "out.pt")
    before, after = (torch.load(p, weights_only=False) for p in (path, tmp_path / "out.pt"))
    assert list(after) == ["model", "optimizer", "x"]
    assert torch.equal(after["model"]["fc0.weight"], before["model"]["fc0.weight"] * 2)
    for index, moments in before["optimizer"]["state"].items():
        assert all(torch.equal(moments[n], after["optimizer"]["state"][index][n]) for n in moments)
    assert after["x"].keys() == EXTRAS.keys()
    assert after["x"]["own class"].values == [1, 2]
    assert after["x"]["default dictionary"] == EXTRAS["default dictionary"]
    assert np.array_equal(after["x"]["numpy array"], np.arange(3))
    assert torch.equal(after["x"]["quantized"].int_repr(), EXTRAS["quantized"].int_repr())


def test_everything_but_the_numbers_is_the_same_bytes(tmp_path: Path) -> None:
    path = saved({"model": trained(Tabular()).state_dict(), "epoch": 2}, tmp_path)
    checkpoint = checkpoints.read(path, **ARCH)
    state = {n: t.clone() for n, t in checkpoint.tensors.items()}
    state["out.bias"] += 1
    checkpoints.write(checkpoint, state, tmp_path / "out.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "out.pt") as new:
        assert new.testzip() is None
        assert old.namelist() == new.namelist()
        differ = [name for name in old.namelist() if old.read(name) != new.read(name)]
    (number,) = [n for n in differ if "serialization_id" not in n]
    assert number.startswith("model/data/")


def test_state_dict_metadata_is_kept(tmp_path: Path) -> None:
    path = saved(trained(Tabular()).state_dict(), tmp_path)
    checkpoint = checkpoints.read(path, **ARCH)
    checkpoints.write(checkpoint, doubled(checkpoint), tmp_path / "out.pt")
    before, after = (torch.load(p, weights_only=True) for p in (path, tmp_path / "out.pt"))
    assert before._metadata == after._metadata


def test_memory_mapped_and_aligned_as_torch_writes_it(tmp_path: Path) -> None:
    checkpoint = checkpoints.read(saved(trained(Tabular()).state_dict(), tmp_path), **ARCH)
    checkpoints.write(checkpoint, doubled(checkpoint), tmp_path / "out.pt")
    mapped = torch.load(tmp_path / "out.pt", mmap=True, weights_only=True)
    assert all(tensor.data_ptr() % 64 == 0 for tensor in mapped.values() if tensor.ndim)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_number_types_are_searched_in_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = plain_layers().to(dtype).state_dict()
    state["0.weight"] = torch.randn(6, FEATURES, dtype=torch.float64).to(dtype)
    checkpoint = checkpoints.read(saved(state, tmp_path), arch="mlp:relu-bn")
    assert checkpoint.module is not None
    assert checkpoint.module.state_dict()["0.weight"].dtype == torch.float32
    assert checkpoint.tensors["0.weight"].dtype == dtype
    new = {n: t.clone() for n, t in checkpoint.module.state_dict().items()}
    new["0.weight"][0] = 1 / 3
    rounded = checkpoints.stored_state(checkpoint, new)
    checkpoints.write(checkpoint, new, tmp_path / "out.pt")
    after = torch.load(tmp_path / "out.pt", weights_only=True)
    assert after["0.weight"].dtype == dtype
    assert torch.equal(after["0.weight"], rounded["0.weight"])
    assert torch.equal(after["0.weight"][0], torch.full((FEATURES,), 1 / 3).to(dtype))
    assert torch.equal(after["0.weight"][1:], state["0.weight"][1:])  # to the last float64 digit


def test_numbers_too_large_for_the_stored_type(tmp_path: Path) -> None:
    checkpoint = checkpoints.read(saved(plain_layers().half().state_dict(), tmp_path))
    state = {n: t.float() for n, t in checkpoint.tensors.items()}
    state["0.weight"][0, 0] = 1e6
    message = r"'0\.weight' has .* too large values for its stored dtype, torch\.float16"
    with pytest.raises(CheckpointError, match=message):
        checkpoints.write(checkpoint, state, tmp_path / "out.pt")
    assert not (tmp_path / "out.pt").exists()


def test_tied_tensors_stay_one(tmp_path: Path) -> None:
    model = trained(Tied())
    path = saved(model.state_dict(), tmp_path)
    checkpoint = checkpoints.read(path, arch=TIED)
    assert isinstance(checkpoint.module, nn.Module)
    first, second = (checkpoint.module.get_parameter(f"{n}.weight") for n in ("first", "second"))
    assert first is second
    checkpoints.write(checkpoint, doubled(checkpoint), tmp_path / "out.pt")
    after = torch.load(tmp_path / "out.pt", weights_only=True)
    assert torch.equal(after["second.weight"], model.first.weight * 2)
    assert after["first.weight"].data_ptr() == after["second.weight"].data_ptr()


def test_tied_tensors_cannot_part(tmp_path: Path) -> None:
    checkpoint = checkpoints.read(saved(trained(Tied()).state_dict(), tmp_path), arch=TIED)
    state = {n: t.clone() for n, t in checkpoint.tensors.items()}
    state["first.weight"] += 1
    with pytest.raises(CheckpointError, match="share their storage"):
        checkpoints.write(checkpoint, state, tmp_path / "out.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_views_of_one_flat_tensor(legacy: bool, tmp_path: Path) -> None:
    flat = torch.arange(10.0)
    state = {"0.weight": flat[2:8].view(3, 2).t(), "0.bias": flat[:2]}
    path = saved(state, tmp_path, _use_new_zipfile_serialization=not legacy)
    checkpoint = checkpoints.read(path)
    assert torch.equal(checkpoint.tensors["0.weight"], state["0.weight"])
    checkpoints.write(checkpoint, doubled(checkpoint), tmp_path / "out.pt")
    after = torch.load(tmp_path / "out.pt", weights_only=True)
    assert torch.equal(after["0.weight"], state["0.weight"] * 2)
    assert after["0.weight"].stride() == (1, 2)
    assert torch.equal(after["0.bias"], torch.tensor([0.0, 2.0]))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.uint16, torch.int8, torch.bool])
def test_tensors_of_rare_types_are_read(dtype: torch.dtype, tmp_path: Path) -> None:
    state = {"fc.weight": torch.ones(2, 3), "extra": torch.tensor([0, 1, 1]).to(dtype)}
    found = checkpoints.read(saved(state, tmp_path)).tensors["extra"]
    assert found.dtype == dtype
    assert found.float().tolist() == [0, 1, 1]


class Part:
    """A tensor that reads a view of a storage, as only very old files hold them."""

    def __reduce__(self) -> tuple[Any, ...]:
        view = torch.FloatStorage(4)
        rebuild = torch._utils._rebuild_tensor_v2  # type: ignore[attr-defined]
        return rebuild, (view, 1, (3,), (1,), False, collections.OrderedDict())


class ViewPickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> tuple[Any, ...] | None:
        if not isinstance(obj, torch.storage.TypedStorage):
            return None
        return "storage", torch.FloatStorage, "7", "cpu", 6, ("7 view", 2, 4)


@pytest.mark.filterwarnings("ignore:TypedStorage")
def test_views_of_storages_in_very_old_files(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with path.open("wb") as file:
        for head in (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {}):
            pickle.dump(head, file, protocol=2)
        ViewPickler(file, protocol=2).dump({"a": Part()})
        pickle.dump(["7"], file, protocol=2)
        file.write(struct.pack("<q6f", 6, *range(6)))
    assert torch.load(path, weights_only=True)["a"].tolist() == [3, 4, 5]
    checkpoint = checkpoints.read(path)
    assert checkpoint.tensors["a"].tolist() == [3, 4, 5]
    checkpoints.write(checkpoint, doubled(checkpoint), tmp_path / "out.pt")
    assert torch.load(tmp_path / "out.pt", weights_only=True)["a"].tolist() == [6, 8, 10]


def test_parameters_and_empty_tensors(tmp_path: Path) -> None:
    state = {"a": nn.Parameter(torch.ones(2)), "b": torch.zeros(0, 3), "c": torch.tensor(2.0)}
    checkpoint = checkpoints.read(saved(state, tmp_path))
    assert [tuple(t.shape) for t in checkpoint.tensors.values()] == [(2,), (0, 3), ()]
    checkpoints.write(checkpoint, doubled(checkpoint), tmp_path / "out.pt")
    assert torch.load(tmp_path / "out.pt", weights_only=True)["c"] == 4


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"a": torch.tensor([1.0, float("nan")])}, "tensor 'a' has NaN"),
        ({"a": torch.tensor([1.0, float("inf")])}, "tensor 'a' has NaN or infinite"),
        ({"a": torch.ones(2, dtype=torch.int8)}, "no floating-point weights, only torch.int8"),
        ({"a": torch.ones(2), "b": EXTRAS["quantized"]}, "'b' is of a kind.*qtensor"),
        ({"a": torch.ones(2), "b": (EXTRAS["quantized"], None)}, "'b' is of a kind.*qtensor"),
        ({"a": torch.ones(2), "b": EXTRAS["sparse"]}, "'b' is of a kind.*sparse"),
        ({"b": torch._neg_view(torch.ones(2)), "a": torch.ones(1)}, "'b' is of a kind.*lazy"),  # type: ignore[attr-defined]
        ({"a": torch.ones(1).expand(9)}, "'a' claims 9 elements where the file has 1"),
        ({"epoch": 3}, "candidates: none; keys in the file: epoch"),
        ({}, "candidates: none"),
        (torch.ones(3), "neither a state_dict nor a network: it is a tensor"),
        ([torch.ones(3)], "neither a state_dict nor a network: it is a list"),
        (Custom(), "it is a .*Custom"),
    ],
)
def test_what_cannot_be_changed_is_said(content: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        checkpoints.read(saved(content, tmp_path))


def test_misfit_names_what_is_missing_and_what_is_too_much(tmp_path: Path) -> None:
    state = trained(Tabular()).state_dict()
    state["head.weight"] = state.pop("out.weight")
    path = saved(state, tmp_path)
    with pytest.raises(
        CheckpointError, match=r"missing out\.weight; unexpected head\.weight\. Check --arch"
    ):
        checkpoints.read(path, **ARCH)


def test_misfit_names_shapes(tmp_path: Path) -> None:
    path = saved(trained(Tabular()).state_dict(), tmp_path)
    with pytest.raises(
        CheckpointError, match=r"fc0\.weight \(is \[6, 7\], expected \[9, 7\]\).* and 10 more"
    ):
        checkpoints.read(path, **ARCH, arch_args={"width": 9})


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int8, torch.bool])
@pytest.mark.parametrize("arch", [{"arch": "mlp:relu-bn"}, ARCH])
def test_weights_of_another_kind_of_number_do_not_fit(
    arch: dict[str, str], dtype: torch.dtype, tmp_path: Path
) -> None:
    """Loading would drop imaginary parts, or take the codes of a quantized network for weights."""
    model = trained(plain_layers() if "mlp" in arch["arch"] else Tabular())
    state = model.state_dict()
    name = next(name for name in state if name.endswith("weight"))
    state[name] = state[name].to(dtype)
    with pytest.raises(CheckpointError, match=f"of another type {name} .is {dtype}, expected"):
        checkpoints.read(saved(state, tmp_path), **arch)


def test_new_state_of_another_layout_is_refused(tmp_path: Path) -> None:
    checkpoint = checkpoints.read(saved(trained(Tabular()).state_dict(), tmp_path), **ARCH)
    state = dict(checkpoint.tensors)
    del state["out.bias"]
    with pytest.raises(CheckpointError, match=r"1 names, first in 'out\.bias'"):
        checkpoints.write(checkpoint, state, tmp_path / "out.pt")
    with pytest.raises(CheckpointError, match=r"shape \(1, 1\), but .* has shape \(1,\)"):
        checkpoints.stored_state(checkpoint, {**checkpoint.tensors, "out.bias": torch.ones(1, 1)})


def test_without_architecture_weights_can_still_be_rewritten(tmp_path: Path) -> None:
    path = saved(trained(Tabular()).state_dict(), tmp_path)
    checkpoint = checkpoints.read(path)
    assert checkpoint.module is None
    checkpoints.write(checkpoint, doubled(checkpoint), tmp_path / "out.pt")
    after = torch.load(tmp_path / "out.pt", weights_only=True)
    assert torch.equal(after["out.weight"], checkpoint.tensors["out.weight"] * 2)


def test_notes_tell_of_batchnorm(tmp_path: Path) -> None:
    path = saved(trained(Tabular()).state_dict(), tmp_path)
    assert any(
        "BatchNorm (2x) stays frozen" in note for note in checkpoints.read(path, **ARCH).notes
    )


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_weights_that_lay_on_a_gpu(legacy: bool, tmp_path: Path) -> None:
    path = saved({"a": torch.ones(2)}, tmp_path, _use_new_zipfile_serialization=not legacy)
    place = b"X\x03\0\0\0cpu"
    data = path.read_bytes()
    assert data.count(place) == 1
    if legacy:
        path.write_bytes(data.replace(place, b"X\x06\0\0\0cuda:3"))
    else:
        with zipfile.ZipFile(path) as archive:
            program = archive.read("model/data.pkl")
        exchange(path, "data.pkl", program.replace(place, b"X\x03\0\0\0xla"))
    checkpoint = checkpoints.read(path)
    assert checkpoint.tensors["a"].device.type == "cpu"
    checkpoints.write(checkpoint, doubled(checkpoint), tmp_path / "out.pt")
    assert checkpoints.read(tmp_path / "out.pt").tensors["a"].tolist() == [2, 2]
    assert (b"cuda:3" if legacy else b"xla") in (tmp_path / "out.pt").read_bytes()


class BatchStatistics(nn.Module):
    """BatchNorm that keeps no running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(FEATURES, track_running_stats=False)


def test_notes_tell_of_scores_that_depend_on_the_batch(tmp_path: Path) -> None:
    path = saved(BatchStatistics().state_dict(), tmp_path)
    (note,) = checkpoints.read(path, arch=f"{__file__}:BatchStatistics").notes
    assert "depends on the other rows" in note


class TestHash:
    """``weights_sha256`` depends on the weights and on nothing else."""

    STATE: ClassVar = {"b": torch.tensor([1.0, 2.0]), "a": torch.tensor([[3]])}

    def test_is_fixed_for_good(self) -> None:
        text = b"a\0int64\x001,1\0" + struct.pack("<q", 3)
        text += b"b\0float32\x002\0" + struct.pack("<2f", 1, 2)
        assert checkpoints.weights_sha256(self.STATE) == hashlib.sha256(text).hexdigest()

    def test_order_and_memory_layout_do_not_count(self) -> None:
        turned = dict(reversed(self.STATE.items()))
        turned["b"] = torch.tensor([1.0, 9.0, 2.0])[::2]
        assert checkpoints.weights_sha256(turned) == checkpoints.weights_sha256(self.STATE)

    @pytest.mark.parametrize(
        "change",
        [
            {"b": torch.tensor([1.0, 2.5])},
            {"b": torch.tensor([[1.0, 2.0]])},
            {"b": torch.tensor([1.0, 2.0], dtype=torch.float64)},
            {"c": torch.tensor([1.0, 2.0])},
        ],
    )
    def test_values_shapes_types_and_names_count(self, change: dict[str, Tensor]) -> None:
        other = {**self.STATE, **change}
        assert checkpoints.weights_sha256(other) != checkpoints.weights_sha256(self.STATE)
