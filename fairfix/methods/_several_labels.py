"""Methods on several labels of a network at once: shared weights, thresholds for each label.

The objective of a candidate is the mean of the labels' utilities, each at its own best threshold.
With one label, results are those of the method itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter

from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods._gap_training import Job, train_shared
from fairfix.methods._label_probabilities import Labels
from fairfix.methods._losses import Penalty
from fairfix.methods._result import Result
from fairfix.methods._shared_network import JointSearch, shared_networks
from fairfix.methods.finetune import choice_of, flipped, penalty_weights
from fairfix.methods.gda import gda_labels
from fairfix.methods.identity import identity
from fairfix.methods.perturb import perturb_labels
from fairfix.methods.prune import prune_labels
from fairfix.methods.thresholds import thresholds
from fairfix.metrics.objective import Objective

JointMethod = Callable[..., tuple[Result, ...]]
"""Gets one problem a label, whose scorers have the same network, and returns one result each."""


def joint_method(name: str) -> JointMethod:
    """Return a method for several labels.

    Raises:
        UsageError: if the method works on one label at a time.
    """
    if name not in _METHODS:
        raise UsageError(
            f"{name} works on one label at a time; name it with --target, or use one of "
            f"{', '.join(_METHODS)}."
        )
    return _METHODS[name]


def _each(
    method: Callable[..., Result],
    problems: Sequence[Problem],
    objective: Objective,
    **options: object,
) -> tuple[Result, ...]:
    """Run a method that keeps the network on each label."""
    return tuple(method(problem, objective, **options) for problem in problems)


def _finetune(
    problems: Sequence[Problem],
    objective: Objective,
    *,
    seed: int,
    layers: str,
    head: bool,
    labels: Labels,
    penalty: Penalty,
    alpha: str,
    flip: float,
    steps: int,
    learning_rate: float,
) -> tuple[Result, ...]:
    """Fine-tune on the mean of the labels' losses."""
    if head:
        raise UsageError("--head works on one label at a time; name it with --target.")
    weights = penalty_weights(penalty, alpha)
    networks = shared_networks(problems)
    choices = [choice_of(problem, objective, labels, seed) for problem in problems]
    search = JointSearch([choice.search for choice in choices])
    targets, notes = zip(
        *(
            flipped(problem, choice.probabilities, flip, seed)
            for problem, choice in zip(problems, choices, strict=True)
        ),
        strict=True,
    )
    for snapshot in train_shared(
        problems,
        networks,
        objective.metric,
        [[Job(own, weight, penalty) for own in targets] for weight in weights],
        seed=seed,
        layers=layers,
        steps=steps,
        learning_rate=learning_rate,
    ):
        search.add(snapshot.scores, partial(attrgetter("weights"), snapshot))
    results = zip(search.results(), choices, notes, strict=True)
    return tuple(
        replace(result, notes=(choice.note, *own, *result.notes)) for result, choice, own in results
    )


_METHODS: dict[str, JointMethod] = {
    "finetune": _finetune,
    "gda": gda_labels,
    "identity": partial(_each, identity),
    "perturb": perturb_labels,
    "prune": prune_labels,
    "thresholds": partial(_each, thresholds),
}
