"""Results in a model card as huggingface_hub reads and writes it."""

from __future__ import annotations

import numpy as np
import pytest

import fairfix

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

from huggingface_hub import EvalResult, ModelCard

from fairfix.integrations.huggingface_hub import eval_results, update_card
from fairfix.report.model_card import BEGIN

CARD = """---
license: mit
model-index:
- name: credit
  results:
  - task: {type: tabular-classification}
    dataset: {type: other, name: other}
    metrics:
    - {type: auc, value: 0.9}
---

# Credit

Text of the author.
"""


@pytest.fixture(scope="module")
def outcomes() -> list[fairfix.Outcome]:
    found = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        group, score = rng.choice(["f", "m"], 600), rng.random(600)
        label = (score + 0.4 * rng.normal(size=600) > 0.5).astype(int)
        rows = {"score": score, "label": label, "sex": group}
        case = fairfix.load(None, rows, score="score", group="sex", privileged="m")
        found.append(fairfix.debias(case, "identity", budget=0.3, subgroups=False))
    return found


def test_figures_are_added_to_what_the_author_wrote(outcomes: list[fairfix.Outcome]) -> None:
    card = ModelCard(CARD)
    changed = ModelCard(str(update_card(card, outcomes[0])))
    assert str(card) == str(ModelCard(CARD))
    assert "Text of the author." in changed.text
    assert changed.text.count(BEGIN) == 1
    assert changed.data.license == "mit"
    assert changed.data.model_name == "credit"
    evaluation = outcomes[0].test.debiased
    values = {each.metric_type: each.metric_value for each in changed.data.eval_results}
    assert values == {
        "auc": 0.9,
        "statistical_parity_difference": evaluation.gaps["spd"],
        "balanced_accuracy": evaluation.performance["balanced_accuracy"],
    }


def test_a_second_result_replaces_the_first(outcomes: list[fairfix.Outcome]) -> None:
    card = update_card(update_card(ModelCard(CARD), outcomes[0]), outcomes[1])
    assert str(card) == str(update_card(ModelCard(CARD), outcomes[1]))
    assert len(card.data.eval_results) == 3


def test_a_card_without_metadata_gets_the_name_of_the_table(
    outcomes: list[fairfix.Outcome],
) -> None:
    changed = ModelCard(str(update_card(ModelCard("# Credit"), outcomes[0])))
    assert changed.data.model_name == outcomes[0].to_dict()["data"]["table"]
    assert changed.text.strip().startswith("# Credit")


def test_results_name_task_and_table(outcomes: list[fairfix.Outcome]) -> None:
    found = eval_results(outcomes[0], task="image-classification")
    assert all(isinstance(each, EvalResult) for each in found)
    assert {each.task_type for each in found} == {"image-classification"}
    assert {each.dataset_name for each in found} == {outcomes[0].to_dict()["data"]["table"]}
