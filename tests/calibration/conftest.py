"""Videos of drifting stripes in named colours, and the bundle that finds them."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.colours import COLOURS, SIZE, write_colour_bundle
from tests.support.quantizable import mean_colour
from vtloc_calibration.bundle_edit import store_variant
from vtloc_calibration.samples.samples import SampledVideo, Samples, draw_samples
from vtloc_runtime.bundle.bundle import Bundle


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


def write_weighted_bundle(folder: Path) -> Bundle:
    """The bundle of colours in FP32, its frames encoded by layers that have weights."""
    bundle = Bundle.open(write_colour_bundle(folder))
    content = mean_colour(SIZE).SerializeToString()
    return store_variant(bundle, "visual", "fp32", content, like="fp32")


@pytest.fixture
def weighted_bundle(tmp_path: Path) -> Bundle:
    """A bundle with weights that a test may change."""
    return write_weighted_bundle(tmp_path / "weighted")


@pytest.fixture(scope="session")
def striped_labels(
    striped_videos: list[tuple[Path, list[str]]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What each striped video shows when, and one colour that it never shows."""
    lines: list[str] = []
    for path, shown in striped_videos:
        for index, name in enumerate(shown):
            window = [4.0 * index, 4.0 * index + 4]
            lines.append(entry_line(len(lines), path.name, f"the screen turns {name}", [window]))
        missing = next(name for name in COLOURS if name not in shown)
        lines.append(entry_line(len(lines), path.name, f"a {missing} screen", []))
    file = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def entry_line(number: int, video: str, query: str, windows: list[list[float]]) -> str:
    return json.dumps(
        {
            "qid": number,
            "vid": video,
            "duration": 12.0,
            "query": query,
            "relevant_windows": windows,
        }
    )


@pytest.fixture(scope="session")
def striped_samples(
    striped_videos: list[tuple[Path, list[str]]], tmp_path_factory: pytest.TempPathFactory
) -> Samples:
    """Samples of the weighted bundle over the striped videos."""
    bundle = write_weighted_bundle(tmp_path_factory.mktemp("sampled") / "weighted")
    sentences = tuple(f"{start} {name}" for name in COLOURS for start in ("a", "the screen turns"))
    videos = [SampledVideo(path, sentences) for path, _ in striped_videos]
    return draw_samples(bundle, videos, precision="fp32", seed=0)
