"""The protocols of the papers: which data, which networks, which cells.

``m22``: Marcinkevics, Ozkan, Vogt 2022. Splits of 60/20/20; networks with dropout 0.05; budget 0.05
at best balanced accuracy. Bank's privileged group is age >= 25, as in the paper.

``s20``: Savani, White, Govindarajulu 2020. Networks with dropout 0.2, one a seed; accuracy is the
performance; the trade-off objective with lambda 0.75. Other networks and other classifiers stand
beside them as variants.

Base networks are trained on the training rows, their epoch chosen on the validation rows; methods
are fitted on the validation rows and judged on the test rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from safetensors.torch import save

from fairfix._utils.atomic_write import write_bytes
from fairfix._utils.version import __version__
from fairfix.bench.cells import Cell
from fairfix.bench.datasets import DATASETS, dataset
from fairfix.bench.download import cache_folder
from fairfix.bench.goal import goal_to_json
from fairfix.bench.other_classifiers import RIVALS, scores
from fairfix.bench.prepare import PARTS, group_column, prepare
from fairfix.bench.synthetic import Synthetic, loh, zafar
from fairfix.bench.task import Rows, Task
from fairfix.bench.training import Recipe, train
from fairfix.data.splitting import consecutive_parts
from fairfix.data.table import Columns
from fairfix.errors import UsageError
from fairfix.metrics.objective import Objective
from fairfix.metrics.rates import METRICS, PERFORMANCES
from fairfix.workflows.case import ModelOptions

ARCH = "mlp:relu-bn"
SYNTHETIC: dict[str, tuple[Callable[..., Synthetic], str, float]] = {
    "loh": (loh, "alpha", 1.0),
    "zafar": (zafar, "theta", 1.0),
}
_SYNTHETIC_ROWS = 10_000
JUDGED = ("val", "test")  # the parts that methods are fitted and judged on


Base = Recipe | str  # how a network is trained, or one of ``RIVALS``


@dataclass(frozen=True)
class Protocol:
    """A paper's way of comparing methods.

    Attributes:
        datasets: "name/attribute" as the paper has them.
        methods: of its tables, under their names here; ``options`` as the paper sets them.
        variants: other recipes for the base network, or other classifiers, by name.
    """

    name: str
    paper: str
    datasets: tuple[str, ...]
    seeds: int
    recipe: Recipe
    objectives: tuple[Objective, ...]
    methods: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    variants: Mapping[str, Base] = field(default_factory=dict)


def _objectives(metrics: Sequence[str], **goal: Any) -> tuple[Objective, ...]:
    return tuple(Objective(METRICS[metric], **goal) for metric in metrics)


# With this much dropout the loss stands still for many epochs before it falls.
_S20 = Recipe(dropout=0.2, patience=30)

PROTOCOLS: dict[str, Protocol] = {
    each.name: each
    for each in (
        Protocol(
            name="m22",
            paper="Marcinkevics, Ozkan, Vogt 2022",
            datasets=("adult/sex", "bank/age", "compas/race"),
            seeds=20,
            recipe=Recipe(),
            objectives=_objectives(("spd", "eod")),
            methods=("identity", "perturb", "roc", "eqodds", "prune", "gda", "thresholds"),
        ),
        Protocol(
            name="s20",
            paper="Savani, White, Govindarajulu 2020",
            datasets=("adult/sex", "bank/age", "compas/sex", "compas/race"),
            seeds=10,
            recipe=_S20,
            objectives=_objectives(
                ("aod", "eod", "spd"),
                performance=PERFORMANCES["accuracy"],
                kind="tradeoff",
            ),
            methods=(
                "identity",
                "roc",
                "eqodds",
                "caleqodds",
                "perturb",
                "adversarial",
                "layerwise",
                "thresholds",
            ),
            variants={
                "dropout-0.5": replace(_S20, dropout=0.5),
                "width-64": replace(_S20, width=64),
                "depth-20": replace(_S20, depth=20),
                **{rival: rival for rival in RIVALS},
            },
        ),
    )
}


def protocol(name: str) -> Protocol:
    """A protocol by name.

    Raises:
        UsageError: for an unknown one.
    """
    if name not in PROTOCOLS:
        raise UsageError(f"The protocols are {', '.join(PROTOCOLS)}, not {name!r}.")
    return PROTOCOLS[name]


def chosen_datasets(protocol: Protocol, names: Sequence[str]) -> tuple[str, ...]:
    """The protocol's data sets whose name or "name/attribute" is asked for; all for none.

    Others are taken as they are: "german/age", or a synthetic one as "loh/alpha=0.5".

    Raises:
        UsageError: for an unknown one.
    """
    if not names:
        return protocol.datasets
    found: list[str] = []
    for name in names:
        own = [each for each in protocol.datasets if name in (each, each.partition("/")[0])]
        found += own or [_known(name)]
    return tuple(dict.fromkeys(found))


def _known(name: str) -> str:
    first, _, rest = name.partition("/")
    if first in SYNTHETIC:
        _, knob, usual = SYNTHETIC[first]
        key, _, value = (rest or f"{knob}={usual}").partition("=")
        try:
            return f"{first}/{key}={float(value):g}" if key == knob else _unknown(name)
        except ValueError:
            return _unknown(name)
    if first not in DATASETS:
        return _unknown(name)
    return f"{first}/{dataset(first).attribute(rest or None)}"


def _unknown(name: str) -> str:
    synthetic = ", ".join(f"{key}/{knob}=NUMBER" for key, (_, knob, _) in SYNTHETIC.items())
    raise UsageError(f"The data sets are {', '.join(DATASETS)}, {synthetic}; not {name!r}.")


@dataclass(frozen=True)
class Split:
    """One split of a data set, encoded: what a base network is trained, stopped and judged on."""

    name: str
    seed: int
    features: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    groups: Mapping[str, np.ndarray]
    group_names: tuple[str, str]
    label_values: tuple[str, str]
    favorable: str
    fresh: bool  # whether a split has rows of its own, which no other split draws

    def sha256(self) -> str:
        """Of everything that training sees."""
        digest = hashlib.sha256()
        for part in ("train", "val"):
            digest.update(self.features[part].tobytes() + self.labels[part].tobytes())
        return digest.hexdigest()


def split(name: str, seed: int) -> Split:
    """A split of "name/attribute", or rows of a synthetic world drawn by the seed."""
    first, _, rest = name.partition("/")
    if first in SYNTHETIC:
        return _synthetic_split(name, first, float(rest.partition("=")[2]), seed)
    prepared = prepare(dataset(first), rest, seed=seed)
    column = group_column(rest)
    privileged = prepared.privileged
    return Split(
        name=name,
        seed=seed,
        features={part: prepared.inputs(part) for part in PARTS},
        labels={part: prepared.labels(part) for part in PARTS},
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


def _synthetic_split(name: str, world: str, value: float, seed: int) -> Split:
    make, knob, _ = SYNTHETIC[world]
    rows = make(_SYNTHETIC_ROWS, seed=seed, **{knob: value})
    at = consecutive_parts(_SYNTHETIC_ROWS, PARTS)
    train_rows = rows.features[at["train"]]
    mean, scale = train_rows.mean(0), train_rows.std(0)
    standard = ((rows.features - mean) / np.where(scale == 0, 1, scale)).astype(np.float32)
    return Split(
        name=name,
        seed=seed,
        features={part: standard[where] for part, where in at.items()},
        labels={part: rows.label[where] for part, where in at.items()},
        groups={part: rows.group[where] for part, where in at.items()},
        group_names=("0", "1"),
        label_values=("0", "1"),
        favorable="1",
        fresh=True,
    )


def trained(split: Split, recipe: Recipe) -> bytes:
    """The split's base network as safetensors; trained once, then found in the cache."""
    asked = json.dumps([__version__, recipe.to_json(), split.seed, split.sha256()])
    name = hashlib.sha256(asked.encode()).hexdigest()[:32]
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


def task(name: str, seed: int, base: Base, variant: str = "") -> Task:
    """A data set's split with its trained network, or with the scores of another classifier."""
    data = split(name, seed)
    if isinstance(base, Recipe):
        model = "model.safetensors"
        files = {model: trained(data, base)}
        fitting, judged = (_rows(data, part) for part in JUDGED)
    else:
        model, files = "", {}
        learned = data.features["train"], data.labels["train"]
        found = scores(base, learned, {part: data.features[part] for part in JUDGED}, seed=seed)
        fitting, judged = (_rows(data, part, found[part]) for part in JUDGED)
    return Task(
        name=f"{name} {variant}" if variant else name,
        split=seed,
        files=files,
        model=model,
        options=ModelOptions(arch=ARCH, output_kind="logit", device="cpu"),
        columns=Columns(favorable=data.favorable, privileged=data.group_names[1]),
        favorable=data.favorable,
        label_values=data.label_values,
        group_names=data.group_names,
        fitting=fitting,
        judged=judged,
        source=_source(name, base),
        overlap=0.0 if data.fresh else _overlap(data),
    )


def _source(name: str, base: Base) -> str:
    how = base.to_json() if isinstance(base, Recipe) else base
    return hashlib.sha256(json.dumps([name, how]).encode()).hexdigest()[:16]


def _overlap(data: Split) -> float:
    others = sum(len(labels) for part, labels in data.labels.items() if part != "test")
    return len(data.labels["test"]) / others


def _rows(data: Split, part: str, scores: np.ndarray | None = None) -> Rows:
    """The rows of a part; with scores in the place of features, numbers tell them apart."""
    labels, groups = data.labels[part], data.groups[part]
    if scores is None:
        return Rows(data.features[part], None, labels, groups)
    return Rows(None, scores, labels, groups, ids=np.arange(len(labels)))


def cells(
    task: Task,
    sha256: str,
    objectives: Sequence[Objective],
    methods: Sequence[str],
    options: Mapping[str, Mapping[str, Any]],
) -> Iterator[Cell]:
    """Every method, or attribution, for every objective on a task."""
    for objective in objectives:
        for method in methods:
            yield Cell(
                task=task.name,
                split=task.split,
                task_sha256=sha256,
                method=method,
                seed=task.split,
                goal=goal_to_json(objective),
                options=dict(options.get(method, {})),
                source=task.source,
            )
