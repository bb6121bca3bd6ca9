"""``fairfix data``: the public data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from fairfix.bench.datasets import DATASETS, Dataset, dataset
from fairfix.bench.download import DownloadError, fetch
from fairfix.bench.prepare import prepare_split, write_split
from fairfix.cli.console import emit, say, show, table
from fairfix.errors import UsageError


def run(
    *,
    action: Literal["list", "fetch", "prepare"],
    name: str | None,
    attribute: str | None,
    seed: int,
    output: Path | None,
    force: bool,
    json: bool,
    quiet: bool,
) -> None:
    if action == "list":
        if name is not None:
            raise UsageError(f"'fairfix data list' lists all data sets and takes no {name!r}.")
        _list(json=json, quiet=quiet)
        return
    if name is None:
        raise UsageError(f"'fairfix data {action}' needs a data set: {', '.join(DATASETS)}.")
    if seed < 0:
        raise UsageError(f"A seed is a whole number from 0, not {seed}.")
    chosen = dataset(name)
    if action == "fetch":
        _fetch(chosen, json=json, quiet=quiet)
    else:
        _prepare(chosen, attribute, seed, output or Path(name), force=force, json=json, quiet=quiet)


def _here(each: Dataset) -> bool:
    try:
        fetch(each, download=False)
    except DownloadError:
        return False
    return True


def _list(*, json: bool, quiet: bool) -> None:
    found = [
        {
            "name": each.name,
            "title": each.title,
            "attributes": list(each.protected),
            "terms": each.terms,
            "on_this_machine": _here(each),
        }
        for each in DATASETS.values()
    ]
    if json:
        emit({"datasets": found})
    elif not quiet:
        header = ["name", "what", "protected attributes", "on this machine", "origin, terms"]
        rows = [
            [
                each["name"],
                each["title"],
                ", ".join(DATASETS[str(each["name"])].protected),
                "yes" if each["on_this_machine"] else "no",
                each["terms"],
            ]
            for each in found
        ]
        show(table("Data sets", header, rows, numbers=False))


def _fetch(chosen: Dataset, *, json: bool, quiet: bool) -> None:
    found = fetch(chosen)
    unchecked = [each for each in found if not each.checked]
    say(
        (
            f"warning: no published hash is on record for {each.raw.relative_path}; this file has "
            f"sha256 {each.sha256}"
            for each in unchecked
        ),
        quiet=quiet,
    )
    if json:
        files: list[dict[str, Any]] = [
            {"file": str(each.path), "sha256": each.sha256, "checked": each.checked}
            for each in found
        ]
        emit({"name": chosen.name, "files": files})
    elif not quiet:
        show(*(f"{each.path}" for each in found))


def _prepare(
    chosen: Dataset,
    attribute: str | None,
    seed: int,
    folder: Path,
    *,
    force: bool,
    json: bool,
    quiet: bool,
) -> None:
    prepared = prepare_split(chosen, attribute, seed=seed)
    paths = write_split(prepared, folder, force=force)
    protected = chosen.protected[prepared.attribute]
    if json:
        emit(
            {
                "name": chosen.name,
                "attribute": prepared.attribute,
                "privileged": protected.privileged,
                "unprivileged": protected.unprivileged,
                "rows": {part: len(rows) for part, rows in prepared.parts.items()},
                "files": [str(path) for path in paths],
            }
        )
    elif not quiet:
        sizes = ", ".join(f"{part} {len(rows)}" for part, rows in prepared.parts.items())
        show(
            f"{chosen.title}: {sizes} rows; group {prepared.group}, privileged "
            f"{protected.privileged!r}",
            *(f"wrote {path}" for path in paths),
        )
