"""A network that is a plain chain of layers, run for many sets of its parameters.

Linear layers, BatchNorm and elementwise functions, one after another: BatchNorm is folded into the
linear layers next to it. The scores are those of the network but for round-off.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from fairfix.models.scorer import Scorer, probability
from fairfix.models.weight_batches.layer_sequence import Folded, Layer, plain_layers

# Numbers in the widest layer of all that runs at once: on a CPU little, to stay in its cache.
_AT_ONCE_ON_CPU, _AT_ONCE = 2**19, 2**28
_ROWS_WORTH_A_LAYOUT = 2048


class Chain:
    """A scorer on fixed features, as linear layers with folded BatchNorm; made by ``find``.

    A CPU runs one version after another, anything else all of them together.
    """

    def __init__(
        self, scorer: Scorer, features: Tensor, layers: list[Layer], *, together: bool
    ) -> None:
        self._names = {id(p): name for name, p in scorer.network.named_parameters()}
        self._output, self._complement = scorer.output, scorer.complement
        self._features, self._layers = features, layers
        self._together = together
        self._width = max(max(layer.weight.shape) for layer in layers)

    @classmethod
    def find(
        cls, scorer: Scorer, features: Tensor, *, together: bool | None = None
    ) -> Chain | None:
        """The scorer, in evaluation mode, as a chain on features (N, D); None where it is none.

        Args:
            together: run all versions at once; None does so except on a CPU.
        """
        if features.dim() != 2 or any(p.dtype != torch.float32 for p in scorer.parameters()):
            return None
        layers = plain_layers(scorer, features)
        if layers is None:
            return None
        if together is None:
            together = features.device.type != "cpu"
        return cls(scorer, features, layers, together=together)

    @torch.no_grad()
    def scores(self, versions: Mapping[str, Tensor]) -> Tensor:
        """P(favorable) (B, N) of B versions of the network.

        Args:
            versions: parameters by their names in the network, each (B, *its shape); those left
                out are as they are now.
        """
        count = len(next(iter(versions.values())))
        of = partial(self._versions_of, versions)
        folded = [
            (weight.expand(count, -1, -1), bias.expand(count, -1, -1))
            for weight, bias in (layer.folded(of) for layer in self._layers)
        ]
        raw = self._all_together(folded) if self._together else self._one_by_one(folded)
        outputs = raw.flatten(0, 1)
        for function in self._layers[-1].behind:
            outputs = function(outputs)
        found = probability(outputs, self._output).view(count, -1)
        return 1 - found if self._complement else found

    def _versions_of(self, versions: Mapping[str, Tensor], tensor: Tensor) -> Tensor:
        found = versions.get(self._names.get(id(tensor), ""))
        return tensor.unsqueeze(0) if found is None else found

    def _one_by_one(self, folded: list[Folded]) -> Tensor:
        """What the last layer gives, (B, N, outputs), from weights (B, units, inputs)."""
        blocks = self._features.split(max(1, _AT_ONCE_ON_CPU // self._width))
        if self._has_faster_layout:
            blocks = tuple(block.to_mkldnn() for block in blocks)
        versions = zip(*(zip(weight, bias, strict=True) for weight, bias in folded), strict=True)
        return torch.stack([torch.cat([self._one(v, block) for block in blocks]) for v in versions])

    @property
    def _has_faster_layout(self) -> bool:
        """Whether layers run faster, on some processors by far, in the layout of oneDNN."""
        plain = all(f is torch.relu_ for layer in self._layers[:-1] for f in layer.behind)
        many = len(self._features) >= _ROWS_WORTH_A_LAYOUT
        return plain and many and torch.backends.mkldnn.is_available()

    def _one(self, version: tuple[Folded, ...], rows: Tensor) -> Tensor:
        x = rows
        for layer, (weight, bias) in zip(self._layers, version, strict=True):
            x = functional.linear(x, weight, bias.squeeze(1))
            for function in layer.behind if layer is not self._layers[-1] else ():
                x = function(x)
        return x.to_dense() if x.is_mkldnn else x

    def _all_together(self, folded: list[Folded]) -> Tensor:
        """The same by one kernel a layer for all versions."""
        count = len(folded[0][0])
        blocks = self._features.split(max(1, _AT_ONCE // (count * self._width)))
        return torch.cat([self._block_together(folded, block) for block in blocks], dim=1)

    def _block_together(self, folded: list[Folded], rows: Tensor) -> Tensor:
        (weight, bias), *rest = folded
        first = torch.addmm(bias.reshape(-1, 1), weight.flatten(0, 1), rows.t())
        x = first.view(len(weight), -1, len(rows))
        for layer, (weight, bias) in zip(self._layers, rest, strict=False):
            for function in layer.behind:
                x = function(x)
            x = torch.baddbmm(bias, weight, x)
        return x.transpose(1, 2)
