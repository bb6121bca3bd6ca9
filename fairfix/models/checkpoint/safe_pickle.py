"""The pickle of a torch file as plain structure: nothing is imported, nothing is called.

A pickle names classes and functions to be called with arguments. Here every such name becomes an
``Inert`` record of the call, except the few that describe tensors and dictionaries: those become
``StoredTensor`` (where the numbers lie, not the numbers) and dictionaries. So a file can be looked
into whatever it holds, and looking runs none of it.
"""

import io
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.tensor_storage import StoredTensor


class Entries(dict[Any, Any]):
    """A dictionary of any kind (OrderedDict, defaultdict, Counter)."""


class Inert:
    """An object that was not made: ``kind`` is its class, and what the pickle says of it is kept.

    ``entries`` and ``items`` are what a dictionary or a list of that class would hold.
    """

    kind: ClassVar[str] = ""
    args: tuple[Any, ...]
    state: Any
    entries: dict[Any, Any]
    items: list[Any]

    def __new__(cls, *args: object, **kwargs: object) -> "Inert":
        """Keep the arguments of the call that is not made."""
        made = super().__new__(cls)
        made.args, made.state, made.entries, made.items = args, None, {}, []
        return made

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Take the same arguments as ``__new__``."""

    def __setitem__(self, key: object, value: object) -> None:
        self.entries[key] = value

    def append(self, item: object) -> None:
        """Keep ``item``, as a list would."""
        self.items.append(item)

    def add(self, item: object) -> None:
        """Keep ``item``, as a set would."""
        self.items.append(item)


@dataclass(frozen=True)
class Found:
    """What a pickle holds, and the type of each storage that it names.

    ``foreign`` are the classes and functions it names that are not torch's tensors or layers.
    """

    content: Any
    storages: dict[str, torch.dtype | None]
    foreign: tuple[str, ...] = ()


def read_pickle(stream: io.BytesIO, what: object) -> Found:
    """The structure of the pickle at the stream's position; the stream moves past it.

    ``what`` names the file in the error that a damaged pickle raises (CheckpointError).
    """
    reader = _Reader(stream)
    try:
        return Found(reader.load(), reader.storages, tuple(reader.foreign))
    except Exception as error:  # a hostile pickle can make its reader fail in any way
        raise CheckpointError(f"{what} is damaged: its pickle cannot be read ({error}).") from error


class _Reader(pickle._Unpickler):  # the C one would allocate whatever size a hostile memo names
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
            self._classes[full] = known or _inert(full)
            if not (known or _is_torch(module, name)):
                self.foreign.append(full)
        return self._classes[full]

    def load_build(self) -> None:
        """Give an object its state. Only what stands for an object of the file ever takes one."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], Inert):
            self.stack[-1].state = state

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] != "storage":  # ("module", class, file, source): old files carry source text
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


def _inert(kind: str) -> type[Inert]:
    return type(kind.rpartition(".")[2], (Inert,), {"kind": kind})


def _is_torch(module: str, name: str) -> bool:
    """Whether a name is that of a layer or a tensor of torch, or of a class of TorchScript."""
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
        raise pickle.UnpicklingError("a tensor whose shape is no shape")
    return StoredTensor(storage.key, dtype, storage.first + offset, tuple(shape), tuple(stride))


def _tensor_v2(storage: _Storage, offset: Any, shape: Any, stride: Any, *rest: Any) -> Any:
    if len(rest) > 2 and rest[2]:  # lazily negated or conjugated: the bytes are not the values
        return _inert("torch._utils._rebuild_lazy_tensor")()
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
    return function(*args) if known else _inert("torch._utils._rebuild_subclass")()


def _entries(*_: Any) -> Entries:
    return Entries()


def _set(items: Iterable[Any] = ()) -> set[Any]:
    return set(items)


def _size(shape: Iterable[Any] = ()) -> tuple[Any, ...]:
    return tuple(shape)


_HARMLESS = {  # of bytes, devices and the wrapper that training puts around a network
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
    "collections.OrderedDict": _entries,
    "collections.defaultdict": _entries,
    "collections.Counter": _entries,
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
