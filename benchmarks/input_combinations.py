"""Run commands on a choice of inputs, networks, file formats and methods.

    python benchmarks/input_combinations.py [NUMBER ...]

Each combination goes through inspect, audit, a method, predict, audit and gate, from files, as a
user would. Scores are recomputed by torch from the files that were written, and gaps by numpy from
the decisions; the same audit is repeated from Python. One line for each says what differs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from architectures import Cnn, DenseNet121, EmbeddingNetwork, ResNet18, Vgg11
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from typer.testing import CliRunner

import fairfix
from fairfix.cli.app import app

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
# Each input, network, format and method meets several of the others.
COMBINATIONS = [
    ("array", "Cnn", "state_dict", "prune"),
    ("array", "ResNet18", "pt2", "gda"),
    ("array", "DenseNet121", "TorchScript", "thresholds"),
    ("array", "Vgg11", "safetensors", "finetune"),
    ("png", "Cnn", "pt2", "blind"),
    ("png", "ResNet18", "safetensors", "perturb"),
    ("png", "Vgg11", "TorchScript", "prune"),
    ("png", "DenseNet121", "state_dict", "finetune"),
    ("columns", "Cnn", "TorchScript", "gda"),
    ("columns", "ResNet18", "state_dict", "thresholds"),
    ("columns", "Vgg11", "pt2", "prune"),
    ("codes", "EmbeddingNetwork", "state_dict", "gda"),
    ("codes", "EmbeddingNetwork", "safetensors", "blind"),
    ("data spec", "EmbeddingNetwork", "TorchScript", "layerwise"),
    ("codes", "EmbeddingNetwork", "pt2", "finetune"),
    ("codes", "three classes", "state_dict", "adversarial"),
    ("data spec", "three classes", "TorchScript", "finetune"),
    ("codes", "four labels", "pt2", "prune"),
    ("codes", "four labels", "safetensors", "perturb"),
    ("array", "Cnn", "state_dict", "adversarial"),
    ("png", "ResNet18", "TorchScript", "layerwise"),
    ("data spec", "EmbeddingNetwork", "state_dict", "prune"),
    ("data spec", "Cnn", "TorchScript", "gda"),
]
QUICK = {
    "prune": ("--max-units", "4"),
    "gda": ("--epochs", "1"),
    "finetune": ("--steps", "4"),
    "perturb": ("--trials", "4"),
    "layerwise": ("--calls", "2", "--dims", "3"),
    "adversarial": ("--rounds", "1", "--critic-steps", "4", "--network-steps", "4"),
}
EXPORTED = ("prune", "gda", "finetune", "perturb", "layerwise", "adversarial")
"""Methods with one threshold on the score of the network, which a program can hold."""


@dataclass(frozen=True)
class Place:
    """Files of a combination, and the tensors that its network takes."""

    folder: Path
    model: Path
    tensors: tuple[Tensor, ...]
    options: tuple[str, ...]
    arch: tuple[str, ...]


def build(folder: Path, inputs: str, name: str, form: str) -> Place:
    """Write a model and a table whose labels and groups follow its scores."""
    torch.manual_seed(0)
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
    model = folder / f"model.{ {'pt2': 'pt2', 'safetensors': 'safetensors'}.get(form, 'pt') }"
    arch: tuple[str, ...] = ("--trust-checkpoint",)
    if form in ("state_dict", "safetensors"):
        (torch.save if form == "state_dict" else save_file)(network.state_dict(), model)
        source = Path(__file__).with_name("architectures.py")
        arch = ("--arch", f"{source}:{make.__name__}", "--arch-args", json.dumps(arguments))
    elif form == "pt2":
        dynamic = tuple({0: torch.export.Dim("rows")} for _ in tensors)
        program = torch.export.export(network, tensors, dynamic_shapes=dynamic)
        torch.export.save(program, model)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that TorchScript is deprecated
            torch.jit.trace(network, tensors).save(str(model))
    return Place(folder, model, tensors, options, arch)


def write_spec(folder: Path, inputs: dict[str, Any]) -> None:
    """Write the data spec of the folder."""
    spec = {"version": 2, "call": "position", "inputs": inputs}
    (folder / "model.data.json").write_text(json.dumps(spec))


def score(name: str, outputs: Tensor) -> np.ndarray:
    """Return the scores (N,) of outputs (N, K) of a network, which are logits."""
    if name == "three classes":
        found: np.ndarray = outputs.softmax(1)[:, 1:].sum(1).numpy()
    elif name == "four labels":
        found = outputs[:, TARGET].sigmoid().numpy()
    else:
        found = outputs.flatten().sigmoid().numpy()
    return found


def scores_of(path: Path, name: str, tensors: Sequence[Tensor]) -> np.ndarray:
    """Return the scores (N,) of the network in a file, by torch alone."""
    make, arguments = NETWORKS[name]
    network: Any
    if path.suffix == ".pt2":
        network = torch.export.load(path).module()
    else:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network = torch.jit.load(str(path))
        except RuntimeError:
            network = make(**arguments).eval()
            is_plain = path.suffix == ".safetensors"
            network.load_state_dict(load_file(path) if is_plain else torch.load(path))
    with torch.no_grad():
        return score(name, network(*tensors))


def gap(decisions: np.ndarray, table: pd.DataFrame) -> float:
    """Return the statistical parity difference of decisions, group 0 minus group 1."""
    first, second = (decisions[table["group"] == group].mean() for group in (0, 1))
    return float(first - second)


def check(folder: Path, inputs: str, name: str, form: str, method: str) -> list[str]:
    """Return what is wrong with a combination."""
    place, test = build(folder, inputs, name, form), folder / "test.csv"
    table = pd.read_csv(test)
    tensors = [x[PARTS["test"]] for x in place.tensors]
    given = (*place.options, *place.arch)
    wrong: list[str] = []

    def run(*arguments: object, codes: Sequence[int] = (0,)) -> str:
        ended = CliRunner().invoke(app, [str(each) for each in arguments])
        if ended.exit_code not in codes:
            wrong.append(f"{arguments[0]}: exit {ended.exit_code}: {ended.stderr.strip()[-300:]}")
        return ended.stdout

    def compare(what: str, found: object, expected: object) -> None:
        if not np.allclose(found, expected, atol=2e-5):  # type: ignore[arg-type]
            wrong.append(f"{what}: {found}, not {expected}")

    def audited(model: Path, *more: str) -> float:
        read = "--privileged", "1", "--id", "id", *place.arch, *more
        shown = run("audit", model, test, *read, "--json")
        if not shown:
            return float("nan")
        return float(json.loads(shown)["groups"]["group"]["gaps"]["spd"]["value"])

    run("inspect", place.model, folder / "val.csv", "--id", "id", *given)
    today = scores_of(place.model, name, tensors)
    compare("audit", audited(place.model, *place.options), gap(today > 0.5, table))
    new = folder / f"new{place.model.suffix}"
    options = "--privileged", "1", "--id", "id", "--allow-trivial", "--metric", "spd"
    more, program = QUICK.get(method, ()), folder / "program.pt2"
    if method in EXPORTED:
        more = (*more, "--export", str(program))
    run(
        *(method, place.model, folder / "val.csv", *given, *options, *more),
        *("--budget", "0.2", "--test", test, "-o", new),
    )
    if wrong:
        return wrong
    written = folder / "predicted.csv"
    run("predict", new, test, *place.arch, "-o", written)
    decided = pd.read_csv(written)
    if method != "blind":
        compare("scores", decided["score"], scores_of(new, name, tensors))
    rule = json.loads((folder / "new.rule.json").read_text())
    cut = rule.get("threshold")
    cuts = decided.merge(table, on="id")["group"].map(
        lambda group: cut if cut is not None else rule["thresholds"][str(group)]
    )
    compare("decisions", decided["decision"], decided["score"] > cuts)
    if method in EXPORTED:
        # A program takes numbers before codes where options name them, as they are declared.
        ordered = tensors[::-1] if inputs == "codes" else tensors
        with torch.no_grad():
            found = torch.export.load(program).module()(*ordered).flatten().numpy()
        cut = 0.0 if rule["output"] == "logit" else 0.5
        compare("exported program", decided["decision"], found > cut)
    if inputs == "data spec" and name not in HEADS:
        shown = run(
            *("bench", place.model, folder / "val.csv", "--test", test, *place.arch),
            *("--privileged", "1", "--id", "id", "--method", "identity", "--json"),
            *("-o", folder / "study"),
        )
        compare("bench", bool(shown), True)
    compare("audit after", audited(new), gap(decided["decision"].to_numpy(), table))
    run("gate", new, test, *place.arch, "--budget", "spd=0.9", codes=(0, 1, 3))
    if form in ("state_dict", "safetensors"):
        arch, arguments = place.arch[1], NETWORKS[name][1]
        case = fairfix.load(new, test, arch=arch, arch_args=arguments, id="id")
    else:
        case = fairfix.load(new, test, trust=True, id="id")
    again = fairfix.audit(case).groups[0].evaluation.gaps["spd"]
    compare("from Python", again, gap(decided["decision"].to_numpy(), table))
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all combinations, or those of the given numbers; return how many fail."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("numbers", nargs="*", type=int, help="from 0; default: all")
    chosen = parser.parse_args(arguments).numbers or range(len(COMBINATIONS))
    failed = 0
    for number in chosen:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            wrong = check(Path(folder), *COMBINATIONS[number])
        failed += bool(wrong)
        took = f"{time.perf_counter() - start:.0f} s"
        print(number, *COMBINATIONS[number], took, "; ".join(wrong) or "ok", flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
