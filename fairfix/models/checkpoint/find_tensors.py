"""Find the named tensors of a network in the contents of a pickle."""

from collections.abc import Iterator
from math import isfinite
from typing import Any

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.safe_pickle import PickledObject
from fairfix.models.checkpoint.tensor_storage import StoredTensor

_REBUILD_PREFIX = "torch._utils._rebuild_"
_MAX_TENSORS = 100_000  # a small pickle can refer to its parts so often that it never ends
_MAX_DEPTH = 2  # of weights in a training dictionary


def is_pickled_module(content: Any) -> bool:
    """Whether the content is a pickled ``nn.Module``."""
    state = content.state if isinstance(content, PickledObject) else None
    if not isinstance(state, dict):
        return False
    groups = [state.get(group) for group in ("_parameters", "_buffers", "_modules")]
    return all(isinstance(group, dict) and set(map(type, group)) <= {str} for group in groups)


def find_weights(
    content: Any, where: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dict[Any, Any] | PickledObject]]:
    """Yield every state dict and pickled network in a training dictionary, with its keys.

    The contents of optimizers are skipped.
    """
    entries = _entries(content)
    if is_pickled_module(content) or any(
        isinstance(value, StoredTensor) for value in entries.values()
    ):
        yield where, content
    if len(where) < _MAX_DEPTH:
        for name, value in entries.items():
            if isinstance(name, str) and not name.startswith("optim"):
                yield from find_weights(value, (*where, name))


def named_tensors(content: Any) -> dict[str, StoredTensor]:
    """Return the tensors of a state dict, a pickled ``nn.Module`` or a script module.

    Raises:
        CheckpointError: if a tensor is quantized or sparse, or there are too many.
    """
    found: dict[str, StoredTensor] = {}
    for name, value in _walk(content, "", ()):
        for part in value if type(value) is tuple else (value,):
            if isinstance(part, PickledObject) and part.class_name.startswith(_REBUILD_PREFIX):
                raise CheckpointError(
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
        inner = {k: v for k, v in _entries(value).items() if isinstance(k, str) and _is_json(v)}
        if isinstance(name, str) and (inner or _is_json(value)):
            values[name] = inner or value
    return values


def _is_json(value: Any) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and isfinite(value))


def _entries(content: Any) -> dict[Any, Any]:
    if isinstance(content, PickledObject):
        return content.entries
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
