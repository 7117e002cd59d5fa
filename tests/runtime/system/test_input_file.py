"""Input files: regular ones and open pipes are read, nothing is waited for or read without end."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from vtloc_runtime.system.input_file import open_input, read_input


def test_files_are_read_up_to_their_bound(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"12345")
    assert read_input(path) == read_input(path, limit=5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_input(path, limit=4)


def test_named_pipes_devices_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    link = tmp_path / "link.txt"
    link.symlink_to("/dev/zero")
    for path in (pipe, link, Path("/dev/zero"), tmp_path):
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(OSError, match=r"named pipe or a device|directory"):
            read_input(path)
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_pipe_that_is_open_is_read_to_its_end() -> None:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(b"a dog\n" * 50_000)

    threading.Thread(target=write).start()
    with open_input(f"/dev/fd/{reading}") as file:
        os.close(reading)
        assert file.read() == b"a dog\n" * 50_000


def test_an_open_pipe_without_an_end_is_read_up_to_its_bound() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"a dog\n" * 9)
    with pytest.raises(OSError, match="more than 10 bytes"):
        read_input(f"/dev/fd/{reading}", limit=10)
    os.close(reading)
    os.close(writing)
