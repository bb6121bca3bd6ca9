"""Models and tables that ``input_combinations.py`` runs commands on.

Each is written as users have them: raw strings, paths of images and texts in a CSV, and the model
in one of several formats.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from architectures import Cnn, DenseNet121, EmbeddingNetwork, ResNet18, Vgg11
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fairfix.bench.datasets.adult import ADULT
from fairfix.bench.download import fetch

ROWS, SIDE = 200, 12
PARTS = {"val": slice(0, 120), "test": slice(120, ROWS)}
SHAPE = 3, SIDE, SIDE
NETWORKS: dict[str, tuple[Callable[..., nn.Module], dict[str, Any]]] = {
    "Cnn": (Cnn, {"side": SIDE, "channels": 4, "hidden": 16}),
    "ResNet18": (ResNet18, {"width": 4}),
    "DenseNet121": (DenseNet121, {"growth": 2}),
    "Vgg11": (Vgg11, {"width": 2, "hidden": 16}),
    "EmbeddingNetwork": (EmbeddingNetwork, {"categories": [3, 4], "numbers": 2}),
    "three classes": (EmbeddingNetwork, {"categories": [3, 4], "numbers": 2, "outputs": 3}),
    "four labels": (EmbeddingNetwork, {"categories": [3, 4], "numbers": 2, "outputs": 4}),
}
CLASSES, LABELS, TARGET = ("deny", "grant", "refer"), ("l0", "l1", "l2", "l3"), 1
HEADS: dict[str, tuple[str, ...]] = {
    "three classes": ("--classes", ",".join(CLASSES), "--favorable", ",".join(CLASSES[1:])),
    "four labels": ("--label", ",".join(LABELS), "--target", LABELS[TARGET]),
}

BARE = "state_dict", "safetensors", "Lightning"
"""Formats of weights without a network."""


@dataclass(frozen=True)
class Place:
    """Files of a combination, and what an independent program needs to repeat its figures.

    Attributes:
        folder, model: where ``val.csv``, ``test.csv`` and the model are.
        tensors: what the network takes for all rows.
        options: inputs and outputs of the network for the command line.
        arch: what reads the model.
        make, arguments: build the network of bare weights.
        roles: further options, of the columns of the table.
        group, privileged: the group column and its privileged value.
        parts: rows of each table.
    """

    folder: Path
    model: Path
    tensors: tuple[Tensor, ...]
    options: tuple[str, ...]
    arch: tuple[str, ...]
    make: Callable[..., nn.Module] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    roles: tuple[str, ...] = ("--privileged", "1")
    group: str = "group"
    privileged: str = "1"
    parts: Mapping[str, slice] = field(default_factory=lambda: PARTS)


def build(folder: Path, inputs: str, name: str, form: str) -> Place:
    """Write the model and the tables of a combination."""
    torch.manual_seed(0)
    if inputs == "adult":
        return adult(folder, form)
    if inputs == "reviews":
        return reviews(folder, in_spec=form == "folder with a data spec")
    return generated(folder, inputs, name, form)


def generated(folder: Path, inputs: str, name: str, form: str) -> Place:
    """Write a model and a table whose labels and groups follow its scores."""
    make, arguments = NETWORKS[name]
    network = make(**arguments).eval()
    draws = np.random.default_rng(0)
    frame = pd.DataFrame({"id": [f"r{row}" for row in range(ROWS)]})
    pixels = draws.integers(0, 256, (ROWS, *SHAPE), dtype=np.uint8)
    values = torch.from_numpy(pixels).float() / 255
    tensors: tuple[Tensor, ...] = (values,)
    options: tuple[str, ...] = ()
    match inputs:
        case "data spec" if name == "Cnn":
            for part, rows in PARTS.items():
                np.save(folder / f"{part}.npy", values[rows].numpy())
            write_spec(folder, {"x": {"kind": "array", "file": "{table}.npy"}})
        case "array":
            for part, rows in PARTS.items():
                np.save(folder / f"{part}.npy", values[rows].numpy())
            options = ("--array", str(folder / "{table}.npy"))
        case "png":
            for row, image in enumerate(pixels):
                Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{row}.png")
            frame["file"] = [f"{row}.png" for row in range(ROWS)]
            options = ("--image", "file")
        case "columns":
            named = pd.DataFrame(values.flatten(1).numpy()).add_prefix("x")
            frame = pd.concat([frame, named], axis=1)
            options = ("--input-shape", ",".join(map(str, SHAPE)))
        case _:
            codes = torch.stack([torch.randint(0, 3, (ROWS,)), torch.randint(0, 4, (ROWS,))], 1)
            numbers = torch.randn(ROWS, 2)
            tensors = codes, numbers
            frame[["a", "b"]], frame[["u", "v"]] = codes.numpy(), numbers.numpy()
            options = ("--codes", "x_cat=a,b", "--features", "x_num=u,v")
            if inputs == "data spec":
                options = ()
                columns = [{"column": each} for each in "ab"]
                entries = [{"column": each} for each in "uv"]
                write_spec(
                    folder,
                    {
                        "x_cat": {"kind": "codes", "columns": columns},
                        "x_num": {"kind": "numbers", "entries": entries},
                    },
                )
    options += HEADS.get(name, ())
    with torch.no_grad():
        outputs = network(*tensors)
        middle = outputs.median(0).values  # half of the decisions are favorable
        [*network.parameters()][-1].sub_(middle)
        outputs = outputs - middle
    noisy = outputs.numpy() + draws.normal(scale=0.1, size=outputs.shape)
    if name == "three classes":
        frame["label"] = np.array(CLASSES)[noisy.argmax(1)]
    elif name == "four labels":
        frame[list(LABELS)] = (noisy > 0).astype(int)
    scores = torch.from_numpy(score(name, outputs))
    ranks = scores.argsort().argsort().numpy() / ROWS + draws.normal(scale=0.3, size=(2, ROWS))
    label, frame["group"] = (ranks > 0.5).astype(int)
    if name not in HEADS:
        frame["label"] = label
    for part, rows in PARTS.items():
        frame[rows].to_csv(folder / f"{part}.csv", index=False)
    model, arch = written(folder, form, network, tensors, make, arguments)
    return Place(folder, model, tensors, options, arch, make, arguments)


def written(
    folder: Path,
    form: str,
    network: nn.Module,
    tensors: tuple[Tensor, ...],
    make: Callable[..., nn.Module],
    arguments: Mapping[str, Any],
) -> tuple[Path, tuple[str, ...]]:
    """Write a network and return its file, and the options that read it."""
    suffix = {"pt2": "pt2", "safetensors": "safetensors", "Lightning": "ckpt"}.get(form, "pt")
    model, state = folder / f"model.{suffix}", network.state_dict()
    if form in BARE:
        if form == "Lightning":
            prefixed = {f"model.{name}": value for name, value in state.items()}
            content = {"pytorch-lightning_version": "2.5.0", "epoch": 1, "state_dict": prefixed}
            torch.save({**content, "hyper_parameters": {**arguments, "rate": 0.1}}, model)
        else:
            (torch.save if form == "state_dict" else save_file)(state, model)
        source = Path(__file__).with_name("architectures.py")
        arch = "--arch", f"{source}:{make.__name__}"
        known = () if form == "Lightning" else ("--arch-args", json.dumps(arguments))
        return model, (*arch, *known)
    if form == "pt2":
        dynamic = tuple({0: torch.export.Dim("rows")} for _ in tensors)
        torch.export.save(torch.export.export(network, tensors, dynamic_shapes=dynamic), model)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that TorchScript is deprecated
            torch.jit.trace(network, tensors).save(str(model))
    return model, ("--trust-checkpoint",)


def adult(folder: Path, form: str) -> Place:
    """Write UCI Adult as raw strings and numbers, and a network that was trained on other rows.

    The network gets codes from 1, with 0 for values that were not known in training, and
    standardized numbers; the data spec beside it says so.
    """
    rows = ADULT.rows([each.path for each in fetch(ADULT)])
    rows = rows.sample(4000, random_state=0, ignore_index=True)
    training, rows = rows[:2800], rows[2800:].reset_index(drop=True)
    names = [*ADULT.categorical, "race", "sex"]
    numeric = [name for name in ADULT.features if name not in names]
    known = {name: sorted(training[name].dropna().unique()) for name in names}
    mean, scale = training[numeric].mean(), training[numeric].std()

    def tensors_of(frame: pd.DataFrame) -> tuple[Tensor, Tensor]:
        codes = [pd.Categorical(frame[name], known[name]).codes + 1 for name in names]
        numbers = ((frame[numeric] - mean) / scale).to_numpy(np.float32)
        return torch.from_numpy(np.stack(codes, 1)).long(), torch.from_numpy(numbers)

    columns = [
        {"column": name, "categories": known[name], "first": 1, "unknown": 0} for name in names
    ]
    entries = [{"column": n, "mean": float(mean[n]), "scale": float(scale[n])} for n in numeric]
    write_spec(
        folder,
        {
            "x_cat": {"kind": "codes", "columns": columns},
            "x_num": {"kind": "numbers", "entries": entries},
        },
    )
    sizes = [1 + len(known[name]) for name in names]
    arguments = {"categories": sizes, "numbers": len(numeric), "hidden": 16}
    network = EmbeddingNetwork(**arguments)
    given = tensors_of(training)
    labels = torch.from_numpy((training["income"] == ADULT.favorable).to_numpy(np.float32))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(60):
        logits = network(*given).flatten()
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
        optimizer.step()
    model, arch = written(folder, form, network.eval(), given, EmbeddingNetwork, arguments)
    parts = {"val": slice(0, 800), "test": slice(800, 1200)}
    rows.insert(0, "id", [f"r{row}" for row in range(len(rows))])
    for part, chosen in parts.items():
        rows[chosen].to_csv(folder / f"{part}.csv", index=False)
    label = "--label", "income", "--favorable", ADULT.favorable
    roles = (*label, "--group", "sex", "--privileged", "Male")
    return Place(
        folder,
        model,
        tensors_of(rows),
        (),
        arch,
        EmbeddingNetwork,
        arguments,
        roles,
        "sex",
        "Male",
        parts,
    )


def reviews(folder: Path, *, in_spec: bool) -> Place:
    """Copy the sample text classifier of transformers with its tokenizer, and some rows."""
    from transformers import AutoTokenizer

    sample = Path(__file__).parents[1] / "sample_models" / "reviews"
    model = folder / "model"
    shutil.copytree(sample, model, ignore=shutil.ignore_patterns("*.csv", "*.toml", "*.data.json"))
    if in_spec:
        shutil.copy(sample / "model.data.json", model)
    frames = []
    for part, rows in PARTS.items():
        frame = pd.read_csv(sample / f"{part}.csv", nrows=rows.stop - rows.start)
        frame.insert(0, "id", [f"{part}{row}" for row in range(len(frame))])
        frame.to_csv(folder / f"{part}.csv", index=False)
        frames.append(frame)
    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    texts = [str(text) for frame in frames for text in frame["text"]]
    tokens = tokenizer(
        texts, padding="max_length", max_length=16, truncation=True, return_tensors="pt"
    )
    options = () if in_spec else ("--text", "text", "--max-length", "16")
    label = "--label", "label", "--favorable", "good"
    return Place(
        folder,
        model,
        (tokens["input_ids"], tokens["attention_mask"]),
        options,
        ("--trust-checkpoint",),
        roles=(*label, "--group", "region", "--privileged", "south"),
        group="region",
        privileged="south",
    )


def write_spec(folder: Path, inputs: dict[str, Any]) -> None:
    """Write the data spec of the folder."""
    spec = {"version": 2, "call": "position", "inputs": inputs}
    (folder / "model.data.json").write_text(json.dumps(spec))


def score(name: str, outputs: Tensor) -> np.ndarray:
    """Return the scores (N,) of outputs (N, K) of a network, which are logits."""
    if name == "three classes":
        found: np.ndarray = outputs.softmax(1)[:, 1:].sum(1).numpy()
    elif name == "Bert":
        found = outputs.softmax(1)[:, 1].numpy()
    elif name == "four labels":
        found = outputs[:, TARGET].sigmoid().numpy()
    else:
        found = outputs.flatten().sigmoid().numpy()
    return found


def scores_of(place: Place, path: Path, name: str, tensors: Sequence[Tensor]) -> np.ndarray:
    """Return the scores (N,) of the network in a file, by torch or transformers alone."""
    network: Any
    if path.is_dir():
        from transformers import AutoModelForSequenceClassification

        model = AutoModelForSequenceClassification.from_pretrained(path, local_files_only=True)
        with torch.no_grad():
            return score(name, model(*tensors).logits)
    if path.suffix == ".pt2":
        network = torch.export.load(path).module()
    else:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network = torch.jit.load(str(path))
        except RuntimeError:
            assert place.make is not None
            network = place.make(**place.arguments).eval()
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path)
            if path.suffix == ".ckpt":
                state = {k.removeprefix("model."): v for k, v in state["state_dict"].items()}
            network.load_state_dict(state)
    with torch.no_grad():
        return score(name, network(*tensors))
