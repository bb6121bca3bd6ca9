"""Atomic writes: all files or none, inputs are never overwritten, no staging file is left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fairfix._utils.atomic_write import (
    check_destination,
    replacing,
    staged,
    write_bytes,
    write_text,
)
from fairfix.errors import OutputError


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_files_and_folders_in_several_places_are_moved_together(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "a.txt").write_text("old")
    paths = [tmp_path / "a.txt", tmp_path / "there" / "a.txt", tmp_path / "folder"]
    with staged(paths) as staging:
        assert {path.name: staged_path.name for path, staged_path in staging.items()} == {
            path.name: path.name for path in paths
        }
        for path in paths[:2]:
            staging[path].write_text(f"new {path.parent.name}")
        staging[paths[2]].mkdir()
        (staging[paths[2]] / "inner").write_bytes(b"1")
        assert (tmp_path / "a.txt").read_text() == "old"
    assert contents(tmp_path) == {
        "a.txt": f"new {tmp_path.name}".encode(),
        "there/a.txt": b"new there",
        "folder/inner": b"1",
    }


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_everything_as_it_was(
    tmp_path: Path, error: type[BaseException]
) -> None:
    (tmp_path / "a").write_text("old")

    def write_and_fail() -> None:
        with staged([tmp_path / "a", tmp_path / "b"]) as staging:
            staging[tmp_path / "a"].write_text("new")
            raise error

    with pytest.raises(error):
        write_and_fail()
    assert contents(tmp_path) == {"a": b"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_was_not_created_undoes_the_others(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with (
        pytest.raises(OutputError, match=f"^Cannot write in {tmp_path}: No such file"),
        staged([tmp_path / "a", tmp_path / "b"]) as staging,
    ):
        staging[tmp_path / "a"].write_text("new")
    assert contents(tmp_path) == {"a": b"old"}


def test_a_writer_that_fails_names_the_destination(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError) as error,
        staged([tmp_path / "a.pt"]) as staging,
    ):
        raise OutputError(f"Cannot write {staging[tmp_path / 'a.pt']}: No space left on device.")
    assert str(error.value) == f"Cannot write {tmp_path / 'a.pt'}: No space left on device."


def test_single_files_are_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / "text", "ü\n")
    write_bytes(tmp_path / "text", (tmp_path / "text").read_bytes() * 2)
    assert contents(tmp_path) == {"text": "ü\nü\n".encode()}


def test_a_new_file_has_the_usual_mode(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        write_text(tmp_path / "text", "")
    finally:
        os.umask(umask)
    assert (tmp_path / "text").stat().st_mode & 0o777 == 0o640


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for name in ("model", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"of_{name}").touch()
    with replacing(tmp_path / "out", tmp_path / "model", force=True) as staging:
        staging.mkdir()
        (staging / "new").touch()
    assert set(contents(tmp_path)) == {"model/of_model", "out/new"}


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("missing/out", {}, r"missing does not exist; create it first\.$"),
        ("in.csv/out", {}, r"in\.csv is not a folder\.$"),
        ("in.csv", {"force": True}, r"in\.csv is an input .*; choose another path \(-o\)\.$"),
        ("link", {"option": "--html"}, r"is an input .*; choose another path \(--html\)\.$"),
        ("model/out", {}, r"lies inside the input model; choose another path"),
        ("data", {"force": True, "folder": True}, "contains the input test.csv; choose another"),
        ("old", {"folder": True}, r"is a file, but the output is a folder; choose another path"),
        ("model/..", {"force": True}, r"(contains the input|is a folder, but the output)"),
        ("old", {}, r"old exists; choose another path \(-o\) or replace it \(--force\)\.$"),
    ],
)
def test_refused_destinations(
    tmp_path: Path, path: str, options: dict[str, Any], message: str
) -> None:
    inputs = [tmp_path / "in.csv", tmp_path / "model", tmp_path / "data" / "test.csv"]
    for folder in ("model", "data"):
        (tmp_path / folder).mkdir()
    for file in (inputs[0], inputs[2], tmp_path / "old"):
        file.touch()
    (tmp_path / "link").symlink_to(inputs[0])
    with pytest.raises(OutputError, match=message):
        check_destination(tmp_path / path, inputs, **options)


def test_accepted_destinations(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "model").mkdir()
    check_destination(tmp_path / "new", [tmp_path / "model"])
    check_destination(tmp_path / "old", [tmp_path / "model"], force=True)
    check_destination(tmp_path / "model", [tmp_path / "old"], force=True, folder=True)


def killed(folder: Path) -> Path:
    """A stage that a process left which was killed while it wrote."""
    code = (
        "import os, sys; from pathlib import Path; from fairfix._utils.atomic_write import staged\n"
        "with staged([Path(sys.argv[1], 'a')]) as new:\n"
        "    new[Path(sys.argv[1], 'a')].write_text('half')\n"
        "    os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    (stage,) = folder.glob(".fairfix-*")
    return stage


def test_stages_of_killed_processes_are_swept_by_the_next_write(tmp_path: Path) -> None:
    (killed(tmp_path) / "old" / "model").mkdir()  # set aside, not replaced yet
    write_text(tmp_path / "b", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"b", "model"}


def test_stages_in_use_are_not_swept(tmp_path: Path) -> None:
    with staged([tmp_path / "a"]) as staging:
        staging[tmp_path / "a"].write_text("new")
        write_text(tmp_path / "b", "new")
    assert contents(tmp_path) == {"a": b"new", "b": b"new"}
