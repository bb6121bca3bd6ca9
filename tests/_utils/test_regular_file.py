"""Devices, pipes and oversized files are refused before they are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fairfix._utils.regular_file import check_regular, read_regular
from fairfix.errors import TableError, UsageError


def test_a_pipe_or_device_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path, kind in ((tmp_path / "pipe.csv", "a named pipe"), (Path("/dev/zero"), "a device")):
        with pytest.raises(TableError, match=f"is {kind}; save its contents to a file"):
            check_regular(path, error=TableError)
        with pytest.raises(UsageError, match=f"is {kind}"):
            read_regular(path)


def test_a_loop_of_links_and_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UsageError, match="is a symbolic link that leads nowhere"):
        check_regular(tmp_path / "loop")
    with pytest.raises(UsageError, match="does not exist"):
        check_regular(tmp_path / "none")


def test_a_folder_is_left_to_the_caller_and_links_are_followed(tmp_path: Path) -> None:
    check_regular(tmp_path)
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_regular(tmp_path)
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_regular(tmp_path / "link", max_bytes=3) == b"abc"


def test_a_file_beyond_the_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(UsageError, match="more than 1 MiB"):
        read_regular(tmp_path / "file", max_bytes=1 << 20)
