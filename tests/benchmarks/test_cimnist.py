"""The study of methods on images, on a few synthetic digits; and the networks that it trains."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fairfix.bench.ci_mnist import Digits
from tests.helpers.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import cimnist
from architectures import IMAGE_NETWORKS, DenseNet121, EmbeddingNetwork, ResNet18, Vgg11


def bars(n: int = 200) -> Digits:
    """Return odd digits as vertical bars and even ones as horizontal bars, with noise."""
    draws = np.random.default_rng(0)
    values = draws.integers(0, 10, n).astype(np.uint8)
    pixels = draws.integers(0, 120, (n, 28, 28), dtype=np.uint8)
    pixels[values % 2 == 0, 12:16] += 90
    pixels[values % 2 == 1, :, 12:16] += 90
    return Digits(pixels, values)


def test_the_study_compares_methods_and_keeps_its_networks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--seeds", "0", "--share", "0.8", "--epochs", "2", "--folder", str(tmp_path)]
    arguments += ["--methods", "identity"]
    cimnist.main(arguments, bars())
    table = capsys.readouterr().out
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    assert [row[:2] for row in rows] == [
        ["| 0", "unmodified"],
        ["| 0", "identity"],
        ["| mean", "unmodified"],
        ["| mean", "identity"],
    ]
    assert float(rows[0][2]) > 0.5
    monkeypatch.delattr(cimnist, "train")
    cimnist.main(arguments, bars())
    again = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:7] for row in again] == [row[:7] for row in rows]


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
@pytest.mark.parametrize("outputs", [1, 3])
def test_image_networks_give_one_row_of_logits_per_image(name: str, outputs: int) -> None:
    network = IMAGE_NETWORKS[name](outputs=outputs).eval()
    images = torch.rand(5, 3, 28, 28)
    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(each[None]) for each in images])
    assert together.shape == (5, outputs)
    torch.testing.assert_close(together, alone)


def parameters(network: nn.Module) -> int:
    return sum(each.numel() for each in network.parameters())


def test_at_full_width_they_are_the_published_networks() -> None:
    """The numbers of parameters are those of torchvision's resnet18, densenet121, vgg11_bn."""
    with torch.device("meta"):
        assert parameters(ResNet18(64, 1000, "imagenet")) == 11_689_512
        assert parameters(DenseNet121(32, 1000, stem="imagenet")) == 7_978_856
        assert parameters(Vgg11(64, 1000).features) == 9_225_984


def test_the_embedding_network_reads_codes_and_numbers_by_name() -> None:
    network = EmbeddingNetwork([3, 5], 2).eval()
    codes, numbers = torch.tensor([[0, 4], [2, 0]]), torch.randn(2, 2)
    with torch.no_grad():
        logits = network(x_cat=codes, x_num=numbers)
        swapped = network(x_cat=codes.flip(0), x_num=numbers.flip(0))
    assert logits.shape == (2, 1)
    torch.testing.assert_close(logits.flip(0), swapped)
