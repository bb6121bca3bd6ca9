"""The named tensors of a network, found in the inert structure of a file."""

from collections.abc import Iterator
from math import isfinite
from typing import Any

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.safe_pickle import Inert
from fairfix.models.checkpoint.tensor_storage import StoredTensor

_REBUILDS = "torch._utils._rebuild_"
_MOST_TENSORS = 100_000  # a small pickle can refer to itself so often that it never ends
_DEPTH = 2  # how deep in a training dictionary weights are looked for


def is_network(content: Any) -> bool:
    """Whether ``content`` is a whole pickled ``nn.Module``."""
    state = content.state if isinstance(content, Inert) else None
    if not isinstance(state, dict):
        return False
    groups = [state.get(group) for group in ("_parameters", "_buffers", "_modules")]
    return all(isinstance(group, dict) and set(map(type, group)) <= {str} for group in groups)


def weights_in(
    content: Any, where: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dict[Any, Any] | Inert]]:
    """Every state_dict and pickled network in a training dictionary, with the keys that lead there.

    What lies beneath an optimizer is left out.
    """
    entries = _entries(content)
    if is_network(content) or any(isinstance(value, StoredTensor) for value in entries.values()):
        yield where, content
    if len(where) < _DEPTH:
        for name, value in entries.items():
            if isinstance(name, str) and not name.startswith("optim"):
                yield from weights_in(value, (*where, name))


def named_tensors(content: Any) -> dict[str, StoredTensor]:
    """The tensors of a state_dict, of a pickled ``nn.Module`` or of a script module.

    Raises CheckpointError for a tensor of a kind that cannot be changed (quantized, sparse).
    """
    found: dict[str, StoredTensor] = {}
    for name, value in _walk(content, "", ()):
        for part in value if type(value) is tuple else (value,):
            if isinstance(part, Inert) and part.kind.startswith(_REBUILDS):
                raise CheckpointError(
                    f"Tensor {name!r} is of a kind that cannot be changed "
                    f"({part.kind.removeprefix(_REBUILDS)}). Give the network before it was "
                    "quantized or packed."
                )
        if isinstance(value, StoredTensor):
            found[name] = value
        if len(found) > _MOST_TENSORS:
            raise CheckpointError(f"The file names over {_MOST_TENSORS} tensors: it is damaged.")
    return found


def plain(content: Any) -> dict[str, Any]:
    """The numbers and words in a dictionary, and in those directly in it, as plain JSON."""
    shown = {}
    for name, value in _entries(content).items():
        inner = {k: v for k, v in _entries(value).items() if isinstance(k, str) and _is_plain(v)}
        if isinstance(name, str) and (inner or _is_plain(value)):
            shown[name] = inner or value
    return shown


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and isfinite(value))


def _entries(content: Any) -> dict[Any, Any]:
    if isinstance(content, Inert):
        return content.entries
    return content if isinstance(content, dict) else {}


def _walk(content: Any, prefix: str, above: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    """Everything that is not a module, under its dotted name."""
    if id(content) in above:
        raise CheckpointError("The network in the file contains itself: it is damaged.")
    for name, value in _members(content):
        if is_network(value) or _is_script(value):
            yield from _walk(value, f"{prefix}{name}.", (*above, id(content)))
        elif value is not None:
            yield prefix + name, value


def _members(content: Any) -> Iterator[tuple[str, Any]]:
    """What ``content`` holds directly and would put into its state_dict, by name."""
    if is_network(content):
        state = content.state
        passing = state.get("_non_persistent_buffers_set")
        kept = state["_buffers"].keys() - (passing if isinstance(passing, set) else set())
        buffers = {name: value for name, value in state["_buffers"].items() if name in kept}
        groups = [state["_parameters"], buffers, state["_modules"]]
    else:
        groups = [content.state if _is_script(content) else _entries(content)]
    for group in groups:
        yield from ((name, value) for name, value in group.items() if isinstance(name, str))


def _is_script(content: Any) -> bool:
    return (
        isinstance(content, Inert)
        and content.kind.startswith("__torch__.")
        and isinstance(content.state, dict)
    )
