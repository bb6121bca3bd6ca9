"""The confidence level, and that every command and public function refuses the same values."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

import fairfix as library
from fairfix.errors import UsageError
from fairfix.metrics.objective import Objective
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.workflows.case import Case
from tests.helpers.runs import Place, Run

WRONG = [2.0, 1.0, 0.5, 0.3, -0.95, math.nan]


def test_alpha_and_two_sided() -> None:
    confidence = ConfidenceLevel(0.9)
    assert confidence.alpha == 1 - 0.9
    assert confidence.two_sided == pytest.approx(0.8)
    assert ConfidenceLevel() == ConfidenceLevel(0.95, exact=False)


@pytest.mark.parametrize(
    "fields", [{"k": True}, {"k": math.nan}, {"lambda_": True}, {"risk": math.nan, "margin": None}]
)
def test_truth_and_nan_are_no_numbers(fields: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Objective(**fields)


@pytest.mark.parametrize("level", WRONG)
def test_level_out_of_range(level: float) -> None:
    with pytest.raises(UsageError) as raised:
        ConfidenceLevel(level)
    assert str(raised.value) == f"confidence must be in (0.5, 1), not {level}."


COMMANDS = {
    "audit": ("audit",),
    "gate": ("gate", "--budget", "spd=0.05"),
    "identity": ("identity",),
}
FUNCTIONS: dict[str, Callable[[Case, float], object]] = {
    "fairfix.audit": lambda case, level: library.audit(case, confidence=level),
    "fairfix.gate": lambda case, level: library.gate(case, {"spd": 0.05}, confidence=level),
    "fairfix.debias": lambda case, level: library.debias(case, "identity", confidence=level),
}


@pytest.mark.parametrize("level", WRONG)
@pytest.mark.parametrize("way", [*COMMANDS, *FUNCTIONS])
def test_commands_and_functions_refuse_the_same_levels(
    fairfix: Run, place: Place, way: str, level: float
) -> None:
    if way in COMMANDS:
        command, *options = COMMANDS[way]
        ended = fairfix(
            command, place.model, place.val, "--trust-checkpoint", *options, f"--confidence={level}"
        )
        assert ended.code == 2
        message = ended.sentence
        if math.isnan(level):
            assert message.endswith("'nan' is not a number; write digits such as 0.05 or 1e-3.")
            return
    else:
        case = library.load(place.model, place.val, trust=True)
        with pytest.raises(UsageError) as raised:
            FUNCTIONS[way](case, level)
        message = str(raised.value)
    assert message == f"confidence must be in (0.5, 1), not {level}."
