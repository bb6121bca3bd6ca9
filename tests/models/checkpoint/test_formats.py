"""What holds for every format, each file made and read back by that format's own library."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fairfix.errors import CheckpointError, OutputError, VerificationError
from fairfix.models import checkpoint as checkpoints
from fairfix.models.checkpoint import Checkpoint
from tests.helpers.checkpoint_models import KINDS, Kind, rows

RULE = {"version": 1, "threshold": 0.37, "needs_group": False, "group": "Ä"}


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS.keys())
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture(scope="module")
def made(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kind.make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made.parent, tmp_path / "in")
    return tmp_path / "in" / made.name


def read(kind: Kind, path: Path) -> Checkpoint:
    return checkpoints.read(path, **kind.options)


def changed(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], str]:
    """The network's state with one unit of its second Linear layer silenced, and which tensor."""
    assert checkpoint.module is not None
    state = {name: t.detach().clone() for name, t in checkpoint.module.state_dict().items()}
    name = [name for name, tensor in state.items() if tensor.ndim == 2][1]
    state[name][0] = 0
    return state, name


def fingerprint(path: Path) -> dict[str, str]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_is_recognized_whatever_its_name(kind: Kind, path: Path) -> None:
    renamed = path.rename(path.with_name("strange.name"))
    assert checkpoints.detect(renamed) == kind.key
    assert read(kind, renamed).format == kind.key


def test_network_computes_what_the_original_does(kind: Kind, path: Path) -> None:
    module = read(kind, path).module
    assert module is not None
    assert torch.allclose(module(rows()), kind.original()(rows()), atol=1e-6)
    assert torch.equal(module(rows(1)), module(rows(1)))


def test_network_is_ready_to_be_searched(kind: Kind, path: Path) -> None:
    checkpoint = read(kind, path)
    module = checkpoint.module
    assert module is not None
    assert not any(part.training for part in module.modules())
    assert all(p.dtype == torch.float32 and p.requires_grad for p in module.parameters())
    assert module.state_dict().keys() == checkpoint.tensors.keys()
    linears = [part for part in module.modules() if isinstance(part, nn.Linear)]
    fired: list[nn.Module] = []
    hooks = [part.register_forward_hook(lambda m, *_: fired.append(m)) for part in linears]
    module(rows()).sum().backward()
    assert set(fired) == set(linears)
    assert len(linears) == sum(isinstance(part, nn.Linear) for part in kind.original().modules())
    assert all(p.grad is not None for p in module.parameters())
    for hook in hooks:
        hook.remove()


def test_only_what_was_changed_changes(kind: Kind, path: Path, tmp_path: Path) -> None:
    checkpoint = read(kind, path)
    before = kind.tensors(path)
    state, name = changed(checkpoint)
    output = tmp_path / path.name
    checkpoints.write(checkpoint, state, output)
    after = kind.tensors(output)
    assert list(before) == list(after)
    assert [before[n].dtype for n in before] == [after[n].dtype for n in before]
    differ = [n for n in before if not torch.equal(before[n], after[n])]
    assert differ == [checkpoint.stored_names[name]]
    assert torch.equal(after[differ[0]], state[name])


def test_written_network_decides_as_searched(kind: Kind, path: Path, tmp_path: Path) -> None:
    checkpoint = read(kind, path)
    state, _ = changed(checkpoint)
    output = tmp_path / "out.bin"
    checkpoints.write(checkpoint, state, output)
    assert checkpoint.module is not None
    checkpoint.module.load_state_dict(state)
    again = read(kind, output).module
    assert again is not None
    assert torch.equal(again(rows()), checkpoint.module(rows()))


def test_writes_the_same_bytes_every_time(kind: Kind, path: Path, tmp_path: Path) -> None:
    prints = []
    for run in ("a", "b"):
        checkpoint = read(kind, path)
        (tmp_path / run).mkdir()
        output = tmp_path / run / path.name
        checkpoints.write(checkpoint, changed(checkpoint)[0], output, rule=RULE)
        prints.append(fingerprint(output))
    assert prints[0] == prints[1]


def test_unchanged_weights_keep_their_hash(kind: Kind, path: Path, tmp_path: Path) -> None:
    checkpoint = read(kind, path)
    assert checkpoint.module is not None
    output = tmp_path / path.name
    checkpoints.write(checkpoint, checkpoint.module.state_dict(), output)
    assert checkpoints.weights_sha256(read(kind, output).tensors) == checkpoints.weights_sha256(
        checkpoint.tensors
    )


def test_carries_the_rule_where_it_can(kind: Kind, path: Path, tmp_path: Path) -> None:
    checkpoint = read(kind, path)
    assert checkpoint.rule is None
    first, second, third = (tmp_path / name for name in ("1", "2", "3"))
    checkpoints.write(checkpoint, checkpoint.tensors, first, rule=RULE)
    again = read(kind, first)
    if kind.rule is None:
        assert again.rule is None
        return
    assert again.rule == RULE
    text = kind.rule(first)
    assert text is not None
    assert json.loads(text) == RULE
    checkpoints.write(again, again.tensors, second, rule={"threshold": 0.5})
    assert read(kind, second).rule == {"threshold": 0.5}
    checkpoints.write(again, again.tensors, third)
    assert read(kind, third).rule is None
    assert kind.rule(third) is None


def test_input_is_left_alone(kind: Kind, path: Path, tmp_path: Path) -> None:
    before = fingerprint(path)
    checkpoint = read(kind, path)
    checkpoints.write(checkpoint, changed(checkpoint)[0], tmp_path / "out", rule=RULE)
    assert fingerprint(path) == before
    assert {p.name for p in tmp_path.iterdir()} == {"in", "out"}


def test_never_overwrites_the_input(kind: Kind, path: Path) -> None:
    checkpoint = read(kind, path)
    before = fingerprint(path)
    with pytest.raises(OutputError, match="is an input and is never overwritten"):
        checkpoints.write(checkpoint, checkpoint.tensors, path, force=True)
    assert fingerprint(path) == before


def test_replaces_only_when_forced(kind: Kind, path: Path, tmp_path: Path) -> None:
    checkpoint = read(kind, path)
    output = tmp_path / "out"
    checkpoints.write(checkpoint, checkpoint.tensors, output)
    before = fingerprint(output)
    state, _ = changed(checkpoint)
    with pytest.raises(OutputError, match=r"exists; .*--force"):
        checkpoints.write(checkpoint, state, output)
    assert fingerprint(output) == before
    checkpoints.write(checkpoint, state, output, force=True)
    assert fingerprint(output) != before
    assert {p.name for p in tmp_path.iterdir()} == {"in", "out"}


@pytest.mark.parametrize(
    "spoil", [lambda t: t + 1, lambda t: t.double(), lambda t: t[None], lambda t: -t.abs() * 0]
)
def test_a_wrong_file_never_takes_its_place(
    spoil: Callable[[Tensor], Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "model.pt")
    checkpoint = checkpoints.read(tmp_path / "model.pt")
    form = checkpoints.read_write.FORMATS[checkpoint.format]
    monkeypatch.setattr(form, "read_back", lambda *_: {"a": spoil(torch.zeros(2))})
    with pytest.raises(VerificationError, match="changed 'a'; nothing was written"):
        checkpoints.write(checkpoint, checkpoint.tensors, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


def test_a_model_that_changed_meanwhile_is_not_mixed(
    kind: Kind, path: Path, tmp_path: Path
) -> None:
    checkpoint = read(kind, path)
    file = next(path.iterdir()) if path.is_dir() else path
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(CheckpointError, match="has changed since it was read"):
        checkpoints.write(checkpoint, checkpoint.tensors, tmp_path / "out")


def test_leaves_the_random_state_alone(kind: Kind, path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    read(kind, path)
    assert torch.equal(torch.get_rng_state(), before)
