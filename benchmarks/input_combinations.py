"""Run commands on a choice of inputs, networks, file formats and methods.

    python benchmarks/input_combinations.py [NUMBER ...]

Each combination goes through inspect, audit, a method, predict, audit and gate, from files, as a
user would. Scores are recomputed by torch from the files that were written, and gaps by numpy from
the decisions; the same audit is repeated from Python. One line for each says what differs.

UCI Adult is read from ``FAIRFIX_DATA`` or downloaded.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from combination_places import BARE, Place, build, scores_of
from torch import Tensor
from typer.testing import CliRunner

import fairfix
from fairfix.cli.app import app

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
    ("data spec", "four labels", "state_dict", "thresholds"),
    ("array", "Cnn", "state_dict", "adversarial"),
    ("png", "ResNet18", "TorchScript", "layerwise"),
    ("data spec", "EmbeddingNetwork", "state_dict", "prune"),
    ("data spec", "Cnn", "TorchScript", "gda"),
    ("adult", "EmbeddingNetwork", "Lightning", "finetune"),
    ("adult", "EmbeddingNetwork", "state_dict", "prune"),
    ("adult", "EmbeddingNetwork", "Lightning", "blind"),
    ("reviews", "Bert", "folder", "gda"),
    ("reviews", "Bert", "folder with a data spec", "prune"),
    ("reviews", "Bert", "folder with a data spec", "thresholds"),
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


def gap(decisions: np.ndarray, table: pd.DataFrame, place: Place) -> float:
    """Return the statistical parity difference of decisions, unprivileged minus privileged."""
    privileged = (table[place.group].astype(str) == place.privileged).to_numpy()
    return float(decisions[~privileged].mean() - decisions[privileged].mean())


def check(folder: Path, inputs: str, name: str, form: str, method: str) -> list[str]:
    """Return what is wrong with a combination."""
    place, test = build(folder, inputs, name, form), folder / "test.csv"
    table = pd.read_csv(test)
    tensors = [x[place.parts["test"]] for x in place.tensors]
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
        read = *place.roles, "--id", "id", *place.arch, *more
        shown = run("audit", model, test, *read, "--json")
        if not shown:
            return float("nan")
        return float(json.loads(shown)["groups"][place.group]["gaps"]["spd"]["value"])

    run("inspect", place.model, folder / "val.csv", *place.roles, "--id", "id", *given)
    today = scores_of(place, place.model, name, tensors)
    compare("audit", audited(place.model, *place.options), gap(today > 0.5, table, place))
    new = folder / f"new{place.model.suffix}"
    options = *place.roles, "--id", "id", "--allow-trivial", "--metric", "spd"
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
        compare("scores", decided["score"], scores_of(place, new, name, tensors))
    rule = json.loads((folder / "new.rule.json").read_text())
    cut = rule.get("threshold")
    cuts = decided.merge(table, on="id")[place.group].map(
        lambda group: cut if cut is not None else rule["thresholds"][str(group)]
    )
    compare("decisions", decided["decision"], decided["score"] > cuts)
    if method in EXPORTED:
        # A program takes numbers before codes where options name them, as they are declared.
        ordered = tensors[::-1] if inputs == "codes" else tensors
        with torch.no_grad():
            compare("exported program", decided["decision"], favorable(program, ordered, rule))
    has_spec = inputs in ("data spec", "adult") or form == "folder with a data spec"
    if has_spec:
        shown = run(
            *("bench", place.model, folder / "val.csv", "--test", test, *place.arch),
            *(*place.roles, *place.options, "--id", "id", "--method", "identity", "--json"),
            *("-o", folder / "study"),
        )
        compare("bench", bool(shown), True)
    compare("audit after", audited(new), gap(decided["decision"].to_numpy(), table, place))
    run("gate", new, test, *place.arch, "--budget", "spd=0.9", codes=(0, 1, 3))
    if form in BARE:
        arch, arguments = place.arch[1], place.arguments
        case = fairfix.load(new, test, arch=arch, arch_args=arguments, id="id")
    else:
        case = fairfix.load(new, test, trust=True, id="id")
    again = fairfix.audit(case).groups[0].evaluation.gaps["spd"]
    compare("from Python", again, gap(decided["decision"].to_numpy(), table, place))
    return wrong


def favorable(program: Path, tensors: Sequence[Tensor], rule: dict[str, object]) -> np.ndarray:
    """Return the decisions (N,) of an exported program, whose threshold is that of its output."""
    outputs = torch.export.load(program).module()(*tensors)
    if rule["output"] == "two logits":
        return (outputs[:, 1] > outputs[:, 0]).numpy()
    return (outputs.flatten() > (0.0 if rule["output"] == "logit" else 0.5)).numpy()


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
