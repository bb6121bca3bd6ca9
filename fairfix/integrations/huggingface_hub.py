"""Hugging Face Hub: the results of a debiasing in a model card and its ``model-index``."""

from __future__ import annotations

import copy

from fairfix._utils.optional_packages import needed_for
from fairfix.report.model_card import figures, update_text
from fairfix.workflows.outcome import Outcome

with needed_for("update_card", "huggingface_hub", "huggingface"):
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

TASK = "tabular-classification"


def update_card(card: ModelCard, outcome: Outcome, *, task: str = TASK) -> ModelCard:
    """Return a copy of a model card with the figures on test rows, in text and metadata.

    The marked section of the text is added or replaced, as in the README.md of a Hugging Face
    folder. Results of the metadata are replaced if they are of the same measure and table; all
    others stay.

    Args:
        card: the card, such as of ``ModelCard.load``; not changed.
        outcome: of ``fairfix.debias``.
        task: the kind of task in the metadata, as the Hub names it.
    """
    report = outcome.to_dict()
    changed = copy.deepcopy(card)
    changed.text = update_text(changed.text, report)
    data = changed.data
    assert isinstance(data, ModelCardData)
    found = eval_results(outcome, task=task)
    kept = [
        each
        for each in data.eval_results or []
        if not any(each.is_equal_except_value(other) for other in found)
    ]
    data.eval_results = [*kept, *found]
    if data.model_name is None:
        data.model_name = report["model"]["file"] if report["model"] else report["data"]["table"]
    return changed


def eval_results(outcome: Outcome, *, task: str = TASK) -> list[EvalResult]:
    """Return the gap and the performance on test rows as results of a ``model-index``.

    Undefined figures are left out.
    """
    report = outcome.to_dict()
    table = report["data"]["test_table"] or report["data"]["table"]
    return [
        EvalResult(
            task_type=task,
            dataset_type=table,
            dataset_name=table,
            metric_type=name.replace(" ", "_"),
            metric_name=name,
            metric_value=after["value"],
        )
        for name, _, after in figures(report)
        if after["value"] is not None
    ]
