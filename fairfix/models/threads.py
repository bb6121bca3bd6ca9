"""Choose the number of CPU threads from the work that a network does on its rows.

Threads that wait for each other cost more than they save on small networks, most of all where other
programs use the same cores. Sums over several threads differ in their last digits, so the number
follows from the network and the rows alone as far as one thread is enough, and reports record it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

LARGE_WORK = 10**9
"""Parameters times rows from which all threads of torch are used."""
MAX_THREADS = 1024  # far more end the process


def default_threads(network: nn.Module | None, rows: int) -> int:
    """Return 1, or for large networks on many rows the number of threads that torch would use."""
    parameters = 0 if network is None else sum(p.numel() for p in network.parameters())
    return torch.get_num_threads() if parameters * rows >= LARGE_WORK else 1


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Let torch use this number of threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
