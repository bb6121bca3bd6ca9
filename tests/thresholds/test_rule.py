"""The decision rule: its decisions, its JSON, and what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fairfix.errors import TableError, UsageError
from fairfix.models.inputs import Inputs
from fairfix.thresholds.contract import Contract, Feature, Roles
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.rule_document import RuleDocument

SHARED = DecisionRule(
    0.37,
    positive_label=">50K",
    output_label=">50K",
    output="two logits",
    metric="spd",
    budget=0.05,
    weights_sha256="ab" * 32,
)
BY_GROUP = DecisionRule(thresholds={"men": 0.6, "women": -1.0}, group_column="sex")
RANDOMIZED = DecisionRule(
    randomized_thresholds={"men": ((0.6, 0.8), (0.3, 0.25)), "women": ((0.2, 1.0),)},
    salt="pinch",
    group_column="sex",
    id_column="person",
)


CONTRACT = Contract(
    features=(Feature(name="age", dtype="number"), Feature(name="work", dtype="text")),
    roles=Roles(
        label="y", groups=("sex",), id=None, weight="w", score=None, cluster=None, ignored=("n",)
    ),
    label_values=("no", "yes"),
    group_values={"sex": ("women", "men")},
    missing_group="keep",
    output_name=None,
    data_spec={"version": 1, "features": [{"column": "age", "mean": 38.5, "scale": 2.0}]},
    arch="nets.py:Net",
    arch_args={"width": 3},
    checkpoint_key=None,
)


@pytest.mark.parametrize(
    "rule",
    [
        SHARED,
        BY_GROUP,
        RANDOMIZED,
        DecisionRule(-1.0),
        replace(SHARED, contract=CONTRACT, report_sha256="cd" * 32),
    ],
)
def test_json_and_back(rule: DecisionRule) -> None:
    assert DecisionRule.from_json(json.loads(json.dumps(rule.to_json()))) == rule


def test_the_json_other_programs_read() -> None:
    assert SHARED.to_json() == {
        "version": 2,
        "operator": ">",
        "score": "probability",
        "threshold": 0.37,
        "needs_group": False,
        "group_column": None,
        "positive_label": ">50K",
        "output_label": ">50K",
        "output": "two logits",
        "metric": "spd",
        "budget": 0.05,
        "weights_sha256": "ab" * 32,
        "report_sha256": None,
        "contract": None,
        "score_model": None,
        "classes": None,
        "targets": None,
    }
    by_group = BY_GROUP.to_json()
    assert by_group["thresholds"] == {"men": 0.6, "women": -1.0}
    assert by_group["needs_group"] is True
    assert by_group["group_column"] == "sex"
    assert "threshold" not in by_group


def test_a_network_of_the_other_label_gives_one_minus_the_score() -> None:
    rule = DecisionRule(0.5, positive_label="no", output_label="yes")
    assert rule.to_json()["score"] == "1 - probability"


@pytest.mark.parametrize(
    ("threshold", "expected"), [(0.4, [0, 0, 1]), (-1.0, [1, 1, 1]), (1.0, [0, 0, 0])]
)
def test_positive_is_strictly_above_the_threshold(threshold: float, expected: list[int]) -> None:
    decisions = DecisionRule(threshold).decide(torch.tensor([0.0, 0.4, 1.0]))
    assert decisions.tolist() == [bool(e) for e in expected]
    assert decisions.dtype == torch.bool


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_threshold_for_each_group_by_name(dtype: torch.dtype) -> None:
    rule = DecisionRule(thresholds={"women": 0.3, "men": 0.7}, group_column="sex")
    scores = torch.tensor([0.3, 0.5, 0.7, 0.8], dtype=dtype)
    for ids in ([0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1]):
        decisions = rule.decide(scores, torch.tensor(ids), ("men", "women"))
        thresholds = [0.3 if i else 0.7 for i in ids]
        shared = [bool(DecisionRule(c).decide(scores)[k]) for k, c in enumerate(thresholds)]
        assert decisions.tolist() == shared


def test_a_rule_by_group_needs_the_group() -> None:
    assert BY_GROUP.needs_group
    assert not SHARED.needs_group
    with pytest.raises(TableError, match="needs the group of each row, from column 'sex'"):
        BY_GROUP.decide(torch.tensor([0.5]))


def test_an_unknown_group_is_named() -> None:
    with pytest.raises(
        TableError, match=r"no threshold for group 'others'; its groups are 'men', 'women'"
    ):
        BY_GROUP.decide(torch.tensor([0.5]), torch.tensor([0]), ("others",))


@pytest.mark.parametrize("threshold", [1.5, -1.01, math.inf, -math.inf, math.nan])
def test_thresholds_lie_within_bounds(threshold: float) -> None:
    for wrong in ({"threshold": threshold}, {"thresholds": {"a": threshold}}):
        with pytest.raises(UsageError, match=r"threshold must be in \[-1, 1\]"):
            DecisionRule(**wrong)


ONE_KIND = "exactly one of: a threshold, thresholds per group, or randomized thresholds per group"


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"threshold": 0.5, "thresholds": {"a": 0.5}},
        {"thresholds": {"a": 0.5}, "randomized_thresholds": {"a": ((0.5, 1.0),)}},
        {"thresholds": {}},
        {"randomized_thresholds": {}},
    ],
)
def test_a_rule_has_one_kind_of_threshold(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=ONE_KIND):
        DecisionRule(**wrong)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (((0.5, 1.5),), r"probability must be in \[0, 1\]"),
        (((0.5, math.nan),), r"probability must be in \[0, 1\]"),
        (((1.5, 0.5),), r"threshold must be in \[-1, 1\]"),
        (((0.3, 0.5), (0.5, 0.2)), "must be in descending order"),
        ((), "must be in descending order"),
    ],
)
def test_randomized_thresholds_descend_and_have_probabilities(steps: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DecisionRule(randomized_thresholds={"a": steps})


def test_rows_are_positive_with_their_probability_and_keep_their_draw() -> None:
    """Men: 80 % above 0.6, 25 % from 0.3 to 0.6, none below. Women: all above 0.2."""
    n = 6_000
    ids = np.array([f"person {i}" for i in range(n)])
    groups = torch.arange(n) % 2
    scores = torch.tensor([0.9, 0.9, 0.5, 0.5, 0.3, 0.1]).repeat(n // 6)
    names = ("men", "women")
    decisions = RANDOMIZED.decide(scores, groups, names, ids)
    expected = {(0.9, 0): 0.8, (0.5, 0): 0.25, (0.3, 0): 0, (0.9, 1): 1, (0.5, 1): 1, (0.1, 1): 0}
    for (score, group), probability in expected.items():
        here = (scores == score) & (groups == group)
        assert float(decisions[here].double().mean()) == pytest.approx(probability, abs=0.05)
    order = torch.from_numpy(np.random.default_rng(0).permutation(n))[: n // 2]
    again = RANDOMIZED.decide(scores[order], groups[order], names, ids[order.numpy()])
    assert torch.equal(again, decisions[order])
    salted = replace(RANDOMIZED, salt="grain").decide(scores, groups, names, ids)
    assert not torch.equal(salted, decisions)


def test_randomized_thresholds_need_the_ids_or_features_they_were_made_with() -> None:
    scores, groups, names = torch.tensor([0.5]), torch.tensor([0]), ("men", "women")
    assert RANDOMIZED.randomized
    with pytest.raises(TableError, match="needs the id of each row, from column 'person'"):
        RANDOMIZED.decide(scores, groups, names)
    without = replace(RANDOMIZED, id_column=None)
    with pytest.raises(UsageError, match="--id"):
        without.decide(scores, groups, names)
    same = Inputs.of(torch.ones(50, 3))
    decisions = without.decide(torch.full((50,), 0.5), torch.zeros(50).long(), names, None, same)
    assert len(set(decisions.tolist())) == 1


RIGHT = {"version": 1, "operator": ">", "threshold": 0.5}
BARE = {"version": 1, "operator": ">"}
SECOND = DecisionRule(0.5).to_json()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([0.5], "the top level must be an object, not a list"),
        (None, "the top level must be an object, not null"),
        ({}, "rules of version 1 and 2 with operator '>', not version None"),
        ({**RIGHT, "version": 3}, "not version 3"),
        ({**RIGHT, "report_sha256": "ab" * 32}, "score_model, which version 1 does not have"),
        ({**SECOND, "contract": {}}, "contract has no key 'features'; add it"),
        (
            {**SECOND, "targets": {"names": ["a", "b"], "target": "c"}},
            "not a decision rule: 'c' is not among the labels 'a', 'b'",
        ),
        ({**SECOND, "targets": {"names": ["a"], "target": "a"}}, "fewer than two or repeat"),
        ({**SECOND, "targets": []}, "targets must be an object, not a list"),
        ({**SECOND, "salt": "a"}, "must have one of threshold, thresholds, and lottery"),
        ({**SECOND, "output": None}, "output must be a string, not null"),
        ({**SECOND, "needs_group": None}, "has null as needs_group, so the rule was changed"),
        ({**SECOND, "needs_group": True}, "needs_group is True, and the rest of the rule says"),
        ({**SECOND, "score": "1 - probability"}, "the rest of the rule says 'probability'"),
        ({**RIGHT, "operator": ">="}, "with '>='"),
        (BARE, ONE_KIND),
        ({**RIGHT, "threshold": "0.5"}, "threshold must be a number, not '0.5'"),
        ({**RIGHT, "threshold": True}, "threshold must be a number, not true"),
        ({**RIGHT, "threshold": None}, ONE_KIND),
        ({**RIGHT, "threshold": math.nan}, "threshold must be a finite number, not NaN"),
        ({**RIGHT, "threshold": 3}, "threshold must be at most 1, not 3"),
        ({**BARE, "thresholds": {"a": "high"}}, "thresholds.a must be a number, not 'high'"),
        ({**BARE, "thresholds": [0.5]}, "thresholds must be an object, not a list"),
        ({**BARE, "thresholds": {}}, "thresholds must not be empty"),
        ({**RIGHT, "thresholds": {"a": 0.5}}, ONE_KIND),
        (
            {**BARE, "lottery": {"a": [[0.5, "half"]]}},
            r"lottery\.a\[0\]\[1\] must be a number, not 'half'",
        ),
        ({**BARE, "lottery": {"a": [[0.5]]}}, r"lottery\.a\[0\]"),
        ({**BARE, "lottery": {"a": 0.5}}, r"lottery\.a must be a list, not 0\.5"),
        ({**BARE, "lottery": {"a": []}}, r"lottery\.a must not be empty"),
        ({**BARE, "lottery": {"a": [[0.3, 1.0], [0.5, 0.2]]}}, "must be in descending order"),
        ({**RIGHT, "version": True}, "not version True"),
        ({**RIGHT, "treshold": 0.5}, "unknown key 'treshold'; did you mean 'threshold'"),
        ({**RIGHT, "score": "logit"}, "score must be 'probability' or '1 - probability'"),
        ({**RIGHT, "positive_label": 1}, "positive_label must be a string, not 1"),
        ({**RIGHT, "budget": 1.5}, "budget must be below 1, not 1.5"),
        ({**RIGHT, "weights_sha256": "ab"}, "weights_sha256 must match the pattern"),
    ],
)
def test_invalid_rules_are_refused_with_their_source(data: object, message: str) -> None:
    with pytest.raises(UsageError, match=f"^model.rule.json: .*{message}"):
        DecisionRule.from_json(data, "model.rule.json")


@pytest.mark.parametrize("rule", [SHARED, BY_GROUP, RANDOMIZED])
def test_version_2_lacks_no_key(rule: DecisionRule) -> None:
    written = rule.to_json()
    for name in written:
        left = {key: value for key, value in written.items() if key != name}
        with pytest.raises(UsageError, match=r"^net\.rule\.json"):
            DecisionRule.from_json(left, "net.rule.json")


def test_a_whole_number_is_a_threshold() -> None:
    rule = DecisionRule.from_json({**RIGHT, "threshold": 1})
    assert rule == DecisionRule(1.0)
    assert isinstance(rule.threshold, float)


def test_a_written_rule_has_the_keys_of_its_document() -> None:
    kinds = {"threshold", "thresholds", "lottery", "salt", "id_column", "score_model", "classes"}
    kinds |= {"targets"}
    for rule in (SHARED, BY_GROUP, RANDOMIZED):
        assert set(RuleDocument.model_fields) - kinds <= rule.to_json().keys()
        assert rule.to_json().keys() <= set(RuleDocument.model_fields)
