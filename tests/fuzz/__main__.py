"""Fuzz every reader at length: ``python -m tests.fuzz``, as ``make fuzz`` runs it."""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

from tests.fuzz.interruptions import COMMANDS, EFFECTS, changes_of, check, prepared
from tests.fuzz.runner import Findings, fuzz
from tests.fuzz.targets import TARGETS

CASES = {
    "checkpoints": 20_000,
    "tables": 10_000,
    "rules": 1_500,
    "score-models": 500,
    "specs": 1_500,
    "settings": 1_000,
    "journals": 500,
    "reports": 500,
}
PIECE = 500


def main() -> int:
    """Fuzz; return 1 if anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--interrupt", action="store_true", help="also stop commands at each write")
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--cases", type=int, help="cases a target instead of the full number")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    parser.add_argument("--keep", type=Path, help="folder for files that went wrong")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(unknown))}")
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in arguments.targets or TARGETS:
        stop = arguments.start + (arguments.cases or CASES[name])
        pieces = [
            range(start, min(start + PIECE, stop)) for start in range(arguments.start, stop, PIECE)
        ]
        with ThreadPoolExecutor(arguments.jobs) as pool:
            found = list(pool.map(partial(fuzz, name, keep=arguments.keep), pieces))
        failed |= _print(name, found)
    return int(_interrupt() | failed if arguments.interrupt else failed)


def _interrupt() -> bool:
    """Stop every command at each of its writes, in every way; return whether anything is wrong."""
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="interruptions-") as folder:
        start = prepared(Path(folder, "start"))
        for name, effect in product(COMMANDS, EFFECTS):
            changes = changes_of(start, name)
            found = {at: check(start, name, effect, at) for at in range(changes)}
            bad = {at: sentence for at, sentence in found.items() if sentence}
            wrong += len(bad)
            print(f"{name}, {effect}: {changes} points, {len(bad)} wrong", flush=True)
            for at, sentence in bad.items():
                print(f"  before change {at}: {sentence[:300]}", flush=True)
    return wrong > 0


def _print(name: str, found: list[Findings]) -> bool:
    total = sum((each.counts for each in found), start=type(found[0].counts)())
    slowest = max(each.slowest for each in found)
    print(
        f"{name}: {total.total()} files, {total['refused']} refused, {total['accepted']} accepted, "
        f"{total['wrong']} wrong; slowest {slowest:.1f} s",
        flush=True,
    )
    wrong = [line for each in found for line in each.wrong]
    for line in wrong[:50]:
        print(f"  {line[:400]}", flush=True)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
