"""How the output of a network is read: its kind, its label value, and the names of its classes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace

from fairfix._utils.detail import Detail
from fairfix._utils.name_list import joined_names, split_names
from fairfix._utils.text import quoted_list
from fairfix.data.table import Columns, Table, equal_values
from fairfix.data.table.cell_values import parse_number
from fairfix.data.table.labels import ALL_OTHERS, favorable_among
from fairfix.errors import UsageError
from fairfix.models.checkpoint import Checkpoint
from fairfix.models.checkpoint.configuration import image_config_of, timm_architecture
from fairfix.models.classes import Classes
from fairfix.models.run_network import Reading
from fairfix.models.scorer import Output, Scorer
from fairfix.models.targets import Targets
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.rule_file import FoundRule
from fairfix.workflows.model_options import ModelOptions


def read_as(options: ModelOptions, found: FoundRule, columns: Columns) -> ModelOptions:
    """Return the options with the rule's reading of the output where none is given.

    Args:
        columns: several label columns are those of the outputs.

    Raises:
        UsageError: if there are also classes.
    """
    rule = found.rule
    if columns.targets:
        if options.classes is not None:
            raise UsageError(
                "--classes names the values of one label, and --label names several; give one of "
                "them."
            )
        options = replace(options, targets=Targets(columns.targets, columns.label))
    if rule is None or rule.contract is None:
        return options
    kind = "prob" if rule.output in (Output.PROB, Output.PROBS) else "logit"
    return replace(
        options,
        output_kind=kind if options.output_kind == "auto" else options.output_kind,
        output_name=options.output_name or rule.contract.output_name,
        output_label=options.output_label or (None if rule.classes else rule.output_label),
        classes=options.classes or (rule.classes.names if rule.classes else None),
    )


def reading_of(
    options: ModelOptions,
    rule: DecisionRule | None = None,
    classes: tuple[Classes | None, Classes | None] = (None, None),
) -> Reading:
    """Return how the output is read: by the options, else by the rule, else by its trace."""
    kind = options.output_kind if options.output_kind != "auto" else None
    if rule is None:
        return Reading(kind, options.output_name, *classes, options.targets)
    named = rule.contract.output_name if rule.contract is not None else None
    return Reading(
        kind or rule.output,
        options.output_name or named,
        classes=rule.classes,
        targets=rule.targets,
    )


def reading_to_show(
    checkpoint: Checkpoint, options: ModelOptions, rule: DecisionRule | None
) -> Reading:
    """Return how the output is read where there are no labels: as ``reading_of``.

    Which classes are favorable is not known then, and makes no difference to what is shown.

    Raises:
        UsageError: as ``classes_read``.
    """
    if rule is not None:
        return reading_of(options, rule)
    given, stored = _given_names(options), _stored_names(checkpoint)
    return reading_of(
        options,
        classes=(
            None if given is None else Classes(given, (0,)),
            Classes(stored, (0,)) if given is None and len(set(stored)) > 2 else None,
        ),
    )


def output_notes(
    table: Table, options: ModelOptions, scorer: Scorer, label: str
) -> tuple[str, ...]:
    """Describe how the network's output is read."""
    output, name, classes = scorer.output, scorer.output_name, scorer.classes
    if classes is not None:
        listed, favorable = quoted_list(classes.names), quoted_list(classes.favorable_names)
        return (
            Detail(
                f"the network's outputs are read as the {output}s of {listed}",
                f"outputs are {output}s of {len(classes.names)} classes",
            ),
            f"the score is the probability of {favorable}; a row is positive by its score, not by "
            "the class with the largest output",
        )
    what = f"{output}, the second" if output.is_two else f"the {output}"
    which = "output" if name is None else f"output {name!r}"
    said = "given" if options.output_kind != "auto" else "detected"
    if scorer.targets is not None:
        which = f"{which} for {scorer.targets.target!r}"
    note = Detail(
        f"the network's {which} is read as {what} of {label!r} ({said})",
        f"{which} is {what} of {label!r}",
    )
    if not scorer.complement:
        return (note,)
    return note, f"the favorable value is {table.favorable!r}, so the score is 1 - output"


def batch_notes(scorer: Scorer) -> tuple[str, ...]:
    """Warn of a network that does not decide each row by itself."""
    if not scorer.mixes_rows:
        return ()
    return (
        "warning: the score of a row depends on the other rows of its batch, so that the same row "
        "can be decided otherwise elsewhere; let the network use stored statistics in evaluation "
        "mode",
    )


def read_output_label(table: Table, given: str | None) -> tuple[str, bool | None]:
    """Return the label whose probability the network gives, and whether it is unfavorable.

    Several values are as in ``Table.favorable``. The second is None if the probability does not
    give that of the favorable values, or is not known without labels (``check_output_label``).

    Raises:
        UsageError: if the table lacks the given value.
    """
    values, favorable = table.label_values, table.favorable
    if not values:
        return _unlabeled_output(favorable, given)
    match = favorable_among("1" if given is None else given, values)
    if not match:
        if given is None:
            return favorable, False
        raise UsageError(
            f"The label column has no value {given!r} for --output-label; it has "
            f"{', '.join(map(repr, values))}."
        )
    chosen = favorable_among(favorable, values)
    if match == chosen:
        return favorable, False
    others = tuple(value for value in values if value not in chosen)
    return joined_names(match, values), True if match == others else None


def _unlabeled_output(favorable: str, given: str | None) -> tuple[str, bool | None]:
    """Return ``read_output_label`` of a table without labels."""
    if given is None:
        if equal_values(favorable, "0"):
            return "1", True
        # The other value of a number may be 1, whose probability the network then gives.
        numbers = any(parse_number(value) is not None for value in favorable.split(","))
        return favorable, None if numbers and not equal_values(favorable, "1") else False
    if equal_values(favorable, given):
        return favorable, False
    named, chosen = split_names(given), split_names(favorable)
    shared = [any(equal_values(value, each) for each in chosen) for value in named]
    if all(shared) and len(named) == len(chosen):
        return favorable, False
    return given, None if any(shared) else True


def check_output_label(scorer: Scorer, table: Table, label: str, complement: bool | None) -> None:
    """Check that the network's output gives the probability of the favorable values.

    Raises:
        UsageError: if it is the probability of other values, or it is not known of which.
    """
    if complement is not None or scorer.classes is not None:
        return
    favorable = table.favorable
    if not table.label_values:
        fact = f"{table.name} has no labels, so the network may give the probability of another "
        fact += f"value than {favorable!r}"
    else:
        fact = f"The network's probability of {label!r} does not give that of {favorable!r} among "
        fact += f"{len(table.label_values)} label values"
    raise UsageError(
        f"{fact}; name the values whose probability it gives with --output-label, such as "
        f"--output-label {shlex.quote(favorable)}."
    )


def classes_read(
    checkpoint: Checkpoint, table: Table, options: ModelOptions
) -> tuple[Classes | None, Classes | None]:
    """Return the given classes, and those stored with the network where none are given.

    Stored names that are not the label values of the table count as none, as those are that Hugging
    Face makes up.

    Raises:
        UsageError: if the given names are not the label values, or the output label is given too.
    """
    given = _given_names(options)
    if given is not None:
        return _classes(given, table), None
    names = _stored_names(checkpoint)
    if len(names) < 3 or options.output_label is not None:
        return None, None
    try:
        return None, _classes(names, table)
    except UsageError:
        return None, None


def with_other_classes(columns: Columns, checkpoint: Checkpoint, options: ModelOptions) -> Columns:
    """Return the columns; where the classes of a network are named, others are unfavorable."""
    names = options.classes or _stored_names(checkpoint)
    if columns.favorable is None or columns.unfavorable or len(names) < 3:
        return columns
    return replace(columns, unfavorable=(ALL_OTHERS,))


def _given_names(options: ModelOptions) -> tuple[str, ...] | None:
    """Return the names of the classes as options have them; None if they have none."""
    if options.classes is None:
        return None
    if options.output_label is not None:
        raise UsageError(
            "--output-label is for networks with one or two outputs, and --classes for those "
            "with more; give one of them."
        )
    return tuple(options.classes)


def _classes(names: tuple[str, ...], table: Table) -> Classes:
    unknown = [v for v in table.label_values if not any(equal_values(v, n) for n in names)]
    favorable = favorable_among(table.favorable, names)
    if unknown or not favorable:
        raise UsageError(
            f"The label column has the value {(unknown or [table.favorable])[0]!r}, which is not "
            f"among the classes {quoted_list(names)}; name the label value of each output, in the "
            "order of the outputs, with --classes."
        )
    return Classes(names, tuple(names.index(name) for name in favorable))


def _stored_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the class names in a configuration of transformers or timm; () if it has none."""
    config = checkpoint.metadata.get("config")
    named = None
    if isinstance(config, Mapping):
        named = config.get("id2label")
        if timm_architecture(config) is not None:
            named = config.get("label_names", image_config_of(config).get("label_names"))
    if isinstance(named, list):
        named = dict(enumerate(named))
    if not isinstance(named, Mapping):
        return ()
    by_place = {str(place): name for place, name in named.items()}
    names = tuple(by_place.get(str(place)) for place in range(len(by_place)))
    return tuple(name for name in names if isinstance(name, str)) if None not in names else ()
