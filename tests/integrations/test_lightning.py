"""The Lightning callback in training."""

from __future__ import annotations

import sys
from importlib import reload
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("lightning", reason="lightning is not installed")

from lightning import pytorch as lightning

from fairfix.integrations import lightning as integration
from fairfix.integrations.lightning import GapCallback
from fairfix.integrations.torchmetrics import GroupGap

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning about workers and cores


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Linear(3, 1)
        with torch.no_grad():
            self.network.weight.copy_(torch.tensor([-3.0, 1.0, 1.0]))  # the gap changes much

    def training_step(self, batch: Any, _: int) -> Tensor:
        x, label, _group = batch
        logits = self.network(x)[:, 0]
        return nn.functional.binary_cross_entropy_with_logits(logits, label.float())

    def validation_step(self, batch: Any, _: int) -> Tensor:
        scores: Tensor = self.network(batch[0])[:, 0].sigmoid()
        return scores

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.5)


def dataset() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 3, generator=generator)
    groups = torch.randint(2, (400,), generator=generator)
    x[:, 0] += groups
    return TensorDataset(x, (x.sum(1) > 0.5).long(), groups)


class Seen(lightning.Callback):
    """Keeps what was logged after each epoch."""

    def __init__(self) -> None:
        self.logged: list[dict[str, float]] = []
        self.expected: list[float] = []

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        x, label, groups = dataset().tensors
        gap = GroupGap("eod", groups=["f", "m"])
        gap.update(pl_module.validation_step((x,), 0), label, groups)
        self.logged.append({name: float(v) for name, v in trainer.callback_metrics.items()})
        self.expected.append(float(gap.compute()))


def test_every_epoch_logs_gap_and_interval(tmp_path: Any) -> None:
    seen = Seen()
    callback = GapCallback(
        lambda scores, batch: (scores, batch[1], batch[2]), "eod", groups=["f", "m"]
    )
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[callback, seen],
        default_root_dir=tmp_path,
    )
    loader = DataLoader(dataset(), batch_size=150)
    trainer.fit(Module(), loader, loader)
    assert [each["val_eod"] for each in seen.logged] == pytest.approx(seen.expected, abs=1e-6)
    assert len(set(seen.expected)) == 2
    for each in seen.logged:
        assert each["val_eod_low"] < each["val_eod"] < each["val_eod_high"]


def test_without_the_package_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    with pytest.raises(ImportError, match=r"pip install 'fairfix\[lightning\]'"):
        reload(integration)
