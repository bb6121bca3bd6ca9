"""TorchScript (``torch.jit.save``): code and weights in one archive.

Its weights are searched in a network of torch layers that computes the same, and written back into
the archive; the code is never compiled again.
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
from fairfix.models.checkpoint.base import Checkpoint, Source
from fairfix.models.checkpoint.find_tensors import named_tensors
from fairfix.models.checkpoint.graph_layers import as_layers, check_behavior, taking_apart
from fairfix.models.checkpoint.load_weights import by_own_name, ready, with_module, with_network
from fairfix.models.checkpoint.safe_pickle import read_pickle
from fairfix.models.checkpoint.state_dict import changes
from fairfix.models.checkpoint.tensor_storage import StoredTensor
from fairfix.models.checkpoint.torch_file import TorchFile, open_torch_file

KEY = "torchscript"
_TRACED_INPUTS = "traced_inputs.pkl"
_IMAGE_SIDES = (28, 32, 64, 96, 128, 224, 256, 299)
_DIMENSIONS = {3: 1, 4: 2, 5: 3}  # of a convolution's weight: its image's


def read(source: Source) -> Checkpoint:
    """Read ``source``, with the network in its code, or as ``source.arch`` makes it.

    Raises TrustError without trust or architecture, CheckpointError for frozen TorchScript and for
    a network that cannot be taken apart.
    """
    file = open_torch_file(source.path)
    stored = named_tensors(file.content)
    if not stored:
        raise CheckpointError(
            f"{source.path} is frozen TorchScript: its weights are constants of the code. Give the "
            "TorchScript from before torch.jit.freeze."
        )
    checkpoint = Checkpoint(
        source.path,
        KEY,
        "TorchScript",
        None,
        file.tensors(stored),
        rule=embedded.rule_in(file.archive),
        metadata={"class": file.content.kind.removeprefix("__torch__.")},
    )
    if source.arch is not None:
        return with_network(checkpoint, source, partial=True)
    if not source.trust:
        raise TrustError(
            f"{source.path} is TorchScript, and running it runs the code inside it. Name the "
            "network's class with --arch file.py:Class to read its weights alone, or allow it with "
            "--trust-checkpoint."
        )
    return with_module(checkpoint, _network(file), partial=True)


def save(
    checkpoint: Checkpoint,
    stored: Mapping[str, Tensor],
    rule: Mapping[str, Any] | None,
    destination: Path,
) -> None:
    """Write the archive with new numbers, and the rule as the extra file ``fairfix.json``."""
    file = open_torch_file(checkpoint.path)
    file.rewrite(
        destination,
        changes(checkpoint, stored, named_tensors(file.content)),
        {embedded.MEMBER: embedded.rule_bytes(rule)},
    )


def reread(checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
    """The tensors of a file that ``save`` wrote."""
    file = open_torch_file(destination)
    return by_own_name(checkpoint, file.tensors(named_tensors(file.content)))


def _network(file: TorchFile) -> nn.Module:
    from torch._export.converter import TS2EPConverter

    with warnings.catch_warnings(), taking_apart(file.path):
        warnings.simplefilter("ignore")  # torch.jit calls itself deprecated; the user knows
        script, original = (torch.jit.load(file.path, map_location="cpu").eval() for _ in range(2))
        example = _example(file, script)
        program = TS2EPConverter(script, (example,)).convert()
        trained = {name for name, _ in script.named_parameters(remove_duplicate=False)}
        network = ready(as_layers(program, script.state_dict(), trained, file.path))
        check_behavior(network, original, example, file.path)
    return network


def _example(file: TorchFile, script: torch.jit.ScriptModule) -> Tensor:
    """Some input that the network takes: as it was traced, else by trying what the layers take."""
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
        f"{file.path}: the shape of its input cannot be told from its layers. Name the network's "
        "class with --arch."
    )


def _input_shapes(file: TorchFile, script: torch.jit.ScriptModule) -> Iterator[tuple[int, ...]]:
    if file.archive is not None and _TRACED_INPUTS in file.archive.members:
        traced = read_pickle(io.BytesIO(file.archive.read(_TRACED_INPUTS)), file.path).content
        yield from (tensor.shape for tensor in _tensors_in(traced))
    for weight in script.state_dict().values():
        if weight.ndim == 2:
            yield 2, weight.shape[1]
        elif weight.ndim in _DIMENSIONS:
            yield from ((2, weight.shape[1], *[n] * _DIMENSIONS[weight.ndim]) for n in _IMAGE_SIDES)


def _tensors_in(content: Any) -> Iterator[StoredTensor]:
    if isinstance(content, StoredTensor):
        yield content
    elif isinstance(content, list | dict):
        for item in content.values() if isinstance(content, dict) else content:
            yield from _tensors_in(item)
