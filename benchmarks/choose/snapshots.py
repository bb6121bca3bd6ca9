"""Networks that finetune trains: kept with their scores, for choices offline."""

from __future__ import annotations

from itertools import product

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from benchmarks.choose.bed import Bed, Cell, write_file
from benchmarks.choose.results import Line, line_of, objective_of
from benchmarks.choose.settings import LABELS, Candidates, all_settings
from fairfix.data.problem import Problem
from fairfix.methods._gap_training import Job, train_jobs
from fairfix.methods._label_probabilities import label_probabilities
from fairfix.metrics.fairness_metrics import METRICS

SNAPSHOTS = "snapshots"
MUS = (1.0, 2.0)
JOBS = tuple(product(LABELS, MUS))
"""Labels and weight of the gap, of every training run."""


def snapshots(bed: Bed, cell: Cell, metric: str) -> dict[str, Tensor]:
    """Return all snapshots of finetune on a cell; they are trained once, then kept.

    Tensors are named ``scores``, (S, N) on the validation rows; ``job``, (S,) positions in
    ``JOBS``; ``step``, (S,); ``p.`` with a kind of labels, (N,) the probabilities it stands for;
    and the number of a snapshot with the name of a parameter.
    """
    path = bed.path(SNAPSHOTS, cell, f"-{metric}.safetensors")
    if not path.is_file():
        validation, _ = bed.problems(cell)
        write_file(path, save(_train(validation, metric, cell.seed)))
    return load_file(path)


def _train(problem: Problem, metric: str, seed: int) -> dict[str, Tensor]:
    probabilities = {kind: label_probabilities(problem, kind, seed) for kind in LABELS}
    jobs = [Job(probabilities[kind], mu) for kind, mu in JOBS]
    kept = {f"p.{kind}": p.contiguous() for kind, p in probabilities.items()}
    found = list(train_jobs(problem, METRICS[metric], jobs, seed=seed))
    for number, snapshot in enumerate(found):
        kept |= {f"{number}.{name}": value for name, value in snapshot.weights.items()}
    kept["scores"] = torch.stack([snapshot.scores for snapshot in found])
    kept["job"] = torch.tensor([snapshot.job for snapshot in found])
    kept["step"] = torch.tensor([snapshot.step for snapshot in found])
    return kept


def snapshot_lines(bed: Bed, cell: Cell, metric: str) -> list[Line]:
    """Return the line of every setting of finetune; the unmodified network is a candidate."""
    kept = snapshots(bed, cell, metric)
    validation, test = bed.problems(cell)
    candidates = Candidates(
        torch.cat([validation.scores[None], kept["scores"]]),
        validation.labels,
        validation.groups,
        {kind: kept[f"p.{kind}"] for kind in LABELS},
        ("", *(JOBS[job][0] for job in kept["job"].tolist())),
    )
    scores = {0: test.scores}
    lines = []
    for setting, choice in candidates.best(all_settings(), objective_of(metric)).items():
        chosen = choice.snapshot
        if chosen not in scores:
            scores[chosen] = test.score(snapshot_weights(kept, chosen - 1))
        decisions = scores[chosen].double() > choice.threshold
        lines.append(line_of(cell, metric, f"finetune {setting}", test, decisions))
    return lines


def snapshot_weights(kept: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    """Return the state of the network of one snapshot."""
    prefix = f"{number}."
    return {
        name.removeprefix(prefix): value for name, value in kept.items() if name.startswith(prefix)
    }
