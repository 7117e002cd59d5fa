"""Bundles by name: where they are looked for, and the error where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.colours import write_colour_bundle
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.bundle_names import bundle_names, bundles_folder, named_folder
from vtloc_runtime.errors import BundleError, UsageError
from vtloc_runtime.localize.localizer import Localizer


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with one bundle, and an empty working directory."""
    folder = tmp_path / "named"
    monkeypatch.setenv("VTLOC_BUNDLES", str(folder))
    write_colour_bundle(folder / "clip-b32", localizer=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return folder


def test_a_name_finds_the_bundle(home: Path) -> None:
    assert Bundle.open("clip-b32").path == home / "clip-b32"
    with Localizer.open("clip-b32", threads=1) as localizer:
        assert localizer.bundle.manifest.name == "colours"


def test_a_folder_of_that_name_goes_first(home: Path) -> None:
    write_colour_bundle(Path("clip-b32"))
    assert Bundle.open("clip-b32").path == Path("clip-b32")


def test_what_has_a_separator_is_a_path(home: Path) -> None:
    with pytest.raises(BundleError, match="no such bundle"):
        Bundle.open("./clip-b32")
    with pytest.raises(BundleError, match="no such bundle"):
        Bundle.open("clip-b32/")


@pytest.mark.parametrize("name", ["clip-b23", "clipb32", "clip-b16", "CLIP-B32"])
def test_the_nearest_name_is_suggested(home: Path, name: str) -> None:
    with pytest.raises(BundleError, match="no such bundle") as caught:
        Bundle.open(name)
    assert caught.value.where == name
    assert "clip-b32" in str(caught.value.remedy)


def test_without_any_bundle_it_is_said_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTLOC_BUNDLES", str(tmp_path / "nothing"))
    with pytest.raises(BundleError, match="--name"):
        Bundle.open("no-such-bundle")
    assert bundle_names() == ()


def test_the_folder_follows_the_user_s_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VTLOC_BUNDLES", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert bundles_folder() == tmp_path / "vtloc" / "bundles"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert bundles_folder() == tmp_path / ".local" / "share" / "vtloc" / "bundles"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden", "a b", "x" * 101, "a\0", "é"])
def test_what_cannot_be_a_name_is_refused(home: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        named_folder(name)


def test_only_folders_are_listed(home: Path) -> None:
    (home / "notes.txt").write_text("")
    (home / ".draft").mkdir()
    (home / "empty").mkdir()
    assert bundle_names() == ("clip-b32", "empty")
