"""The callback of transformers' Trainer in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fairfix
from fairfix.errors import UsageError

pytest.importorskip("transformers", reason="transformers is not installed")

from fairfix.integrations.transformers import GapCallback, favorable_probability

RNG = np.random.default_rng(0)
GROUP = RNG.choice(["f", "m"], 300)
X = (RNG.normal(size=(300, 3)) + (GROUP == "m")[:, None]).astype(np.float32)
LABEL = (X.sum(1) > 1).astype(int)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.linear(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


@pytest.mark.filterwarnings("ignore")  # of accelerate and transformers about their own names
def test_every_epoch_logs_gap_and_interval(tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    from transformers import Trainer, TrainingArguments

    rows: Any = [{"x": x, "labels": int(label)} for x, label in zip(X, LABEL, strict=True)]
    arguments = TrainingArguments(
        str(tmp_path),
        num_train_epochs=2,
        per_device_train_batch_size=100,
        learning_rate=0.5,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(Network(), arguments, train_dataset=rows)
    trainer.add_callback(GapCallback(trainer, rows, GROUP, "spd", privileged="m"))
    trainer.train()
    logged = [each for each in trainer.state.log_history if "eval_spd" in each]
    assert [each["epoch"] for each in logged] == [1, 2]
    with torch.no_grad():
        scores = trainer.model.linear(torch.from_numpy(X)).double().softmax(1)[:, 1].numpy()
    table = {"score": scores, "label": LABEL, "sex": GROUP}
    case = fairfix.load(None, table, score="score", group="sex", privileged="m")
    claim = fairfix.audit(case, subgroups=False).groups[0].claim
    assert logged[1]["eval_spd"] == pytest.approx(claim.value)
    assert logged[1]["eval_spd_low"] == pytest.approx(claim.interval.low)
    assert logged[1]["eval_spd_high"] == pytest.approx(claim.interval.high)


def test_probabilities_follow_from_the_shape_of_the_outputs() -> None:
    logits = np.array([[0.0, 1.0], [2.0, 0.0]], np.float32)
    expected = 1 / (1 + np.exp([-1.0, 2.0]))
    np.testing.assert_allclose(favorable_probability(logits, 1), expected)
    np.testing.assert_allclose(favorable_probability((logits, 0), 0), 1 - expected)
    single = np.array([[1.0], [-2.0]])
    np.testing.assert_allclose(favorable_probability(single, 1), expected)
    np.testing.assert_allclose(favorable_probability(single[:, 0], 0), 1 - expected)


@pytest.mark.parametrize("shape", [(4, 3, 2), ()])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="one logit per label"):
        favorable_probability(np.zeros(shape), 1)


def test_a_label_without_an_output_is_refused() -> None:
    with pytest.raises(UsageError, match="from 0 to 2"):
        favorable_probability(np.zeros((4, 3)), 3)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'spd'"):
        GapCallback(None, [], GROUP, "sdp")
