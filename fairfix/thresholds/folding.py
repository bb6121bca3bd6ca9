"""Folding a threshold into the last layer's bias, so that a cut at 0.5 needs no rule."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from fairfix.data.problem import Problem
from fairfix.errors import CheckpointError, UsageError
from fairfix.models.scorer import Output, Scorer


def fold_threshold(scorer: Scorer, threshold: float, problem: Problem) -> Scorer:
    """A copy of the scorer whose decisions at 0.5 are those of the scorer at ``threshold``.

    Works for networks that end in a linear layer with a bias, followed by nothing, a sigmoid or a
    softmax; checked on the problem's rows.

    Raises:
        UsageError: when everybody or nobody is positive, for which no finite bias stands.
        CheckpointError: when the network does not end that way.
    """
    if not 0 < threshold < 1:
        raise UsageError(
            f"A threshold of {threshold:g} decides all rows alike and cannot be folded."
        )
    assert problem.features is not None
    folded = copy.deepcopy(scorer)
    two = scorer.output in (Output.PROBS, Output.LOGITS)
    bias = _last_bias(folded.network, 2 if two else 1)
    shift = -math.log(threshold / (1 - threshold))
    with torch.no_grad():
        bias[-1] += -shift if scorer.complement else shift
    before = scorer.score(problem.features) > threshold
    if not torch.equal(folded.score(problem.features) > 0.5, before):
        raise CheckpointError(
            "The threshold cannot be folded into this network: shifting the bias of its last "
            "linear layer does not give the same decisions at 0.5. Use the rule file instead."
        )
    return folded


def _last_bias(network: nn.Module, outputs: int) -> nn.Parameter:
    biases = [p for name, p in network.named_parameters() if name.endswith("bias")]
    biases = [p for p in biases if p.shape == (outputs,)]
    if not biases:
        raise CheckpointError(
            "The threshold cannot be folded into this network: its last layer has no bias."
        )
    return biases[-1]
