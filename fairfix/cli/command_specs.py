"""The list of commands: for each its help, its examples and its options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fairfix import methods
from fairfix.cli.options import commands, goal, inputs, network_inputs, outputs
from fairfix.cli.options.option import method_options

_METHOD_EXAMPLES = {
    "adversarial": "--rounds 8 --loss hinge",
    "caleqodds": "--cost fnr",
    "eqodds": "--metric eqodds --base current",
    "fairif": "--unweighted",
    "gda": "--epochs 20 --optimizer sgd",
    "identity": "--json",
    "layerwise": "--layers 4,2 --calls 40",
    "perturb": "--trials 1000",
    "prune": "--max-units 32",
    "repair": "--train train.csv",
    "roc": "--favor f",
    "thresholds": "--randomized",
}
"""Options of the third example, by method."""


@dataclass(frozen=True)
class CommandSpec:
    """A command as ``fairfix.cli.app`` registers it.

    Attributes:
        name: what the user types.
        module: the module of ``fairfix.cli`` whose ``run`` is the body; imported when it runs.
        panel: heading in the list of commands.
        summary: one sentence.
        details: paragraphs that only ``--help-all`` shows.
        examples: command lines.
        groups: functions whose parameters are the options.
        own: options of a method.
        bound: further arguments of ``run``.
    """

    name: str
    module: str
    panel: str
    summary: str
    examples: tuple[str, ...]
    groups: tuple[Callable[..., None], ...]
    details: str = ""
    own: tuple[inspect.Parameter, ...] = ()
    bound: Mapping[str, Any] = field(default_factory=dict)


@cache
def command_specs() -> dict[str, CommandSpec]:
    """Return all commands of fairfix itself by name, in the order of ``fairfix --help``."""
    specs = (
        _INIT,
        _DOCTOR,
        _INSPECT,
        _AUDIT,
        _GATE,
        *map(_method_spec, map(methods.read_builtin, methods.builtin_names())),
        _BENCH,
        _DATA,
        _PREDICT,
        _VALIDATE,
    )
    return {spec.name: spec for spec in specs}


def outside_names() -> tuple[str, ...]:
    """Return the commands that are methods from outside the package, without importing any."""
    return tuple(name for name in methods.names() if name not in command_specs())


def command_spec(name: str) -> CommandSpec:
    """Return a command; a method from outside the package is imported.

    Raises:
        UsageError: if that fails.
    """
    return command_specs().get(name) or _method_spec(methods.get(name))


def _method_spec(method: methods.Method) -> CommandSpec:
    name = method.name
    own = tuple(method_options(method))
    call = f"fairfix {name} model.pt val.csv"
    if method.needs_training:
        call += " --train train.csv"
        examples = [call, f"{call} --test test.csv"]
    else:
        examples = [call, f"{call} --metric eod --budget 0.1 --test test.csv"]
    last = _METHOD_EXAMPLES.get(name) or _first_option(method)
    if last:
        examples.append(f"{call} {last}")
    return CommandSpec(
        name=name,
        module="method",
        panel="Debias",
        summary=method.summary,
        details=method.description.removeprefix(method.summary).strip(),
        examples=tuple(examples),
        groups=(
            inputs.arguments,
            goal.goal_options,
            goal.training_options,
            goal.unlabeled_options,
            goal.promise_options,
            inputs.table_options,
            network_inputs.input_options,
            network_inputs.file_options,
            inputs.model_options,
            outputs.output_options,
            goal.confidence_options,
            goal.subgroup_options,
            goal.threshold_options,
            outputs.message_options,
        ),
        own=own,
        bound={"name": name},
    )


def _first_option(method: methods.Method) -> str:
    """Return the first option of a method with its default, if it has one that can be shown."""
    for option in method.options:
        flag = f"--{option.name.replace('_', '-')}"
        if option.type is bool:
            return flag
        if option.default != "":
            return f"{flag} {option.default}"
    return ""


_INIT = CommandSpec(
    name="init",
    module="init",
    panel="Start",
    summary="Inspect a network and a table, and write fairfix.toml and a data spec for them.",
    examples=(
        "fairfix init model.pt val.csv",
        "fairfix init model.pt val.csv --yes --favorable '>50K' --group sex",
        "fairfix init weights.pt val.csv --arch mlp:relu",
    ),
    groups=(
        inputs.arguments,
        commands.init_options,
        inputs.table_options,
        inputs.model_options,
        outputs.message_options,
    ),
)
_DOCTOR = CommandSpec(
    name="doctor",
    module="doctor",
    panel="Start",
    summary="Show versions, the build of torch, devices and extras.",
    examples=("fairfix doctor", "fairfix doctor --json", "fairfix doctor --debug"),
    groups=(outputs.message_options,),
)
_VALIDATE = CommandSpec(
    name="validate",
    module="validate",
    panel="Use",
    summary="Check settings files, data specs and rules without a model or a table.",
    examples=(
        "fairfix validate",
        "fairfix validate fairfix.toml model.data.json",
        "fairfix validate pyproject.toml --json",
    ),
    groups=(commands.validate_options, outputs.message_options),
)
_INSPECT = CommandSpec(
    name="inspect",
    module="inspect",
    panel="Look",
    summary="Show a checkpoint: format, layers, parameters, prunable units, inputs, output.",
    examples=(
        "fairfix inspect model.pt",
        "fairfix inspect weights.safetensors --arch mlp:relu",
        "fairfix inspect model.pt val.csv --json",
    ),
    groups=(
        inputs.model_argument,
        inputs.optional_table,
        inputs.table_options,
        network_inputs.input_options,
        network_inputs.file_options,
        inputs.model_options,
        outputs.message_options,
    ),
)
_AUDIT = CommandSpec(
    name="audit",
    module="audit",
    panel="Look",
    summary="Measure every metric with its confidence interval, by group, intersection and "
    "subgroup. Changes nothing.",
    examples=(
        "fairfix audit model.pt test.csv --group sex --privileged m",
        "fairfix audit model.pt test.csv --metric eod --budget 0.1 --html audit.html",
        "fairfix audit scores.csv --score p --group sex",
    ),
    groups=(
        inputs.arguments,
        commands.audit_options,
        inputs.table_options,
        network_inputs.input_options,
        network_inputs.file_options,
        inputs.model_options,
        inputs.rule_options,
        goal.confidence_options,
        goal.subgroup_options,
        goal.threshold_options,
        outputs.message_options,
    ),
)
_GATE = CommandSpec(
    name="gate",
    module="gate",
    panel="Look",
    summary="Check a model against budgets and floors. Exits with 0 if all are certified, 1 if "
    "one is violated, 3 if one is inconclusive or has too few rows.",
    examples=(
        "fairfix gate model.pt test.csv --budget spd=0.05",
        "fairfix gate model.pt test.csv --budget spd=0.1 --floor accuracy=0.8",
        "fairfix gate new.pt test.csv --baseline old.pt --max-drop 0.01",
    ),
    groups=(
        inputs.arguments,
        commands.gate_options,
        inputs.table_options,
        network_inputs.input_options,
        network_inputs.file_options,
        inputs.model_options,
        inputs.rule_options,
        goal.confidence_options,
        goal.threshold_options,
        outputs.message_options,
    ),
)
_BENCH = CommandSpec(
    name="bench",
    module="bench",
    panel="Compare",
    summary="Compare methods on held-out rows: on your own models, or by the protocol of a paper.",
    examples=(
        "fairfix bench model.pt val.csv --methods gda,prune --budget 0.1",
        "fairfix bench --protocol m22 --datasets compas --jobs 4 -o study",
        "fairfix bench --rows a/rows.jsonl --rows b/rows.jsonl -o both",
    ),
    groups=(
        commands.bench_options,
        goal.goal_options,
        goal.promise_options,
        inputs.table_options,
        network_inputs.file_options,
        inputs.model_options,
        goal.threshold_options,
        outputs.message_options,
    ),
)
_DATA = CommandSpec(
    name="data",
    module="data",
    panel="Compare",
    summary="List, download and prepare the public benchmark data sets.",
    examples=(
        "fairfix data list",
        "fairfix data fetch adult",
        "fairfix data prepare compas --attribute sex -o compas",
    ),
    groups=(commands.data_options, outputs.message_options),
)
_PREDICT = CommandSpec(
    name="predict",
    module="predict",
    panel="Use",
    summary="Apply a checkpoint and its decision rule to a table; write scores and decisions.",
    examples=(
        "fairfix predict model.debiased.pt new.csv",
        "fairfix predict model.debiased.pt new.csv --id nr -o decisions.csv",
        "fairfix predict model.pt new.csv --rule model.rule.json -o -",
    ),
    groups=(
        inputs.arguments,
        commands.predict_options,
        inputs.table_options,
        network_inputs.input_options,
        network_inputs.file_options,
        inputs.model_options,
        inputs.rule_options,
        outputs.message_options,
    ),
)
