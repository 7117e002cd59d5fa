"""Files replaced in one step, whatever fails on the way."""

from __future__ import annotations

import os
import stat
from itertools import count
from pathlib import Path

import pytest

from tests.support.failing_calls import failing_disk
from vtloc_runtime.system.atomic_write import atomic_write


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_new_file_gets_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "new") as file:
            file.write(b"content")
    finally:
        os.umask(before)
    assert (tmp_path / "new").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    assert names(tmp_path) == ["new"]


def test_a_link_stays_and_its_target_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    target = tmp_path / "deep" / "target"
    target.write_bytes(b"old")
    target.chmod(0o600)
    (tmp_path / "link").symlink_to("deep/target")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
    assert (tmp_path / "link").is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert names(tmp_path / "deep") == ["target"]


def test_a_planted_link_is_never_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    tokens = iter(["guessed", "free"])
    monkeypatch.setattr(
        "vtloc_runtime.system.atomic_write.secrets.token_hex", lambda _: next(tokens)
    )
    (tmp_path / ".vtloc-guessed.tmp").symlink_to(victim)
    with atomic_write(tmp_path / "file") as file:
        file.write(b"new")
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("special", ["/dev/null", "/dev", "/nowhere/file"])
def test_what_is_no_file_is_refused(special: str) -> None:
    with pytest.raises(OSError, match=r"regular file|No such"), atomic_write(special):
        pytest.fail("it was opened")


def test_an_error_in_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("lasting", [False, True])
def test_whatever_call_fails_the_file_is_the_old_one_or_the_new(
    tmp_path: Path, lasting: bool
) -> None:
    path = tmp_path / "file"
    for number in count(1):
        path.write_bytes(b"old")
        with failing_disk(number, lasting=lasting) as disk:
            try:
                with atomic_write(path) as file:
                    file.write(b"new")
            except OSError:
                assert path.read_bytes() == b"old"
            else:
                assert path.read_bytes() == b"new"
        assert names(tmp_path) == ["file"]
        if not disk.reached:
            assert number > 4
            return
