"""Folding a threshold into the bias of the last layer, so that programs can decide at 0.5."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from fairfix.data.problem import Problem
from fairfix.errors import CheckpointError, UsageError
from fairfix.models.scorer import Output, Scorer


def fold_threshold(scorer: Scorer, threshold: float, problem: Problem) -> Scorer:
    """Return a copy of the scorer that decides at 0.5 as this one does at ``threshold``.

    Supports networks that end in a linear layer with a bias, followed by nothing, a sigmoid or a
    softmax. The decisions are compared on the problem's rows.

    Args:
        scorer: the network; it is not changed.
        threshold: in (0, 1).
        problem: rows with inputs, to compare decisions on.

    Raises:
        UsageError: if the threshold is not in (0, 1), where no finite bias would do.
        CheckpointError: if the network does not end in such a layer, or cannot be changed.
    """
    if not 0 < threshold < 1:
        raise UsageError(
            f"A threshold of {threshold:g} gives all rows the same decision and cannot be folded "
            "into a bias. Use the rule file instead."
        )
    scorer.check_changeable()
    assert problem.inputs is not None
    folded = copy.deepcopy(scorer)
    if scorer.classes is not None:
        outputs, favorable = len(scorer.classes.names), list(scorer.classes.favorable)
    elif scorer.targets is not None:
        outputs, favorable = len(scorer.targets.names), [scorer.targets.place]
    else:
        two = scorer.output in (Output.PROBS, Output.LOGITS)
        outputs, favorable = (2 if two else 1), [-1]
    bias = _last_bias(folded.network, outputs)
    shift = -math.log(threshold / (1 - threshold))
    with torch.no_grad():
        bias[favorable] += -shift if scorer.complement else shift
    before = scorer.score(problem.inputs) > threshold
    if not torch.equal(folded.score(problem.inputs) > 0.5, before):
        raise CheckpointError(
            "The threshold cannot be folded into this network: shifting the bias of its last "
            "linear layer does not give the same decisions at 0.5. Use the rule file instead."
        )
    return folded


def _last_bias(network: nn.Module, outputs: int) -> nn.Parameter:
    """Return the last bias of shape (outputs,)."""
    biases = [p for name, p in network.named_parameters() if name.endswith("bias")]
    biases = [p for p in biases if p.shape == (outputs,)]
    if not biases:
        raise CheckpointError(
            "The threshold cannot be folded into this network: its last layer has no bias. Use "
            "the rule file instead."
        )
    return biases[-1]
