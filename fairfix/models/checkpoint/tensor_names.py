"""The names of tensors: wrappers that training left in front of them, and how names sort."""

import re
from collections.abc import Iterable, Iterator

COMPILED = "_orig_mod."
WRAPPERS = ("module.", "model.")


def natural(name: str) -> tuple[tuple[str, int], ...]:
    """A sort key that puts ``fcs.9`` before ``fcs.10``."""
    parts = re.split(r"(\d+)", name)
    return tuple(
        (word, int(number)) for word, number in zip(parts[::2], [*parts[1::2], "-1"], strict=True)
    )


def renamings(stored: Iterable[str]) -> Iterator[dict[str, str]]:
    """What the tensors may be called, each as ``{name: stored name}``.

    First as stored, then without what wrappers put in front: ``_orig_mod.`` (torch.compile,
    anywhere in a name), ``module.`` (DataParallel) and ``model.`` (Lightning), one after another.
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


def parts_of(stored: Iterable[str]) -> Iterator[dict[str, str]]:
    """The tensors beneath each dotted prefix, named without it, shortest prefix first."""
    names = list(stored)
    prefixes = {name[: dot.end()] for name in names for dot in re.finditer(r"\.", name)}
    for prefix in sorted(prefixes, key=lambda p: (p.count("."), p)):
        yield {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
