"""What is particular to pickled networks, safetensors, Lightning, folders, and the file system."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file, save_model
from torch import Tensor, nn

from fairfix.errors import CheckpointError, OutputError, TrustError, UsageError
from fairfix.models import checkpoint as checkpoints
from tests.helpers.checkpoint_models import (
    ARCH,
    FEATURES,
    KINDS,
    Tabular,
    Tied,
    plain_layers,
    rows,
    trained,
)

TIED = ARCH["arch"].replace("Tabular", "Tied")


def plus_one(checkpoint: checkpoints.Checkpoint) -> dict[str, Tensor]:
    return {n: t + 1 if t.is_floating_point() else t for n, t in checkpoint.tensors.items()}


class Shifty(nn.Linear):
    """Changes itself while it is unpickled."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        with torch.no_grad():
            self.bias += 1


class TestPickledNetwork:
    """``torch.save(model)``."""

    @pytest.mark.parametrize(
        "model",
        [
            plain_layers(),
            nn.Sequential(
                OrderedDict(a=nn.Linear(FEATURES, 4), b=nn.GELU("tanh"), c=nn.Linear(4, 1))
            ),
            nn.Sequential(nn.LayerNorm(FEATURES), nn.Linear(FEATURES, 3), nn.Softmax(dim=1)),
            nn.Sequential(nn.Unflatten(1, (1, FEATURES)), nn.Conv1d(1, 2, 3), nn.Flatten()),
            nn.Linear(FEATURES, 1),
            nn.Bilinear(2, 3, 1),
        ],
    )
    @pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
    def test_torch_layers_run_without_trust(
        self, model: nn.Module, legacy: bool, tmp_path: Path
    ) -> None:
        model.eval()
        torch.save(model, tmp_path / "model.pt", _use_new_zipfile_serialization=not legacy)
        module = checkpoints.read(tmp_path / "model.pt").module
        assert type(module) is type(model)
        assert repr(module) == repr(model)
        if not isinstance(model, nn.Bilinear):
            assert torch.equal(module(rows()), model(rows()))

    def test_data_parallel_is_taken_off(self, tmp_path: Path) -> None:
        model = trained(plain_layers())
        torch.save(nn.DataParallel(model), tmp_path / "model.pt")
        checkpoint = checkpoints.read(tmp_path / "model.pt")
        assert isinstance(checkpoint.module, nn.Sequential)
        assert torch.equal(checkpoint.module(rows()), model(rows()))
        checkpoints.write(checkpoint, plus_one(checkpoint), tmp_path / "out.pt")
        again = torch.load(tmp_path / "out.pt", weights_only=False)
        assert torch.equal(again.module[0].bias, model[0].bias + 1)

    def test_own_class_by_trust(self, tmp_path: Path) -> None:
        torch.save(trained(Tabular()), tmp_path / "model.pt")
        checkpoint = checkpoints.read(tmp_path / "model.pt", trust=True)
        assert isinstance(checkpoint.module, Tabular)
        assert checkpoint.metadata == {"class": "tests.helpers.checkpoint_models.Tabular"}
        checkpoints.write(checkpoint, plus_one(checkpoint), tmp_path / "out.pt")
        again = torch.load(tmp_path / "out.pt", weights_only=False)
        assert torch.equal(again.out.bias, trained(Tabular()).out.bias + 1)

    def test_own_class_by_architecture(self, tmp_path: Path) -> None:
        torch.save(trained(Tabular()), tmp_path / "model.pt")
        checkpoint = checkpoints.read(tmp_path / "model.pt", **ARCH)
        assert isinstance(checkpoint.module, nn.Module)
        assert torch.equal(checkpoint.module(rows()), trained(Tabular())(rows()))

    def test_functions_are_code_too(self, tmp_path: Path) -> None:
        torch.save(nn.TransformerEncoderLayer(4, 1, 4), tmp_path / "model.pt")
        with pytest.raises(TrustError, match=r"needs torch\.nn\.functional\.relu"):
            checkpoints.read(tmp_path / "model.pt")
        assert checkpoints.read(tmp_path / "model.pt", trust=True).module is not None

    @pytest.mark.parametrize("trust", [False, True])
    def test_class_of_the_script_that_saved_it(
        self, trust: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gone = type("Gone", (Tabular,), {"__module__": "__main__"})
        monkeypatch.setattr(sys.modules["__main__"], "Gone", gone, raising=False)
        torch.save(trained(gone()), tmp_path / "model.pt")
        monkeypatch.undo()
        with pytest.raises((TrustError, CheckpointError), match=r"--arch file\.py:Class"):
            checkpoints.read(tmp_path / "model.pt", trust=trust)
        assert checkpoints.read(tmp_path / "model.pt", **ARCH).module is not None

    def test_buffers_that_do_not_persist_are_no_weights(self, tmp_path: Path) -> None:
        model = plain_layers()
        model.register_buffer("passing", torch.ones(2), persistent=False)
        torch.save(model, tmp_path / "model.pt")
        checkpoint = checkpoints.read(tmp_path / "model.pt")
        assert "passing" not in checkpoint.tensors
        assert isinstance(checkpoint.module, nn.Module)
        assert torch.equal(checkpoint.module.get_buffer("passing"), torch.ones(2))

    def test_class_that_loads_as_something_else(self, tmp_path: Path) -> None:
        torch.save(Shifty(FEATURES, 1), tmp_path / "model.pt")
        with pytest.raises(
            CheckpointError, match="'bias' has other values when loaded than in the file"
        ):
            checkpoints.read(tmp_path / "model.pt", trust=True)

    def test_quantized_network_is_refused(self, tmp_path: Path) -> None:
        model = plain_layers()
        model.register_buffer("q", torch.ones(1).to_sparse())
        torch.save(model, tmp_path / "model.pt")
        with pytest.raises(CheckpointError, match="'q' is of a kind"):
            checkpoints.read(tmp_path / "model.pt")


class TestSafetensors:
    """Metadata, order and ties."""

    def test_metadata_and_order_are_kept(self, tmp_path: Path) -> None:
        path = KINDS["safetensors"].make(tmp_path)
        checkpoint = checkpoints.read(path, **ARCH)
        assert checkpoint.metadata == {"author": "us", "note": "ü", "z": "1"}
        checkpoints.write(checkpoint, plus_one(checkpoint), tmp_path / "out", rule={"a": 1})
        headers = []
        for file in (path, tmp_path / "out"):
            data = file.read_bytes()
            length = int.from_bytes(data[:8], "little")
            assert length % 8 == 0
            headers.append(json.loads(data[8 : 8 + length]))
        old, new = (header.pop("__metadata__") for header in headers)
        assert list(headers[0].items()) == list(headers[1].items())
        assert new == {**old, "fairfix": '{"a": 1}'}

    def test_file_without_metadata_gets_none(self, tmp_path: Path) -> None:
        save_file(trained(Tabular()).state_dict(), tmp_path / "model.safetensors")
        checkpoint = checkpoints.read(tmp_path / "model.safetensors", **ARCH)
        checkpoints.write(checkpoint, checkpoint.tensors, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == (tmp_path / "model.safetensors").read_bytes()

    def test_tied_weight_that_is_stored_once(self, tmp_path: Path) -> None:
        model = trained(Tied())
        save_model(model, str(tmp_path / "model.safetensors"))
        assert len(load_file(tmp_path / "model.safetensors")) == 5
        checkpoint = checkpoints.read(tmp_path / "model.safetensors", arch=TIED)
        assert isinstance(checkpoint.module, nn.Module)
        assert torch.equal(checkpoint.module(rows()), model(rows()))
        state = {n: t.clone() for n, t in checkpoint.module.state_dict().items()}
        state["first.weight"] += 1
        with pytest.raises(CheckpointError, match="is tied to another tensor"):
            checkpoints.write(checkpoint, state, tmp_path / "out")
        state["second.weight"] += 1
        checkpoints.write(checkpoint, state, tmp_path / "out")
        assert len(load_file(tmp_path / "out")) == 5
        again = checkpoints.read(tmp_path / "out", arch=TIED).tensors
        assert torch.equal(again["second.weight"], model.first.weight + 1)

    def test_missing_tensor_that_is_tied_to_none_is_missing(self, tmp_path: Path) -> None:
        state = trained(Tied()).state_dict()
        del state["second.bias"], state["second.weight"]
        save_file(state, tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match=r"missing second\.bias\. Check"):
            checkpoints.read(tmp_path / "model.safetensors", arch=TIED)

    @pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1, "a": 2}', '{"a": NaN}'])
    def test_rule_that_is_none(self, text: str, tmp_path: Path) -> None:
        save_file({"a": torch.ones(1)}, tmp_path / "m", {"fairfix": text})
        with pytest.raises(CheckpointError, match=r"its decision rule.* (is not|twice|NaN)"):
            checkpoints.read(tmp_path / "m")


class TestLightning:
    """A LightningModule's checkpoint."""

    def test_network_within_it_or_the_whole(self, tmp_path: Path) -> None:
        path = KINDS["lightning"].make(tmp_path)
        checkpoint = checkpoints.read(path, **ARCH)
        assert checkpoint.title == "PyTorch Lightning 2.6.6 checkpoint"
        assert checkpoint.metadata["hyper_parameters"] == {"lr": 0.1}
        assert "loss.pos_weight" not in checkpoint.stored_names.values()
        assert any("stay as they are: 1" in note for note in checkpoint.notes)
        (tmp_path / "lit.py").write_text(
            "from torch import nn, ones\n"
            "from tests.helpers.checkpoint_models import Tabular\n"
            "class Lit(nn.Module):\n"
            "    def __init__(self):\n"
            "        super().__init__()\n"
            "        self.model = Tabular()\n"
            "        self.loss = nn.BCEWithLogitsLoss(pos_weight=ones(()))\n"
            "    def forward(self, x):\n"
            "        return self.model(x)\n"
        )
        whole = checkpoints.read(path, arch=f"{tmp_path}/lit.py:Lit")
        assert isinstance(whole.module, nn.Module)
        assert isinstance(checkpoint.module, nn.Module)
        assert "loss.pos_weight" in whole.tensors
        assert torch.equal(whole.module(rows()), checkpoint.module(rows()))

    def test_everything_else_is_kept(self, tmp_path: Path) -> None:
        path = KINDS["lightning"].make(tmp_path)
        checkpoint = checkpoints.read(path, **ARCH)
        for rule in ({"threshold": 0.1}, {"threshold": 0.2}):
            checkpoints.write(
                checkpoint, plus_one(checkpoint), tmp_path / "o", rule=rule, force=True
            )
        old, new = (torch.load(p, weights_only=True) for p in (path, tmp_path / "o"))
        assert json.loads(new.pop("fairfix")) == {"threshold": 0.2}
        assert list(old) == list(new)
        assert new["hyper_parameters"] == {"lr": 0.1}
        assert new["state_dict"]["loss.pos_weight"] == 3

    def test_hyper_parameters_are_arguments_of_the_class(self, tmp_path: Path) -> None:
        state = {f"model.{n}": t for n, t in trained(Tabular(width=5)).state_dict().items()}
        arguments = {"width": 5, "lr": 0.1, "layers": [1, None], "loss": nn.Identity()}
        content = {"pytorch-lightning_version": "2", "state_dict": state}
        torch.save({**content, "hyper_parameters": arguments}, tmp_path / "m.ckpt")
        checkpoint = checkpoints.read(tmp_path / "m.ckpt", **ARCH)
        assert checkpoint.module is not None
        assert any("Tabular from the checkpoint: width=5." in note for note in checkpoint.notes)
        shown = {"width": 5, "lr": 0.1, "layers": [1, None]}
        assert checkpoint.metadata["hyper_parameters"] == shown
        with pytest.raises(CheckpointError, match="do not fit"):
            checkpoints.read(tmp_path / "m.ckpt", **ARCH, arch_args={"width": 6})

    def test_other_training_dictionaries_have_them_too(self, tmp_path: Path) -> None:
        content = {"state_dict": trained(Tabular(width=5)).state_dict()}
        torch.save({**content, "hyper_parameters": {"width": 5}}, tmp_path / "m.pt")
        (tmp_path / "config.json").write_text('{"width": 7}')
        checkpoint = checkpoints.read(tmp_path / "m.pt", **ARCH)
        assert any("Tabular from the checkpoint: width=5." in note for note in checkpoint.notes)

    def test_without_a_rule_no_key_is_added(self, tmp_path: Path) -> None:
        path = KINDS["lightning"].make(tmp_path)
        checkpoint = checkpoints.read(path, **ARCH)
        checkpoints.write(checkpoint, plus_one(checkpoint), tmp_path / "out")
        old, new = (torch.load(p, weights_only=True) for p in (path, tmp_path / "out"))
        assert list(old) == list(new)


class TestFolder:
    """Hugging Face."""

    def test_configuration_gives_the_arguments_unless_told(self, tmp_path: Path) -> None:
        path = KINDS["hugging face folder"].make(tmp_path)
        module = checkpoints.read(path, **ARCH).module
        assert isinstance(module, nn.Module)
        assert module.get_parameter("fc0.weight").shape == (5, FEATURES)
        with pytest.raises(CheckpointError, match="do not fit"):
            checkpoints.read(path, **ARCH, arch_args={"width": 6})
        assert checkpoints.read(path, arch="mlp:relu").module is not None

    @pytest.mark.parametrize("name", ["m.safetensors", "m.pt"])
    def test_configuration_beside_a_single_file_does_too(self, tmp_path: Path, name: str) -> None:
        state = trained(Tabular(width=5)).state_dict()
        save_file(state, tmp_path / name) if "safe" in name else torch.save(state, tmp_path / name)
        (tmp_path / "config.json").write_text('{"width": 5, "author": "x"}')
        checkpoint = checkpoints.read(tmp_path / name, **ARCH)
        assert any("Tabular from config.json: width=5." in note for note in checkpoint.notes)
        assert checkpoint.metadata["config"] == {"width": 5, "author": "x"}
        assert "config" in checkpoints.read(tmp_path / name).metadata
        with pytest.raises(CheckpointError, match="do not fit"):
            checkpoints.read(tmp_path / name, **ARCH, arch_args={"width": 6})
        (tmp_path / "config.json").write_text("[]")
        checkpoint = checkpoints.read(tmp_path / name, arch="mlp:relu")
        assert any("config.json beside the weights is not read" in n for n in checkpoint.notes)

    def test_everything_else_is_copied(self, tmp_path: Path) -> None:
        path = KINDS["hugging face folder"].make(tmp_path)
        (path / "deep").mkdir()
        (path / "deep" / "vocab.txt").write_text("a\nb")
        checkpoint = checkpoints.read(path, **ARCH)
        checkpoints.write(checkpoint, plus_one(checkpoint), tmp_path / "out", rule={"a": 1})
        files = [p.relative_to(path) for p in sorted(path.rglob("*"))]
        assert [
            p.relative_to(tmp_path / "out") for p in sorted((tmp_path / "out").rglob("*"))
        ] == files
        assert all(
            (path / f).read_bytes() == (tmp_path / "out" / f).read_bytes()
            for f in files
            if (path / f).is_file() and f.name != "model.safetensors"
        )

    def test_links_of_a_cache_become_files(self, tmp_path: Path) -> None:
        path = KINDS["hugging face folder"].make(tmp_path)
        blob = (path / "model.safetensors").rename(tmp_path / "blob")
        (path / "model.safetensors").symlink_to(blob)
        before = blob.read_bytes()
        checkpoint = checkpoints.read(path, **ARCH)
        checkpoints.write(checkpoint, plus_one(checkpoint), tmp_path / "out")
        assert blob.read_bytes() == before
        assert not (tmp_path / "out" / "model.safetensors").is_symlink()

    def test_links_inside_the_folder_stay_links(self, tmp_path: Path) -> None:
        path = KINDS["hugging face folder"].make(tmp_path)
        (path / "card.md").symlink_to("README.md")
        (path / "absolute.md").symlink_to((path / "README.md").resolve())
        checkpoint = checkpoints.read(path, **ARCH)
        checkpoints.write(checkpoint, plus_one(checkpoint), tmp_path / "out")
        for name in ("card.md", "absolute.md"):
            assert (tmp_path / "out" / name).readlink() == Path("README.md")

    @pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "missing", "loop", "sub/../.."])
    def test_links_that_leave_the_folder_are_refused(self, target: str, tmp_path: Path) -> None:
        path = KINDS["hugging face folder"].make(tmp_path)
        (tmp_path / "secret").write_text("secret")
        (path / "sub").mkdir()
        (path / "loop").symlink_to("README.md")
        (path / "notes").symlink_to(target if target != "loop" else "notes")
        with pytest.raises(CheckpointError, match=r"notes is a symbolic link (to|that leads)"):
            checkpoints.read(path, **ARCH)

    def test_a_snapshot_of_the_hub_cache_may_link_to_its_blobs(self, tmp_path: Path) -> None:
        snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
        snapshot.parent.mkdir(parents=True)
        KINDS["hugging face folder"].make(tmp_path).rename(snapshot)
        blobs = tmp_path / "models--a--b" / "blobs"
        blobs.mkdir()
        for name in ("model.safetensors", "config.json"):
            (snapshot / name).rename(blobs / name)
            (snapshot / name).symlink_to(f"../../blobs/{name}")
        checkpoint = checkpoints.read(snapshot, **ARCH)
        checkpoints.write(checkpoint, plus_one(checkpoint), tmp_path / "out")
        assert not any(file.is_symlink() for file in (tmp_path / "out").iterdir())
        assert json.loads((tmp_path / "out" / "config.json").read_text()) == {"width": 5}

    def test_pipes_in_the_folder_are_refused(self, tmp_path: Path) -> None:
        path = KINDS["hugging face folder"].make(tmp_path)
        os.mkfifo(path / "pipe")
        with pytest.raises(CheckpointError, match="pipe is a named pipe"):
            checkpoints.read(path, **ARCH)

    def test_output_inside_the_model(self, tmp_path: Path) -> None:
        path = KINDS["hugging face folder"].make(tmp_path)
        checkpoint = checkpoints.read(path, **ARCH)
        with pytest.raises(OutputError, match="lies inside the input model"):
            checkpoints.write(checkpoint, checkpoint.tensors, path / "out")

    def test_old_output_stays_when_the_new_cannot_take_its_place(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        checkpoint = checkpoints.read(KINDS["hugging face folder"].make(tmp_path), **ARCH)
        output = tmp_path / "out"
        checkpoints.write(checkpoint, checkpoint.tensors, output, rule={"a": 1})

        def refused(*_: object) -> Path:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "replace", refused)
        with pytest.raises(OutputError, match="Permission denied"):
            checkpoints.write(checkpoint, checkpoint.tensors, output, rule={"a": 2}, force=True)
        assert checkpoints.read(output, **ARCH).rule == {"a": 1}
        assert {p.name for p in tmp_path.iterdir()} == {"model", "out"}

    def transformers_folder(self, folder: Path, **config: Any) -> Path:
        folder.mkdir()
        save_file(trained(Tabular()).state_dict(), folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"model_type": "tab", **config}))
        return folder

    def test_transformers_need_trust(self, tmp_path: Path) -> None:
        path = self.transformers_folder(tmp_path / "m")
        with pytest.raises(TrustError, match=r"a transformers model.*--trust-checkpoint"):
            checkpoints.read(path)
        assert checkpoints.read(path, **ARCH).module is not None

    @pytest.mark.parametrize("trust", [False, True])
    def test_code_in_the_folder_is_never_run(self, trust: bool, tmp_path: Path) -> None:
        path = self.transformers_folder(tmp_path / "m", auto_map={"AutoModel": "evil.Net"})
        with pytest.raises(TrustError, match=r"auto_map in config.json.*never run"):
            checkpoints.read(path, trust=trust)

    def test_transformers_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "transformers", None)
        path = self.transformers_folder(tmp_path / "m")
        with pytest.raises(CheckpointError, match=r"pip install 'fairfix\[text"):
            checkpoints.read(path, trust=True)

    def test_transformers_make_the_network(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: dict[str, Any] = {}

        class Auto:
            @staticmethod
            def from_pretrained(path: Path, **options: Any) -> nn.Module:
                asked.update(options)
                if (path / "broken").exists():
                    raise OSError("no such class\nlong story")
                model = Tabular()
                model.load_state_dict(load_file(path / "model.safetensors"))
                return model

        fake = types.SimpleNamespace(AutoModelForSequenceClassification=Auto)
        monkeypatch.setitem(sys.modules, "transformers", fake)
        path = self.transformers_folder(tmp_path / "m")
        checkpoint = checkpoints.read(path, trust=True)
        assert isinstance(checkpoint.module, Tabular)
        assert torch.equal(checkpoint.module(rows()), trained(Tabular())(rows()))
        assert asked["local_files_only"]
        assert "trust_remote_code" not in asked
        checkpoints.write(checkpoint, plus_one(checkpoint), tmp_path / "out")
        (path / "broken").touch()
        with pytest.raises(CheckpointError, match=r"cannot load .*: OSError: no such class\.$"):
            checkpoints.read(path, trust=True)

    def test_images_have_their_own_class_of_transformers(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module = trained(Tabular())
        auto = types.SimpleNamespace(from_pretrained=lambda path, **options: module)
        fake = types.SimpleNamespace(AutoModelForImageClassification=auto)
        monkeypatch.setitem(sys.modules, "transformers", fake)
        path = self.transformers_folder(tmp_path / "m", architectures=["ViTForImageClassification"])
        assert checkpoints.read(path, trust=True).module is module

    @pytest.mark.parametrize("place", ["folder", "file"])
    def test_timm_builds_its_own_architectures(
        self, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        built: dict[str, Any] = {}

        def create_model(model_name: str, pretrained: bool = False, **others: Any) -> nn.Module:
            built.update(others, model_name=model_name, pretrained=pretrained)
            return Tabular()

        monkeypatch.setitem(sys.modules, "timm", types.SimpleNamespace(create_model=create_model))
        images = {"input_size": [3, 24, 24], "num_classes": 1000}
        config = {"architecture": "tab", "num_classes": 2, "pretrained_cfg": images}
        path = self.transformers_folder(
            tmp_path / "m", **config, model_type="timm_wrapper", model_args={"depth": 1}
        )
        expected = {"model_name": "tab", "pretrained": False, "num_classes": 2, "depth": 1}
        if place == "file":
            path /= "model.safetensors"
            assert checkpoints.read(path).module is None
        else:
            with pytest.raises(TrustError, match=r"of tab of timm.* --arch timm:create_model\."):
                checkpoints.read(path)
            assert isinstance(checkpoints.read(path, trust=True).module, Tabular)
            assert built == expected
        built.clear()
        assert isinstance(checkpoints.read(path, arch="timm:create_model").module, Tabular)
        assert built == expected


class TestDestination:
    """Where results go."""

    @pytest.fixture
    def checkpoint(self, tmp_path: Path) -> checkpoints.Checkpoint:
        return checkpoints.read(KINDS["safetensors"].make(tmp_path), **ARCH)

    def test_folder_that_is_not_there(
        self, checkpoint: checkpoints.Checkpoint, tmp_path: Path
    ) -> None:
        with pytest.raises(OutputError, match=r"no does not exist; create it first"):
            checkpoints.write(checkpoint, checkpoint.tensors, tmp_path / "no" / "out")

    @pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no folder that nobody can write")
    def test_folder_that_nobody_can_write(self, checkpoint: checkpoints.Checkpoint) -> None:
        with pytest.raises(OutputError, match=r"Cannot write in /proc/self: .*Choose another"):
            checkpoints.write(checkpoint, checkpoint.tensors, "/proc/self/out")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
    def test_folder_that_is_read_only(
        self, checkpoint: checkpoints.Checkpoint, tmp_path: Path
    ) -> None:
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(OutputError, match="Cannot write in"):
            checkpoints.write(checkpoint, checkpoint.tensors, tmp_path / "closed" / "out")

    def test_full_disk_leaves_nothing(
        self, checkpoint: checkpoints.Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(source: IO[bytes], file: IO[bytes]) -> None:
            file.write(source.read(10))
            raise OSError(28, "No space left on device")

        (tmp_path / "out").write_bytes(b"old")
        monkeypatch.setattr(shutil, "copyfileobj", full)
        with pytest.raises(OutputError, match=r"Cannot write .*: No space left on device"):
            checkpoints.write(checkpoint, checkpoint.tensors, tmp_path / "out", force=True)
        assert (tmp_path / "out").read_bytes() == b"old"
        assert {p.name for p in tmp_path.iterdir()} == {"model.safetensors", "out"}

    @pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limit of file sizes")
    @pytest.mark.parametrize(
        "name", ["state_dict", "legacy state_dict", "lightning", "scripted", "safetensors"]
    )
    def test_file_size_limit_leaves_nothing(self, name: str, tmp_path: Path) -> None:
        path = KINDS[name].make(tmp_path)
        checkpoint = checkpoints.read(path, **KINDS[name].options)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size // 2, before[1]))
        try:
            with pytest.raises(OutputError, match=r"Cannot write .*: File too large"):
                checkpoints.write(checkpoint, plus_one(checkpoint), tmp_path / "out")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]

    def test_interruption_leaves_nothing(
        self, checkpoint: checkpoints.Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(checkpoints.read_write, "_verify", interrupted)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.write(checkpoint, checkpoint.tensors, tmp_path / "out")
        assert {p.name for p in tmp_path.iterdir()} == {"model.safetensors"}

    def test_link_to_the_model_is_the_model(
        self, checkpoint: checkpoints.Checkpoint, tmp_path: Path
    ) -> None:
        (tmp_path / "link").symlink_to(checkpoint.path)
        with pytest.raises(OutputError, match="is an input and is never overwritten"):
            checkpoints.write(checkpoint, checkpoint.tensors, tmp_path / "link", force=True)

    def test_folder_is_not_replaced_by_a_file(
        self, checkpoint: checkpoints.Checkpoint, tmp_path: Path
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "precious").touch()
        with pytest.raises(OutputError, match="is a folder, but the output is a file"):
            checkpoints.write(checkpoint, checkpoint.tensors, tmp_path / "out", force=True)
        assert (tmp_path / "out" / "precious").exists()

    def test_rights_are_those_of_any_new_file(
        self, checkpoint: checkpoints.Checkpoint, tmp_path: Path
    ) -> None:
        checkpoints.write(checkpoint, checkpoint.tensors, tmp_path / "out")
        (tmp_path / "any").touch()
        assert (tmp_path / "out").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_arguments_without_a_class_are_noticed(tmp_path: Path) -> None:
    path = KINDS["state_dict"].make(tmp_path)
    with pytest.raises(UsageError, match="--arch-args needs --arch"):
        checkpoints.read(path, arch_args={"width": 2})


def test_metadata_is_readable_with_its_own_library(tmp_path: Path) -> None:
    checkpoint = checkpoints.read(KINDS["safetensors"].make(tmp_path), **ARCH)
    checkpoints.write(checkpoint, checkpoint.tensors, tmp_path / "out", rule={"ä": 0.5})
    with safe_open(tmp_path / "out", framework="pt") as file:
        assert json.loads(file.metadata()["fairfix"]) == {"ä": 0.5}
