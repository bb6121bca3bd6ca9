"""Options that stand in a file: ``fairfix.toml``, or ``[tool.fairfix]`` of ``pyproject.toml``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fairfix._utils.text import did_you_mean
from fairfix.data.table.cell_values import normalized_text
from fairfix.errors import UsageError

_OWN_FILE = "fairfix.toml"
_SHARED_FILE = "pyproject.toml"


@dataclass(frozen=True)
class Settings:
    """Checked options by name (with underscores) and the file they come from, if there is one.

    Columns are str or tuples of str, ``test`` and ``data_spec`` are absolute paths, values of
    labels and groups are str however they are written. ``commands`` holds what the file sets for
    one command alone; options that only that command knows are in it unchecked.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    source: Path | None = None
    commands: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def for_command(self, command: str) -> Settings:
        """Return what holds for one command: its own table over what stands above the tables."""
        return Settings({**self.values, **self.commands.get(command, {})}, self.source)

    def check_commands(self, known: Collection[str]) -> None:
        """Raise ``UsageError`` when a table is named after none of the ``known`` commands."""
        for name in self.commands:
            if name not in known:
                raise UsageError(f"{self.source}: {_unknown('command', name, known)}")

    def needs_trust(self) -> str | None:
        """Say which setting would run code from a file, or None when there is none.

        ``mlp:...`` names an architecture that fairfix builds itself; any other is code.
        """
        arch = self.values.get("arch")
        if arch is None or arch.startswith("mlp:"):
            return None
        return f"arch = {arch!r} in {self.source}"


def load_settings(table_path: Path | None, cwd: Path) -> Settings:
    """Return the nearest settings: beside the table, then upward from there, then in ``cwd``.

    In one folder ``fairfix.toml`` comes before ``pyproject.toml``. Raises ``UsageError`` with file
    and key when the settings cannot be understood.
    """
    for folder in _folders(table_path, cwd):
        own = folder / _OWN_FILE
        if own.is_file():
            return _checked(_parsed(own), own)
        shared = folder / _SHARED_FILE
        if shared.is_file():
            tools = _parsed(shared).get("tool")
            if isinstance(tools, dict) and "fairfix" in tools:
                return _checked(tools["fairfix"], shared)
    return Settings()


def _folders(table_path: Path | None, cwd: Path) -> Iterator[Path]:
    if table_path is not None:
        beside = table_path.parent.resolve()
        yield from (beside, *beside.parents)
    yield cwd.resolve()


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text.") from None
    except tomllib.TOMLDecodeError as error:
        reason, _, place = str(error).rpartition(" (at ")
        line = re.match(r"line \d+", place)
        where = line[0] if line else "at its end"
        raise UsageError(f"{path}, {where}: not valid TOML: {reason}.") from None


def _checked(table: Any, source: Path) -> Settings:
    if not isinstance(table, dict):
        raise UsageError(f"{source}: tool.fairfix is no table; write [tool.fairfix].")
    commands = {
        name: value
        for name, value in table.items()
        if isinstance(value, dict) and _option(name) not in _KINDS
    }
    values = _read({n: value for n, value in table.items() if n not in commands}, source)
    for name in values:
        if name not in _KINDS:
            dashed = [option.replace("_", "-") for option in (name, *_KINDS)]
            raise UsageError(f"{source}: {_unknown('setting', dashed[0], dashed[1:])}")
    return Settings(
        values=values,
        source=source,
        commands={name: _read(value, source, f"{name}.") for name, value in commands.items()},
    )


def _read(table: Mapping[str, Any], source: Path, within: str = "") -> dict[str, Any]:
    """Return the options of one table by name; those of unknown kind as they are."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = _option(key)
        place = f"{source}, {within}{key}"
        if name == "trust_checkpoint":
            raise UsageError(f"{place} can stand on the command line alone.")
        if name in values:
            raise UsageError(f"{place}: the option stands twice, with dashes and underscores.")
        if name not in _KINDS:
            values[name] = value
            continue
        kind = _KINDS[name]
        try:
            values[name] = kind.read(value, source.parent)
        except TypeError:
            raise UsageError(f"{place}: {value!r} where {kind.expected} is expected.") from None
    return values


def _option(key: str) -> str:
    return key.replace("-", "_")


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    hint = did_you_mean(name, known, f"; known are {', '.join(sorted(known))}.")
    return f"unknown {what} {name!r}{hint}"


Reader = Callable[[Any, Path], Any]
"""From a TOML value and the folder of its file to the setting; ``TypeError`` when it is none."""


def _only(*types: type) -> Reader:
    """Accept values of exactly these types: true and false are no numbers."""

    def read(value: Any, folder: Path) -> Any:
        if type(value) not in types:
            raise TypeError
        return value

    return read


_text = _only(str)
_number = _only(int, float)


def _cell(value: Any, folder: Path) -> str:
    return normalized_text(_only(str, int, float, bool)(value, folder))


def _strings(value: Any, folder: Path) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    return tuple(_text(each, folder) for each in _only(list)(values, folder))


def _columns(value: Any, folder: Path) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    return tuple(name.strip() for name in _strings(names, folder) if name.strip())


def _path(value: Any, folder: Path) -> Path:
    return folder / str(_text(value, folder))


def _arch(value: Any, folder: Path) -> str:
    place, colon, name = _text(value, folder).rpartition(":")
    return f"{folder / place if place.endswith('.py') else place}{colon}{name}"


def _margin(value: Any, folder: Path) -> Any:
    return value if value == "auto" else _number(value, folder)


def _entries(value: Any, folder: Path) -> tuple[str, ...]:
    """Demands, each ``name=number`` with or without a severity; one number alone is one too."""
    if isinstance(value, str | list):
        return _strings(value, folder)
    return (str(_number(value, folder)),)


def _budget(value: Any, folder: Path) -> Any:
    return _strings(value, folder) if isinstance(value, str | list) else _number(value, folder)


class _Kind(NamedTuple):
    """What a setting must be, in words, and how it is read."""

    expected: str
    read: Reader


def _choice(*choices: str) -> _Kind:
    def read(value: Any, folder: Path) -> Any:
        if value not in choices:
            raise TypeError
        return value

    return _Kind(" or ".join(map(repr, choices)), read)


_TEXT = _Kind("a string", _text)
_CELL = _Kind("a string, a number, true or false", _cell)
_COLUMNS = _Kind("a list of columns, or one string with commas", _columns)
_WHOLE = _Kind("a whole number", _only(int))
_NUMBER = _Kind("a number", _number)
_PATH = _Kind("a path", _path)

_KINDS: dict[str, _Kind] = {
    "label": _TEXT,
    "favorable": _CELL,
    "group": _Kind("a column or a list of columns", _strings),
    "privileged": _CELL,
    "output_label": _CELL,
    "missing_group": _choice("error", "keep"),
    "id": _TEXT,
    "ignore": _COLUMNS,
    "weight": _TEXT,
    "features": _COLUMNS,
    "score": _TEXT,
    "data_spec": _PATH,
    "arch": _Kind("a string", _arch),
    "arch_args": _Kind("a table", _only(dict)),
    "output_kind": _choice("auto", "prob", "logit"),
    "device": _TEXT,
    "batch_size": _WHOLE,
    "seed": _WHOLE,
    "metric": _TEXT,
    "budget": _Kind('a number, or "metric=number" or a list of such', _budget),
    "margin": _Kind('a number or "auto"', _margin),
    "performance": _TEXT,
    "objective": _TEXT,
    "lambda": _NUMBER,
    "risk": _NUMBER,
    "k": _NUMBER,
    "test": _PATH,
    "holdout": _NUMBER,
    "confidence": _NUMBER,
    "threshold": _NUMBER,
    "floor": _Kind('"measure=number" or a list of such', _entries),
    "max_drop": _Kind('a number, or "measure=number" or a list of such', _entries),
    "baseline": _PATH,
    "on_inconclusive": _choice("fail", "warn"),
    "strict": _Kind("true or false", _only(bool)),
}
