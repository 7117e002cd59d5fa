"""What the runtime's tests share: a bundle and a video of plain colours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.colours import write_colour_bundle, write_colour_video


@pytest.fixture(scope="session")
def colour_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of colours, in FP32 and FP16; not to be changed."""
    return write_colour_bundle(tmp_path_factory.mktemp("bundle") / "colours")


@pytest.fixture
def own_bundle(tmp_path: Path) -> Path:
    """A bundle of colours that a test may spoil."""
    return write_colour_bundle(tmp_path / "colours")


@pytest.fixture(scope="session")
def colour_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds: red for 4, green for 3, blue for 5."""
    path = tmp_path_factory.mktemp("video") / "colours.mp4"
    return write_colour_video(path, [("red", 4), ("green", 3), ("blue", 5)])


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of encoded videos for one test alone, so that nothing is found from elsewhere."""
    folder = tmp_path / "own cache"
    monkeypatch.setenv("VTLOC_CACHE", str(folder))
    return folder
