"""Progress reporting through a context-local callback."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
ProgressCallback = Callable[[str, int, int], None]
"""Called with the task, the number of items done, and the number of all items."""

_callback: ContextVar[ProgressCallback | None] = ContextVar("progress_callback", default=None)


@contextmanager
def progress_callback(callback: ProgressCallback) -> Iterator[None]:
    """Call ``callback(task, done, total)`` after each tracked item inside the ``with`` block."""
    token = _callback.set(callback)
    try:
        yield
    finally:
        _callback.reset(token)


def track(items: Sequence[T], task: str) -> Iterator[T]:
    """Yield the items and report each one when it is done."""
    callback = _callback.get()
    for done, item in enumerate(items, start=1):
        yield item
        if callback is not None:
            callback(task, done, len(items))
