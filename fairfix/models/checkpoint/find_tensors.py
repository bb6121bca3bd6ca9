"""Find the named tensors of a network in the contents of a pickle."""

from collections.abc import Iterator
from itertools import count
from math import isfinite
from typing import Any

from torch import Tensor

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.choose_tensors import FileTensors
from fairfix.models.checkpoint.safe_pickle import PickledObject
from fairfix.models.checkpoint.tensor_storage import StorageFile, StoredTensor

_REBUILD_PREFIX = "torch._utils._rebuild_"
_MAX_TENSORS = 100_000  # a small pickle can refer to its parts so often that it never ends
_MAX_DEPTH = 6  # of weights in a training dictionary
_OTHER = object()


class _UnchangeableError(CheckpointError):
    """A tensor that is quantized, sparse or lazy."""


def is_pickled_module(content: Any) -> bool:
    """Whether the content is a pickled ``nn.Module``."""
    state = content.state if isinstance(content, PickledObject) else None
    if not isinstance(state, dict):
        return False
    groups = [state.get(group) for group in ("_parameters", "_buffers", "_modules")]
    return all(isinstance(group, dict) and set(map(type, group)) <= {str} for group in groups)


def stored_tensors(content: Any, file: StorageFile) -> FileTensors:
    """Return every tensor of the state dicts and pickled networks in a training dictionary.

    The contents of optimizers are skipped.

    Raises:
        CheckpointError: if two tensors have one name, or there are too many.
    """
    places, unreadable = _places(content)
    containers = {name: where for name, (where, _) in places.items()}
    tensors: dict[str, Tensor] = {}
    for name, (where, stored) in places.items():
        try:
            tensors[name] = file.tensor(name.removeprefix(f"{where}."), stored)
        except CheckpointError as error:
            unreadable.setdefault(where, error)
    return FileTensors(tensors, containers, unreadable, tuple(map(str, _entries(content))))


def stored_places(content: Any) -> dict[str, StoredTensor]:
    """Return the position of every tensor that ``stored_tensors`` finds, by its name."""
    return {name: stored for name, (_, stored) in _places(content)[0].items()}


def pickled_modules(content: Any) -> dict[tuple[str, ...], PickledObject]:
    """Return the whole pickled networks in a training dictionary, by their keys."""
    found = _find_containers(content)
    return {keys: container for keys, container in found if is_pickled_module(container)}


def _places(
    content: Any,
) -> tuple[dict[str, tuple[str, StoredTensor]], dict[str, CheckpointError]]:
    """Return container and position of every tensor by name, and faults by container."""
    found: dict[str, tuple[str, StoredTensor]] = {}
    unreadable: dict[str, CheckpointError] = {}
    for keys, container in _find_containers(content):
        where = ".".join(keys)
        try:
            tensors = named_tensors(container)
        except _UnchangeableError as error:
            unreadable[where] = error
            continue
        for name, stored in tensors.items():
            full = f"{where}.{name}" if where else name
            if found.setdefault(full, (where, stored))[1] != stored:
                raise CheckpointError(
                    f"Two tensors of the file are called {full!r}. Save only the network's "
                    "state_dict."
                )
        if len(found) > _MAX_TENSORS:
            raise CheckpointError(f"The file has over {_MAX_TENSORS} tensors: it is damaged.")
    return found, unreadable


def _find_containers(content: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every state dict and pickled network in a training dictionary, with its keys."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), content)]
    for visited in count():
        if not waiting:
            return
        if visited > _MAX_TENSORS:
            raise CheckpointError(f"The file has over {_MAX_TENSORS} dictionaries: it is damaged.")
        where, container = waiting.pop()
        entries = _entries(container)
        if is_pickled_module(container) or any(
            isinstance(value, StoredTensor) for value in entries.values()
        ):
            yield where, container
        if len(where) < _MAX_DEPTH:
            waiting += [
                ((*where, name), value)
                for name, value in reversed(entries.items())
                if isinstance(name, str) and not name.startswith("optim") and _may_hold(value)
            ]


def _may_hold(value: Any) -> bool:
    return isinstance(value, dict | list | tuple | PickledObject)


def named_tensors(content: Any) -> dict[str, StoredTensor]:
    """Return the tensors of a state dict, a pickled ``nn.Module`` or a script module.

    Raises:
        CheckpointError: if a tensor is quantized or sparse, or there are too many.
    """
    found: dict[str, StoredTensor] = {}
    for name, value in _walk(content, "", ()):
        for part in value if type(value) is tuple else (value,):
            if isinstance(part, PickledObject) and part.class_name.startswith(_REBUILD_PREFIX):
                raise _UnchangeableError(
                    f"Tensor {name!r} is of a kind that cannot be changed "
                    f"({part.class_name.removeprefix(_REBUILD_PREFIX)}). Use the network from "
                    "before it was quantized or packed."
                )
        if isinstance(value, StoredTensor):
            found[name] = value
        if len(found) > _MAX_TENSORS:
            raise CheckpointError(f"The file has over {_MAX_TENSORS} tensors: it is damaged.")
    return found


def json_values(content: Any) -> dict[str, Any]:
    """Return the numbers and strings of a dictionary and of the dictionaries directly in it."""
    values = {}
    for name, value in _entries(content).items():
        inner = {} if isinstance(value, list | tuple) else plain_values(value)
        if isinstance(name, str) and (inner or _is_json(value)):
            values[name] = inner or value
    return values


def plain_values(content: Any, depth: int = 0) -> dict[str, Any]:
    """Return the plain values of a dictionary: numbers, strings, None, and lists and dictionaries.

    Other values are left out.
    """
    values = {}
    for name, value in _entries(content).items():
        if isinstance(name, str) and (plain := _plain(value, depth)) is not _OTHER:
            values[name] = plain
    return values


def _plain(value: Any, depth: int) -> Any:
    if value is None or _is_json(value):
        return value
    if depth == _MAX_DEPTH or not isinstance(value, dict | list | tuple):
        return _OTHER
    if isinstance(value, dict):
        return plain_values(value, depth + 1)
    items = [_plain(item, depth + 1) for item in value]
    return _OTHER if any(item is _OTHER for item in items) else type(value)(items)


def _is_json(value: Any) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and isfinite(value))


def _entries(content: Any) -> dict[Any, Any]:
    if isinstance(content, PickledObject):
        return content.entries
    if isinstance(content, list | tuple):
        return {str(index): value for index, value in enumerate(content)}
    return content if isinstance(content, dict) else {}


def _walk(content: Any, prefix: str, above: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    """Yield everything that is not a module, with its dotted name."""
    if id(content) in above:
        raise CheckpointError("The network in the file contains itself: the file is damaged.")
    for name, value in _members(content):
        if is_pickled_module(value) or _is_script_module(value):
            yield from _walk(value, f"{prefix}{name}.", (*above, id(content)))
        elif value is not None:
            yield prefix + name, value


def _members(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield the direct members of ``content`` that its ``state_dict`` would have."""
    if is_pickled_module(content):
        state = content.state
        temporary = state.get("_non_persistent_buffers_set")
        kept = state["_buffers"].keys() - (temporary if isinstance(temporary, set) else set())
        buffers = {name: value for name, value in state["_buffers"].items() if name in kept}
        groups = [state["_parameters"], buffers, state["_modules"]]
    else:
        groups = [content.state if _is_script_module(content) else _entries(content)]
    for group in groups:
        yield from ((name, value) for name, value in group.items() if isinstance(name, str))


def _is_script_module(content: Any) -> bool:
    return (
        isinstance(content, PickledObject)
        and content.class_name.startswith("__torch__.")
        and isinstance(content.state, dict)
    )
