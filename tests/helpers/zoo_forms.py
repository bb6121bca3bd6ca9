"""Forms of checkpoints and networks: how each is written, read, and what it computes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tests.helpers import zoo_networks as nets

ROWS = 96
Read = Callable[[Any], Tensor]
Write = Callable[[nn.Module, Path], Path]


def one(raw: Tensor) -> Tensor:
    return raw.reshape(-1).sigmoid()


def two(raw: Tensor) -> Tensor:
    return raw.softmax(1)[:, 1]


def given(raw: Tensor) -> Tensor:
    return raw.reshape(-1)


def second(raw: Tensor) -> Tensor:
    return raw[:, 1]


@dataclass(frozen=True)
class Form:
    """A network, how it is written to a file, and what is expected of it.

    Attributes:
        build: makes the network.
        read: maps its output to the probability of label 1.
        write: writes it below a folder and returns the path.
        options: arguments of ``fairfix.load``; ``arch`` is the class unless they are complete.
        refused: part of the sentence with which reading is refused.
        unprunable: part of the sentence with which prune is refused.
        fixed: whether methods that change weights are refused.
        tolerance: of scores.
    """

    build: Callable[[], nn.Module]
    read: Read = one
    write: Write = field(default=lambda module, folder: state_dict(module, folder))
    options: Mapping[str, Any] | None = None
    refused: str = ""
    unprunable: str = ""
    fixed: bool = False
    tolerance: float = 1e-6

    @property
    def arguments(self) -> dict[str, Any]:
        kind = self.build if isinstance(self.build, type) else type(network_of(self.build))
        arch = {"arch": f"{nets.__file__}:{kind.__name__}"}
        return dict(arch if self.options is None else self.options)


def features() -> Tensor:
    """The inputs of every form, (ROWS, 4)."""
    return torch.randn(ROWS, nets.WIDTH, generator=torch.Generator().manual_seed(0)).round(
        decimals=4
    )


@cache
def network_of(build: Callable[[], nn.Module]) -> nn.Module:
    """The network with weights and statistics that are not the initial ones, in evaluation mode."""
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(5)
        module = build()
        if not isinstance(module, nets.TwoInputs):
            for _ in range(20):
                module.train()(torch.randn(32, nets.WIDTH))
    return module.eval()


def scores_of(form: Form) -> Tensor:
    """The probabilities that the network itself gives for ``features``."""
    with torch.no_grad():
        return form.read(network_of(form.build)(features())).float()


# Writers.


def saved(content: Any, folder: Path, name: str = "m.pt", **options: Any) -> Path:
    torch.save(content, folder / name, **options)
    return folder / name


def state_dict(module: nn.Module, folder: Path) -> Path:
    return saved(module.state_dict(), folder)


def prefixed(*prefixes: str) -> Write:
    def write(module: nn.Module, folder: Path) -> Path:
        state = {f"{''.join(prefixes)}{key}": value for key, value in module.state_dict().items()}
        return saved(state, folder)

    return write


def inside(*keys: str, **beside: Any) -> Write:
    def write(module: nn.Module, folder: Path) -> Path:
        content: Any = module.state_dict()
        for key in reversed(keys):
            content = {**beside, key: content}
        return saved(content, folder)

    return write


def averaged(module: nn.Module, folder: Path) -> Path:
    return saved(AveragedModel(module).state_dict(), folder)


def ema(module: nn.Module, folder: Path) -> Path:
    other = {key: value + 1 for key, value in module.state_dict().items()}
    return saved({"model": module.state_dict(), "ema_model": other}, folder)


def lightning(module: nn.Module, folder: Path) -> Path:
    state = {f"model.{key}": value for key, value in module.state_dict().items()}
    content = {
        "pytorch-lightning_version": "2.5.0",
        "epoch": 1,
        "state_dict": {**state, "criterion.pos_weight": torch.tensor(2.0)},
    }
    return saved(content, folder, "last.ckpt")


def legacy(module: nn.Module, folder: Path) -> Path:
    return saved(module.state_dict(), folder, _use_new_zipfile_serialization=False)


def safetensors(module: nn.Module, folder: Path) -> Path:
    save_file(module.state_dict(), folder / "m.safetensors")
    return folder / "m.safetensors"


def hugging_face(module: nn.Module, folder: Path) -> Path:
    path = folder / "model"
    path.mkdir()
    save_file(module.state_dict(), path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"model_type": "plain"}))
    return path


def whole(module: nn.Module, folder: Path) -> Path:
    return saved(module, folder)


def whole_in_dict(module: nn.Module, folder: Path) -> Path:
    return saved({"model": module, "epoch": 3}, folder)


def cast(dtype: torch.dtype) -> Write:
    def write(module: nn.Module, folder: Path) -> Path:
        return saved({key: value.to(dtype) for key, value in module.state_dict().items()}, folder)

    return write


def scripted(module: nn.Module, folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch.jit is deprecated
        torch.jit.script(module).save(folder / "m.pt")
    return folder / "m.pt"


def traced(module: nn.Module, folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch.jit is deprecated
        torch.jit.trace(module, features()[:5], check_trace=False).save(folder / "m.pt")
    return folder / "m.pt"


def exported(module: nn.Module, folder: Path) -> Path:
    batch = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(module, (features()[:5],), dynamic_shapes=batch)
    torch.export.save(program, folder / "m.pt2")
    return folder / "m.pt2"


def layers() -> nn.Module:
    """A network of torch's own classes alone."""
    return nn.Sequential(*nets.Plain())


def quantized_plain() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch.ao is deprecated
        packed: nn.Module = torch.ao.quantization.quantize_dynamic(nets.Plain().eval(), {nn.Linear})
    return packed


NO_LAYERS = "no linear or convolutional layer feeds another one"
UNTRUSTED = "allow it with trust"
MLP: dict[str, Any] = {"arch": "mlp:relu"}
TRUST: dict[str, Any] = {"trust": True}
NOTHING: dict[str, Any] = {}
PROB, LOGIT = ({"output_kind": kind} for kind in ("prob", "logit"))


def kind_of(form: Form, options: Mapping[str, Any]) -> Form:
    """The form read with its class and further options."""
    return Form(form.build, form.read, form.write, {**form.arguments, **options})


NETWORKS = {
    "mlp": Form(nets.Plain),
    "mlp without a class": Form(nets.Plain, options=MLP),
    "lazy": Form(nets.Lazy),
    "norms and gates": Form(nets.Mixed),
    "head registered first": Form(nets.HeadFirst),
    "embeddings": Form(nets.Embeddings),
    "lstm": Form(nets.Recurrent, unprunable=NO_LAYERS),
    "gru": Form(nets.Gru, unprunable=NO_LAYERS),
    "rnn": Form(nets.Rnn, unprunable=NO_LAYERS),
    "ft-transformer": Form(nets.Transformer),
    "post-norm transformer": Form(nets.PostNorm),
    "tabnet": Form(nets.TabNet),
    "conv1d": Form(nets.Conv1d),
    "conv2d": Form(nets.Conv2d, two),
    "instance norm": Form(nets.InstanceNorm),
    "weight norm": Form(nets.Computed),
    "weight norm as a hook": Form(nets.WeightNormHook),
    "spectral norm": Form(nets.SpectralNorm),
    "spectral norm as a hook": Form(nets.SpectralNormHook),
    "orthogonal": Form(nets.Orthogonal),
    "all spectral": Form(nets.AllSpectral, unprunable="are computed by spectral_norm"),
    "tied": Form(nets.Tied),
    "shared": Form(nets.Shared),
    "bare parameters": Form(nets.Parameters, unprunable=NO_LAYERS),
    "prototypes": Form(nets.Prototypes),
    "experts": Form(nets.Experts),
    "ensemble": Form(nets.Ensemble, given),
    "temperature": Form(nets.Temperature),
}
OUTPUTS = {
    "two logits": Form(nets.Two, two),
    "sigmoid": Form(nets.Sigmoid, given),
    "softmax": Form(nets.Softmax, second),
    "log softmax": Form(nets.LogSoftmax, two),
    "two sigmoids": Form(nets.TwoSigmoids, refused="need not sum to 1"),
    "two sigmoids, told": kind_of(Form(nets.TwoSigmoids, second), PROB),
    "tanh": Form(nets.Tanh, refused="comes from tanh, .* give output_kind"),
    "tanh, told": kind_of(Form(nets.Tanh), LOGIT),
    "squeezed": Form(nets.Squeezed),
    "squeezed two": Form(nets.SqueezedTwo, two),
    "tuple": Form(nets.Tuple, lambda raw: one(raw[0])),
    "list": Form(nets.List, lambda raw: one(raw[1])),
    "dictionary": Form(nets.Dict, lambda raw: one(raw["score"])),
    "logits of an object": Form(nets.Logits, lambda raw: one(raw.logits)),
    "two heads": Form(nets.TwoHeads, refused="first .*, second .*; choose one with output_name"),
    "two heads, told": kind_of(
        Form(nets.TwoHeads, lambda raw: one(raw["second"])), {"output_name": "second"}
    ),
    "three classes": Form(nets.Three, refused="binary classifiers"),
    "two inputs": Form(nets.TwoInputs, refused="takes 2 inputs"),
    "random dropout": Form(nets.RandomDropout, refused="other outputs when the same rows are run"),
    "float64 that casts its input": Form(nets.Double),
}
FILES = {
    "data parallel": Form(nets.Plain, write=prefixed("module.")),
    "compiled": Form(nets.Plain, write=prefixed("_orig_mod.")),
    "data parallel, compiled": Form(nets.Plain, write=prefixed("module.", "_orig_mod.")),
    "opacus": Form(nets.Plain, write=prefixed("_module.")),
    "fabric": Form(nets.Plain, write=prefixed("_forward_module.")),
    "another prefix": Form(nets.Plain, write=prefixed("net.")),
    "wrapper class": Form(nets.Wrapper),
    "averaged": Form(nets.Plain, write=averaged),
    "training dictionary": Form(nets.Plain, write=inside("model_state_dict", epoch=3)),
    "nested dictionary": Form(nets.Plain, write=inside("checkpoint", "net", step=3)),
    "two networks": Form(nets.Plain, write=ema, refused="Choose one with checkpoint_key"),
    "two networks, told": kind_of(Form(nets.Plain, write=ema), {"checkpoint_key": "model"}),
    "lightning": Form(nets.Plain, write=lightning),
    "legacy": Form(nets.Plain, write=legacy),
    "safetensors": Form(nets.Plain, write=safetensors),
    "hugging face folder": Form(nets.Plain, write=hugging_face),
    "half": Form(nets.Plain, write=cast(torch.float16), tolerance=2e-3),
    "bfloat16": Form(nets.Plain, write=cast(torch.bfloat16), tolerance=2e-2),
    "float64": Form(nets.Plain, write=cast(torch.float64)),
    "whole, of torch's layers": Form(
        lambda: nn.Sequential(*nets.Plain()), write=whole, options=NOTHING
    ),
    "whole": Form(nets.Embeddings, write=whole, options=TRUST),
    "whole, untrusted": Form(nets.Embeddings, write=whole, options=NOTHING, refused=UNTRUSTED),
    "whole in a dictionary": Form(nets.Plain, write=whole_in_dict, options=TRUST),
    "scripted": Form(nets.Two, two, scripted, TRUST),
    "scripted, head registered first": Form(nets.HeadFirst, write=scripted, options=TRUST),
    "scripted lstm": Form(nets.Recurrent, write=scripted, options=TRUST, unprunable=NO_LAYERS),
    "scripted over any width": Form(nets.AnyWidth, write=scripted, options=TRUST),
    "traced": Form(nets.Mixed, write=traced, options=TRUST),
    "traced embeddings": Form(nets.Embeddings, write=traced, options=TRUST),
    "traced transformer": Form(nets.Transformer, write=traced, options=TRUST),
    "exported": Form(nets.Softmax, second, exported, TRUST),
    "exported convolution": Form(nets.Conv2d, two, exported, TRUST),
    "quantized": Form(quantized_plain, write=whole, options=TRUST, fixed=True, tolerance=1e-3),
}
FORMS = {**NETWORKS, **OUTPUTS, **FILES}
"""Every form by name."""
