"""The files of a data set: from a local folder, else downloaded once and kept.

``FAIRFIX_DATA`` names a folder with files under ``data/raw`` (or under itself);
``FAIRFIX_CACHE`` the folder for downloads, by default that of the operating system.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fairfix.bench.datasets import Dataset, Source
from fairfix.data.table.open_table import sha256_of
from fairfix.errors import FairfixError


class DownloadError(FairfixError):
    """A file that cannot be had, or is not the one expected."""


@dataclass(frozen=True)
class Found:
    """A file on this machine, whole and checked.

    Attributes:
        checked: whether its hash is one that is known; False where no edition is on record.
    """

    source: Source
    path: Path
    sha256: str
    checked: bool


def cache_folder() -> Path:
    """Where downloads are kept."""
    given = os.environ.get("FAIRFIX_CACHE")
    if given:
        return Path(given)
    import pooch

    return Path(pooch.os_cache("fairfix"))


def local(source: Source) -> Path | None:
    """The file in the local folder or the cache, unchecked; None where neither has it."""
    given = os.environ.get("FAIRFIX_DATA")
    folders = [Path(given) / "data" / "raw", Path(given)] if given else []
    for folder in (*folders, cache_folder()):
        path = folder / source.place
        if path.is_file():
            return path
    return None


def fetch(dataset: Dataset, *, download: bool = True) -> tuple[Found, ...]:
    """Every file of a data set, on this machine.

    Raises:
        DownloadError: when one is not here and cannot be had, or differs from the known editions.
    """
    return tuple(_found(dataset, source, download=download) for source in dataset.sources)


def _found(dataset: Dataset, source: Source, *, download: bool) -> Found:
    path = local(source)
    if path is None:
        if not download:
            raise DownloadError(
                f"{source.place} of {dataset.name} is not on this machine; run "
                f"'fairfix data fetch {dataset.name}', or put it into a folder named by "
                "FAIRFIX_DATA."
            )
        path = _download(dataset, source)
    sha256 = sha256_of(path)
    if source.sha256 and sha256 not in source.sha256:
        raise DownloadError(
            f"{path} is not the published {source.place}: its sha256 is {sha256}, expected "
            f"{' or '.join(source.sha256)}. Replace it, or remove it and fetch it again."
        )
    return Found(source, path, sha256, checked=bool(source.sha256))


def _download(dataset: Dataset, source: Source) -> Path:
    """The file in the cache, which appears there whole or not at all."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # commands say themselves what they did
    folder = (cache_folder() / source.place).parent
    name = Path(source.place).name
    try:
        if source.member:
            inside = f"{name}.parts"
            pooch.retrieve(
                source.url,
                known_hash=None,
                fname=f"{name}.zip",
                path=folder,
                processor=pooch.Unzip(members=[source.member], extract_dir=inside),
            )
            (folder / inside / source.member).replace(folder / name)
        else:
            pooch.retrieve(source.url, known_hash=None, fname=name, path=folder)
    except (OSError, ValueError) as error:
        offline = isinstance(error, requests.ConnectionError)
        reason = "no connection" if offline else str(error).splitlines()[0].removesuffix(".")
        raise DownloadError(
            f"{source.place} of {dataset.name} cannot be had from {source.url}: {reason}. Put it "
            f"into a folder as data/raw/{source.place}, and name that folder in FAIRFIX_DATA."
        ) from None
    return folder / name
