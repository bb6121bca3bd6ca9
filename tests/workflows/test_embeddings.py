"""Score models on networks that take no matrix of numbers read embeddings of their last layer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import fairfix as library
from fairfix.errors import CheckpointError, UsageError
from fairfix.methods._cross_fitting import repaired_score
from fairfix.models.embeddings import embeddings
from fairfix.models.inputs import Inputs
from fairfix.models.scorer import Output, Scorer
from fairfix.thresholds.rule_file import read_rule
from tests.helpers.toys import biased_problem

ROWS = 240
METHODS = ("blind", "repair", "finetune --head")


def network(outputs: int = 1) -> nn.Sequential:
    """For images of 2 x 3 x 3."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        layers = nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5), nn.Tanh()
        return nn.Sequential(*layers, nn.Linear(5, outputs)).eval()


def images(seed: int) -> Tensor:
    return torch.randn(ROWS, 2, 3, 3, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A network, two tables, and their images; labels and groups follow its embeddings."""
    made = network()
    torch.save(made, tmp_path / "model.pt")
    for seed, part in enumerate(("val", "test")):
        np.save(tmp_path / f"{part}.npy", images(seed).numpy())
        hidden = made[:5](images(seed)).detach().numpy()
        noise = np.random.default_rng(seed).normal(scale=0.2, size=(2, ROWS))
        label, group = (hidden[:, 0] + noise[0] > 0), (hidden[:, 1] + noise[1] > 0)
        frame = pd.DataFrame({"label": label.astype(int), "group": group.astype(int)})
        frame.to_csv(tmp_path / f"{part}.csv", index=False)
    spec = {"x": {"kind": "array", "file": "{table}.npy", "shape": [2, 3, 3]}}
    described = {"version": 2, "call": "position", "inputs": spec}
    (tmp_path / "model.data.json").write_text(json.dumps(described))
    return tmp_path


def test_embeddings_are_what_the_last_linear_layer_reads() -> None:
    made = network()
    expected = made[:5](images(0))
    for size in (7, 239, ROWS):  # also a batch of one row
        found = embeddings(Scorer(made, Output.LOGIT, batch_size=size), Inputs.of(images(0)))
        torch.testing.assert_close(found, expected)


def test_a_network_without_a_last_linear_layer_has_none() -> None:
    made = nn.Sequential(nn.Conv2d(2, 1, 3), nn.Flatten()).eval()
    with pytest.raises(CheckpointError, match=r"no last linear layer .* embeddings are unknown"):
        embeddings(Scorer(made, Output.LOGIT), Inputs.of(images(0)))


@pytest.mark.parametrize("method", METHODS)
def test_every_reader_decides_as_the_run_did(folder: Path, method: str) -> None:
    case = library.load(folder / "model.pt", folder / "val.csv", trust=True)
    name, _, option = method.partition(" --")
    options = {option: True, "learning_rate": 0.01} if option else {}
    outcome = library.debias(case, name, budget=0.1, test=folder / "test.csv", **options)
    model = outcome.rule.score_model
    assert model is not None
    assert model.reads_embeddings
    assert model.n_features == 5
    written = library.save(outcome, folder / "new.pt")
    rule = read_rule(folder / "new.rule.json")
    assert rule.score_model == model
    predicted = library.predict(written.model, folder / "test.csv", trust=True)
    assert np.array_equal(predicted.decisions, outcome.test_rows.debiased.numpy())
    audit = library.audit(library.load(written.model, folder / "test.csv", trust=True))
    gaps = audit.groups[0].evaluation.gaps
    assert gaps["spd"] == pytest.approx(outcome.test.debiased.gaps["spd"])
    (folder / "new.rule.safetensors").unlink()
    with pytest.raises(UsageError, match="score model"):
        library.predict(written.model, folder / "test.csv", trust=True)


def test_a_rule_of_embeddings_is_not_exported(folder: Path) -> None:
    case = library.load(folder / "model.pt", folder / "val.csv", trust=True)
    outcome = library.debias(case, "blind", budget=0.1)
    with pytest.raises(UsageError, match="reads embeddings of the network cannot be exported"):
        library.export(outcome, folder / "fair.pt2")


def test_repaired_labels_use_the_embeddings() -> None:
    """The labels depend on an embedding that the score does not show."""
    made = network()
    problem = biased_problem(Scorer(made, Output.LOGIT), images(0))
    assert problem.model_features is not None
    hidden = problem.model_features[:, 2]
    object.__setattr__(problem, "labels", (hidden > hidden.median()).long())
    repaired = torch.from_numpy(repaired_score(problem, 0))
    assert ((repaired > 0.5).long() == problem.labels).double().mean() > 0.9
