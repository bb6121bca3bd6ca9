"""Arguments of the public functions as the fields of the types inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from fairfix._utils.name_list import joined_names
from fairfix._utils.text import did_you_mean
from fairfix.data.inputs import InputOptions as FileOptions
from fairfix.data.spec.given_inputs import GivenInputs
from fairfix.data.table.columns import label_columns
from fairfix.errors import UsageError

Columns = str | Sequence[str]


class InputOptions(TypedDict, total=False):
    """Inputs of a network other than columns of numbers, as the options of the command line.

    A single input is its column or columns; several are a mapping from the argument of ``forward``.

    Keys:
        codes: columns of whole numbers, as embeddings take them.
        image, text: a column of paths of images, of texts.
        array: ``FILE[:KEY]``, a row per row of the table.
        input_shape: of a row of numbers, codes or an array.
        image_size: H, or (H, W).
        image_scale: factor of the pixels, which are 0 to 255.
        image_mean, image_std: one number, or one per channel.
        tokenizer: its folder; max_length: most tokens of a text.
        image_root: folder, zip or tar file with the images.
        cache: folder for decoded images and tokens.
        on_bad_row: "fail" or "skip" rows whose image, text or array entry cannot be used.
    """

    codes: Columns | Mapping[str, Columns]
    image: str | Mapping[str, str]
    text: str | Mapping[str, str]
    array: str | Mapping[str, str]
    input_shape: Sequence[int] | Mapping[str, Sequence[int]]
    image_size: int | Sequence[int]
    image_scale: float
    image_mean: float | Sequence[float]
    image_std: float | Sequence[float]
    tokenizer: str | Path
    max_length: int
    image_root: str | Path
    cache: str | Path
    on_bad_row: Literal["fail", "skip"]


_LISTS = ("codes", "image", "text", "array", "input_shape")
_NUMBERS = ("image_size", "image_mean", "image_std")
_PATHS = ("tokenizer", "image_root", "cache")
_FILES = ("image_root", "cache", "on_bad_row")


def input_options(given: InputOptions | None) -> tuple[FileOptions, GivenInputs]:
    """Return options as the types inside: how files are read, and which inputs there are.

    Raises:
        UsageError: if there is no option of a name.
    """
    known = InputOptions.__annotations__
    written: dict[str, Any] = {}
    for name, value in (given or {}).items():
        if name not in known:
            raise UsageError(f"inputs has no key {name!r}{did_you_mean(name, known)}")
        if name in _LISTS:
            written[name] = tuple(_arguments(value))
        elif name in _PATHS:
            written[name] = Path(str(value))
        else:
            written[name] = _numbers(value) if name in _NUMBERS else value
    files = {name: written.pop(name) for name in _FILES if name in written}
    return FileOptions(**files), GivenInputs(**written)


def _arguments(value: Any) -> Iterator[str]:
    """Yield inputs as the command line writes them: ``[ARG=]VALUE``."""
    if not isinstance(value, Mapping):
        yield _listed(value)
        return
    for argument, each in value.items():
        yield f"{argument}={_listed(each)}"


def _listed(value: Any) -> str:
    return value if isinstance(value, str) else joined_names([str(each) for each in value])


def _numbers(value: Any) -> str:
    return _listed(value) if isinstance(value, Sequence) else str(value)


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
