"""Figures of audits equal those of fairlearn and aequitas to 1e-12 where they have them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fairlearn import metrics as fairlearn
from sklearn.metrics import accuracy_score

import fairfix
from fairfix.stats.evaluation import Evaluation

EXACT = {"abs": 1e-12, "rel": 0}


def drawn(n_groups: int, n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(n_groups)
    group = rng.integers(0, n_groups, n)
    score = (rng.random(n) + 0.1 * group).clip(max=1)
    label = (score + 0.5 * rng.normal(size=n) > 0.5).astype(int)
    names = np.array(["f", "m", "x"], dtype=object)[group]
    table = {"score": score, "label": label, "sex": names, "weight": rng.integers(1, 5, n)}
    return pd.DataFrame(table)


def audited(rows: pd.DataFrame, weight: str | None = None) -> Evaluation:
    privileged = "m" if rows["sex"].nunique() == 2 else None
    options = {"score": "score", "group": "sex", "weight": weight, "privileged": privileged}
    case = fairfix.load(None, rows, **options)
    (group,) = fairfix.audit(case, subgroups=False).groups
    return group.evaluation


@pytest.mark.parametrize("weight", [None, "weight"])
@pytest.mark.parametrize("n_groups", [2, 3])
def test_against_fairlearn(n_groups: int, weight: str | None) -> None:
    rows = drawn(n_groups)
    found = audited(rows, weight)
    decided = (rows["score"] > 0.5).astype(int)
    weights = None if weight is None else rows[weight]
    about = {"sensitive_features": rows["sex"], "sample_weight": weights}
    labeled = rows["label"], decided
    expected = {
        "spd": fairlearn.demographic_parity_difference(*labeled, **about),
        "eod": fairlearn.equal_opportunity_difference(*labeled, **about),
        "eqodds": fairlearn.equalized_odds_difference(*labeled, **about),
        "aaod": fairlearn.equalized_odds_difference(*labeled, **about, agg="mean"),
        "di": 1 - fairlearn.demographic_parity_ratio(*labeled, **about),
    }
    assert {key: found.gap_sizes[key] for key in expected} == pytest.approx(expected, **EXACT)
    rates = {
        "selection_rate": fairlearn.selection_rate,
        "tpr": fairlearn.true_positive_rate,
        "fpr": fairlearn.false_positive_rate,
        "fnr": fairlearn.false_negative_rate,
        "accuracy": accuracy_score,
    }
    sample = {name: {"sample_weight": weights} for name in rates}
    frame = fairlearn.MetricFrame(
        metrics=rates,
        y_true=rows["label"],
        y_pred=decided,
        sensitive_features=rows["sex"],
        sample_params=sample,
    ).by_group
    for group in found.groups:
        values = {name: group.rates[name].value for name in rates}
        assert values == pytest.approx(frame.loc[group.name].to_dict(), **EXACT)


@pytest.mark.parametrize("n_groups", [2, 3])
def test_against_aequitas(n_groups: int) -> None:
    pytest.importorskip("aequitas", reason="aequitas is not installed")
    from aequitas.group import Group

    rows = drawn(n_groups)
    found = audited(rows)
    about = {"score": (rows["score"] > 0.5).astype(int), "label_value": rows["label"]}
    frame, _ = Group().get_crosstabs(
        pd.DataFrame({**about, "sex": rows["sex"].astype(object)}), attr_cols=["sex"]
    )
    table = frame.set_index("attribute_value")
    names = {"selection_rate": "pprev", "ppv": "precision"}
    for group in found.groups:
        other = table.loc[group.name]
        cells = {cell: getattr(group, cell) for cell in ("tp", "fp", "fn", "tn")}
        assert cells == {cell: other[cell] for cell in cells}
        rates = {key: rate.value for key, rate in group.rates.items()}
        theirs = {key: other[names.get(key, key)] for key in rates}
        assert rates == pytest.approx(theirs, **EXACT)
    if n_groups == 2:
        columns = {"spd": "pprev", "eod": "tpr", "fprd": "fpr", "fnrd": "fnr", "ppvd": "precision"}
        columns |= {"fdrd": "fdr", "ford": "for", "ad": "accuracy"}
        gaps = {key: table.loc["f", name] - table.loc["m", name] for key, name in columns.items()}
        gaps["di"] = table.loc["f", "pprev"] / table.loc["m", "pprev"]
        assert {key: found.gaps[key] for key in gaps} == pytest.approx(gaps, **EXACT)
