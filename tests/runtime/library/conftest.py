"""A small library: films of plain colours, and a bundle that says whether a colour is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.colour_bank import EVERY_DIRECTION, banked
from tests.support.colours import write_colour_video
from tests.support.small_bundle import write_small_bundle


@pytest.fixture(scope="session")
def presence_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of colours with a bank of sentences; not to be changed."""
    folder = tmp_path_factory.mktemp("presence") / "colours"
    return banked(folder, EVERY_DIRECTION, localizer=True, mean_weight=0.0, threshold=1.0)


@pytest.fixture(scope="session")
def colour_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films of one, two and three colours; not to be changed."""
    folder = tmp_path_factory.mktemp("films")
    scenes = {
        "red": [("red", 6)],
        "red then green": [("red", 3), ("green", 4)],
        "blue": [("blue", 5)],
        "yellow then blue": [("yellow", 4), ("blue", 3)],
        "cyan, magenta, green": [("cyan", 3), ("magenta", 3), ("green", 3)],
    }
    for name, parts in scenes.items():
        write_colour_video(folder / f"{name}.mp4", parts)
    return folder


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose frames and sentences share no space."""
    return write_small_bundle(tmp_path_factory.mktemp("small") / "bundle").path
