"""Models of labels and groups given features and score: what blind and repair choose from.

They are fitted once for each cell. Every setting of ``blind`` (what rates are counted with, the
factor k, the offset of utility) and of thresholds per group is then chosen offline.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.choose.bed import Arrays, Bed, Cell, read_arrays, write_arrays
from benchmarks.choose.results import Line, line_of, objective_of
from benchmarks.choose.settings import Candidates, all_settings
from fairfix.data.problem import Problem
from fairfix.data.splitting import stratified_folds
from fairfix.methods._cross_fitting import (
    N_FOLDS,
    boosted_trees,
    classifier_inputs,
    informative_columns,
    out_of_fold,
)
from fairfix.methods._label_models import fit_probability
from fairfix.thresholds.per_group import best_group_thresholds

Indices = NDArray[np.int64]
Target = Literal["labels", "groups"]

KINDS = ("trees", "mixture")
"""Boosted trees alone, or the mixture that blind and repair fit."""
GROUP_FACTORS = (1.0, 1.2, 2**0.5, 1.7)
MULTIPLIERS = np.linspace(-1, 1, 61)

Floats = NDArray[np.float64]


def label_models(bed: Bed, cell: Cell, kind: str) -> Arrays:
    """Return predictions for the validation rows, out of fold, and for the test rows.

    Names are ``validation_`` and ``test_`` with ``eta``, P(label = 1) from inputs without the
    group; ``eta_aware``, the same with it; ``gamma``, P(group = 1); ``gamma1``, P(group = 1)
    fitted on rows with label 1.

    Args:
        bed: where the file is kept.
        cell: data set and seed.
        kind: one of ``KINDS``.
    """
    path = bed.path(f"{kind}-models", cell, ".npz")
    if not path.is_file():
        write_arrays(path, _fit(*bed.problems(cell), cell.seed, kind))
    return read_arrays(path)


def _fit(validation: Problem, test: Problem, seed: int, kind: str) -> Arrays:
    aware = informative_columns(validation)
    blind = aware[[not reveals(validation, column) for column in aware]]
    arrays = {}
    targets: tuple[tuple[str, Indices, Target, int | None], ...] = (
        ("eta", blind, "labels", None),
        ("eta_aware", aware, "labels", None),
        ("gamma", blind, "groups", None),
        ("gamma1", blind, "groups", 1),
    )
    for name, columns, target, among in targets:
        inputs = classifier_inputs(test, columns)
        predicted = _predictions(kind, validation, inputs, columns, target, among, seed)
        arrays[f"validation_{name}"], arrays[f"test_{name}"] = predicted
    return arrays


def _predictions(
    kind: str,
    validation: Problem,
    test_inputs: Floats,
    columns: Indices,
    target: Target,
    among: int | None,
    seed: int,
) -> tuple[Floats, Floats]:
    """Return the predictions of the validation rows, out of fold, and of the test rows."""
    if kind == "mixture":
        fitted = fit_probability(validation, validation, columns, target, seed=seed, among=among)
        return fitted.unseen, fitted.model(torch.from_numpy(test_inputs)).numpy()
    inputs, known = classifier_inputs(validation, columns), getattr(validation, target).numpy()
    labels = validation.labels.numpy()
    rows = np.ones(len(labels), dtype=bool) if among is None else labels == among
    folds = stratified_folds(validation, N_FOLDS, seed)
    model = boosted_trees().fit(inputs[rows], known[rows])
    unseen = out_of_fold(boosted_trees, inputs, known, rows, folds)
    return unseen, model.predict_proba(test_inputs)[:, 1]


def reveals(problem: Problem, column: int) -> bool:
    """Whether a feature column has one value for each group."""
    assert problem.features is not None
    values, groups = problem.features[:, column], problem.groups
    return all(bool((values[groups == g] == values[groups == g][0]).all()) for g in (0, 1))


def blind_scores(arrays: Arrays, labels: Tensor, groups: Tensor, metric: str) -> Arrays:
    """Return the scores of the Bayes-fair rule by part, (61, rows), one row for each multiplier.

    Args:
        arrays: see ``label_models``.
        labels, groups: of the validation rows.
        metric: "spd" or "eod".
    """
    pi = float(labels.double().mean())
    counted = labels if metric == "eod" else torch.ones_like(labels)
    share1, share0 = (float((counted * (groups == g)).double().mean()) for g in (1, 0))
    scores, base, unfairness = {}, {}, {}
    for part in ("validation", "test"):
        p = arrays[f"{part}_eta"]
        gamma = arrays[f"{part}_gamma1" if metric == "eod" else f"{part}_gamma"]
        base[part] = p / (2 * pi) - (1 - p) / (2 * (1 - pi))
        unfairness[part] = gamma / share1 - (1 - gamma) / share0
        if metric == "eod":
            unfairness[part] *= p
    scale = 2.5 * base["validation"].std() / (unfairness["validation"].std() + 1e-9)
    for part in base:
        fair = base[part] - scale * MULTIPLIERS[:, None] * unfairness[part]
        scores[part] = 1 / (1 + np.exp(-fair))
    return scores


def rule_lines(bed: Bed, cell: Cell, metric: str) -> list[Line]:
    """Return the lines of every setting of ``blind`` and of thresholds per group."""
    problems = bed.problems(cell)
    lines = group_threshold_lines(
        cell, metric, "thresholds", *(problem.scores for problem in problems), *problems
    )
    for kind in KINDS:
        arrays = label_models(bed, cell, kind)
        lines += blind_lines(cell, metric, kind, arrays, *problems)
        scores = (torch.from_numpy(arrays[f"{part}_eta_aware"]) for part in ("validation", "test"))
        lines += group_threshold_lines(cell, metric, f"repair {kind}", *scores, *problems)
    return lines


def blind_lines(
    cell: Cell, metric: str, kind: str, arrays: Arrays, validation: Problem, test: Problem
) -> list[Line]:
    """Return the line of every setting of ``blind`` with the models of one kind."""
    scores = blind_scores(arrays, validation.labels, validation.groups, metric)
    candidates = Candidates(
        torch.from_numpy(scores["validation"]),
        validation.labels,
        validation.groups,
        {kind: torch.from_numpy(arrays["validation_eta_aware"])},
        (kind,) * len(MULTIPLIERS),
    )
    lines = []
    for setting, choice in candidates.best(all_settings([kind]), objective_of(metric)).items():
        decisions = torch.from_numpy(scores["test"][choice.snapshot] > choice.threshold)
        lines.append(line_of(cell, metric, f"blind {setting}", test, decisions))
    return lines


def group_threshold_lines(
    cell: Cell,
    metric: str,
    name: str,
    validation_scores: Tensor,
    test_scores: Tensor,
    validation: Problem,
    test: Problem,
) -> list[Line]:
    """Return the lines of thresholds per group on scores."""
    lines = []
    problem = replace(validation, scores=validation_scores, scorer=None, inputs=None)
    for k in GROUP_FACTORS:
        best = best_group_thresholds(problem, replace(objective_of(metric), k=k))
        thresholds = torch.tensor(best.thresholds, dtype=torch.float64)
        decisions = test_scores.double() > thresholds[test.groups]
        lines.append(line_of(cell, metric, f"{name} k={k:.3g}", test, decisions))
    return lines
