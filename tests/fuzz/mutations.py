"""Seeded mutations of bytes, zip archives, pickles, safetensors, JSON, TOML and CSV."""

from __future__ import annotations

import io
import json
import pickletools
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]

_NUMBERS = (
    0, 1, -1, 2, 255, 256, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63), 10**400,
    0.0, -0.0, 0.5, 1e308, -1e308, 5e-324,
)  # fmt: skip
_STRINGS = (
    "", " ", "0", "nan", "Infinity", "(missing)", "a" * 5000, "\x00", "\x1b[31m", "\u202e",
    "::add-mask::x", "../../x", "/etc/passwd", "=1+1", "٠.5", "é", "\U0001f600", "label", "group",
    '"', "\n", ",", ";", "{table}", "__class__", "os.system",
)  # fmt: skip
_INTEGERS = struct.Struct("<I"), struct.Struct("<Q"), struct.Struct(">I"), struct.Struct("<H")


def flip_bytes(data: bytes, rng: random.Random) -> bytes:
    """Change, remove, repeat or insert a few bytes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(changed) + 1)
        match rng.randrange(5):
            case 0:
                changed[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                changed[place : place + 1] = bytes(
                    byte ^ 1 << rng.randrange(8) for byte in changed[place : place + 1]
                )
            case 2:
                del changed[place : place + rng.randint(1, 64)]
            case 3:
                part = changed[place : place + rng.randint(1, 64)]
                changed[place:place] = part
            case _:
                number = rng.choice(_INTEGERS)
                value = rng.choice((0, 1, 2**15, 2**16 - 1, rng.randrange(2**16)))
                packed = number.pack(value)
                changed[place : place + len(packed)] = packed
    return bytes(changed)


def truncate(data: bytes, rng: random.Random) -> bytes:
    """Keep only the start of the data, or its start twice."""
    end = rng.randrange(len(data) + 1)
    return data[:end] if rng.random() < 0.7 else data[:end] + data


def mutate_zip(data: bytes, rng: random.Random) -> bytes:
    """Change, drop, double, rename, compress or extend a member of a zip archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info, archive.read(info)) for info in archive.infolist()]
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError):
        return flip_bytes(data, rng)
    target = rng.randrange(len(members))
    names = [info.filename for info, _ in members]
    action = rng.randrange(8)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for index, (info, content) in enumerate(members):
            name, kind = info.filename, info.compress_type
            if index == target:
                match action:
                    case 0:
                        content = flip_bytes(content, rng)
                    case 1:
                        continue
                    case 2:
                        archive.writestr(name.upper(), content, compress_type=kind)
                    case 3:
                        name = rng.choice((*names, f"../{name}", f"/{name}", name + "\x00", "x/y"))
                    case 4:
                        kind = zipfile.ZIP_DEFLATED
                    case 5:
                        content = b""
                    case 6:
                        content = mutate_pickle(content, rng)
                    case _:
                        content = content + bytes(rng.randint(1, 4096))
            archive.writestr(name, content, compress_type=kind)
        if action == 7:
            archive.writestr(rng.choice(names), members[target][1])
    changed = out.getvalue()
    return flip_bytes(changed, rng) if rng.random() < 0.2 else changed


def mutate_pickle(data: bytes, rng: random.Random) -> bytes:
    """Remove, repeat, move or replace opcodes of a pickle, or call something harmful."""
    try:
        ends = [position for _, _, position in pickletools.genops(data) if position is not None]
    except Exception:
        return flip_bytes(data, rng)
    if len(ends) < 3:
        return flip_bytes(data, rng)
    first, last = sorted(rng.choices(ends, k=2))
    match rng.randrange(6):
        case 0:
            return data[:first] + data[last:]
        case 1:
            return data[:last] + data[first:]
        case 2:
            return data[:first] + data[last:-1] + data[first:last] + data[-1:]
        case 3:
            payload = b"cos\nmkdir\n(S'fuzz-harm'\ntR"
            return data[:first] + payload + rng.choice((b"", b"0")) + data[first:]
        case 4:
            opcode = rng.choice((b"N", b"K\x01", b"]", b"}", b"(", b")", b"0", b"2", b"Q", b"R"))
            return data[:first] + opcode + data[first:]
        case _:
            return data[:first] + flip_bytes(data[first:], rng)


def mutate_safetensors(data: bytes, rng: random.Random) -> bytes:
    """Change the JSON header of a safetensors file, keeping its length field consistent."""
    length = int.from_bytes(data[:8], "little")
    header = mutate_json(data[8 : 8 + length], rng)
    claimed = len(header) if rng.random() < 0.8 else rng.choice((0, 2**62, len(data), length))
    return claimed.to_bytes(8, "little") + header + data[8 + length :]


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """Change a value or key of a JSON document, or its text."""
    try:
        document = json.loads(data)
    except ValueError:
        return flip_bytes(data, rng)
    match rng.randrange(8):
        case 0:
            return flip_bytes(data, rng)
        case 1:
            return b"[" * rng.choice((10, 100_000)) + data
        case 2:
            return data[:-1] + b"," + data[1:] if data else b"{"
        case _:
            for _ in range(rng.randint(1, 3)):
                document = _changed(document, rng)
            return json.dumps(document, ensure_ascii=rng.random() < 0.5).encode(
                "utf-8", "surrogatepass"
            )


def _changed(value: Any, rng: random.Random) -> Any:
    """Return a document with one part replaced, removed, renamed or added."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        changed = dict(value)
        match rng.randrange(6):
            case 0:
                del changed[key]
            case 1:
                changed[_value(rng, (str,))] = changed.pop(key)
            case 2:
                changed[_value(rng, (str,))] = _value(rng)
            case _:
                changed[key] = _changed(value[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.85:
        changed_list = list(value)
        index = rng.randrange(len(value))
        match rng.randrange(5):
            case 0:
                del changed_list[index]
            case 1:
                changed_list *= rng.choice((2, 50))
            case _:
                changed_list[index] = _changed(value[index], rng)
        return changed_list
    return _value(rng)


def _value(rng: random.Random, kinds: tuple[type, ...] = ()) -> Any:
    """Return a value that a careless reader does not expect."""
    while True:
        deep: Any = "x"
        for _ in range(rng.choice((1, 3, 200))):
            deep = [deep] if rng.random() < 0.5 else {"x": deep}
        found = rng.choice((None, True, rng.choice(_NUMBERS), rng.choice(_STRINGS), [], {}, deep))
        if not kinds or isinstance(found, kinds):
            return found


def mutate_text(data: bytes, rng: random.Random) -> bytes:
    """Change cells and lines of a CSV, TOML or JSON Lines file."""
    lines = data.split(b"\n")
    for _ in range(rng.randint(1, 3)):
        index = rng.randrange(len(lines))
        separator = b"," if b"," in lines[index] else b"="
        cells = lines[index].split(separator)
        cell = rng.randrange(len(cells))
        match rng.randrange(8):
            case 0:
                cells[cell] = rng.choice(_STRINGS).encode("utf-8", "surrogatepass")
            case 1:
                cells[cell] = str(rng.choice(_NUMBERS)).encode()
            case 2:
                del cells[cell]
            case 3:
                cells.append(cells[cell])
            case 4:
                lines.insert(index, lines[rng.randrange(len(lines))])
            case 5:
                cells[cell] = b'"' + cells[cell]
            case 6:
                cells[cell] = flip_bytes(cells[cell], rng)
            case _:
                cells[cell] = rng.choice((b"[]", b"{}", b"[[a]]", b"'", b"1979-05-27", b"inf"))
        lines[index] = separator.join(cells)
    changed = b"\n".join(lines)
    match rng.randrange(20):
        case 0:
            return changed.replace(b"\n", b"\r\n")
        case 1:
            return b"\xef\xbb\xbf" + changed
        case 2:
            return changed.decode("utf-8", "replace").encode("utf-16")
        case 3:
            return changed.replace(b",", rng.choice((b";", b"\t", b",,")))
        case _:
            return changed


def mutate_lines(data: bytes, rng: random.Random) -> bytes:
    """Change one JSON document of a JSON Lines file."""
    lines = data.splitlines(keepends=True)
    index = rng.randrange(len(lines))
    lines[index] = mutate_json(lines[index], rng) + b"\n"
    return b"".join(lines)


ANY: tuple[Mutation, ...] = (flip_bytes, truncate)
