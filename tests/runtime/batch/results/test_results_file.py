"""The results file as its own results: nothing lost, nothing twice, nothing of others spoilt."""

from __future__ import annotations

import errno
import os
import random
import stat
import subprocess
import sys
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.failing_calls import failing_disk
from vtloc_runtime.batch.results import locked_file
from vtloc_runtime.batch.results.records import Failure, Record, encode_record
from vtloc_runtime.batch.results.results_file import ResultsFile
from vtloc_runtime.batch.results.results_reader import read_results
from vtloc_runtime.errors import OutputError


def record(name: str, run: str = "r", **fields: Any) -> Record:
    return Record(id=name, video="film.mp4", query="a dog – ∞", run=run, moments=(), **fields)


def done(results: ResultsFile) -> list[str]:
    return [entry.id for entry in results.records()]


def test_records_are_on_the_disk_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.jsonl"
    with ResultsFile(path, run="r") as results:
        results.append([record("1"), record("2")])
        assert path.read_bytes() == encode_record(record("1")) + encode_record(record("2"))


def test_the_next_run_knows_what_is_done(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with ResultsFile(path, run="r") as results:
        results.append([record("1")])
    with ResultsFile(path, run="r") as results:
        assert done(results) == ["1"]
        results.append([record("2")])
    with ResultsFile(path, run="r") as results:
        assert done(results) == ["1", "2"]


@given(st.integers(0, 400))
def test_a_run_cut_off_at_any_byte_goes_on_to_the_same_end(cut: int) -> None:
    names = ["1", "2", "3"]
    whole = b"".join(encode_record(record(name)) for name in names)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.jsonl"
        path.write_bytes(whole[:cut])
        with ResultsFile(path, run="r") as results:
            left = [name for name in names if name not in done(results)]
            for name in left:
                results.append([record(name)])
        assert path.read_bytes() == whole


def test_zeros_that_a_power_cut_leaves_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(encode_record(record("1")) + b"\0" * 100)
    with ResultsFile(path, run="r") as results:
        assert done(results) == ["1"]
    assert path.read_bytes() == encode_record(record("1"))


@pytest.mark.parametrize(
    "content",
    [
        b"my notes\n",
        b"my notes",
        b'{"video": 1}\n',
        b'{"id":"1"}\n',
        b'{"id":"1","name":"x"}',
        b'{"id":"1","video":"a.mp4","query":"b"}\n' * 3,
        b"\x89PNG",
    ],
)
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="something other") as caught:
        ResultsFile(path, run="r")
    assert "--out" in str(caught.value)
    with pytest.raises(OutputError, match="something other"):
        ResultsFile(path, run="r", overwrite=True)
    with pytest.raises(OutputError, match="something other"):
        ResultsFile(path, run="r", repair=True)
    assert path.read_bytes() == content


def test_answers_of_another_run_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with ResultsFile(path, run="one") as results:
        results.append([record("1", run="one")])
    with pytest.raises(OutputError, match="another run"):
        ResultsFile(path, run="two")
    with ResultsFile(path, run="two", overwrite=True) as results:
        assert done(results) == []


def test_two_runs_cannot_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with ResultsFile(path, run="r"), pytest.raises(OutputError, match="another run is writing"):
        ResultsFile(path, run="r")
    ResultsFile(path, run="r").close()


def test_a_full_disk_keeps_what_stood_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.jsonl"
    real = os.write
    with ResultsFile(path, run="r") as results:
        results.append([record("1")])
        room = [20]

        def full(descriptor: int, content: Any) -> int:
            if not room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(descriptor, content[: room.pop()])

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OutputError, match="No space left"):
            results.append([record("2"), record("3")])
        monkeypatch.undo()
        assert done(results) == ["1"]
    assert path.read_bytes() == encode_record(record("1"))


def test_failed_jobs_can_be_taken_out_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    failed = Record(id="2", video="v", query="q", run="r", error=Failure(kind="video", what="no"))
    with ResultsFile(path, run="r") as results:
        results.append([record("1"), failed, record("3")])
        results.drop({"2"})
        assert done(results) == ["1", "3"]
        results.append([record("2")])
        with pytest.raises(OutputError, match="another run is writing"):
            ResultsFile(path, run="r")
    with ResultsFile(path, run="r") as results:
        assert done(results) == ["1", "3", "2"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.jsonl"]


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "results.jsonl", Path("/proc/none/results.jsonl")):
        with pytest.raises(OutputError, match="cannot write") as caught:
            ResultsFile(path, run="r")
        assert caught.value.remedy


def test_a_pipe_is_written_and_never_read() -> None:
    reading, writing = os.pipe()
    with ResultsFile(f"/proc/self/fd/{writing}", run="r") as results:
        os.close(writing)
        results.append([record("1")])
    assert os.read(reading, 10_000) == encode_record(record("1"))
    os.close(reading)


def test_a_named_pipe_is_written_where_somebody_reads_and_never_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "results.jsonl"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="a pipe that nobody reads"):
        ResultsFile(pipe, run="r")
    with pytest.raises(OutputError, match="named pipe"):
        read_results(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with ResultsFile(pipe, run="r") as results:
        assert os.get_blocking(results._descriptor)
        results.append([record("1")])
    assert os.read(reading, 10_000) == encode_record(record("1"))
    os.close(reading)


def test_what_a_killed_process_appended_is_there(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    program = (
        "import os, signal, sys\n"
        "from vtloc_runtime.batch.results.results_file import ResultsFile\n"
        "from vtloc_runtime.batch.results.records import Record\n"
        f"results = ResultsFile({str(path)!r}, run='r')\n"
        "results.append([Record(id='1', video='v', query='q', run='r', moments=())])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert ended.returncode == -9
    with ResultsFile(path, run="r") as results:
        assert done(results) == ["1"]


def test_a_damaged_line_is_found_and_repaired(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    lines = [encode_record(record(str(number))) for number in range(4)]
    lines[2] = lines[2].replace(b"a dog", b"a cat")
    path.write_bytes(b"".join(lines))
    path.chmod(0o600)
    for options in ({}, {"overwrite": False}):
        with pytest.raises(OutputError, match="damaged") as caught:
            ResultsFile(path, run="r", **options)
    assert caught.value.where == f"{path}:3"
    assert "--repair" in str(caught.value)
    with ResultsFile(path, run="r", repair=True) as results:
        assert done(results) == ["0", "1", "3"]
        assert results.damaged == 1
        assert results.kept_aside is not None
        assert results.kept_aside.read_bytes() == b"".join(lines)
        results.append([record("2")])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with ResultsFile(path, run="r", repair=True) as results:
        assert done(results) == ["0", "1", "3", "2"]
        assert results.kept_aside is None


def test_no_flipped_bit_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    whole = b"".join(encode_record(record(str(number))) for number in range(3))
    true = {entry.id: entry for entry in (record(str(number)) for number in range(3))}
    chance = random.Random(0)
    for _ in range(300):
        spoilt = bytearray(whole)
        spoilt[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(spoilt)
        try:
            results = ResultsFile(path, run="r")
        except OutputError:
            results = ResultsFile(path, run="r", repair=True)
        with results:
            for entry in results.records():
                assert entry == true[entry.id]


@pytest.mark.parametrize("spoil", [b"\xef\xbb\xbf%s", b"%s\n\n", b"\n%s"])
def test_what_editors_add_does_no_harm(tmp_path: Path, spoil: bytes) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(spoil % encode_record(record("1")).replace(b"\n", b"\r\n"))
    with ResultsFile(path, run="r") as results:
        results.append([record("2")])
        assert done(results) == ["1", "2"]


def test_notes_at_the_end_are_not_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(encode_record(record("1")) + b"my notes")
    with pytest.raises(OutputError, match="damaged"):
        ResultsFile(path, run="r")
    assert path.read_bytes().endswith(b"my notes")


def test_old_results_are_given_up_with_the_first_new_one(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(encode_record(record("1", run="old")))
    ResultsFile(path, run="new", overwrite=True).close()
    assert path.read_bytes() == encode_record(record("1", run="old"))
    with ResultsFile(path, run="new", overwrite=True) as results:
        results.append([record("2", run="new")])
        results.append([record("3", run="new")])
    with ResultsFile(path, run="new") as results:
        assert done(results) == ["2", "3"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    target.parent.mkdir()
    target.touch(mode=0o600)
    link = tmp_path / "link"
    link.symlink_to(target)
    with ResultsFile(link, run="r") as results:
        results.append([record("1"), record("2")])
        results.drop({"1"})
        results.append([record("3")])
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with ResultsFile(target, run="r") as results:
        assert done(results) == ["2", "3"]


def test_a_file_that_was_replaced_while_it_was_opened_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(encode_record(record("1")))
    lock = locked_file.lock
    raced: list[bool] = []

    def replaced_first(descriptor: int, name: Path) -> None:
        if not raced:
            raced.append(True)
            (tmp_path / "other").write_bytes(encode_record(record("2")))
            (tmp_path / "other").replace(path)
        lock(descriptor, name)

    monkeypatch.setattr(locked_file, "lock", replaced_first)
    with ResultsFile(path, run="r") as results:
        results.append([record("3")])
    with ResultsFile(path, run="r") as results:
        assert done(results) == ["2", "3"]


@pytest.mark.parametrize("change", ["moved", "deleted", "replaced", "shortened", "extended"])
def test_a_file_that_is_changed_during_the_run_is_an_error(tmp_path: Path, change: str) -> None:
    path = tmp_path / "results.jsonl"
    with ResultsFile(path, run="r") as results:
        results.append([record("1")])
        if change == "moved":
            path.rename(tmp_path / "elsewhere")
        elif change == "deleted":
            path.unlink()
        elif change == "replaced":
            (tmp_path / "other").write_bytes(path.read_bytes())
            (tmp_path / "other").replace(path)
        else:
            os.truncate(path, path.stat().st_size + (5 if change == "extended" else -5))
        with pytest.raises(OutputError, match="moved, deleted or changed"):
            results.append([record("2")])


@pytest.mark.parametrize("lasting", [False, True])
def test_whatever_call_fails_no_record_is_lost_or_doubled(tmp_path: Path, lasting: bool) -> None:
    for number in count(1):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "results.jsonl"
        path.write_bytes(encode_record(record("0")))
        kept = ["0"]
        with (
            failing_disk(number, lasting=lasting) as disk,
            suppress(OutputError),
            ResultsFile(path, run="r") as results,
        ):
            for names in (["1", "2"], ["3"]):
                results.append([record(name) for name in names])
                kept += names
            results.drop({"1"})
            kept.remove("1")
            results.append([record("1")])
            kept.append("1")
        with ResultsFile(path, run="r") as results:
            found = done(results)
            assert set(found) >= set(kept)
            assert len(found) == len(set(found))
            results.append([record(name) for name in "0123" if name not in found])
            assert sorted(done(results)) == ["0", "1", "2", "3"]
        assert [entry.name for entry in folder.iterdir()] == ["results.jsonl"]
        if not disk.reached:
            assert number > 15
            return
