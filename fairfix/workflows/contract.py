"""The contract of a case: the columns and values that a rule made on it reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

from fairfix.data.spec import comparable
from fairfix.errors import UsageError
from fairfix.thresholds.contract import Contract, Feature, Roles
from fairfix.thresholds.rule import DecisionRule
from fairfix.workflows.case import Case
from fairfix.workflows.named_columns import plain_json


def contract_of(case: Case) -> Contract:
    """Return the contract of a rule that is made on a case."""
    columns, table = case.columns, case.table
    text: Iterable[str] = () if case.spec is None else case.spec.text_columns
    return Contract(
        features=tuple(
            Feature(name=name, dtype="text" if name in text else "number")
            for name in feature_columns(case)
        ),
        roles=Roles(
            label=columns.label,
            groups=columns.groups,
            id=columns.id,
            weight=columns.weight,
            score=columns.score,
            cluster=columns.cluster,
            ignored=columns.ignore,
        ),
        label_values=table.label_values,
        group_values=table.group_names,
        missing_group=columns.missing_group,
        output_name=case.output_name,
        data_spec=None if case.spec is None else plain_json(case.spec.to_json()),
        arch=_arch_hint(case.options.arch),
        checkpoint_key=case.options.checkpoint_key,
        arch_args=None if case.options.arch_args is None else plain_json(case.options.arch_args),
    )


def feature_columns(case: Case) -> tuple[str, ...]:
    """Return the columns that the network's inputs are made from, in order; none for scores."""
    if case.checkpoint is None:
        return ()
    return case.table.feature_names if case.spec is None else case.spec.columns


def _arch_hint(arch: str | None) -> str | None:
    """Return the architecture without the folder of its file."""
    if arch is None or ".py:" not in arch:
        return arch
    file, _, name = arch.rpartition(":")
    return f"{PurePath(file).name}:{name}"


def check_contract(case: Case, rule: DecisionRule) -> None:
    """Check that a case was read as the rule reads its columns.

    Raises:
        UsageError: if it was read with other features, in another order, or with another data spec.
    """
    contract = rule.contract
    if contract is None or case.checkpoint is None or not contract.reads_table:
        return
    read, named = feature_columns(case), contract.feature_names
    spec, known = (None if case.spec is None else case.spec.to_json()), contract.data_spec
    same = (spec and comparable(plain_json(spec))) == (known and comparable(known))
    if read != named or not same:
        other = "another data spec" if read == named else "other features or another order"
        raise UsageError(
            f"{case.table.name} was read with {other} than the rule's; name the rule where "
            "the table is read (--rule), and leave out --features and --data-spec."
        )
