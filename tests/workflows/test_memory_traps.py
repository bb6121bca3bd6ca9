"""What cannot be read from memory is refused, and nothing that was passed in is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    default_collate,
)

import fairfix as library
from fairfix.errors import CheckpointError, FairfixError, TableError
from tests.helpers.runs import Draw


@pytest.fixture(scope="module")
def rows(draw: Draw) -> pd.DataFrame:
    return draw(300, 4)


class Items(Dataset[Any]):
    """Rows of (inputs, label, group)."""

    def __init__(self, rows: pd.DataFrame, change: Callable[[Any], Any] = lambda item: item):
        self.x = torch.tensor(np.array(rows.filter(like="x"), np.float32))
        self.labels, self.groups = rows["label"].to_list(), rows["group"].to_list()
        self.change = change

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> Any:
        return self.change((self.x[row], self.labels[row], self.groups[row]))


class Longer(Items):
    """Rows behind the first batch have one value more."""

    def __getitem__(self, row: int) -> Any:
        x, label, group = super().__getitem__(row)
        return (x if row < 64 else torch.cat([x, x[:1]])), label, group


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        raise NotImplementedError


class Keeps(nn.Module):
    """Keeps what its trunk gave in the last pass."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Linear(4, 3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.kept = self.trunk(x)
        out: Tensor = self.head(self.kept)
        return out


def test_the_network_passed_in_is_left_as_it_is(rows: pd.DataFrame, trained: nn.Module) -> None:
    network = nn.Sequential(*[nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1)])
    network(torch.randn(20, 4)).sum().backward()
    network.train()
    network[3].weight.requires_grad_(False)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    gradients = [None if p.grad is None else p.grad.clone() for p in network.parameters()]
    outcome = library.debias(library.load(network, rows), "gda", epochs=2, budget=0.1)
    outcome.predict(rows)
    assert all(module.training for module in network.modules())
    assert [p.requires_grad for p in network.parameters()].count(False) == 1
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    for parameter, before in zip(network.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (before is None)
        assert before is None or torch.equal(parameter.grad, before)
    assert outcome.model is not network


def test_arrays_passed_in_are_left_as_they_are(rows: pd.DataFrame) -> None:
    x = np.array(rows.filter(like="x"), np.float32)
    before = x.copy()
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 1))
    library.load(network, {"x": x, "label": rows["label"], "group": rows["group"]})
    assert (x == before).all()


def test_labels_and_groups_of_a_dataset_are_named_as_asked(
    rows: pd.DataFrame, trained: nn.Module
) -> None:
    items = Items(rows, lambda item: (item[0], item[1], (item[2], item[1])))
    case = library.load(trained, items, label="hired", group=["sex", "race"], privileged=1)
    assert [group.column for group in case.table.groups] == ["sex", "race"]
    assert case.problem.group_names == ("0", "1")
    again = library.load(trained, Subset(items, range(200)), group=["sex", "race"])
    assert len(again.problem) == 200


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda rows: Items(rows, lambda x: x[:2]), "a row has 2 parts, but must be (inputs, la"),
        (lambda rows: Items(rows, lambda x: x[0]), "a row has one part"),
        (lambda rows: Items(rows, lambda x: (torch.rand(4), *x[1:])), "is not the same when it is"),
        (lambda rows: Items(rows, lambda x: (x[0][: 2 + x[1]], *x[1:])), "inputs of one shape"),
        (lambda rows: Items(rows, lambda x: (x[0], x[1], None)), "cannot be read"),
        (lambda rows: Items(rows, lambda x: (*x[:2], (0, 1))), "has 2 groups for 1 column"),
        (lambda rows: Items(rows[:0]), "Items has no rows"),
        (Longer, "rows of 'input_0' have the shapes (4,) and (5,)"),
        (
            lambda rows: DataLoader(Items(rows), collate_fn=lambda x: default_collate(x[1:])),
            "64 rows become another number of rows",
        ),
        (lambda rows: Stream(), "Stream is an IterableDataset, whose rows have no index"),
        (
            lambda rows: DataLoader(Items(rows), sampler=SubsetRandomSampler([1, 2])),
            "The loader draws the rows of a SubsetRandomSampler",
        ),
        (lambda rows: rows.assign(x0=[1, "a"] * 150), "cannot be read as columns of one type"),
        (lambda rows: {"label": [1, "a"], "group": [0, 1]}, "'label' is not a column of one type"),
        (lambda rows: {"label": [1, 0], "group": [1]}, "different lengths: label 2, group 1"),
        (lambda rows: {"label": 1}, "1 is a single value"),
        (lambda rows: {"x": np.array([["a"]])}, "an input of a network needs numbers"),
        (lambda rows: np.zeros((3, 3)), "Rows cannot be read from a ndarray"),
        (lambda rows: pa.table({"label": [[1]], "group": [0], "x": [1]}), "has the type list"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_read_are_refused(
    rows: pd.DataFrame, trained: nn.Module, make: Callable[[pd.DataFrame], Any], said: str
) -> None:
    with pytest.raises(TableError) as caught:
        library.load(trained, make(rows))
    assert said in str(caught.value)


def kept(_: nn.Module) -> nn.Module:
    network = Keeps()
    network(torch.randn(3, 4))
    return network


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (kept, {}, "Keeps keeps an activation in 'kept', so it cannot be copied"),
        (lambda network: nn.Sequential(nn.LazyLinear(1)), {}, "has lazy layers"),
        (torch.jit.script, {}, "save it with torch.jit.save and give the path"),
        (lambda network: network, {"arch": "mlp:relu"}, "arch is for networks in files"),
        (lambda network: 3, {}, "A model cannot be a int; give a path, a torch.nn.Module"),
        (lambda network: network, {"inputs": {"code": "x0"}}, "did you mean 'codes'?"),
        (
            lambda network: network,
            {"data_spec": {"version": 3, "features": []}},
            "data_spec",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_networks_and_options_that_cannot_be_used_are_refused(
    rows: pd.DataFrame,
    trained: nn.Module,
    make: Callable[[nn.Module], Any],
    options: dict[str, Any],
    said: str,
) -> None:
    with pytest.raises(FairfixError) as caught:
        library.load(make(trained), rows, **options)
    assert said in str(caught.value)


def test_what_is_in_memory_needs_a_name_for_its_files(
    rows: pd.DataFrame, trained: nn.Module, tmp_path: Path
) -> None:
    outcome = library.debias(library.load(trained, rows), "identity", budget=0.3)
    with pytest.raises(FairfixError, match="name the output"):
        outcome.save()
    with pytest.raises(FairfixError, match="name a file that ends in"):
        outcome.save(tmp_path / "model.csv")
    written = outcome.save(tmp_path / "new.safetensors")
    found = library.predict(written.model, rows, arch="mlp:relu")
    assert (found.decisions == outcome.predict(rows).decisions).all()


def test_a_rule_of_other_weights_is_refused(rows: pd.DataFrame, trained: nn.Module) -> None:
    outcome = library.debias(library.load(trained, rows), "prune", budget=0.1)
    assert outcome.state is not None
    with pytest.raises(FairfixError, match="made for other weights"):
        library.load(trained, rows, rule=outcome.rule)


class Constant:
    """Gives probabilities that are no such."""

    def predict_proba(self, X: Any) -> Any:
        return np.full((len(X), 2), 0.7)


def test_classifiers_give_scores_as_in_a_file(
    rows: pd.DataFrame, draw: Draw, tmp_path: Path
) -> None:
    from sklearn.linear_model import LogisticRegression

    test, x = draw(200, 5), [f"x{i}" for i in range(4)]
    framed = LogisticRegression().fit(rows[x], rows["label"])
    plain = LogisticRegression().fit(rows[x].to_numpy(), rows["label"])
    for part, name in ((rows, "val"), (test, "test")):
        scored = part.assign(score=framed.predict_proba(part[x])[:, 1])
        scored.to_csv(tmp_path / f"{name}.csv", index=False)
        part.to_csv(tmp_path / f"raw_{name}.csv", index=False)
    case = library.load(None, tmp_path / "val.csv", score="score")
    known = library.debias(case, "thresholds", budget=0.1, test=tmp_path / "test.csv")
    for classifier in (framed, plain):
        for val, other in ((rows, test), (tmp_path / "raw_val.csv", tmp_path / "raw_test.csv")):
            case = library.load(classifier, val)
            outcome = library.debias(case, "thresholds", budget=0.1, test=other)
            assert outcome.test.debiased == known.test.debiased
            assert (outcome.predict(other).decisions == known.test_rows.debiased.numpy()).all()
    with pytest.raises(FairfixError, match="changes the weights of a network"):
        library.debias(case, "prune")
    with pytest.raises(FairfixError, match="has no network"):
        outcome.model  # noqa: B018
    with pytest.raises(CheckpointError, match="not one probability per class"):
        library.load(Constant(), rows)
    with pytest.raises(FairfixError, match="has a column 'score'"):
        library.load(framed, rows.assign(score=0.5))


def test_training_and_unlabeled_rows_in_memory_count_as_those_in_files(
    trained: nn.Module, draw: Draw, tmp_path: Path
) -> None:
    frames = [draw(300, 6), draw(200, 7), draw(200, 8), draw(200, 9)]
    paths = [tmp_path / f"{place}.csv" for place in range(4)]
    for frame, path in zip(frames, paths, strict=True):
        frame.to_csv(path, index=False)
    found = []
    for val, test, train, unlabeled in (frames, paths):
        case = library.load(trained, val, train=train)
        more: dict[str, Any] = {"test": test, "unlabeled": unlabeled, "steps": 3, "labels": "true"}
        found.append(library.debias(case, "finetune", budget=0.1, **more))
    assert found[0].test == found[1].test
    assert found[0].rule.weights_sha256 == found[1].rule.weights_sha256


def test_an_array_that_the_rule_reads_must_be_given(rows: pd.DataFrame, trained: nn.Module) -> None:
    x = np.array(rows.filter(like="x"), np.float32)
    columns = {"label": rows["label"], "group": rows["group"]}
    outcome = library.debias(library.load(trained, columns | {"x": x}), "identity", budget=0.3)
    with pytest.raises(FairfixError, match=r"have no array 'x'; did you mean 'x_'\?"):
        outcome.predict(columns | {"x_": x})
    with pytest.raises(FairfixError, match="have no array 'x'"):
        outcome.predict(rows)


def test_columns_beside_arrays_that_are_not_read_are_named(
    rows: pd.DataFrame, trained: nn.Module
) -> None:
    x = np.array(rows.filter(like="x"), np.float32)
    data = {"x": x, **{name: rows[name] for name in ("label", "group", "x1", "x2")}}
    note = "1 column is not read, since arrays are the inputs: 'x2'"
    assert note in library.load(trained, data, ignore=["x1"]).notes
