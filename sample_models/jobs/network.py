"""A tabular network with an embedding for each category column, in plain torch."""

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """Embeddings of three columns beside two standardized numbers.

    Args:
        categories: number of codes of each category column, with that of unknown values.
        width: of an embedding.
        hidden: units of each hidden layer.
    """

    def __init__(
        self, categories: tuple[int, ...] = (9, 6, 5), width: int = 3, hidden: int = 32
    ) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(count, width) for count in categories)
        self.hidden1 = nn.Linear(len(categories) * width + 2, hidden)
        self.norm1 = nn.BatchNorm1d(hidden)
        self.hidden2 = nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        """Return logits (N,) for codes (N, 3) int64 and numbers (N, 2)."""
        embedded = [each(x_cat[:, place]) for place, each in enumerate(self.embeddings)]
        x = torch.cat([*embedded, x_num], 1)
        x = self.norm1(torch.relu(self.hidden1(x)))
        x = torch.relu(self.hidden2(x))
        return self.head(x).squeeze(1)
