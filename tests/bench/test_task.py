"""Re-splits of a task."""

from __future__ import annotations

import numpy as np

from fairfix.bench.cells import run_cell
from fairfix.bench.study import Study
from fairfix.bench.task import Task


def test_splits_draw_the_same_rows_anew(tasks: list[Task]) -> None:
    first, other = tasks
    assert (len(first.validation), len(first.test)) == (len(other.validation), len(other.test))

    def rows(each: Task) -> list[bytes]:
        assert each.validation.features is not None
        assert each.test.features is not None
        return sorted(r.tobytes() for r in (*each.validation.features, *each.test.features))

    assert rows(first) == rows(other)
    assert first.sha256 != other.sha256
    cells = [2 * each.groups + each.labels for each in (first.test, other.test)]
    pooled = [np.bincount(cell, minlength=4) for cell in cells]
    share = len(first.test) / (len(first.test) + len(first.validation))
    whole = np.bincount(2 * first.validation.groups + first.validation.labels) + pooled[0]
    np.testing.assert_allclose(pooled[1], share * whole, atol=1)


def test_tasks_know_which_rows_their_splits_share(tasks: list[Task], small: Study) -> None:
    assert [each.overlap for each in tasks] == [1.0, 1.0]
    assert run_cell(small.cells[0], tasks[0])["overlap"] == 1.0
