"""TorchScript and exported programs: networks that come as code."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fairfix.errors import CheckpointError
from fairfix.models import checkpoint as checkpoints
from tests.helpers.checkpoint_models import (
    ARCH,
    FEATURES,
    KINDS,
    TRUST,
    Image,
    Tabular,
    Tied,
    exchange,
    jit_load,
    rows,
    trained,
)

CONFIG = "data/weights/model_weights_config.json"
Save = Callable[[nn.Module, Tensor, Path], None]


def script(model: nn.Module, example: Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(model).save(path)


def trace(model: nn.Module, example: Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(model, example).save(path)


def export(model: nn.Module, example: Tensor, path: Path) -> None:
    dynamic = ({0: torch.export.Dim.AUTO},)
    torch.export.save(torch.export.export(model, (example,), dynamic_shapes=dynamic), path)


def export_fixed(model: nn.Module, example: Tensor, path: Path) -> None:
    torch.export.save(torch.export.export(model, (example,)), path)


def network(save: Save, model: nn.Module, example: Tensor, folder: Path) -> nn.Module:
    save(model, example, folder / "model")
    module = checkpoints.read(folder / "model", **TRUST).module
    assert module is not None
    return module


@pytest.mark.parametrize("save", [script, trace, export, export_fixed])
def test_convolutions_become_layers(save: Save, tmp_path: Path) -> None:
    shape = (1, 28, 28)
    model = trained(Image(), shape)
    module = network(save, model, rows(4, shape), tmp_path)
    for n in (1, 4, 9):
        assert torch.allclose(module(rows(n, shape)), model(rows(n, shape)), atol=1e-5)
    kinds = {name: type(part) for name, part in module.named_modules() if "." not in name}
    assert kinds["conv"] is kinds["again"] is nn.Conv2d
    assert kinds["bn"] is nn.BatchNorm2d
    assert kinds["fc"] is nn.Linear


@pytest.mark.parametrize("save", [script, trace, export])
def test_layers_come_in_the_order_of_computation(save: Save, tmp_path: Path) -> None:
    module = network(save, trained(Tabular()), rows(), tmp_path)
    fired: list[str] = []
    for name, part in module.named_modules():
        if not list(part.children()):
            part.register_forward_hook(lambda *_, name=name: fired.append(name))
    module(rows())
    layers = [name for name in fired if not name.startswith("operations")]
    assert layers == ["fc0", "bn0", "fcs.0", "bns.0", "out"]
    assert next(module.parameters()).shape == (6, FEATURES)
    assert sum(name.startswith("operations.relu") for name in fired) == 2


@pytest.mark.parametrize("save", [script, trace, export])
def test_tied_weights_stay_one_parameter(save: Save, tmp_path: Path) -> None:
    model = trained(Tied())
    module = network(save, model, rows(), tmp_path)
    assert torch.allclose(module(rows()), model(rows()), atol=1e-6)
    assert len(list(module.parameters())) == 5
    with torch.no_grad():
        module.get_parameter("first.weight").mul_(2)
    checkpoint = checkpoints.read(tmp_path / "model", **TRUST)
    checkpoints.write(checkpoint, module.state_dict(), tmp_path / "out")
    again = checkpoints.read(tmp_path / "out", **TRUST).tensors
    assert torch.equal(again["second.weight"], model.first.weight * 2)


class Odd(nn.Module):
    """Layers that cannot be told from operations: two readers of one weight, a scale, a table."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(FEATURES, FEATURES)
        self.norm = nn.LayerNorm(FEATURES)
        self.scale = nn.Parameter(torch.full((FEATURES,), 0.5))
        self.register_buffer("shift", torch.ones(FEATURES))
        self.register_buffer("passing", torch.full((FEATURES,), 2.0), persistent=False)
        self.table = torch.full((FEATURES,), 3.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.fc(x)) * self.scale + self.shift
        x = torch.nn.functional.linear(x, self.fc.weight) + self.passing
        return torch.cat([x, x * self.table], 1).sum(1, keepdim=True)


@pytest.mark.parametrize("save", [script, trace, export])
def test_what_is_no_layer_stays_an_operation(save: Save, tmp_path: Path) -> None:
    model = trained(Odd())
    module = network(save, model, rows(), tmp_path)
    assert torch.allclose(module(rows()), model(rows()), atol=1e-5)
    module(rows()).sum().backward()
    assert all(p.grad is not None for p in module.parameters())
    assert {n for n, _ in module.named_parameters()} == {n for n, _ in model.named_parameters()}
    assert isinstance(module.get_submodule("norm"), nn.LayerNorm)


class There(nn.Module):
    """Has an operation whose name is that of a method of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(FEATURES, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.to(torch.float64).to(torch.float32))


@pytest.mark.parametrize("save", [script, trace, export])
def test_an_operation_named_as_a_method_of_modules(save: Save, tmp_path: Path) -> None:
    model = trained(There())
    assert torch.allclose(network(save, model, rows(), tmp_path)(rows()), model(rows()))


class Overwritten(nn.Module):
    """Reads a tensor again after it was changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(FEATURES, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc(x)
        y = torch.relu_(x)
        return x - 0.5 * y


@pytest.mark.parametrize("save", [script, trace, export])
def test_changes_in_place_stay_where_they_matter(save: Save, tmp_path: Path) -> None:
    model = Overwritten().eval()
    module = network(save, model, rows(), tmp_path)
    assert torch.allclose(module(rows()), model(rows()), atol=1e-6)


@pytest.mark.parametrize("save", [trace, export])
@pytest.mark.parametrize("model", [Tabular(), nn.Sequential(nn.Linear(FEATURES, 1), nn.Dropout())])
def test_training_mode_is_refused(save: Save, model: nn.Module, tmp_path: Path) -> None:
    with warnings.catch_warnings():  # tracing notices that it gets two results
        warnings.simplefilter("ignore")
        with pytest.raises(CheckpointError, match=r"in training mode.*after model\.eval\(\)"):
            network(save, model.train(), rows(), tmp_path)


def test_scripts_saved_in_training_mode_rest_when_asked_to(tmp_path: Path) -> None:
    module = network(script, trained(Tabular()).train(), rows(), tmp_path)
    assert torch.allclose(module(rows()), trained(Tabular())(rows()), atol=1e-6)


class Random(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1) + torch.rand(1)

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(2, 2)


def test_networks_that_draw_lots_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="in training mode"):
        network(export, Random().eval(), rows(), tmp_path)


def test_frozen_script_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.freeze(torch.jit.script(trained(Tabular()))).save(tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"frozen TorchScript.*before torch\.jit\.freeze"):
        checkpoints.read(tmp_path / "model.pt", **TRUST)


class Fixed(nn.Module):
    """Its batch size is part of its code once it is exported."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(FEATURES, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x).view(x.shape[0] * 2, 1).view(x.shape[0], 2)


def test_batches_of_one_size_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"batches of exactly 5 rows.*dynamic_shapes"):
        network(export_fixed, Fixed().eval(), rows(), tmp_path)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Embedding(3, FEATURES)
        self.fc = nn.Linear(FEATURES, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.fc(self.codes(x[:, 0]) + y)


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_several_inputs_go_by_position(tmp_path: Path, suffix: str) -> None:
    network, path = Two().eval(), tmp_path / f"model{suffix}"
    inputs = torch.tensor([[0], [2], [1], [2]]), rows(4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is deprecated
        if suffix == ".pt":
            torch.jit.trace(network, inputs).save(str(path))
        else:
            dynamic = tuple({0: torch.export.Dim("rows")} for _ in inputs)
            torch.export.save(torch.export.export(network, inputs, dynamic_shapes=dynamic), path)
    checkpoint = checkpoints.read(path, **TRUST)
    assert checkpoint.module is not None
    assert torch.equal(checkpoint.module(*inputs), network(*inputs))
    changed = {name: 2 * tensor for name, tensor in checkpoint.tensors.items()}
    checkpoints.write(checkpoint, changed, tmp_path / f"out{suffix}")
    again = checkpoints.read(tmp_path / f"out{suffix}", **TRUST).module
    assert again is not None
    network.load_state_dict({name: 2 * tensor for name, tensor in network.state_dict().items()})
    torch.testing.assert_close(again(*inputs), network(*inputs))


class Square(nn.Module):
    """No layer tells the shape of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3, 5, 2))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.scale).sum((1, 2, 3))


def test_script_whose_input_cannot_be_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"the shape of its input cannot be inferred.*--arch"):
        network(script, Square().eval(), rows(), tmp_path)


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 4)
        self.fc = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.table(x).mean(1))


def test_whole_numbers_as_input(tmp_path: Path) -> None:
    tokens = torch.arange(12).view(4, 3) % 9
    module = network(export, Words().eval(), tokens, tmp_path)
    assert module(tokens).shape == (4, 1)


@pytest.mark.parametrize("name", ["scripted", "traced"])
def test_script_by_its_class_needs_no_trust(name: str, tmp_path: Path) -> None:
    path = KINDS[name].make(tmp_path)
    checkpoint = checkpoints.read(path, **ARCH)
    assert isinstance(checkpoint.module, nn.Module)
    assert torch.equal(checkpoint.module(rows()), trained(Tabular())(rows()))
    state = {n: t.clone() for n, t in checkpoint.tensors.items()}
    state["out.bias"] += 1
    checkpoints.write(checkpoint, state, tmp_path / "out.pt")
    assert torch.equal(jit_load(tmp_path / "out.pt").state_dict()["out.bias"], state["out.bias"])


def test_program_by_its_class(tmp_path: Path) -> None:
    path = KINDS["exported"].make(tmp_path)
    module = checkpoints.read(path, **ARCH, **TRUST).module
    assert isinstance(module, nn.Module)
    assert torch.equal(module(rows()), trained(Tabular())(rows()))


@pytest.mark.parametrize("name", ["scripted", "exported"])
def test_code_and_extra_files_are_kept(name: str, tmp_path: Path) -> None:
    path = KINDS[name].make(tmp_path)
    checkpoint = checkpoints.read(path, **TRUST)
    state = {n: t + 1 if t.is_floating_point() else t for n, t in checkpoint.tensors.items()}
    checkpoints.write(checkpoint, state, tmp_path / "out", rule={"threshold": 0.5})
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "out") as new:
        assert set(new.namelist()) - set(old.namelist()) == {"model/extra/fairfix.json"}
        for member in old.namelist():
            number = "/data/" in member and not member.endswith((".json", "model.pt"))
            if not number and "serialization_id" not in member:
                assert old.read(member) == new.read(member), member
        assert new.read("model/extra/labels.txt") == b"no,yes"


@pytest.mark.parametrize("save", [script, trace, export])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_number_types(save: Save, dtype: torch.dtype, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, 1))
    model = trained(model).to(dtype)
    with torch.no_grad():
        model[0].weight /= 3
    save(model, rows().to(dtype), tmp_path / "model")
    checkpoint = checkpoints.read(tmp_path / "model", **TRUST)
    assert isinstance(checkpoint.module, nn.Module)
    assert checkpoint.module(rows()).dtype == torch.float32
    checkpoints.write(checkpoint, checkpoint.module.state_dict(), tmp_path / "out")
    again = checkpoints.read(tmp_path / "out", **TRUST).tensors["0.weight"]
    assert again.dtype == dtype
    assert torch.equal(again, model[0].weight)


class Cast(nn.Module):
    """Casts to its own type in the middle, which no float32 copy of it can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(FEATURES, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.to(torch.bfloat16))


@pytest.mark.parametrize("save", [script, export])
def test_network_that_cannot_run_in_float32(save: Save, tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"cannot be converted to layers \(RuntimeError: .*--arch"
    ):
        network(save, Cast().bfloat16().eval(), rows().bfloat16(), tmp_path)


def test_program_that_is_damaged_inside(tmp_path: Path) -> None:
    path = KINDS["exported"].make(tmp_path)
    with zipfile.ZipFile(path) as archive:
        program = archive.read("model/models/model.json")
    exchange(path, "models/model.json", program.replace(b'"graph_module"', b'"graph_nodule"'))
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        checkpoints.read(path, **TRUST)


def test_weights_pickled_inside_a_program(tmp_path: Path) -> None:
    path = KINDS["exported"].make(tmp_path)
    weight = torch.export.load(path).state_dict["fc0.weight"]
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read(f"model/{CONFIG}"))
    entry = config["config"]["fc0.weight"]
    entry["use_pickle"] = True
    buffer = io.BytesIO()
    torch.save(weight, buffer)
    exchange(path, f"data/weights/{entry['path_name']}", buffer.getvalue())
    exchange(path, CONFIG, json.dumps(config).encode())
    assert torch.equal(torch.export.load(path).state_dict["fc0.weight"], weight)
    with pytest.raises(CheckpointError, match=r"'fc0\.weight' is pickled inside the program"):
        checkpoints.read(path, **TRUST)


def test_version_of_an_older_script_is_kept(tmp_path: Path) -> None:
    """It tells torch how the operations in the code are to be read."""
    path = KINDS["scripted"].make(tmp_path)
    exchange(path, "version", b"9\n")
    checkpoint = checkpoints.read(path, **ARCH)
    checkpoints.write(checkpoint, checkpoint.tensors, tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out") as archive:
        assert archive.read("model/version") == b"9\n"
        assert len(archive.namelist()) == len(set(archive.namelist()))
        assert archive.testzip() is None
    assert jit_load(tmp_path / "out")(rows()).shape == (5, 1)
