"""A small head, added to the logit of the network's score, that is trained in place of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from fairfix.data.problem import Problem
from fairfix.methods._cross_fitting import classifier_inputs, informative_columns
from fairfix.methods._label_models import table_features
from fairfix.models.inputs import Inputs
from fairfix.models.score_model import ResidualHead
from fairfix.models.scorer import Output, Scorer

HIDDEN = 64
STEP_SIZES = 3.0
"""Step size of a head, in those of a network."""


class AddedHead:
    """A problem whose network is the logit of the score plus a head, 0 at first.

    Args:
        problem: the rows; the head reads its informative columns and the logit.
        seed: of the weights of the first layer.

    Attributes:
        problem: the same rows with that network, whose inputs are the columns and the logit.

    Raises:
        TableError: if there are only scores, or rows that are not numbers in columns.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self._features = table_features(problem, "finetune --head")
        self._reads_embeddings = problem.features is None
        self._scores, self._unlabeled = problem.scores, problem.unlabeled
        self._columns = informative_columns(problem)
        inputs = torch.from_numpy(classifier_inputs(problem, self._columns)).to(
            self._scores.device, torch.float32
        )
        self._network = _Head(inputs, seed).to(inputs.device)
        self.problem = self.problem_of(problem)

    def problem_of(self, rows: Problem) -> Problem:
        """Return other rows with that network."""
        inputs = torch.from_numpy(classifier_inputs(rows, self._columns))
        return replace(
            rows,
            scorer=Scorer(self._network, Output.LOGIT),
            inputs=Inputs.of(inputs.to(self._scores.device, torch.float32)),
            input_blocks=(),
            unlabeled=None,
            training=None,
        )

    def score_model(self, state: Mapping[str, Tensor]) -> ResidualHead:
        """Return the head of a state of the network, on inputs that are not standardized."""
        tensors = {name: value.double().cpu() for name, value in state.items()}
        weight = tensors["hidden_weight"] / tensors["scale"]
        return ResidualHead(
            self._features.shape[1],
            self._columns,
            weight.numpy(),
            (tensors["hidden_bias"] - weight @ tensors["center"]).numpy(),
            tensors["output_weight"].numpy(),
            tensors["output_bias"].numpy(),
        ).of_embeddings(self._reads_embeddings)

    def scores(self, model: ResidualHead) -> Tensor:
        """Return the score of every row with a head, (N,)."""
        return model.apply(self._features, self._scores).score

    def scores_of_unlabeled(self, model: ResidualHead) -> Tensor | None:
        """Return the score of every unlabeled row with a head, (U,); None if there are none."""
        rows = self._unlabeled
        if rows is None:
            return None
        return model.apply(table_features(rows, "finetune --head"), rows.scores).score


class _Head(nn.Module):
    """The last input plus two layers, with a ReLU between them, on standardized inputs."""

    center: Tensor
    scale: Tensor

    def __init__(self, inputs: Tensor, seed: int) -> None:
        super().__init__()
        scale = inputs.std(0)
        self.register_buffer("center", inputs.mean(0))
        self.register_buffer("scale", torch.where(scale > 0, scale, 1.0))
        width = inputs.shape[1]
        generator = torch.Generator().manual_seed(seed)
        self.hidden_weight = nn.Parameter(
            torch.randn(HIDDEN, width, generator=generator) / width**0.5
        )
        self.hidden_bias = nn.Parameter(torch.zeros(HIDDEN))
        self.output_weight = nn.Parameter(torch.zeros(HIDDEN))
        self.output_bias = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        standardized = (inputs - self.center) / self.scale
        hidden = (standardized @ self.hidden_weight.T + self.hidden_bias).relu()
        return inputs[:, -1] + hidden @ self.output_weight + self.output_bias
