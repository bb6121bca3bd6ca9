"""Train the sample networks and write them with their tables, settings and figures.

    python sample_models/build.py [--out DIR]

Rows and weights come from seeds. Training runs on one thread in double precision and the result is
rounded to single, so that the last bits of another processor's arithmetic seldom show: equal
versions of the packages in ``BUILT_WITH`` write equal bytes.
"""

from __future__ import annotations

import argparse
import copy
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from input_rows import LENGTH, jobs_rows, reviews_rows, shapes_rows, text_vocabulary
from jobs.network import Network as JobsNetwork
from rows import PARTS, Rows, loh_raw_rows, loh_rows, zafar_rows
from safetensors.torch import save
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from fairfix.metrics.counts import count
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.performance import balanced_accuracy

HERE = Path(__file__).resolve().parent
WRITTEN = ("val", "test")
BUILT_WITH = "torch", "numpy", "safetensors", "tokenizers", "transformers"
WIDTH, PATIENCE, BATCH, SEED = 32, 6, 256, 0


@dataclass(frozen=True)
class Trained:
    """A network after an epoch, with its optimizer and its loss on the stopping rows."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    epoch: int
    loss: float


@dataclass(frozen=True)
class Sample:
    """A sample: its rows, its untrained network, and what is written.

    Attributes:
        settings: the text of its fairfix.toml.
        spec: the name of its data spec.
        epochs: of training, at most.
        rate: step size.
        written: rows of each table.
    """

    rows: Callable[[], Rows]
    network: Callable[[], nn.Module]
    save: Callable[[Trained, Path], None]
    settings: str
    spec: str = "model.data.json"
    epochs: int = 60
    rate: float = 2e-3
    written: int = 4_000


def relu_network() -> nn.Sequential:
    """Two hidden layers, each with BatchNorm after its activation."""
    return nn.Sequential(
        *(nn.Linear(20, WIDTH), nn.ReLU(), nn.BatchNorm1d(WIDTH)),
        *(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.BatchNorm1d(WIDTH)),
        nn.Linear(WIDTH, 1),
    )


def tanh_network() -> nn.Sequential:
    """Two hidden layers without normalization."""
    return nn.Sequential(
        *(nn.Linear(20, WIDTH), nn.Tanh()),
        *(nn.Linear(WIDTH, WIDTH), nn.Tanh()),
        nn.Linear(WIDTH, 1),
    )


def convolutional_network() -> nn.Sequential:
    """Two convolutions, with BatchNorm on the pixels, which are from 0 to 255."""
    return nn.Sequential(
        nn.BatchNorm2d(3),
        *(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(8 * 9, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1)),
    )


def text_network() -> nn.Module:
    """A BERT of two narrow layers with two labels."""
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=len(text_vocabulary()),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=LENGTH,
            id2label={0: "bad", 1: "good"},
            label2id={"bad": 0, "good": 1},
        )
    )


def logit(network: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """Return the logit (N,) of the favorable label."""
    output = network(*inputs)
    if isinstance(output, Tensor):
        return output.reshape(-1)
    raw: Tensor = output.logits
    return raw[:, 1] - raw[:, 0]


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
    assert isinstance(trained.network, nn.Sequential)
    torch.save(nn.Sequential(*trained.network, nn.Sigmoid()).eval(), folder / "model.pth")


def save_folder(trained: Trained, folder: Path) -> None:
    """The files that transformers writes, and those of a tokenizer of whole words."""
    model = trained.network
    assert isinstance(model, BertForSequenceClassification)
    model.save_pretrained(folder)
    vocabulary = {word: code for code, word in enumerate(text_vocabulary())}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    words.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    PreTrainedTokenizerFast(
        tokenizer_object=words,
        model_max_length=LENGTH,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)


SAMPLES = {
    "loh": Sample(
        loh_rows,
        relu_network,
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
        tanh_network,
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
        relu_network,
        save_whole_network,
        """\
label = "label"
favorable = 1
group = "group"
privileged = "b"
test = "test.csv"
""",
    ),
    "shapes": Sample(
        shapes_rows,
        convolutional_network,
        save_whole_network,
        """\
label = "label"
favorable = "upright"
group = "color"
privileged = "red"
id = "id"
test = "test.csv"
""",
        epochs=6,
        written=1_000,
    ),
    "jobs": Sample(
        jobs_rows,
        JobsNetwork,
        save_safetensors,
        """\
label = "pay"
favorable = "high"
group = "sex"
privileged = "male"
test = "test.csv"
""",
        epochs=20,
    ),
    "reviews": Sample(
        reviews_rows,
        text_network,
        save_folder,
        """\
label = "label"
favorable = "good"
group = "region"
privileged = "south"
test = "test.csv"
""",
        epochs=3,
        rate=1e-2,
    ),
}


def train(
    network: nn.Module, inputs: Sequence[Tensor], labels: Tensor, epochs: int, rate: float
) -> Trained:
    """Fit to the ``fit`` rows; of all epochs, the one with the least loss on ``stop`` is kept."""
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    loss = nn.BCEWithLogitsLoss()
    best = Trained(network, optimizer, 0, float("inf"))
    for epoch in range(1, epochs + 1):
        network.train()
        for batch in torch.split(torch.randperm(PARTS["fit"].stop), BATCH):
            optimizer.zero_grad()
            loss(logit(network, _rows(inputs, batch)), labels[batch]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            stop = loss(logit(network, _rows(inputs, PARTS["stop"])), labels[PARTS["stop"]]).item()
        if stop < best.loss:
            best = copy.deepcopy(Trained(network, optimizer, epoch, stop))
        elif epoch - best.epoch >= PATIENCE:
            break
    best.network.float()
    best.optimizer.load_state_dict(best.optimizer.state_dict())  # rounds it as the weights were
    return best


def _rows(inputs: Sequence[Tensor], rows: slice | Tensor) -> list[Tensor]:
    return [each[rows] for each in inputs]


def build(name: str, sample: Sample, out: Path) -> list[str]:
    """Train and write one sample; its lines of the README's table of figures."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    rows = sample.rows()
    inputs = [torch.from_numpy(each) for each in rows.inputs]
    label, group = torch.from_numpy(rows.label), torch.from_numpy(rows.group)
    torch.manual_seed(SEED)
    network = sample.network()
    trained = train(network, inputs, label.double(), sample.epochs, sample.rate)

    sample.save(trained, folder)
    write(folder / "fairfix.toml", sample.settings)
    if rows.spec is not None:
        write(folder / sample.spec, json.dumps(rows.spec, indent=2) + "\n")
    single = [each.float() if each.is_floating_point() else each for each in inputs]
    with torch.no_grad():
        decisions = logit(trained.network, single) > 0
    figures = []
    for name_of_part in WRITTEN:
        first = PARTS[name_of_part].start
        part = slice(first, first + sample.written)
        table = rows.table[part]
        text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        write(folder / f"{name_of_part}.csv", text)
        if rows.arrays is not None:
            arrays = {key: values[part] for key, values in rows.arrays.items()}
            ids = {f"{key}_ids": table["id"].to_numpy(str) for key in arrays}
            np.savez_compressed(folder / f"{name_of_part}.npz", **arrays, **ids)
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


def versions() -> str:
    """Return the versions that the bytes of the files depend on, one a line."""
    found = {name: version(name).partition("+")[0] for name in BUILT_WITH}
    found["zlib"] = zlib.ZLIB_RUNTIME_VERSION
    return "".join(f"{name} {each}\n" for name, each in found.items())


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
    write(out / "BUILT_WITH", versions())


if __name__ == "__main__":
    main()
