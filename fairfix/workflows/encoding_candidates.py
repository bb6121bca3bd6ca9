"""Candidates for the data spec of a network on a table, and the choice among them by AUC."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from torch import nn

from fairfix.data.spec.transformer_encoding import fitted_columns
from fairfix.data.table import Columns
from fairfix.data.table.cell_values import normalized_text
from fairfix.errors import FairfixError, UsageError
from fairfix.metrics.performance import auc_by_group
from fairfix.models.checkpoint import Checkpoint
from fairfix.models.input_width import accepted_widths
from fairfix.workflows.case import load
from fairfix.workflows.model_options import ModelOptions
from fairfix.workflows.proposals import is_number, values_of

_SURE = 3  # standard errors between the best candidate and the next
_MOST_CATEGORIES = 1000
_ONE_HOT, _PAIRS = "one-hot", "one-hot, two values as 0 and 1"
_DROPPED = "one-hot without the first value"
_TEXT_FORMS = _ONE_HOT, _PAIRS, _DROPPED
_RAW, _NUMBERS, _ALL = "numbers as they are", "numbers standardized", "all inputs standardized"
_SCALINGS = _RAW, _NUMBERS, _ALL

Entry = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A data spec, None where the columns are the inputs as they are.

    Attributes:
        words: what is done to the columns.
        spec: the file's content.
        features: the columns in order, where there is no data spec.
        auc: of the network's scores on the table.
        error: standard error of ``auc``.
    """

    words: str
    spec: dict[str, Any] | None
    features: tuple[str, ...] | None = None
    auc: float = math.nan
    error: float = math.nan


def decided(candidates: Sequence[Candidate]) -> bool:
    """Whether the first candidate is the only one, or clearly better than the next."""
    if len(candidates) < 2:
        return bool(candidates)
    best, second = candidates[:2]
    return best.auc - second.auc > _SURE * best.error


def measured(
    candidates: Sequence[Candidate],
    checkpoint: Checkpoint,
    table: Path,
    columns: Columns,
    options: ModelOptions,
) -> list[Candidate]:
    """Return the candidates that the network runs on, with their AUC, best first.

    Raises:
        FairfixError: the last reason, if it runs on none.
    """
    found: list[Candidate] = []
    scores: list[torch.Tensor] = []
    reason: FairfixError = UsageError(
        f"No encoding of the columns of {table.name} that init knows fits the network; describe "
        "its inputs in a data spec (--data-spec)."
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "spec.data.json"
        for each in candidates:
            path.write_text(json.dumps(each.spec), encoding="utf-8")
            spec = None if each.spec is None else path
            try:
                case = load(
                    checkpoint,
                    table,
                    columns=replace(columns, features=each.features),
                    options=replace(options, data_spec=spec),
                )
            except FairfixError as refused:
                reason = refused
                continue
            problem = case.problem
            if any(torch.equal(problem.scores, known) for known in scores):
                continue
            scores.append(problem.scores)
            auc, error = _auc(problem.scores, problem.labels)
            found.append(replace(each, auc=auc, error=error))
    if not found:
        raise reason
    return sorted(found, key=lambda each: -each.auc)


def _auc(scores: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Return the AUC of scores and its standard error."""
    auc = float(auc_by_group(scores, labels, torch.zeros_like(labels), 1)[0])
    fewest = int(min(labels.sum(), (1 - labels).sum()))
    return auc, math.sqrt(max(auc * (1 - auc), 0.01) / fewest)


def transformer_candidate(
    model: Path, frame: pd.DataFrame, *, trust: bool = False
) -> Candidate | None:
    """Return the data spec of the fitted transformer beside a model, if there is exactly one.

    Raises:
        TrustError, UsageError: it cannot be read.
    """
    files = sorted((model if model.is_dir() else model.parent).glob("*.skops"))
    if len(files) != 1:
        return None
    names = fitted_columns(files[0], trust=trust)
    if not names or not set(names) <= set(frame):
        return None
    text = [name for name in names if not is_number(frame[name])]
    entry = {"transformer": files[0].name, "columns": list(names), "text": text}
    return Candidate(f"the transformer in {files[0].name}", {"version": 1, "features": [entry]})


def candidates_of(
    checkpoint: Checkpoint, frame: pd.DataFrame, features: Sequence[str]
) -> list[Candidate]:
    """Return the data specs whose sizes fit the network.

    Args:
        frame: all rows of the table.
        features: the columns without another role, in file order.
    """
    assert checkpoint.module is not None
    sizes = [
        module.num_embeddings
        for module in checkpoint.module.modules()
        if isinstance(module, nn.Embedding)
    ]
    if sizes:
        return list(_with_embeddings(checkpoint.module, sizes, frame, features))
    return list(_one_matrix(accepted_widths(checkpoint), frame, features))


def _one_matrix(
    widths: Sequence[int], frame: pd.DataFrame, features: Sequence[str]
) -> Iterator[Candidate]:
    """Yield numbers and one-hot categories whose total width the network accepts."""
    text = [name for name in features if not is_number(frame[name])]
    ordered = {"in file order": list(features), "numbers first": _numbers_first(frame, features)}
    if not text and len(features) in widths:
        yield Candidate(_RAW, None, tuple(features))
    forms = product(
        list(ordered.items())[: 2 if text else 1],
        _TEXT_FORMS if text else ("",),
        _SCALINGS if text else _SCALINGS[1:2],
    )
    for (order, names), form, scaling in forms:
        entries = [
            _one_hot(frame, name, form, standardize=scaling == _ALL)
            if name in text
            else _number(frame, name, scaling != _RAW)
            for name in names
        ]
        if sum(map(_width, entries)) in widths:
            words = f"{scaling}; text {form}; {order}" if text else scaling
            yield Candidate(words, {"version": 1, "features": entries})


def _numbers_first(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    numbers = [name for name in names if is_number(frame[name])]
    return [*numbers, *(name for name in names if name not in numbers)]


def _number(frame: pd.DataFrame, name: str, standardize: bool) -> Entry:
    if not standardize:
        return {"column": name}
    mean, scale = float(frame[name].mean()), float(frame[name].std(ddof=0))
    return {"column": name, "mean": mean, "scale": scale or 1.0}


def _one_hot(frame: pd.DataFrame, name: str, form: str, *, standardize: bool) -> Entry:
    values = list(_categories(frame, name))
    cells = frame[name].map(normalized_text)
    if len(values) == 2 and form == _PAIRS:
        shares = [float((cells == values[1]).mean())]
        entry: Entry = {"column": name, "map": {values[0]: 0, values[1]: 1}}
    else:
        drop = form == _DROPPED
        shares = [float((cells == value).mean()) for value in values[int(drop) :]]
        entry = {"column": name, "categories": values, "drop_first": drop}
    if not standardize:
        return entry
    scales = [math.sqrt(share * (1 - share)) or 1.0 for share in shares]
    if "map" in entry:
        return entry | {"mean": shares[0], "scale": scales[0]}
    return entry | {"mean": shares, "scale": scales}


def _width(entry: Entry) -> int:
    values = entry.get("categories")
    return 1 if values is None else len(values) - int(entry["drop_first"])


def _categories(frame: pd.DataFrame, name: str) -> tuple[str, ...]:
    values = values_of(frame[name])
    if len(values) > _MOST_CATEGORIES:
        raise UsageError(
            f"Column {name!r} has {len(values):,} different texts, too many for a list of "
            "categories; leave it out with --ignore or describe the inputs in a data spec."
        )
    return values


def _with_embeddings(
    network: nn.Module, sizes: Sequence[int], frame: pd.DataFrame, features: Sequence[str]
) -> Iterator[Candidate]:
    """Yield codes for the embeddings, in file order, and numbers; also as two arguments."""
    coded = [name for name in features if not is_number(frame[name])]
    if len(coded) < len(sizes):
        whole = [name for name in features if name not in coded and _is_whole(frame[name])]
        coded = [name for name in features if name in coded or name in whole]
    if len(coded) != len(sizes):
        raise UsageError(
            f"The network has {len(sizes)} embeddings and the table {len(coded)} columns of "
            "categories; describe the inputs in a data spec, or leave out columns with --ignore."
        )
    counts = [len(_categories(frame, name)) for name in coded]
    for name, count, size in zip(coded, counts, sizes, strict=True):
        if count > size:
            raise UsageError(
                f"Column {name!r} has {count} values and its embedding takes {size}; leave out "
                "columns that are not inputs with --ignore, or describe the inputs in a data spec."
            )
    firsts = (0, 1) if all(c < s for c, s in zip(counts, sizes, strict=True)) else (0,)
    numbers = [name for name in features if name not in coded]
    arguments = [
        name
        for name, each in inspect.signature(network.forward).parameters.items()
        if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
    ]
    for first in firsts:
        for standardize in (False, True) if numbers else (False,):
            scaled = _NUMBERS if standardize else _RAW
            words = f"codes from {first} for {', '.join(coded)}; {scaled}"
            plain = [_number(frame, name, standardize) for name in numbers]
            if len(arguments) == 2 and numbers:
                codes = [
                    {"column": name, "categories": list(_categories(frame, name)), "first": first}
                    for name in coded
                ]
                parts = {"kind": "codes", "columns": codes}, {"kind": "numbers", "entries": plain}
                for order in (parts, parts[::-1]):
                    inputs = dict(zip(arguments, order, strict=True))
                    yield Candidate(words, {"version": 2, "inputs": inputs})
            elif len(arguments) == 1:
                mixed = dict(zip(numbers, plain, strict=True)) | {
                    name: {"column": name, "codes": list(_categories(frame, name)), "first": first}
                    for name in coded
                }
                for names in dict.fromkeys(
                    (tuple(features), (*coded, *numbers), (*numbers, *coded))
                ):
                    entries = [mixed[name] for name in names]
                    order_words = f"{words}; order {', '.join(names)}"
                    yield Candidate(order_words, {"version": 1, "features": entries})


def _is_whole(column: pd.Series) -> bool:
    """Whether a column may hold codes: few whole numbers from 0 or 1."""
    values = column.dropna()
    return bool(
        (values == values.round()).all() and 0 <= values.min() <= 1 and values.nunique() > 2
    )
