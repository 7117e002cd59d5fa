"""Only videos below the named folders are served, whatever a name says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloc_runtime.errors import UsageError
from vtloc_runtime.serve.folders import ServedFolders, UnknownVideoError

PARTS = [
    "films", "a.mp4", "b.mkv", "sub", "deep", "..", ".", "", "link.mp4", "linked", "outside",
    "secret.mp4", ".hidden", ".hidden.mp4", "notes.txt", "pipe.mp4", "folder.mp4", "loop", "%2e%2e",
    "..%2f", "..\\..", "a.mp4\0", "\0", "a.mp4/", "~", "etc", "passwd", "A.MP4", "ａ.mp4", "\ud800",
    "uploads", "x" * 300 + ".mp4", "/", "//", "proc", "self", "a.mp4.", "a.mp4 ",
]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that could lead out of it, beside a secret."""
    root = tmp_path_factory.mktemp("world")
    outside = root / "outside"
    outside.mkdir()
    (outside / "secret.mp4").write_text("secret")
    films = root / "films"
    (films / "sub" / "deep").mkdir(parents=True)
    (films / ".hidden").mkdir()
    (films / "folder.mp4").mkdir()
    for name in (
        "a.mp4",
        "sub/b.mkv",
        "sub/deep/a.mp4",
        ".hidden/a.mp4",
        ".hidden.mp4",
        "%2e%2e.mp4",
    ):
        (films / name).write_text(f"a film called {name}")
    (films / "notes.txt").write_text("secret")
    (films / "link.mp4").symlink_to(outside / "secret.mp4")
    (films / "sub" / "link.mp4").symlink_to(films / "a.mp4")
    (films / "linked").symlink_to(outside)
    (films / "loop").symlink_to(films)
    os.mkfifo(films / "pipe.mp4")
    return root


ALLOWED = {
    "films/a.mp4", "films/sub/b.mkv", "films/sub/deep/a.mp4", "films/%2e%2e.mp4",
}  # fmt: skip


def test_names_are_of_videos_that_are_really_there(world: Path) -> None:
    assert set(ServedFolders([world / "films"]).names()) == ALLOWED


def test_listed_names_open(world: Path) -> None:
    folders = ServedFolders([world / "films"])
    for name in folders.names():
        with folders.open(name) as video:
            assert video.file.read().decode() == f"a film called {name.removeprefix('films/')}"
            assert os.path.realpath(video.path).startswith(str(world / "films"))


@given(
    parts=st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=8)), max_size=7),
    start=st.sampled_from(["films/", "", "/", "films/sub/", "films/../films/", "./films/"]),
)
def test_no_other_name_opens_anything(world: Path, parts: list[str], start: str) -> None:
    folders = ServedFolders([world / "films"])
    for name in (start + "/".join(parts), str(world / "outside" / "secret.mp4")):
        if name in ALLOWED:
            continue
        with pytest.raises(UnknownVideoError), folders.open(name):
            pass


def test_a_file_that_becomes_a_link_is_refused(world: Path, tmp_path: Path) -> None:
    films = tmp_path / "films"
    (films / "sub").mkdir(parents=True)
    (films / "sub" / "a.mp4").write_text("a film")
    folders = ServedFolders([films])
    with folders.open("films/sub/a.mp4") as video:
        (films / "sub").rename(films / "moved")
        (films / "sub").symlink_to(world / "outside")
        (world / "outside" / "a.mp4").write_text("secret")
        assert video.file.read() == b"a film"
    with pytest.raises(UnknownVideoError), folders.open("films/sub/a.mp4"):
        pass


def test_folders_of_one_name_are_numbered(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place / "films").mkdir(parents=True)
        (tmp_path / place / "films" / f"{place}.mp4").write_text("a film")
    folders = ServedFolders(
        [tmp_path / "one/films", tmp_path / "two/films", tmp_path / "one/films"]
    )
    assert folders.names() == ["films-2/two.mp4", "films/one.mp4"]


def test_a_linked_folder_may_be_named(world: Path, tmp_path: Path) -> None:
    (tmp_path / "my films").symlink_to(world / "films")
    assert "films/a.mp4" in ServedFolders([tmp_path / "my films"]).names()


@pytest.mark.parametrize("name", ["gone", "films/a.mp4"])
def test_what_is_no_folder_is_refused(world: Path, name: str) -> None:
    with pytest.raises(UsageError, match="folder"):
        ServedFolders([world / name])
