"""The file of a score model's arrays: safetensors with fixed bytes, so that a hash binds it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fairfix._utils.regular_file import read_regular
from fairfix.errors import UsageError
from fairfix.models.score_model.blind_score import BlindScore
from fairfix.models.score_model.parts import Setting
from fairfix.models.score_model.repaired_score import RepairedScore
from fairfix.models.score_model.residual_head import ResidualHead
from fairfix.models.score_model.score_model import ScoreModel

KINDS: dict[str, type[ScoreModel]] = {
    model.kind: model for model in (BlindScore, RepairedScore, ResidualHead)
}
_DTYPES = {"float64": "F64", "int64": "I64", "int32": "I32", "bool": "BOOL"}
_ALIGNMENT = 8


def to_bytes(model: ScoreModel) -> bytes:
    """Return the arrays as a safetensors file.

    Arrays with larger elements come first, so that all are aligned, and else in the order of their
    names. The safetensors library does not promise equal bytes from one release to the next.
    """
    arrays = model.arrays()
    header, body = {}, b""
    for name in sorted(arrays, key=lambda name: (-arrays[name].itemsize, name)):
        array = arrays[name]
        content = array.astype(array.dtype.newbyteorder("<")).tobytes()
        header[name] = {
            "dtype": _DTYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [len(body), len(body) + len(content)],
        }
        body += content
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text + body


def sha256(model: ScoreModel) -> str:
    """Return the SHA-256 of ``to_bytes``."""
    return hashlib.sha256(to_bytes(model)).hexdigest()


def read_score_model(
    path: Path, kind: str, settings: Mapping[str, Setting], digest: str, rule: str
) -> ScoreModel:
    """Read the score model that a rule names. Nothing in the file is executed.

    Args:
        path: the file of arrays.
        kind, settings, digest: as the rule has them; ``digest`` is the SHA-256 of the file.
        rule: name of the rule, for messages.

    Raises:
        UsageError: if the file is missing, was changed, or does not hold such a score model.
    """
    if not path.exists():
        raise UsageError(
            f"{rule} needs the score model in {path.name}, which does not exist. "
            "Restore the file that was written with the rule, or debias again."
        )
    content = read_regular(path)
    if hashlib.sha256(content).hexdigest() != digest:
        raise UsageError(
            f"{path.name} is not the score model of {rule}: the files are not of one run or were "
            "changed. Restore the files that were written together, or debias again."
        )
    try:
        model = KINDS[kind].from_parts(settings, _arrays(content))
    except UsageError as error:
        raise UsageError(
            f"{rule} and {path.name} do not hold a score model: {error} "
            "Restore the files that were written together, or debias again."
        ) from None
    if to_bytes(model) != content:
        raise UsageError(
            f"{path.name} was not written by fairfix: it holds the arrays of a score model in "
            "another form. Restore the file that was written with the rule, or debias again."
        )
    return model


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    try:
        return load(content)
    except Exception as error:  # it raises errors of several kinds for damaged files
        raise UsageError(f"the safetensors format is damaged ({error}).") from None
