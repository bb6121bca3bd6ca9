"""The papers' base network and its training, in plain PyTorch.

Ten hidden layers of 32 units, each linear, ReLU, dropout, BatchNorm; one sigmoid output
(Marcinkevics, Ozkan, Vogt 2022, after Savani, White, Govindarajulu 2020). Trained by Adam on binary
cross-entropy; the weights of the epoch with the lowest validation loss are kept.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fairfix._utils.progress import track


@dataclass(frozen=True)
class Recipe:
    """Architecture and training of a base network.

    Attributes:
        depth: hidden layers after the first one.
        width: units per hidden layer.
        epochs: upper limit; training stops after ``patience`` epochs without a lower validation
            loss.
        rate: learning rate of Adam; divided by 10 after half the patience without a lower loss.
        batch: rows per batch.
    """

    depth: int = 10
    width: int = 32
    dropout: float = 0.05
    epochs: int = 200
    patience: int = 10
    rate: float = 1e-3
    batch: int = 64

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class BaseNetwork(nn.Module):
    """Map features (N, D) to P(label = 1), (N, 1); BatchNorm follows ReLU and dropout."""

    def __init__(self, inputs: int, recipe: Recipe) -> None:
        super().__init__()
        width, hidden = recipe.width, range(recipe.depth)
        self.fc0, self.bn0 = nn.Linear(inputs, width), nn.BatchNorm1d(width)
        self.fcs = nn.ModuleList(nn.Linear(width, width) for _ in hidden)
        self.bns = nn.ModuleList(nn.BatchNorm1d(width) for _ in hidden)
        self.out = nn.Linear(width, 1)
        self.dropout = recipe.dropout

    def forward(self, features: Tensor) -> Tensor:
        return self.logit(features).sigmoid()

    def logit(self, features: Tensor) -> Tensor:
        """Return the output before the sigmoid, (N, 1)."""
        h = self._block(self.fc0, self.bn0, features)
        for linear, norm in zip(self.fcs, self.bns, strict=True):
            h = self._block(linear, norm, h)
        out: Tensor = self.out(h)
        return out

    def _block(self, linear: nn.Module, norm: nn.Module, h: Tensor) -> Tensor:
        active = nn.functional.dropout(torch.relu(linear(h)), self.dropout, self.training)
        normed: Tensor = norm(active)
        return normed


def train(
    train_rows: tuple[np.ndarray, np.ndarray],
    validation_rows: tuple[np.ndarray, np.ndarray],
    recipe: Recipe,
    *,
    seed: int,
) -> dict[str, Tensor]:
    """Train a base network and return its state; global random state is restored.

    Args:
        train_rows: features (N, D) float32 and labels (N,) in {0, 1}.
        validation_rows: the same; their loss selects the epoch.
        seed: seed of initial weights, batches and dropout.
    """
    features, labels = _tensors(train_rows)
    validation_features, validation_labels = _tensors(validation_rows)
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.default_generator.manual_seed(seed)
        network = BaseNetwork(features.shape[1], recipe)
        optimizer = torch.optim.Adam(network.parameters(), lr=recipe.rate, fused=True)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, patience=recipe.patience // 2
        )
        loss = nn.BCEWithLogitsLoss()
        best_state, best_loss, stale = copy.deepcopy(network.state_dict()), float("inf"), 0
        for _ in track(range(recipe.epochs), "train"):
            network.train()
            for batch in torch.randperm(len(features)).split(recipe.batch):
                if len(batch) == 1:
                    continue  # BatchNorm cannot normalize a single row
                optimizer.zero_grad()
                loss(network.logit(features[batch]).squeeze(1), labels[batch]).backward()
                optimizer.step()
            network.eval()
            with torch.no_grad():
                logits = network.logit(validation_features).squeeze(1)
                validation_loss = float(loss(logits, validation_labels))
            schedule.step(validation_loss)
            if validation_loss < best_loss:
                best_state, best_loss = copy.deepcopy(network.state_dict()), validation_loss
                stale = 0
            else:
                stale += 1
                if stale >= recipe.patience:
                    break
    return best_state


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread: sums over several threads differ in their last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _tensors(rows: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
    features, labels = rows
    return torch.from_numpy(features), torch.from_numpy(labels).float()
