"""Train the sample networks and write them with their tables, settings and figures.

    python sample_models/build.py [--out DIR]

Rows and weights come from seeds. Training runs on one thread in double precision and the result is
rounded to single, so that the last bits of another processor's arithmetic seldom show: equal
versions of torch and numpy write equal bytes.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rows import PARTS, Rows, loh_raw_rows, loh_rows, zafar_rows
from safetensors.torch import save
from torch import Tensor, nn

from fairfix.metrics.counts import count
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.performance import balanced_accuracy

HERE = Path(__file__).resolve().parent
WRITTEN = ("val", "test")
WIDTH, EPOCHS, PATIENCE, BATCH, RATE, SEED = 32, 60, 6, 256, 2e-3, 0


@dataclass(frozen=True)
class Trained:
    """A network after an epoch, with its optimizer and its loss on the stopping rows."""

    network: nn.Sequential
    optimizer: torch.optim.Optimizer
    epoch: int
    loss: float


@dataclass(frozen=True)
class Sample:
    """A sample: its rows, a hidden block of its network, and what is written.

    ``settings`` is the text of its fairfix.toml.
    """

    rows: Callable[[], Rows]
    block: Callable[[int, int], tuple[nn.Module, ...]]
    save: Callable[[Trained, Path], None]
    settings: str


def relu_block(inputs: int, width: int) -> tuple[nn.Module, ...]:
    """A hidden layer with BatchNorm after its activation."""
    return nn.Linear(inputs, width), nn.ReLU(), nn.BatchNorm1d(width)


def tanh_block(inputs: int, width: int) -> tuple[nn.Module, ...]:
    """A hidden layer without normalization."""
    return nn.Linear(inputs, width), nn.Tanh()


def save_training_dictionary(trained: Trained, folder: Path) -> None:
    """What a training loop saves to go on from."""
    torch.save(
        {
            "model_state_dict": trained.network.state_dict(),
            "optimizer_state_dict": trained.optimizer.state_dict(),
            "epoch": trained.epoch,
        },
        folder / "model.pt",
    )


def save_safetensors(trained: Trained, folder: Path) -> None:
    """Weights with metadata: one entry, as safetensors leaves the order of several to chance."""
    training = json.dumps({"epoch": trained.epoch, "stopping_loss": round(trained.loss, 4)})
    stored = save(trained.network.state_dict(), {"training": training})
    (folder / "model.safetensors").write_bytes(stored)


def save_whole_network(trained: Trained, folder: Path) -> None:
    """The network itself, ending in the sigmoid that training does without."""
    torch.save(nn.Sequential(*trained.network, nn.Sigmoid()).eval(), folder / "model.pth")


SAMPLES = {
    "loh": Sample(
        loh_rows,
        relu_block,
        save_training_dictionary,
        """\
label = "label"
favorable = 1
group = "group"
privileged = 1
test = "test.csv"
arch = "mlp:relu-bn"
""",
    ),
    "zafar": Sample(
        zafar_rows,
        tanh_block,
        save_safetensors,
        """\
label = "outcome"
favorable = "granted"
group = "sex"
privileged = "male"
test = "test.csv"
arch = "mlp:tanh"
""",
    ),
    "loh_raw": Sample(
        loh_raw_rows,
        relu_block,
        save_whole_network,
        """\
label = "label"
favorable = 1
group = "group"
privileged = "b"
test = "test.csv"
""",
    ),
}


def train(network: nn.Sequential, inputs: Tensor, labels: Tensor) -> Trained:
    """Fit to the ``fit`` rows; of all epochs, the one with the least loss on ``stop`` is kept."""
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    loss = nn.BCEWithLogitsLoss()
    best = Trained(network, optimizer, 0, float("inf"))
    for epoch in range(1, EPOCHS + 1):
        network.train()
        for batch in torch.split(torch.randperm(PARTS["fit"].stop), BATCH):
            optimizer.zero_grad()
            loss(network(inputs[batch]).squeeze(1), labels[batch]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            stop = loss(network(inputs[PARTS["stop"]]).squeeze(1), labels[PARTS["stop"]]).item()
        if stop < best.loss:
            best = copy.deepcopy(Trained(network, optimizer, epoch, stop))
        elif epoch - best.epoch >= PATIENCE:
            break
    best.network.float()
    best.optimizer.load_state_dict(best.optimizer.state_dict())  # rounds it as the weights were
    return best


def build(name: str, sample: Sample, out: Path) -> list[str]:
    """Train and write one sample; its lines of the README's table of figures."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    rows = sample.rows()
    inputs, label, group = map(torch.from_numpy, (rows.inputs, rows.label, rows.group))
    torch.manual_seed(SEED)
    first, second = sample.block(inputs.shape[1], WIDTH), sample.block(WIDTH, WIDTH)
    network = nn.Sequential(*first, *second, nn.Linear(WIDTH, 1))
    trained = train(network, inputs, label.to(inputs))

    sample.save(trained, folder)
    write(folder / "fairfix.toml", sample.settings)
    if rows.spec is not None:
        write(folder / "model.data.json", json.dumps(rows.spec, indent=2) + "\n")
    with torch.no_grad():
        decisions = trained.network(inputs.float()).squeeze(1).sigmoid() > 0.5
    figures = []
    for name_of_part in WRITTEN:
        part = PARTS[name_of_part]
        table = rows.table[part]
        text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        write(folder / f"{name_of_part}.csv", text)
        counts = count(decisions[part], label[part], group[part], 2)
        accuracy, gap = (
            balanced_accuracy(counts.total()).item(),
            METRICS["spd"](counts).value.item(),
        )
        figures.append(f"| {name} | {name_of_part} | {len(table)} | {accuracy:.3f} | {gap:+.3f} |")
    return figures


def write(path: Path, text: str) -> None:
    """Write text, the same bytes on every system."""
    path.write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    """Build every sample, then the README with their figures."""
    parser = argparse.ArgumentParser(description="Train the sample networks.")
    parser.add_argument("--out", type=Path, default=HERE, help="default: beside this script")
    out: Path = parser.parse_args().out
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    figures = [line for name, sample in SAMPLES.items() for line in build(name, sample, out)]
    readme = (HERE / "README.template").read_text(encoding="utf-8")
    write(out / "README.md", readme.replace("{figures}", "\n".join(figures)))
    versions = f"torch {torch.__version__.partition('+')[0]}\nnumpy {np.__version__}\n"
    write(out / "BUILT_WITH", versions)


if __name__ == "__main__":
    main()
