"""Methods from outside the package: registered functions and functions given to debias."""

from __future__ import annotations

import inspect
import math
import re
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch

import fairfix
from fairfix import methods
from fairfix.bench.cell_table import UNMODIFIED
from fairfix.bench.cells import ATTRIBUTION
from fairfix.bench.plan import plan_study
from fairfix.cli.command_specs import command_specs
from fairfix.errors import UsageError
from fairfix.methods import Objective, Policy, Problem, Range, Result, Step, _registry
from fairfix.methods import names as method_names
from fairfix.methods._signature import RESERVED_OPTIONS
from fairfix.methods.gda import gda
from tests.helpers import zoo
from tests.helpers.toys import biased_problem, scored_rows


@pytest.fixture(autouse=True)
def clean_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what a test registered."""
    monkeypatch.setattr(_registry, "_registered", {})


def shift(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    by: Annotated[float, Range(-1, 1)] = 0.1,
    steps: Annotated[int, Range(1), "ignored"] = 3,
    side: Literal["up", "down"] = "up",
    note: str = "",
    both: bool = False,
) -> Result:
    """Move the threshold in use today
    by a constant.

    It is a ``toy``.

    Args:
        by: how far,
            at most.
        steps, side: two options (described together).
        note (str): text of a note.

    Returns:
        The result.

    Changes: threshold.
    Group at prediction: no.
    """
    threshold = problem.threshold + (by if side == "up" else -by)
    return Result(Policy.shared(threshold), notes=(note,) if note else ())


def bare(problem, objective, *, seed):  # type: ignore[no-untyped-def]
    return Result(Policy.shared(0.5))


PROBLEM = scored_rows(60)


def test_signature_and_docstring_describe_a_registered_method() -> None:
    assert methods.register(shift) is shift
    assert "shift" in method_names()
    method = methods.get("shift")
    assert (method.name, method.builtin) == ("shift", False)
    assert method.summary == "Move the threshold in use today by a constant."
    assert method.description == f"{method.summary}\n\nIt is a toy."
    assert method.facts == {"Changes": "threshold", "Group at prediction": "no"}
    assert method.needs_group is False
    assert method.load() is shift
    assert [
        (o.name, o.type, o.default, o.choices, str(o.allowed or ""), o.help) for o in method.options
    ] == [
        ("by", float, 0.1, (), "in [-1, 1]", "how far, at most."),
        ("steps", int, 3, (), "at least 1", "two options (described together)."),
        ("side", str, "up", ("up", "down"), "", "two options (described together)."),
        ("note", str, "", (), "", "text of a note."),
        ("both", bool, False, (), "", ""),
    ]


def test_a_method_without_docstring_works() -> None:
    method = methods.get(methods.register(bare).__name__)
    assert method.summary == f"Method of module {__name__}, without a description."
    assert (method.options, method.facts, method.needs_group) == ((), {}, None)
    (row,) = methods.table(["bare"]).splitlines()[2:]
    assert row == "| `bare` | - | - | - | - | - | - |"


def test_the_table_shows_missing_facts_as_a_dash() -> None:
    methods.register(shift)
    (row,) = methods.table(["shift"]).splitlines()[2:]
    assert row == "| `shift` | threshold | no | - | - | - | - |"


def test_a_whole_number_as_default_of_a_float_is_a_float() -> None:
    def half(problem: Problem, objective: Objective, *, seed: int, by: float = 1) -> Result:
        raise NotImplementedError

    (option,) = methods.describe(half).options
    assert (option.default, type(option.default)) == (1.0, float)


def test_annotations_for_type_checking_alone_need_not_resolve() -> None:
    def typed(problem: Missing, objective: Absent, *, seed: int, n: int = 1) -> Gone:  # type: ignore[name-defined]  # noqa: F821
        raise NotImplementedError

    assert [option.type for option in methods.describe(typed).options] == [int]


def test_options_of_outside_methods_are_checked() -> None:
    method = methods.describe(shift)
    for wrong, message in (
        ({"by": 2}, "by must be in [-1, 1], not 2.0."),
        ({"by": math.nan}, "by must be in"),
        ({"steps": 0}, "steps must be at least 1, not 0."),
        ({"side": "left"}, "side must be up or down, not 'left'."),
        ({"step": 1}, "shift has no option 'step'; did you mean 'steps'?"),
    ):
        with pytest.raises(UsageError, match=re.escape(message)):
            method.run(PROBLEM, Objective(), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_without_a_range_must_be_finite(value: float) -> None:
    def moved(problem: Problem, objective: Objective, *, seed: int, by: float = 0.0) -> Result:
        raise NotImplementedError

    with pytest.raises(UsageError, match="by must be finite, not"):
        methods.describe(moved).checked({"by": value})


def test_a_result_without_trajectory_is_measured() -> None:
    result = methods.describe(shift).run(PROBLEM, Objective(), by=0.2)
    retuned = methods.get("identity").run(PROBLEM, Objective())
    before, after = result.trajectory
    assert before == retuned.trajectory[0]
    counts = PROBLEM.counts(PROBLEM.scores > 0.7)
    assert result.chosen == after.index == 1
    assert after.threshold == pytest.approx(0.7)
    assert after.gap == float(Objective().metric(counts).value)
    assert after.utility == float(Objective().utility(counts))


def test_new_weights_of_an_outside_method_are_scored() -> None:
    problem = biased_problem(zoo.scorer("modules"), zoo.features(120))

    def halve(problem: Problem, objective: Objective, *, seed: int) -> Result:
        assert problem.scorer is not None
        state = {key: value / 2 for key, value in problem.scorer.weights().items()}
        return Result(Policy.shared(0.5), state)

    result = methods.describe(halve).run(problem, Objective())
    assert result.state is not None
    scorer, features = problem.network()
    scorer.network.load_state_dict(result.state)
    scores = scorer.score(features)
    assert torch.equal(problem.score(result.state), scores)
    counts = problem.counts(scores > 0.5)
    assert result.trajectory[1].gap == float(Objective().metric(counts).value)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "returned a value of type NoneType; a method must return a fairfix.methods.Result."),
        (Result(Policy.by_group([0.1, 0.2, 0.3])), "returned thresholds for 3 groups; there are 2"),
        (Result(Policy.shared(0.5), {}), "returned weights, but there are only scores"),
        (
            Result(Policy.shared(0.5), None, (Step(0, 0.0, 0.5, 0.5, 0.5),), 1),
            "returned 1 as the chosen step of 1",
        ),
    ],
)
def test_a_result_that_does_not_fit_is_refused(result: Any, message: str) -> None:
    def wrong(problem: Problem, objective: Objective, *, seed: int) -> Result:
        return result  # type: ignore[no-any-return]

    with pytest.raises(UsageError, match=f"^wrong {message}"):
        methods.describe(wrong).run(PROBLEM, Objective())


@pytest.mark.parametrize("missing", [True, False])
def test_weights_of_another_network_are_refused(missing: bool) -> None:
    problem = biased_problem(zoo.scorer("modules"), zoo.features(60))

    def wrong(problem: Problem, objective: Objective, *, seed: int) -> Result:
        assert problem.scorer is not None
        state = problem.scorer.weights()
        state["2.bias"] = state["2.bias"][:1]
        if missing:
            del state["2.bias"]
        return Result(Policy.shared(0.5), state)

    with pytest.raises(UsageError, match=r"do not fit the network \(first difference: '2.bias'\)"):
        methods.describe(wrong).run(problem, Objective())


# Names


@pytest.mark.parametrize("name", ["gda", "audit", "all", "attribution", "unmodified"])
def test_a_name_that_fairfix_uses_is_refused(name: str) -> None:
    def taken(problem: Problem, objective: Objective, *, seed: int) -> Result:
        raise NotImplementedError

    taken.__name__ = name
    for use in (methods.register, methods.describe):
        with pytest.raises(UsageError, match=f"The name '{name}' is taken by fairfix itself; give"):
            use(taken)
    assert name not in _registry._registered


def test_reserved_names_cover_commands_and_words_of_bench() -> None:
    used = {*command_specs(), "all", ATTRIBUTION, UNMODIFIED}
    assert used <= _registry.RESERVED_NAMES | {*methods.builtin_names()}


def test_reserved_options_cover_debias_and_the_command_of_a_method() -> None:
    used = {*inspect.signature(fairfix.debias).parameters}
    for group in command_specs()["identity"].groups:
        used |= {*inspect.signature(group).parameters}
    assert used <= RESERVED_OPTIONS


def test_a_name_of_another_registered_function_is_refused() -> None:
    methods.register(shift)

    def other(problem: Problem, objective: Objective, *, seed: int) -> Result:
        raise NotImplementedError

    other.__name__ = "shift"
    with pytest.raises(UsageError, match="The name 'shift' is taken by a function of the module"):
        methods.register(other)
    with pytest.raises(UsageError, match="The name 'shift' is taken"):
        methods.describe(other)
    assert methods.get("shift").load() is shift
    assert methods.describe(shift).load() is shift


def test_a_function_defined_again_replaces_itself() -> None:
    """As when a cell of a notebook is run twice."""

    def define(threshold: float) -> Any:
        def again(problem: Problem, objective: Objective, *, seed: int) -> Result:
            return Result(Policy.shared(threshold))

        return methods.register(again)

    define(0.1)
    second = define(0.2)
    assert methods.get("again").load() is second


def test_built_in_functions_are_the_built_in_methods() -> None:
    assert methods.describe(gda) == methods.get("gda")
    assert methods.describe("gda") == methods.get("gda")


def test_a_version_changes_with_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that bench does not take rows of older code for done."""
    assert methods.version("gda") == ""
    methods.register(shift)
    version = methods.version("shift")
    assert len(version) == 16
    assert methods.version("shift") == version
    keys = set()
    for text in ("one", "two", ""):
        source = {"__name__": "nowhere"}
        code = f"def shift(problem, objective, *, seed):\n    {text!r}\n    return {text!r}\n"
        exec(code, source)
        monkeypatch.setattr(_registry, "_registered", {})
        methods.register(source["shift"])  # type: ignore[type-var]
        keys.add(methods.version("shift"))
    assert len(keys | {version}) == 4


# Signatures

HINTS = {
    "seed": "has no parameter seed; define it as f",
    "two": "does not take a problem and an objective; define it as f",
    "star": r"takes \*\*options; list every option by name",
    "default": "has an option 'n' without a default; add one",
    "annotation": "has an option 'n' without an annotation; add one: int, float, str",
    "kind": r"has an option 'n' with the annotation list\[int\]; use int, float",
    "numbers": r"has an option 'n' with the annotation typing.Literal\[1, 2\]; use int",
    "text": "has an option 'n' with the annotation",
    "unknown": "annotation cannot be resolved .*Nowhere.*; import its names",
    "range": "has a default that is not allowed: n must be at least 1, not 0",
    "type": "has a default that is not allowed: n must be of type int, not 0.5",
    "choice": "has a default that is not allowed: n must be a or b, not 'c'",
    "reserved": "has an option 'metric', a name that fairfix uses itself; rename it",
    "underscore": "has an option 'n_', a name that fairfix uses itself; rename it",
    "flag": "has a flag 'n' that is on by default; invert its meaning",
}


def functions() -> dict[str, Any]:
    def seed(problem, objective, *, n: int = 1): ...  # type: ignore[no-untyped-def]
    def two(problem, *, seed): ...  # type: ignore[no-untyped-def]
    def star(problem, objective, *, seed, **options): ...  # type: ignore[no-untyped-def]
    def default(problem, objective, *, seed, n: int): ...  # type: ignore[no-untyped-def]
    def annotation(problem, objective, *, seed, n=1): ...  # type: ignore[no-untyped-def]
    def kind(problem, objective, *, seed, n: list[int] = ()): ...  # type: ignore
    def numbers(problem, objective, *, seed, n: Literal[1, 2] = 1): ...  # type: ignore
    def text(problem, objective, *, seed, n: Annotated[str, Range(0)] = ""): ...  # type: ignore
    def unknown(problem, objective, *, seed, n: Nowhere = 1): ...  # type: ignore # noqa: F821
    def range(problem, objective, *, seed, n: Annotated[int, Range(1)] = 0): ...  # type: ignore
    def type(problem, objective, *, seed, n: int = 0.5): ...  # type: ignore
    def choice(problem, objective, *, seed, n: Literal["a", "b"] = "c"): ...  # type: ignore
    def reserved(problem, objective, *, seed, metric: str = ""): ...  # type: ignore
    def underscore(problem, objective, *, seed, n_: int = 1): ...  # type: ignore
    def flag(problem, objective, *, seed, n: bool = True): ...  # type: ignore

    return dict(locals())


@pytest.mark.parametrize("name", HINTS)
def test_a_signature_that_cannot_be_described_is_refused(name: str) -> None:
    message = rf"Method '{name}' \(module {__name__}\) .*{HINTS[name]}"
    for use in (methods.register, methods.describe):
        with pytest.raises(UsageError, match=message):
            use(functions()[name])


@pytest.mark.parametrize("value", [3, lambda problem, objective, *, seed: None, partial(shift)])
def test_only_functions_with_a_name_are_methods(value: Any) -> None:
    with pytest.raises(UsageError, match="A method must be a function defined with def, not a"):
        methods.register(value)


def test_what_an_outside_method_needs_comes_from_one_place() -> None:
    for name in ("CandidateSearch", "Objective", "Policy", "Problem", "Result", "policy_result"):
        assert name in dir(methods)
        assert getattr(methods, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Reslt'"):
        _ = methods.Reslt  # type: ignore[attr-defined]


def test_a_search_keeps_the_best_candidate_of_an_outside_method() -> None:
    problem = biased_problem(zoo.scorer("modules"), zoo.features(120))

    def jitter(problem: Problem, objective: Objective, *, seed: int, tries: int = 8) -> Result:
        assert problem.scorer is not None
        search = methods.CandidateSearch(problem, objective, in_sample=True)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(tries):
            state = problem.scorer.weights()
            for value in state.values():
                value *= 1 + 0.3 * torch.randn(value.shape, generator=generator)
            search.add(problem.score(state), lambda state=state: state)
        return search.result()

    result = methods.describe(jitter).run(problem, Objective(), seed=1)
    assert len(result.trajectory) == 9
    best = max(result.trajectory, key=lambda step: step.utility)
    assert result.trajectory[result.chosen] == best
    assert result.trajectory[0] == methods.get("identity").run(problem, Objective()).trajectory[0]


def test_plans_of_studies_know_registered_methods() -> None:
    methods.register(shift)
    assert plan_study([], [Objective()], ["shift"]).cells == ()
