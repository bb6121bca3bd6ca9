"""``fairfix data``: lists, downloads and prepares the public data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from fairfix.bench.datasets import DATASETS, Dataset, dataset
from fairfix.bench.download import DownloadError, fetch
from fairfix.bench.prepare import prepare_split, write_split
from fairfix.cli.console import build_table, print_document, print_messages, print_output
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
            raise UsageError(f"'fairfix data list' lists all data sets; remove {name!r}.")
        _list(json=json, quiet=quiet)
        return
    if name is None:
        raise UsageError(f"'fairfix data {action}' needs a data set: {', '.join(DATASETS)}.")
    if seed < 0:
        raise UsageError(f"--seed must be a whole number of at least 0, not {seed}.")
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
    datasets = [
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
        print_document({"datasets": datasets})
    elif not quiet:
        header = ["name", "title", "protected attributes", "downloaded", "origin, terms"]
        rows = [
            [
                each["name"],
                each["title"],
                ", ".join(DATASETS[str(each["name"])].protected),
                "yes" if each["on_this_machine"] else "no",
                each["terms"],
            ]
            for each in datasets
        ]
        print_output(build_table("Data sets", header, rows, numbers=False))


def _fetch(chosen: Dataset, *, json: bool, quiet: bool) -> None:
    fetched = fetch(chosen)
    unchecked = [each for each in fetched if not each.checked]
    print_messages(
        (
            f"warning: {each.raw.relative_path} has no published hash; this file has sha256 "
            f"{each.sha256}"
            for each in unchecked
        ),
        quiet=quiet,
    )
    if json:
        files: list[dict[str, Any]] = [
            {"file": str(each.path), "sha256": each.sha256, "checked": each.checked}
            for each in fetched
        ]
        print_document({"name": chosen.name, "files": files})
    elif not quiet:
        print_output(*(f"{each.path}" for each in fetched))


def _prepare(
    chosen: Dataset,
    attribute: str | None,
    seed: int,
    directory: Path,
    *,
    force: bool,
    json: bool,
    quiet: bool,
) -> None:
    prepared = prepare_split(chosen, attribute, seed=seed)
    paths = write_split(prepared, directory, force=force)
    protected = chosen.protected[prepared.attribute]
    if json:
        print_document(
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
        print_output(
            f"{chosen.title}: {sizes} rows; group {prepared.group}, privileged "
            f"{protected.privileged!r}",
            *(f"wrote {path}" for path in paths),
        )
