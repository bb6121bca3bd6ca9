"""What training rows, penalties and flipped labels gain, and how much each method overfits.

    FAIRFIX_DATA=data python benchmarks/training_rows.py --folder build/training_rows

The networks and splits are those of the choice of methods (``benchmarks.choose``): 60 % of the rows
of Adult, Bank and COMPAS to train on, 20 % to choose on, 20 % to test on. Every method is tuned for
spd and for eod, with and without the training rows. Prints two tables in Markdown: the objective
and the share of budgets held on test rows; and the gap on training, validation and test rows, with
the gap between the groups of the attribute that was not debiased (Cherepanova and others 2021).

Every run is a line of JSON in the folder, so a run that was stopped continues with the next one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.choose.bed import Bed, Cell
from fairfix.bench.cell_table import UNMODIFIED
from fairfix.bench.protocol_task import EncodedSplit, encoded_split
from fairfix.data.problem import Problem
from fairfix.data.training_rows import TrainingRows
from fairfix.metrics.fairness_metrics import METRICS, Metric
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.workflows.case import Case
from fairfix.workflows.debias import debias
from fairfix.workflows.outcome import Outcome

DATA_SETS = ("compas/race", "bank/age", "adult/sex")
OTHER_ATTRIBUTE = {"adult/sex": "adult/race", "compas/race": "compas/sex"}
SEEDS = range(100, 105)
GOALS = ("spd", "eod")
PENALTIES = ("equal-loss", "eqodds", "di", "min-max", "group-dro")


@dataclass(frozen=True)
class Setting:
    """A method with its options, on training rows or not."""

    method: str
    options: tuple[tuple[str, Any], ...] = ()
    train: bool = False

    @property
    def name(self) -> str:
        """The command line, without model and tables."""
        options = (f"--{key} {value}" for key, value in self.options)
        return " ".join([self.method, *options, *(["--train"] if self.train else [])])


def _with_and_without(*settings: Setting) -> tuple[Setting, ...]:
    return tuple(replace(each, train=train) for each in settings for train in (False, True))


SETTINGS = (
    *map(Setting, (UNMODIFIED, "identity", "thresholds")),
    *_with_and_without(
        Setting("blind"), Setting("repair"), Setting("prune"), Setting("gda"), Setting("finetune")
    ),
    Setting("finetune", (("labels", "true"),), train=True),
    *_with_and_without(*(Setting("finetune", (("penalty", name),)) for name in PENALTIES)),
    *_with_and_without(Setting("finetune", (("flip", 0.1),))),
    *_with_and_without(Setting("adversarial")),
    Setting("fairif", train=True),
    Setting("fairif", (("unweighted", True),), train=True),
)


def run(
    setting: Setting, goal: str, split: EncodedSplit, case: Case, test: Case, others: Tensor | None
) -> dict[str, Any]:
    """Return the figures of one setting on one split.

    Args:
        others: (N,) groups of the test rows by the other attribute.
    """
    training = _training(split, case.problem)
    if setting.method == UNMODIFIED:
        return _unmodified(METRICS[goal], replace(case.problem, training=training), test, others)
    if setting.train:
        case = replace(case, problem=replace(case.problem, training=training))
    objective = Objective(METRICS[goal])
    outcome = debias(
        case,
        setting.method,
        objective,
        test=test,
        recalibrate=False,
        subgroups=False,
        options=dict(setting.options),
    )
    rows = replace(case.problem, training=training).learning_rows(setting.method)
    found = outcome.test.debiased
    metric = objective.metric
    figures = {
        "objective": found.objective,
        "held": found.met,
        "performance": found.performance["balanced_accuracy"],
        "train": _gap(metric, rows, _decided(outcome, rows)),
        "validation": outcome.validation.debiased.gaps[goal],
        "test": found.gaps[goal],
    }
    if others is not None:
        figures["other"] = _gap(
            metric, replace(test.problem, groups=others), outcome.test_rows.debiased
        )
    return figures


def _unmodified(
    metric: Metric, problem: Problem, test: Case, others: Tensor | None
) -> dict[str, Any]:
    """Return the figures of the unmodified model at the threshold in use today."""
    parts = {
        "train": problem.learning_rows(UNMODIFIED),
        "validation": problem,
        "test": test.problem,
    }
    if others is not None:
        parts["other"] = replace(test.problem, groups=others)
    gaps = {name: _gap(metric, rows, rows.scores > rows.threshold) for name, rows in parts.items()}
    objective, rows = Objective(metric), test.problem
    performance = float(objective.performance(rows.counts(rows.scores > rows.threshold)))
    held = abs(gaps["test"]) < objective.budget
    return {"objective": performance * held, "held": held, "performance": performance, **gaps}


def _gap(metric: Metric, rows: Problem, decisions: Tensor) -> float:
    return float(metric(rows.counts(decisions)).value)


def _training(split: EncodedSplit, problem: Problem) -> TrainingRows:
    inputs = Inputs.of(torch.from_numpy(split.features["train"].astype(np.float32)))
    assert problem.scorer is not None
    return TrainingRows(
        inputs,
        problem.scorer.score(inputs),
        torch.from_numpy(split.labels["train"].astype(np.int64)),
        torch.from_numpy(split.groups["train"].astype(np.int64)),
    )


def _decided(outcome: Outcome, rows: Problem) -> Tensor:
    scores = rows.scores if outcome.state is None else rows.score(outcome.state)
    scores = outcome.rule.model(scores, rows.inputs).score
    return outcome.rule.decide(scores, rows.groups, rows.group_names, rows.ids, rows.inputs)


def results(bed: Bed, path: Path, seeds: Iterator[int]) -> Iterator[dict[str, Any]]:
    """Yield one line per run, seed by seed; those in the file are not run again."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    done = {(each["data"], each["seed"], each["goal"], each["setting"]): each for each in lines}
    for seed in seeds:
        for data in DATA_SETS:
            keys = [
                (data, seed, goal, setting.name, setting) for setting in SETTINGS for goal in GOALS
            ]
            if all(key[:4] in done for key in keys):
                yield from (done[key[:4]] for key in keys)
                continue
            cell = Cell(data, seed)
            split, (case, test) = bed.split(cell), bed.cases(cell)
            other = OTHER_ATTRIBUTE.get(data)
            groups = None if other is None else encoded_split(other, seed).groups["test"]
            for *_, goal, name, setting in keys:
                line = done.get((data, seed, goal, name))
                if line is None:
                    others = None if groups is None else torch.from_numpy(groups)
                    line = {"data": data, "seed": seed, "goal": goal, "setting": name}
                    line |= run(setting, goal, split, case, test, others)
                    with path.open("a") as file:
                        file.write(json.dumps(line) + "\n")
                yield line


def gains(table: pd.DataFrame) -> str:
    """Return the mean objective and the share of budgets held, by setting."""
    means = table.pivot_table(
        index="setting", columns=["goal", "data"], values=["objective", "held"], sort=False
    )
    columns = [(goal, data) for goal in GOALS for data in DATA_SETS]
    header = ["method", *(f"{goal} {data}" for goal, data in columns), "mean spd", "mean eod"]
    rows = []
    for setting, row in means.astype(float).iterrows():
        cells = [f"{row['objective'][c]:.3f}; {row['held'][c]:.2f}" for c in columns]
        for goal in GOALS:
            own = [c for c in columns if c[0] == goal]
            figures = [np.mean([row[key][c] for c in own]) for key in ("objective", "held")]
            cells.append(f"{figures[0]:.3f}; {figures[1]:.2f}")
        rows.append([f"`{setting}`", *cells])
    return _table(header, rows)


def overfitting(table: pd.DataFrame) -> str:
    """Return the mean absolute gaps on the three parts of the rows, and by the other attribute."""
    keys = ["train", "validation", "test", "other"]
    table = table[table["data"].isin(OTHER_ATTRIBUTE)]
    sizes = table.assign(**{key: table[key].abs() for key in keys})
    means = sizes.groupby(["goal", "setting"], sort=False)[keys].mean()
    header = ["goal", "method", "training", "validation", "test", "other attribute"]
    rows = [
        [goal, f"`{setting}`", *(f"{row[key]:.3f}" for key in keys)]
        for (goal, setting), row in means.iterrows()
    ]
    return _table(header, rows)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(arguments: list[str] | None = None) -> None:
    """Run the study and print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("build/training_rows"))
    parser.add_argument("--networks", type=Path, help="folder of benchmarks.choose")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="number of splits")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    bed = Bed(given.networks or given.folder)
    table = pd.DataFrame(results(bed, given.folder / "rows.jsonl", iter(SEEDS[: given.seeds])))
    print(f"{gains(table)}\n\n{overfitting(table)}")


if __name__ == "__main__":
    main()
