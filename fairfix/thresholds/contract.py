"""The contract of a rule: which columns of a table it reads, and what their values mean."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from fairfix._utils.strict_json import StrictModel
from fairfix.data.table.columns import MissingGroup


class Feature(StrictModel):
    """A column that the network's inputs are made from."""

    name: str = Field(description="Name of the column.")
    dtype: Literal["number", "text"] = Field(
        description="number: read as a number; text: read as it is written, for the data spec."
    )


class Roles(StrictModel):
    """The columns that have a role."""

    label: str = Field(description="The label column.")
    groups: tuple[str, ...] = Field(description="Group columns; the first was debiased.")
    id: str | None = Field(description="The column that identifies rows.")
    weight: str | None = Field(description="The column of row weights.")
    score: str | None = Field(description="The column of scores, in place of a network.")
    cluster: str | None = Field(description="The column of clusters of rows.")
    ignored: tuple[str, ...] = Field(description="Columns that are not features.")


class Contract(StrictModel):
    """What a table must hold for the rule to apply. Columns are found by their names."""

    features: tuple[Feature, ...] = Field(
        description="The columns of the network's inputs, in the order of the inputs; with a data "
        "spec, the columns that it reads. Empty for scores without a network."
    )
    roles: Roles = Field(description="Columns with a role.")
    label_values: tuple[str, ...] = Field(description="All label values as written.")
    group_values: dict[str, tuple[str, ...]] = Field(
        description="The groups by group column; of two, the second is privileged."
    )
    missing_group: MissingGroup = Field(
        description="Rows without a group are refused (error), are a group (keep), or count for "
        "performance, not for gaps (performance-only)."
    )
    output_name: str | None = Field(
        description="Which of several outputs of the network is read; null if it has one."
    )
    data_spec: dict[str, Any] | None = Field(
        description="The data spec; null if the table holds the network's inputs."
    )
    arch: str | None = Field(
        description="The architecture that was given, as a hint for people; it is never run.",
    )
    arch_args: dict[str, Any] | None = Field(
        description="Its keyword arguments, as a hint for people."
    )
    checkpoint_key: str | None = Field(
        description="Which of several networks of the checkpoint; null if none was named."
    )

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the feature columns, in the order of the inputs."""
        return tuple(feature.name for feature in self.features)

    @property
    def reads_table(self) -> bool:
        """Whether the rule applies to a network, whose inputs are made from a table."""
        return bool(self.features) or self.data_spec is not None

    @property
    def columns(self) -> frozenset[str]:
        """Every column that the contract names."""
        roles = self.roles
        single = (roles.label, roles.id, roles.weight, roles.score, roles.cluster)
        named = (*self.feature_names, *roles.groups, *roles.ignored, *single)
        return frozenset(name for name in named if name is not None)
