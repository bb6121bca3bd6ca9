"""The number of threads follows from the sizes, is recorded, and is left as it was."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from fairfix.models.threads import LARGE_WORK, default_threads, limited_threads
from tests.helpers.runs import Place, Run


def test_a_small_network_runs_on_one_thread() -> None:
    with limited_threads(3):
        layer = nn.Linear(999, 1)
        assert default_threads(None, 10**8) == 1
        assert default_threads(layer, 10**5) == 1
        assert default_threads(layer, LARGE_WORK // 1000) == 3


def test_the_number_of_threads_is_restored_after_an_error() -> None:
    before = torch.get_num_threads()
    within = 0

    def fail() -> None:
        nonlocal within
        with limited_threads(before + 1):
            within = torch.get_num_threads()
            raise ValueError("within")

    with pytest.raises(ValueError, match="within"):
        fail()
    assert within == before + 1
    assert torch.get_num_threads() == before


def test_the_threads_of_a_run_are_recorded(fairfix: Run, place: Place) -> None:
    before = torch.get_num_threads()
    for given, expected in (((), 1), (("--threads", 2), 2)):
        ended = fairfix(
            *("identity", place.model, place.val, "--trust-checkpoint", "--json", "--force"),
            *("--allow-trivial", *given),
        )
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["made_by"]["threads"] == expected
        assert torch.get_num_threads() == before


@pytest.mark.parametrize("threads", [0, 100_000])
def test_other_numbers_of_threads_are_refused(threads: int, fairfix: Run, place: Place) -> None:
    ended = fairfix("audit", place.model, place.val, "--trust-checkpoint", "--threads", threads)
    assert ended.code == 2
    assert f"threads must be from 1 to 1024, not {threads}" in ended.sentence
