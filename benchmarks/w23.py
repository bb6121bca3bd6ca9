"""Measure fairif against its control, the same training without the weights (Wang et al. 2023).

    python benchmarks/w23.py digits --seeds 0 1 2 3 4
    python benchmarks/w23.py digits --share 0.1 --seeds 0 1 2
    python benchmarks/w23.py digits --epochs 250 --learning-rate 2e-4 --seeds 0
    python benchmarks/w23.py retrain --seeds 0 1 2
    python benchmarks/w23.py tables --seeds 0 1 2 3 4
    python benchmarks/w23.py stage1
    python benchmarks/w23.py report

``digits``: CI-MNIST with the paper's three biases and published counts, a network with one hidden
layer of 64 units trained for 100 epochs of Adam with step size 5e-4 (the paper has 250 of 2e-4,
which ``--epochs`` and ``--learning-rate`` set), with 60 % of the images for training, 20 % for
validation and 20 % for tests. ``--share`` leaves methods that share of the validation images, as
the paper's table 4. ``retrain``: the same from freshly initialized weights, trained as the network
was. ``tables``: networks of the protocol m22 on Adult, Bank and COMPAS with their training rows;
``stage1``: the seconds that their influences and weights take, before any training. Every result is
kept in ``--folder`` as soon as it is there, and not computed again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from choose.bed import Bed, Cell
from cimnist import ROWS_AT_ONCE, Study, pixels, problem_of, trained

from fairfix import methods, metrics
from fairfix._utils.atomic_write import write_text
from fairfix.bench.ci_mnist import Bias, Digits, load_digits
from fairfix.data.problem import Problem
from fairfix.data.training_rows import TrainingRows
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES
from fairfix.models.inputs import Inputs
from fairfix.models.scorer import Output, Scorer

FOLDER = Path(__file__).resolve().parents[1] / "build" / "w23"
BIASES: tuple[Bias, ...] = "group-size", "group-distribution", "class-size"
PUBLISHED: Mapping[Bias, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "group-size": ((0.9778, 1.13, 0.0127, 0.0114), (0.9820, 0.29, 0.0001, 0.0001)),
    "group-distribution": ((0.9853, 0.13, 0.0223, 0.0335), (0.9869, 0.05, 0.0131, 0.0259)),
    "class-size": ((0.9781, 0.28, 0.0068, 0.0054), (0.9792, 0.06, 0.0024, 0.0032)),
}
"""Accuracy, AD in percent, AOD and EOD of the plain network and of FairIF in the paper."""
FIGURES = "accuracy", "AD", "AOD", "EOD"
DATA_SETS = "adult/sex", "bank/age", "compas/race"
ARMS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "identity": ("identity", {}),
    "fairif": ("fairif", {}),
    "control": ("fairif", {"unweighted": True}),
}
"""Methods with their options; ``control`` is fairif without its weights."""
PAPER = {"gaps": "eod,fprd"}
EPOCHS, LEARNING_RATE, MINIBATCH = 100, 5e-4, 256
AS_TRAINED = {"retrain": True, "epochs": EPOCHS, "learning_rate": LEARNING_RATE}
RETRAINED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "fairif": ("fairif", AS_TRAINED),
    "control": ("fairif", {**AS_TRAINED, "unweighted": True}),
}
DIGITS_GOAL = Objective(
    metrics.get("aaod"), performance=PERFORMANCES["accuracy"], kind="tradeoff", lambda_=0.75
)

Figures = dict[str, float]


def digit_figures(problem: Problem, decisions: torch.Tensor) -> Figures:
    """Return accuracy, AD in percent, AOD and EOD as the paper defines them."""
    counts = problem.counts(decisions)
    sizes = [float(metrics.get(key)(counts).size) for key in ("ad", "aaod", "eod")]
    accuracy = float(PERFORMANCES["accuracy"](counts))
    return dict(zip(FIGURES, (accuracy, 100 * sizes[0], *sizes[1:]), strict=True))


def table_figures(problem: Problem, decisions: torch.Tensor, objective: Objective) -> Figures:
    """Return the gap, balanced accuracy, whether the budget held, and the held-out objective."""
    counts = problem.counts(decisions)
    gap, performance = float(objective.metric(counts).value), float(objective.performance(counts))
    held = abs(gap) < objective.budget
    return {
        "gap": gap,
        "balanced accuracy": performance,
        "held": float(held),
        "objective": performance if held else 0.0,
    }


def run(
    method: str, options: Mapping[str, Any], validation: Problem, objective: Objective, seed: int
) -> tuple[methods.Result, dict[str, Any]]:
    """Run a method; return its result, and what is known of its weights and its cost."""
    start = time.process_time()
    result = methods.get(method).run(validation, objective, seed=seed, **options)
    known: dict[str, Any] = {"seconds": time.process_time() - start, "chosen": result.chosen}
    if result.reweighting is not None:
        known["clipped"] = result.reweighting.clipped
        known["gaps"] = {
            each.metric: [each.before, each.predicted, each.realized]
            for each in result.reweighting.gaps
        }
    return result, known


def decided(result: methods.Result, problem: Problem) -> torch.Tensor:
    """Return the decisions (N,) of a result on other rows."""
    scores = problem.scores if result.state is None else problem.score(result.state)
    return result.policy.decide(scores, problem.groups)


def digit_problems(
    study: Study, seed: int, folder: Path, digits: Digits
) -> tuple[Problem, Problem]:
    """Return validation images, with training images, and test images of a trained network."""
    parts = study.parts(digits, seed)
    network = trained(study, parts["train"], seed, folder / "networks")
    scorer = Scorer(network, Output.LOGIT, batch_size=ROWS_AT_ONCE)
    validation, test = (problem_of(scorer, parts[part]) for part in ("val", "test"))
    inputs, labels = Inputs.of(pixels(parts["train"])), torch.from_numpy(parts["train"].labels)
    training = TrainingRows(inputs, scorer.score(inputs), labels)
    return replace(validation, training=training), test


def shared(problem: Problem, share: float, seed: int) -> Problem:
    """Return a random share of the rows; smaller ones are parts of larger ones."""
    shuffled = torch.randperm(len(problem), generator=torch.Generator().manual_seed(seed))
    return problem.take(shuffled[: round(share * len(problem))].sort().values)


def measured(
    validation: Problem,
    test: Problem,
    seed: int,
    arms: Mapping[str, tuple[str, Mapping[str, Any]]] = ARMS,
) -> dict[str, dict[str, Any]]:
    """Return the figures on test images of the unmodified network and of every arm."""
    kept: dict[str, Any] = {"unmodified": digit_figures(test, test.scores > test.threshold)}
    for arm, (method, options) in arms.items():
        paper = PAPER if method == "fairif" else {}
        result, known = run(method, {**options, **paper}, validation, DIGITS_GOAL, seed)
        kept[arm] = digit_figures(test, decided(result, test)) | known
    return kept


def measure_digits(
    folder: Path,
    studies: Iterable[Study],
    seeds: Iterable[int],
    digits: Digits,
    arms: Mapping[str, tuple[str, Mapping[str, Any]]] = ARMS,
    part: str = "digits",
    share: float = 1,
) -> None:
    """Compute and keep what is missing, seed by seed.

    Args:
        arms: methods with their options.
        part: folder of the results.
        share: of the validation images that methods see.
    """
    every = tuple(studies)
    for study, seed in ((study, seed) for seed in seeds for study in every):
        path = folder / part / f"{study.bias}-{seed}.json"
        if path.is_file():
            continue
        validation, test = digit_problems(study, seed, folder, digits)
        validation = shared(validation, share, seed)
        _keep(path, measured(validation, test, seed, arms))


def table_problems(bed: Bed, cell: Cell) -> tuple[Problem, Problem]:
    """Return validation rows, with training rows, and test rows of a trained network."""
    split = bed.split(cell)
    validation, test = bed.problems(cell)
    assert validation.scorer is not None
    inputs = Inputs.of(torch.from_numpy(split.features["train"]))
    labels = torch.from_numpy(split.labels["train"])
    training = TrainingRows(inputs, validation.scorer.score(inputs), labels)
    return replace(validation, training=training), test


def stage1(bed: Bed, data_sets: Iterable[str], seed: int) -> str:
    """Return a table of what influences and weights of training rows cost, without training."""
    rows = []
    for name in data_sets:
        validation, _ = table_problems(bed, Cell(name, seed))
        assert validation.training is not None
        start = time.perf_counter()
        result, known = run("fairif", {"epochs": 0}, validation, Objective(), seed)
        wall = time.perf_counter() - start
        assert result.reweighting is not None
        counts = len(validation.training), result.reweighting.parameters
        products = sum(gap.iterations for gap in result.reweighting.gaps)
        seconds = f"{known['seconds']:.1f}", f"{wall:.1f}"
        rows.append([name, *(f"{n:,}" for n in counts), str(products), *seconds])
    head = "data set", "training rows", "parameters", "products", "CPU seconds", "seconds"
    return table(head, rows)


def measure_tables(folder: Path, bed: Bed, data_sets: Iterable[str], seeds: Iterable[int]) -> None:
    """Compute and keep what is missing, seed by seed."""
    names = tuple(data_sets)
    for cell in (Cell(name, seed) for seed in seeds for name in names):
        for metric in ("spd", "eod"):
            name = cell.data_set.replace("/", "-")
            path = folder / "tables" / f"{name}-{metric}-{cell.seed}.json"
            if path.is_file():
                continue
            validation, test = table_problems(bed, cell)
            objective = Objective(metrics.get(metric))
            kept: dict[str, Any] = {}
            for arm, (method, options) in ARMS.items():
                result, known = run(method, options, validation, objective, cell.seed)
                kept[arm] = table_figures(test, decided(result, test), objective) | known
            _keep(path, kept)


def _keep(path: Path, figures: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(figures, indent=2) + "\n")


def report(folder: Path) -> str:
    """Return Markdown tables of all results that are kept."""
    parts = (*sorted(folder.glob("digits*")), *sorted(folder.glob("retrain*")))
    digits = [each for part in parts for each in _digit_tables(part)]
    return "\n\n".join((*digits, *_result_tables(folder / "tables")))


def _digit_tables(folder: Path) -> Iterator[str]:
    head = [f"bias ({folder.name})", "model", *FIGURES]
    rows = []
    for bias in BIASES:
        runs = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{bias}-*.json"))]
        if not runs:
            continue
        for arm in runs[0]:
            cells = [_mean([each[arm][figure] for each in runs]) for figure in FIGURES]
            rows.append([f"{bias} ({len(runs)} seeds)", arm, *cells])
        differences = [
            _mean([each["fairif"][figure] - each["control"][figure] for each in runs])
            for figure in FIGURES
        ]
        rows.append(["", "fairif - control", *differences])
        plain, fair = PUBLISHED[bias]
        ratios = [f"{b / a:.2f}" for a, b in zip(plain, fair, strict=True)]
        rows.append(["", "fairif / plain in the paper", *ratios])
        means = [
            [
                statistics.mean(each[arm][figure] for each in runs)
                for arm in ("unmodified", "fairif")
            ]
            for figure in FIGURES
        ]
        ours = [f"{after / before:.2f}" if before else "" for before, after in means]
        rows.append(["", "fairif / unmodified here", *ours])
    if rows:
        yield table(head, rows)


def _result_tables(folder: Path) -> Iterator[str]:
    figures = "objective", "held", "balanced accuracy", "gap", "seconds"
    rows = []
    for name in DATA_SETS:
        for metric in ("spd", "eod"):
            pattern = f"{name.replace('/', '-')}-{metric}-*.json"
            runs = [json.loads(path.read_text()) for path in sorted(folder.glob(pattern))]
            if not runs:
                continue
            for arm in runs[0]:
                cells = [_mean([each[arm][figure] for each in runs]) for figure in figures]
                rows.append([f"{name} {metric} ({len(runs)} splits)", arm, *cells])
            gain = [each["fairif"]["objective"] - each["control"]["objective"] for each in runs]
            rows.append(["", "fairif - control", _mean(gain), *[""] * (len(figures) - 1)])
    if rows:
        yield table(["data set", "method", *figures], rows)


def _mean(values: Sequence[float]) -> str:
    """Return the mean with its standard error."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:.4f}"
    return f"{mean:.4f} ± {statistics.stdev(values) / math.sqrt(len(values)):.4f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a part of the study, or print its tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", choices=["digits", "retrain", "tables", "stage1", "report"])
    parser.add_argument("--biases", nargs="+", default=list(BIASES), choices=BIASES)
    parser.add_argument("--data-sets", nargs="+", default=list(DATA_SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--share", type=float, default=1.0, help="of the validation images")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the networks on digits")
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE, help="of the same")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--bed", type=Path, help="folder of the networks on tables")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    match options.part:
        case "digits" | "retrain":
            studies = [
                Study("mlp", bias, None, options.epochs, options.learning_rate, MINIBATCH)
                for bias in options.biases
            ]
            arms = RETRAINED if options.part == "retrain" else ARMS
            part = options.part
            if options.share != 1:
                part += f"-{options.share:g}"
            if (options.epochs, options.learning_rate) != (EPOCHS, LEARNING_RATE):
                part += f"-{options.epochs}x{options.learning_rate:g}"
            given = options.folder, studies, options.seeds, load_digits()
            measure_digits(*given, arms, part, options.share)
        case "tables":
            bed = Bed(options.bed or options.folder)
            measure_tables(options.folder, bed, options.data_sets, options.seeds)
        case "stage1":
            bed = Bed(options.bed or options.folder)
            print(stage1(bed, options.data_sets, options.seeds[0]))
        case _:
            print(report(options.folder))


if __name__ == "__main__":
    main()
