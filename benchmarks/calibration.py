"""Measure how calibrated the scores of results are, and which calibration a monotone map allows.

    python benchmarks/calibration.py --networks adult_42 bank_42

Every method is tuned with its defaults on the validation rows of a network and evaluated on its
test rows. Prints Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import torch
from benchmark_models import BenchmarkModel, benchmark_models
from sklearn.isotonic import IsotonicRegression
from torch import Tensor

from fairfix import methods
from fairfix.data.problem import Problem
from fairfix.metrics.counts import in_rows
from fairfix.stats.calibration_error import calibration_error
from fairfix.workflows.debias import debias, make_objective
from fairfix.workflows.outcome import DecidedRows, Outcome
from fairfix.workflows.warnings import serious_warnings

METHODS = ("prune", "gda", "perturb", "finetune", "blind", "repair")
METRICS = ("spd", "eod")


def measure(model: BenchmarkModel, method: str, metric: str) -> dict[str, Any]:
    """Return the line of one method on one network, measured on its test rows."""
    case = model.case()
    test = case.companion(model.test)
    outcome = debias(case, method, make_objective(metric), test=test, subgroups=False)
    rows, state, after = test.problem, outcome.result.state, outcome.test.debiased
    calibrated = _probabilities(outcome.test_rows)
    return {
        "network": model.name,
        "metric": metric,
        "method": method,
        "unmodified": _error(rows, rows.scores),
        "as trained": _error(rows, calibrated if state is None else rows.score(state)),
        "recalibrated": _error(rows, calibrated),
        "isotonic": "-" if state is None else _error(rows, isotonic(outcome)),
        "AUC, unmodified": outcome.test.unmodified.performance["auc"],
        "AUC": after.performance["auc"],
        "accuracy": after.performance["accuracy"],
        "majority": float(torch.bincount(rows.labels).max() / len(rows)),
        "serious warnings": "yes" if serious_warnings(outcome) else "no",
    }


def isotonic(outcome: Outcome) -> Tensor:
    """Return the scores of the test rows by an isotonic map fitted on the validation rows.

    Only for changed weights: a score model has other scores on the rows it was fitted on.
    """
    fitted, new = outcome.validation_rows, outcome.test_rows
    labels, weights = fitted.problem.labels.cpu().numpy(), fitted.problem.weights
    model = IsotonicRegression(out_of_bounds="clip", y_min=0, y_max=1).fit(
        _probabilities(fitted).double().cpu().numpy(),
        labels,
        None if weights is None else in_rows(weights).cpu().numpy(),
    )
    return torch.from_numpy(model.predict(_probabilities(new).double().cpu().numpy()))


def _probabilities(rows: DecidedRows) -> Tensor:
    return rows.scores if rows.probabilities is None else rows.probabilities


def _error(problem: Problem, scores: Tensor) -> float:
    return calibration_error(problem, scores).figure.value


def main(arguments: Sequence[str] | None = None) -> None:
    models = benchmark_models()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=methods.names())
    parser.add_argument("--metrics", nargs="+", default=METRICS)
    parser.add_argument("--networks", nargs="+", default=list(models), choices=models)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cells = product(options.networks, options.metrics, options.methods)
    for number, (network, metric, method) in enumerate(cells):
        line = measure(models[network], method, metric)
        if number == 0:
            _print_row(line)
            _print_row(["---"] * len(line))
        _print_row(f"{x:.3f}" if isinstance(x, float) else x for x in line.values())


def _print_row(entries: Iterable[str]) -> None:
    print("|", " | ".join(entries), "|", flush=True)


if __name__ == "__main__":
    main()
