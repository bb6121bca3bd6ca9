"""The description of a method: its name, help, options and facts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fairfix._utils.constraints import Range
from fairfix._utils.text import did_you_mean, error_summary
from fairfix.errors import FairfixError, MethodError, UsageError

if TYPE_CHECKING:
    from fairfix.data.problem import Problem
    from fairfix.methods._result import Result
    from fairfix.metrics.objective import Objective

FACTS = ("Changes", "Group at prediction", "Gradients", "Training rows", "Cost", "Paper")
"""Keys of the facts of a method, the columns of the table of methods."""

FIXED_PARAMETERS = ("problem", "objective", "seed")
"""Parameters of every method that are not options."""

MethodFunction = Callable[..., "Result"]
"""``f(problem, objective, *, seed, **options) -> Result``."""


@dataclass(frozen=True)
class Option:
    """An option of a method.

    Attributes:
        name: of the parameter.
        type: int, float, str or bool.
        default: a value of this type.
        choices: the allowed values; empty if they are not listed.
        help: one or more sentences.
        allowed: the allowed range of a number; None for every number.
    """

    name: str
    type: type
    default: Any
    choices: tuple[str, ...] = ()
    help: str = ""
    allowed: Range | None = None

    def check(self, value: Any) -> Any:
        """Return the value as the method takes it; whole numbers are numbers.

        Raises:
            UsageError: if it has another type, is not a choice, or is out of range.
        """
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        right_type = isinstance(value, self.type) and isinstance(value, bool) == (self.type is bool)
        if not right_type or (self.choices and value not in self.choices):
            kind = " or ".join(self.choices) if self.choices else f"of type {self.type.__name__}"
            raise UsageError(f"{self.name} must be {kind}, not {value!r}.")
        if self.type in (int, float):
            (self.allowed or Range()).check(self.name, value)
        return value


@dataclass(frozen=True)
class Method:
    """A method, built-in or from outside the package.

    Attributes:
        name: what users call it; also the name of its function and of its command.
        summary: the first paragraph of its docstring.
        description: the paragraphs before the arguments, summary included.
        options: in the order of the signature.
        facts: what it changes, needs and costs, by the keys ``FACTS``; may be empty.
        load: import and return the function itself.
        builtin: whether it is part of fairfix.
    """

    name: str
    summary: str
    description: str
    options: tuple[Option, ...]
    facts: Mapping[str, str]
    load: Callable[[], MethodFunction]
    builtin: bool = True

    @property
    def needs_group(self) -> bool | None:
        """Whether decisions need the group column; None if the method does not state it."""
        stated = self.facts.get("Group at prediction", "").lower()
        return {"yes": True, "no": False}.get(stated)

    @property
    def training_use(self) -> str | None:
        """What the method uses training rows for, in words; None if it takes none."""
        need, _, use = self.facts.get("Training rows", "no").partition(", for ")
        return None if need.lower() == "no" else use or "learning"

    @property
    def needs_training(self) -> bool:
        """Whether the method does not run without training rows."""
        return self.facts.get("Training rows", "no").lower().startswith("needed")

    @property
    def changes(self) -> str:
        """What the method changes, in words; empty if it does not state it."""
        return self.facts.get("Changes", "")

    @property
    def changes_score(self) -> bool:
        """Whether a score model in the rule takes the place of the network's score."""
        return self.changes.startswith("the score")

    def checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return all options with their values, defaults filled in.

        Raises:
            UsageError: if an option is unknown or a value is not allowed.
        """
        known = {option.name: option for option in self.options}
        for name in options:
            if name not in known:
                raise UsageError(f"{self.name} has no option {name!r}{did_you_mean(name, known)}")
        return {
            name: option.check(options[name]) if name in options else option.default
            for name, option in known.items()
        }

    def run(
        self, problem: Problem, objective: Objective, *, seed: int = 0, **options: Any
    ) -> Result:
        """Run the method on the rows of a problem.

        Args:
            problem: the validation rows. They and the network are left unchanged.
            objective: what is optimized.
            seed: seed of every random choice.
            options: options of the method; the others have their defaults.

        Raises:
            UsageError: if an option is unknown or not allowed, if the method does not apply to
                the problem or the goal, or if a method from outside returns an invalid result.
            MethodError: if a method from outside raises an exception of its own.
        """
        from fairfix.methods._goal import check_goal

        checked = self.checked(options)
        check_goal(objective, self.name, self.changes)
        function = self.load()
        if self.builtin:
            return function(problem, objective, seed=seed, **checked)
        from fairfix.methods._outside_result import complete_result

        try:
            result = function(problem, objective, seed=seed, **checked)
        except FairfixError:
            raise
        except Exception as error:
            raise MethodError(
                f"The method {self.name!r} from outside fairfix failed: {error_summary(error)} "
                "(--debug shows where)."
            ) from error
        return complete_result(self.name, result, problem, objective)


def method_table(methods: Iterable[Method]) -> str:
    """Return methods and their facts as a Markdown table; a missing fact is "-"."""
    header = ["command", *(key.lower() for key in FACTS)]
    rows = [
        [f"`{method.name}`", *(method.facts.get(key, "-") for key in FACTS)] for method in methods
    ]
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# Docstrings, Google style.

_FACT = re.compile(rf"({'|'.join(FACTS)}): (.+?)\.?")
_SECTION = re.compile(r"(Args|Returns|Raises|Yields|Attributes|Notes?|Examples?|References):(\n|$)")
_ARGUMENT = re.compile(r" {4}(\w+(?:, \w+)*)(?: \([^)]*\))?: *(.*)")


def parse_docstring(text: str) -> tuple[list[str], dict[str, str]]:
    """Return the paragraphs before the first section, each on one line, and the facts.

    Facts are the last paragraph if each of its lines is "KEY: TEXT." with a key of ``FACTS``.

    Args:
        text: a docstring without its indentation.
    """
    parts = text.replace("``", "").strip().split("\n\n")
    matches = [_FACT.fullmatch(line) for line in parts[-1].splitlines()]
    facts = {match[1]: match[2] for match in matches if match}
    if matches and len(facts) == len(matches):
        parts.pop()
    else:
        facts = {}
    paragraphs = []
    for part in parts:
        if _SECTION.match(part) or part.startswith(">>>"):
            break
        paragraphs.append(" ".join(part.split()))
    return [paragraph for paragraph in paragraphs if paragraph], facts


def parse_argument_help(docstring: str) -> dict[str, str]:
    """Return the entries of the ``Args:`` section of a docstring by name, each on one line."""
    section = re.search(r"^Args:\n((?: +.*\n?|\n)+)", docstring, re.MULTILINE)
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in (section[1] if section else "").splitlines():
        if entry := _ARGUMENT.fullmatch(line):
            names = entry[1].split(", ")
            texts |= dict.fromkeys(names, entry[2])
        else:
            texts |= {name: f"{texts[name]} {line.strip()}".strip() for name in names}
    return texts
