"""Choose the tensors of a file that are the network's, from names and shapes alone.

A file may hold several networks (student and teacher, a network and its moving average), losses,
metrics and counters. Every set of tensors that fits the architecture under any prefix is a
candidate. Several candidates with different values are ambiguous and refused.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fairfix._utils.text import did_you_mean, quoted_list
from fairfix.errors import CheckpointError, UsageError
from fairfix.models.checkpoint.tensor_names import (
    common_prefix,
    is_bookkeeping,
    without_inner_wrappers,
)

TOP = "."  # the checkpoint key of tensors under no prefix
USUAL_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")


@dataclass(frozen=True)
class FileTensors:
    """The tensors of a file.

    Attributes:
        tensors: by full name: the keys of the dictionaries and the name there, with dots.
        containers: for each, the dotted keys of the dictionary that has it; missing means "".
        unreadable: why the tensors of a dictionary cannot be changed, by its dotted keys.
        keys: all keys of the outermost dictionary, for messages.
    """

    tensors: Mapping[str, Tensor]
    containers: Mapping[str, str] = field(default_factory=dict)
    unreadable: Mapping[str, CheckpointError] = field(default_factory=dict)
    keys: tuple[str, ...] = ()

    def container(self, name: str) -> str:
        """Return the dotted keys of the dictionary that has a tensor."""
        return self.containers.get(name, "")

    def under(self, key: str, path: object) -> "FileTensors":
        """Return the tensors under a checkpoint key.

        Args:
            key: a dotted prefix, or the end of one; ``.`` for tensors of no dictionary.
            path: the file, for messages.

        Raises:
            UsageError: if no prefix, or more than one, ends so.
        """
        if key == TOP:
            names = [name for name in self.tensors if not self.container(name)]
            return replace(self, tensors={name: self.tensors[name] for name in names})
        known = list(dict.fromkeys(p for name in self.tensors for p in _prefixes(name)))
        found = [p for p in known if p == key] or [p for p in known if p.endswith(f".{key}")]
        if len(found) != 1:
            fact = "is ambiguous" if found else "names no tensors"
            near = f"; it may be {quoted_list(found)}." if found else did_you_mean(key, known)
            raise UsageError(
                f"--checkpoint-key {key} {fact} in {path}"
                f"{near if near != '.' else f'; its keys are {quoted_list(known)}.'}"
            )
        names = [name for name in self.tensors if name.startswith(f"{found[0]}.")]
        return FileTensors(
            {name: self.tensors[name] for name in names},
            {name: max(self.container(name), found[0], key=len) for name in names},
        )


@dataclass(frozen=True)
class ChosenTensors:
    """Tensors of a file that are the network's.

    Attributes:
        names: full names in the file, by the name in the network.
        prefix: what precedes the network's names in the file, without the last dot.
        missing: prefix of the network's names that the file does not have.
    """

    names: Mapping[str, str]
    prefix: str
    missing: str = ""

    @property
    def key(self) -> str:
        """The checkpoint key that chooses these tensors."""
        return self.prefix or TOP


@dataclass(frozen=True)
class Layout:
    """Names and shapes that a network needs.

    Attributes:
        shapes: by name; None if any shape fits.
        ties: for each name, all names of the same tensor, this one included.
    """

    shapes: Mapping[str, torch.Size | None]
    ties: Mapping[str, frozenset[str]]

    @classmethod
    def of_module(cls, module: nn.Module) -> "Layout":
        """Return what the ``state_dict`` of a network needs."""
        state = module.state_dict(keep_vars=True)
        groups: dict[int, set[str]] = {}
        for name, tensor in state.items():
            groups.setdefault(id(tensor), set()).add(name)
        return cls(
            {name: None if is_lazy(tensor) else tensor.shape for name, tensor in state.items()},
            {name: frozenset(groups[id(tensor)]) for name, tensor in state.items()},
        )

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> "Layout":
        """Return the layout of tensors as they are named."""
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        return cls(shapes, {name: frozenset((name,)) for name in tensors})

    def renamed(self, rename: Callable[[str], str]) -> "Layout | None":
        """Return the layout with other names, or None if two names become equal."""
        names = {name: rename(name) for name in self.shapes}
        if len(set(names.values())) != len(names):
            return None
        return Layout(
            {names[name]: shape for name, shape in self.shapes.items()},
            {names[name]: frozenset(names[n] for n in tied) for name, tied in self.ties.items()},
        )

    def without(self, start: str) -> "Layout":
        """Return the layout with names that lack a prefix, which all have."""
        layout = self.renamed(lambda name: name.removeprefix(start))
        assert layout is not None
        return layout


def find_sets(layout: Layout, file: FileTensors, *, partial: bool = False) -> list[ChosenTensors]:
    """Return every set of tensors that fits a network, in file order.

    If none fits, parts of names that wrappers of inner modules add are ignored, and so is a prefix
    that all names of the network have and the file lacks.

    Args:
        layout: what the network needs.
        file: the tensors.
        partial: the file may have more tensors of the network under the same prefix.
    """
    for rename in (str, without_inner_wrappers, _without_parallel):
        renamed = layout.renamed(rename)
        stored = {rename(name): name for name in file.tensors}
        if renamed is None or len(stored) != len(file.tensors):
            continue
        for missing in ("", *_shared_prefixes(renamed.shapes)):
            start = f"{missing}." if missing else ""
            needed = renamed.without(start)
            sets = [
                replace(chosen, missing=missing)
                for chosen in _fits(needed, stored, file, rename)
                if (partial and not missing) or _is_whole(chosen, file, whole_file=bool(missing))
            ]
            if sets:
                original = {rename(name): name for name in layout.shapes}
                return [
                    replace(
                        chosen,
                        names={original[start + n]: stored for n, stored in chosen.names.items()},
                    )
                    for chosen in sets
                ]
    return []


def _fits(
    layout: Layout, stored: Mapping[str, str], file: FileTensors, rename: Callable[[str], str]
) -> Iterator[ChosenTensors]:
    """Yield the sets under each prefix that have every tensor of the layout."""
    first = next(iter(layout.ties.values()), frozenset())
    seen = set()
    for candidate, full in stored.items():
        for anchor in sorted(first):
            if candidate != anchor and not candidate.endswith(f".{anchor}"):
                continue
            start = candidate.removesuffix(anchor)
            names = None if start in seen else _names_under(start, layout, stored, file)
            seen.add(start)
            if names is not None:
                inside = [p for p in _prefixes(full) if rename(f"{p}.x") == f"{start}x"]
                yield ChosenTensors(names, inside[-1] if inside else "")


def _names_under(
    start: str, layout: Layout, stored: Mapping[str, str], file: FileTensors
) -> dict[str, str] | None:
    names = {}
    for name, shape in layout.shapes.items():
        tied = (name, *sorted(layout.ties[name] - {name}))
        present = next((n for n in tied if start + n in stored), None)
        if present is None:
            return None
        names[name] = stored[start + present]
        if shape is not None and file.tensors[names[name]].shape != shape:
            return None
    return names


def _is_whole(chosen: ChosenTensors, file: FileTensors, *, whole_file: bool) -> bool:
    """Whether nothing outside the set, under its prefix, may belong to the network.

    Args:
        chosen: the set.
        file: the tensors.
        whole_file: look at everything in the same dictionary, not only under the prefix.
    """
    containers = {file.container(name) for name in chosen.names.values()}
    used = set(chosen.names.values())
    start = "" if whole_file or not chosen.prefix else f"{chosen.prefix}."
    return all(
        is_bookkeeping(name.removeprefix(start), tensor)
        for name, tensor in file.tensors.items()
        if name not in used and name.startswith(start) and file.container(name) in containers
    )


def single_set(
    found: Sequence[ChosenTensors], file: FileTensors, path: object
) -> tuple[ChosenTensors, tuple[ChosenTensors, ...]]:
    """Return one of several sets and the others, if all have the same values.

    Raises:
        CheckpointError: if values differ; the message names the sets and the option that decides.
    """
    first, *others = found
    if not all(_equal(first, other, file) for other in others):
        keys = [chosen.key for chosen in found]
        raise CheckpointError(
            f"{path} has {len(found)} networks that fit the architecture, under "
            f"{quoted_list(keys)}. Choose one with --checkpoint-key, such as --checkpoint-key "
            f"{keys[-1]}."
        )
    return first, tuple(others)


def main_set(file: FileTensors, path: object) -> ChosenTensors:
    """Return the tensors of the dictionary that usually has the network, as they are named there.

    Raises:
        CheckpointError: if that is ambiguous, or its tensors cannot be changed.
    """
    containers = dict.fromkeys(file.container(name) for name in file.tensors)
    containers |= dict.fromkeys(file.unreadable)
    usual = [where for where in containers if where.rpartition(".")[2] in USUAL_KEYS]
    if usual:
        where = usual[0]
    elif "" in containers:
        where = ""
    elif len(containers) == 1:
        where = next(iter(containers))
    else:
        found = ", ".join(map(repr, containers)) or "none"
        remedy = "Choose one with --checkpoint-key" if containers else "Save a state_dict"
        raise CheckpointError(
            f"{path}: cannot tell which weights are the network's (candidates: {found}; keys in "
            f"the file: {', '.join(file.keys) or 'none'}). {remedy}."
        )
    if where in file.unreadable:
        raise file.unreadable[where]
    names = {
        name[len(where) + 1 if where else 0 :]: name
        for name in file.tensors
        if file.container(name) == where
    }
    return ChosenTensors(names, where)


def split_by_part(chosen: ChosenTensors) -> list[ChosenTensors]:
    """Return the sets under each part that follows the prefix of a set; none if a name has none."""
    parts: dict[str, dict[str, str]] = {}
    start = common_prefix(chosen.names)
    for name, stored in chosen.names.items():
        part, dot, rest = name[len(start) + 1 if start else 0 :].partition(".")
        if not dot:
            return []
        parts.setdefault(part, {})[rest] = stored
    return [
        ChosenTensors(names, ".".join(filter(None, (chosen.prefix, start, part))))
        for part, names in parts.items()
    ]


def network_tensors(chosen: ChosenTensors, file: FileTensors) -> ChosenTensors:
    """Return a set without the tensors of losses, metrics and averaging wrappers."""
    names = {n: s for n, s in chosen.names.items() if not is_bookkeeping(n, file.tensors[s])}
    return replace(chosen, names=names)


def _equal(one: ChosenTensors, other: ChosenTensors, file: FileTensors) -> bool:
    pairs = [(file.tensors[one.names[n]], file.tensors[other.names[n]]) for n in one.names]
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def _prefixes(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts)))


def _shared_prefixes(names: Iterable[str]) -> Iterator[str]:
    shared = common_prefix(names)
    return _prefixes(f"{shared}.") if shared else iter(())


def _without_parallel(name: str) -> str:
    return without_inner_wrappers(name, parallel=True)
