"""Stop a command at each of its writes: by a signal, or by a full disk.

A command runs in a fork of this process, in a folder of its own. An audit hook counts the calls
that change files there (open for writing, mkdir, rename, link, remove, truncate) and acts before
the chosen one. So every point between two changes can be tried.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import multiprocessing
import os
import pkgutil
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import fairfix
from fairfix.cli.app import main

for _module in pkgutil.walk_packages(fairfix.__path__, "fairfix."):
    if not _module.name.endswith("__main__") and ".integrations" not in _module.name:
        importlib.import_module(_module.name)  # once, not in every fork

EFFECTS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "ENOSPC")
STAGE = ".fairfix-"
_READ = ("--arch", "mlp:relu", "--privileged", "1")
_DEBIAS = ("model.pt", "val.csv", "--test", "test.csv", *_READ)
COMMANDS = {
    "thresholds": ("thresholds", *_DEBIAS, "--allow-trivial", "-o", "thresholds.pt"),
    "prune": ("prune", *_DEBIAS, "--allow-trivial", "-o", "prune.pt"),
    "export": (
        *("identity", *_DEBIAS, "--allow-trivial"),
        *("-o", "export.pt", "--export", "program.pt2"),
    ),
}
OLDER = ("--budget", "0.2")
_CODES = {"SIGTERM": (130, 143), "SIGINT": (130,), "SIGHUP": (129, 130), "ENOSPC": (2,)}
_CHANGES = ("os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.truncate")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def run(
    folder: Path, arguments: Sequence[str], *, at: int = -1, effect: str = ""
) -> tuple[int, int]:
    """Run a command in a folder.

    Args:
        at: number of the change before which ``effect`` strikes; -1 for none.

    Returns:
        The exit code, negative for a signal, and the number of changes up to the end.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(folder, list(arguments), at, effect, sender))
    process.start()
    sender.close()
    changes = 0
    with suppress(EOFError):
        while True:
            changes = receiver.recv()
    process.join(60)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"{arguments} hangs after {effect} at change {at}")
    code = process.exitcode
    assert code is not None
    return code, changes


def _work(folder: Path, arguments: list[str], at: int, effect: str, sender: Any) -> None:
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    sys.stdout = sys.stderr = (folder.parent / f"{folder.name}.txt").open("w")
    sys.argv = ["fairfix", *arguments]
    hook = _Strike(folder, at, effect, sender)
    sys.addaudithook(hook)
    try:
        main()
    finally:
        hook.at = -1


class _Strike:
    """Counts changes below a folder, and strikes before one of them."""

    def __init__(self, folder: Path, at: int, effect: str, sender: Any) -> None:
        self.at, self.count = at, 0
        self._folder, self._effect, self._sender = str(folder.resolve()), effect, sender
        self._process = os.getpid()

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if os.getpid() != self._process or not self._changes(event, args):
            return
        self.count += 1
        self._sender.send(self.count)
        if self.count - 1 == self.at:
            if self._effect == "ENOSPC":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.kill(self._process, getattr(signal, self._effect))

    def _changes(self, event: str, args: tuple[Any, ...]) -> bool:
        if event == "open":
            path, mode, flags = args
            writes = bool(flags & _WRITING) if isinstance(flags, int) else "r" not in str(mode)
            return writes and self._below(path)
        return event in _CHANGES and self._below(args[0])

    def _below(self, path: Any) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return str(Path(os.fsdecode(path)).absolute()).startswith(self._folder)


def state(folder: Path) -> dict[str, str]:
    """Return the hash of each file by its path below the folder, without staging folders."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(STAGE) for part in path.parts)
    }


def stages(folder: Path) -> list[str]:
    """Return the staging folders that were left behind."""
    return [path.name for path in folder.rglob(f"{STAGE}*")]


def prepared(folder: Path) -> Path:
    """Make a folder with a network, tables and the older outputs of every command."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, rows in (("val", 300), ("test", 300)):
        group = rng.integers(0, 2, rows)
        x = rng.normal(size=(rows, 3)).round(3) + group[:, None]
        label = (x.sum(1) + rng.normal(size=rows) > 1.5).astype(int)
        frame = pd.DataFrame({"label": label, "group": group, "a": x[:, 0], "b": x[:, 1]})
        frame.assign(c=x[:, 2]).to_csv(folder / f"{name}.csv", index=False)
    network = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(3))
        network[2].weight.fill_(1.0)
        for layer, bias in ((network[0], 2.0), (network[2], -7.5)):
            layer.bias.fill_(bias)
    torch.save(network.state_dict(), folder / "model.pt")
    for arguments in COMMANDS.values():
        code, _ = run(folder, [*arguments, *OLDER])
        assert code == 0, f"{arguments} exits with {code}"
    return folder


def check(start: Path, name: str, effect: str, at: int) -> str:
    """Interrupt a command before one of its changes; return what is wrong afterwards, or "".

    After SIGTERM, SIGINT, SIGHUP or a full disk the outputs are the old or the new set and no
    stage is left. After SIGKILL every file is whole, a mixed set is refused, and the next run
    gives the new set and sweeps the stages.
    """
    work = start.with_name(f"{name}-{effect}-{at}")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(start, work)
    arguments = [*COMMANDS[name], "--force"]
    try:
        before = state(work)
        code, changes = run(work, arguments, at=at, effect=effect)
        if changes <= at:
            return "" if code == 0 else f"exit code {code} without an interruption"
        found = state(work)
        after = _after(start, name)
        if effect == "SIGKILL":
            return _after_kill(work, name, found, before, after)
        tolerated = effect == "ENOSPC" and code == 0 and found == after
        if code not in _CODES[effect] and not tolerated:
            return f"exit code {code}"
        if found not in (before, after):
            return f"neither the old nor the new set: {_difference(found, before)}"
        return f"stages left: {stages(work)}" if stages(work) else ""
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _after_kill(
    work: Path, name: str, found: dict[str, str], before: dict[str, str], after: dict[str, str]
) -> str:
    for path, digest in found.items():
        if digest not in (before.get(path), after.get(path)):
            return f"{path} is damaged"
    mixed = _bound(found) not in (_bound(before), _bound(after))
    if mixed and name != "export":
        code, _ = run(work, ["gate", f"{name}.pt", "test.csv", *_READ, "--budget", "spd=0.3"])
        if code != 2:
            return f"the gate exits with {code} for a mixed set: {_difference(found, before)}"
    code, _ = run(work, [*COMMANDS[name], "--force"])
    if code != 0 or state(work) != after:
        return f"the next run exits with {code}, or does not give the new set"
    return f"the next run leaves stages: {stages(work)}" if stages(work) else ""


def _bound(files: dict[str, str]) -> dict[str, str]:
    """Return the files that hashes bind to each other: all but the pages for people."""
    return {path: digest for path, digest in files.items() if not path.endswith((".md", ".html"))}


@cache
def _after(start: Path, name: str) -> dict[str, str]:
    """Return the state after a run that nothing interrupts."""
    work = start.with_name(f"{name}-whole")
    shutil.copytree(start, work)
    code, _ = run(work, [*COMMANDS[name], "--force"])
    assert code == 0, f"{name} exits with {code}"
    found = state(work)
    shutil.rmtree(work)
    return found


def changes_of(start: Path, name: str) -> int:
    """Return the number of changes of a command that nothing interrupts."""
    work = start.with_name(f"{name}-count")
    shutil.copytree(start, work)
    _, changes = run(work, [*COMMANDS[name], "--force"])
    shutil.rmtree(work)
    return changes


def _difference(found: dict[str, str], before: dict[str, str]) -> str:
    changed = {name for name in found if before.get(name) != found[name]}
    return f"changed {sorted(changed)}, missing {sorted(before.keys() - found.keys())}"
