"""Intersections: combinations, their rates, and combinations with too few rows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.data.table import Group
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.stats.evaluation import evaluate
from fairfix.stats.subgroups.intersections import (
    IntersectionAudit,
    audit_intersections,
    intersections,
)
from tests.helpers.toys import count_by_hand, gaps_by_hand, scored_rows

SEX, RACE, AGE = ("F", "M"), ("Asian", "Black", "White"), ("old", "young")


def case(n: int = 900, *, weighted: bool = False) -> tuple[Problem, Tensor, tuple[Group, ...]]:
    problem = scored_rows(n, seed=1, weighted=weighted)
    rng = np.random.default_rng(2)
    race = rng.choice(3, n, p=[0.12, 0.28, 0.6])
    groups = (
        Group("sex", problem.groups.numpy(), SEX),
        Group("race", race, RACE),
        Group("age", rng.integers(0, 2, n), AGE),
    )
    return replace(problem, group_names=SEX), problem.scores > 0.55, groups


def frame(groups: tuple[Group, ...]) -> pd.DataFrame:
    return pd.DataFrame({g.column: np.array(g.names)[g.ids] for g in groups})


def test_every_choice_of_two_and_three_columns() -> None:
    _, _, groups = case()
    found = intersections(groups)
    assert [each.columns for each in found] == [
        ("sex", "race"),
        ("sex", "age"),
        ("race", "age"),
        ("sex", "race", "age"),
    ]
    assert found[3].group.column == "sex & race & age"
    assert intersections(groups[:1]) == ()
    four = (*groups, Group("region", groups[0].ids, ("n", "s")))
    assert max(len(each.columns) for each in intersections(four)) == 3


def test_names_are_the_values_of_each_row() -> None:
    _, _, groups = case()
    for each in intersections(groups):
        said = np.array(each.group.names)[each.group.ids]
        rows = frame(groups)[list(each.columns)]
        wanted = [
            " & ".join(f"{c}={v}" for c, v in zip(each.columns, row, strict=True))
            for row in rows.itertuples(index=False)
        ]
        assert said.tolist() == wanted
        assert each.sizes == tuple((said == name).sum() for name in each.group.names)
    assert intersections(groups)[0].group.names[0] == "sex=F & race=Asian"


def test_only_combinations_that_rows_have_are_groups() -> None:
    one = Group("a", np.array([0, 0, 1, 1]), ("x", "y"))
    (found,) = intersections([one, Group("b", np.array([0, 1, 1, 1]), ("0", "1", "2"))])
    assert found.group.names == ("a=x & b=0", "a=x & b=1", "a=y & b=1")
    assert found.sizes == (1, 1, 2)
    same = np.zeros(4, np.int64)
    assert intersections([Group("a", same, ("x",)), Group("b", same, ("0",))]) == ()


@pytest.mark.parametrize("weighted", [False, True])
def test_rates_and_gaps_are_those_counted_by_hand(weighted: bool) -> None:
    problem, decisions, groups = case(weighted=weighted)
    (found, *_) = audit_intersections(problem, decisions, groups)
    rows = frame(groups).assign(
        hit=decisions.numpy(),
        label=problem.labels.numpy(),
        w=1.0 if problem.weights is None else problem.weights.numpy(),
    )
    for group in found.groups:
        sex, race = (part.partition("=")[2] for part in group.name.split(" & "))
        here = rows[(rows["sex"] == sex) & (rows["race"] == race)]
        positive = here[here["label"] == 1]
        assert group.rows == len(here)
        rate, tpr = group.rates["selection_rate"], group.rates["tpr"]
        assert (rate.n, tpr.n) == (len(here), len(positive))
        assert rate.value == pytest.approx(np.average(here["hit"], weights=here["w"]))
        assert tpr.value == pytest.approx(np.average(positive["hit"], weights=positive["w"]))
    assert found.evaluation is not None
    large = intersections(groups)[0].regroup_large(problem)
    assert large is not None
    counts = count_by_hand(decisions[large[1]], large[0])
    assert found.evaluation.gaps["spd"] == pytest.approx(gaps_by_hand(counts)["spd"])
    assert found.evaluation.gaps["spd"] == pytest.approx(
        np.ptp([g.rates["selection_rate"].value for g in found.groups if g.rows >= 30])
    )


def test_small_combinations_are_named_and_kept_out_of_gaps() -> None:
    problem, decisions, groups = case()
    race = groups[1].ids.copy()
    race[np.flatnonzero((groups[0].ids == 0) & (race == 0))[29:]] = 1
    groups = (groups[0], Group("race", race, RACE))
    (found,) = audit_intersections(problem, decisions, groups)
    assert found.too_small == ("sex=F & race=Asian",)
    assert {group.name: group.rows for group in found.groups}["sex=F & race=Asian"] == 29
    assert found.evaluation is not None
    assert [group.name for group in found.evaluation.groups] == [
        group.name for group in found.groups if group.rows >= 30
    ]
    assert found.evaluation.rows == 900 - 29
    assert all(math.isnan(group.threshold) for group in found.groups)


def test_the_large_ones_keep_their_rows() -> None:
    problem, _, groups = case(weighted=True)
    problem = replace(
        problem,
        inputs=Inputs.of(torch.arange(900.0)[:, None]),
        ids=np.array([f"row {i}" for i in range(900)], object),
    )
    each = intersections(groups)[3]
    large = each.regroup_large(problem)
    assert large is not None
    narrowed, rows = large
    names = [narrowed.group_names[g] for g in narrowed.groups]
    assert names == [each.group.names[g] for g in each.group.ids[rows.numpy()]]
    assert narrowed.features is not None
    assert narrowed.features[:, 0].tolist() == rows.tolist()
    assert narrowed.ids is not None
    assert narrowed.ids.tolist() == [f"row {i}" for i in rows]
    kept = [size for size in each.sizes if size >= 30]
    assert torch.bincount(narrowed.groups).tolist() == kept


def test_too_few_combinations_have_no_gap() -> None:
    problem, decisions, groups = case(60)
    (found,) = audit_intersections(problem, decisions, groups[:2])
    assert len(found.too_small) >= len(found.groups) - 1
    assert found.evaluation is None


def test_rows_of_one_label_have_no_gap() -> None:
    problem = scored_rows(200, seed=0)
    labels = problem.labels.clone()
    race = np.zeros(200, np.int64)
    race[:10] = 1
    labels[10:] = 1
    labels[:10] = 0
    problem = replace(problem, labels=labels)
    groups = (Group("sex", problem.groups.numpy(), SEX), Group("race", race, ("A", "B")))
    (found,) = intersections(groups)
    assert found.regroup_large(problem) is None


def test_all_combinations_as_groups_can_be_evaluated() -> None:
    problem, decisions, groups = case()
    each = intersections(groups)[1]
    judged = each.regroup(problem)
    cuts = (0.5,) * judged.n_groups
    found = evaluate(judged, judged.scores, decisions, Objective(), cuts)
    assert tuple(group.name for group in found.groups) == each.group.names
    assert tuple(group.rows for group in found.groups) == each.sizes


def test_rates_of_clustered_rows_have_cluster_robust_intervals() -> None:
    problem, decisions, groups = case()
    copies = torch.arange(900).repeat_interleave(4)
    clustered = replace(problem.take(copies), clusters=copies)
    decided = decisions[copies]
    copied = tuple(replace(group, ids=group.ids[copies]) for group in groups[:2])
    (alone,) = audit_intersections(problem, decisions, groups[:2])
    (found,) = audit_intersections(clustered, decided, copied)
    (naive,) = audit_intersections(replace(clustered, clusters=None), decided, copied)

    def width(each: IntersectionAudit) -> float:
        interval = each.intervals[-1]["selection_rate"]
        return interval.high - interval.low

    assert width(found) == pytest.approx(width(alone), rel=0.02)
    assert width(naive) < 0.6 * width(alone)


def test_combinations_of_few_clusters_are_too_small() -> None:
    problem, decisions, groups = case()
    white = groups[1].ids == 2
    clusters = torch.arange(900)
    clusters[torch.from_numpy(white)] %= 9
    found = audit_intersections(replace(problem, clusters=clusters), decisions, groups[:2])
    assert found[0].too_small == ("sex=F & race=White", "sex=M & race=White")
    assert found[0].evaluation is not None
    assert len(found[0].evaluation.groups) == 4
