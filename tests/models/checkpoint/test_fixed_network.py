"""A whole quantized network is run, and its file is kept as it is."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import fairfix
from fairfix.errors import CheckpointError, TrustError
from fairfix.models import checkpoint as checkpoints
from fairfix.models.checkpoint import weights_sha256

ROWS = 120


@pytest.fixture
def quantized(tmp_path: Path) -> Path:
    """A dynamically quantized network and a table beside it."""
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that torch.ao is deprecated
        packed = torch.ao.quantization.quantize_dynamic(network.eval(), {nn.Linear})
    torch.save(packed, tmp_path / "q.pt")
    x = torch.randn(ROWS, 3, generator=generator)
    rows = pd.DataFrame(x.numpy(), columns=["a", "b", "c"])
    rows["group"] = [0, 1] * (ROWS // 2)
    rows["label"] = (expected(packed, x) + torch.randn(ROWS, generator=generator) > 0).int().numpy()
    rows.to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path


@torch.no_grad()
def expected(network: nn.Module, x: Tensor) -> Tensor:
    output: Tensor = network(x)[:, 0]
    return output


def test_scores_are_those_of_the_quantized_network(quantized: Path) -> None:
    case = fairfix.load(quantized / "q.pt", quantized / "rows.csv", trust=True, privileged="1")
    network = torch.load(quantized / "q.pt", weights_only=False)
    assert case.problem.features is not None
    assert torch.equal(case.problem.scores, expected(network, case.problem.features).sigmoid())
    assert case.output == "logit"


def test_a_method_of_thresholds_keeps_the_file(quantized: Path) -> None:
    case = fairfix.load(quantized / "q.pt", quantized / "rows.csv", trust=True, privileged="1")
    outcome = fairfix.debias(case, "thresholds")
    written = fairfix.save(outcome, quantized / "out.pt", allow_trivial=True)
    assert written.model is not None
    assert written.model.read_bytes() == (quantized / "q.pt").read_bytes()
    predicted = fairfix.predict(written.model, quantized / "rows.csv", trust=True)
    assert len(predicted.decisions) == ROWS


@pytest.mark.parametrize("method", ["prune", "gda", "perturb", "layerwise", "adversarial"])
def test_a_method_of_weights_is_refused(quantized: Path, method: str) -> None:
    case = fairfix.load(quantized / "q.pt", quantized / "rows.csv", trust=True, privileged="1")
    with pytest.raises(CheckpointError, match=r"quantized, so its weights cannot be changed; use"):
        fairfix.debias(case, method)


def test_folding_is_refused(quantized: Path) -> None:
    case = fairfix.load(quantized / "q.pt", quantized / "rows.csv", trust=True, privileged="1")
    with pytest.raises(CheckpointError, match="cannot be changed"):
        fairfix.debias(case, "identity", fold_threshold=True, budget=0.9)


def test_other_weights_have_another_hash(quantized: Path) -> None:
    def digest() -> str:
        return weights_sha256(checkpoints.read(quantized / "q.pt", trust=True).tensors)

    before = digest()
    network = torch.load(quantized / "q.pt", weights_only=False)
    weight, bias = network[2]._weight_bias()
    network[2].set_weight_bias(weight, bias + 1)
    torch.save(network, quantized / "q.pt")
    assert digest() != before


def test_it_needs_trust(quantized: Path) -> None:
    with pytest.raises(TrustError, match="--trust-checkpoint"):
        checkpoints.read(quantized / "q.pt")


def test_that_scores_depend_on_the_batch_is_said(quantized: Path) -> None:
    notes = checkpoints.read(quantized / "q.pt", trust=True).notes
    assert any("a row depends a little on the other rows" in note for note in notes)
