"""Videos of drifting stripes in named colours, and the bundle that finds them."""

from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "doubles"))

from colours import COLOURS, write_colour_bundle

from vtloc_runtime.bundle import Bundle


def write_striped_video(path: Path, scenes: list[tuple[str, int]], *, seed: int) -> Path:
    """Scenes of whole seconds: a colour under stripes of light that drift once a second."""
    random = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width = stream.height = 48
        stream.pix_fmt = "yuv420p"
        for colour, seconds in scenes:
            for _ in range(seconds):
                wave = np.sin(np.arange(48) / random.uniform(2, 6) + random.uniform(0, 6))
                light = 0.75 + 0.25 * wave[None, :, None]
                picture = (np.array(COLOURS[colour]) * light * np.ones((48, 48, 1))).astype("uint8")
                for _ in range(4):
                    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                    container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def striped_videos(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, list[str]]]:
    """Six videos of three colours each, and their colours in order; four seconds a colour."""
    folder = tmp_path_factory.mktemp("striped")
    names = list(COLOURS)
    found = []
    for index in range(6):
        shown = [names[(index + step) % len(names)] for step in (0, 2, 3)]
        path = folder / f"video{index}.mp4"
        write_striped_video(path, [(name, 4) for name in shown], seed=index)
        found.append((path, shown))
    return found


@pytest.fixture(scope="session")
def colour_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of colours; not to be changed."""
    return Bundle.open(write_colour_bundle(tmp_path_factory.mktemp("bundle") / "colours"))
