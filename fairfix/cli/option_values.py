"""Values of the shared options: from the command line, else the settings file, else defaults."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairfix._utils.detail import Detail
from fairfix._utils.name_list import split_names
from fairfix._utils.number_text import parse_float
from fairfix._utils.text import did_you_mean, shorten
from fairfix.cli.command_specs import command_specs, outside_names
from fairfix.cli.options.option import DEFAULTS
from fairfix.cli.settings import Settings, load_settings
from fairfix.cli.standard_input import place_of
from fairfix.data.table.columns import label_columns
from fairfix.errors import TrustError, UsageError

if TYPE_CHECKING:
    from fairfix.metrics.objective import Objective
    from fairfix.stats.confidence import ConfidenceLevel
    from fairfix.workflows.case import Case
    from fairfix.workflows.model_options import ModelOptions

MIN_FILE_CONFIDENCE = 0.9
"""Confidence below which a gate warns that a file set it."""

_ARCH_ARGS_REMEDY = 'write keyword arguments such as {"width": 32}'


@dataclass(frozen=True)
class OptionValues:
    """The shared options by name, with underscores; None without a value or default.

    Attributes:
        given: options on the command line.
        settings: options in the settings file.
        own: given options of the command's method; they replace shared options of the same name.
        source: the settings file, if there is one.
        from_file: the options whose values are those of the file, by name.
    """

    given: Mapping[str, Any]
    settings: Mapping[str, Any]
    own: Mapping[str, Any]
    source: Path | None
    from_file: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def collect(
        cls,
        command: str,
        given: Mapping[str, Any],
        anchor: Path,
        own: Collection[str] = (),
        model: str | None = None,
    ) -> OptionValues:
        """Combine the options of a command with the settings file nearest to ``anchor``.

        Args:
            command: name of the command.
            given: its options as Typer passes them; ``lambda_`` is ``lambda``.
            anchor: the table or model, whose directory is searched first.
            own: names of the options of the command's method.
            model: beside which the file is looked for last; "-" is none.

        Raises:
            TrustError: the file names code to run, and the command line does not allow it.
            UsageError: the file is invalid.
        """
        beside_model = Path(model) if model not in (None, "-") else None
        settings = load_settings(place_of(anchor), Path.cwd(), beside_model)
        table = settings.commands.get(command, {})
        _check_tables(settings, command, {*(name.rstrip("_") for name in given), *own})
        combined = settings.for_command(command)
        code = combined.needs_trust()
        if code and not given.get("trust_checkpoint") and given.get("arch") is None:
            raise TrustError(
                f"{code} would run code from a file. Check that code, then add "
                "--trust-checkpoint or give --arch on the command line."
            )
        command_line = {k.rstrip("_"): v for k, v in given.items() if not _is_omitted(v)}
        return cls(
            given={k: v for k, v in command_line.items() if k not in own},
            settings={k: v for k, v in combined.values.items() if k not in own},
            own={
                name: place[name]
                for name in own
                for place in (table, command_line)
                if name in place
            },
            source=settings.source,
            from_file={
                name: value
                for name, value in combined.values.items()
                if name in {*(known.rstrip("_") for known in given), *own}
                and name not in command_line
            },
        )

    @classmethod
    def without_file(cls, given: Mapping[str, Any]) -> OptionValues:
        """Return the options of the command line alone."""
        command_line = {k.rstrip("_"): v for k, v in given.items() if not _is_omitted(v)}
        return cls(command_line, {}, {}, None)

    def __getitem__(self, name: str) -> Any:
        places = (self.given, self.settings, DEFAULTS)
        return next((place[name] for place in places if name in place), None)

    @property
    def file_notes(self) -> tuple[str, ...]:
        """Which options the settings file set, and to what."""
        if self.source is None or not self.from_file:
            return ()
        listed = (f"{name.replace('_', '-')} = {_written(v)}" for name, v in self.from_file.items())
        said = f"{self.source.name} sets {', '.join(listed)}"
        return (Detail(said, said),)

    @property
    def file_warnings(self) -> tuple[str, ...]:
        """What a settings file does to make a gate easier to pass."""
        if self.source is None:
            return ()
        name, found = self.source.name, []
        if self.from_file.get("confidence", 1.0) < MIN_FILE_CONFIDENCE:
            found.append(f"the confidence of {self['confidence']:g} comes from {name}")
        if self.from_file.get("on_inconclusive") == "warn":
            found.append(f"inconclusive demands pass because {name} sets on-inconclusive = warn")
        return tuple(found)

    def _of_group(self, name: str) -> Any:
        """Return the privileged or reference group.

        The one in a settings file is for the group column there, and gives way to the other option.
        """
        replaced = {"group", "privileged", "reference"} & self.given.keys()
        return self.given.get(name) if replaced else self[name]

    def column_roles(self) -> dict[str, Any]:
        """Return the fields of ``Columns`` that the command line or the settings set."""
        set_ = {**self.settings, **self.given}
        group = set_.get("group")
        unfavorable = _names(set_.get("unfavorable"))
        return {
            **label_columns(_names(set_.get("label")), set_.get("target")),
            "favorable": set_.get("favorable"),
            "unfavorable": unfavorable or None,
            "groups": None if group is None else tuple(group),
            "privileged": self._of_group("privileged"),
            "reference": self._of_group("reference"),
            "id": set_.get("id"),
            "ignore": _names(set_.get("ignore")) or None,
            "weight": set_.get("weight"),
            "features": _names(set_.get("features")),
            "score": set_.get("score"),
            "cluster": set_.get("cluster"),
            "missing_group": set_.get("missing_group"),
        }

    @property
    def target(self) -> str | None:
        """The label to work on; None if none was chosen."""
        set_ = {**self.settings, **self.given}
        chosen: str | None = set_.get("target")
        return chosen

    @property
    def labels(self) -> tuple[str, ...]:
        """The label columns that were named."""
        return _names({**self.settings, **self.given}.get("label")) or ()

    def of_label(self, name: str) -> OptionValues:
        """Return the values with a label as target."""
        return replace(self, given={**self.given, "target": name})

    def model_options(self) -> ModelOptions:
        """Return how the model is read and run."""
        from fairfix.data.inputs import InputOptions
        from fairfix.data.spec.given_inputs import GivenInputs
        from fairfix.workflows.model_options import ModelOptions

        return ModelOptions(
            arch=self["arch"],
            arch_args=_object(self["arch_args"]),
            trust=bool(self.given.get("trust_checkpoint")),
            data_spec=self["data_spec"],
            output_kind=self["output_kind"],
            output_name=self["output_name"],
            output_label=self["output_label"],
            device=self["device"],
            batch_size=self["batch_size"],
            threads=self["threads"],
            checkpoint_key=self["checkpoint_key"],
            files=InputOptions(
                image_root=self["image_root"], cache=self["cache"], on_bad_row=self["on_bad_row"]
            ),
            inputs=GivenInputs(
                **{
                    each.name: self[each.name]
                    for each in fields(GivenInputs)
                    if self[each.name] is not None
                }
            ),
            classes=_names(self["classes"]) or None,
        )

    def threshold_without(self, rule: Path | None) -> float | None:
        """Return the threshold on the command line, which is used instead of a rule.

        Raises:
            UsageError: there is also a rule.
        """
        threshold: float | None = self.given.get("threshold")
        if threshold is not None and rule is not None:
            raise UsageError("--rule and --threshold exclude each other; give one.")
        return threshold

    def measured_case(
        self, model: str, data: Path, rule: Path | None, threshold: float | None
    ) -> Case:
        """Return model and table of an audit or a gate; the table may lack labels.

        Args:
            threshold: that on the command line, which decides instead of a rule.
        """
        from fairfix.workflows.open_case import open_case

        return open_case(
            model,
            data,
            self.column_roles(),
            self.model_options(),
            threshold=self["threshold"],
            rule=rule,
            decides=threshold is None,
            require_labels=False,
        )

    def test(self) -> Path | None:
        """Return the table of test rows, if any.

        --holdout on the command line replaces a test table in the settings file.

        Raises:
            UsageError: the command line has both.
        """
        if "holdout" not in self.given:
            table: Path | None = self["test"]
            return table
        if "test" in self.given:
            raise UsageError("Test rows come from --test or from --holdout; give one.")
        return None

    def objective(self) -> Objective:
        """Return what is optimized.

        Raises:
            UsageError: an option is invalid, or has no effect together with the others.
        """
        from fairfix.workflows.debias import make_objective

        if "lambda" in self.given and self["objective"] != "tradeoff":
            raise UsageError(
                "--lambda has an effect only with --objective tradeoff; add that or remove "
                "--lambda."
            )
        by_probability = self["margin"] == "auto" and self["objective"] == "constrained"
        for name in ("risk", "k"):
            if name in self.given and not by_probability:
                raise UsageError(
                    f"--{name} has an effect only with --margin auto and --objective constrained; "
                    f"remove --{name} or change those."
                )
        ignore_risk = not by_probability and bool({"margin", "objective"} & self.given.keys())
        metric, budget = self._goal()
        return make_objective(
            metric,
            budget,
            margin=_margin(self["margin"]),
            performance=self["performance"],
            kind=self["objective"],
            lambda_=self["lambda"],
            risk=None if ignore_risk else _risk(self["risk"]),
            k=self["k"],
        )

    def confidence(self) -> ConfidenceLevel:
        """Return the confidence of the verdict and the intervals.

        Raises:
            UsageError: --confidence is out of range.
        """
        from fairfix.stats.confidence import ConfidenceLevel

        return ConfidenceLevel(self["confidence"], bool(self["strict"]))

    def _goal(self) -> tuple[str, float]:
        """Return the metric and its budget.

        A budget on the command line may name the metric; of those in a file, that of the metric
        and of the first group column is taken.

        Raises:
            UsageError: there is not one such budget.
        """
        from fairfix.workflows.gate.demands import split_entry

        metric, budget = self["metric"], self["budget"]
        if isinstance(budget, tuple):
            return metric, _budget_of(metric, budget, self["group"][0])
        if "budget" not in self.given:
            return metric, budget
        entry, *others = budget
        if others:
            raise UsageError("This command has one --budget; give the others as --also.")
        key, smallest, column, limit, severity = split_entry("budget", entry)
        if smallest or severity != "error" or column not in (None, self["group"][0]):
            raise UsageError(
                f"--budget {entry}: this command limits one gap, of the first group column "
                f"{self['group'][0]!r}; write --budget {key or metric}={limit:g}."
            )
        if "metric" in self.given and key not in ("", metric):
            raise UsageError(f"--metric is {metric} and --budget is of {key}; give one metric.")
        return key or metric, limit


def _written(value: Any) -> str:
    """Return a setting on one line, without control characters."""
    if isinstance(value, Path):
        return shorten(value.name)
    if isinstance(value, list | tuple):
        return shorten("[" + ", ".join(map(str, value)) + "]", 80)
    return shorten(value, 80)


def _is_omitted(value: Any) -> bool:
    return value is None or value is False  # by identity: 0 equals False


def _check_tables(settings: Settings, command: str, options: Collection[str]) -> None:
    """Raise UsageError unless the tables of a settings file are commands with known options."""
    settings.check_commands([*command_specs(), *outside_names()])
    for name in settings.commands.get(command, {}):
        if name not in options:
            hint = did_you_mean(name, options)
            raise UsageError(f"{settings.source}: [{command}] has no option {name!r}{hint}")


def _names(value: str | tuple[str, ...] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    return split_names(value) if isinstance(value, str) else value


def _object(value: str | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--arch-args is not JSON ({error}); {_ARCH_ARGS_REMEDY}.") from None
    if not isinstance(parsed, dict):
        raise UsageError(f"--arch-args is not a JSON object; {_ARCH_ARGS_REMEDY}.")
    return parsed


def _budget_of(metric: str, entries: tuple[str, ...], column: str) -> float:
    """Return the budget of a metric from entries; a severity is for the gate alone."""
    from fairfix.workflows.gate.demands import split_entry

    for entry in entries:
        found = split_entry("budget", entry)
        if found.key == metric and found.column in (None, column):
            return found.limit
    raise UsageError(f"No budget for {metric} is given, only {', '.join(entries)}; add --budget.")


def _risk(value: str | float | None) -> str | float | None:
    """Return the name of a preset, or a number."""
    if not isinstance(value, str):
        return value
    try:
        return parse_float(value)
    except ValueError:
        return value.strip()


def _margin(value: str | float) -> float | None:
    if value == "auto":
        return None
    try:
        return parse_float(str(value))
    except ValueError:
        raise UsageError(f"--margin must be auto or a number, not {value!r}.") from None
