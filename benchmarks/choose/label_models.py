"""Models of labels and groups given features and score: what blind and repair choose from.

They are fitted once for each cell. Every setting of ``blind`` (which probability of the label, the
factor k, the offset of utility) and of thresholds per group is then chosen offline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from benchmarks.choose.bed import Arrays, Bed, Cell, read_arrays, write_arrays
from benchmarks.choose.results import Line, line_of, objective_of
from benchmarks.choose.settings import FACTORS, OFFSETS, Candidates, Setting
from fairfix.data.problem import Problem
from fairfix.data.splitting import stratified_folds
from fairfix.methods._cross_fitting import (
    N_FOLDS,
    boosted_trees,
    classifier_inputs,
    informative_columns,
    out_of_fold,
    score_logit,
)
from fairfix.thresholds.per_group import best_group_thresholds

LABEL_MODELS = "label-models"
ETAS = ("own", "mixed")
GROUP_FACTORS = (1.2, 2**0.5, 1.7)
MULTIPLIERS = np.linspace(-1, 1, 61)

Floats = NDArray[np.float64]


def label_models(bed: Bed, cell: Cell) -> Arrays:
    """Return predictions for the validation rows, out of fold, and for the test rows.

    Names are ``validation_`` and ``test_`` with ``eta``, P(label = 1) from inputs without the
    group; ``eta_aware``, the same with it; ``gamma``, P(group = 1); ``gamma1``, P(group = 1)
    fitted on rows with label 1; ``calibrated``, P(label = 1) from the score alone, fitted on all
    validation rows.
    """
    path = bed.path(LABEL_MODELS, cell, ".npz")
    if not path.is_file():
        write_arrays(path, _fit(*bed.problems(cell), cell.seed))
    return read_arrays(path)


def _fit(validation: Problem, test: Problem, seed: int) -> Arrays:
    labels, groups = validation.labels.numpy(), validation.groups.numpy()
    everybody = np.ones(len(labels), dtype=bool)
    folds = stratified_folds(validation, N_FOLDS, seed)
    aware = informative_columns(validation)
    blind = aware[[not reveals(validation, column) for column in aware]]
    arrays = {}
    for name, columns, target, rows in (
        ("eta", blind, labels, everybody),
        ("eta_aware", aware, labels, everybody),
        ("gamma", blind, groups, everybody),
        ("gamma1", blind, groups, labels == 1),
    ):
        inputs = classifier_inputs(validation, columns)
        predicted = out_of_fold(boosted_trees, inputs, target, rows, folds)
        model = boosted_trees().fit(inputs[rows], target[rows])
        arrays[f"validation_{name}"] = predicted
        arrays[f"test_{name}"] = model.predict_proba(classifier_inputs(test, columns))[:, 1]
    calibration = LogisticRegression(C=100.0).fit(_powers(validation), labels)
    for part, problem in (("validation", validation), ("test", test)):
        arrays[f"{part}_calibrated"] = calibration.predict_proba(_powers(problem))[:, 1]
    return arrays


def reveals(problem: Problem, column: int) -> bool:
    """Whether a feature column has one value for each group."""
    assert problem.features is not None
    values, groups = problem.features[:, column], problem.groups
    return all(bool((values[groups == g] == values[groups == g][0]).all()) for g in (0, 1))


def _powers(problem: Problem) -> Floats:
    scaled = score_logit(problem.scores.double().numpy()) / 3
    return np.column_stack([scaled, scaled**2])


def blind_scores(arrays: Arrays, labels: Tensor, groups: Tensor, metric: str, eta: str) -> Arrays:
    """Return the scores of the Bayes-fair rule by part, (61, rows), one row for each multiplier.

    Args:
        arrays: see ``label_models``.
        labels, groups: of the validation rows.
        metric: "spd" or "eod".
        eta: "own", or "mixed" for the mean of it and the calibrated score.
    """
    pi = float(labels.double().mean())
    counted = labels if metric == "eod" else torch.ones_like(labels)
    share1, share0 = (float((counted * (groups == g)).double().mean()) for g in (1, 0))
    scores, base, unfairness = {}, {}, {}
    for part in ("validation", "test"):
        p = arrays[f"{part}_eta"]
        if eta == "mixed":
            p = (p + arrays[f"{part}_calibrated"]) / 2
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
    arrays, problems = label_models(bed, cell), bed.problems(cell)
    return [
        *blind_lines(cell, metric, arrays, *problems),
        *group_threshold_lines(cell, metric, arrays, *problems),
    ]


def blind_lines(
    cell: Cell, metric: str, arrays: Arrays, validation: Problem, test: Problem
) -> list[Line]:
    """Return the line of every setting of ``blind``."""
    lines = []
    for eta in ETAS:
        scores = blind_scores(arrays, validation.labels, validation.groups, metric, eta)
        candidates = Candidates(
            torch.from_numpy(scores["validation"]),
            validation.labels,
            validation.groups,
            {},
            (eta,) * len(MULTIPLIERS),
        )
        settings = [Setting(eta, "labels", k, offset) for k in FACTORS for offset in OFFSETS]
        for setting, choice in candidates.best(settings, objective_of(metric)).items():
            decisions = torch.from_numpy(scores["test"][choice.snapshot] > choice.threshold)
            lines.append(line_of(cell, metric, f"blind {setting}", test, decisions))
    return lines


def group_threshold_lines(
    cell: Cell, metric: str, arrays: Arrays, validation: Problem, test: Problem
) -> list[Line]:
    """Return the lines of thresholds per group on the score, and on repaired scores."""
    scores: dict[str, Sequence[Tensor]] = {
        "thresholds": (validation.scores, test.scores),
        "repair own": [torch.from_numpy(arrays[f"{p}_eta_aware"]) for p in ("validation", "test")],
        "repair mixed": [
            torch.from_numpy((arrays[f"{p}_eta_aware"] + arrays[f"{p}_calibrated"]) / 2)
            for p in ("validation", "test")
        ],
    }
    lines = []
    for name, (of_validation, of_test) in scores.items():
        problem = replace(validation, scores=of_validation, scorer=None, inputs=None)
        for k in GROUP_FACTORS:
            best = best_group_thresholds(problem, replace(objective_of(metric), k=k))
            thresholds = torch.tensor(best.thresholds, dtype=torch.float64)
            decisions = of_test.double() > thresholds[test.groups]
            lines.append(line_of(cell, metric, f"{name} k={k:.3g}", test, decisions))
    return lines
