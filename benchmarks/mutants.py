"""Put fixed faults into metrics, thresholds, and verdicts, and check that the tests find them.

    python benchmarks/mutants.py                # all mutants
    python benchmarks/mutants.py --only NAME    # one mutant; may be repeated
    python benchmarks/mutants.py --list         # where each mutant applies; runs no test

Each mutant changes one expression of the package. The script copies the tracked files to a
temporary directory and checks that the selected tests pass there. Then it applies one mutant at a
time, runs its tests with ``-x``, and restores the file. A mutant is killed if a test fails; the
first failing test is printed. The exit code is 0 if every mutant was killed, 1 if any survived, and
2 if a mutant does not apply, is not valid Python, or its tests cannot run.

Files may move: a mutant is found by its source text and by the name of the function, method, class,
or module-level variable whose definition contains it. Tokens are compared, so line breaks and
comments do not matter. The text must occur exactly once. After renaming a test file, change
``TESTS``; after renaming a definition or rewriting an expression, change its mutant.
"""

from __future__ import annotations

import argparse
import ast
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 600  # seconds for the tests of one mutant

# Test files without .py, found anywhere below tests/. Wildcards are allowed: "test_rates*".
TESTS = {
    "cli_gate": "cli/test_gate",
    "decision_changes": "test_decision_changes",
    "evaluation": "test_evaluation",
    "folding": "test_folding",
    "gate": "workflows/test_gate",
    "intervals": "test_intervals",
    "objective": "test_objective",
    "per_group": "test_per_group",
    "policy": "test_policy",
    "randomized": "test_randomized",
    "rates": "test_rates",
    "row_fingerprints": "test_row_fingerprints",
    "rule": "test_rule",
    "shared": "test_shared",
    "tradeoff_curve": "test_tradeoff_curve",
    "verdicts": "test_verdicts",
}


class Mutant(NamedTuple):
    """One fault.

    Attributes:
        name: unique.
        where: name of the function, method, class, or module-level variable; may be qualified, as
            in ``Share.variance``.
        old, new: the expression and its replacement, each with balanced parentheses.
        tests: keys of ``TESTS``, separated by spaces.
    """

    name: str
    where: str
    old: str
    new: str
    tests: str


METRICS = [
    Mutant(
        "rate-variance-without-design-effect",
        "Share.variance",
        "self.design_effect * share * (1 - share)",
        "share * (1 - share)",
        "rates",
    ),
    Mutant(
        "rate-variance-unsmoothed",
        "Share.variance",
        "(self.hits + 1) / (self.trials + 2)",
        "self.hits / self.trials",
        "rates",
    ),
    Mutant(
        "variance-of-rate-for-its-logarithm",
        "Share.log_variance",
        "(1 - share) / (share * self.trials)",
        "(1 - share) * share / self.trials",
        "rates",
    ),
    Mutant("design-effect-of-1", "design_effect", "w * w", "w", "rates"),
    Mutant(
        "base-rate-for-selection-rate",
        "selection_rate",
        '("tp", "fp"),',
        '("tp", "fn"),',
        "rates",
    ),
    Mutant(
        "precision-for-tpr",
        "true_positive_rate",
        '("tp", "fn")',
        '("tp", "fp")',
        "rates",
    ),
    Mutant(
        "false-discovery-rate-for-fpr",
        "false_positive_rate",
        '("fp", "tn")',
        '("fp", "tp")',
        "rates",
    ),
    Mutant(
        "privileged-minus-unprivileged",
        "_spread",
        "value[..., 0] - value[..., 1]",
        "value[..., 1] - value[..., 0]",
        "rates",
    ),
    Mutant(
        "difference-variance-of-one-group",
        "_pairs",
        "variance[..., i : i + 1] + variance[..., i + 1 :]",
        "variance[..., i + 1 :]",
        "rates",
    ),
    Mutant(
        "aaod-of-signed-differences",
        "_mean_absolute",
        "one.abs() + other.abs()",
        "(one + other).abs()",
        "rates",
    ),
    Mutant(
        "eqodds-takes-the-smaller-gap",
        "_largest",
        "torch.maximum(value, gap.size)",
        "torch.minimum(value, gap.size)",
        "rates",
    ),
    Mutant(
        "one-sided-disparate-impact",
        "_ratio",
        "torch.minimum(ratio, 1 / ratio)",
        "ratio",
        "rates",
    ),
    Mutant(
        "standard-error-without-root",
        "Gap.probability_within",
        "k * part.variance.sqrt()",
        "k * part.variance",
        "rates",
    ),
    Mutant("auc-counts-ties-fully", "_auc", "negative / 2", "negative", "rates"),
    Mutant("risk-for-confidence", "risk_constrained", "1 - risk", "risk", "objective"),
    Mutant(
        "objective-met-at-the-budget",
        "Objective.met",
        "self.metric(counts).size < self.budget",
        "self.metric(counts).size <= self.budget",
        "objective",
    ),
    Mutant(
        "evaluation-met-at-the-budget",
        "evaluate",
        "sizes[objective.metric.key] < objective.budget",
        "sizes[objective.metric.key] <= objective.budget",
        "evaluation",
    ),
]

THRESHOLDS = [
    Mutant("threshold-at-the-next-score", "_threshold", "(above + below) / 2", "below", "shared"),
    Mutant(
        "threshold-within-round-off",
        "allowed_positions",
        "ROUND_OFF * ordered[:, :-1].clamp(min=_SMALLEST)",
        "0",
        "shared",
    ),
    Mutant(
        "last-of-equal-thresholds",
        "_best_thresholds",
        "top > utility",
        "top >= utility",
        "shared",
    ),
    Mutant(
        "row-weights-ignored",
        "cumulative_counts",
        "here * weights",
        "here",
        "shared",
    ),
    Mutant(
        "linear-bound-for-log-ratio",
        "Contrast.bound",
        "log_bound(budget)",
        "budget",
        "per_group",
    ),
    Mutant("gap-bounded-on-one-side", "_pairs", "a - bound", "a", "per_group"),
    Mutant(
        "worst-partner-threshold",
        "_argmax_between",
        "best[first] >= best[second]",
        "best[first] <= best[second]",
        "per_group",
    ),
    Mutant(
        "half-the-bound-for-three-groups",
        "_tuples",
        "lowest + bound",
        "lowest + bound / 2",
        "per_group",
    ),
    Mutant(
        "probabilities-summed-from-the-top",
        "_steps",
        "np.cumsum(shares[used][::-1])[::-1]",
        "np.cumsum(shares[used])",
        "randomized",
    ),
    Mutant(
        "randomized-beyond-the-bound",
        "_best_within",
        "bound - _SLACK",
        "bound + _SLACK",
        "randomized",
    ),
    Mutant(
        "positive-at-the-threshold",
        "Policy.probability",
        "scores > threshold",
        "scores >= threshold",
        "policy",
    ),
    Mutant(
        "draw-of-0-always-wins",
        "Policy.decide",
        "draws < positive",
        "draws <= positive",
        "policy",
    ),
    Mutant(
        "thresholds-in-order-of-the-rule",
        "DecisionRule.policy",
        "self.thresholds[name] for name in group_names",
        "self.thresholds[name] for name in self.thresholds",
        "rule",
    ),
    Mutant(
        "bias-shifted-the-wrong-way",
        "fold_threshold",
        "-math.log(threshold / (1 - threshold))",
        "math.log(threshold / (1 - threshold))",
        "folding",
    ),
    Mutant(
        "dominated-points-kept",
        "_undominated",
        "best[1:] > best[:-1]",
        "best[1:] >= best[:-1]",
        "tradeoff_curve",
    ),
    Mutant(
        "front-must-beat-in-both",
        "_undominated",
        "(probability > besides.probability) | (performance > besides.performance)",
        "(probability > besides.probability) & (performance > besides.performance)",
        "tradeoff_curve",
    ),
]

VERDICTS = [
    Mutant(
        "two-sided-quantile",
        "normal_quantile",
        "special.ndtri(alpha)",
        "special.ndtri(alpha / 2)",
        "intervals",
    ),
    Mutant(
        "exact-limits-with-undivided-alpha",
        "exact_contrast_limits",
        "np.asarray(alpha)[..., None] / coefficients.shape[-1]",
        "np.asarray(alpha)[..., None]",
        "intervals",
    ),
    Mutant(
        "ratio-variance-with-first-power",
        "ratio_z",
        "ratio * ratio * q * (1 - q) / m",
        "ratio * q * (1 - q) / m",
        "intervals",
    ),
    Mutant(
        "verdict-without-design-effect",
        "MetricRates.from_counts",
        "to_array(side) / effect",
        "to_array(side)",
        "verdicts",
    ),
    Mutant(
        "certified-by-the-smallest-contrast",
        "size_upper_limit",
        "np.maximum(abs(low), abs(high)).max(-1)",
        "np.maximum(abs(low), abs(high)).min(-1)",
        "verdicts",
    ),
    Mutant(
        "violated-without-bonferroni",
        "size_lower_limit",
        "alpha / rates.n_contrasts",
        "alpha",
        "verdicts",
    ),
    Mutant(
        "p-value-of-the-wrong-side",
        "MetricRates.p_values",
        "special.ndtr(-sign * z)",
        "special.ndtr(sign * z)",
        "verdicts",
    ),
    Mutant("too-few-rows-ignored", "_verdict", "rates.has_too_few_rows()", "False", "verdicts"),
    Mutant(
        "floor-certified-by-the-upper-limit",
        "floor_claim",
        "low >= floor",
        "high >= floor",
        "verdicts",
    ),
    Mutant("holm-correction-off", "holm", "alpha / remaining", "alpha", "verdicts"),
    Mutant(
        "certifiable-gap-searched-downward",
        "certifiable_gap",
        "(middle, high) if passes(middle) else (low, middle)",
        "(low, middle) if passes(middle) else (middle, high)",
        "verdicts",
    ),
    Mutant(
        "auc-change-as-if-unpaired",
        "auc_change",
        "np.array([-1, 1]) @ placements.covariance @ [-1, 1]",
        "np.trace(placements.covariance)",
        "intervals",
    ),
    Mutant(
        "gap-change-as-if-unpaired",
        "_rate_of_fixed_rows",
        "(smooth_both - smooth_was * smooth_now) / n",
        "0 * smooth_both",
        "decision_changes",
    ),
    Mutant(
        "gate-without-holm-correction",
        "after_holm",
        "checks[index].verdict is Verdict.VIOLATED and not still",
        "False",
        "gate",
    ),
    Mutant(
        "one-forgiven-check-passes-all",
        "Gate.exit_code",
        "all(map(self.forgives, self.inconclusive))",
        "any(map(self.forgives, self.inconclusive))",
        "gate",
    ),
    Mutant(
        "reuse-not-scaled", "Overlap.reused", "/ (1 - self.by_chance)", "/ 1", "row_fingerprints"
    ),
    Mutant(
        "all-rows-reused-allowed",
        "Overlap.too_many",
        "> MAX_EXCESS",
        "> 2 * MAX_EXCESS",
        "row_fingerprints",
    ),
]

AREAS = {"metrics": METRICS, "thresholds": THRESHOLDS, "verdicts": VERDICTS}
MUTANTS = [mutant for area in AREAS.values() for mutant in area]


class MutantError(Exception):
    """A mutant does not apply, or its tests cannot run."""


@dataclass(frozen=True)
class Place:
    """Where a mutant applies: characters ``start`` to ``stop`` of a file."""

    path: Path
    line: int
    start: int
    stop: int

    def mutated(self, new: str) -> str:
        """Source of the file with the mutant applied.

        Raises:
            MutantError: if that is not valid Python, or the same program.
        """
        text = _text(self.path)
        changed = text[: self.start] + new + text[self.stop :]
        try:
            same = ast.dump(ast.parse(changed)) == ast.dump(ast.parse(text))
        except SyntaxError as error:
            raise MutantError(f"not valid Python: {error.msg}") from None
        if same:
            raise MutantError("the replacement is the same program")
        return changed


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _definitions(path: Path) -> list[tuple[str, range]]:
    """Qualified name and lines of every function, method, class, and module-level assignment."""

    def lines(node: ast.stmt) -> range:
        assert node.end_lineno is not None
        return range(node.lineno, node.end_lineno + 1)

    def inside(node: ast.AST, prefix: str) -> Iterator[tuple[str, range]]:
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}.{child.name}"
                yield name, lines(child)
            yield from inside(child, name)

    tree = ast.parse(_text(path))
    assigned = [
        (f".{target.id}", lines(statement))
        for statement in tree.body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for target in getattr(statement, "targets", None) or [statement.target]
        if isinstance(target, ast.Name)
    ]
    return [*inside(tree, ""), *assigned]


@cache
def _tokens(text: str) -> list[tokenize.TokenInfo]:
    """Tokens, except comments and line breaks inside statements."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER}
    found = tokenize.generate_tokens(io.StringIO(text).readline)
    return [token for token in found if token.type not in skipped]


def places(mutant: Mutant, paths: Iterable[Path]) -> set[Place]:
    """All places in definitions named ``where`` at which the old text occurs.

    Raises:
        MutantError: if the old text has unbalanced parentheses.
    """
    try:
        wanted = [token.string for token in _tokens(mutant.old) if token.type != tokenize.NEWLINE]
    except tokenize.TokenError:
        raise MutantError(f"{mutant.old!r} has unbalanced parentheses") from None
    found = set()
    for path in paths:
        regions = [lines for name, lines in _definitions(path) if name.endswith(f".{mutant.where}")]
        if not regions:
            continue
        tokens, text = _tokens(_text(path)), _text(path)
        offsets = [0, *accumulate(map(len, io.StringIO(text)))]
        for i in range(len(tokens) - len(wanted) + 1):
            here = tokens[i : i + len(wanted)]
            (row, column), (last, end) = here[0].start, here[-1].end
            if [t.string for t in here] == wanted and any(row in r and last in r for r in regions):
                found.add(Place(path, row, offsets[row - 1] + column, offsets[last - 1] + end))
    return found


def locate(mutant: Mutant, paths: Iterable[Path]) -> Place:
    """The one place where the mutant applies.

    Raises:
        MutantError: if there is none, or more than one.
    """
    found = places(mutant, paths)
    if len(found) != 1:
        raise MutantError(
            f"{mutant.old!r} occurs {len(found)} times in definitions named {mutant.where}"
        )
    return found.pop()


def files_of(root: Path, keys: str) -> list[str]:
    """Test files by keys of ``TESTS``, relative to the root.

    Raises:
        MutantError: if a pattern matches no file.
    """
    found: list[str] = []
    for key in keys.split():
        matches = sorted((root / "tests").rglob(f"{TESTS[key]}.py"))
        if not matches:
            raise MutantError(f"no test file matches {TESTS[key]!r}")
        found += [str(path.relative_to(root)) for path in matches]
    return found


def run_tests(root: Path, files: Sequence[str]) -> str | None:
    """The first failing test; None if all pass.

    Raises:
        MutantError: if the tests cannot be collected or exceed ``TIMEOUT``.
    """
    options = ["-x", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider"]
    # A bytecode file of equal size and time would hide the mutant.
    environment = {
        "OMP_NUM_THREADS": "1",
        **os.environ,
        "PYTHONPATH": str(root),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *files],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MutantError(f"the tests took longer than {TIMEOUT} s") from None
    if done.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+::.+?)(?: - |$)", done.stdout, re.MULTILINE)
    if done.returncode != 1 or failed is None:
        output = (done.stdout + done.stderr).strip().splitlines()[-5:]
        raise MutantError("\n".join(["the tests could not run:", *output]))
    return failed[1]


def copy_tracked(target: Path) -> None:
    """Copy the tracked files, as they are in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def check(mutants: Sequence[Mutant], root: Path) -> dict[str, Place]:
    """The place of each mutant, by name.

    Raises:
        MutantError: with one line for each mutant that does not apply.
    """
    paths = sorted((root / "fairfix").rglob("*.py"))
    found, faults = {}, []
    for mutant in mutants:
        try:
            found[mutant.name] = locate(mutant, paths)
            found[mutant.name].mutated(mutant.new)
            files_of(root, mutant.tests)
        except MutantError as error:
            faults.append(f"{mutant.name}: {error}")
    if faults:
        raise MutantError("\n".join(faults))
    return found


def survives(mutant: Mutant, place: Place, root: Path) -> bool:
    """Apply one mutant, run its tests, restore the file, and print the result."""
    original, began = _text(place.path), time.perf_counter()
    place.path.write_text(place.mutated(mutant.new), encoding="utf-8")
    try:
        failed = run_tests(root, files_of(root, mutant.tests))
    except MutantError as error:
        raise MutantError(f"{mutant.name}: {error}") from None
    finally:
        place.path.write_text(original, encoding="utf-8")
    outcome = "survived" if failed is None else "killed"
    seconds = time.perf_counter() - began
    print(f"{outcome:8} {seconds:5.1f} s  {mutant.name}  {failed or ''}".rstrip(), flush=True)
    return failed is None


def run(mutants: Sequence[Mutant], root: Path) -> list[str]:
    """Run the tests without a mutant, then with each one. Returns the names of the survivors.

    Raises:
        MutantError: if a mutant does not apply, or a test fails without a mutant.
    """
    found, began = check(mutants, root), time.perf_counter()
    files = sorted({file for mutant in mutants for file in files_of(root, mutant.tests)})
    failed = run_tests(root, files)
    if failed is not None:
        raise MutantError(f"without a mutant, {failed} fails")
    print(f"passed   {time.perf_counter() - began:5.1f} s  without a mutant", flush=True)
    return [mutant.name for mutant in mutants if survives(mutant, found[mutant.name], root)]


def selected(only: Sequence[str] | None) -> list[Mutant]:
    """All mutants, or those named.

    Raises:
        MutantError: for an unknown name, or two mutants of one name.
    """
    names = Counter(mutant.name for mutant in MUTANTS)
    twice = [name for name, times in names.items() if times > 1]
    if twice:
        raise MutantError(f"two mutants have the name {twice[0]!r}")
    unknown = [name for name in only or () if name not in names]
    if unknown:
        raise MutantError(f"no mutant has the name {unknown[0]!r}; --list shows all")
    return [mutant for mutant in MUTANTS if only is None or mutant.name in only]


def list_mutants(mutants: Sequence[Mutant], root: Path) -> None:
    """Print where each mutant applies and what it changes."""
    for name, place in check(mutants, root).items():
        mutant = next(mutant for mutant in mutants if mutant.name == name)
        print(f"{name}  {place.path.relative_to(root)}:{place.line}  tests: {mutant.tests}")
        print(f"    - {mutant.old}\n    + {mutant.new}")


def summary(mutants: Sequence[Mutant], survivors: Sequence[str], seconds: float) -> None:
    """Print how many mutants of each area were killed, and which survived."""
    print()
    for area, members in AREAS.items():
        names = [mutant.name for mutant in members if mutant in mutants]
        killed = sum(name not in survivors for name in names)
        if names:
            print(f"{area:10} {killed} of {len(names)} killed")
    killed = len(mutants) - len(survivors)
    print(f"{'all':10} {killed} of {len(mutants)} killed in {seconds:.0f} s")
    if survivors:
        print(f"survived: {', '.join(survivors)}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="run only this mutant")
    parser.add_argument("--list", action="store_true", help="show the mutants; run no test")
    options = parser.parse_args()
    began = time.perf_counter()
    try:
        mutants = selected(options.only)
        if options.list:
            list_mutants(mutants, ROOT)
            return 0
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            root = Path(folder).resolve()
            copy_tracked(root)
            survivors = run(mutants, root)
    except MutantError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 2
    summary(mutants, survivors, time.perf_counter() - began)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
