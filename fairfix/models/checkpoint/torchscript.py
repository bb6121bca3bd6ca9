"""TorchScript archives (``torch.jit.save``): code and weights.

Methods change an equivalent network of torch layers. Its weights are written back into the archive;
the code is never compiled again.
"""

import io
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fairfix.errors import CheckpointError, TrustError
from fairfix.models.checkpoint import embedded_rule as embedded
from fairfix.models.checkpoint.checkpoint import Checkpoint, ReadRequest
from fairfix.models.checkpoint.find_tensors import named_tensors
from fairfix.models.checkpoint.graph_to_module import (
    check_same_outputs,
    conversion_errors,
    module_from_graph,
)
from fairfix.models.checkpoint.load_weights import (
    attach_loaded_network,
    attach_network,
    by_module_name,
    prepare_module,
)
from fairfix.models.checkpoint.safe_pickle import PickledObject, read_pickle
from fairfix.models.checkpoint.state_dict import changes
from fairfix.models.checkpoint.tensor_storage import StoredTensor
from fairfix.models.checkpoint.torch_file import TorchFile, open_torch_file

KEY = "torchscript"
_TRACED_INPUTS = "traced_inputs.pkl"
_IMAGE_SIZES = (28, 32, 64, 96, 128, 224, 256, 299)
_IMAGE_DIMENSIONS = {3: 1, 4: 2, 5: 3}  # by the number of dimensions of a convolution's weight


def read(request: ReadRequest) -> Checkpoint:
    """Read an archive with the network in its code, or with that of the given architecture.

    Raises:
        TrustError: without an architecture and without permission to run the code.
        CheckpointError: if it is frozen, or its code cannot be converted to layers.
    """
    file = open_torch_file(request.path)
    if not isinstance(file.content, PickledObject):
        raise CheckpointError(
            f"{request.path} is damaged: its pickle is not a network. Copy it again."
        )
    stored = named_tensors(file.content)
    if not stored:
        raise CheckpointError(
            f"{request.path} is frozen TorchScript, whose weights are constants of the code. Use "
            "the TorchScript from before torch.jit.freeze."
        )
    checkpoint = Checkpoint(
        request.path,
        KEY,
        "TorchScript",
        None,
        file.tensors(stored),
        rule=embedded.rule_in(file.archive),
        metadata={"class": file.content.class_name.removeprefix("__torch__.")},
    )
    if request.arch is not None:
        return attach_network(checkpoint, request, partial=True)
    if not request.trust:
        raise TrustError(
            f"{request.path} is TorchScript, and running it runs the code inside it. Name the "
            "network's class with --arch file.py:Class to read only its weights, or allow it with "
            "--trust-checkpoint."
        )
    return attach_loaded_network(checkpoint, _network(file), partial=True)


def save(
    checkpoint: Checkpoint,
    stored: Mapping[str, Tensor],
    rule: Mapping[str, Any] | None,
    destination: Path,
) -> None:
    """Write the archive with new tensors, and the rule as the extra file ``fairfix.json``."""
    file = open_torch_file(checkpoint.path)
    file.rewrite(
        destination,
        changes(checkpoint, stored, named_tensors(file.content)),
        {embedded.MEMBER: embedded.rule_bytes(rule)},
    )


def read_back(checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
    """See ``Format.read_back``."""
    file = open_torch_file(destination)
    return by_module_name(checkpoint, file.tensors(named_tensors(file.content)))


def _network(file: TorchFile) -> nn.Module:
    from torch._export.converter import TS2EPConverter

    with warnings.catch_warnings(), conversion_errors(file.path):
        warnings.simplefilter("ignore")  # that torch.jit is deprecated
        script, original = (torch.jit.load(file.path, map_location="cpu").eval() for _ in range(2))
        example = _example(file, script)
        program = TS2EPConverter(script, (example,)).convert()
        trained = {name for name, _ in script.named_parameters(remove_duplicate=False)}
        network = prepare_module(
            module_from_graph(program, script.state_dict(), trained, file.path)
        )
        check_same_outputs(network, original, example, file.path)
    return network


def _example(file: TorchFile, script: torch.jit.ScriptModule) -> Tensor:
    """Return an input that the network accepts: as traced, else as the layers' shapes suggest."""
    dtype = next(p.dtype for p in script.state_dict().values() if p.is_floating_point())
    generator = torch.Generator().manual_seed(0)
    for shape in _input_shapes(file, script):
        example = torch.randn(shape, generator=generator).to(dtype)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                script(example)
        except RuntimeError:
            continue
        return example
    raise CheckpointError(
        f"{file.path}: the shape of its input cannot be inferred from its layers. Name the "
        "network's class with --arch file.py:Class."
    )


def _input_shapes(file: TorchFile, script: torch.jit.ScriptModule) -> Iterator[tuple[int, ...]]:
    if file.archive is not None and _TRACED_INPUTS in file.archive.members:
        traced = read_pickle(io.BytesIO(file.archive.read(_TRACED_INPUTS)), file.path).content
        yield from (tensor.shape for tensor in _tensors_in(traced))
    for weight in script.state_dict().values():
        if weight.ndim == 2:
            yield 2, weight.shape[1]
        elif weight.ndim in _IMAGE_DIMENSIONS:
            yield from (
                (2, weight.shape[1], *[n] * _IMAGE_DIMENSIONS[weight.ndim]) for n in _IMAGE_SIZES
            )


def _tensors_in(content: Any) -> Iterator[StoredTensor]:
    if isinstance(content, StoredTensor):
        yield content
    elif isinstance(content, list | dict):
        for item in content.values() if isinstance(content, dict) else content:
            yield from _tensors_in(item)
