"""Toy networks, and one file of each format made by that format's own library."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

FEATURES = 7


class Tabular(nn.Module):
    """Linear, ReLU, dropout, then BatchNorm, twice; sigmoid output."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.fc0 = nn.Linear(FEATURES, width)
        self.bn0 = nn.BatchNorm1d(width)
        self.fcs = nn.ModuleList([nn.Linear(width, width)])
        self.bns = nn.ModuleList([nn.BatchNorm1d(width)])
        self.drop = nn.Dropout(0.3)
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn0(self.drop(torch.relu(self.fc0(x))))
        for fc, bn in zip(self.fcs, self.bns):  # noqa: B905 (TorchScript knows no strict)
            x = bn(self.drop(torch.relu(fc(x))))
        return torch.sigmoid(self.out(x))


class Tied(nn.Module):
    """Two layers that share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, FEATURES)
        self.second = nn.Linear(FEATURES, FEATURES)
        self.second.weight = self.first.weight
        self.out = nn.Linear(FEATURES, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.second(torch.relu(self.first(x)))))


class Image(nn.Module):
    """A small convolutional network with in-place ReLU and a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, stride=2)
        self.bn = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn(self.conv(x)))
        x = x + self.act(self.again(x))
        return self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def plain_layers() -> nn.Sequential:
    """Layers of torch alone."""
    return nn.Sequential(
        nn.Linear(FEATURES, 6), nn.ReLU(), nn.BatchNorm1d(6), nn.Linear(6, 1), nn.Sigmoid()
    )


def trained(model: nn.Module, shape: tuple[int, ...] = (FEATURES,)) -> nn.Module:
    """``model`` with weights and running statistics that are not the initial ones, in eval mode."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.5)
        model.train()
        for _ in range(30):
            model(torch.randn(64, *shape))
    return model.eval()


def rows(n: int = 5, shape: tuple[int, ...] = (FEATURES,)) -> Tensor:
    """The same random inputs on every call."""
    return torch.randn((n, *shape), generator=torch.Generator().manual_seed(1))


@dataclass(frozen=True)
class Kind:
    """How a format's own library writes a network, reads its tensors, and runs it.

    ``original`` is the network whose weights ``make`` wrote.
    """

    key: str
    make: Callable[[Path], Path]
    tensors: Callable[[Path], dict[str, Tensor]]
    options: Mapping[str, Any] = field(default_factory=dict)
    original: Callable[[], nn.Module] = lambda: trained(Tabular())
    rule: Callable[[Path], str | None] | None = None


ARCH = {"arch": f"{__file__}:Tabular"}
TRUST = {"trust": True}


def _load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _state_dict(folder: Path) -> Path:
    path = folder / "model.pt"
    torch.save(trained(Tabular()).state_dict(), path)
    return path


def _legacy(folder: Path) -> Path:
    path = folder / "model.pt"
    torch.save(trained(Tabular()).state_dict(), path, _use_new_zipfile_serialization=False)
    return path


def _training(folder: Path) -> Path:
    model = trained(Tabular())
    optimizer = torch.optim.Adam(model.parameters())
    model(rows()).sum().backward()
    optimizer.step()
    path = folder / "model.pt"
    state = {f"module.{name}": tensor for name, tensor in trained(Tabular()).state_dict().items()}
    torch.save({"epoch": 3, "model_state_dict": state, "optim": optimizer.state_dict()}, path)
    return path


def _pickled(folder: Path) -> Path:
    path = folder / "model.pth"
    torch.save(trained(plain_layers()), path)
    return path


def _safetensors(folder: Path) -> Path:
    path = folder / "model.safetensors"
    save_file(trained(Tabular()).state_dict(), path, {"author": "us", "note": "ü", "z": "1"})
    return path


def _lightning(folder: Path) -> Path:
    state = {f"model.{name}": tensor for name, tensor in trained(Tabular()).state_dict().items()}
    content = {
        "epoch": 1,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": {**state, "loss.pos_weight": torch.tensor(3.0)},
        "hyper_parameters": {"lr": 0.1},
    }
    path = folder / "last.ckpt"
    torch.save(content, path)
    return path


def _scripted(folder: Path) -> Path:
    path = folder / "model.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(trained(Tabular()))
        torch.jit.save(script, path, _extra_files={"labels.txt": "no,yes"})
    return path


def _traced(folder: Path) -> Path:
    path = folder / "model.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(trained(Tabular()), rows()).save(path)
    return path


def jit_load(path: Path, extra: dict[str, Any] | None = None) -> torch.jit.ScriptModule:
    """``torch.jit.load`` without its warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(path, _extra_files=extra)


def _exported(folder: Path) -> Path:
    path = folder / "model.pt2"
    batch = torch.export.Dim("batch")
    program = torch.export.export(trained(Tabular()), (rows(),), dynamic_shapes=({0: batch},))
    torch.export.save(program, path, extra_files={"labels.txt": "no,yes"})
    return path


def _folder(folder: Path) -> Path:
    path = folder / "model"
    path.mkdir()
    save_file(trained(Tabular(width=5)).state_dict(), path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"width": 5}))
    (path / "README.md").write_text("# card")
    return path


def extra_of_jit(path: Path) -> str | None:
    extra = {"fairfix.json": ""}
    jit_load(path, extra)
    return extra["fairfix.json"] or None


def extra_of_export(path: Path) -> str | None:
    extra = {"fairfix.json": ""}
    torch.export.load(path, extra_files=extra)
    return extra["fairfix.json"] or None


def metadata_of(path: Path) -> str | None:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return (file.metadata() or {}).get("fairfix")


KINDS = {
    "state_dict": Kind("state_dict", _state_dict, _load, ARCH),
    "legacy state_dict": Kind("state_dict", _legacy, _load, ARCH),
    "training dictionary": Kind(
        "state_dict", _training, lambda path: _load(path)["model_state_dict"], ARCH
    ),
    "safetensors": Kind("safetensors", _safetensors, load_file, ARCH, rule=metadata_of),
    "pickled network": Kind(
        "pickled_module",
        _pickled,
        lambda path: torch.load(path, weights_only=False).state_dict(),
        original=lambda: trained(plain_layers()),
    ),
    "scripted": Kind(
        "torchscript", _scripted, lambda p: jit_load(p).state_dict(), TRUST, rule=extra_of_jit
    ),
    "traced": Kind(
        "torchscript", _traced, lambda p: jit_load(p).state_dict(), TRUST, rule=extra_of_jit
    ),
    "exported": Kind(
        "pt2", _exported, lambda p: torch.export.load(p).state_dict, TRUST, rule=extra_of_export
    ),
    "lightning": Kind(
        "lightning",
        _lightning,
        lambda path: _load(path)["state_dict"],
        ARCH,
        rule=lambda path: _load(path).get("fairfix"),
    ),
    "hugging face folder": Kind(
        "huggingface",
        _folder,
        lambda path: load_file(path / "model.safetensors"),
        ARCH,
        original=lambda: trained(Tabular(width=5)),
        rule=lambda path: metadata_of(path / "model.safetensors"),
    ),
}


def exchange(path: Path, member: str, data: bytes, *, compress: bool = False) -> Path:
    """Put other bytes into a member of an archive."""
    with zipfile.ZipFile(path) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    assert member in {info.filename.partition("/")[2] for info, _ in members}
    with zipfile.ZipFile(path, "w") as archive:
        for info, old in members:
            chosen = info.filename.partition("/")[2] == member
            if chosen and compress:
                info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data if chosen else old)
    return path
