"""What the user asked for: the command line first, then the settings file, then the defaults."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairfix.cli.options import DEFAULTS
from fairfix.cli.settings import Settings, load_settings
from fairfix.errors import TrustError, UsageError

if TYPE_CHECKING:
    from fairfix.data.table import Columns
    from fairfix.metrics.objective import Objective
    from fairfix.workflows.case import ModelOptions
    from fairfix.workflows.gate.demands import Demand

_ARCH_ARGS = 'write keyword arguments such as {"width": 32}'


@dataclass(frozen=True)
class Values:
    """Every shared option by name with underscores; None when it was given nowhere.

    Attributes:
        own: options of the command's method, where they were given. They take the place of shared
            ones of the same name.
        source: the settings file, if there is one.
    """

    given: Mapping[str, Any]
    settings: Mapping[str, Any]
    own: Mapping[str, Any]
    source: Path | None

    @classmethod
    def collect(
        cls, command: str, given: Mapping[str, Any], anchor: Path, own: Collection[str] = ()
    ) -> Values:
        """Options of a command, completed from the settings file nearest to ``anchor``.

        Raises:
            TrustError: when that file asks for code to be run and the command line does not
                allow it.
            UsageError: when it is wrong.
        """
        found = load_settings(anchor, Path.cwd())
        table = found.commands.get(command, {})
        _check_tables(found, command, {*(name.rstrip("_") for name in given), *own})
        mine = found.for_command(command)
        needs = mine.needs_trust()
        if needs and not given.get("trust_checkpoint") and given.get("arch") is None:
            raise TrustError(
                f"{needs} would run code that a file names. Look at it, then give "
                "--trust-checkpoint, or name it by --arch on the command line."
            )
        command_line = {k.rstrip("_"): v for k, v in given.items() if not _left_out(v)}
        return cls(
            given={k: v for k, v in command_line.items() if k not in own},
            settings={k: v for k, v in mine.values.items() if k not in own},
            own={
                name: place[name]
                for name in own
                for place in (table, command_line)
                if name in place
            },
            source=found.source,
        )

    def __getitem__(self, name: str) -> Any:
        places = (self.given, self.settings, DEFAULTS)
        return next((place[name] for place in places if name in place), None)

    @property
    def _privileged(self) -> Any:
        """That of a settings file belongs to the group column of that file."""
        elsewhere = "group" in self.given and "privileged" not in self.given
        return None if elsewhere else self["privileged"]

    def columns(self) -> Columns:
        from fairfix.data.table import Columns

        return Columns(
            label=self["label"],
            favorable=self["favorable"],
            groups=tuple(self["group"]),
            privileged=self._privileged,
            id=self["id"],
            ignore=_names(self["ignore"]) or (),
            weight=self["weight"],
            features=_names(self["features"]),
            score=self["score"],
            missing_group=self["missing_group"],
        )

    def model_options(self) -> ModelOptions:
        from fairfix.workflows.case import ModelOptions

        return ModelOptions(
            arch=self["arch"],
            arch_args=_object(self["arch_args"]),
            trust=bool(self.given.get("trust_checkpoint")),
            data_spec=self["data_spec"],
            output_kind=self["output_kind"],
            output_label=self["output_label"],
            device=self["device"],
            batch_size=self["batch_size"],
        )

    def cut(self, rule: Path | None) -> float | None:
        """The threshold that stands on the command line in the place of a rule.

        Raises:
            UsageError: when it stands beside one.
        """
        found: float | None = self.given.get("threshold")
        if found is not None and rule is not None:
            raise UsageError("Rows are cut by --rule or by --threshold: give one.")
        return found

    def test(self) -> Path | None:
        """The table to judge on; a holdout asked for on the command line beats one in a file.

        Raises:
            UsageError: when the command line asks for both.
        """
        if "holdout" not in self.given:
            found: Path | None = self["test"]
            return found
        if "test" in self.given:
            raise UsageError("Rows to judge on come from --test or from --holdout: give one.")
        return None

    def objective(self) -> Objective:
        """What is optimized.

        Raises:
            UsageError: also for an option on the command line that the others leave no use for.
        """
        from fairfix.workflows.debias import make_objective

        if "lambda" in self.given and self["objective"] != "tradeoff":
            raise UsageError(
                "--lambda weighs the gap in the trade-off objective alone: add --objective "
                "tradeoff, or leave it out."
            )
        by_chance = self["margin"] == "auto" and self["objective"] == "constrained"
        for name in ("risk", "k"):
            if name in self.given and not by_chance:
                raise UsageError(
                    f"--{name} goes with --margin auto and the constrained objective alone: leave "
                    "it out, or the other."
                )
        overruled = not by_chance and bool({"margin", "objective"} & self.given.keys())
        return make_objective(
            self["metric"],
            _budget(self["budget"], self["metric"]),
            margin=_margin(self["margin"]),
            performance=self["performance"],
            kind=self["objective"],
            weight=self["lambda"],
            risk=None if overruled else self["risk"],
            k=self["k"],
        )

    def demands(self) -> tuple[Demand, ...]:
        """What a gate demands; none where neither command line nor settings say it.

        Raises:
            UsageError: for a demand that is none.
        """
        from fairfix.workflows.gate.demands import Kind, demands

        places = (self.given, self.settings)  # and no default: an unsaid budget is no demand
        budget = next((place["budget"] for place in places if "budget" in place), ())
        one = not isinstance(budget, list | tuple)
        return (
            *demands(
                Kind.BUDGET,
                [str(budget)] if one else budget,
                default=self["metric"] if one else None,
            ),
            *demands(Kind.FLOOR, self["floor"] or (), default=self["performance"]),
            *demands(Kind.MAX_DROP, self["max_drop"] or (), default=self["performance"]),
        )


def _left_out(value: Any) -> bool:
    return value is None or value is False  # and not 0, which equals False


def _check_tables(found: Settings, command: str, options: Collection[str]) -> None:
    """See that the tables of a settings file are named after commands, and hold their options."""
    from fairfix.cli.app import app

    found.check_commands([str(each.name) for each in app.registered_commands])
    for name in found.commands.get(command, {}):
        if name not in options:
            near = get_close_matches(name, options, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise UsageError(f"{found.source}: {name!r} in [{command}] is no option of it{hint}")


def _names(value: str | tuple[str, ...] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(part.strip() for part in parts if part.strip())


def _object(value: str | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value)
    except ValueError as error:
        raise UsageError(f"--arch-args is not JSON ({error}); {_ARCH_ARGS}.") from None
    if not isinstance(parsed, dict):
        raise UsageError(f"--arch-args is no JSON object; {_ARCH_ARGS}.")
    return parsed


def _budget(value: float | tuple[str, ...], metric: str) -> float:
    """The budget of the metric: a number, or what the entry ``metric=number`` says of it."""
    if not isinstance(value, tuple):
        return value
    for entry in value:
        name, _, number = entry.partition("=")
        if name.strip() == metric:
            try:
                return float(number.partition(":")[0])  # a gate's severity may follow
            except ValueError:
                raise UsageError(f"A budget is metric=number, not {entry!r}.") from None
    raise UsageError(
        f"No budget is set for {metric}, only {', '.join(value)}; give one with --budget."
    )


def _margin(value: str | float) -> float | None:
    if value == "auto":
        return None
    try:
        return float(value)
    except ValueError:
        raise UsageError(f"--margin is auto or a number, not {value!r}.") from None
