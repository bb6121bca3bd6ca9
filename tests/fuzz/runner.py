"""Run mutated files through fairfix in child processes, and collect what went wrong.

A child may be killed by what it reads; the parent notes it and goes on with the next case. Effects
that no reader may have (processes, sockets, changes outside the working folder) are audited.
"""

from __future__ import annotations

import faulthandler
import functools
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from tests.fuzz.seeds import Seed
from tests.fuzz.targets import TARGETS, outcome, suffix_of

_BUILDING = threading.Lock()
MAX_SECONDS = 10
MAX_MEMORY = 6 * 2**30  # of address space on top of the parent's
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "subprocess.Popen")
_FORBIDDEN += ("socket.", "ctypes.dlopen", "os.kill", "os.putenv", "webbrowser.", "urllib.Request")
_WRITES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod", "os.symlink", "os.link")


@dataclass
class Findings:
    """How many files were refused and accepted, and what went wrong, by target and case number."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def add(self, label: str, result: str, seconds: float) -> None:
        """Record one case."""
        kind = result if result in ("refused", "accepted") else "wrong"
        self.counts[kind] += 1
        self.slowest = max(self.slowest, seconds)
        if kind == "wrong":
            self.wrong.append(f"{label}: {result}")


def fuzz(name: str, cases: range, *, keep: Path | None = None) -> Findings:
    """Run the cases of one target; the same numbers give the same files.

    Args:
        name: key of ``TARGETS``.
        cases: case numbers; each is the seed of its mutation.
        keep: a folder for the files that went wrong.
    """
    findings = Findings()
    position = cases.start
    with _BUILDING:  # torch.export traces in one thread at a time
        seeds = _seeds(name)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        while position < cases.stop:
            rest = range(position, cases.stop)
            position = _child(name, rest, seeds, Path(folder), findings, keep)
    return findings


@functools.cache
def _seeds(name: str) -> tuple[Seed, ...]:
    with tempfile.TemporaryDirectory(prefix="seeds-") as folder:
        return tuple(TARGETS[name].build(Path(folder)))


def _child(
    name: str,
    cases: range,
    seeds: Sequence[Seed],
    folder: Path,
    findings: Findings,
    keep: Path | None,
) -> int:
    """Run cases in one child until it ends; return the next case."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(name, cases, seeds, folder, sender, keep))
    process.start()
    sender.close()
    position = cases.start
    started = time.monotonic()
    while True:
        if not receiver.poll(MAX_SECONDS + 20):
            process.kill()
            findings.add(f"{name} {position}", "hangs", time.monotonic() - started)
            position += 1
            break
        try:
            case, result, seconds = receiver.recv()
        except EOFError:
            if position < cases.stop:
                process.join()
                findings.add(f"{name} {position}", f"killed its process ({process.exitcode})", 0)
                position += 1
            break
        findings.add(f"{name} {case}", result, seconds)
        position, started = case + 1, time.monotonic()
    process.join()
    return position


def mutate(name: str, case: int, folder: Path, seeds: Sequence[Seed]) -> Path:
    """Write the file of one case."""
    rng = random.Random(f"{name} {case}")
    seed = rng.choice(seeds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of doubled names
        content = rng.choice(seed.mutations)(seed.content, rng)
    path = folder / f"mutated{suffix_of(TARGETS[name], seed)}"
    path.write_bytes(content)
    return path


def _work(
    name: str,
    cases: range,
    seeds: Sequence[Seed],
    folder: Path,
    sender: Connection,
    keep: Path | None,
) -> None:
    faulthandler.disable()
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    os.chdir(folder)
    target = TARGETS[name]
    signal.signal(signal.SIGALRM, _too_slow)
    for position, seed in enumerate(seeds):  # everything is imported before effects are audited
        path = folder / f"valid{suffix_of(target, seed)}"
        path.write_bytes(seed.content)
        signal.alarm(MAX_SECONDS)
        outcome(target, path, position)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MAX_MEMORY,) * 2)
    effects = _Effects(folder)
    sys.addaudithook(effects)
    for case in cases:
        path = mutate(name, case, folder, seeds)
        signal.alarm(MAX_SECONDS)
        started = time.monotonic()
        effects.seen, effects.active = [], True
        try:
            result = outcome(target, path, case)
        finally:
            effects.active = False
            signal.alarm(0)
        if effects.seen:
            result = f"effects: {', '.join(effects.seen)}"
        if keep is not None and result not in ("refused", "accepted"):
            (keep / f"{name}-{case}{path.suffix}").write_bytes(path.read_bytes())
        sender.send((case, result, time.monotonic() - started))
    sender.close()


class _Effects:
    """An audit hook that records effects which reading a file must not have."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self.active = False
        self.seen: list[str] = []

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event.startswith(_FORBIDDEN):
            self.seen.append(event)
        elif event in _WRITES and ("harm" in str(args[0]) or not self._inside(args[0])):
            self.seen.append(f"{event} {args[0]!r}")

    def _inside(self, path: Any) -> bool:
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        places = (self._folder, tempfile.gettempdir())
        return not Path(text).is_absolute() or text.startswith(places)


def _too_slow(*_: object) -> None:
    raise TimeoutError(f"took over {MAX_SECONDS} s")
