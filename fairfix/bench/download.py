"""Locate the raw files of a data set in a local folder or the cache, or download them.

``FAIRFIX_DATA`` names a folder that holds the files under ``data/raw`` (or directly);
``FAIRFIX_CACHE`` names the download cache, by default the operating system's cache folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fairfix._utils.optional_packages import needed_for
from fairfix.bench.datasets import Dataset, RawFile
from fairfix.data.table.open_table import file_sha256
from fairfix.errors import FairfixError


class DownloadError(FairfixError):
    """A raw file that cannot be downloaded, or whose content is not the published one."""


@dataclass(frozen=True)
class LocalFile:
    """A raw file on this machine.

    Attributes:
        checked: True if ``sha256`` is a known edition, False if no hash is on record.
    """

    raw: RawFile
    path: Path
    sha256: str
    checked: bool


def cache_folder() -> Path:
    """Return the folder for downloads and trained base networks."""
    configured = os.environ.get("FAIRFIX_CACHE")
    if configured:
        return Path(configured)
    import platformdirs

    return platformdirs.user_cache_path("fairfix", appauthor=False)


def _local_path(raw: RawFile) -> Path | None:
    """Return the path of the file in a local folder or the cache, None if it is in neither."""
    configured = os.environ.get("FAIRFIX_DATA")
    folders = [Path(configured) / "data" / "raw", Path(configured)] if configured else []
    for folder in (*folders, cache_folder()):
        path = folder / raw.relative_path
        if path.is_file():
            return path
    return None


def fetch(dataset: Dataset, *, download: bool = True) -> tuple[LocalFile, ...]:
    """Return every file of a data set on this machine, downloading missing ones.

    Raises:
        DownloadError: if a file is missing and cannot be downloaded, or differs from every known
            edition.
    """
    return tuple(_local_file(dataset, raw, download=download) for raw in dataset.files)


def _local_file(dataset: Dataset, raw: RawFile, *, download: bool) -> LocalFile:
    path = _local_path(raw)
    if path is None:
        if not download:
            raise DownloadError(
                f"{raw.relative_path} of {dataset.name} is not on this machine; run 'fairfix data "
                f"fetch {dataset.name}', or put it into the folder that FAIRFIX_DATA names."
            )
        path = _download(dataset, raw)
    sha256 = file_sha256(path)
    if raw.sha256 and sha256 not in raw.sha256:
        raise DownloadError(
            f"{path} is not the published {raw.relative_path}: its sha256 is {sha256}, expected "
            f"{' or '.join(raw.sha256)}. Replace it, or remove it and fetch it again."
        )
    return LocalFile(raw, path, sha256, checked=bool(raw.sha256))


def _download(dataset: Dataset, raw: RawFile) -> Path:
    """Download the file into the cache atomically and return its path."""
    with needed_for(f"Downloading {dataset.name}", "pooch", "bench"):
        import pooch
        import requests

    pooch.get_logger().setLevel("WARNING")  # the commands report downloads themselves
    folder = (cache_folder() / raw.relative_path).parent
    name = Path(raw.relative_path).name
    try:
        if raw.member:
            extracted = f"{name}.parts"
            pooch.retrieve(
                raw.url,
                known_hash=None,
                fname=f"{name}.zip",
                path=folder,
                processor=pooch.Unzip(members=[raw.member], extract_dir=extracted),
            )
            (folder / extracted / raw.member).replace(folder / name)
        else:
            pooch.retrieve(raw.url, known_hash=None, fname=name, path=folder)
    except (OSError, ValueError) as error:
        offline = isinstance(error, requests.ConnectionError)
        reason = "no connection" if offline else str(error).splitlines()[0].removesuffix(".")
        raise DownloadError(
            f"{raw.relative_path} of {dataset.name} cannot be downloaded from {raw.url}: {reason}. "
            f"Save it as data/raw/{raw.relative_path} in a folder and set FAIRFIX_DATA to it."
        ) from None
    return folder / name
