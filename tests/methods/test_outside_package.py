"""Methods of another package: found by metadata, imported when used, run like built-in ones."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fairfix
from fairfix.bench.journal import Journal
from fairfix.errors import MethodError, UsageError
from fairfix.methods import Policy, Result
from tests.helpers.runs import Ended, Place

METHODS = '''
"""Two methods and two mistakes; importing this module leaves a mark."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from fairfix.methods import Range

if TYPE_CHECKING:
    from fairfix.methods import Objective, Problem, Result

Path(os.environ["MARK"]).touch()


def shift(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    by: Annotated[float, Range(-1, 1)] = 0.1,
    side: Literal["up", "down"] = "up",
    quietly: bool = False,
) -> Result:
    """Shift today's threshold.

    No search.

    Args:
        by: how far [in score units].
        side: up or down.
        quietly: without a note.

    Changes: threshold.
    Group at prediction: no.
    """
    from fairfix.methods import Policy, Result

    threshold = problem.threshold + (by if side == "up" else -by)
    return Result(Policy.shared(threshold), notes=() if quietly else ("shifted",))


def damp(problem, objective, *, seed, factor: float = 0.5):
    from fairfix.methods import CandidateSearch

    state = problem.scorer.weights()
    for value in state.values():
        value *= factor
    search = CandidateSearch(problem, objective)
    search.add(problem.score(state), lambda: state)
    return search.result()


def unseeded(problem, objective, *, n: int = 1):
    pass


def misnamed(problem, objective, *, seed):
    pass
'''

ENTRY_POINTS = """
[fairfix.methods]
shift = outside_methods:shift
damp = outside_methods:damp
unseeded = outside_methods:unseeded
other = outside_methods:misnamed
absent = outside_methods:nothing
gone = no_such_module:gone
audit = outside_methods:shift
prune = outside_methods:damp
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with an installed package, written by hand."""
    folder = tmp_path / "site"
    info = folder / "outside-1.5.dist-info"
    info.mkdir(parents=True)
    (folder / "outside_methods.py").write_text(METHODS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


class Shell:
    """Runs fairfix in processes of their own, with the package installed."""

    def __init__(self, site: Path, folder: Path) -> None:
        self.mark = folder / "imported"
        root = Path(fairfix.__file__).parent.parent
        self._env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(site), str(root)]),
            "MARK": str(self.mark),
            "COLUMNS": "100",
        }
        self._folder = folder

    def python(self, *words: object) -> Ended:
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=self._env, cwd=self._folder, timeout=300
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def __call__(self, *words: object) -> Ended:
        return self.python("-m", "fairfix", *words)


@pytest.fixture
def shell(site: Path, place: Place) -> Shell:
    return Shell(site, place.folder)


def test_help_names_the_methods_without_importing_them(shell: Shell) -> None:
    ended = shell("--help")
    assert (ended.code, ended.err) == (0, "")
    lines = [" ".join(line.strip("│ ").split()) for line in ended.out.splitlines()]
    assert "shift Method of package outside 1.5." in lines
    assert "gone Method of package outside 1.5." in lines
    assert not shell.mark.exists()
    script = "from fairfix import methods; print(sorted(methods.names()))"
    assert "'damp', 'eqodds'" in shell.python("-c", script).out
    assert not shell.mark.exists()


def test_the_help_of_a_method_is_its_docstring(shell: Shell) -> None:
    ended = shell("shift", "--help")
    assert (ended.code, ended.err) == (0, "")
    text = " ".join(ended.out.replace("│", " ").split())
    for words in (
        "fairfix shift [OPTIONS]",
        "Shift today's threshold.",
        "fairfix shift model.pt val.csv --by 0.1",
        "How far [in score units]. (default: 0.1; in [-1, 1])",
        "<up|down> Up or down. (default: up)",
        "--quietly",
        "--metric",
    ):
        assert words in text
    assert "No search." not in text
    assert "No search." in shell("shift", "--help-all").out


def test_a_method_runs_as_a_command_and_in_the_library(shell: Shell, place: Place) -> None:
    words = (place.model, place.val, "--test", place.test, "--trust-checkpoint", "--allow-trivial")
    ended = shell("damp", *words, "--factor", 0.25, "--json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert report["method"]["name"] == "damp"
    assert report["method"]["options"] == {"factor": 0.25}
    assert len(report["method"]["trajectory"]) == 2
    ended = shell("shift", *words, "--side", "down", "--json", "--force")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert report["rule"]["threshold"] == pytest.approx(0.4)
    assert "shifted" in report["notes"]
    assert [step["step"] for step in report["method"]["trajectory"]] == [0, 1]
    script = (
        "import fairfix, json, sys\n"
        "case = fairfix.load(sys.argv[1], sys.argv[2], trust=True)\n"
        "outcome = fairfix.debias(case, 'shift', test=sys.argv[3], by=-0.1)\n"
        "print(json.dumps(outcome.rule.to_json()))\n"
    )
    ended = shell.python("-c", script, place.model, place.val, place.test)
    assert json.loads(ended.out)["threshold"] == pytest.approx(0.4)


def test_settings_have_a_table_for_a_method(shell: Shell, place: Place) -> None:
    (place.folder / "fairfix.toml").write_text("[shift]\nby = 0.2\n[damp]\nfactor = 0.1\n")
    words = (place.model, place.val, "--trust-checkpoint", "--json")
    ended = shell("shift", *words)
    assert json.loads(ended.out)["rule"]["threshold"] == pytest.approx(0.7), ended.err
    (place.folder / "fairfix.toml").write_text("[shift]\nbuy = 0.2\n")
    ended = shell("shift", *words)
    assert ended.code == 2
    assert ended.sentence.endswith("[shift] has no option 'buy'; did you mean 'by'?")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "gone",
            "The method 'gone' of package outside 1.5 cannot be imported (ModuleNotFoundError: No "
            "module named 'no_such_module'); repair or uninstall the package.",
        ),
        (
            "absent",
            "The method 'absent' of package outside 1.5 cannot be imported (AttributeError: module "
            "'outside_methods' has no attribute 'nothing'); repair or uninstall the package.",
        ),
        (
            "unseeded",
            "Method 'unseeded' (package outside 1.5) has no parameter seed; define it as "
            "f(problem, objective, *, seed, <options with defaults>) and take every random number "
            "from the seed.",
        ),
        (
            "other",
            "The method 'other' of package outside 1.5 is a function named 'misnamed'; both must "
            "have the same name.",
        ),
        (
            "prune",
            "The name 'prune' is taken by fairfix itself, but package outside 1.5 offers a method "
            "of that name; uninstall the package, or have its method renamed.",
        ),
    ],
)
def test_a_broken_method_is_one_sentence_when_it_is_used(
    shell: Shell, place: Place, name: str, message: str
) -> None:
    ended = shell(name, place.model, place.val)
    assert (ended.code, ended.out, ended.err) == (2, "", f"fairfix: {message}\n")


def test_a_name_of_another_command_stays_that_command(shell: Shell) -> None:
    ended = shell("audit", "--help")
    assert "Measure every metric" in ended.out
    script = "from fairfix import methods; methods.get('audit')"
    ended = shell.python("-c", script)
    assert (
        "UsageError: The name 'audit' is taken by fairfix itself, but package outside 1.5 offers a "
        "method of that name; uninstall the package, or have its method renamed."
    ) in ended.err


def test_a_wrong_option_is_refused_as_for_built_in_methods(shell: Shell, place: Place) -> None:
    ended = shell("shift", place.model, place.val, "--by", 2)
    assert (ended.code, ended.sentence) == (2, "by must be in [-1, 1], not 2.0.")
    ended = shell("shift", place.model, place.val, "--buy", 2)
    assert ended.code == 2
    assert ended.sentence.startswith("No such option: --buy (Possible options: --budget, --by,")


def test_bench_has_cells_of_the_methods(shell: Shell, place: Place) -> None:
    """In other processes too; a broken method is a refused cell where all methods are run."""
    words = ("bench", place.model, place.val, "--test", place.test, "--trust-checkpoint")
    ended = shell(*words, "--methods", "shift,damp", "--seeds", 2, "--jobs", 2, "-o", "study")
    assert ended.code == 0, ended.err
    rows = list(Journal(place.folder / "study" / "rows.jsonl").rows())
    assert {row["method"] for row in rows} == {"identity", "thresholds", "shift", "damp"}
    assert {row["status"] for row in rows} == {"done"}
    assert [row["chosen"] for row in rows if row["method"] == "shift"] == [1, 1]
    ended = shell(*words, "--methods", "gone", "-o", "other")
    assert (ended.code, ended.sentence[:17]) == (2, "The method 'gone'")
    assert not (place.folder / "other").exists()


def test_a_new_version_of_the_package_is_run_again(shell: Shell, site: Path, place: Place) -> None:
    words = ("bench", place.model, place.val, "--test", place.test, "--trust-checkpoint")
    words = (*words, "--methods", "shift", "--seeds", 1, "--jobs", 1, "-o", "study")
    assert shell(*words).code == 0
    assert "3 of 3 cells are done already" in shell(*words).err
    info = site / "outside-1.5.dist-info"
    info.rename(site / "outside-1.6.dist-info")
    metadata = site / "outside-1.6.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.5", "1.6"))
    assert "2 of 3 cells are done already" in shell(*words).err


def test_a_function_with_the_name_of_a_method_of_a_package(shell: Shell, place: Place) -> None:
    """The function of the package itself is that method; another one is refused."""
    script = (
        "import outside_methods\n"
        "from fairfix import methods\n"
        "from outside_methods import shift\n"
        "assert methods.describe(shift).load() is shift\n"
        "methods.register(shift)\n"
        "assert methods.get('shift').load() is shift\n"
        "def damp(problem, objective, *, seed): pass\n"
        "methods.describe(damp)\n"
    )
    ended = shell.python("-c", script)
    assert ended.err.splitlines()[-1].endswith(
        "The name 'damp' is taken by a method of package outside 1.5; give the function of the "
        "module __main__ another name."
    )


def test_malformed_metadata_of_one_package_is_skipped(shell: Shell, site: Path) -> None:
    info = site / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fairfix.methods]\nno value\n")
    ended = shell("shift", "--help")
    assert (ended.code, ended.err) == (0, "")
    ended = shell("prune", "--help")
    assert (ended.code, ended.err) == (0, "")


SCRIPT = '''
import fairfix
from fairfix import methods
from fairfix.cli.app import main


@methods.register
def halfway(problem, objective, *, seed, share: float = 0.5):
    """Put the threshold between today's and the best one."""
    best = methods.get("identity").run(problem, objective).policy.thresholds(1)[0]
    threshold = share * best + (1 - share) * problem.threshold
    return methods.Result(methods.Policy.shared(threshold))


if __name__ == "__main__":
    main()
'''


def test_a_script_registers_a_method(shell: Shell, place: Place) -> None:
    """It then has its command, and cells in processes that never ran the script."""
    script = place.folder / "script.py"
    script.write_text(SCRIPT)
    ended = shell.python(script, "halfway", "--help")
    assert (ended.code, ended.err) == (0, "")
    assert "Put the threshold between today's and the best one." in ended.out
    words = (place.model, place.val, "--test", place.test, "--trust-checkpoint")
    ended = shell.python(script, "halfway", *words, "--share", 1, "--json", "--allow-trivial")
    assert ended.code == 0, ended.err
    halfway = json.loads(ended.out)
    identity = json.loads(shell("identity", *words, "--json", "--force", "--allow-trivial").out)
    assert halfway["rule"]["threshold"] == identity["rule"]["threshold"]
    study = ("--methods", "halfway", "--seeds", 2, "--jobs", 2, "-o", "study")
    ended = shell.python(script, "bench", *words, *study)
    assert ended.code == 0, ended.err
    rows = list(Journal(place.folder / "study" / "rows.jsonl").rows())
    assert [row["status"] for row in rows if row["method"] == "halfway"] == ["done"] * 2
    assert not shell.mark.exists()


def test_a_method_that_fails_is_named(place: Place) -> None:
    def broken(problem: object, objective: object, *, seed: int = 0) -> None:
        raise ValueError("bad rate")

    case = fairfix.load(place.model, place.val, trust=True)
    with pytest.raises(MethodError, match=r"method 'broken' .* failed: ValueError: bad rate"):
        fairfix.debias(case, broken)


def test_weights_without_scores_are_refused(place: Place) -> None:
    def broken(problem: fairfix.Problem, objective: object, *, seed: int = 0) -> Result:
        assert problem.scorer is not None
        state = {key: value * math.nan for key, value in problem.scorer.weights().items()}
        return Result(Policy.shared(0.5), state=state)

    case = fairfix.load(place.model, place.val, trust=True)
    with pytest.raises(UsageError, match="no probability for some validation rows"):
        fairfix.debias(case, broken)
