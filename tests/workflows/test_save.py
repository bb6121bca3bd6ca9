"""Writing: all four files or none, never over an input, and only what was read back and agreed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import fairfix as library
from fairfix.errors import CheckpointError, InputError, OutputError, VerificationError
from fairfix.models import checkpoint as checkpoints
from fairfix.models.checkpoint import Checkpoint
from fairfix.workflows.debias import Outcome
from tests.helpers.runs import Draw, Place, Run

MAIN = "from fairfix.cli.app import main; main()"
STEM = "model.debiased"
ENDS = ("pt", "rule.json", "report.json", "report.md", "report.html")


@pytest.fixture
def outcome(place: Place) -> Outcome:
    case = library.load(place.model, place.val)
    result: Outcome = library.debias(case, "prune", budget=0.1, test=place.test)
    return result


# Where it goes.


def test_the_default_is_beside_the_model(outcome: Outcome, place: Place) -> None:
    written = library.save(outcome)
    assert written.paths == tuple(place.folder / f"{STEM}.{end}" for end in ENDS)
    assert [path for path in written.paths if not path.is_file()] == []


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("net.v2.pth", "net.v2.debiased.pth"),
        ("net", "net.debiased"),
        ("net.debiased.pt", "net.debiased.debiased.pt"),
    ],
)
def test_the_name_keeps_its_dots(place: Place, name: str, default: str) -> None:
    place.model.rename(place.folder / name)
    case = library.load(place.folder / name, place.val)
    written = library.save(library.debias(case, "identity"), allow_trivial=True)
    assert written.model == place.folder / default
    assert written.rule.name == f"{default.removesuffix('.pth').removesuffix('.pt')}.rule.json"
    audit = library.load(written.model, place.test)
    assert library.audit(audit)  # finds the rule beside it, or would cut at 0.5
    assert library.predict(written.model, place.test).notes[-1].endswith(written.rule.name)


def test_a_folder_takes_the_default_names(outcome: Outcome, place: Place) -> None:
    (place.folder / "out").mkdir()
    written = library.save(outcome, place.folder / "out")
    assert [path.name for path in written.paths] == [f"{STEM}.{end}" for end in ENDS]
    assert {path.parent.name for path in written.paths} == {"out"}


def test_scores_alone_leave_no_model(place: Place, draw: Draw) -> None:
    table = place.table(draw(300, 4).assign(p=0.5), "may.2024.csv")
    case = library.load(None, table, score="p")
    written = library.save(library.debias(case, "identity"), allow_trivial=True)
    assert written.model is None
    assert [path.name for path in written.paths] == [f"may.2024.debiased.{end}" for end in ENDS[1:]]


# Never over what is there.


@pytest.mark.parametrize("victim", ["model.pt", "val.csv", "test.csv"])
@pytest.mark.parametrize("way", ["itself", "a link to it"])
def test_never_over_an_input(outcome: Outcome, place: Place, victim: str, way: str) -> None:
    target = place.folder / victim
    if way == "a link to it":
        target = place.folder / "link.pt"
        target.hardlink_to(place.folder / victim)
    before = place.files()
    with pytest.raises(OutputError, match="is an input and is never overwritten"):
        library.save(outcome, target, force=True)
    assert place.files() == before


@pytest.mark.parametrize("end", ENDS)
def test_an_existing_file_takes_force(outcome: Outcome, place: Place, end: str) -> None:
    there = place.folder / f"{STEM}.{end}"
    there.write_text("mine")
    before = place.files()
    with pytest.raises(
        OutputError, match=rf"{STEM}.{end} exists; choose another path \(output\) or"
    ):
        library.save(outcome)
    assert place.files() == before
    library.save(outcome, force=True)
    assert there.read_bytes() != b"mine"
    assert len(place.files()) == len(before) + len(ENDS) - 1


def test_a_folder_is_not_replaced_by_a_file(outcome: Outcome, place: Place) -> None:
    (place.folder / f"{STEM}.rule.json").mkdir()
    with pytest.raises(OutputError, match="is a folder, but the output is a file"):
        library.save(outcome, force=True)


def test_the_command_looks_before_it_works(
    fairfix: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fairfix.methods import prune

    monkeypatch.setattr(prune, "prune", None)
    (place.folder / f"{STEM}.pt").write_text("mine")
    ended = fairfix("prune", place.model, place.val)
    assert ended.code == 2
    assert ended.sentence.endswith("exists; choose another path (-o) or replace it (--force).")


# Folders that hold a model.


@pytest.fixture
def hub(place: Place, trained: nn.Sequential) -> Path:
    """A Hugging Face folder, with a table inside."""
    folder = place.folder / "hub"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    save_file(trained.state_dict(), folder / "model.safetensors")
    (folder / "val.csv").write_bytes(place.val.read_bytes())
    return folder


def of_hub(hub: Path) -> Outcome:
    case = library.load(hub, hub / "val.csv", arch="mlp:relu")
    made: Outcome = library.debias(case, "prune", budget=0.1)
    return made


def test_a_model_folder_goes_beside_itself(hub: Path) -> None:
    written = library.save(of_hub(hub))
    assert written.model == hub.with_name("hub.debiased")
    assert written.rule == hub.with_name("hub.debiased.rule.json")
    assert (written.model / "model.safetensors").is_file()


def test_a_model_folder_is_replaced_but_no_other_folder(hub: Path) -> None:
    outcome = of_hub(hub)
    papers = hub.with_name("papers")
    papers.mkdir()
    (papers / "thesis.txt").write_text("years of work")
    first = library.save(outcome, papers, force=True)
    assert first.model == papers / "hub.debiased"
    assert (papers / "thesis.txt").read_text() == "years of work"
    again = library.save(outcome, first.model, force=True)
    assert again == first
    with pytest.raises(OutputError, match=r"exists; choose another path \(output\)"):
        library.save(outcome, first.model)


@pytest.mark.parametrize("output", ["hub", "hub/inside"])
def test_never_over_or_into_the_model_folder(hub: Path, output: str) -> None:
    with pytest.raises(OutputError, match=r"is an input|lies inside the input"):
        library.save(
            of_hub(hub), hub.with_name(output.split("/")[0]) / Path(*output.split("/")[1:])
        )


def test_never_over_a_folder_that_holds_the_table(hub: Path) -> None:
    other = hub.with_name("other")
    shutil.copytree(hub, other)
    case = library.load(hub, other / "val.csv", arch="mlp:relu")
    with pytest.raises(OutputError, match="contains the input"):
        library.save(library.debias(case, "identity"), other, force=True, allow_trivial=True)


# When it goes wrong.


def unlucky(patch: pytest.MonkeyPatch, name: str, at: int, error: BaseException) -> None:
    """Let a function of Path fail at one of its calls."""
    original, calls = getattr(Path, name), count(1)

    def call(path: Path, *arguments: object, **named: object) -> object:
        if next(calls) == at:
            raise error
        return original(path, *arguments, **named)

    patch.setattr(Path, name, call)


def saved(outcome: Outcome) -> bool:
    """Whether the outcome could be saved over what is there."""
    try:
        library.save(outcome, force=True)
    except (OutputError, KeyboardInterrupt):
        return False
    return True


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("there", [True, False], ids=["replacing", "new"])
@pytest.mark.parametrize("name", ["replace", "write_text", "hardlink_to"])
def test_all_of_it_or_nothing(
    place: Place, outcome: Outcome, name: str, there: bool, error: BaseException
) -> None:
    """Whichever call fails, files that were there stay and no others appear."""
    if there:
        for end in ENDS:
            (place.folder / f"{STEM}.{end}").write_text(f"my {end}")
    before = place.files()
    for at in count(1):
        with pytest.MonkeyPatch.context() as patch:
            unlucky(patch, name, at, error)
            if saved(outcome):
                break
        assert place.files() == before
        assert not list(place.folder.glob(".fairfix-*"))
    missing_links = name == "hardlink_to" and (not there or isinstance(error, OSError))
    assert at > (0 if missing_links else len(ENDS) - 1)
    assert [end for end in ENDS if place.files()[f"{STEM}.{end}"] == f"my {end}".encode()] == []


def test_where_there_are_no_links(
    place: Place, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    library.save(outcome)
    before = place.files()
    with pytest.MonkeyPatch.context() as patch:
        unlucky(patch, "replace", 4, OSError(errno.ENOSPC, "No space left"))
        assert not saved(outcome)
    assert place.files() == before
    assert saved(outcome)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_folder(outcome: Outcome, place: Place) -> None:
    place.folder.chmod(0o500)
    try:
        with pytest.raises(OutputError, match=r"Cannot write in .*: Permission denied"):
            library.save(outcome)
    finally:
        place.folder.chmod(0o700)


def test_a_folder_that_takes_no_files(
    outcome: Outcome, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    before = place.files()
    said = f"Cannot write in {place.folder}: Permission denied. Choose another folder."
    with pytest.raises(OutputError) as caught:
        library.save(outcome)
    assert str(caught.value) == said
    assert place.files() == before


def test_a_model_that_changed_meanwhile(outcome: Outcome, place: Place) -> None:
    place.model.write_bytes(place.model.read_bytes() + b"more")
    before = place.files()
    with pytest.raises(CheckpointError, match="has changed since it was read"):
        library.save(outcome)
    assert place.files() == before


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written decides otherwise when it is read again."""
    read = checkpoints.read

    def reread(path: Path, **options: object) -> Checkpoint:
        found = read(path, **options)  # type: ignore[arg-type]
        if ".debiased" in str(path):
            with torch.no_grad():
                found.module[-1].bias += 3  # type: ignore[index,operator]
        return found

    monkeypatch.setattr(checkpoints, "read", reread)


def test_a_file_that_decides_otherwise_is_not_written(
    faulty: None, outcome: Outcome, place: Place
) -> None:
    before = place.files()
    with pytest.raises(
        VerificationError, match=r"decides \d+ of 800 rows differently than reported"
    ):
        library.save(outcome)
    assert place.files() == before


def test_the_command_ends_with_4_then(faulty: None, fairfix: Run, place: Place) -> None:
    before = place.files()
    ended = fairfix("prune", place.model, place.val)
    assert (ended.code, place.files()) == (4, before)
    assert ended.sentence.endswith("differently than reported, so nothing was written.")


def test_an_interrupt_from_the_keyboard(place: Place) -> None:
    before = place.files()
    words = ["gda", str(place.model), str(place.val), "--epochs", "1000000", "--budget", "0.9"]
    # Whoever runs the tests in the background may have them ignore the keyboard.
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    running = subprocess.Popen(
        [sys.executable, "-c", listening + MAIN, *words, "--learning-rate", "1e-12"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stderr is not None
        assert "is the logit" in running.stderr.readline()  # the work begins
        running.send_signal(signal.SIGINT)
        out, said = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130
    assert (said, out) == ("fairfix: interrupted; no partial files were left.\n", "")
    assert place.files() == before


@pytest.mark.parametrize("options", [["--json"], []], ids=["json", "text"])
def test_a_reader_that_goes_away(place: Place, options: list[str]) -> None:
    """A gate's exit code 1 is a verdict, and what nobody read is none."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        ran = subprocess.run(
            [sys.executable, "-c", MAIN, "audit", place.model, place.val, *options],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ran.returncode == 141
    assert "Traceback" not in ran.stderr
    assert "BrokenPipe" not in ran.stderr


# What is in the files.


def test_the_rule_file_is_the_rule(outcome: Outcome) -> None:
    written = library.save(outcome)
    rule = json.loads(written.rule.read_text())
    report = written.report.read_bytes()
    bound = replace(outcome.rule, report_sha256=hashlib.sha256(report).hexdigest())
    assert rule == json.loads(json.dumps(bound.to_json()))
    assert json.loads(report)["rule"] == outcome.rule.to_json()
    assert rule["weights_sha256"] == checkpoints.weights_sha256(
        checkpoints.read(written.model).tensors  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("end", ["md", "html"])
def test_a_page_of_another_run_is_noticed_and_replaced(
    outcome: Outcome, fairfix: Run, place: Place, end: str
) -> None:
    written = library.save(outcome)
    page = place.folder / f"{STEM}.report.{end}"
    commands = (
        ("gate", written.model, place.test, "--budget", "spd=0.1"),
        ("audit", written.model, place.test),
        ("predict", written.model, place.test),
    )
    assert ["another report" in fairfix(*command).err for command in commands] == [False] * 3
    page.write_text(page.read_text().replace("sha256 ", "sha256 0"))
    said = f"warning: {page.name} shows another report than {STEM}.report.json; debias again"
    assert [said in fairfix(*command, "--force").err for command in commands[1:]] == [True] * 2
    assert said.removeprefix("warning: ") in fairfix(*commands[0]).err
    library.save(outcome, force=True)
    assert "another report" not in fairfix(*commands[1]).err


def test_files_can_be_read_by_others(outcome: Outcome) -> None:
    umask = os.umask(0o022)
    try:
        written = library.save(outcome)
    finally:
        os.umask(umask)
    assert {path.stat().st_mode & 0o777 for path in written.paths} == {0o644}


# Files that a data spec names.


@pytest.fixture
def of_arrays(place: Place, draw: Draw) -> Place:
    """The network on the arrays val.npz and test.npz, which stand for the columns of the tables."""
    for name, seed in (("val", 1), ("test", 2)):
        rows = draw(300, seed)
        features = rows.filter(like="x").to_numpy("float32")
        np.savez(place.folder / f"{name}.npz", x=features)
        place.table(rows[["label", "group"]], f"{name}.csv")
    entry = {"kind": "array", "file": "{table}.npz"}
    spec = {"version": 2, "call": "position", "inputs": {"x": entry}}
    (place.folder / "model.data.json").write_text(json.dumps(spec))
    return place


def test_a_model_in_another_folder_finds_the_arrays_beside_the_table(of_arrays: Place) -> None:
    (of_arrays.folder / "out").mkdir()
    case = library.load(of_arrays.model, of_arrays.val)
    outcome = library.debias(case, "identity")
    beside, moved = (
        library.save(outcome, place, allow_trivial=True)
        for place in (None, of_arrays.folder / "out")
    )
    assert (beside.spec, moved.spec) == (None, of_arrays.folder / "out/model.debiased.data.json")
    scores = [library.predict(each.model, of_arrays.test).scores for each in (beside, moved)]
    np.testing.assert_array_equal(*scores)


def test_a_folder_with_a_model_takes_its_data_spec_and_arrays_along(
    of_arrays: Place, hub: Path
) -> None:
    for name in ("val.npz", "test.npz"):
        shutil.move(of_arrays.folder / name, hub)
    (of_arrays.folder / "model.data.json").rename(hub / "model.data.json")
    case = library.load(hub, of_arrays.val, arch="mlp:relu")
    outcome = library.debias(case, "identity")
    written = library.save(outcome, of_arrays.folder / "copy", allow_trivial=True)
    assert written.spec is None
    shutil.rmtree(hub)
    assert len(library.predict(written.model, of_arrays.test, arch="mlp:relu").scores) == 300


@pytest.mark.parametrize("version", [1, 2])
def test_a_transformer_goes_along_into_another_folder(place: Place, version: int) -> None:
    skops = pytest.importorskip("skops.io")
    from sklearn.preprocessing import StandardScaler

    columns = [name for name in pd.read_csv(place.val) if name.startswith("x")]
    scaler = StandardScaler().fit(np.random.default_rng(0).normal(size=(50, len(columns))))
    for name in ("prep", "out"):
        (place.folder / name).mkdir()
    skops.dump(scaler, place.folder / "prep/scaler.skops")
    entries = [{"transformer": "prep/scaler.skops", "columns": columns}]
    numbers = {"kind": "numbers", "entries": entries, "shape": [len(columns)]}
    of_version = {
        1: {"features": entries},
        2: {"version": 2, "call": "position", "inputs": {"x": numbers}},
    }
    (place.folder / "model.data.json").write_text(json.dumps(of_version[version]))
    outcome = library.debias(library.load(place.model, place.val), "identity")
    beside = library.save(outcome, allow_trivial=True)
    assert beside.spec is None
    moved = library.save(outcome, place.folder / "out/model.pt", allow_trivial=True)
    assert (place.folder / "out/model.prep-scaler.skops") in moved.paths
    scores = library.predict(beside.model, place.test).scores
    shutil.rmtree(place.folder / "prep")
    np.testing.assert_array_equal(library.predict(moved.model, place.test).scores, scores)


def test_two_arrays_of_one_name_must_be_equal(of_arrays: Place) -> None:
    out = of_arrays.folder / "out"
    out.mkdir()
    made = library.debias(library.load(of_arrays.model, of_arrays.val), "identity")
    written = library.save(made, out, allow_trivial=True)
    shutil.copy(of_arrays.folder / "test.npz", out)
    library.predict(written.model, of_arrays.test)
    shutil.copy(of_arrays.folder / "val.npz", out / "test.npz")
    with pytest.raises(InputError, match=r"test.npz beside test.csv differ; remove the one"):
        library.predict(written.model, of_arrays.test)
    (out / "test.npz").unlink()
    (of_arrays.folder / "test.npz").unlink()
    with pytest.raises(InputError, match=r"neither beside the data spec nor beside test.csv; put"):
        library.predict(written.model, of_arrays.test)


def test_a_rule_without_arrays_removes_those_of_the_last(outcome: Outcome, place: Place) -> None:
    stale = place.folder / f"{STEM}.rule.safetensors"
    stale.write_text("mine")
    with pytest.raises(OutputError, match=r"rule.safetensors exists; choose another path"):
        library.save(outcome)
    library.save(outcome, force=True)
    assert not stale.exists()
