"""Score a sequence of layers under many sets of parameters.

The network must apply linear layers, BatchNorm and elementwise functions one after another.
BatchNorm is folded into the linear layers next to it, so scores equal the network's up to
round-off.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from fairfix.models.inputs import Inputs, as_inputs
from fairfix.models.scorer import Scorer, probability
from fairfix.models.weight_batches.layer_sequence import (
    LinearLayer,
    WeightAndBias,
    find_layer_sequence,
)

# Largest number of activations of the widest layer at a time; few on a CPU, to stay in its cache.
_MAX_ACTIVATIONS_ON_CPU, _MAX_ACTIVATIONS = 2**19, 2**28
_MIN_ROWS_FOR_ONEDNN = 2048  # fewer do not repay the conversion of the layout


class StackedLayers:
    """A scorer on fixed features, as linear layers with folded BatchNorm; see ``from_scorer``.

    A CPU runs one parameter set after another, other devices run all of them stacked.
    """

    def __init__(
        self, scorer: Scorer, features: Tensor, layers: list[LinearLayer], *, stacked: bool
    ) -> None:
        self._names = {id(p): name for name, p in scorer.network.named_parameters()}
        self._output, self._complement = scorer.output, scorer.complement
        self._merged = scorer.merged
        self._features, self._layers = features, layers
        self._is_stacked = stacked
        self._width = max(max(layer.weight.shape) for layer in layers)

    @classmethod
    def from_scorer(
        cls, scorer: Scorer, inputs: Inputs | Tensor, *, stacked: bool | None = None
    ) -> StackedLayers | None:
        """Return the scorer as stacked layers; None if it is not such a sequence of layers.

        Args:
            scorer: in evaluation mode, in float32.
            inputs: of the network.
            stacked: run all parameter sets at once; None for all devices except a CPU.
        """
        features = as_inputs(inputs).flat
        if features is None or any(p.dtype != torch.float32 for p in scorer.parameters()):
            return None
        layers = find_layer_sequence(scorer, features)
        if layers is None:
            return None
        if stacked is None:
            stacked = features.device.type != "cpu"
        return cls(scorer, features, layers, stacked=stacked)

    @torch.no_grad()
    def scores(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return P(favorable), (B, N), under B parameter sets.

        Args:
            batch: parameters by name in the network, each (B, *shape); those left out keep their
                current values.
        """
        count = len(next(iter(batch.values())))
        batch_of = partial(self._batch_of, batch)
        folded = [
            (weight.expand(count, -1, -1), bias.expand(count, -1, -1))
            for weight, bias in (layer.folded(batch_of) for layer in self._layers)
        ]
        raw = self._run_stacked(folded) if self._is_stacked else self._run_in_turn(folded)
        outputs = raw.flatten(0, 1)
        for function in self._layers[-1].functions:
            outputs = function(outputs)
        probabilities = probability(self._merged(outputs), self._output).view(count, -1)
        return 1 - probabilities if self._complement else probabilities

    def _batch_of(self, batch: Mapping[str, Tensor], tensor: Tensor) -> Tensor:
        """Return the values of a tensor of the network, (B or 1, *shape)."""
        values = batch.get(self._names.get(id(tensor), ""))
        return tensor.unsqueeze(0) if values is None else values

    def _run_in_turn(self, folded: list[WeightAndBias]) -> Tensor:
        """Return the output of the last layer, (B, N, outputs), from weights (B, units, inputs)."""
        blocks = self._features.split(max(1, _MAX_ACTIVATIONS_ON_CPU // self._width))
        if self._use_onednn:
            blocks = tuple(block.to_mkldnn() for block in blocks)
        sets = zip(*(zip(weight, bias, strict=True) for weight, bias in folded), strict=True)
        return torch.stack([torch.cat([self._run(s, block) for block in blocks]) for s in sets])

    @property
    def _use_onednn(self) -> bool:
        """Whether layers run faster in the memory layout of oneDNN."""
        only_relu = all(f is torch.relu_ for layer in self._layers[:-1] for f in layer.functions)
        many = len(self._features) >= _MIN_ROWS_FOR_ONEDNN
        return only_relu and many and torch.backends.mkldnn.is_available()

    def _run(self, parameters: tuple[WeightAndBias, ...], rows: Tensor) -> Tensor:
        x = rows
        for layer, (weight, bias) in zip(self._layers, parameters, strict=True):
            x = functional.linear(x, weight, bias.squeeze(1))
            for function in layer.functions if layer is not self._layers[-1] else ():
                x = function(x)
        return x.to_dense() if x.is_mkldnn else x

    def _run_stacked(self, folded: list[WeightAndBias]) -> Tensor:
        """Return what ``_run_in_turn`` does, with one kernel per layer for all parameter sets."""
        count = len(folded[0][0])
        blocks = self._features.split(max(1, _MAX_ACTIVATIONS // (count * self._width)))
        return torch.cat([self._run_block_stacked(folded, block) for block in blocks], dim=1)

    def _run_block_stacked(self, folded: list[WeightAndBias], rows: Tensor) -> Tensor:
        (weight, bias), *rest = folded
        first = torch.addmm(bias.reshape(-1, 1), weight.flatten(0, 1), rows.t())
        x = first.view(len(weight), -1, len(rows))
        for layer, (weight, bias) in zip(self._layers, rest, strict=False):
            for function in layer.functions:
                x = function(x)
            x = torch.baddbmm(bias, weight, x)
        return x.transpose(1, 2)
