"""TorchScript archives (``torch.jit.save``): code and weights.

Methods change an equivalent network of torch layers. Its weights are written back into the archive;
the code is never compiled again.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fairfix._utils.text import error_summary
from fairfix.errors import CheckpointError, TrustError
from fairfix.models.checkpoint import embedded_rule as embedded
from fairfix.models.checkpoint.checkpoint import Checkpoint, ReadRequest
from fairfix.models.checkpoint.find_tensors import named_tensors
from fairfix.models.checkpoint.graph_to_module import (
    check_same_outputs,
    conversion_errors,
    module_from_graph,
    width_of,
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
from fairfix.models.inputs import Batch
from fairfix.models.tensor_functions import tensors_in

KEY = "torchscript"
_TRACED_INPUTS = "traced_inputs.pkl"
_ROWS = 3
_DRAWS = (torch.randn, torch.rand)  # numbers, and numbers that are 0 as codes
_TRIED = 128  # widths up to this one, and every size of a tensor
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
    traced = _traced_inputs(file)
    network, example = _network(file, traced, request.rows)
    width = width_of(example)
    return replace(
        attach_loaded_network(checkpoint, network, partial=True),
        width=width if traced else None,
        tried_width=None if traced or request.rows is not None else width,
    )


def save(
    checkpoint: Checkpoint,
    stored: Mapping[str, Tensor],
    rule: Mapping[str, Any] | None,
    destination: Path,
) -> None:
    """Write the archive with new tensors, and the rule as the extra file ``fairfix.json``."""
    file = open_torch_file(checkpoint.file)
    file.rewrite(
        destination,
        changes(checkpoint, stored, named_tensors(file.content)),
        {embedded.MEMBER: embedded.rule_bytes(rule)},
    )


def read_back(checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
    """See ``Format.read_back``."""
    file = open_torch_file(destination)
    return by_module_name(checkpoint, file.tensors(named_tensors(file.content)))


def _network(
    file: TorchFile, traced: Sequence[StoredTensor], rows: Batch | None
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Return the network of torch layers, and the inputs with which it was converted."""
    from torch._export.converter import TS2EPConverter

    with warnings.catch_warnings(), conversion_errors(file.path):
        warnings.simplefilter("ignore")  # that torch.jit is deprecated
        script, original = (torch.jit.load(file.path, map_location="cpu").eval() for _ in range(2))
        example = _example(file, script, traced, rows)
        program = TS2EPConverter(script, example).convert()
        trained = {name for name, _ in script.named_parameters(remove_duplicate=False)}
        network = prepare_module(
            module_from_graph(program, script.state_dict(), trained, file.path)
        )
        check_same_outputs(network, original, example, file.path)
    return network, example


def _example(
    file: TorchFile,
    script: torch.jit.ScriptModule,
    traced: Sequence[StoredTensor],
    rows: Batch | None,
) -> tuple[Tensor, ...]:
    """Return inputs that the network runs on: as traced, else the rows, else a guess."""
    dtype = next(p.dtype for p in script.state_dict().values() if p.is_floating_point())
    if rows is not None and not traced:
        some = (x[:_ROWS].to("cpu") for x in rows.tensors)
        return _checked(script, tuple(x.to(dtype) if x.is_floating_point() else x for x in some))
    generator = torch.Generator().manual_seed(0)

    def drawn(draw: Callable[..., Tensor], each: StoredTensor) -> Tensor:
        kind = dtype if each.dtype.is_floating_point else each.dtype
        values: Tensor = draw(each.shape, generator=generator).to(kind)
        return values

    tried: Iterator[tuple[Tensor, ...]] = (
        tuple(drawn(draw, each) for each in traced)
        if traced
        else (draw(shape, generator=generator).to(dtype),)
        for shape in ([()] if traced else _tried_shapes(script))
        for draw in _DRAWS
    )
    for example in tried:
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                output = script(*example)
        except Exception:  # the code of the network may raise anything
            continue
        count = len(example[0])
        if any(len(tensor) == count for tensor in tensors_in(output) if tensor.ndim):
            return example
    raise CheckpointError(
        f"{file.path}: the shape of its input cannot be inferred, since it runs on none of those "
        "that were tried. Name the network's class with --arch file.py:Class."
    )


def _checked(script: torch.jit.ScriptModule, rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the rows. Raises CheckpointError if the network does not run on them."""
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            script(*rows)
    except Exception as error:  # the code of the network may raise anything
        width = width_of(rows)
        given = "these inputs" if width is None else f"{width} features a row"
        raise CheckpointError(
            f"The network does not run on {given}: {error_summary(error)}"
        ) from error
    return rows


def _traced_inputs(file: TorchFile) -> list[StoredTensor]:
    """Return the inputs that an archive records, without values; a script records none."""
    if file.archive is None or _TRACED_INPUTS not in file.archive.members:
        return []
    content = read_pickle(io.BytesIO(file.archive.read(_TRACED_INPUTS)), file.path).content
    return [*_tensors_in(content)]


def _tried_shapes(script: torch.jit.ScriptModule) -> Iterator[tuple[int, ...]]:
    """Yield shapes of rows of numbers, then of images with the channels of a convolution."""
    weights = list(script.state_dict().values())
    sizes = {size for weight in weights for size in weight.shape}
    for width in sorted({*range(1, _TRIED + 1), *sizes} - {0}):
        yield _ROWS, width
    for weight in weights:
        if weight.ndim in _IMAGE_DIMENSIONS:
            yield from (
                (_ROWS, weight.shape[1], *[n] * _IMAGE_DIMENSIONS[weight.ndim])
                for n in _IMAGE_SIZES
            )


def _tensors_in(content: Any) -> Iterator[StoredTensor]:
    if isinstance(content, StoredTensor):
        yield content
    elif isinstance(content, list | dict):
        for item in content.values() if isinstance(content, dict) else content:
            yield from _tensors_in(item)
