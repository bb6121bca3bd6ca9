"""Settings files: options in ``fairfix.toml``, or in ``[tool.fairfix]`` of ``pyproject.toml``."""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict

from fairfix._utils.name_list import split_names
from fairfix._utils.regular_file import read_regular
from fairfix._utils.strict_json import StrictModel, validate
from fairfix._utils.text import did_you_mean
from fairfix.data.table.cell_values import normalized_text
from fairfix.data.table.columns import MissingGroup
from fairfix.errors import UsageError

_OWN_FILE = "fairfix.toml"
_COMMAND_LINE_ONLY = ("trust-checkpoint", "rule", "output", "force")
_MAX_BYTES = 16 << 20
_SHARED_FILE = "pyproject.toml"


@dataclass(frozen=True)
class Settings:
    """The valid settings of a file.

    Attributes:
        values: options by name, with underscores. Columns are str or tuples of str, paths are
            resolved against the directory of the file, values of labels and groups are str.
        source: the file, if there is one.
        commands: the tables of single commands; options of a method in them are not yet checked.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    source: Path | None = None
    commands: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def for_command(self, command: str) -> Settings:
        """Return the settings of one command: its table, completed from the top level."""
        return Settings({**self.values, **self.commands.get(command, {})}, self.source)

    def check_commands(self, known: Collection[str]) -> None:
        """Raise UsageError if the name of a table is not among the ``known`` commands."""
        for name in self.commands:
            if name not in known:
                hint = did_you_mean(name, known, f"; known are {', '.join(known)}.")
                raise UsageError(f"{self.source}: unknown command {name!r}{hint}")

    def needs_trust(self) -> str | None:
        """Return the setting that would run code, in words, or None.

        fairfix builds an architecture ``mlp:...`` itself; any other is code.
        """
        arch = self.values.get("arch")
        if arch is None or arch.startswith("mlp:"):
            return None
        return f"arch = {arch!r} in {self.source}"


def load_settings(table_path: Path | None, cwd: Path, model: Path | None = None) -> Settings:
    """Read the nearest settings: next to the table, in its parents, then in ``cwd``,
    then beside the model.

    The search upward ends at the project root, which holds .git or pyproject.toml, at the home
    directory, and before a directory that every user may write to. In one directory
    ``fairfix.toml`` comes before ``pyproject.toml``.

    Raises:
        UsageError: the file is not valid; names the file and the key.
    """
    folder = [] if model is None else [model.parent.resolve()]
    for directory in (*_directories(table_path, cwd), *folder):
        for name in (_OWN_FILE, _SHARED_FILE):
            path = directory / name
            settings = _read(path) if path.is_file() else None
            if settings is not None:
                return settings
    return Settings()


def check_settings_file(path: Path) -> None:
    """Check a settings file; a pyproject.toml without ``[tool.fairfix]`` is valid.

    Raises:
        UsageError: the file is not valid; names the file and the key.
    """
    from fairfix.cli.command_specs import command_specs, outside_names

    settings = _read(path)
    if settings is not None:
        settings.check_commands([*command_specs(), *outside_names()])


def _read(path: Path) -> Settings | None:
    """Return the settings of a file; None if it is a pyproject.toml without any."""
    table = _parsed(path)
    if path.name != _SHARED_FILE:
        return _settings(table, path, "")
    tools = table.get("tool")
    if isinstance(tools, dict) and "fairfix" in tools:
        return _settings(tools["fairfix"], path, "tool.fairfix")
    return None


def _directories(table_path: Path | None, cwd: Path) -> Iterator[Path]:
    if table_path is not None:
        start = table_path.parent.resolve()
        yield start
        for inner, outer in pairwise((start, *start.parents)):
            if _ends_search(inner) or _is_public(outer):
                break
            yield outer
    yield cwd.resolve()


def _ends_search(directory: Path) -> bool:
    """Whether a directory is a project root or the home directory."""
    marked = any((directory / name).exists() for name in (".git", _SHARED_FILE))
    return marked or directory == Path.home().resolve()


def _is_public(directory: Path) -> bool:
    """Whether every user may write to a directory, or it is the root."""
    return directory == directory.parent or bool(directory.stat().st_mode & stat.S_IWOTH)


def _parsed(path: Path) -> dict[str, Any]:
    content = read_regular(path, max_bytes=_MAX_BYTES)
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        reason, _, place = str(error).rpartition(" (at ")
        line = re.match(r"line \d+", place)
        where = line[0] if line else "at its end"
        raise UsageError(f"{path}, {where}: not valid TOML: {reason}.") from None
    except (RecursionError, ValueError):  # nested too deeply, or an integer of too many digits
        raise UsageError(
            f"{path} is nested too deeply or has a number with too many digits; write plain "
            "settings such as budget = 0.05."
        ) from None


def _settings(table: Any, source: Path, prefix: str) -> Settings:
    """Check the settings of a file; ``prefix`` is the name of their table in it."""
    if not isinstance(table, dict):
        raise UsageError(f"{source}: tool.fairfix is not a table; write [tool.fairfix].")
    commands = {
        name: value
        for name, value in table.items()
        if isinstance(value, dict) and _dashed(name) not in _KEYS
    }
    return Settings(
        values=_values(
            {name: value for name, value in table.items() if name not in commands},
            source,
            prefix,
        ),
        source=source,
        commands={
            name: _values(value, source, f"{prefix}.{name}".removeprefix("."), of_command=True)
            for name, value in commands.items()
        },
    )


def _values(
    table: Mapping[str, Any], source: Path, name: str, *, of_command: bool = False
) -> dict[str, Any]:
    """Check one table and return its options by name.

    With ``of_command``, unknown keys may be options of a method and are returned unchecked.
    """
    where = f"{source}, [{name}]" if name else str(source)
    dashed: dict[str, Any] = {}
    for key, value in table.items():
        option = _dashed(key)
        if option in _COMMAND_LINE_ONLY:
            raise UsageError(f"{where}: {key} is allowed only on the command line.")
        if option in dashed:
            raise UsageError(
                f"{where}: {option} occurs twice, with dashes and with underscores; remove one."
            )
        dashed[option] = value
    others = {key: value for key, value in dashed.items() if of_command and key not in _KEYS}
    known = {key: value for key, value in dashed.items() if key not in others}
    settings = validate(_SettingsTable, known, where)
    return {
        **settings.values(source.parent),
        **{key.replace("-", "_"): value for key, value in others.items()},
    }


def _dashed(key: str) -> str:
    return key.replace("_", "-")


def _table(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"must be a table such as {{ width = 32 }}, not {value!r}")
    return value


_Names = str | tuple[str, ...]
_CellValue = str | bool | int | float
_Numbers = str | int | float | tuple[int | float, ...]
_Demands = float | str | tuple[str, ...]


class _SettingsTable(StrictModel):
    """The options that a settings file may set; None if it does not."""

    model_config = ConfigDict(alias_generator=lambda name: _dashed(name.rstrip("_")))

    label: _Names | None = None
    favorable: _CellValue | None = None
    unfavorable: _CellValue | tuple[_CellValue, ...] | None = None
    group: _Names | None = None
    privileged: _CellValue | None = None
    reference: _CellValue | None = None
    output_label: _CellValue | None = None
    target: str | None = None
    missing_group: MissingGroup | None = None
    id: str | None = None
    ignore: _Names | None = None
    weight: str | None = None
    cluster: str | None = None
    features: _Names | None = None
    score: str | None = None
    data_spec: str | None = None
    codes: _Names | None = None
    image: _Names | None = None
    text: _Names | None = None
    array: _Names | None = None
    input_shape: _Names | None = None
    image_size: _Numbers | None = None
    image_scale: float | None = None
    image_mean: _Numbers | None = None
    image_std: _Numbers | None = None
    tokenizer: str | None = None
    max_length: int | None = None
    image_root: str | None = None
    cache: str | None = None
    on_bad_row: Literal["fail", "skip"] | None = None
    arch: str | None = None
    arch_args: Annotated[dict[str, Any], BeforeValidator(_table)] | None = None
    checkpoint_key: str | None = None
    output_kind: Literal["auto", "prob", "logit"] | None = None
    output_name: _CellValue | None = None
    classes: _Names | None = None
    device: str | None = None
    batch_size: int | None = None
    threads: int | None = None
    seed: int | None = None
    metric: str | None = None
    budget: _Demands | None = None
    margin: Literal["auto"] | float | None = None
    performance: str | None = None
    objective: str | None = None
    lambda_: float | None = None
    risk: float | str | None = None
    k: float | None = None
    test: str | None = None
    train: str | None = None
    unlabeled: str | None = None
    holdout: float | None = None
    confidence: float | None = None
    threshold: float | None = None
    also: _Demands | None = None
    floor: _Demands | None = None
    ceiling: _Demands | None = None
    max_drop: _Demands | None = None
    selection_rate_change: float | None = None
    baseline: str | None = None
    on_inconclusive: Literal["fail", "warn"] | None = None
    require_unseen: bool | None = None
    no_serious_warnings: bool | None = None
    strict: bool | None = None
    no_subgroups: bool | None = None
    method: _Names | None = None

    def values(self, directory: Path) -> dict[str, Any]:
        """Return the given options by name; paths in the file are relative to ``directory``."""
        return {
            name.rstrip("_"): _converted(name, getattr(self, name), directory)
            for name in type(self).model_fields
            if name in self.model_fields_set
        }


_KEYS = frozenset(str(info.alias) for info in _SettingsTable.model_fields.values())


def _converted(name: str, value: Any, directory: Path) -> Any:
    match name:
        case "favorable" | "privileged" | "reference" | "output_label":
            return normalized_text(value)
        case "unfavorable":
            if isinstance(value, str):
                return split_names(value)
            return tuple(map(normalized_text, value if isinstance(value, tuple) else (value,)))
        case "group" | "method" | "codes" | "image" | "text" | "input_shape":
            return (value,) if isinstance(value, str) else value
        case "ignore" | "features" | "classes":
            names = split_names(value) if isinstance(value, str) else value
            return tuple(each.strip() for each in names if each.strip())
        case "array":
            files = (value,) if isinstance(value, str) else value
            return tuple(_array(file, directory) for file in files)
        case "image_size" | "image_mean" | "image_std":
            return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        case "data_spec" | "tokenizer" | "image_root" | "cache" | "baseline":
            return directory / value
        case "train" | "test" | "unlabeled":
            return directory / value
        case "arch":
            place, colon, symbol = value.rpartition(":")
            return f"{directory / place if place.endswith('.py') else place}{colon}{symbol}"
        case "budget":
            return (value,) if isinstance(value, str) else value
        case "also" | "floor" | "ceiling" | "max_drop":
            return value if isinstance(value, tuple) else (str(value),)
    return value


def _array(value: str, directory: Path) -> str:
    """Return ``[ARG=]FILE[:KEY]`` with the path from the directory."""
    argument, equals, file = value.rpartition("=")
    return f"{argument}{equals}{directory / file}"
