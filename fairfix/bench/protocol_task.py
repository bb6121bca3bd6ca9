"""Build one task of a protocol: an encoded split with its base network or other classifier."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from safetensors.torch import save

from fairfix._utils.atomic_write import write_bytes
from fairfix._utils.version import __version__
from fairfix.bench.datasets import dataset
from fairfix.bench.download import cache_folder
from fairfix.bench.other_classifiers import classifier_scores
from fairfix.bench.prepare import PART_RANGES, group_column, prepare_split
from fairfix.bench.protocols import BaseClassifier
from fairfix.bench.synthetic import SYNTHETIC, SyntheticProblem
from fairfix.bench.task import RowArrays, Task
from fairfix.bench.training import Recipe, train
from fairfix.data.splitting import consecutive_parts
from fairfix.data.table import Columns
from fairfix.workflows.model_options import ModelOptions

ARCH = "mlp:relu-bn"
_MODEL = "model.safetensors"
_SYNTHETIC_ROWS = 10_000
_FRESH_SEED = 1_000_000  # seeds of fresh test rows follow it, apart from those of splits


@dataclass(frozen=True)
class EncodedSplit:
    """One encoded split of a data set, by part: "train", "val" and "test".

    Attributes:
        fresh: True if the split has rows of its own, which no other split draws.
    """

    name: str
    seed: int
    features: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    groups: Mapping[str, np.ndarray]
    group_names: tuple[str, str]
    label_values: tuple[str, str]
    favorable: str
    fresh: bool

    def sha256(self) -> str:
        """Return the hash of everything that training uses."""
        digest = hashlib.sha256()
        for part in ("train", "val"):
            digest.update(self.features[part].tobytes() + self.labels[part].tobytes())
        return digest.hexdigest()


def encoded_split(name: str, seed: int, *, fresh_test_rows: int = 0) -> EncodedSplit:
    """Return a split of "name/attribute", or rows of a synthetic problem drawn with the seed.

    Args:
        name: data set and attribute, or synthetic problem and parameter.
        seed: of the split or the rows.
        fresh_test_rows: if positive, the test rows of a synthetic problem are this many, drawn
            separately; training and validation rows stay the same.
    """
    first, _, rest = name.partition("/")
    if first in SYNTHETIC:
        value = float(rest.partition("=")[2])
        return _synthetic_split(name, SYNTHETIC[first], value, seed, fresh_test_rows)
    prepared = prepare_split(dataset(first), rest, seed=seed)
    column = group_column(rest)
    privileged = prepared.privileged
    return EncodedSplit(
        name=name,
        seed=seed,
        features={part: prepared.inputs(part) for part in PART_RANGES},
        labels={part: prepared.labels(part) for part in PART_RANGES},
        groups={
            part: (table[column] == privileged).to_numpy().astype(np.int64)
            for part, table in prepared.parts.items()
        },
        group_names=(prepared.dataset.protected[rest].unprivileged, privileged),
        label_values=_label_values(prepared.parts["train"][prepared.dataset.label]),
        favorable=prepared.dataset.favorable,
        fresh=False,
    )


def _label_values(column: Any) -> tuple[str, str]:
    first, second = sorted(map(str, column.unique()))
    return first, second


def _synthetic_split(
    name: str, problem: SyntheticProblem, value: float, seed: int, fresh_test_rows: int
) -> EncodedSplit:
    parameter = {problem.parameter: value}
    drawn = problem.draw(_SYNTHETIC_ROWS, seed=seed, **parameter)
    parts = {
        part: (drawn.features[of], drawn.label[of], drawn.group[of])
        for part, of in consecutive_parts(_SYNTHETIC_ROWS, PART_RANGES).items()
    }
    if fresh_test_rows:
        fresh = problem.draw(fresh_test_rows, seed=_FRESH_SEED + seed, **parameter)
        parts["test"] = fresh.features, fresh.label, fresh.group
    train_rows = parts["train"][0]
    mean, scale = train_rows.mean(0), train_rows.std(0)
    scale = np.where(scale == 0, 1, scale)
    return EncodedSplit(
        name=name,
        seed=seed,
        features={
            part: ((features - mean) / scale).astype(np.float32)
            for part, (features, _, _) in parts.items()
        },
        labels={part: labels for part, (_, labels, _) in parts.items()},
        groups={part: groups for part, (_, _, groups) in parts.items()},
        group_names=("0", "1"),
        label_values=("0", "1"),
        favorable="1",
        fresh=True,
    )


def trained_network(split: EncodedSplit, recipe: Recipe) -> bytes:
    """Return the split's base network as safetensors; trained once, then cached."""
    key = json.dumps([__version__, recipe.to_json(), split.seed, split.sha256()])
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    path = cache_folder() / "networks" / f"{name}.safetensors"
    if path.is_file():
        return path.read_bytes()
    state = train(
        (split.features["train"], split.labels["train"]),
        (split.features["val"], split.labels["val"]),
        recipe,
        seed=split.seed,
    )
    content = save(state)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
    return content


def protocol_task(
    name: str,
    seed: int,
    base: BaseClassifier,
    variant: str = "",
    *,
    learns: bool = False,
    other: str | None = None,
) -> Task:
    """Return a split of a data set with its trained network or another classifier's scores.

    Args:
        learns: whether methods learn from the training rows, which only networks have.
        other: the same rows by another attribute, of which the gap is measured as well.
    """
    split = encoded_split(name, seed)
    label = f"{name} {variant}" if variant else name
    if isinstance(base, Recipe):
        task = network_task(split, trained_network(split, base), base, label)
        groups = None if other is None else encoded_split(other, seed).groups["test"]
        training = _rows(split, "train") if learns or other is not None else None
        return replace(task, training=training, learns=learns, other_groups=groups)
    train_rows = split.features["train"], split.labels["train"]
    parts = {part: split.features[part] for part in ("val", "test")}
    scores = classifier_scores(base, train_rows, parts, seed=seed)
    rows = [_rows(split, part, scores[part]) for part in parts]
    return _task(split, rows, {}, label, _source(name, base))


def network_task(split: EncodedSplit, network: bytes, recipe: Recipe, name: str) -> Task:
    """Return the task of a split with its network, as ``trained_network`` returns it."""
    rows = [_rows(split, part) for part in ("val", "test")]
    return _task(split, rows, {_MODEL: network}, name, _source(split.name, recipe))


def _task(
    split: EncodedSplit,
    rows: Sequence[RowArrays],
    files: Mapping[str, bytes],
    name: str,
    source: str,
) -> Task:
    validation, test = rows
    return Task(
        name=name,
        split=split.seed,
        files=files,
        model=_MODEL if files else "",
        options=ModelOptions(arch=ARCH, output_kind="logit", device="cpu"),
        columns=Columns(favorable=split.favorable, privileged=split.group_names[1]),
        favorable=split.favorable,
        label_values=split.label_values,
        group_names=split.group_names,
        rows=validation.concatenate(test),
        validation_index=np.arange(len(validation)),
        test_index=np.arange(len(validation), len(validation) + len(test)),
        source=source,
        overlap=0.0 if split.fresh else _overlap(split),
    )


def _source(name: str, base: BaseClassifier) -> str:
    recipe = base.to_json() if isinstance(base, Recipe) else base
    return hashlib.sha256(json.dumps([name, recipe]).encode()).hexdigest()[:16]


def _overlap(split: EncodedSplit) -> float:
    others = sum(len(labels) for part, labels in split.labels.items() if part != "test")
    return len(split.labels["test"]) / others


def _rows(split: EncodedSplit, part: str, scores: np.ndarray | None = None) -> RowArrays:
    """Return the rows of a part; rows with scores only get their numbers as ids."""
    labels, groups = split.labels[part], split.groups[part]
    if scores is None:
        return RowArrays(split.features[part], None, labels, groups)
    return RowArrays(None, scores, labels, groups, ids=np.arange(len(labels)))
