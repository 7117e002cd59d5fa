"""A video to measure with, where the user names none: moving, textured, the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import av
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SECONDS, RATE = 10, 30
WIDTH, HEIGHT = 1280, 720
GROUP = 60


def write_bench_video(
    folder: Path, *, seconds: int = SECONDS, width: int = WIDTH, height: int = HEIGHT
) -> Path:
    """Write a video at 30 frames a second with a keyframe every 2 s.

    Args:
        folder: Where to write it.
        seconds: How long it is.
        width: Pixels in a row.
        height: Rows.

    Returns:
        The file: H.264 where this FFmpeg can write it, MPEG-4 otherwise; the name tells which.
    """
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    path = folder / f"bench-{height}p-{codec}.mp4"
    picture = _picture(width, height)
    with av.open(str(path), "w") as container:
        stream = cast("av.VideoStream", container.add_stream(codec, rate=RATE))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = GROUP
        if codec == "libx264":
            stream.options = {"preset": "veryfast"}
        for index in range(seconds * RATE):
            # Panning over a large picture moves every block, as a camera does.
            top, left = (3 * index) % height, (5 * index) % width
            view = picture[top : top + height, left : left + width]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(view), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _picture(width: int, height: int) -> NDArray[np.uint8]:
    """Twice the frame's size: smooth colours with a fixed grain."""
    rows, columns = np.mgrid[0 : 2 * height, 0 : 2 * width].astype(np.float32)
    waves = [
        128 + 90 * np.sin(rows / (40 + 17 * c)) * np.cos(columns / (55 + 13 * c)) for c in range(3)
    ]
    grain = np.random.default_rng(0).normal(0, 6, (2 * height, 2 * width, 1))
    return np.clip(np.stack(waves, axis=-1) + grain, 0, 255).astype(np.uint8)
