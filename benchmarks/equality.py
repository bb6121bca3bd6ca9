"""Record the results of fairfix, and check that two recordings are equal.

Use it when a change of structure or names must not change any result:

    python benchmarks/equality.py record before --data DIR
    ... change the code ...
    python benchmarks/equality.py record after --data DIR
    python benchmarks/equality.py compare before after --bytes
    python benchmarks/equality.py compare before after --map renamed_keys.json

``record`` runs the fairfix of the repository that is the current directory: every method on the
sample models and, if DIR (default: ``$FAIRFIX_DATA``) has them, on two reference networks, then
``audit``, ``gate``, ``predict``, ``inspect`` and a small ``bench`` study. The commands run with
relative paths in a temporary directory, so that two recordings hold equal command lines. By
default each command runs in a fork of a process that has imported the third-party libraries,
which saves most of the time; ``--fresh`` starts ``python -m fairfix`` for each command instead.

``compare --bytes`` requires equal bytes. Excluded are the version of fairfix, the run time, memory
and cell key (a hash that includes the version) of rows in JSON Lines files, and the code of
exported programs, whose tensors and outputs are compared instead.

``compare`` without ``--bytes`` requires equal exit codes, bit-equal tensors under equal names, and
equal keys, numbers and words in every JSON, JSON Lines, CSV, Parquet, SARIF and XML file, under
the map of renamed keys. Excluded are the above and prose: strings with spaces in both recordings.
Numbers shown in HTML, Markdown and plain text are compared for information only.

The map is a JSON object with these optional entries:

    {
      "keys": {"judged": "test", "goal.k": "k_factor"},
      "values": {"not shown": "inconclusive", "standing": {"open": "inconclusive"}},
      "moved": {"data.rows": "rows", "checks.*.power": "power.*"},
      "added": ["made_by.platform"],
      "removed": ["notes"],
      "ignored": ["schema_version"]
    }

A name in ``keys``, ``added``, ``removed`` or ``ignored`` is a key at any level, or its dotted path
from any level above it; positions in lists are left out, ``*`` stands for any key, and the longest
matching name applies. ``moved`` maps whole paths from the root of a document, where ``*`` stands
for any key or position. A value applies everywhere, or only under the (old) key that it is listed
under. ``ignored`` names old keys whose values may differ. Rule files and checkpoints must not
change at all, so the map does not apply to them.

Exit codes: 0 equal, 1 different, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import importlib
import json
import logging
import multiprocessing
import os
import re
import resource
import runpy
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

METRICS = ("spd", "eod")
METHODS = {  # known methods, and options that make the slow ones fast
    "adversarial": "--rounds 2",
    "caleqodds": "",
    "eqodds": "",
    "gda": "--epochs 6",
    "identity": "",
    "layerwise": "--calls 7",
    "perturb": "--trials 50",
    "prune": "",
    "roc": "",
    "thresholds": "",
}
REFERENCE_METHODS = METHODS | {"layerwise": "--calls 7 --layers out,fcs.9"}
ONE_METRIC = ("layerwise",)
VARIANTS = {
    "thresholds-randomized": "thresholds --randomized",
    "thresholds-exported": "thresholds --export {output}/program.pt",
    "prune-folded": "prune --fold-threshold",
}
SETTINGS = {  # further settings, recorded on the first sample model
    "metric-aod": "thresholds --metric aod",
    "metric-eqodds": "thresholds --metric eqodds",
    "metric-fprd": "thresholds --metric fprd",
    "metric-di": "thresholds --metric di",
    "metric-aaod": "identity --metric aaod",
    "metric-ad": "identity --metric ad",
    "accuracy": "thresholds --metric spd --performance accuracy",
    "f1": "identity --metric eod --performance f1",
    "margin": "thresholds --metric spd --margin 0.01",
    "risk": "thresholds --metric spd --risk 0.1 --k 1",
    "tradeoff": "thresholds --metric spd --objective tradeoff --lambda 0.5",
    "strict": "thresholds --metric spd --strict --confidence 0.9",
    "pt2": "thresholds --metric spd --export {output}/program.pt2",
}
PRELOADED = (
    "torch.export",
    "pandas",
    "pyarrow",
    "scipy.optimize",
    "scipy.special",
    "scipy.stats",
    "skopt",
    "sklearn.ensemble",
    "aif360.algorithms.postprocessing",
    "safetensors.torch",
    "joblib",
    "jinja2",
    "typer",
    "rich.table",
)
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "COLUMNS": "100"}
REFERENCE_SETTINGS = 'privileged = 1\ntest = "test.csv.gz"\narch = "mlp:relu-bn"\n'

TEXT_SUFFIXES = (".html", ".md", ".txt")
TENSOR_SUFFIXES = (".pt", ".pth", ".pt2", ".safetensors")
UNMAPPED = (*TENSOR_SUFFIXES, ".rule.json", "run.json")
VOLATILE = {"seconds", "cpu_seconds", "peak_memory_mib", "key"}  # in JSON Lines files
VERSION = re.compile(rb"(?<![\d.])0\.[23]\.0(?!\d)")
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
SHOWN_DIFFERENCES = 20

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Case:
    """A network with validation and test rows; ``gap`` is its spd on the test rows, rounded."""

    name: str
    model: str
    gap: float
    arch: str = ""
    suffix: str = ".csv"
    sample: bool = True

    @property
    def network(self) -> str:
        return f"{self.name}/{self.model}"

    @property
    def validation(self) -> str:
        return f"{self.name}/val{self.suffix}"

    @property
    def test(self) -> str:
        return f"{self.name}/test{self.suffix}"

    def debiased(self, label: str) -> str:
        """Return the path of the network that a method run has written."""
        return f"out/{self.name}/{label}/{self.model}"


CASES = (
    Case("loh", "model.pt", 0.284, "mlp:relu-bn"),
    Case("zafar", "model.safetensors", 0.628, "mlp:tanh"),
    Case("loh_raw", "model.pth", 0.31),
    Case("bank_42", "model.pt", 0.194, "mlp:relu-bn", ".csv.gz", sample=False),
    Case("compas_42", "model.pt", 0.129, "mlp:relu-bn", ".csv.gz", sample=False),
)


@dataclass(frozen=True)
class Command:
    """A command line, and where its streams and exit code go below the recording.

    ``prefix`` tells two commands with one directory apart.
    """

    directory: str
    arguments: Sequence[str]
    prefix: str = ""

    @classmethod
    def parse(cls, directory: str, line: str, prefix: str = "") -> Command:
        """Return the command of a line in which ``{output}`` stands for its directory."""
        return cls(directory, line.format(output=f"out/{directory}").split(), prefix)


def method_commands(case: Case, methods: Iterable[str]) -> Iterator[Command]:
    """Yield a run of every method and variant by metric, for the first case also without JSON."""
    options = METHODS if case.sample else REFERENCE_METHODS
    lines = {name: f"{name} {options.get(name, '')}" for name in methods} | VARIANTS
    for label, line in lines.items():
        for metric in METRICS[:1] if label in ONE_METRIC else METRICS:
            directory = f"{case.name}/{label}-{metric}"
            goal = f"{case.network} {case.validation} --metric {metric} --seed 7"
            full = f"{line} {goal} -o {{output}}/{case.model} --force"
            if case is CASES[0] and metric == METRICS[0]:
                yield Command.parse(directory, full, "table_")
            yield Command.parse(directory, f"{full} --json")


def use_commands(case: Case) -> Iterator[Command]:
    """Yield audits, gates, predictions and inspections of a network and its debiased versions."""
    deployed, gda, prune = case.network, case.debiased("gda-spd"), case.debiased("prune-spd")
    gate = "--junit {output}/gate.xml --sarif {output}/gate.sarif --json"
    arch = f"--arch {case.arch}" if case.arch else ""
    lines = {
        "audit": f"audit {deployed} {case.test} --html {{output}}/audit.html --json",
        "audit-strict": f"audit {deployed} {case.test} --metric eod --strict --json",
        "audit-prune": f"audit {prune} {case.test} --json",
        "audit-tables": f"audit {prune} {case.test}",
        "audit-power": f"audit {deployed} {case.test} --power",
        "gate-violated": f"gate {deployed} {case.test} --budget spd=0.05 {gate}",
        "gate-certified": f"gate {deployed} {case.test} --budget spd=0.8 --floor accuracy=0.3 "
        f"{gate}",
        "gate-undecided": f"gate {deployed} {case.test} --budget spd={case.gap} "
        f"--budget eqodds=0.5:warn {gate}",
        "gate-debiased": f"gate {gda} {case.test} --budget spd=0.05 --budget eod=0.1:warn "
        f"--floor balanced_accuracy=0.55 --baseline {deployed} --max-drop 0.2 {gate}",
        "gate-tables": f"gate {prune} {case.test} --floor auc=0.6",
        "gate-used-rows": f"gate {gda} {case.validation} --budget spd=0.05 {gate}",
        "inspect": f"inspect {deployed} {arch} --json",
        "inspect-prune": f"inspect {prune} {arch} --json",
        "missing-model": f"prune {case.name}/none.pt {case.validation}",
    }
    for label in ("prune", "prune-folded", "thresholds", "thresholds-randomized", "eqodds"):
        model, output = case.debiased(f"{label}-spd"), "{output}/decisions.csv"
        lines[f"predict-{label}"] = f"predict {model} {case.test} -o {output} --json"
    for directory, line in lines.items():
        yield Command.parse(f"{case.name}/{directory}", line)


def further_commands() -> Iterator[Command]:
    """Yield runs with other settings and several groups, and the first part of a bench study."""
    loh, raw = CASES[0], CASES[2]
    for label, start in SETTINGS.items():
        line = f"{start} {loh.network} {loh.validation} -o {{output}}/model.pt --json"
        yield Command.parse(f"settings/{label}", line)
    several = "--group X6 --privileged c0 --json"
    for method in ("identity", "thresholds"):
        line = f"{method} {raw.network} {raw.validation} {several} -o {{output}}/model.pth"
        yield Command.parse(f"groups/{method}", line)
    line = f"audit {raw.network} {raw.test} --group group --group X6 --json"
    yield Command.parse("groups/audit", line)
    study = f"bench {loh.network} {loh.validation} --methods roc,prune --seeds 3 --attribution"
    yield Command.parse("bench/study", f"{study} --jobs 1 --quiet -o {{output}}")


class Recorder:
    """Runs commands in a temporary directory with the fairfix of a repository."""

    def __init__(self, repository: Path, root: Path, *, fresh: bool) -> None:
        self.repository = repository
        self.root = root
        self._run = _run_fresh if fresh else _run_forked
        self.count = 0

    def run(self, command: Command) -> str:
        """Run a command, keep its streams and exit code, and return its standard output."""
        directory = self.root / "out" / command.directory
        directory.mkdir(parents=True, exist_ok=True)
        kind = "json" if "--json" in command.arguments else "txt"
        streams = [f"{command.prefix}stdout.{kind}", f"{command.prefix}stderr.txt"]
        stdout, stderr = (directory / name for name in streams)
        start = time.perf_counter()
        code = self._run(command.arguments, self.root, stdout, stderr)
        self.count += 1
        seconds = time.perf_counter() - start
        where = f"{command.directory} {command.prefix}".strip(" _")
        print(f"{self.count:4d} {seconds:5.1f} s  exit {code}  {where}", flush=True)
        for path in (stdout, stderr):
            self._remove_absolute_paths(path)
        line = shlex.join(["fairfix", *command.arguments])
        record = json.dumps({"command": line, "exit_code": code}, indent=2)
        (directory / f"{command.prefix}run.json").write_text(record + "\n", encoding="utf-8")
        return stdout.read_text(encoding="utf-8")

    def _remove_absolute_paths(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        text = text.replace(str(self.root), "ROOT").replace(str(self.repository), "REPOSITORY")
        path.write_text(text, encoding="utf-8")


def _run_fresh(arguments: Sequence[str], root: Path, stdout: Path, stderr: Path) -> int:
    command = [sys.executable, "-m", "fairfix", *arguments]
    with stdout.open("wb") as out, stderr.open("wb") as err:
        return subprocess.run(command, cwd=root, stdout=out, stderr=err, check=False).returncode


def _run_forked(arguments: Sequence[str], root: Path, stdout: Path, stderr: Path) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_main_program, args=(arguments, root, stdout, stderr))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _main_program(arguments: Sequence[str], root: Path, stdout: Path, stderr: Path) -> None:
    """Do in this process what ``python -m fairfix`` does."""
    for path, descriptor in ((stdout, 1), (stderr, 2)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), descriptor)
    os.chdir(root)
    sys.path[0] = os.environ["PYTHONPATH"]
    sys.argv = ["fairfix", *arguments]
    runpy.run_module("fairfix", run_name="__main__", alter_sys=True)


def record(folder: Path, data: Path | None, *, fresh: bool) -> None:
    """Record all results of the repository in the current directory."""
    repository = Path.cwd()
    if not (repository / "fairfix" / "__main__.py").is_file():
        _refuse(f"{repository} is not a repository of fairfix: change to its root directory.")
    if folder.exists():
        _refuse(f"{folder} exists already: name a new directory.")
    os.environ |= {**ENVIRONMENT, "PYTHONPATH": str(repository)}
    if not fresh:
        _preload()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary).resolve()
        cases = [case for case in CASES if _copy_inputs(case, repository, data, root)]
        recorder = Recorder(repository, root, fresh=fresh)
        methods = _method_names(recorder.run(Command.parse("help", "--help")))
        for case in cases:
            for command in (*method_commands(case, methods), *use_commands(case)):
                recorder.run(command)
        for command in further_commands():
            recorder.run(command)
        _record_summary(recorder)
        shutil.copytree(root / "out", folder)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(each.ru_utime + each.ru_stime for each in used)
    print(f"recorded {recorder.count} commands in {folder}, {seconds:.0f} s of CPU time")


def _preload() -> None:
    """Import third-party libraries, so that forks need not; their warnings are not results."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in PRELOADED:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    logging.disable(logging.NOTSET)


def _copy_inputs(case: Case, repository: Path, data: Path | None, root: Path) -> bool:
    """Copy the files of a case into the temporary directory, if there are any."""
    if case.sample:
        source = repository / "sample_models" / case.name
    elif data is None:
        return False
    else:
        source = data / "reference" / case.name
    if not source.is_dir():
        print(f"{case.name} is not recorded: {source} does not exist.")
        return False
    (root / case.name).mkdir()
    for path in source.iterdir():
        shutil.copyfile(path, root / case.name / path.name)
    if not case.sample:
        (root / case.name / "fairfix.toml").write_text(REFERENCE_SETTINGS, encoding="utf-8")
    return True


def _method_names(text: str) -> list[str]:
    """Return the methods that the help lists, and those known to have existed."""
    box = re.search(r"─ Debias ─.*?╰", text, re.DOTALL)
    listed = re.findall(r"^│ ([a-z]\w*) ", box[0], re.MULTILINE) if box else []
    return list(dict.fromkeys((*METHODS, *listed)))


def _record_summary(recorder: Recorder) -> None:
    """Record summary and page of the bench study, from its rows at constant time and memory."""
    study = recorder.root / "out" / "bench" / "study"
    rows = (study / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    for path in study.iterdir():
        if path.name not in ("rows.jsonl", "run.json", "stdout.txt", "stderr.txt"):
            path.unlink()
    constant = "".join(json.dumps(_at_constant_cost(json.loads(row))) + "\n" for row in rows)
    (study / "constant.jsonl").write_text(constant, encoding="utf-8")
    for options, prefix in (("--json", ""), ("", "table_")):
        line = f"bench --rows out/bench/study/constant.jsonl -o {{output}} {options}"
        recorder.run(Command.parse("bench/summary", line, prefix))


def _at_constant_cost(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _at_constant_cost(each, name) for name, each in value.items()}
    is_cost = isinstance(value, float) and ("seconds" in key or "memory" in key)
    return 1.0 if is_cost else value


@dataclass(frozen=True)
class TensorBits:
    """A tensor by its type, shape and the hash of its bytes."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str

    def __repr__(self) -> str:
        return f"{self.dtype}{list(self.shape)} {self.sha256}"


def read_document(path: Path) -> Any:
    """Return what a file holds, as nested mappings and lists of numbers, strings and tensors."""
    if path.suffix in TENSOR_SUFFIXES:
        return _with_bits(_read_tensors(path))
    if path.suffix == ".parquet":
        import pandas as pd

        return pd.read_parquet(path).to_dict("records")
    text = path.read_text(encoding="utf-8")
    match path.suffix:
        case ".json" | ".sarif":
            return json.loads(text) if text.strip() else None
        case ".jsonl":
            return [json.loads(line) for line in text.splitlines()]
        case ".csv":
            rows = csv.DictReader(text.splitlines())
            return [{key: _number_or_text(value) for key, value in row.items()} for row in rows]
        case ".xml":
            return _element(ElementTree.fromstring(text))
        case _:
            return text


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _element(element: ElementTree.Element) -> dict[str, Any]:
    attributes = {key: _number_or_text(value) for key, value in element.items()}
    children = [_element(child) for child in element]
    text = (element.text or "").strip()
    return {"tag": element.tag, "attributes": attributes, "text": text, "children": children}


def _read_tensors(path: Path) -> Any:
    """Read a recorded checkpoint; unlike one of unknown origin it may run code."""
    import torch
    from safetensors import safe_open

    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            metadata = {key: _json_or_text(value) for key, value in (file.metadata() or {}).items()}
            return {
                "tensors": {name: file.get_tensor(name) for name in list(file.keys())}
            } | metadata
    if _is_program(path):
        return _run_program(path)
    value = torch.load(path, weights_only=False)
    if isinstance(value, torch.nn.Module):
        return {"network": str(value), "tensors": value.state_dict()}
    return value


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_program(path: Path) -> bool:
    """Return whether a file holds a TorchScript or torch.export program."""
    if path.suffix not in TENSOR_SUFFIXES or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return any("/code/" in name or name.endswith("/archive_format") for name in names)


def _run_program(path: Path) -> dict[str, Any]:
    """Return the tensors of an exported program, in an order free of names, and its outputs."""
    import torch

    is_export = path.suffix == ".pt2"
    program: Any = torch.export.load(path).module() if is_export else torch.jit.load(path)
    state = program.state_dict()
    weights = (value for name, value in state.items() if name.endswith("weight"))
    width = next(weight.shape[1] for weight in weights if weight.ndim == 2)
    rows = torch.randn(256, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = program(rows)
    return {"outputs": outputs, "tensors": sorted(map(_with_bits, state.values()), key=repr)}


def _with_bits(value: Any) -> Any:
    import torch

    if isinstance(value, dict):
        return {str(key): _with_bits(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_with_bits(each) for each in value]
    if not isinstance(value, torch.Tensor):
        return value
    data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    dtype = str(value.dtype).removeprefix("torch.")
    return TensorBits(dtype, tuple(value.shape), hashlib.sha256(data).hexdigest())


def leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield every value of a document that is not a filled mapping or list, with its path."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from leaves(each, (*path, str(key)))
    elif isinstance(value, list) and value:
        for position, each in enumerate(value):
            yield from leaves(each, (*path, position))
    else:
        yield path, value


Pattern = tuple[str, ...]


def _pattern(name: str) -> Pattern:
    return tuple(name.split("."))


def _keys(path: KeyPath) -> Pattern:
    return tuple(step for step in path if isinstance(step, str))


def _matches(pattern: Pattern, names: Sequence[str]) -> bool:
    return len(pattern) == len(names) and all(
        part in ("*", name) for part, name in zip(pattern, names, strict=True)
    )


@dataclass(frozen=True)
class Renames:
    """The map of renamed keys and values."""

    keys: dict[Pattern, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    moved: dict[Pattern, Pattern] = field(default_factory=dict)
    added: tuple[Pattern, ...] = ()
    removed: tuple[Pattern, ...] = ()
    ignored: tuple[Pattern, ...] = ()
    _paths: dict[KeyPath, KeyPath] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Renames:
        """Read the map from a JSON file."""
        found = json.loads(path.read_text(encoding="utf-8"))
        unknown = set(found) - {"keys", "values", "moved", "added", "removed", "ignored"}
        if unknown:
            _refuse(f"{path}: unknown entries {', '.join(sorted(unknown))}.")
        keys = {_pattern(old): new for old, new in found.get("keys", {}).items()}
        moved = {_pattern(old): _pattern(new) for old, new in found.get("moved", {}).items()}
        added, removed, ignored = (
            tuple(map(_pattern, found.get(entry, ()))) for entry in ("added", "removed", "ignored")
        )
        longest_first = dict(sorted(keys.items(), key=lambda pair: -len(pair[0])))
        return cls(longest_first, found.get("values", {}), moved, added, removed, ignored)

    def path(self, old: KeyPath) -> KeyPath:
        """Return the new path of an old one."""
        if old not in self._paths:
            new = self._moved_to(old)
            if new is None:
                new = (*self.path(old[:-1]), self._key(old)) if old else ()
            self._paths[old] = new
        return self._paths[old]

    def value(self, path: KeyPath, old: str) -> str | None:
        """Return the new word for an old one under a path, or None if it is not renamed."""
        key = next(reversed(_keys(path)), "")
        under = self.values.get(key)
        found = under.get(old) if isinstance(under, dict) else None
        found = found or self.values.get(old)
        return found if isinstance(found, str) else None

    def _moved_to(self, old: KeyPath) -> KeyPath | None:
        for source, target in self.moved.items():
            if _matches(source, [str(step) for step in old]):
                stars = iter([step for part, step in zip(source, old, strict=True) if part == "*"])
                return tuple(next(stars) if part == "*" else part for part in target)
        return None

    def _key(self, path: KeyPath) -> str | int:
        names = _keys(path)
        if isinstance(path[-1], int):
            return path[-1]
        for pattern, new in self.keys.items():
            if _matches(pattern, names[-len(pattern) :]):
                return new
        return path[-1]


def _named(path: KeyPath, patterns: Iterable[Pattern]) -> bool:
    """Return whether a path is, or lies below, one of the patterns."""
    names = _keys(path)
    return any(
        _matches(pattern, names[end - len(pattern) : end])
        for pattern in patterns
        for end in range(len(pattern), len(names) + 1)
    )


@dataclass
class Comparison:
    """Compares two recordings and counts what it compares."""

    old: Path
    new: Path
    renames: Renames
    bytes_only: bool
    counts: Counter[str] = field(default_factory=Counter)

    def run(self) -> int:
        """Compare all files, print what differs, and return the exit code."""
        old, new = _files(self.old), _files(self.new)
        for name in sorted(old ^ new):
            self._show(name, [f"only in {self.old if name in old else self.new}"])
        compare = self.bytes_of if self.bytes_only else self.file
        for name in sorted(old & new):
            self.counts["files"] += 1
            self._show(name, compare(self.old / name, self.new / name))
        kinds = ("files",) if self.bytes_only else ("files", "tensors", "numbers", "words")
        compared = ", ".join(f"{self.counts[kind]:,} {kind}" for kind in kinds)
        skipped = "" if self.bytes_only else f" ({self.counts['prose']:,} strings of prose skipped)"
        print(f"compared {compared}{skipped}: {self.counts['differences']:,} differences")
        return 1 if self.counts["differences"] else 0

    def _show(self, name: str, differences: Iterable[str]) -> None:
        differences = iter(differences)
        for difference in islice(differences, SHOWN_DIFFERENCES):
            self.counts["differences"] += 1
            print(f"{name}: {difference}")
        more = sum(1 for _ in differences)
        self.counts["differences"] += more
        if more:
            print(f"{name}: and {more:,} more")

    def bytes_of(self, old: Path, new: Path) -> Iterator[str]:
        """Yield a line if two files differ in more than what is excluded."""
        one, other = _comparable_bytes(old), _comparable_bytes(new)
        if one == other:
            return
        if old.suffix in (*TENSOR_SUFFIXES, ".parquet"):
            yield "bytes differ"
            return
        pairs = zip_longest(one.splitlines(), other.splitlines())
        found = ((at, pair) for at, pair in enumerate(pairs, start=1) if pair[0] != pair[1])
        at, (before, after) = next(found, (0, (b"", b"")))
        yield f"line {at}: {_short(before)} became {_short(after)}"

    def file(self, old: Path, new: Path) -> Iterator[str]:
        """Yield the differences of two files under the map of renamed keys."""
        if old.suffix in TEXT_SUFFIXES:
            self._inform(old, new)
            return
        mapped = self.renames if not old.name.endswith(UNMAPPED) else Renames()
        volatile = VOLATILE if old.suffix == ".jsonl" else set()
        before, after = (dict(leaves(read_document(path))) for path in (old, new))
        places: dict[KeyPath, KeyPath] = {}
        for path, value in before.items():
            place = mapped.path(path)
            if place in places:
                yield f"{_dotted(path)} and {_dotted(places[place])} are both {_dotted(place)}"
            places[place] = path
            if place not in after:
                if not _named(path, mapped.removed):
                    where = "" if place == path else f", expected as {_dotted(place)}"
                    yield f"{_dotted(path)}: missing{where}"
            elif not (
                self._equal(value, after[place], mapped, path)
                or volatile.intersection(_keys(path)[-1:])
                or _named(path, mapped.ignored)
            ):
                yield f"{_dotted(path)}: {_short(value)} became {_short(after[place])}"
        for place in after:
            if place not in places and not _named(place, mapped.added):
                yield f"{_dotted(place)}: added"

    def _equal(self, old: Any, new: Any, mapped: Renames, path: KeyPath) -> bool:
        if not (isinstance(old, str) and isinstance(new, str)):
            is_number = isinstance(old, int | float) and not isinstance(old, bool)
            kind = "tensors" if isinstance(old, TensorBits) else "numbers" if is_number else "words"
            self.counts[kind] += 1
            return type(old) is type(new) and repr(old) == repr(new)
        renamed = mapped.value(path, old)
        if renamed is None and " " in old and " " in new:
            self.counts["prose"] += 1
            return True
        self.counts["words"] += 1
        expected = old if renamed is None else renamed
        return _without_version(expected.encode()) == _without_version(new.encode())

    def _inform(self, old: Path, new: Path) -> None:
        before, after = _shown_numbers(old), _shown_numbers(new)
        gone, come = before - after, after - before
        if gone or come:
            name = old.relative_to(self.old)
            print(
                f"for information: {name}: numbers only in old: {_some(gone)}; new: {_some(come)}"
            )


def _files(folder: Path) -> set[str]:
    if not folder.is_dir():
        _refuse(f"{folder} is not a directory.")
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _without_version(data: bytes) -> bytes:
    return VERSION.sub(b"VERSION", data)


def _comparable_bytes(path: Path) -> bytes:
    if path.suffix == ".jsonl":
        lines = map(json.dumps, map(_without_volatile, read_document(path)))
        return _without_version("\n".join(lines).encode())
    if _is_program(path):
        return repr(read_document(path)).encode()
    return _without_version(path.read_bytes())


def _without_volatile(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_volatile(each) for key, each in value.items() if key not in VOLATILE}


def _shown_numbers(path: Path) -> Counter[str]:
    """Return the numbers that a page or text shows, with their counts."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        text = re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]*>", " ", text, flags=re.DOTALL)
    return Counter(NUMBER.findall(text))


def _some(numbers: Counter[str]) -> str:
    shown = ", ".join(islice(numbers.elements(), 5))
    return f"{shown}, ... ({numbers.total()})" if numbers.total() > 5 else shown or "none"


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path)) or "the document"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _refuse(message: str) -> NoReturn:
    """End the program for wrong usage."""
    print(message, file=sys.stderr)
    raise SystemExit(2)


def _parse() -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="record the results of this repository")
    recording.add_argument("folder", type=Path)
    recording.add_argument("--data", type=Path, default=os.environ.get("FAIRFIX_DATA"))
    recording.add_argument("--fresh", action="store_true", help="a new interpreter per command")
    comparing = commands.add_parser("compare", help="compare two recordings")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    comparing.add_argument("--bytes", action="store_true", help="require equal bytes")
    comparing.add_argument("--map", type=Path, help="JSON file of renamed keys and values")
    return parser.parse_args()


def main() -> int:
    """Run the command line and return the exit code."""
    given = _parse()
    if given.command == "record":
        record(given.folder.resolve(), given.data and given.data.resolve(), fresh=given.fresh)
        return 0
    renames = Renames.read(given.map) if given.map else Renames()
    return Comparison(given.old, given.new, renames, given.bytes).run()


if __name__ == "__main__":
    sys.exit(main())
