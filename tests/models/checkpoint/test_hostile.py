"""Files made to do harm: none may run code, exhaust memory, or fail without a sentence."""

from __future__ import annotations

import copy
import io
import os
import pickle
import random
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fairfix.errors import CheckpointError, FairfixError, TrustError
from fairfix.models import checkpoint as checkpoints
from tests.helpers.checkpoint_models import ARCH, KINDS, Tabular, exchange, plain_layers, trained

CODE = "code/__torch__/tests/helpers/checkpoint_models.py"


class Payload:
    """Makes a folder when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


class PayloadNet(nn.Module):
    """A network that makes a folder when unpickled."""

    def __init__(self, marker: Path) -> None:
        super().__init__()
        self.fc = nn.Linear(7, 1)
        self.hidden = Payload(marker)


def _with_payload(content: Callable[[Path], Any]) -> Callable[[Path, Path], Path]:
    def make(folder: Path, marker: Path) -> Path:
        torch.save(content(marker), folder / "model.pt")
        return folder / "model.pt"

    return make


def _in_sequential(marker: Path) -> nn.Module:
    model = plain_layers()
    model.note = Payload(marker)  # type: ignore[assignment]
    return model


def _legacy(folder: Path, marker: Path) -> Path:
    state = {**Tabular().state_dict(), "x": Payload(marker)}
    torch.save(state, folder / "model.pt", _use_new_zipfile_serialization=False)
    return folder / "model.pt"


def _script(folder: Path, marker: Path) -> Path:
    """TorchScript whose code writes a file when it runs, as ``torch.save`` in it would."""
    path = KINDS["scripted"].make(folder)
    return exchange(path, CODE, b"import os\nos.mkdir('" + bytes(marker) + b"')")


def _program(folder: Path, marker: Path) -> Path:
    """An exported program whose sample inputs are a pickle with a payload."""
    path = KINDS["exported"].make(folder)
    buffer = io.BytesIO()
    torch.save(Payload(marker), buffer)
    return exchange(path, "data/sample_inputs/model.pt", buffer.getvalue())


ENTRIES: dict[str, Callable[[Path, Path], Path]] = {
    "top": _with_payload(Payload),
    "state_dict": _with_payload(lambda m: {**Tabular().state_dict(), "x": Payload(m)}),
    "training": _with_payload(lambda m: {"model": Tabular().state_dict(), "args": Payload(m)}),
    "lightning": _with_payload(
        lambda m: {
            "pytorch-lightning_version": "2",
            "state_dict": Tabular().state_dict(),
            "callbacks": [Payload(m)],
        }
    ),
    "network": _with_payload(PayloadNet),
    "torch layers": _with_payload(_in_sequential),
    "legacy": _legacy,
    "script": _script,
    "program": _program,
}


@pytest.mark.parametrize("make", ENTRIES.values(), ids=ENTRIES.keys())
@pytest.mark.parametrize("arch", [None, ARCH["arch"], "mlp:relu"])
def test_no_payload_runs_without_trust(
    make: Callable[[Path, Path], Path], arch: str | None, tmp_path: Path
) -> None:
    marker = tmp_path / "harm"
    path = make(tmp_path, marker)
    try:
        checkpoint = checkpoints.read(path, arch=arch)
        checkpoints.write(checkpoint, checkpoint.tensors, tmp_path / "out.pt")
    except FairfixError:
        pass
    assert not marker.exists()


@pytest.mark.parametrize("make", [ENTRIES["network"], ENTRIES["torch layers"]])
def test_the_payload_is_real(make: Callable[[Path, Path], Path], tmp_path: Path) -> None:
    marker = tmp_path / "harm"
    path = make(tmp_path, marker)
    with pytest.raises(TrustError, match=r"needs .*(PayloadNet|mkdir).*--trust-checkpoint"):
        checkpoints.read(path)
    checkpoints.read(path, trust=True)
    assert marker.exists()


def test_unsafe_loading_forced_on_torch_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker = tmp_path / "harm"
    path = ENTRIES["training"](tmp_path, marker)
    assert checkpoints.read(path, **ARCH).module is not None
    assert not marker.exists()


@pytest.mark.parametrize("name", ["scripted", "traced", "exported"])
def test_programs_need_trust(name: str, tmp_path: Path) -> None:
    with pytest.raises(TrustError, match="--trust-checkpoint"):
        checkpoints.read(KINDS[name].make(tmp_path))


def test_compressed_numbers_are_refused_unread(tmp_path: Path) -> None:
    path = KINDS["state_dict"].make(tmp_path)
    exchange(path, "data/0", bytes(200 * 2**20), compress=True)
    assert path.stat().st_size < 2**20
    start = time.process_time()
    with pytest.raises(CheckpointError, match=r"compressed member \(data/0\)"):
        checkpoints.read(path)
    assert time.process_time() - start < 0.5


def test_compressed_code_beyond_measure_is_refused(tmp_path: Path) -> None:
    path = KINDS["scripted"].make(tmp_path)
    exchange(path, CODE, bytes(65 * 2**20), compress=True)
    with pytest.raises(CheckpointError, match=r"compressed member \(code/.*\.py\)"):
        checkpoints.read(path, trust=True)


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(50_000)}, path)
    with zipfile.ZipFile(path, "a") as archive:
        (stored,) = (info for info in archive.filelist if info.filename.endswith("data/0"))
        for number in range(1, 9):
            again = copy.copy(stored)
            again.filename = f"model/data/{number}"
            archive.filelist.append(again)
        archive.writestr("model/more", b"")
    with pytest.raises(CheckpointError, match=r"claims 18.* bytes of content but has 2"):
        checkpoints.read(path)


def _rewritten(path: Path, change: Callable[[zipfile.ZipFile, str, bytes], None]) -> Path:
    """The archive with its members written by ``change``."""
    with zipfile.ZipFile(path) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            change(archive, name, data)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("again", [str, str.upper, str.title])
def test_members_whose_names_repeat_are_refused(
    again: Callable[[str], str], tmp_path: Path
) -> None:
    def twice(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
        archive.writestr(name, data)
        if name.endswith("data/0"):
            root, _, rest = name.partition("/")
            archive.writestr(f"{root}/{again(rest)}", bytes(len(data)))

    path = _rewritten(KINDS["state_dict"].make(tmp_path), twice)
    with pytest.raises(CheckpointError, match=r"read in two ways: its member .* is there twice"):
        checkpoints.read(path, **ARCH)


@pytest.mark.parametrize(
    ("place", "value"), [(30, b"x"), (22, b"\1\0\0\0"), (14, b"\1\1\1\1"), (8, b"\x08")]
)
def test_headers_that_differ_from_the_directory_are_refused(
    place: int, value: bytes, tmp_path: Path
) -> None:
    path = _rewritten(
        KINDS["state_dict"].make(tmp_path), lambda archive, *member: archive.writestr(*member)
    )
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("model/data/0").header_offset
    data[start + place : start + place + len(value)] = value
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="'model/data/0' differs from its directory"):
        checkpoints.read(path, **ARCH)


def test_a_comment_that_could_hide_another_directory_is_refused(tmp_path: Path) -> None:
    path = KINDS["state_dict"].make(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"a note"
    with pytest.raises(CheckpointError, match="a comment"):
        checkpoints.read(path, **ARCH)


@pytest.mark.parametrize("name", ["state_dict", "lightning", "pickled network", "scripted"])
def test_a_flipped_bit_of_a_weight_is_found(name: str, tmp_path: Path) -> None:
    path = KINDS[name].make(tmp_path)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = next(i for i in archive.infolist() if i.filename.endswith("data/0"))
        place = data.index(archive.read(info), info.header_offset)
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"data/0' does not match its checksum\. Copy"):
        checkpoints.read(path, **KINDS[name].options)


class Huge:
    """A tensor of 4 TB that takes four bytes: every element is the same one."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __reduce__(self) -> tuple[Any, ...]:
        shape, stride = (2**20, 2**20), (0, 0)
        rebuild = torch._utils._rebuild_tensor_v2  # type: ignore[attr-defined]
        return rebuild, (self.tensor.storage(), 0, shape, stride, False, {})


@pytest.mark.filterwarnings("ignore:TypedStorage")
def test_tensor_larger_than_its_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"w": Huge(torch.ones(1))}, path)
    assert torch.load(path, weights_only=True)["w"].numel() == 2**40
    with pytest.raises(CheckpointError, match=f"'w' claims {2**40} elements .* has 1"):
        checkpoints.read(path)


class Endless:
    """Refers to itself."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Endless, (), {"_parameters": {}, "_buffers": {}, "_modules": {"again": self}}


def test_network_within_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(Endless(), path)
    with pytest.raises(CheckpointError, match="contains itself"):
        checkpoints.read(path)


def test_names_beyond_count_are_refused(tmp_path: Path) -> None:
    layer: nn.Module = nn.Linear(1, 1)
    for _ in range(20):  # 2 ** 20 paths to one Linear
        layer = nn.Sequential(layer, layer)
    path = tmp_path / "model.pt"
    torch.save(layer, path)
    with pytest.raises(CheckpointError, match="has over 100000 tensors"):
        checkpoints.read(path)


def _pickle(program: bytes, folder: Path) -> Path:
    torch.save({"a": torch.ones(2)}, folder / "model.pt")
    return exchange(folder / "model.pt", "data.pkl", program)


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b".",
        b"\x80\x02",
        b"\x80\x02(((((.",
        b"\x80\x02Nr\xff\xff\xff\xff.",  # a memo of 32 GB in C
        b"\x80\x02]h\x05.",
        b"\x80\x02ctorch\nFloatStorage\n}X\x05\x00\x00\x00dtypeNs\x86b.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NNNNNNtR.",
        b"\x80\x02Q.",
        b"\x80\x02K\x01Q.",
        b"\x80\x02}(K\x01K\x02u" * 3 + b".",
        b"\x80\x02cbuiltins\nset\n(](K\x01]eetR.",
    ],
)
def test_hostile_pickles_end_in_a_sentence(program: bytes, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        checkpoints.read(_pickle(program, tmp_path))


def test_state_for_what_is_no_object_is_dropped(tmp_path: Path) -> None:
    """A pickle that sets attributes on the reader's own pieces must not spoil the next file."""
    program = b"\x80\x02ctorch\nFloatStorage\n}X\x05\x00\x00\x00dtypeK\x01sb0}."
    with pytest.raises(CheckpointError, match="candidates: none"):
        checkpoints.read(_pickle(program, tmp_path))
    torch.save({"a": torch.ones(2)}, tmp_path / "next.pt")
    assert checkpoints.read(tmp_path / "next.pt").tensors["a"].dtype == torch.float32


@pytest.mark.parametrize(
    "name", ["state_dict", "legacy state_dict", "pickled network", "safetensors", "lightning"]
)
def test_damaged_files_end_in_a_sentence(name: str, tmp_path: Path) -> None:
    original = KINDS[name].make(tmp_path).read_bytes()
    chance = random.Random(0)
    outcomes = set()
    for _ in range(120):
        data = bytearray(original)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(data))
            if chance.random() < 0.7:
                data[place] = chance.randrange(256)
            else:
                del data[place : place + chance.randint(1, 20)]
        (tmp_path / "damaged").write_bytes(data)
        try:
            checkpoints.read(tmp_path / "damaged")
            outcomes.add("read")
        except FairfixError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("name", KINDS)
def test_files_cut_short_are_refused(name: str, tmp_path: Path) -> None:
    path = KINDS[name].make(tmp_path)
    if path.is_dir():
        path = path / "model.safetensors"
    data = path.read_bytes()
    for part in (0.2, 0.6, 0.99):
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(CheckpointError, match=r"truncated|damaged"):
            checkpoints.read(path, trust=True)


def _broken_script(folder: Path) -> Path:
    path = KINDS["scripted"].make(folder)
    return exchange(path, "data.pkl", pickle.dumps({"a": 1}, protocol=2))


def _broken_legacy(folder: Path) -> Path:
    path = folder / "model.pt"
    with path.open("wb") as file:
        for part in (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {}):
            pickle.dump(part, file, protocol=2)
        pickle.dump({"a": 1}, file, protocol=2)
        pickle.dump(7, file, protocol=2)
    return path


def _broken_layer(folder: Path) -> Path:
    model = plain_layers()
    model[0].__dict__["_parameters"] = {"weight": 3}
    torch.save(model, folder / "model.pt")
    return folder / "model.pt"


def _broken_rule(folder: Path) -> Path:
    path = folder / "model.pt"
    torch.save({**LIGHTNING, "fairfix": 7, "state_dict": {"a": torch.ones(1)}}, path)
    return path


@pytest.mark.parametrize("alignment", [b"", b"x", b"-1"])
def test_an_alignment_that_is_not_a_number_is_refused(alignment: bytes, tmp_path: Path) -> None:
    path = exchange(KINDS["state_dict"].make(tmp_path), ".storage_alignment", alignment)
    with pytest.raises(CheckpointError, match=r"'\.storage_alignment' is not a number"):
        checkpoints.read(path, **ARCH)


@pytest.mark.parametrize("alignment", [b"0", b"99999999"])
def test_an_impossible_alignment_is_not_used(alignment: bytes, tmp_path: Path) -> None:
    path = exchange(KINDS["state_dict"].make(tmp_path), ".storage_alignment", alignment)
    checkpoint = checkpoints.read(path, **ARCH)
    checkpoints.write(checkpoint, checkpoint.tensors, tmp_path / "out.pt")
    assert torch.load(tmp_path / "out.pt", weights_only=True).keys() == checkpoint.tensors.keys()


LIGHTNING = {"pytorch-lightning_version": "2"}


@pytest.mark.parametrize("make", [_broken_script, _broken_legacy, _broken_layer, _broken_rule])
def test_contents_of_another_kind_end_in_a_sentence(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"damaged|decision rule is not text"):
        checkpoints.read(make(tmp_path), trust=True)


def test_trained_weights_are_not_needed_to_know_the_class(tmp_path: Path) -> None:
    torch.save(trained(Tabular()), tmp_path / "model.pt")
    with pytest.raises(TrustError, match=r"needs tests\.helpers\.checkpoint_models\.Tabular"):
        checkpoints.read(tmp_path / "model.pt")


def test_missing_values_are_refused_even_where_no_weight_needs_them(tmp_path: Path) -> None:
    path = KINDS["lightning"].make(tmp_path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    storages = sorted(name for name in members if "/data/" in name)
    for dropped in (storages[0], storages[-1]):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                if name != dropped:
                    archive.writestr(name, content)
        with pytest.raises(CheckpointError, match="values of 1 tensors are missing"):
            checkpoints.read(path, **ARCH)


def test_a_directory_that_torch_refuses_is_refused(tmp_path: Path) -> None:
    path = exchange(KINDS["state_dict"].make(tmp_path), "version", b"3\n")
    assert checkpoints.read(path, **ARCH).module is not None
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x05\x06") + 5] ^= 0x40  # the number of this disk
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="torch cannot open it"):
        checkpoints.read(path, **ARCH)
