"""A task of a study: a classifier and its rows as plain data, so that cells can run anywhere."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from fairfix.data.problem import Problem
from fairfix.data.protected_inputs import Block
from fairfix.data.splitting import resplit, split_problem
from fairfix.data.table import Columns
from fairfix.data.table.table import Group, Table
from fairfix.data.training_rows import TrainingRows
from fairfix.errors import UsageError
from fairfix.models.inputs import Inputs
from fairfix.models.joined_inputs import joined_inputs
from fairfix.models.scorer import Scorer
from fairfix.workflows.case import Case, problem_of, read_model, scorer_of
from fairfix.workflows.model_options import ModelOptions


@dataclass(frozen=True)
class RowArrays:
    """N rows: ``features`` (N, D) float32 or ``scores`` (N,), labels, group ids, weights, ids.

    ``inputs`` holds what a network takes that is not a matrix of numbers.
    """

    features: np.ndarray | None
    scores: np.ndarray | None
    labels: np.ndarray
    groups: np.ndarray
    weights: np.ndarray | None = None
    ids: np.ndarray | None = None
    clusters: np.ndarray | None = None
    inputs: Inputs | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> RowArrays:
        """Return the rows with the given positions."""

        def some(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[index]

        return RowArrays(
            some(self.features),
            some(self.scores),
            self.labels[index],
            self.groups[index],
            some(self.weights),
            some(self.ids),
            some(self.clusters),
            None if self.inputs is None else self.inputs.take(torch.from_numpy(index)),
        )

    def writable(self) -> RowArrays:
        """Return the same rows; arrays in another process's shared memory are copied."""

        def own(values: np.ndarray | None) -> np.ndarray | None:
            return values if values is None or values.flags.writeable else values.copy()

        return RowArrays(
            own(self.features),
            own(self.scores),
            self.labels.copy(),
            self.groups.copy(),
            own(self.weights),
            own(self.ids),
            own(self.clusters),
            self.inputs,
        )

    def concatenate(self, other: RowArrays) -> RowArrays:
        """Return these rows followed by the other ones."""

        def both(one: np.ndarray | None, two: np.ndarray | None) -> np.ndarray | None:
            return None if one is None or two is None else np.concatenate([one, two])

        return RowArrays(
            both(self.features, other.features),
            both(self.scores, other.scores),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.groups, other.groups]),
            both(self.weights, other.weights),
            both(self.ids, other.ids),
            _concatenate_clusters(self.clusters, other.clusters),
            None
            if self.inputs is None or other.inputs is None
            else joined_inputs(self.inputs, other.inputs),
        )


def _concatenate_clusters(one: np.ndarray | None, two: np.ndarray | None) -> np.ndarray | None:
    """Return the clusters of two parts of rows, which have no cluster in common."""
    if one is None or two is None:
        return None
    return np.concatenate([one, two + int(one.max(initial=0)) + 1])


@dataclass(frozen=True)
class Task:
    """One classifier on one split of rows.

    Attributes:
        name: name in tables, such as "adult/sex" or the file name of a model.
        split: number of the split.
        files: the checkpoint's content by path below a folder; empty for scores only.
        model: the key in ``files`` that is the checkpoint, or the checkpoint folder's name; "" for
            scores only.
        rows: all rows; splits of one table share them.
        validation_index, test_index: which rows methods are tuned on, and which they never see.
        threshold: the threshold in use today.
        source: hash of what all splits of the task share: the classifier or recipe, the rows and
            the way they are split. Results of different sources are never combined.
        overlap: test rows per other row that the splits of this task are drawn from, 0 if every
            split has rows of its own (see ``split_statistics.mean_interval``).
        input_blocks: see ``Problem``.
        training: the rows that the network was trained on; None if they are not known.
        learns: whether methods that take training rows learn from them.
        other_groups: (N,) groups of the test rows by an attribute that is not debiased.
    """

    name: str
    split: int
    files: Mapping[str, bytes]
    model: str
    options: ModelOptions
    columns: Columns
    favorable: str
    label_values: tuple[str, ...]
    group_names: tuple[str, ...]
    rows: RowArrays
    validation_index: np.ndarray
    test_index: np.ndarray
    threshold: float = 0.5
    source: str = ""
    overlap: float = 0.0
    input_blocks: tuple[Block, ...] = ()
    training: RowArrays | None = None
    learns: bool = False
    other_groups: np.ndarray | None = None

    @property
    def validation(self) -> RowArrays:
        """The rows that methods are tuned on."""
        return self.rows.take(self.validation_index)

    @property
    def test(self) -> RowArrays:
        """The rows that methods never see."""
        return self.rows.take(self.test_index)

    @property
    def sha256(self) -> str:
        """Hash of everything that a result depends on."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(os.fsencode(name) + b"\0" + hashlib.sha256(content).digest())
        for rows in (self.validation, self.test):
            for values in (rows.features, rows.scores, rows.labels, rows.groups, rows.weights):
                if values is not None:
                    digest.update(np.ascontiguousarray(values).tobytes())
            if rows.inputs is not None:
                digest.update(rows.inputs.digests().tobytes())
            if rows.ids is not None:  # randomized thresholds depend on them
                digest.update("\0".join(map(str, rows.ids)).encode(errors="surrogatepass"))
        if self.training is not None and self.training.features is not None:
            digest.update(f"training {self.learns}".encode())
            digest.update(np.ascontiguousarray(self.training.features).tobytes())
            digest.update(self.training.labels.tobytes() + self.training.groups.tobytes())
        if self.other_groups is not None:
            digest.update(b"other" + self.other_groups.tobytes())
        settings = repr((self.model, self.options, self.favorable, self.threshold))
        digest.update(settings.encode(errors="surrogatepass"))
        return digest.hexdigest()

    def cases(self) -> tuple[Case, Case]:
        """Return the case with the validation rows and the case with the test rows."""
        table = self._table(self.validation.writable())
        if not self.files:
            case = Case(
                None,
                table,
                self.columns,
                self.options,
                problem_of(table, None, self.options, self.threshold),
                self.favorable,
            )
        else:
            with tempfile.TemporaryDirectory() as folder:
                for name, content in self.files.items():
                    path = Path(folder) / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
                checkpoint = read_model(Path(folder) / self.model, self.options)
            scorer, output_label, _ = scorer_of(checkpoint, table, self.options)
            case = Case(
                checkpoint,
                table,
                self.columns,
                self.options,
                problem_of(table, scorer, self.options, self.threshold),
                output_label,
            )
        test_table = self._table(self.test.writable())
        problem = problem_of(test_table, case.problem.scorer, self.options, self.threshold)
        blocks = self.input_blocks
        training = self._training_rows(case.problem.scorer)
        case = replace(case, problem=replace(case.problem, input_blocks=blocks, training=training))
        problem = replace(problem, input_blocks=blocks)
        return case, replace(case, problem=problem, table=test_table)

    def _training_rows(self, scorer: Scorer | None) -> TrainingRows | None:
        if self.training is None or scorer is None:
            return None
        rows = self.training.writable()
        assert rows.features is not None
        inputs = Inputs.of(torch.from_numpy(rows.features))
        labels, groups = torch.from_numpy(rows.labels), torch.from_numpy(rows.groups)
        return TrainingRows(inputs, scorer.score(inputs), labels, groups)

    def _table(self, rows: RowArrays) -> Table:
        return Table(
            source=Path(self.name.replace("/", " ")),
            sha256="",
            rows=len(rows),
            features=rows.features,
            feature_names=(),
            labels=rows.labels,
            groups=(Group(self.columns.groups[0], rows.groups, self.group_names),),
            favorable=self.favorable,
            label_values=self.label_values,
            ids=rows.ids,
            weights=rows.weights,
            scores=rows.scores,
            notes=(),
            clusters=rows.clusters,
            other_inputs=rows.inputs,
        )

    def resplit(self, seed: int) -> Task:
        """Return the task with its rows drawn anew into parts of the same sizes.

        Split 0 is the task itself. Rows are drawn within each combination of group and label.
        """
        if seed == 0:
            return self
        rows = self.rows
        share = len(self.validation_index) / len(rows)
        validation, test = resplit(rows.labels, rows.groups, share, seed, rows.clusters)
        return replace(self, split=seed, validation_index=validation, test_index=test)


def task_from_cases(case: Case, test: Case, name: str) -> Task:
    """Return the task of a case that was read from files, with the rows of its test case."""
    validation, held_out = _row_arrays(case.problem), _row_arrays(test.problem)
    rows = validation.concatenate(held_out)
    index = np.arange(len(rows))
    return _task(case, name, rows, index[: len(validation)], index[len(validation) :])


def holdout_tasks(case: Case, name: str, share: float, seeds: Sequence[int]) -> list[Task]:
    """Return one task for each seed, which holds out another ``share`` of the case's rows."""
    rows = _row_arrays(case.problem)
    origin = f"{_task(case, name, rows, *[np.arange(len(rows))] * 2).sha256} {share}"
    source = hashlib.sha256(origin.encode()).hexdigest()[:16]
    tasks = []
    for seed in seeds:
        (kept, _), (held, _) = split_problem(case.problem, share, seed, case.table.name)
        task = _task(case, name, rows, kept.cpu().numpy(), held.cpu().numpy())
        tasks.append(replace(task, split=seed, source=source))
    return tasks


def _task(case: Case, name: str, rows: RowArrays, validation: np.ndarray, test: np.ndarray) -> Task:
    files, model = _files(case)
    return Task(
        name=name,
        split=0,
        files=files,
        model=model,
        options=case.options,
        columns=case.columns,
        favorable=case.table.favorable,
        label_values=case.table.label_values,
        group_names=case.problem.group_names,
        rows=rows,
        validation_index=validation,
        test_index=test,
        threshold=case.problem.threshold,
        overlap=len(test) / len(validation),
        input_blocks=case.problem.input_blocks,
    )


def _files(case: Case) -> tuple[dict[str, bytes], str]:
    if case.checkpoint is None:
        return {}, ""
    path = case.checkpoint.file
    if not path.is_dir():
        return {path.name: path.read_bytes()}, path.name
    members = sorted(p for p in path.rglob("*") if p.is_file())
    if not members:
        raise UsageError(f"The folder {path} contains no files; give a folder with a checkpoint.")
    return {f"model/{p.relative_to(path).as_posix()}": p.read_bytes() for p in members}, "model"


def _row_arrays(problem: Problem) -> RowArrays:
    def array(values: torch.Tensor | None) -> np.ndarray | None:
        return None if values is None else values.cpu().numpy()

    return RowArrays(
        array(problem.features),
        None if problem.scorer is not None else array(problem.scores),
        problem.labels.cpu().numpy(),
        problem.groups.cpu().numpy(),
        array(problem.weights),
        problem.ids,
        array(problem.clusters),
        problem.inputs if problem.features is None else None,
    )
