"""The built-in methods: their description is what their source says."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest

from fairfix import methods
from fairfix.errors import UsageError
from fairfix.methods import builtin_names, get, names
from fairfix.methods._description import FACTS

every_method = pytest.mark.parametrize("name", builtin_names())


def test_the_built_in_methods_are_the_public_files_of_the_folder() -> None:
    folder = Path(methods.__file__).parent
    files = sorted(path.stem for path in folder.glob("[!_]*.py"))
    assert list(builtin_names()) == files
    assert {"identity", "prune", "gda"} <= set(builtin_names()) <= set(names())


@every_method
def test_a_method_is_the_function_its_source_describes(name: str) -> None:
    function = get(name).load()
    assert (function.__name__, function.__module__) == (name, f"fairfix.methods.{name}")
    problem, objective, seed, *options = inspect.signature(function).parameters.values()
    assert [problem.name, objective.name, seed.name] == ["problem", "objective", "seed"]
    assert (seed.kind, seed.default) == (inspect.Parameter.KEYWORD_ONLY, 0)
    described = [(option.name, option.default) for option in get(name).options]
    assert described == [(option.name, option.default) for option in options]


@every_method
def test_source_and_signature_describe_the_same_options(name: str) -> None:
    """Types, choices and ranges that are read from the source are those of the annotations."""
    function = get(name).load()
    hints = get_type_hints(function, include_extras=True)
    for option in get(name).options:
        hint, allowed = hints[option.name], None
        if get_origin(hint) is Annotated:
            hint, allowed = get_args(hint)
        choices = get_args(hint) if get_origin(hint) is Literal else ()
        assert (option.allowed, option.choices) == (allowed, choices)
        assert option.type is (str if choices else hint)


@every_method
def test_every_number_has_a_range(name: str) -> None:
    for option in get(name).options:
        assert (option.allowed is not None) == (option.type in (int, float))


@every_method
def test_every_fact_is_stated(name: str) -> None:
    method = get(name)
    assert tuple(method.facts) == FACTS
    assert (method.needs_group is None) == (name == "auto")  # by its option --use-group
    assert "When not to use it:" in method.description


@every_method
def test_every_option_has_help_and_a_default_that_fits(name: str) -> None:
    for option in get(name).options:
        assert option.help[-1] == "."
        assert "\n" not in option.help
        assert option.check(option.default) == option.default
        assert not option.choices or option.default in option.choices


@every_method
def test_the_summary_is_the_first_paragraph_of_the_module(name: str) -> None:
    method = get(name)
    text = sys.modules[method.load().__module__].__doc__
    assert text is not None
    first = " ".join(text.split("\n\n")[0].split()).replace("``", "")
    assert method.summary == first
    assert method.summary[-1] == "."
    assert method.description.startswith(method.summary)


def test_the_table_names_every_method() -> None:
    rows = methods.table(builtin_names()).splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(builtin_names())
    assert methods.table() == methods.table(names())


def test_an_unknown_method_is_named_with_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"Unknown method 'prun'; did you mean 'prune'\?.*identity"
    ):
        get("prun")
    with pytest.raises(UsageError, match=r"Unknown method '__init__'"):
        get("__init__")


def test_an_unknown_option_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"prune has no option 'per_stp'; did you mean 'per_step'"):
        get("prune").checked({"per_stp": 1})


def test_options_are_completed_by_their_defaults() -> None:
    found = get("gda").checked({"learning_rate": 1, "optimizer": "sgd"})
    defaults = {option.name: option.default for option in get("gda").options}
    assert found == {**defaults, "learning_rate": 1.0, "optimizer": "sgd"}
    assert isinstance(found["learning_rate"], float)


@pytest.mark.parametrize(
    ("name", "option", "value", "wanted"),
    [
        ("gda", "epochs", 1.5, "of type int"),
        ("gda", "epochs", "3", "of type int"),
        ("gda", "epochs", True, "of type int"),
        ("gda", "epochs", None, "of type int"),
        ("gda", "learning_rate", "fast", "of type float"),
        ("gda", "learning_rate", False, "of type float"),
        ("gda", "train_mode", 1, "of type bool"),
        ("gda", "optimizer", "lion", "adam or sgd"),
        ("prune", "score", "", "removal or gradient"),
        ("gda", "epochs", -1, "at least 0"),
        ("gda", "learning_rate", 0, "above 0"),
        ("adversarial", "entropy_share", 1.5, r"in \[0, 1\]"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(
    name: str, option: str, value: Any, wanted: str
) -> None:
    with pytest.raises(UsageError, match=f"{option} must be {wanted}, not"):
        get(name).checked({option: value})


def test_describing_methods_imports_nothing_heavy() -> None:
    code = """
        import sys
        from fairfix import methods
        methods.table()
        heavy = {"torch", "numpy", "pandas", "scipy", "sklearn", "skopt", "aif360"}
        print(sorted(heavy & sys.modules.keys()))
    """
    command = [sys.executable, "-c", inspect.cleandoc(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
