"""Small networks of many kinds on rows of four numbers, for the contract of checkpoints."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

WIDTH = 4
H = 6


class Plain(nn.Sequential):
    """A multilayer perceptron."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__(
            *(nn.Linear(WIDTH, H), nn.ReLU(), nn.Linear(H, H), nn.ReLU(), nn.Linear(H, outputs))
        )


class Lazy(nn.Sequential):
    def __init__(self) -> None:
        layers = nn.LazyLinear(H), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(1)
        super().__init__(*layers)


class Mixed(nn.Sequential):
    """BatchNorm, LayerNorm, PReLU, GLU and dropout between linear layers."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, H), nn.LayerNorm(H), nn.PReLU()),
            *(nn.Dropout(), nn.Linear(H, 2 * H), nn.GLU(), nn.Linear(H, 1)),
        )


class Hidden(nn.Module):
    """One hidden layer; subclasses make the output from it."""

    outputs = 1

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(WIDTH, H), nn.Linear(H, self.outputs)

    def raw(self, x: Tensor) -> Tensor:
        raw: Tensor = self.head(torch.relu(self.body(x)))
        return raw

    def forward(self, x: Tensor) -> Any:
        return self.raw(x)


class HeadFirst(Hidden):
    def __init__(self) -> None:
        super().__init__()
        self._modules = dict(reversed(self._modules.items()))


class Two(Hidden):
    outputs = 2


class Sigmoid(Hidden):
    def forward(self, x: Tensor) -> Tensor:
        return self.raw(x).sigmoid()[:, 0]


class Softmax(Two):
    def forward(self, x: Tensor) -> Tensor:
        return functional.softmax(self.raw(x), dim=-1)


class LogSoftmax(Two):
    def forward(self, x: Tensor) -> Tensor:
        return functional.log_softmax(self.raw(x), dim=-1)


class TwoSigmoids(Two):
    def forward(self, x: Tensor) -> Tensor:
        return self.raw(x).sigmoid()


class Tanh(Hidden):
    def forward(self, x: Tensor) -> Tensor:
        return self.raw(x).tanh()


class Squeezed(Hidden):
    def forward(self, x: Tensor) -> Tensor:
        return self.raw(x).squeeze()


class SqueezedTwo(Two):
    def forward(self, x: Tensor) -> Tensor:
        return self.raw(x).squeeze()


class Tuple(Hidden):
    def forward(self, x: Tensor) -> Any:
        h = torch.relu(self.body(x))
        return self.head(h), h


class List(Tuple):
    def forward(self, x: Tensor) -> Any:
        return list(reversed(super().forward(x)))


class Dict(Tuple):
    def forward(self, x: Tensor) -> Any:
        score, h = super().forward(x)
        return {"embedding": h, "score": score}


class Logits(Hidden):
    def forward(self, x: Tensor) -> Any:
        return SimpleNamespace(loss=None, logits=self.raw(x))


class TwoHeads(Hidden):
    def forward(self, x: Tensor) -> Any:
        raw = self.raw(x)
        return {"first": raw, "second": -raw}


class Wrapper(nn.Module):
    """A wrapper class around a network of another class."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Tuple()

    def forward(self, x: Tensor) -> Any:
        return self.net(x)[0]


class Three(Hidden):
    outputs = 3


class TwoInputs(Hidden):
    def forward(self, codes: Tensor, numbers: Tensor) -> Any:
        return self.raw(codes + numbers)


class RandomDropout(Hidden):
    def forward(self, x: Tensor) -> Tensor:
        return self.raw(functional.dropout(x, 0.3))


class Double(Hidden):
    """Casts its input to its own type."""

    def __init__(self) -> None:
        super().__init__()
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.raw(x.double())


class Embeddings(nn.Module):
    """Codes from the first two columns, BatchNorm over the others."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.ModuleList([nn.Embedding(3, 2), nn.Embedding(5, 3)])
        self.norm, self.head = nn.BatchNorm1d(2), Plain()
        self.head[0] = nn.Linear(7, H)

    def forward(self, x: Tensor) -> Tensor:
        first = x[:, 0].abs().long().clamp(max=2), x[:, 1].abs().long().clamp(max=4)
        coded = [layer(code) for layer, code in zip(self.codes, first, strict=True)]
        out: Tensor = self.head(torch.cat([*coded, self.norm(x[:, 2:])], 1))
        return out


class Recurrent(nn.Module):
    """A recurrent layer over two steps of two numbers."""

    kind: type[nn.RNNBase] = nn.LSTM

    def __init__(self) -> None:
        super().__init__()
        self.steps = self.kind(2, H, batch_first=True)
        self.head = nn.Linear(H, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.steps(x.view(-1, 2, 2))[0][:, -1])
        return out


class Gru(Recurrent):
    kind = nn.GRU


class Rnn(Recurrent):
    kind = nn.RNN


class Transformer(nn.Module):
    """An FT-Transformer: a token for each column, and one whose state is read."""

    norm_first = True

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, 8))
        self.start = nn.Parameter(torch.randn(1, 1, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=self.norm_first)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=not self.norm_first)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        start = self.start.expand(x.shape[0], -1, -1)
        tokens = torch.cat([start, x.unsqueeze(-1) * self.weight], 1)
        out: Tensor = self.head(self.norm(self.layers(tokens)[:, 0]))
        return out


class PostNorm(Transformer):
    norm_first = False


class TabNet(nn.Module):
    """Two steps that attend to columns by a mask, with gated layers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH)
        self.attend = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.gated = nn.ModuleList(nn.Linear(WIDTH, 2 * H) for _ in range(2))
        self.head = nn.Linear(H, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, prior, total = self.norm(x), torch.ones_like(x), torch.zeros(len(x), H)
        for attend, gated in zip(self.attend, self.gated, strict=True):
            mask = torch.softmax(attend(x) * prior, 1)
            prior = prior * (1.5 - mask)
            total = total + torch.relu(functional.glu(gated(x * mask)))
        out: Tensor = self.head(total)
        return out


class Conv1d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(1, H, 3, padding=1), nn.GroupNorm(2, H)
        self.head = nn.Linear(H * WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.relu(self.norm(self.conv(x.unsqueeze(1)))).flatten(1))
        return out


class Conv2d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, H, 2), nn.BatchNorm2d(H)
        self.head = nn.Linear(H, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.relu(self.norm(self.conv(x.view(-1, 1, 2, 2)))).mean((2, 3)))
        return out


class InstanceNorm(Conv1d):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm1d(H, affine=True)


class Computed(nn.Module):
    """Two hidden layers whose weights are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.computed(nn.Linear(WIDTH, H))
        self.second = self.computed(nn.Linear(H, H))
        self.head = nn.Linear(H, 1)

    def computed(self, layer: nn.Linear) -> nn.Module:
        return parametrizations.weight_norm(layer)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.relu(self.second(torch.relu(self.first(x)))))
        return out


class WeightNormHook(Computed):
    def computed(self, layer: nn.Linear) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is deprecated
            made: nn.Module = nn.utils.weight_norm(layer)
        return made


class SpectralNorm(Computed):
    def computed(self, layer: nn.Linear) -> nn.Module:
        return parametrizations.spectral_norm(layer)


class SpectralNormHook(Computed):
    def computed(self, layer: nn.Linear) -> nn.Module:
        made: nn.Module = nn.utils.spectral_norm(layer)
        return made


class Orthogonal(Computed):
    def computed(self, layer: nn.Linear) -> nn.Module:
        return parametrizations.orthogonal(layer)


class AllSpectral(SpectralNorm):
    """All layers have computed weights, also the last."""

    def __init__(self) -> None:
        super().__init__()
        self.head = parametrizations.spectral_norm(nn.Linear(H, 1))


class Tied(Plain):
    """Two layers that share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.insert(4, nn.Linear(H, H))
        self[4].weight = self[2].weight


class Shared(Hidden):
    """One layer used three times, with a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Linear(H, H)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.body(x))
        for _ in range(3):
            h = torch.relu(self.again(h)) + h
        out: Tensor = self.head(h)
        return out


class Parameters(nn.Module):
    """Bare parameters and buffers in containers, with names that need care."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList([torch.randn(WIDTH, H), torch.randn(H, 1)])
        self.shift = nn.ParameterDict({"a-b": torch.zeros(1)})
        self.register_buffer("order", torch.arange(WIDTH).flip(0))
        self.layers = nn.ModuleDict({"my layer": nn.Linear(H, H)})

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.layers["my layer"](torch.relu(x[:, self.order] @ self.weights[0])))
        out: Tensor = h @ self.weights[1] + self.shift["a-b"]
        return out


class Prototypes(nn.Module):
    """Distances to prototypes, weighted."""

    def __init__(self) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(3, H))
        self.body, self.head = nn.Linear(WIDTH, H), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.cdist(self.body(x), self.prototypes))
        return out


class Experts(nn.Module):
    """A mixture of two experts by a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(WIDTH, 2), nn.ModuleList([Plain(), Plain()])

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.cat([expert(x) for expert in self.experts], 1)
        return (self.gate(x).softmax(1) * scores).sum(1)


class Ensemble(Experts):
    """The mean of two probabilities."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([expert(x).sigmoid() for expert in self.experts]).mean(0)


class Temperature(Hidden):
    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.raw(x) / self.temperature


class AnyWidth(nn.Module):
    """Reads a weighted sum of any number of columns."""

    def __init__(self) -> None:
        super().__init__()
        self.head = Plain()

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1], dtype=x.dtype)
        out: Tensor = self.head((x * places).sum(1, keepdim=True) * torch.ones(1, 4))
        return out
