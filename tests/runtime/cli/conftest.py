"""The colour bundle and its film, in a folder of the test's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def bundle(colour_bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The bundle's path; the test runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return str(colour_bundle)


@pytest.fixture
def film(colour_video: Path, bundle: str) -> str:
    """A video in the folder that the test runs in."""
    shutil.copy(colour_video, "film.mp4")
    return "film.mp4"
