"""Scale the pixels of images and arrays."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def divisor(scale: float) -> int | None:
    """Return the whole number whose reciprocal a scale is, for exact division; else None."""
    nearest = round(1 / scale)
    return nearest if nearest and 1 / nearest == scale else None


def scaled(values: Tensor, scale: float, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return (values * scale - mean) / std as float32.

    Args:
        values: (n, C, ...), or (n, ...) with one mean and standard deviation.
        scale: factor of the values.
        mean, std: one number, or one for each channel.
    """
    values = values.to(torch.float32, copy=True)
    whole = divisor(scale)
    values = values.div_(whole) if whole else values.mul_(scale)
    for numbers, change in ((mean, values.sub_), (std, values.div_)):
        channels = torch.tensor(numbers, dtype=torch.float32, device=values.device)
        change(channels.reshape(-1, *[1] * (values.dim() - 2)) if len(numbers) > 1 else channels)
    return values
