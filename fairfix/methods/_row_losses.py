"""Products with derivatives of the cross-entropy of training rows.

The Jacobian of the rows' logits and the curvature of their mean loss are never stored; their
products with a vector cost a few passes over the rows. The network is in evaluation mode, so
BatchNorm is an affine map and rows do not depend on each other.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import softplus

from fairfix.models.inputs import Batch, Inputs, Rows
from fairfix.models.scorer import Scorer, in_row_order

_plain_attention = sdpa_kernel(SDPBackend.MATH)  # whose operators have all derivatives


class RowLosses:
    """Cross-entropy of N rows as a function of some of a network's parameters.

    Vectors (P,) hold one number for each entry of the parameters, in their order.

    Args:
        scorer: the network in evaluation mode; it is left unchanged.
        inputs: of the N rows.
        labels: (N,) in {0, 1}.
        weights: (N,) row weights with mean 1; the mean loss is that of the weighted losses.
        parameters: of the scorer's network, by name; they need gradients.
        batch_size: rows at once; None for the scorer's.
    """

    def __init__(
        self,
        scorer: Scorer,
        inputs: Inputs,
        labels: Tensor,
        weights: Tensor,
        parameters: Mapping[str, nn.Parameter],
        *,
        batch_size: int | None = None,
    ) -> None:
        self._scorer, self._inputs = scorer, inputs
        self._labels, self._weights = labels, weights
        self._logit = _Logit(scorer)
        self._names = [f"scorer.network.{name}" for name in parameters]
        self._parameters = tuple(parameters.values())
        self._batch_size = batch_size or scorer.batch_size
        self.forward_mode = True
        """False once an operator of the network was found to lack forward-mode derivatives."""

    def __len__(self) -> int:
        """Return the number of rows, N."""
        return len(self._inputs)

    @_plain_attention
    def hessian_product(self, vector: Tensor) -> Tensor:
        """Return the Hessian of the mean loss times a vector, (P,), by double backward passes.

        Raises:
            RuntimeError: if an operator of the network lacks a second derivative.
        """
        direction = unflatten(vector, self._parameters)
        total = torch.zeros_like(vector)
        for rows, batch in self._batches():
            logits = self._scorer.logit(batch)
            labels, weights = self._of(rows, logits)
            loss = (weights * (softplus(logits) - labels * logits)).sum() / len(self)
            gradient = torch.autograd.grad(
                loss, self._parameters, create_graph=True, allow_unused=True
            )
            slope = sum(
                (g * d).sum() for g, d in zip(gradient, direction, strict=True) if g is not None
            )
            assert isinstance(slope, Tensor)
            total += self._flat_gradient(slope)
        return total

    @_plain_attention
    def gauss_newton_product(self, vector: Tensor) -> Tensor:
        """Return the Gauss-Newton matrix of the mean loss times a vector, (P,).

        It is the Hessian without the second derivatives of the logits, and is never indefinite.
        """
        total = torch.zeros_like(vector)
        for rows, batch in self._batches():
            _, tangents = self._logits_along(batch, vector)
            logits = self._scorer.logit(batch)
            _, weights = self._of(rows, logits)
            p = logits.detach().sigmoid()
            total += self._flat_gradient(logits, weights * p * (1 - p) * tangents / len(self))
        return total

    @_plain_attention
    def derivatives(self, vector: Tensor) -> Tensor:
        """Return the derivative of each row's weighted loss along a vector, (N,)."""

        def along(rows: Rows, batch: Batch) -> Tensor:
            logits, tangents = self._logits_along(batch, vector)
            labels, weights = self._of(rows, logits)
            return weights * (logits.sigmoid() - labels) * tangents

        return in_row_order((rows, along(rows, batch)) for rows, batch in self._batches())

    def _batches(self) -> Iterator[tuple[Rows, Batch]]:
        yield from self._inputs.batches(self._batch_size)

    def _of(self, rows: Rows, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels and weights of some rows."""
        return self._labels[rows].to(like.dtype), self._weights[rows].to(like.dtype)

    def _logits_along(self, batch: Batch, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of a batch and their derivatives along a vector, (n,) each."""
        direction = unflatten(vector, self._parameters)
        if self.forward_mode:
            try:
                return self._by_forward_mode(batch, direction)
            except (RuntimeError, NotImplementedError):
                self.forward_mode = False
        return self._by_double_backward(batch, direction)

    def _by_forward_mode(self, batch: Batch, direction: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        def logits(*values: Tensor) -> Tensor:
            named = dict(zip(self._names, values, strict=True))
            result: Tensor = torch.func.functional_call(self._logit, named, (batch,))
            return result

        at = tuple(p.detach() for p in self._parameters)
        with torch.no_grad(), warnings.catch_warnings():
            # torch warns of its own use of torch.jit.script when forward mode is first used.
            warnings.simplefilter("ignore", DeprecationWarning)
            found = torch.func.jvp(logits, at, tuple(direction))
        return found[0], found[1]

    def _by_double_backward(
        self, batch: Batch, direction: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        logits = self._scorer.logit(batch)
        factors = torch.zeros_like(logits, requires_grad=True)
        gradient = torch.autograd.grad(
            logits, self._parameters, factors, create_graph=True, allow_unused=True
        )
        slope = sum(
            (g * d).sum() for g, d in zip(gradient, direction, strict=True) if g is not None
        )
        if not isinstance(slope, Tensor):  # no parameter has an effect
            return logits.detach(), torch.zeros_like(logits)
        return logits.detach(), torch.autograd.grad(slope, factors)[0]

    def _flat_gradient(self, output: Tensor, factors: Tensor | None = None) -> Tensor:
        if not output.requires_grad:
            return torch.zeros(sum(p.numel() for p in self._parameters), device=output.device)
        gradient = torch.autograd.grad(output, self._parameters, factors, allow_unused=True)
        return flatten(gradient, self._parameters)


class _Logit(nn.Module):
    """The logit of a scorer as a module, so that its parameters can be replaced."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__()
        self.scorer = scorer

    def forward(self, batch: Batch) -> Tensor:
        return self.scorer.logit(batch)


def flatten(tensors: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor:
    """Return tensors of the given shapes as one vector (P,); None counts as zeros."""
    parts = (torch.zeros_like(p) if t is None else t for t, p in zip(tensors, like, strict=True))
    return torch.cat([part.reshape(-1) for part in parts])


def unflatten(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return the parts of a vector (P,) in the shapes and types of the given tensors."""
    parts = vector.split([p.numel() for p in like])
    return [part.reshape(p.shape).to(p.dtype) for part, p in zip(parts, like, strict=True)]
