"""Build whole pickled networks.

The pickle names classes. If all are torch's own layers, they are created here and nothing else can
be. Otherwise the pickle is run, with permission.
"""

import sys
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fairfix._utils.text import error_summary
from fairfix.errors import CheckpointError, TrustError
from fairfix.models.checkpoint.architecture import importable_from
from fairfix.models.checkpoint.checkpoint import ReadRequest
from fairfix.models.checkpoint.find_tensors import is_pickled_module, pickled_modules
from fairfix.models.checkpoint.safe_pickle import PickledDict, PickledObject
from fairfix.models.checkpoint.tensor_storage import StoredTensor
from fairfix.models.checkpoint.torch_file import TorchFile

_LAYERS = "torch.nn.modules."
_WRAPPER = "torch.nn.parallel.data_parallel.DataParallel"
_PLAIN_TYPES = (str, int, float, bool, torch.dtype, type(None))


def build_network(
    file: TorchFile, request: ReadRequest, keys: Sequence[str] = ()
) -> tuple[nn.Module, bool]:
    """Return the network that a pickle describes, and whether the pickle was run for it.

    Args:
        file: the file.
        request: has the permission to run the pickle.
        keys: keys of the dictionaries that have the network.

    Raises:
        TrustError: if the pickle needs code other than torch's, without permission.
        CheckpointError: if that code is missing or fails.
    """
    content = pickled_modules(file.content)[tuple(keys)]
    inner = content.state["_modules"].get("module") if content.class_name == _WRAPPER else content
    try:
        network = _build(file, inner)
    except _NotTorchError as error:
        if not request.trust:
            raise TrustError(
                f"{request.path} is a whole pickled network that needs {error}, and loading it "
                "runs that code. Name the network's class with --arch file.py:Class to read only "
                "its weights, or allow it with --trust-checkpoint."
            ) from error
        return _unpickle(request.path, keys), True
    if not isinstance(network, nn.Module):
        raise CheckpointError(f"{request.path} is damaged: its network has no layers.")
    return network, False


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
    try:
        state["_parameters"] = {
            name: tensor if tensor is None else nn.Parameter(tensor, tensor.is_floating_point())
            for name, tensor in state["_parameters"].items()
        }
        layer = kind.__new__(kind)
        layer.__setstate__(state)
        layer.state_dict()
    except Exception as error:  # torch checks nothing of what a damaged file may hold
        raise CheckpointError(
            f"{file.path} is damaged: its layer {pickled.class_name} cannot be built "
            f"({error_summary(error)}). Copy it again."
        ) from error
    return layer


def _unpickle(path: Path, keys: Sequence[str]) -> nn.Module:
    try:
        with importable_from(Path.cwd()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about its own storage classes
            module = torch.load(path, map_location="cpu", weights_only=False)
        for key in keys:
            module = module[int(key) if isinstance(module, list | tuple) else key]
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
