"""A whole network saved with ``torch.save(model, path)``.

Its pickle names classes. Where all are torch's own layers they are made here, and nothing else can
be; with ``--arch`` the weights are read and nothing is made; else only trust lets the pickle run.
"""

import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fairfix.errors import CheckpointError, TrustError
from fairfix.models.checkpoint import state_dict
from fairfix.models.checkpoint.architecture import importable_from
from fairfix.models.checkpoint.base import Checkpoint, Source, reason
from fairfix.models.checkpoint.find_tensors import is_network, named_tensors
from fairfix.models.checkpoint.load_weights import with_module, with_network
from fairfix.models.checkpoint.safe_pickle import Entries, Inert
from fairfix.models.checkpoint.tensor_storage import StoredTensor
from fairfix.models.checkpoint.torch_file import TorchFile, open_torch_file

KEY = "pickled_module"
_LAYERS = "torch.nn.modules."
_WRAPPER = "torch.nn.parallel.data_parallel.DataParallel"
_PLAIN = (str, int, float, bool, torch.dtype, type(None))

save = state_dict.save
reread = state_dict.reread


def read(source: Source) -> Checkpoint:
    """Read ``source``, with the network as pickled, or as ``source.arch`` makes it.

    Raises TrustError where the pickle needs code that is not torch's, CheckpointError where that
    code is not to be had or fails.
    """
    file = open_torch_file(source.path)
    kind = file.content.kind
    checkpoint = Checkpoint(
        source.path,
        KEY,
        f"whole pickled network of class {kind}",
        None,
        file.tensors(named_tensors(file.content)),
        notes=file.notes,
        metadata={"class": kind},
    )
    if source.arch is not None:
        return with_network(checkpoint, source)
    content = file.content.state["_modules"]["module"] if kind == _WRAPPER else file.content
    try:
        module = _made(file, content)
    except _NotTorchError as error:
        if not source.trust:
            raise TrustError(
                f"{source.path} is a whole pickled network that needs {error}, and loading it runs "
                "that code. Name the network's class with --arch file.py:Class to read its "
                "weights alone, or allow it with --trust-checkpoint."
            ) from error
        module = _unpickled(source.path)
        checkpoint = replace(checkpoint, notes=())  # what is in the file has run
    return with_module(checkpoint, module)


class _NotTorchError(Exception):
    """A class that is not one of torch's layers; its name is the message."""


def _made(file: TorchFile, value: Any) -> Any:
    """What ``value`` of the inert structure stands for. Only torch's layers are ever made."""
    if isinstance(value, StoredTensor):
        return file.tensor("of the network", value)
    if isinstance(value, Inert):
        return _layer(file, value)
    if isinstance(value, dict):
        kind = OrderedDict if isinstance(value, Entries) else dict
        return kind((key, _made(file, item)) for key, item in value.items())
    if isinstance(value, list | tuple | set):
        return type(value)(_made(file, item) for item in value)
    if isinstance(value, _PLAIN):
        return value
    raise _NotTorchError(getattr(value, "kind", type(value).__name__))


def _layer(file: TorchFile, tree: Inert) -> nn.Module:
    place, _, name = tree.kind.rpartition(".")
    kind = getattr(sys.modules.get(place), name, None) if tree.kind.startswith(_LAYERS) else None
    if not (is_network(tree) and isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise _NotTorchError(tree.kind)
    state = _made(file, tree.state)
    state["_parameters"] = {
        name: tensor if tensor is None else nn.Parameter(tensor, tensor.is_floating_point())
        for name, tensor in state["_parameters"].items()
    }
    layer = kind.__new__(kind)
    layer.__setstate__(state)
    return layer


def _unpickled(path: Path) -> nn.Module:
    try:
        with importable_from(Path.cwd()):
            module = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be unpickled here: {reason(error)}. Name the network's "
            "class with --arch file.py:Class."
        ) from error
    if isinstance(module, nn.DataParallel):
        module = module.module
    if not isinstance(module, nn.Module):
        raise CheckpointError(f"{path} unpickles to a {type(module).__name__}, not an nn.Module.")
    return module
