"""Contract: each form of checkpoint is read, run, pruned, saved and read back, or truly refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import fairfix
from fairfix import methods
from fairfix.data.problem import Problem
from fairfix.errors import FairfixError
from fairfix.methods._result import Result
from fairfix.metrics.objective import Objective
from fairfix.models.prunable_units import find_prunable_layers
from fairfix.thresholds.policy import Policy
from tests.helpers.toys import random_state
from tests.helpers.zoo_forms import FORMS, ROWS, Form, features, network_of, scores_of

RUN = [name for name, form in FORMS.items() if not form.refused]
REFUSED = [name for name, form in FORMS.items() if form.refused]
ENTIRE = [name for name in RUN if not (FORMS[name].unprunable or FORMS[name].fixed)]


def test_the_zoo_is_large() -> None:
    assert len(FORMS) >= 60
    assert len(ENTIRE) >= 45


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table whose label and group follow the first inputs in part."""
    x, rng = features().numpy(), np.random.default_rng(0)
    table = pd.DataFrame(x, columns=["a", "b", "c", "d"])
    table["group"] = (x[:, 0] + rng.normal(size=len(x)) > 0).astype(int)
    table["label"] = (x[:, 1] + rng.normal(size=len(x)) > 0).astype(int)
    path = tmp_path_factory.mktemp("zoo") / "rows.csv"
    table.to_csv(path, index=False)
    return path


def prune_half(problem: Problem, objective: Objective, *, seed: int) -> Result:
    """Prune half of the first layer that can be pruned, else shrink all weights."""
    scorer, x = problem.network()
    try:
        layer = find_prunable_layers(scorer, x.batch(slice(2)))[0]
    except FairfixError:
        with torch.no_grad():
            for parameter in scorer.parameters():
                parameter.mul_(0.875)
    else:
        for unit in range(0, layer.units, 2):
            layer.prune(dict(scorer.named_parameters()), unit)
    return Result(Policy.shared(float(scorer.score(x).median())), scorer.weights())


def written(form: Form, folder: Path) -> Path:
    return form.write(network_of(form.build), folder)


@pytest.mark.parametrize("name", RUN)
def test_a_form_is_run_changed_saved_and_read_back(name: str, rows: Path, tmp_path: Path) -> None:
    form = FORMS[name]
    model, options = written(form, tmp_path), form.arguments
    chance = random_state()
    case = fairfix.load(model, rows, privileged="1", **options)
    assert torch.allclose(case.problem.scores, scores_of(form), rtol=0, atol=form.tolerance)
    check_round_trip(case, rows, tmp_path / f"out{model.suffix}", form.fixed, **options)
    assert random_state() == chance


def check_round_trip(
    case: fairfix.Case, rows: Path, out: Path, fixed: bool = False, **options: Any
) -> None:
    """Change the network, save it, read it back and decide."""
    outcome = fairfix.debias(case, "identity" if fixed else prune_half)
    fairfix.save(outcome, out, allow_trivial=True)
    expected = case.problem.scores if fixed else case.problem.score(outcome.state or {})
    threshold = outcome.rule.threshold
    assert threshold is not None
    predicted = fairfix.predict(out, rows, **options)
    assert np.array_equal(predicted.decisions, (expected > threshold).numpy())
    assert fixed or not torch.equal(expected, case.problem.scores)


SMALL = {
    **{"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"intermediate_size": 12, "vocab_size": 20, "pad_token_id": 0},
}
IMAGES = {"image_size": 4, "patch_size": 2}
FOLDERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "bert": ("Bert", SMALL | {"max_position_embeddings": 8}, "Sequence"),
    "llama": ("Llama", SMALL | {"num_key_value_heads": 1}, "Sequence"),
    "vit": ("ViT", SMALL | IMAGES, "Image"),
}
"""Architectures of transformers: the configuration, and what they classify."""


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_transformers_is_run_by_its_own_configuration(
    name: str, rows: Path, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    family, settings, kind = FOLDERS[name]
    config = getattr(transformers, f"{family}Config")(**settings)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        auto = getattr(transformers, f"AutoModelFor{kind}Classification")
        network = auto.from_config(config).eval()
        values = torch.rand(ROWS, 3, 4, 4) if kind == "Image" else torch.randint(1, 20, (ROWS, 4))
    network.save_pretrained(tmp_path / "model")
    with torch.no_grad():
        expected = network(values).logits.softmax(1)[:, 1]
    table, given = pd.read_csv(rows), "pixel_values"
    if kind == "Image":
        np.save(tmp_path / "rows.npy", values.numpy())
        inputs: dict[str, Any] = {"array": {given: str(tmp_path / "rows.npy")}}
    else:
        table[list("abcd")] = values.numpy()
        inputs = {"codes": {"input_ids": list("abcd")}}
    table.to_csv(tmp_path / "rows.csv", index=False)
    case = fairfix.load(
        tmp_path / "model", tmp_path / "rows.csv", privileged="1", trust=True, inputs=inputs
    )
    assert torch.allclose(case.problem.scores, expected, rtol=0, atol=1e-6)
    check_round_trip(case, tmp_path / "rows.csv", tmp_path / "out", trust=True)


@pytest.mark.parametrize("name", RUN)
def test_a_form_is_pruned_or_truly_refused(name: str, rows: Path, tmp_path: Path) -> None:
    form = FORMS[name]
    case = fairfix.load(written(form, tmp_path), rows, privileged="1", **form.arguments)
    refusal = form.unprunable or ("cannot be changed" if form.fixed else "")
    prune = methods.get("prune")
    if refusal:
        with pytest.raises(FairfixError, match=refusal):
            prune.run(case.problem, Objective(), seed=0)
    else:
        result = prune.run(case.problem, Objective(budget=0.9), seed=0, per_step=10_000)
        assert len(result.trajectory) == 2


@pytest.mark.parametrize("name", REFUSED)
def test_a_form_that_is_refused_says_why(name: str, rows: Path, tmp_path: Path) -> None:
    form = FORMS[name]
    with pytest.raises(FairfixError, match=form.refused) as caught:
        fairfix.load(written(form, tmp_path), rows, privileged="1", **form.arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", RUN)
def test_one_row_is_decided_as_among_others(name: str, rows: Path, tmp_path: Path) -> None:
    form = FORMS[name]
    single = tmp_path / "one.csv"
    pd.read_csv(rows).head(1).to_csv(single, index=False)
    predicted = fairfix.predict(written(form, tmp_path), single, **form.arguments)
    assert predicted.scores == pytest.approx(
        scores_of(form)[:1].numpy(), abs=max(form.tolerance, 1e-5)
    )
