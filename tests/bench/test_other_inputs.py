"""Studies of networks that take images, arrays or several inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from fairfix.errors import InputError
from fairfix.models.inputs import Inputs, TensorPart
from fairfix.models.joined_inputs import joined_inputs
from tests.helpers.runs import Run

ROWS, SHAPE = 90, (2, 3, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A network on arrays and the same on columns, each with two tables of the same rows."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 1)).eval()
    torch.save(network, tmp_path / "arrays.pt")
    torch.save(nn.Sequential(nn.Unflatten(1, SHAPE), *network).eval(), tmp_path / "columns.pt")
    for seed, part in enumerate(("val", "test")):
        values = np.random.default_rng(seed).normal(size=(ROWS, *SHAPE)).astype(np.float32)
        np.save(tmp_path / f"{part}.npy", values)
        draws = np.random.default_rng(seed + 5).normal(size=(2, ROWS))
        label, group = (values[:, 0, 0, 0] + draws > 0).astype(int)
        frame = pd.DataFrame({"label": label, "group": group})
        frame.to_csv(tmp_path / f"{part}.csv", index=False)
        columns = pd.DataFrame(values.reshape(ROWS, -1)).add_prefix("x")
        pd.concat([frame, columns], axis=1).to_csv(tmp_path / f"{part}_columns.csv", index=False)
    spec = {"x": {"kind": "array", "file": "{table}.npy", "shape": list(SHAPE)}}
    described = {"version": 2, "call": "position", "inputs": spec}
    (tmp_path / "arrays.data.json").write_text(json.dumps(described))
    return tmp_path


def study(fairfix: Run, folder: Path, kind: str, *options: str) -> list[dict[str, Any]]:
    end, out = "_columns" if kind == "columns" else "", folder / kind
    test = [str(folder / f"test{end}.csv") if each == "TEST" else each for each in options]
    given = "--methods", "prune", "--trust-checkpoint", "--jobs", "1", "-o", str(out)
    ended = fairfix("bench", folder / f"{kind}.pt", folder / f"val{end}.csv", *test, *given)
    assert ended.code == 0, ended.err
    return [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("options", [("--test", "TEST", "--seeds", "2"), ("--seeds", "1")])
def test_arrays_give_the_figures_of_the_same_numbers_in_columns(
    fairfix: Run, folder: Path, options: tuple[str, ...]
) -> None:
    arrays, columns = (study(fairfix, folder, kind, *options) for kind in ("arrays", "columns"))
    assert {row["method"] for row in arrays} >= {"identity", "prune"}
    for one, other in zip(arrays, columns, strict=True):
        assert one["method"] == other["method"]
        for judged in one["test"]:
            found, expected = (
                each["test"][judged]["performances"] | each["test"][judged]["gaps"]
                for each in (one, other)
            )
            assert found == pytest.approx(expected, abs=1e-6, nan_ok=True), one["method"]


def test_joined_inputs_are_the_rows_of_both_in_order() -> None:
    first, second = torch.randn(5, 2), torch.randn(4, 2)
    joined = joined_inputs(Inputs.of(first), Inputs.of(second))
    whole = torch.cat([first, second])
    assert torch.equal(joined.batch().tensors[0], whole)
    index = torch.tensor([7, 1, 8, 0])
    taken = joined.take(index)
    assert torch.equal(taken.batch(slice(1, 3)).tensors[0], whole[index[1:3]])
    assert torch.equal(taken.batch(torch.tensor([3, 0])).tensors[0], whole[index[[3, 0]]])
    assert np.array_equal(taken.digests(), Inputs.of(whole[index]).digests())
    with pytest.raises(InputError, match="by the same data spec"):
        joined_inputs(Inputs.of(first), Inputs([TensorPart("other", second)]))
