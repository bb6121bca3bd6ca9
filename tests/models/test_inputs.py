"""Tests of the inputs of a network."""

from __future__ import annotations

import pytest
import torch

from fairfix.errors import InputError
from fairfix.models.inputs import Batch, Inputs, Part, Rows, TensorPart

NUMBERS = torch.arange(12.0).reshape(4, 3)
CODES = torch.tensor([[0], [2], [1], [2]])


class Tokens:
    """A text-like part of two arguments whose rows have lengths 16 and 32."""

    keys = ("ids", "mask")

    def __init__(self, values: torch.Tensor, padded: torch.Tensor) -> None:
        self.values, self.padded = values, padded

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: torch.Tensor) -> Tokens:
        return Tokens(self.values[index], self.padded[index])

    def to(self, device: torch.device) -> Tokens:
        return self

    def load(self, rows: Rows, device: torch.device) -> tuple[torch.Tensor, ...]:
        return self.values[rows].to(device), torch.ones_like(self.values[rows])

    def lengths(self) -> torch.Tensor:
        return self.padded

    def digests(self):
        return TensorPart("ids", self.values).digests()


def several(*more: Part) -> Inputs:
    return Inputs([TensorPart("x", NUMBERS), TensorPart("code", CODES), *more], by_name=True)


def test_a_single_matrix_is_flat_and_goes_by_position():
    inputs = Inputs.of(NUMBERS)
    assert inputs.flat is NUMBERS
    assert inputs.batch().call(lambda x: x) is not None
    assert torch.equal(inputs.batch(slice(1, 3)).args[0], NUMBERS[1:3])


def test_several_inputs_go_by_name_and_have_no_flat_matrix():
    inputs = several()
    assert inputs.flat is None
    assert inputs.keys == ("x", "code")
    got = inputs.take(torch.tensor([3, 0])).batch().call(lambda code, x: (code, x))
    assert torch.equal(got[0], CODES[[3, 0]])
    assert torch.equal(got[1], NUMBERS[[3, 0]])


def test_codes_keep_their_type_when_a_batch_is_cast():
    batch = several().batch().cast(torch.float64)
    assert batch.dtype == torch.float64
    assert batch.kwargs["code"].dtype == torch.int64


@pytest.mark.parametrize("size", [1, 3, 10])
def test_batches_cover_all_rows_in_order(size):
    batches = list(several().batches(size))
    assert torch.equal(torch.cat([batch.kwargs["x"] for _, batch in batches]), NUMBERS)


def test_batches_hold_rows_of_one_length():
    padded = torch.tensor([32, 16, 16, 32])
    inputs = several(Tokens(torch.arange(4), padded))
    rows = list(inputs.divided(3))
    assert sorted(torch.cat(rows).tolist()) == [0, 1, 2, 3]
    assert all(len(padded[part].unique()) == 1 for part in rows)
    assert inputs.keys == ("x", "code", "ids", "mask")


def test_digests_are_equal_where_all_parts_are():
    same = Inputs([TensorPart("a", CODES), TensorPart("b", CODES)])
    digests = same.digests()
    assert digests.shape == (4, 16)
    assert (digests[1] == digests[3]).all()
    assert len({row.tobytes() for row in digests}) == 3


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([], "at least one"),
        ([TensorPart("x", NUMBERS), TensorPart("x", NUMBERS)], "given twice"),
        ([TensorPart("x", NUMBERS), TensorPart("y", CODES[:2])], "x 4, y 2"),
    ],
)
def test_contradicting_parts_are_refused(parts, said):
    with pytest.raises(InputError, match=said):
        Inputs(parts)


def test_shapes_are_described():
    assert Batch([NUMBERS]).shapes() == "3 features"
    assert several().batch().shapes() == "x (3,), code (1,)"
