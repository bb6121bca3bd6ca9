"""Names of tensors: prefixes that wrappers added in training, and sorting."""

import re
from collections.abc import Iterable, Iterator

COMPILED = "_orig_mod."
WRAPPERS = ("module.", "model.")


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


def submodule_names(stored: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield the tensors under each dotted prefix, named without it, shortest prefix first."""
    names = list(stored)
    prefixes = {name[: dot.end()] for name in names for dot in re.finditer(r"\.", name)}
    for prefix in sorted(prefixes, key=lambda p: (p.count("."), p)):
        yield {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
