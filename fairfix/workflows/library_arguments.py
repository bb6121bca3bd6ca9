"""Arguments of the public functions as the fields of the types inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fairfix._utils.name_list import joined_names
from fairfix.data.table.columns import label_columns


def column_roles(
    *,
    label: str | Sequence[str] | None,
    target: str | None = None,
    favorable: object = None,
    unfavorable: object = (),
    groups: str | Sequence[str] | None,
    privileged: object = None,
    reference: object = None,
    ignore: Sequence[str] | None,
    features: Sequence[str] | None,
    **others: str | None,
) -> dict[str, Any]:
    """Return the fields of ``Columns`` that the caller set; None for the others.

    Args:
        label: the label column, or that of each output of a network with several, of which
            ``target`` is one.
        favorable, privileged, reference: values of any type, as a table writes them; several
            favorable ones in a list.
        unfavorable: one value or several.
        groups: one column or several.
        others: further fields, already of the right type.
    """
    several = unfavorable if isinstance(unfavorable, list | tuple) else (unfavorable,)
    return {
        **label_columns((label,) if isinstance(label, str) else label, target),
        "favorable": _favorable(favorable),
        "unfavorable": tuple(map(str, several)) or None,
        "groups": (groups,) if isinstance(groups, str) else _tuple(groups),
        "privileged": None if privileged is None else str(privileged),
        "reference": None if reference is None else str(reference),
        "ignore": _tuple(ignore),
        "features": _tuple(features),
        **others,
    }


def _tuple(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def _favorable(value: object) -> str | None:
    if isinstance(value, list | tuple) and value:
        return joined_names([str(each) for each in value])
    return None if value is None else str(value)
