"""Read the pickle of a torch file without importing or calling anything that it names.

A pickle names classes and functions to call with arguments. Here every call becomes a
``PickledObject`` that records it, except those that describe tensors and dictionaries: these become
``StoredTensor`` (the position of the values, not the values) and dictionaries. So any file can be
inspected, and none of it is run.
"""

import io
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.tensor_storage import StoredTensor


class PickledDict(dict[Any, Any]):
    """A dictionary of another type than dict: OrderedDict, defaultdict or Counter."""


class PickledObject:
    """An object that was not created, as the pickle describes it.

    Attributes:
        class_name: full name of the class or function that the pickle calls.
        args: the arguments of the call.
        state: what the pickle would pass to ``__setstate__``.
        entries: items that the pickle sets, if the object is a dictionary.
        items: items that the pickle appends or adds, if the object is a list or set.
    """

    class_name: ClassVar[str] = ""
    args: tuple[Any, ...]
    state: Any
    entries: dict[Any, Any]
    items: list[Any]

    def __new__(cls, *args: object, **kwargs: object) -> "PickledObject":
        """Record the arguments of the call."""
        pickled = super().__new__(cls)
        pickled.args, pickled.state, pickled.entries, pickled.items = args, None, {}, []
        return pickled

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Accept the arguments of ``__new__``."""

    def __setitem__(self, key: object, value: object) -> None:
        self.entries[key] = value

    def append(self, item: object) -> None:
        """Record an item of a list."""
        self.items.append(item)

    def add(self, item: object) -> None:
        """Record an item of a set."""
        self.items.append(item)


@dataclass(frozen=True)
class PickleContents:
    """The contents of a pickle.

    Attributes:
        content: the top-level value.
        storages: dtype of each tensor storage, by key.
        foreign: names of classes and functions other than torch's tensors and layers.
    """

    content: Any
    storages: dict[str, torch.dtype | None]
    foreign: tuple[str, ...] = ()


def read_pickle(stream: io.BytesIO, file: object) -> PickleContents:
    """Read the pickle at the position of a stream, which then is at its end.

    Args:
        stream: the stream.
        file: name of the file, for messages.

    Raises:
        CheckpointError: if the pickle is damaged.
    """
    reader = _SafeUnpickler(stream)
    try:
        return PickleContents(reader.load(), reader.storages, tuple(reader.foreign))
    except Exception as error:  # a hostile pickle can raise anything
        raise CheckpointError(f"{file} is damaged: its pickle cannot be read ({error}).") from error


class _SafeUnpickler(pickle._Unpickler):  # the C one allocates any size that a memo index names
    stack: list[Any]

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, torch.dtype | None] = {}
        self.foreign: list[str] = []
        self._classes: dict[str, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full not in self._classes:
            known = _KNOWN.get(full) or _torch_dtype(module, name)
            self._classes[full] = known or _pickled_class(full)
            if not (known or _is_torch(module, name)):
                self.foreign.append(full)
        return self._classes[full]

    def load_build(self) -> None:
        """Set the state of an object. Only a ``PickledObject`` ever gets one."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], PickledObject):
            self.stack[-1].state = state

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] != "storage":  # ("module", class, file, source): old files have source text
            return pid[1]
        kind, key, view = pid[1], str(pid[2]), (pid[5] if len(pid) > 5 else None)
        dtype = kind.dtype if isinstance(kind, _StorageClass) else None
        self.storages[key] = dtype
        return _Storage(key, dtype, view[1] if view else 0)


@dataclass(frozen=True)
class _StorageClass:
    dtype: torch.dtype | None


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: torch.dtype | None
    first: int


def _pickled_class(name: str) -> type[PickledObject]:
    return type(name.rpartition(".")[2], (PickledObject,), {"class_name": name})


def _is_torch(module: str, name: str) -> bool:
    """Whether a name belongs to a layer or tensor of torch, or to a class of TorchScript."""
    layer = module.startswith("torch.nn.modules.") and name.isidentifier() and name[0].isupper()
    rebuilt = module == "torch._utils" and name.startswith("_rebuild_")
    script = f"{module}.".startswith("__torch__.")
    return layer or rebuilt or script or f"{module}.{name}" in _HARMLESS


def _torch_dtype(module: str, name: str) -> torch.dtype | None:
    found = getattr(torch, name, None) if module == "torch" else None
    return found if isinstance(found, torch.dtype) else None


def _tensor(
    storage: _Storage, offset: Any, shape: Any, stride: Any, dtype: torch.dtype | None = None
) -> StoredTensor:
    dtype = dtype or storage.dtype
    numbers = [offset, *shape, *stride]
    if dtype is None or len(shape) != len(stride):
        raise pickle.UnpicklingError("a tensor without a type or shape")
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise pickle.UnpicklingError("a tensor with an invalid shape")
    return StoredTensor(storage.key, dtype, storage.first + offset, tuple(shape), tuple(stride))


def _tensor_v2(storage: _Storage, offset: Any, shape: Any, stride: Any, *rest: Any) -> Any:
    if (
        len(rest) > 2 and rest[2]
    ):  # lazily negated or conjugated: the stored bytes are not the values
        return _pickled_class("torch._utils._rebuild_lazy_tensor")()
    return _tensor(storage, offset, shape, stride)


def _tensor_v3(
    storage: _Storage,
    offset: Any,
    shape: Any,
    stride: Any,
    grad: Any,
    hooks: Any,
    dtype: Any,
    *_: Any,
) -> StoredTensor:
    return _tensor(storage, offset, shape, stride, dtype)


def _first(data: Any, *_: Any) -> Any:
    return data


def _from_type(function: Callable[..., Any], kind: Any, args: Any, *_: Any) -> Any:
    known = function in (_tensor, _tensor_v2, _tensor_v3, _first)
    return function(*args) if known else _pickled_class("torch._utils._rebuild_subclass")()


def _dict(*_: Any) -> PickledDict:
    return PickledDict()


def _set(items: Iterable[Any] = ()) -> set[Any]:
    return set(items)


def _size(shape: Iterable[Any] = ()) -> tuple[Any, ...]:
    return tuple(shape)


_HARMLESS = {  # names for bytes, devices and a wrapper of networks in training
    "_codecs.encode",
    "torch.device",
    "torch.nn.parallel.data_parallel.DataParallel",
}
_STORAGES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
}
_KNOWN: dict[str, Any] = {
    "builtins.set": _set,
    "__builtin__.set": _set,
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _dict,
    "collections.Counter": _dict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.jit._pickle.restore_type_tag": _first,
    "torch.storage.UntypedStorage": _StorageClass(None),
    "torch.storage.TypedStorage": _StorageClass(None),
    **{f"torch.{name}Storage": _StorageClass(dtype) for name, dtype in _STORAGES.items()},
}
