"""How long work says how far it is, without printing: whoever wants to know listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
Listener = Callable[[str, int, int], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within it, ``listener(task, done, total)`` is called as work goes on."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tracked(items: Sequence[T], task: str) -> Iterator[T]:
    """The items, one by one, each reported when it is done."""
    listener = _listener.get()
    for done, item in enumerate(items, start=1):
        yield item
        if listener is not None:
            listener(task, done, len(items))
