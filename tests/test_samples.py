"""The sample models: what their README claims, by plain torch and pandas and through fairfix."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import fairfix
from fairfix.cli.settings import load_settings
from fairfix.data.spec import find_spec
from fairfix.data.table import Columns, Table, read_table
from fairfix.metrics.counts import count
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.models import checkpoint
from fairfix.models.inputs import Batch
from fairfix.models.run_network import Reading, make_scorer
from fairfix.models.scorer import Output
from tests.helpers.paths import ROOT

SAMPLES = ROOT / "sample_models"
NOT_BUILT = {"build.py", "rows.py", "input_rows.py", "jobs/network.py", "README.template"}
MODELS = {
    "loh": "model.pt",
    "zafar": "model.safetensors",
    "loh_raw": "model.pth",
    "shapes": "model.pth",
    "jobs": "model.safetensors",
    "reviews": "",
}
PARTS = [(name, part) for name in MODELS for part in ("val", "test")]
FLAT = ("loh", "zafar", "loh_raw")
FLAT_PARTS = [(name, part) for name in FLAT for part in ("val", "test")]
HIDDEN = 32


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and ".debiased." not in path.name
    }


def claims() -> dict[tuple[str, str], tuple[int, float, float]]:
    """From the README: (sample, rows) to (n, balanced accuracy, statistical parity difference)."""
    lines = (SAMPLES / "README.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {
        (row[0], row[1]): (int(row[2]), float(row[3]), float(row[4]))
        for row in cells
        if row[0] in MODELS
    }


# Plain torch and pandas: scores, labels and privileged rows without fairfix.


def loh_by_hand(table: pd.DataFrame, part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    network = nn.Sequential(
        nn.Linear(20, HIDDEN),
        nn.ReLU(),
        nn.BatchNorm1d(HIDDEN),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.BatchNorm1d(HIDDEN),
        nn.Linear(HIDDEN, 1),
    )
    saved = torch.load(SAMPLES / "loh" / "model.pt", weights_only=True)
    network.load_state_dict(saved["model_state_dict"])
    inputs = table.drop(columns=["label", "group"])
    return run(network, inputs).sigmoid().numpy(), table["label"] == 1, table["group"] == 1


def zafar_by_hand(table: pd.DataFrame, part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    network = nn.Sequential(
        nn.Linear(20, HIDDEN),
        nn.Tanh(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.Tanh(),
        nn.Linear(HIDDEN, 1),
    )
    network.load_state_dict(load_file(SAMPLES / "zafar" / "model.safetensors"))
    inputs = table.drop(columns=["outcome", "sex"])
    scores = run(network, inputs).sigmoid().numpy()
    return scores, table["outcome"] == "granted", table["sex"] == "male"


def loh_raw_by_hand(table: pd.DataFrame, part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    network = torch.load(SAMPLES / "loh_raw" / "model.pth", weights_only=False)
    spec = json.loads((SAMPLES / "loh_raw" / "model.data.json").read_text())["features"]
    words = table.assign(X5=table["X5"] == "yes", group=table["group"] == "b")
    encoded = pd.get_dummies(words, columns=["X6"], dtype=float)
    order = [f"X{i}" for i in range(1, 6)]
    order += [f"X6_c{category}" for category in range(10)]
    order += [*(f"X{i}" for i in range(7, 11)), "group"]
    mean, scale = (np.hstack([entry[key] for entry in spec]) for key in ("mean", "scale"))
    inputs = (encoded[order].astype(float) - mean) / scale
    return run(network, inputs).numpy(), table["label"] == 1, table["group"] == "b"


def shapes_by_hand(table: pd.DataFrame, part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    network = torch.load(SAMPLES / "shapes" / "model.pth", weights_only=False)
    stored = np.load(SAMPLES / "shapes" / f"{part}.npz")
    assert stored["pixels_ids"].tolist() == table["id"].tolist()
    with torch.no_grad():
        scores = network(torch.from_numpy(stored["pixels"]).float()).squeeze(1).numpy()
    return scores, table["label"] == "upright", table["color"] == "red"


def jobs_by_hand(table: pd.DataFrame, part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    network = import_file(SAMPLES / "jobs" / "network.py").Network()
    network.load_state_dict(load_file(SAMPLES / "jobs" / "model.safetensors"))
    spec = json.loads((SAMPLES / "jobs" / "model.data.json").read_text())["inputs"]
    codes = [
        table[column["column"]].map({word: 1 + i for i, word in enumerate(column["categories"])})
        for column in spec["x_cat"]["columns"]
    ]
    numbers = [(table[e["column"]] - e["mean"]) / e["scale"] for e in spec["x_num"]["entries"]]
    x_cat = torch.from_numpy(np.column_stack(codes))
    x_num = torch.from_numpy(np.column_stack(numbers)).float()
    with torch.no_grad():
        scores = network.eval()(x_cat=x_cat, x_num=x_num).sigmoid().numpy()
    return scores, table["pay"] == "high", table["sex"] == "male"


def reviews_by_hand(table: pd.DataFrame, part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    transformers = pytest.importorskip("transformers")
    folder = SAMPLES / "reviews"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, local_files_only=True
    )
    texts = table["text"].tolist()
    encoded = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
    inputs = {name: encoded[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        scores = network.eval()(**inputs).logits.softmax(1)[:, 1].numpy()
    return scores, table["label"] == "good", table["region"] == "south"


BY_HAND: dict[str, Callable[[pd.DataFrame, str], tuple[np.ndarray, np.ndarray, np.ndarray]]] = {
    "loh": loh_by_hand,
    "zafar": zafar_by_hand,
    "loh_raw": loh_raw_by_hand,
    "shapes": shapes_by_hand,
    "jobs": jobs_by_hand,
    "reviews": reviews_by_hand,
}


@torch.no_grad()
def run(network: nn.Module, inputs: pd.DataFrame) -> torch.Tensor:
    return network.eval()(torch.tensor(inputs.to_numpy(np.float32))).squeeze(1)


@cache
def by_hand(name: str, part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = pd.read_csv(SAMPLES / name / f"{part}.csv")
    scores, favorable, privileged = BY_HAND[name](table, part)
    return scores, np.asarray(favorable), np.asarray(privileged)


# What they are.


def test_rebuilding_gives_the_same_bytes(tmp_path: Path) -> None:
    here = f"{import_file(SAMPLES / 'build.py').versions()}"
    built_with = (SAMPLES / "BUILT_WITH").read_text()
    if here != built_with:
        pytest.skip(f"built with {built_with.split()}, these are {here.split()}")
    subprocess.run([sys.executable, SAMPLES / "build.py", "--out", tmp_path], check=True)
    kept, built = files(SAMPLES), files(tmp_path)
    assert kept.keys() - built.keys() == NOT_BUILT
    assert [name for name, content in built.items() if kept[name] != content] == []


def test_all_of_it_stays_small() -> None:
    assert sum(map(len, files(SAMPLES).values())) < 5_000_000
    for name in MODELS.keys() - FLAT:
        assert sum(map(len, files(SAMPLES / name).values())) < 1_000_000


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_figures_are_as_claimed(name: str, part: str) -> None:
    scores, favorable, privileged = by_hand(name, part)
    n, balanced_accuracy, gap = claims()[name, part]
    positive = scores > 0.5
    assert len(scores) == n == (1_000 if name == "shapes" else 4_000)
    accuracies = positive[favorable].mean(), 1 - positive[~favorable].mean()
    assert np.mean(accuracies) == pytest.approx(balanced_accuracy, abs=0.0006)
    measured = positive[~privileged].mean() - positive[privileged].mean()
    assert measured == pytest.approx(gap, abs=0.0006)
    assert gap < -0.1
    assert balanced_accuracy > 0.6


@pytest.mark.parametrize("name", MODELS)
def test_no_row_of_a_table_is_in_the_other_or_was_trained_on(name: str) -> None:
    rows = load_rows()
    source = rows if name in FLAT else import_file(SAMPLES / "input_rows.py")
    drawn = getattr(source, f"{name}_rows")()
    stop = rows.PARTS["stop"].stop
    if name == "shapes":
        images = [np.load(SAMPLES / name / f"{part}.npz")["pixels"] for part in ("val", "test")]
        pixels = np.concatenate([drawn.arrays["pixels"][:stop], *images]).reshape(12_000, -1)
        assert len(np.unique(pixels, axis=0)) == 12_000
        return
    tables = [pd.read_csv(SAMPLES / name / f"{part}.csv") for part in ("val", "test")]
    together = pd.concat([drawn.table[:stop], *tables])
    assert len(together) == 18_000
    assert not together.duplicated().any()


def test_the_training_dictionary_lets_training_go_on() -> None:
    saved = torch.load(SAMPLES / "loh" / "model.pt", weights_only=True)
    assert saved.keys() == {"model_state_dict", "optimizer_state_dict", "epoch"}
    weights = [
        tensor
        for name, tensor in saved["model_state_dict"].items()
        if name.rpartition(".")[2] in ("weight", "bias")
    ]
    optimizer = torch.optim.Adam(nn.Parameter(weight) for weight in weights)
    optimizer.load_state_dict(saved["optimizer_state_dict"])
    moments = optimizer.state_dict()["state"]
    assert [moments[i]["exp_avg"].shape for i in moments] == [w.shape for w in weights]
    batches = -(-8_000 // 256)
    assert {int(moment["step"]) for moment in moments.values()} == {saved["epoch"] * batches}


def test_the_pickled_network_names_classes_of_torch_alone() -> None:
    path = SAMPLES / "loh_raw" / "model.pth"
    named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    assert all(name.startswith("torch.nn.modules.") for name in named)
    assert "torch.nn.modules.container.Sequential" in named
    network = torch.load(path, weights_only=False)
    assert isinstance(network[-1], nn.Sigmoid)
    assert not any(module.training for module in network.modules())


def test_the_epoch_that_stopped_best_is_the_one_saved() -> None:
    """The loss in the metadata is that of the saved weights on the rows that chose them."""
    path = SAMPLES / "zafar" / "model.safetensors"
    with safe_open(path, "pt") as stored:
        training = json.loads(stored.metadata()["training"])
    rows = load_rows()
    scores, favorable, _ = zafar_by_hand(rows.zafar_rows().table[rows.PARTS["stop"]], "stop")
    likelihood = np.where(favorable, scores, 1 - scores)
    assert -np.log(likelihood).mean() == pytest.approx(training["stopping_loss"], abs=1e-4)


def load_rows() -> ModuleType:
    return import_file(SAMPLES / "rows.py")


@cache
def import_file(path: Path) -> ModuleType:
    """Import a script of the samples, which imports others beside it."""
    spec = importlib.util.spec_from_file_location(f"sample_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(SAMPLES))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SAMPLES))
    return module


# Through fairfix, with nothing said but what stands beside the model.


def columns_of(values: Mapping[str, Any]) -> Columns:
    return Columns(
        label=values["label"],
        favorable=values["favorable"],
        groups=(values["group"],) if isinstance(values["group"], str) else values["group"],
        privileged=values["privileged"],
        id=values.get("id"),
    )


def read_sample(name: str, part: str) -> tuple[checkpoint.Checkpoint, Table]:
    folder = SAMPLES / name
    settings = load_settings(folder / f"{part}.csv", Path("/"))
    assert settings.source == folder / "fairfix.toml"
    assert settings.needs_trust() is None
    values = settings.values
    assert values["test"] == folder / "test.csv"
    columns = columns_of(values)
    model = folder / MODELS[name]
    read = checkpoint.read(model, arch=values.get("arch"))
    table = read_table(folder / f"{part}.csv", columns, spec=find_spec(model), expected_features=20)
    return read, table


@pytest.mark.parametrize(("name", "part"), FLAT_PARTS)
def test_fairfix_reads_it_and_scores_alike(name: str, part: str) -> None:
    read, table = read_sample(name, part)
    scores, favorable, privileged = by_hand(name, part)
    assert table.labels is not None
    assert np.array_equal(table.labels == 1, favorable)
    assert np.array_equal(table.groups[0].ids == 1, privileged)
    assert read.module is not None
    features = torch.from_numpy(table.features)
    scorer = make_scorer(read, features, Reading())
    assert scorer.output is (Output.PROB if name == "loh_raw" else Output.LOGIT)
    scored = scorer.score(features)
    assert scored.numpy() == pytest.approx(scores, abs=1e-5)
    labels, groups = torch.from_numpy(table.labels), torch.from_numpy(table.groups[0].ids)
    gap = METRICS["spd"](count(scored > 0.5, labels, groups, 2)).value
    assert float(gap) == pytest.approx(claims()[name, part][2], abs=0.0006)


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("name", sorted(MODELS.keys() - FLAT))
def test_the_data_spec_gives_the_inputs_of_other_kinds(
    name: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIRFIX_CACHE", str(tmp_path))
    values = load_settings(SAMPLES / name / f"{part}.csv", Path("/")).values
    spec = find_spec(SAMPLES / name / (MODELS[name] or "."))
    table = read_table(SAMPLES / name / f"{part}.csv", columns_of(values), spec=spec)
    assert table.inputs is not None
    scores, favorable, privileged = by_hand(name, part)
    assert np.array_equal(table.labels == 1, favorable)
    assert np.array_equal(table.groups[0].ids == 1, privileged)
    with torch.no_grad():
        found = probability_of(name, table.inputs.batch())
    assert found.numpy() == pytest.approx(scores, abs=1e-6)


def probability_of(name: str, batch: Batch) -> torch.Tensor:
    """Return the scores of a batch by plain torch."""
    if name == "shapes":
        network = torch.load(SAMPLES / name / "model.pth", weights_only=False)
        return batch.call(network).squeeze(1)
    if name == "jobs":
        network = import_file(SAMPLES / "jobs" / "network.py").Network().eval()
        network.load_state_dict(load_file(SAMPLES / "jobs" / "model.safetensors"))
        return batch.call(network).sigmoid()
    transformers = pytest.importorskip("transformers")
    network = transformers.AutoModelForSequenceClassification.from_pretrained(SAMPLES / name)
    return batch.call(network.eval()).logits.softmax(1)[:, 1]


@pytest.mark.parametrize(
    ("name", "options", "method"),
    [
        ("shapes", {}, "prune"),
        ("jobs", {"arch": f"{SAMPLES / 'jobs' / 'network.py'}:Network"}, "finetune"),
        ("reviews", {"trust": True}, "gda"),
    ],
)
def test_networks_with_other_inputs_are_debiased_from_files(
    name: str,
    options: dict[str, Any],
    method: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAIRFIX_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / name
    shutil.copytree(SAMPLES / name, folder)
    values = load_settings(folder / "val.csv", Path("/")).values
    roles = {key: values[key] for key in ("label", "favorable", "group", "privileged")}
    case = fairfix.load(
        folder / MODELS[name], folder / "val.csv", id=values.get("id"), **roles, **options
    )
    scores, _, _ = by_hand(name, "val")
    assert case.problem.scores.numpy() == pytest.approx(scores, abs=1e-5)
    short = {"prune": {"max_units": 2}, "finetune": {"steps": 2}, "gda": {"epochs": 1}}[method]
    outcome = fairfix.debias(
        case, method, metric="spd", budget=0.1, test=folder / "test.csv", **short
    )
    gaps = outcome.test.debiased.gaps["spd"], outcome.test.unmodified.gaps["spd"]
    assert abs(gaps[0]) < abs(gaps[1])
    model = folder / MODELS[name]
    written = fairfix.save(outcome, model.with_name(f"new{model.suffix}"))
    again = fairfix.load(
        written.model, folder / "test.csv", rule=written.rule, id=values.get("id"), **options
    )
    assert fairfix.audit(again).groups[0].evaluation.gaps["spd"] == pytest.approx(gaps[0], abs=1e-3)
