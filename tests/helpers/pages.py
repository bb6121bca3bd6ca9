"""Fenced blocks of a page of Markdown, the commands in them, and the output they show."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

NOT_RUN = (("git",), ("make",), ("pip",), ("python", "-m", "venv"), (".venv/bin/pip",))
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
TOLERANCE = 0.02


class Block(NamedTuple):
    """A fenced block of Markdown: its language, its text, the line it begins on, and its title."""

    language: str
    text: str
    line: int
    title: str = ""


class Command(NamedTuple):
    """A line of the shell, the exit code stated behind it, and lines of its output."""

    words: tuple[str, ...]
    code: int
    shown: tuple[str, ...] = ()


def blocks(page: str) -> list[Block]:
    found = re.finditer(
        r'^```(\w+)(?: title="([^"\n]*)")?\n(.*?)^```$', page, re.MULTILINE | re.DOTALL
    )
    return [Block(m[1], m[3], page.count("\n", 0, m.start()) + 1, m[2] or "") for m in found]


def commands(block: Block) -> list[Command]:
    """The lines to be run; in a console block those behind a $, the others being output."""
    found: list[Command] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        if block.language == "console" and not line.startswith("$ "):
            if found:
                found[-1] = found[-1]._replace(shown=(*found[-1].shown, line))
            continue
        line = line.removeprefix("$ ")
        code = re.search(r"# exits (\d+)$", line)
        found.append(Command(tuple(shlex.split(line, comments=True)), int(code[1]) if code else 0))
    return [command for command in found if command.words and not skipped(command.words)]


def skipped(words: tuple[str, ...]) -> bool:
    return any(words[: len(start)] == start for start in NOT_RUN)


def missing(shown: str, output: str) -> list[str]:
    """Lines shown on a page that an output lacks; they have an order and rounded numbers."""
    left = iter(output.splitlines())
    lines = [line for line in shown.splitlines() if line.strip()]
    return [line for line in lines if not any(_begins(line, each) for each in left)]


def _begins(shown: str, line: str) -> bool:
    """Whether a line begins with the words shown, with numbers nearly equal."""
    words, found = shown.split(), line.split()
    return len(words) <= len(found) and all(map(_same, words, found))


def _same(shown: str, found: str) -> bool:
    if NUMBER.sub("0", shown) != NUMBER.sub("0", found):
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(found), strict=True)
    return all(_near(float(a.replace(",", "")), float(b.replace(",", ""))) for a, b in pairs)


def _near(shown: float, found: float) -> bool:
    return abs(shown - found) <= max(TOLERANCE, 0.02 * abs(shown))
