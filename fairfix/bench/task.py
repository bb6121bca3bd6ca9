"""A classifier and its rows as plain data, so that a cell can run anywhere."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from fairfix.data.problem import Problem
from fairfix.data.splitting import resplit
from fairfix.data.table import Columns
from fairfix.data.table.table import Group, Table
from fairfix.errors import UsageError
from fairfix.workflows.case import Case, ModelOptions, make_scorer, problem_of, read_model


@dataclass(frozen=True)
class Rows:
    """N rows: ``features`` (N, D) float32 or ``scores`` (N,), labels, group ids, weights, ids."""

    features: np.ndarray | None
    scores: np.ndarray | None
    labels: np.ndarray
    groups: np.ndarray
    weights: np.ndarray | None = None
    ids: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> Rows:
        """Some of the rows."""

        def some(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[index]

        return Rows(
            some(self.features),
            some(self.scores),
            self.labels[index],
            self.groups[index],
            some(self.weights),
            some(self.ids),
        )

    def owned(self) -> Rows:
        """The same rows, copied where they are another process's and not to be written to."""

        def own(values: np.ndarray | None) -> np.ndarray | None:
            return values if values is None or values.flags.writeable else values.copy()

        return Rows(
            own(self.features),
            own(self.scores),
            self.labels.copy(),
            self.groups.copy(),
            own(self.weights),
            own(self.ids),
        )

    def followed_by(self, other: Rows) -> Rows:
        """These rows, then the other ones."""

        def both(one: np.ndarray | None, two: np.ndarray | None) -> np.ndarray | None:
            return None if one is None or two is None else np.concatenate([one, two])

        return Rows(
            both(self.features, other.features),
            both(self.scores, other.scores),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.groups, other.groups]),
            both(self.weights, other.weights),
            both(self.ids, other.ids),
        )


@dataclass(frozen=True)
class Task:
    """One classifier on one split of rows.

    Attributes:
        name: what it is called in tables, such as "adult/sex" or a model's file name.
        split: which split of the rows this is.
        files: the checkpoint, as path below a folder and bytes; empty for scores alone.
        model: which of ``files`` is the checkpoint ("" for the folder itself).
        fitting, judged: rows that methods see, and rows that they never see.
        source: what all splits of the task have in common, as a hash: which classifier or recipe,
            which rows, how they are split. Results of two sources are never put together.
        overlap: judged rows for each other row that splits of this task are drawn from, 0 where
            every split has rows of its own: how much less splits differ than new rows would.
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
    fitting: Rows
    judged: Rows
    threshold: float = 0.5
    source: str = ""
    overlap: float = 0.0

    @property
    def sha256(self) -> str:
        """Of everything that a result depends on."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(os.fsencode(name) + b"\0" + hashlib.sha256(content).digest())
        for rows in (self.fitting, self.judged):
            for values in (rows.features, rows.scores, rows.labels, rows.groups, rows.weights):
                if values is not None:
                    digest.update(np.ascontiguousarray(values).tobytes())
            if rows.ids is not None:  # lots are drawn by them
                digest.update("\0".join(map(str, rows.ids)).encode(errors="surrogatepass"))
        said = repr((self.model, self.options, self.favorable, self.threshold))
        digest.update(said.encode(errors="surrogatepass"))
        return digest.hexdigest()

    def cases(self) -> tuple[Case, Case]:
        """The case to fit and the case to judge."""
        fitting, judged = self.fitting.owned(), self.judged.owned()
        table = self._table(fitting)
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
            scorer, output_label, _ = make_scorer(checkpoint, table, self.options)
            case = Case(
                checkpoint,
                table,
                self.columns,
                self.options,
                problem_of(table, scorer, self.options, self.threshold),
                output_label,
            )
        other = self._table(judged)
        problem = problem_of(other, case.problem.scorer, self.options, self.threshold)
        return case, replace(case, problem=problem, table=other)

    def _table(self, rows: Rows) -> Table:
        return Table(
            path=Path(self.name.replace("/", " ")),
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
        )

    def resplit(self, seed: int) -> Task:
        """The same rows, drawn anew: as many for fitting and for judging as before.

        Split 0 is the task itself. Rows are drawn within every cell of label and group, so that no
        split lacks a group.
        """
        if seed == 0:
            return self
        pooled = self.fitting.followed_by(self.judged)
        share = len(self.fitting) / len(pooled)
        kept, held = resplit(pooled.labels, pooled.groups, share, seed)
        return replace(
            self,
            split=seed,
            fitting=pooled.take(kept),
            judged=pooled.take(held),
        )


def task_of(case: Case, judged: Case, name: str) -> Task:
    """A case that was read from files, and the rows it is judged on, as a task."""
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
        fitting=_rows(case.problem),
        judged=_rows(judged.problem),
        threshold=case.problem.threshold,
        overlap=len(judged.problem) / len(case.problem),
    )


def _files(case: Case) -> tuple[dict[str, bytes], str]:
    if case.checkpoint is None:
        return {}, ""
    path = case.checkpoint.path
    if not path.is_dir():
        return {path.name: path.read_bytes()}, path.name
    inside = sorted(p for p in path.rglob("*") if p.is_file())
    if not inside:
        raise UsageError(f"{path} holds no files.")
    return {f"model/{p.relative_to(path).as_posix()}": p.read_bytes() for p in inside}, "model"


def _rows(problem: Problem) -> Rows:
    def array(values: torch.Tensor | None) -> np.ndarray | None:
        return None if values is None else values.cpu().numpy()

    return Rows(
        array(problem.features),
        None if problem.scorer is not None else array(problem.scores),
        problem.labels.cpu().numpy(),
        problem.groups.cpu().numpy(),
        array(problem.weights),
        problem.ids,
    )
