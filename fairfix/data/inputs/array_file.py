"""Read arrays from .npy, .npz and .safetensors files, without executing anything in them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from fairfix._utils.regular_file import check_regular
from fairfix._utils.text import did_you_mean, error_summary, quoted_list
from fairfix.data.inputs.mapped_array import MappedArray
from fairfix.errors import InputError

SUFFIXES = (".npy", ".npz", ".safetensors")
_MIN_UNPACKED, _MAX_RATIO = 1 << 30, 200
_LOCAL_HEADER = 30  # bytes of a zip member before its name
_NUMBERS = "biuf"
_SAFETENSORS = {
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
    **{f"I{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{"U8": "u1", "BOOL": "?", "BF16": "<u2"},
}


@dataclass(frozen=True)
class StoredArray:
    """An array of a file: mapped, or in memory where the file has it compressed.

    Attributes:
        values: (M, ...).
        ids: (M,) str; None if the file has none.
    """

    values: MappedArray | np.ndarray
    ids: np.ndarray | None


def read_array(path: Path, key: str | None) -> StoredArray:
    """Read one array of a file and the ids beside it.

    Args:
        path: .npy, .npz or .safetensors.
        key: its name in the file, needed where the file has several; ``KEY_ids`` are its ids.

    Raises:
        InputError: the file cannot be read, or has no such array of numbers.
    """
    check_regular(path, error=InputError)
    if path.is_dir() or path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path.name} is not an array file; use {', '.join(SUFFIXES)}.")
    try:
        match path.suffix.lower():
            case ".npy":
                if key is not None:
                    raise InputError(
                        f"{path.name} holds one array without a name; leave out {key!r}."
                    )
                with path.open("rb") as file:
                    return StoredArray(_mapped(path, file, path.stat().st_size), None)
            case ".npz":
                return _read_npz(path, key)
            case _:
                return _read_safetensors(path, key)
    except InputError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise InputError(
            f"{path.name} cannot be read as {path.suffix[1:]} file ({error_summary(error)}); write "
            "it again."
        ) from None


def _choose(names: Sequence[str], key: str | None, file: str) -> str:
    """Return the name of the array to read. Raises InputError if that is not certain."""
    arrays = [name for name in names if not name.endswith("_ids")]
    if key is None:
        if len(arrays) == 1:
            return arrays[0]
        raise InputError(
            f"{file} holds {len(arrays)} arrays: {quoted_list(arrays)}; name one ({file}:KEY)."
        )
    if key not in names:
        raise InputError(f"{file} has no array {key!r}{did_you_mean(key, arrays)}")
    return key


def _mapped(path: Path, file: IO[bytes], end: int) -> MappedArray | np.ndarray:
    """Return the array from a .npy header at the file's position to the position ``end``."""
    dtype, shape, fortran = _header(file)
    offset = file.tell()
    if end > path.stat().st_size:
        raise ValueError("it ends early")
    _check_size(dtype, shape, end - offset)
    if fortran or not dtype.isnative:
        return _unpacked(file.read(end - offset), dtype, shape, fortran)
    return MappedArray(path, dtype, shape, offset)


def _header(file: IO[bytes]) -> tuple[np.dtype, tuple[int, ...], bool]:
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version[0]}.{version[1]} of the format")
    shape, fortran, dtype = read(file)
    return dtype, shape, fortran


def _check_size(dtype: np.dtype, shape: tuple[int, ...], size: int) -> None:
    """Raise ValueError unless an array of numbers or texts takes exactly ``size`` bytes."""
    if dtype.hasobject or dtype.kind not in f"{_NUMBERS}US":
        raise ValueError(f"it holds {dtype}, not numbers")
    needed = dtype.itemsize
    for length in shape:
        needed *= length
    if not shape or min(shape) < 0 or needed != size:
        raise ValueError(f"it has {size:,} bytes for an array of shape {shape}")


def _read_npz(path: Path, key: str | None) -> StoredArray:
    with zipfile.ZipFile(path) as archive:
        members = {
            member.filename.removesuffix(".npy"): member
            for member in archive.infolist()
            if member.filename.endswith(".npy")
        }
        name = _choose(list(members), key, path.name)
        ids = members.get(f"{name}_ids")
        values = _read_member(path, archive, members[name])
        return StoredArray(values, None if ids is None else _read_ids(path, archive, ids))


def _read_ids(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    found = _read_member(path, archive, member)
    return (found.array if isinstance(found, MappedArray) else found).astype(str)


def _read_member(
    path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> MappedArray | np.ndarray:
    if member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1:
        with path.open("rb") as file:
            file.seek(member.header_offset)
            local = file.read(_LOCAL_HEADER)
            lengths = (int.from_bytes(local[at : at + 2], "little") for at in (26, 28))
            start = member.header_offset + _LOCAL_HEADER + sum(lengths)
            file.seek(start)
            return _mapped(path, file, start + member.file_size)
    if member.file_size > max(_MIN_UNPACKED, _MAX_RATIO * member.compress_size):
        raise ValueError(f"{member.filename} unpacks to {member.file_size:,} bytes")
    with archive.open(member) as packed:
        dtype, shape, fortran = _header(packed)
        content = packed.read()
        _check_size(dtype, shape, len(content))
    return _unpacked(content, dtype, shape, fortran)


def _unpacked(content: bytes, dtype: np.dtype, shape: tuple[int, ...], fortran: bool) -> np.ndarray:
    """Return the array of some bytes, in C order and native byte order."""
    values = np.frombuffer(bytearray(content), dtype).reshape(shape, order="F" if fortran else "C")
    return np.ascontiguousarray(values, dtype.newbyteorder("="))


def _read_safetensors(path: Path, key: str | None) -> StoredArray:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:  # checks the header and all positions
            names = list(file.keys())
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    name = _choose(names, key, path.name)
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(size))
    start = 8 + size
    ids = header.get(f"{name}_ids")
    return StoredArray(
        _tensor(path, header[name], start),
        None if ids is None else _tensor(path, ids, start).array.astype(str),
    )


def _tensor(path: Path, entry: dict[str, Any], start: int) -> MappedArray:
    dtype = _SAFETENSORS.get(entry["dtype"])
    if dtype is None or not entry["shape"]:
        raise ValueError(
            f"it holds {entry['dtype']} of shape {entry['shape']}, not rows of numbers"
        )
    offset = start + int(entry["data_offsets"][0])
    bfloat16 = entry["dtype"] == "BF16"
    return MappedArray(path, np.dtype(dtype), tuple(entry["shape"]), offset, bfloat16=bfloat16)
