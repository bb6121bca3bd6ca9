"""Decode the images of a table once, into a memory-mapped file of 8-bit pixels."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fairfix._utils.progress import track
from fairfix.data.inputs.array_file import read_array
from fairfix.data.inputs.cache import Cache, content_key
from fairfix.data.inputs.image_decoding import Decoded, PixelSettings, check_pillow, decode
from fairfix.data.inputs.image_files import ImageFiles, RowError
from fairfix.data.inputs.mapped_array import MappedArray
from fairfix.errors import InputError

_FORMAT = 2  # of the cache
_TOGETHER = 256  # images in work at a time
_MAX_THREADS = 16
_PIXELS, _DIGESTS, _FACTS = "pixels.npy", "digests.npy", "images.json"
_UNREADABLE = b"unreadable"  # in the place of a hash

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class DecodedImages:
    """The different images of a table.

    Attributes:
        pixels: (M, C, H, W) uint8, of M different files; None if none can be used.
        digests: (M, 16) uint8, hashes of the pixels; None if none can be used.
        index: (N,) int64, the image of each row; 0 for rows that cannot be used.
        bad: why a row cannot be used.
        oriented: the number of rows whose EXIF orientation is ignored.
        sha256: hash of all files.
    """

    pixels: MappedArray | None
    digests: MappedArray | None
    index: np.ndarray
    bad: dict[int, str]
    oriented: int
    sha256: str


def decode_images(
    files: ImageFiles, names: Sequence[str], settings: PixelSettings, folder: Path | None
) -> DecodedImages:
    """Return the images of the paths of N rows, from the cache if they were decoded before.

    Args:
        files: where the paths lead.
        names: a path per row, "" without one.
        settings: how they are decoded.
        folder: of the cache; None is the user's.

    Raises:
        OutputError: the cache cannot be written.
        UsageError: Pillow is not installed.
    """
    version = check_pillow()
    paths = list(dict.fromkeys(names))
    hashes, faults = _hash_files(files, paths)
    first = {content: path for path, content in reversed(hashes.items())}
    contents = list(dict.fromkeys(hashes[path] for path in paths if path in hashes))
    described = [_FORMAT, version, settings.model_dump(mode="json")]
    key = content_key(described, contents)
    make = _Maker(files, [(first[content], content) for content in contents], settings)
    entry = Cache(folder, "images").entry(key, make, _usable) if contents else None
    facts = {"bad": {}, "oriented": []} if entry is None else _read_facts(entry)
    assert facts is not None
    place = {content: i for i, content in enumerate(contents)}
    numbers = {path: place[content] for path, content in hashes.items()}
    undecoded = {int(number): reason for number, reason in facts["bad"].items()}
    reasons = faults | {
        path: f"{path!r}: {undecoded[number]}"
        for path, number in numbers.items()
        if number in undecoded
    }
    oriented = set(facts["oriented"])
    return DecodedImages(
        None if entry is None else _read(entry / _PIXELS),
        None if entry is None else _read(entry / _DIGESTS),
        np.array([numbers.get(name, 0) for name in names], np.int64),
        {row: reasons[name] for row, name in enumerate(names) if name in reasons},
        sum(numbers.get(name) in oriented for name in names),
        hashlib.sha256(b"".join(hashes.get(name, _UNREADABLE) for name in names)).hexdigest(),
    )


def _hash_files(files: ImageFiles, paths: Sequence[str]) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return a hash of each file that can be read, and why the others cannot."""

    def hashed(path: str) -> bytes | str:
        if not path:
            return "the cell is empty"
        try:
            return hashlib.sha256(files.read(path)).digest()
        except RowError as error:
            return str(error)

    found = dict(zip(paths, _in_threads(hashed, paths, "reading images"), strict=True))
    hashes = {path: value for path, value in found.items() if isinstance(value, bytes)}
    return hashes, {path: value for path, value in found.items() if isinstance(value, str)}


class _Maker:
    """Decodes images into the folder of a cache entry.

    Args:
        files: where the paths lead.
        images: path and SHA-256 of each.
        settings: how they are decoded.
    """

    def __init__(
        self, files: ImageFiles, images: Sequence[tuple[str, bytes]], settings: PixelSettings
    ) -> None:
        self._files, self._images, self._settings = files, images, settings

    def __call__(self, folder: Path) -> None:
        with _bombs_refused():
            shape = self._shape()
            decoded = _in_threads(self._decode, self._images, "decoding images")
            self._write(folder, shape, decoded)

    def _shape(self) -> tuple[int, ...]:
        """Return the shape of the images: that of the first one that can be decoded."""
        decoded = (self._decode(image) for image in self._images)
        return next((each.pixels.shape for each in decoded if isinstance(each, Decoded)), (0, 0, 0))

    def _write(
        self, folder: Path, shape: tuple[int, ...], decoded: Iterable[Decoded | str]
    ) -> None:
        bad: dict[int, str] = {}
        oriented: list[int] = []
        digests = np.zeros((len(self._images), 16), np.uint8)
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(self._images), *shape)}
        with (folder / _PIXELS).open("wb") as file:
            np.lib.format.write_array_header_2_0(file, header)
            for number, each in enumerate(decoded):
                reason = each if isinstance(each, str) else _unlike(each.pixels.shape, shape)
                if isinstance(each, str) or reason is not None:
                    bad[number] = str(reason)
                    file.write(bytes(int(np.prod(shape))))
                    continue
                if each.oriented:
                    oriented.append(number)
                file.write(each.pixels.tobytes())
                digests[number] = np.frombuffer(each.digest, np.uint8)
        np.save(folder / _DIGESTS, digests)
        facts = {"bad": bad, "oriented": oriented}
        (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")

    def _decode(self, image: tuple[str, bytes]) -> Decoded | str:
        path, sha256 = image
        try:
            content = self._files.read(path)
            if hashlib.sha256(content).digest() != sha256:
                raise InputError(f"{path!r} has changed while it was read; run again.")
            return decode(content, self._settings)
        except RowError as error:
            return str(error)


def _unlike(shape: tuple[int, ...], first: tuple[int, ...]) -> str | None:
    """Return why an image of this shape does not fit the first one; None if it does."""
    if shape[0] != first[0]:
        return f"it has {shape[0]} channels and the first image {first[0]}; choose a mode"
    if shape[1:] != first[1:]:
        return (
            f"it has {shape[2]} x {shape[1]} pixels and the first image {first[2]} x {first[1]}; "
            "resize or crop them"
        )
    return None


def _read(file: Path) -> MappedArray:
    values = read_array(file, None).values
    assert isinstance(values, MappedArray)
    return values


def _read_facts(entry: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads((entry / _FACTS).read_bytes())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and facts.keys() == {"bad", "oriented"} else None


def _usable(entry: Path) -> bool:
    """Return whether a cache entry is complete."""
    try:
        pixels, digests = _read(entry / _PIXELS), _read(entry / _DIGESTS)
    except InputError:
        return False
    right = len(pixels.shape) == 4 and digests.shape == (pixels.shape[0], 16)
    return right and _read_facts(entry) is not None


def _in_threads(
    function: Callable[[Item], Made], items: Sequence[Item], task: str
) -> Iterator[Made]:
    """Yield the function of each item in order, with a few hundred items in work at a time."""
    parts = [items[start : start + _TOGETHER] for start in range(0, len(items), _TOGETHER)]
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        for part in track(parts, task):
            yield from pool.map(function, part)


@contextmanager
def _bombs_refused() -> Iterator[None]:
    """Turn Pillow's warning of an image with very many pixels into an error."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
