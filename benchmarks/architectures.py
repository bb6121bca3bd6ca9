"""Narrow versions of well-known networks, to measure fairfix on.

They are written with plain torch, as users write them: ResNet-18 (He et al. 2016), DenseNet-121
(Huang et al. 2017) and VGG-11 (Simonyan, Zisserman 2015) with a width multiplier, a small
convolutional network, and a tabular network with embeddings. Image networks take (N, 3, H, W).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def one_hidden_layer(side: int = 28, hidden: int = 64, outputs: int = 1) -> nn.Sequential:
    """Return the network of Wang et al. 2023 for colored digits."""
    linear = nn.Linear(3 * side**2, hidden), nn.Linear(hidden, outputs)
    return nn.Sequential(nn.Flatten(), linear[0], nn.ReLU(), linear[1])


class Cnn(nn.Module):
    """Two convolutions with pooling, then two linear layers.

    Args:
        channels: of the first convolution; the second has twice as many.
        side: height and width of the images, a multiple of 4.
        hidden: units of the first linear layer.
        outputs: number of logits.
        scale: factor of the pixels, 1/255 for pixels from 0 to 255.
    """

    def __init__(
        self,
        channels: int = 8,
        side: int = 28,
        hidden: int = 64,
        outputs: int = 1,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(2 * channels * (side // 4) ** 2, hidden)
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.conv1(x * self.scale)))
        x = self.pool(torch.relu(self.conv2(x)))
        logits: Tensor = self.fc2(torch.relu(self.fc1(x.flatten(1))))
        return logits


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to the input."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class ResNet18(nn.Module):
    """ResNet-18, with the parameter names of torchvision.

    Args:
        width: channels of the first stage; 64 is the published network.
        outputs: number of logits.
        stem: "imagenet" is the published one; "small" has a 3x3 convolution without pooling, for
            images of about 32 x 32.
    """

    def __init__(self, width: int = 8, outputs: int = 1, stem: str = "small") -> None:
        super().__init__()
        kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.conv1 = nn.Conv2d(3, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        pooled = stem == "imagenet"
        self.maxpool: nn.Module = nn.MaxPool2d(3, 2, 1) if pooled else nn.Identity()
        self.layer1 = self._stage(width, width, 1)
        self.layer2 = self._stage(width, 2 * width, 2)
        self.layer3 = self._stage(2 * width, 4 * width, 2)
        self.layer4 = self._stage(4 * width, 8 * width, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * width, outputs)

    @staticmethod
    def _stage(inputs: int, channels: int, stride: int) -> nn.Sequential:
        first = ResidualBlock(inputs, channels, stride)
        return nn.Sequential(first, ResidualBlock(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


class DenseLayer(nn.Sequential):
    """BatchNorm, ReLU, 1x1 convolution, BatchNorm, ReLU, 3x3 convolution."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__(
            *(nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, 4 * growth, 1, bias=False)),
            *(nn.BatchNorm2d(4 * growth), nn.ReLU()),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, super().forward(x)], 1)


class DenseNet121(nn.Module):
    """DenseNet-121.

    Args:
        growth: channels that each layer adds; 32 is the published network.
        outputs: number of logits.
        blocks: layers of each dense block.
        stem: see ``ResNet18``.
    """

    def __init__(
        self,
        growth: int = 4,
        outputs: int = 1,
        blocks: Sequence[int] = (6, 12, 24, 16),
        stem: str = "small",
    ) -> None:
        super().__init__()
        channels = 2 * growth
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1, bias=False)]
        if stem == "imagenet":
            layers = [nn.Conv2d(3, channels, 7, 2, 3, bias=False)]
            layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        for place, count in enumerate(blocks):
            if place:
                half = channels // 2
                layers += [nn.BatchNorm2d(channels), nn.ReLU()]
                layers += [nn.Conv2d(channels, half, 1, bias=False), nn.AvgPool2d(2)]
                channels = half
            layers += [DenseLayer(channels + each * growth, growth) for each in range(count)]
            channels += count * growth
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.relu(self.features(x)).mean((2, 3))
        logits: Tensor = self.classifier(pooled)
        return logits


class Vgg11(nn.Module):
    """VGG-11 with BatchNorm and dropout.

    Args:
        width: channels of the first convolution; 64 is the published network.
        outputs: number of logits.
        hidden: units of the two hidden linear layers; 4096 in the published network.
    """

    _CHANNELS = 1, "pool", 2, "pool", 4, 4, "pool", 8, 8, "pool", 8, 8

    def __init__(self, width: int = 8, outputs: int = 1, hidden: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for each in self._CHANNELS:
            if isinstance(each, str):
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
                continue
            channels = each * width
            layers += [nn.Conv2d(inputs, channels, 3, padding=1), nn.BatchNorm2d(channels)]
            layers.append(nn.ReLU())
            inputs = channels
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            *(nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout()),
            *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout()),
            nn.Linear(hidden, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return logits


class EmbeddingNetwork(nn.Module):
    """A tabular network: an embedding for each category column, beside standardized numbers.

    Args:
        categories: number of codes of each category column.
        numbers: number of number columns.
        width: of an embedding.
        hidden: units of each hidden layer.
        outputs: number of logits.
    """

    def __init__(
        self,
        categories: Sequence[int],
        numbers: int,
        width: int = 4,
        hidden: int = 32,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(count, width) for count in categories)
        self.body = nn.Sequential(
            *(nn.Linear(len(categories) * width + numbers, hidden), nn.ReLU()),
            *(nn.BatchNorm1d(hidden), nn.Linear(hidden, hidden), nn.ReLU()),
        )
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        """Return the logits (N, outputs) for codes (N, C) int64 and numbers (N, D)."""
        embedded = [each(x_cat[:, place]) for place, each in enumerate(self.embeddings)]
        logits: Tensor = self.head(self.body(torch.cat([*embedded, x_num], 1)))
        return logits


IMAGE_NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": one_hidden_layer,
    "cnn": Cnn,
    "resnet18": ResNet18,
    "densenet121": DenseNet121,
    "vgg11": Vgg11,
}
