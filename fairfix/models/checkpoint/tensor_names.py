"""Names of tensors: prefixes that wrappers added in training, bookkeeping, and sorting."""

import re
from collections.abc import Iterable, Iterator

from torch import Tensor

COMPILED = "_orig_mod."
WRAPPERS = ("module.", "model.")
_INNER_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_LOSS_OR_METRIC = re.compile(
    r"criterion|loss|losses|loss_(fn|func|function)|\w+_loss|\w*_?metrics?|pos_weight|class_weights?"
    r"|\w*(accuracy|auroc|f1|precision|recall|confmat)|(train|val|valid|test)_(acc|auc|ap)"
    r"|n_averaged|initted|num_updates"
)
_COUNTERS = {"step", "steps", "global_step", "decay"}  # of averaging wrappers


def natural_sort_key(name: str) -> tuple[tuple[str, int], ...]:
    """Return a sort key that puts ``fcs.9`` before ``fcs.10``."""
    parts = re.split(r"(\d+)", name)
    return tuple(
        (word, int(number)) for word, number in zip(parts[::2], [*parts[1::2], "-1"], strict=True)
    )


def unwrapped_names(stored: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield possible names of the tensors, each as ``{name: stored name}``.

    First the stored names, then these without ``_orig_mod.`` (torch.compile, anywhere in a name),
    ``module.`` (DataParallel) and ``model.`` (Lightning) in front, removed one by one.
    """
    names = {name: name for name in stored}
    yield names
    while stripped := _without_wrapper(names):
        names = stripped
        yield names


def _without_wrapper(names: dict[str, str]) -> dict[str, str] | None:
    if any(COMPILED in name for name in names):
        return {name.replace(COMPILED, ""): stored for name, stored in names.items()}
    for wrapper in WRAPPERS:
        if names and all(name.startswith(wrapper) for name in names):
            return {name.removeprefix(wrapper): stored for name, stored in names.items()}
    return None


def without_inner_wrappers(name: str, *, parallel: bool = False) -> str:
    """Return a name without the parts that wrappers of inner modules added.

    Args:
        name: dotted name of a tensor.
        parallel: also remove ``module``, which DataParallel adds.
    """
    removed = _INNER_WRAPPERS | {"module"} if parallel else _INNER_WRAPPERS
    *owners, leaf = name.split(".")
    return ".".join([*(part for part in owners if part not in removed), leaf])


def is_bookkeeping(name: str, tensor: Tensor) -> bool:
    """Whether a tensor belongs to a loss, a metric or an averaging wrapper, not to the network.

    Args:
        name: dotted name relative to the network.
        tensor: the tensor.
    """
    if any(_LOSS_OR_METRIC.fullmatch(part.lower()) for part in name.split(".")):
        return True
    return name in _COUNTERS and tensor.numel() == 1


def common_prefix(names: Iterable[str]) -> str:
    """Return the dotted prefix that all names have, without its dot; the last part never counts."""
    owners = [name.split(".")[:-1] for name in names]
    shared: list[str] = []
    for parts in zip(*owners, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)
