"""Measure fairif against its control on CelebA or FairFace with a ResNet-18 (Wang et al. 2023).

    python benchmarks/faces.py celeba FOLDER --label Smiling --group Male
    python benchmarks/faces.py fairface FOLDER --label gender --favorable Female --group race

FOLDER holds a data set as published; fairfix neither ships nor downloads it:

- CelebA: ``img_align_celeba/``, ``list_attr_celeba.txt`` and ``list_eval_partition.txt``, which
  says which images are for training, validation and tests.
- FairFace: ``train/``, ``val/``, ``fairface_label_train.csv`` and ``fairface_label_val.csv``. Its
  validation images are the test images here, a fifth of its training images those for validation.

A ResNet-18 is trained, with ``--weights`` from those of torchvision, and kept in ``--folder``. Then
the study of ``w23.py`` is run on it: accuracy, AD in percent, AOD and EOD on test images of the
unmodified network, the retuned threshold, fairif and its control. ``--share`` leaves methods that
share of the validation images, as the paper's table 4.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import w23
from architectures import ResNet18
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import fairfix
from fairfix.data.problem import Problem
from fairfix.models.inputs import Inputs
from fairfix.models.scorer import Output, Scorer

FOLDER = Path(__file__).resolve().parents[1] / "build" / "faces"
PARTS = "train", "val", "test"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Tables = Mapping[str, pd.DataFrame]
"""The images for training, validation and tests: columns ``file``, ``label`` (0, 1), ``group``."""


@dataclass(frozen=True)
class Columns:
    """What is predicted, and the groups: columns of the data set.

    Attributes:
        favorable: the value of ``label`` that is 1.
    """

    label: str
    group: str
    favorable: str = "1"

    def table(self, files: pd.Series, source: pd.DataFrame) -> pd.DataFrame:
        """Return the images of a table of the data set."""
        label = (source[self.label] == self.favorable).astype(int)
        kept = {"file": files, "label": label, "group": source[self.group]}
        return pd.DataFrame({name: values.to_numpy() for name, values in kept.items()})


@dataclass(frozen=True)
class Training:
    """How the network is trained: by Adam on cross-entropy.

    Attributes:
        width: channels of the first stage; 64 is the published network.
        side: height and width to which the images are resized.
        weights: a state_dict of torchvision's ResNet-18 to start from.
    """

    width: int = 64
    side: int = 224
    epochs: int = 10
    learning_rate: float = 1e-4
    batch: int = 64
    weights: Path | None = None

    def network(self) -> nn.Module:
        """Return the network before it is trained."""
        network = ResNet18(self.width, stem="imagenet")
        if self.weights is not None:
            given = torch.load(self.weights, weights_only=True)
            network.load_state_dict(
                {name: value for name, value in given.items() if not name.startswith("fc.")},
                strict=False,
            )
        return network

    def run(self, network: nn.Module, inputs: Inputs, labels: Tensor) -> None:
        """Train the network, which is in evaluation mode again afterwards."""
        optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        network.train()
        for _ in range(self.epochs):
            for rows in torch.randperm(len(labels)).split(self.batch):
                optimizer.zero_grad()
                logits = inputs.batch(rows).call(network).squeeze(1)
                binary_cross_entropy_with_logits(logits, labels[rows].float()).backward()
                optimizer.step()
        network.eval()


def celeba(folder: Path, columns: Columns, seed: int) -> Tables:
    """Return the images of CelebA in its own three parts; attributes are 1 or -1."""
    attributes = pd.read_csv(folder / "list_attr_celeba.txt", sep=r"\s+", skiprows=1, dtype=str)
    parts = pd.read_csv(folder / "list_eval_partition.txt", sep=r"\s+", header=None, index_col=0)
    numbers = parts[1].loc[attributes.index].to_numpy()
    table = columns.table("img_align_celeba/" + attributes.index.to_series(), attributes)
    return {name: table[numbers == number] for number, name in enumerate(PARTS)}


def fairface(folder: Path, columns: Columns, seed: int) -> Tables:
    """Return the images of FairFace; a fifth of those for training are for validation."""
    learned, test = (
        columns.table(source["file"], source)
        for source in (
            pd.read_csv(folder / f"fairface_label_{part}.csv", dtype=str)
            for part in ("train", "val")
        )
    )
    chosen = np.random.default_rng(seed).permutation(len(learned)) < len(learned) // 5
    return {"train": learned[~chosen], "val": learned[chosen], "test": test}


DATA_SETS: Mapping[str, Callable[[Path, Columns, int], Tables]] = {
    "celeba": celeba,
    "fairface": fairface,
}


def problems(
    tables: Tables, root: Path, training: Training, seed: int, folder: Path
) -> tuple[Problem, Problem]:
    """Return validation images, with training images, and test images of a trained network.

    Args:
        root: folder of the images.
        folder: where decoded images and the trained network are kept.
    """
    torch.manual_seed(seed)
    images = {"image": "file", "image_root": root, "image_size": training.side, "cache": folder}
    how: dict[str, Any] = {"inputs": images | {"image_mean": MEAN, "image_std": STD}}
    how["output_kind"] = "logit"
    if tables["test"]["group"].nunique() == 2:
        how["privileged"] = tables["test"]["group"].mode()[0]
    untrained = training.network()
    validation = fairfix.load(untrained, tables["val"], train=tables["train"], **how).problem
    test = fairfix.load(untrained, tables["test"], **how).problem
    rows = validation.training
    assert validation.scorer is not None
    assert rows is not None
    network = validation.scorer.network
    described = "\n".join([repr(training), str(seed), tables["train"].to_csv()])
    path = folder / f"{hashlib.sha256(described.encode()).hexdigest()[:32]}.safetensors"
    if path.is_file():
        load_model(network, path)
    else:
        training.run(network, rows.inputs, rows.labels)
        save_model(network, str(path))
    scorer = Scorer(network, Output.LOGIT, batch_size=training.batch)
    rows = replace(rows, scores=scorer.score(rows.inputs))
    validation, test = (
        replace(each, scorer=scorer, scores=scorer.score(each.network()[1]))
        for each in (validation, test)
    )
    return replace(validation, training=rows), test


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study on a data set and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data_set", choices=DATA_SETS)
    parser.add_argument("images", type=Path, help="folder of the data set")
    parser.add_argument("--label", required=True, help="column that is predicted")
    parser.add_argument("--favorable", default="1", help="its value that counts as 1")
    parser.add_argument("--group", required=True, help="column of the groups")
    parser.add_argument("--weights", type=Path, help="state_dict of torchvision's ResNet-18")
    parser.add_argument("--width", type=int, default=Training.width, help="of the first stage")
    parser.add_argument("--side", type=int, default=Training.side, help="of the images")
    parser.add_argument("--epochs", type=int, default=Training.epochs)
    parser.add_argument("--learning-rate", type=float, default=Training.learning_rate)
    parser.add_argument("--share", type=float, default=1.0, help="of the validation images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of networks and pixels")
    given = parser.parse_args(arguments)
    columns = Columns(given.label, given.group, given.favorable)
    training = Training(
        given.width, given.side, given.epochs, given.learning_rate, weights=given.weights
    )
    rows = []
    for seed in given.seeds:
        tables = DATA_SETS[given.data_set](given.images, columns, seed)
        validation, test = problems(tables, given.images, training, seed, given.folder)
        found = w23.measured(w23.shared(validation, given.share, seed), test, seed)
        for arm, figures in found.items():
            rows.append([str(seed), arm, *(f"{figures[name]:.4f}" for name in w23.FIGURES)])
    print(w23.table(["seed", "model", *w23.FIGURES], rows))


if __name__ == "__main__":
    main()
