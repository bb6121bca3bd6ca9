"""The protocols of the papers: data sets, base networks, goals and methods.

``m22``: Marcinkevics, Ozkan, Vogt 2022. Splits of 60/20/20; networks with dropout 0.05; budget 0.05
at best balanced accuracy. Bank's privileged group is age >= 25, as in the paper.

``m22-paper``: the same with the paper's own settings where fairfix has others: gradients on the
training rows, equation 4 with the initial sign, both optimizers of algorithm 2 at its step size and
number of epochs, a margin of 0.01.

``s20``: Savani, White, Govindarajulu 2020. Networks with dropout 0.2, one per seed; accuracy as the
performance; the trade-off objective with lambda 0.75. Other networks and other classifiers are
available as variants.

``c21``: Cherepanova and others 2021. Whether gaps that a method closes on the rows it sees stay
closed on others: gaps on training, validation and test rows, and that between the groups of an
attribute that was not debiased.

Base networks are trained on the training rows, their epoch is selected on the validation rows;
methods are tuned on the validation rows and evaluated on the test rows. With ``learns``, methods
that take training rows learn from those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fairfix.bench.datasets import DATASETS, dataset
from fairfix.bench.other_classifiers import CLASSIFIERS
from fairfix.bench.synthetic import SYNTHETIC
from fairfix.bench.training import Recipe
from fairfix.errors import UsageError
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES

BaseClassifier = Recipe | str  # how a network is trained, or one of ``CLASSIFIERS``


@dataclass(frozen=True)
class Protocol:
    """A paper's way of comparing methods.

    Attributes:
        datasets: "name/attribute" as in the paper.
        methods: the paper's methods under their fairfix names, as ``parse_method`` reads them.
        variants: other recipes for the base network, or other classifiers, by name.
        other_attributes: by data set, the same rows by the attribute that is not debiased.
        learns: whether methods learn from the training rows.
    """

    name: str
    paper: str
    datasets: tuple[str, ...]
    seeds: int
    recipe: Recipe
    objectives: tuple[Objective, ...]
    methods: tuple[str, ...]
    variants: Mapping[str, BaseClassifier] = field(default_factory=dict)
    other_attributes: Mapping[str, str] = field(default_factory=dict)
    learns: bool = False


def _objectives(metrics: Sequence[str], **goal: Any) -> tuple[Objective, ...]:
    return tuple(Objective(METRICS[metric], **goal) for metric in metrics)


_M22 = Protocol(
    name="m22",
    paper="Marcinkevics, Ozkan, Vogt 2022",
    datasets=("adult/sex", "bank/age", "compas/race"),
    seeds=20,
    recipe=Recipe(),
    objectives=_objectives(("spd", "eod")),
    methods=("identity", "perturb", "roc", "eqodds", "prune", "gda", "thresholds"),
)

# With this much dropout the loss stays flat for many epochs before it falls.
_S20 = Recipe(dropout=0.2, patience=30)

PROTOCOLS: dict[str, Protocol] = {
    each.name: each
    for each in (
        _M22,
        replace(
            _M22,
            name="m22-paper",
            objectives=_objectives(("spd", "eod"), margin=0.01),
            methods=(
                "identity",
                "perturb",
                "prune:score=gradient,sign=initial",
                "gda:optimizer=sgd,learning_rate=1e-5,epochs=100",
                "gda:learning_rate=1e-5,epochs=100",
                "thresholds",
            ),
            learns=True,
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
                **{name: name for name in CLASSIFIERS},
            },
        ),
        Protocol(
            name="c21",
            paper="Cherepanova and others 2021",
            datasets=("adult/sex", "compas/race"),
            seeds=5,
            recipe=Recipe(),
            objectives=_objectives(("spd", "eod")),
            methods=("identity", "blind", "prune", "gda", "adversarial", "finetune", "thresholds"),
            other_attributes={
                "adult/sex": "adult/race",
                "adult/race": "adult/sex",
                "compas/race": "compas/sex",
                "compas/sex": "compas/race",
            },
        ),
    )
}


def protocol(name: str) -> Protocol:
    """Return a protocol by name.

    Raises:
        UsageError: if the name is unknown.
    """
    if name not in PROTOCOLS:
        raise UsageError(f"The protocols are {', '.join(PROTOCOLS)}, not {name!r}.")
    return PROTOCOLS[name]


def chosen_datasets(protocol: Protocol, names: Sequence[str]) -> tuple[str, ...]:
    """Return the protocol's data sets that the names select; all of them for no names.

    A name is "name" or "name/attribute". Data sets outside the protocol may be named too:
    "german/age", or a synthetic problem such as "loh/alpha=0.5".

    Raises:
        UsageError: if a name is unknown.
    """
    if not names:
        return protocol.datasets
    chosen: list[str] = []
    for name in names:
        own = [each for each in protocol.datasets if name in (each, each.partition("/")[0])]
        chosen += own or [_full_name(name)]
    return tuple(dict.fromkeys(chosen))


def _full_name(name: str) -> str:
    """Return "name/attribute" or "problem/parameter=value" with defaults filled in."""
    first, _, rest = name.partition("/")
    if first in SYNTHETIC:
        _, parameter, default = SYNTHETIC[first]
        key, _, value = (rest or f"{parameter}={default}").partition("=")
        try:
            return f"{first}/{key}={float(value):g}" if key == parameter else _unknown(name)
        except ValueError:
            return _unknown(name)
    if first not in DATASETS:
        return _unknown(name)
    return f"{first}/{dataset(first).attribute(rest or None)}"


def _unknown(name: str) -> str:
    synthetic = ", ".join(f"{key}/{each.parameter}=NUMBER" for key, each in SYNTHETIC.items())
    raise UsageError(f"The data sets are {', '.join(DATASETS)}, {synthetic}; not {name!r}.")
