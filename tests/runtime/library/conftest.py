"""A small library: films of plain colours, and a bundle that says whether a colour is shown."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.support.colours import COLOURS, write_colour_bundle, write_colour_video
from tests.support.small_bundle import write_small_bundle
from vtloc_runtime.bundle.manifest import PresenceTest, ScoreCalibration
from vtloc_runtime.localize.presence.absence import ReferenceFrames


@pytest.fixture(scope="session")
def presence_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of colours, which compares with frames of every colour; not to be changed."""
    folder = tmp_path_factory.mktemp("presence") / "colours"
    content = ReferenceFrames.from_features(np.array(list(COLOURS.values())) / 255 - 0.5).to_bytes()
    test = PresenceTest(
        file="reference.safetensors",
        sha256=hashlib.sha256(content).hexdigest(),
        share=0.5,
        threshold=1.6,
    )
    folder.mkdir(parents=True)
    (folder / test.file).write_bytes(content)
    calibration = ScoreCalibration(raw=(0.0, 1.0), probability=(0.0, 1.0), presence=test)
    return write_colour_bundle(folder, score_calibration=calibration)


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
