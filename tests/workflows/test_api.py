"""The library: the command line's numbers, files that plain PyTorch reads, equal bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import fairfix as library
from fairfix.errors import UsageError
from fairfix.thresholds.rule import DecisionRule
from fairfix.workflows.documents import audit_document, report_document
from tests.helpers.runs import Draw, Place, Run

# What is written decides as reported, for whoever loads it without fairfix.


def plain() -> nn.Sequential:
    """The network of the ``trained`` fixture, not trained."""
    return nn.Sequential(
        *(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1))
    ).eval()


def filled(state: dict[str, Tensor]) -> nn.Module:
    network = plain()
    network.load_state_dict(state)
    return network


@dataclass(frozen=True)
class Form:
    """A format: how a network gets into a file, and out of it by PyTorch alone."""

    name: str
    write: Callable[[nn.Module, Path], object]
    read: Callable[[Path], Callable[[Tensor], Tensor]]
    arch: str | None = None
    trust: bool = False


def write_pt2(network: nn.Module, path: Path) -> None:
    rows = {"input": {0: torch.export.Dim("rows", min=2)}}
    exported = torch.export.export(network, (torch.zeros(2, 4),), dynamic_shapes=rows)
    torch.export.save(exported, path)


def write_lightning(network: nn.Module, path: Path) -> None:
    state = {f"net.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"pytorch-lightning_version": "2.5.0", "epoch": 3, "state_dict": state}, path)


def read_lightning(path: Path) -> nn.Module:
    state = torch.load(path, weights_only=True)["state_dict"]
    return filled({name.removeprefix("net."): tensor for name, tensor in state.items()})


def write_folder(network: nn.Module, path: Path) -> None:
    path.mkdir()
    (path / "config.json").write_text("{}")
    save_file(network.state_dict(), path / "model.safetensors")


def halved(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.bfloat16() for name, tensor in network.state_dict().items()}


FORMS = [
    Form("module.pt", torch.save, lambda path: torch.load(path, weights_only=False)),
    Form(
        "weights.pth",
        lambda network, path: torch.save(network.state_dict(), path),
        lambda path: filled(torch.load(path, weights_only=True)),
        arch="mlp:relu",
    ),
    Form(
        "parallel.pt",
        lambda network, path: torch.save(nn.DataParallel(network).state_dict(), path),
        lambda path: filled(
            {k.removeprefix("module."): v for k, v in torch.load(path, weights_only=True).items()}
        ),
        arch="mlp:relu",
    ),
    Form(
        "halved.pt",
        lambda network, path: torch.save(halved(network), path),
        lambda path: filled(torch.load(path, weights_only=True)),
        arch="mlp:relu",
    ),
    Form(
        "weights.safetensors",
        lambda network, path: save_file(network.state_dict(), path),
        lambda path: filled(load_file(path)),
        arch="mlp:relu",
    ),
    Form("scripted.pt", lambda network, path: torch.jit.script(network).save(path), torch.jit.load,
         trust=True),
    Form("exported.pt2", write_pt2, lambda path: torch.export.load(path).module(), trust=True),
    Form("lightning.ckpt", write_lightning, read_lightning, arch="mlp:relu"),
    Form("folder", write_folder, lambda path: filled(load_file(path / "model.safetensors")),
         arch="mlp:relu"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_pytorch_alone_reads_what_was_written_and_decides_as_reported(
    place: Place, trained: nn.Module, form: Form
) -> None:
    form.write(trained, place.folder / form.name)
    case = library.load(place.folder / form.name, place.val, arch=form.arch, trust=form.trust)
    outcome = library.debias(case, "prune", budget=0.1, test=place.test)
    assert outcome.state is not None
    written = library.save(outcome)

    rows = pd.read_csv(place.test)
    network = form.read(written.model)
    with torch.no_grad():
        scores = network(torch.tensor(rows.filter(regex="^x").to_numpy(np.float32)))[:, 0].sigmoid()
    decisions = scores.numpy() > np.float32(json.loads(written.rule.read_text())["threshold"])

    report = json.loads(written.report.read_text())
    for group in report["results"]["test"]["debiased"]["groups"]:
        here = rows["group"] == int(group["name"])
        for count, decided, label in (("tp", 1, 1), ("fp", 1, 0), ("fn", 0, 1), ("tn", 0, 0)):
            assert group[count] == (here & (decisions == decided) & (rows["label"] == label)).sum()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_inspect_says_what_it_is_and_what_the_rule_is(
    fairfix: Run, place: Place, trained: nn.Module, form: Form
) -> None:
    form.write(trained, place.folder / form.name)
    case = library.load(place.folder / form.name, place.val, arch=form.arch, trust=form.trust)
    written = library.save(library.debias(case, "identity", budget=0.1))
    options = [*(["--arch", form.arch] if form.arch else []), *["--trust-checkpoint"] * form.trust]
    found = json.loads(fairfix("inspect", written.model, "--json", *options).out)
    assert found["architecture_known"]
    assert (found["inputs"], found["parameters"]) == (4, 4 * 12 + 12 + 12 * 8 + 8 + 8 + 1)
    assert list(found["prunable_units"].values()) == [12, 8]
    assert found["rule"] == json.loads(written.rule.read_text())
    assert found["weights_sha256"] == found["rule"]["weights_sha256"]
    if options:
        ended = fairfix("inspect", written.model, "--json")
        if form.trust:
            assert (ended.code, "--trust-checkpoint" in ended.sentence) == (2, True)
        else:
            bare = json.loads(ended.out)
            assert bare["parameters"] == found["parameters"]
            assert not bare["architecture_known"]
            assert {bare[key] for key in ("weights_sha256", "inputs", "rule")} == {None}


# The command line gives the same numbers.


@pytest.mark.parametrize("method", ["identity", "prune", "gda"])
def test_the_command_line_gives_the_same_report(fairfix: Run, place: Place, method: str) -> None:
    words = ("--metric", "eod", "--budget", 0.1, "--margin", 0.02, "--threshold", 0.4, "--seed", 3)
    own = {"gda": ("--epochs", 3, "--learning-rate", 0.01), "prune": ("--max-units", 6)}
    options: dict[str, dict[str, Any]] = {
        "gda": {"epochs": 3, "learning_rate": 0.01},
        "prune": {"max_units": 6},
    }
    ended = fairfix(method, place.model, place.val, "--json", *words, *own.get(method, ()))
    printed = json.loads(ended.out)
    case = library.load(place.model, place.val, threshold=0.4)
    outcome = library.debias(
        case, method, metric="eod", budget=0.1, margin=0.02, seed=3, **options.get(method, {})
    )
    made = report_document(outcome)
    assert printed["made_by"].pop("command")
    assert made["made_by"].pop("command") is None
    assert printed == json.loads(json.dumps(made))


def test_audit_and_predict_give_the_same_numbers(fairfix: Run, place: Place) -> None:
    case = library.load(place.model, place.val)
    written = library.save(library.debias(case, "prune", budget=0.1, test=place.test))
    audits = library.audit(library.load(written.model, place.test))
    printed = json.loads(fairfix("audit", written.model, place.test, "--json").out)
    case = library.load(written.model, place.test)
    rule = json.loads(written.rule.read_text())
    made = audit_document(case, DecisionRule.from_json(rule), audits)
    assert printed["groups"] == json.loads(json.dumps(made["groups"]))
    found = library.predict(written.model, place.test)
    ended = fairfix("predict", written.model, place.test, "-o", "-")
    assert ended.out == found.csv(None)
    assert found.decisions.sum() == sum(
        group["tp"] + group["fp"] for group in printed["groups"]["group"]["groups"]
    )


def test_names_of_columns_and_values_as_python_has_them(place: Place, draw: Draw) -> None:
    rows = draw(400, 5).rename(columns={"label": "hired", "group": "sex"})
    table = place.table(rows.assign(sex=rows["sex"].eq(1), weight=2.0, nr=range(400)))
    case = library.load(
        place.model,
        table,
        label="hired",
        favorable=True,
        group=["sex"],
        privileged=True,
        id="nr",
        weight="weight",
    )
    assert case.problem.group_names == ("False", "True")
    found = library.predict(
        place.model, table, label="hired", group="sex", id="nr", weight="weight"
    )
    assert list(found.ids[:3]) == ["0", "1", "2"]
    assert (found.scores.astype(np.float32) == case.problem.scores.numpy()).all()


def test_names_are_what_they_look_like() -> None:
    """Functions are functions and subpackages are modules, whatever was imported before."""
    from importlib import import_module
    from types import ModuleType

    for name in ("load", "debias", "audit", "gate", "predict", "save", "export"):
        import_module("fairfix.workflows.api")
        assert callable(getattr(library, name))
    for name in ("methods", "metrics", "data", "report"):
        assert isinstance(import_module(f"fairfix.{name}"), ModuleType)
    assert dir(library) == sorted(library.__all__)
    with pytest.raises(AttributeError, match="no attribute 'debais'"):
        library.debais  # noqa: B018


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("pruen", {}, "Unknown method 'pruen'; did you mean 'prune'?"),
        ("prune", {"max_unit": 3}, "prune has no option 'max_unit'; did you mean 'max_units'?"),
        ("prune", {"max_units": 2.5}, "max_units must be of type int, not 2.5."),
        ("gda", {"optimizer": "lion"}, "optimizer must be adam or sgd, not 'lion'."),
    ],
)
def test_a_method_or_option_that_is_none(
    place: Place, method: str, options: dict[str, Any], said: str
) -> None:
    case = library.load(place.model, place.val)
    with pytest.raises(UsageError) as caught:
        library.debias(case, method, **options)
    assert str(caught.value).startswith(said)


# The same again.


def test_another_seed_draws_other_rows_and_batches(place: Place) -> None:
    case = library.load(place.model, place.val)
    options: dict[str, Any] = {"epochs": 2, "learning_rate": 0.01}
    one, two, again = (
        library.debias(case, "gda", seed=seed, **options).result.trajectory for seed in (0, 1, 0)
    )
    assert one == again
    assert one != two
    by_batches = [
        library.debias(case, "gda", seed=seed, test=place.test, **options).result.trajectory
        for seed in (0, 1)
    ]
    assert by_batches[0][0] == by_batches[1][0]  # the same rows, so the same start
    assert by_batches[0][1] != by_batches[1][1]


@pytest.mark.parametrize(
    ("method", "options"),
    [("identity", {}), ("prune", {}), ("gda", {"epochs": 2, "train_mode": True})],
)
def test_global_randomness_is_left_as_found(
    place: Place, method: str, options: dict[str, Any]
) -> None:
    def states() -> tuple[object, ...]:
        name, keys, *rest = np.random.get_state()
        return torch.get_rng_state().tolist(), random.getstate(), name, keys.tolist(), rest

    before = states()
    case = library.load(place.model, place.val)
    outcome = library.debias(case, method, seed=7, **options)
    library.audit(library.load(library.save(outcome, allow_trivial=True).model, place.test))
    assert states() == before


def test_a_case_is_not_changed_by_what_is_done_with_it(place: Place) -> None:
    case = library.load(place.model, place.val)
    scorer = case.problem.scorer
    before = {name: tensor.clone() for name, tensor in scorer.state_dict().items()}
    for method in ("prune", "gda"):
        library.debias(case, method, budget=0.1, fold_threshold=method == "prune")
    assert all(torch.equal(tensor, before[name]) for name, tensor in scorer.state_dict().items())


@pytest.mark.parametrize(
    ("method", "given", "factor"),
    [
        ("identity", {}, 2**0.5),
        ("prune", {}, 1.2 * 2**0.5),
        ("prune", {"k": 1.0}, 1.2),
        ("finetune", {"labels": "true", "steps": 20}, 1.7),
        ("finetune", {"labels": "true", "steps": 20, "k": 1.0}, 1.0),
        ("finetune", {"labels": "true", "steps": 0}, 2**0.5),
        ("blind", {}, 2**0.5),
    ],
)
def test_one_factor_on_standard_errors_chooses_and_is_reported(
    place: Place, method: str, given: dict[str, object], factor: float
) -> None:
    """Of the thresholds on the curve none is better by the objective that chose the rule's."""
    case = library.load(place.model, place.val)
    outcome = library.debias(case, method, budget=0.1, **given, test=place.test)
    assert (outcome.result.chosen > 0) == (method != "identity" and given.get("steps") != 0)
    assert outcome.standard_errors == pytest.approx(factor)
    rows, objective = outcome.validation_rows, replace(outcome.objective, k=outcome.standard_errors)
    (chosen,) = (point for point in outcome.tradeoff_curve if point.chosen)
    counts = rows.problem.counts(rows.debiased)
    assert chosen.probability == pytest.approx(float(objective.probability_met(counts)))
    best = max(point.probability * point.performance for point in outcome.tradeoff_curve)
    assert chosen.probability * chosen.performance == pytest.approx(best, abs=1e-3)


def test_the_gate_names_what_a_rule_alone_does_not_tell(place: Place) -> None:
    """The outcome lists the tuned rows; its rule does where a report of it is beside the model."""
    outcome = library.debias(library.load(place.model, place.val), "thresholds", test=place.test)
    rows = library.load(outcome.model, place.test)
    assert library.gate(rows, {"spd": 0.3}, rule=outcome).unchecked == ()
    (alone,) = library.gate(rows, {"spd": 0.3}, rule=outcome.rule).unchecked
    assert alone.endswith("; pass the outcome of debias itself, or a rule file with its report")
    written = library.load(library.save(outcome, allow_trivial=True).model, place.test)
    assert library.gate(written, {"spd": 0.3}, rule=outcome.rule).unchecked == ()
    other = replace(outcome.rule, budget=0.3)
    assert library.gate(written, {"spd": 0.3}, rule=other).unchecked == (alone,)


@pytest.mark.parametrize("part", ["outcome", "rule"])
def test_a_rule_in_memory_decides_for_its_own_weights_alone(place: Place, part: str) -> None:
    case = library.load(place.model, place.val)
    outcome = library.debias(case, "gda", epochs=2, learning_rate=0.01, budget=0.1, test=place.test)
    assert outcome.state is not None
    rule, rows = (outcome if part == "outcome" else outcome.rule), case.companion(place.test)
    with pytest.raises(UsageError, match=r"made for other weights .* which is outcome\.model"):
        library.gate(rows, {"spd": 0.3}, rule=rule)
    if part == "rule":
        with pytest.raises(UsageError, match="made for other weights"):
            library.audit(rows, outcome.rule)
