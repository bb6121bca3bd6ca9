"""Whole networks saved with ``torch.save(model, path)``.

The pickle names classes. If all are torch's own layers, they are created here and nothing else can
be. With an architecture, only the weights are read. Otherwise the pickle is run, with permission.
"""

import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fairfix._utils.text import error_summary
from fairfix.errors import CheckpointError, TrustError
from fairfix.models.checkpoint import state_dict
from fairfix.models.checkpoint.architecture import importable_from
from fairfix.models.checkpoint.checkpoint import Checkpoint, ReadRequest
from fairfix.models.checkpoint.find_tensors import is_pickled_module, stored_tensors
from fairfix.models.checkpoint.load_weights import attach_loaded_network, attach_network
from fairfix.models.checkpoint.safe_pickle import PickledDict, PickledObject
from fairfix.models.checkpoint.tensor_storage import StoredTensor
from fairfix.models.checkpoint.torch_file import TorchFile, open_torch_file

KEY = "pickled_module"
_LAYERS = "torch.nn.modules."
_WRAPPER = "torch.nn.parallel.data_parallel.DataParallel"
_PLAIN_TYPES = (str, int, float, bool, torch.dtype, type(None))

save = state_dict.save
read_back = state_dict.read_back


def read(request: ReadRequest) -> Checkpoint:
    """Read a file with its network, or with that of the given architecture.

    Raises:
        TrustError: if the pickle needs code other than torch's, without permission.
        CheckpointError: if that code is missing or fails.
    """
    file = open_torch_file(request.path)
    class_name = file.content.class_name
    checkpoint = Checkpoint(
        request.path,
        KEY,
        f"whole pickled network of class {class_name}",
        None,
        {},
        notes=file.notes,
        metadata={"class": class_name},
    )
    tensors = stored_tensors(file.content, file)
    if request.arch is not None:
        return attach_network(checkpoint, request, file=tensors)
    for error in tensors.unreadable.values():
        raise error
    content = file.content.state["_modules"]["module"] if class_name == _WRAPPER else file.content
    try:
        module = _build(file, content)
    except _NotTorchError as error:
        if not request.trust:
            raise TrustError(
                f"{request.path} is a whole pickled network that needs {error}, and loading it "
                "runs that code. Name the network's class with --arch file.py:Class to read only "
                "its weights, or allow it with --trust-checkpoint."
            ) from error
        module = _unpickle(request.path)
        checkpoint = replace(
            checkpoint, notes=()
        )  # that its objects were not run is no longer true
    return attach_loaded_network(checkpoint, module, file=tensors)


class _NotTorchError(Exception):
    """A class that is not a layer of torch; the message is its name."""


def _build(file: TorchFile, value: Any) -> Any:
    """Build the object that a value of the pickle describes. Only torch's layers are created."""
    if isinstance(value, StoredTensor):
        return file.tensor("of the network", value)
    if isinstance(value, PickledObject):
        return _build_layer(file, value)
    if isinstance(value, dict):
        kind = OrderedDict if isinstance(value, PickledDict) else dict
        return kind((key, _build(file, item)) for key, item in value.items())
    if isinstance(value, list | tuple | set):
        return type(value)(_build(file, item) for item in value)
    if isinstance(value, _PLAIN_TYPES):
        return value
    raise _NotTorchError(getattr(value, "class_name", type(value).__name__))


def _build_layer(file: TorchFile, pickled: PickledObject) -> nn.Module:
    module, _, name = pickled.class_name.rpartition(".")
    is_torch = pickled.class_name.startswith(_LAYERS)
    kind = getattr(sys.modules.get(module), name, None) if is_torch else None
    if not (is_pickled_module(pickled) and isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise _NotTorchError(pickled.class_name)
    state = _build(file, pickled.state)
    state["_parameters"] = {
        name: tensor if tensor is None else nn.Parameter(tensor, tensor.is_floating_point())
        for name, tensor in state["_parameters"].items()
    }
    layer = kind.__new__(kind)
    layer.__setstate__(state)
    return layer


def _unpickle(path: Path) -> nn.Module:
    try:
        with importable_from(Path.cwd()):
            module = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be unpickled: {error_summary(error)}. Name the network's class with "
            "--arch file.py:Class."
        ) from error
    if isinstance(module, nn.DataParallel):
        module = module.module
    if not isinstance(module, nn.Module):
        raise CheckpointError(
            f"{path} unpickles to a {type(module).__name__}, not an nn.Module. Save the network."
        )
    return module
