"""Choose methods and their settings on many networks, then confirm the choice on others.

python -m benchmarks.choose networks
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch

from benchmarks.choose.bed import CHOOSING, CONFIRMING, DATA_SETS, Bed, Cell, cells
from benchmarks.choose.bounds import bounds
from benchmarks.choose.confirming import committed_choice, open_confirming_seeds
from benchmarks.choose.label_models import rule_lines
from benchmarks.choose.peer_results import PEERS, compute_peer_results, peer_python
from benchmarks.choose.report import compare_settings, report, summary
from benchmarks.choose.results import METRIC_KEYS, Line, kept_results, results, setting_lines
from benchmarks.choose.snapshots import snapshot_lines
from benchmarks.choose.stages import network_scores
from fairfix.errors import FairfixError

FOLDER = Path(__file__).resolve().parents[2] / "build" / "choose"
FAMILIES = {"rules": rule_lines, "snapshots": snapshot_lines}
SHIPPED = {
    "finetune": (("spd", "finetune smooth k=1.7"), ("eod", "finetune smooth k=1.2, soft counts")),
    "blind": (("spd", "blind mixture k=1.41"), ("eod", "blind mixture k=1.2, soft counts")),
    "repair": (("spd", "repair mixture k=1.41"), ("eod", "repair mixture k=1.41")),
}
"""The settings that became the defaults of a method, by metric."""
BASELINES = ("gda", "identity", "thresholds", "prune", "fairlearn")


def train_networks(bed: Bed, seeds: Iterable[int]) -> None:
    """Train the networks, which looks at no result."""
    timed(cells(DATA_SETS, seeds), lambda cell: network_scores(bed, cell))


def run_methods(bed: Bed, names: Sequence[str], seeds: Iterable[int]) -> None:
    """Run methods, each with its defaults or the options that are given, on choosing seeds."""
    for cell, name in product(list(cells(DATA_SETS, seeds)), names):
        timed([cell], lambda cell, name=name: [*results(bed, cell, [name])])


def run_settings(bed: Bed, family: str) -> None:
    """Fit or train what a family of methods chooses from, and choose with every setting."""
    compute = FAMILIES[family]
    for cell, metric in product(list(cells(DATA_SETS, CHOOSING)), METRIC_KEYS):
        timed([cell], lambda cell, metric=metric: setting_lines(bed, cell, metric, family, compute))


def family_lines(bed: Bed, family: str) -> list[Line]:
    """Return the lines of every setting of a family that are there already."""
    chosen = list(cells(DATA_SETS, CHOOSING))
    return [
        line
        for metric, cell in product(METRIC_KEYS, chosen)
        for line in setting_lines(bed, cell, metric, family)
    ]


def print_settings(bed: Bed) -> None:
    """Print a table of all settings for every family of methods and metric."""
    for family in FAMILIES:
        lines = family_lines(bed, family)
        for metric in METRIC_KEYS:
            print(compare_settings(lines, metric), end="\n\n")


def print_report(lines: Sequence[Line], methods: Sequence[str]) -> None:
    """Print the tables of every metric."""
    for metric in METRIC_KEYS:
        print(report(lines, metric, methods), end="\n\n")


def print_summary(bed: Bed) -> None:
    """Print one table a metric of all methods and peers, on choosing and on confirming seeds."""
    chosen = kept_results(bed, cells(DATA_SETS, CHOOSING), (*BASELINES, *PEERS))
    shipped = {
        (setting, metric): name for name, each in SHIPPED.items() for metric, setting in each
    }
    for family in FAMILIES:
        for line in family_lines(bed, family):
            if name := shipped.get((line.method, line.metric)):
                chosen.append(replace(line, method=name))
    names = (*SHIPPED, *BASELINES, *PEERS)
    confirming = kept_results(bed, cells(DATA_SETS, CONFIRMING), names)
    for metric in METRIC_KEYS:
        parts = {"choosing": chosen, "confirming": confirming}
        print(summary(parts, metric, names), end="\n\n")


def confirm(bed: Bed) -> None:
    """Run the methods of the committed choice and the baselines on the confirming seeds."""
    choice = committed_choice()
    print(open_confirming_seeds(bed.folder, choice), file=sys.stderr)
    names = tuple(dict.fromkeys((*choice.methods, *BASELINES)))
    timed(cells(DATA_SETS, CONFIRMING), lambda cell: [*results(bed, cell, names)])
    compute_peer_results(bed, cells(DATA_SETS, CONFIRMING), peer_python())
    names = (*names, *PEERS)
    print_report(kept_results(bed, cells(DATA_SETS, CONFIRMING), names), names)


def timed(cells: Iterable[Cell], work: Callable[[Cell], object]) -> None:
    """Do the work of every cell; print the seconds it took unless it was done before."""
    for cell in cells:
        wall, cpu = time.perf_counter(), time.process_time()
        work(cell)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if cpu > 0.1:
            print(f"{cell}: {wall:.1f} s, {cpu:.1f} s CPU", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one stage, or all stages of the choosing seeds."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.choose", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "stage",
        nargs="?",
        choices=[
            "networks",
            "methods",
            *FAMILIES,
            "peers",
            "report",
            "settings",
            "summary",
            "bounds",
            "confirm",
        ],
        help="default: all but the last three",
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where every file is kept")
    parser.add_argument(
        "--confirming", action="store_true", help="networks: those of the confirming seeds"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        help="methods: those to run; report: those to compare, settings among them",
    )
    parser.add_argument(
        "--seeds", nargs="+", type=int, choices=CHOOSING, default=CHOOSING, help="methods: of these"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    bed = Bed(options.folder)
    try:
        if options.stage in ("networks", None):
            train_networks(bed, CONFIRMING if options.confirming else CHOOSING)
        if options.stage in ("methods", None):
            run_methods(bed, options.methods or BASELINES, options.seeds)
        for family in FAMILIES:
            if options.stage in (family, None):
                run_settings(bed, family)
        if options.stage in ("peers", None):
            compute_peer_results(bed, cells(DATA_SETS, CHOOSING), peer_python())
        if options.stage in ("report", None):
            names = options.methods or (*BASELINES, *PEERS)
            lines = kept_results(bed, cells(DATA_SETS, CHOOSING), names)
            settings = [line for family in FAMILIES for line in family_lines(bed, family)]
            print_report([*lines, *settings], names)
        if options.stage in ("settings", None):
            print_settings(bed)
        if options.stage == "summary":
            print_summary(bed)
        if options.stage == "bounds":
            print(bounds(DATA_SETS))
        if options.stage == "confirm":
            confirm(bed)
    except FairfixError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
