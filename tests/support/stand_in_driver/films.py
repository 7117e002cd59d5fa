"""Films whose pictures are flat, and the table by which the stand-in decoder shows them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.video.plane import VideoPlane

WIDTH, HEIGHT, RATE = 320, 176, 25


def write_film(
    folder: Path, *, pictures: int = 100, b_frames: int = 0, group: int = 25, seed: int = 0
) -> Path:
    """A film without loss, a colour a picture; a text file of its name beside it is the table."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f"flat-{b_frames}-{seed}.mp4" if seed else f"flat-{b_frames}.mp4")
    colours = np.random.default_rng(seed).integers(30, 220, (pictures, 3))
    with av.open(str(path), "w") as out:
        options = {"qp": "2", "g": str(group), "bf": str(b_frames), "sc_threshold": "0"}
        stream = out.add_stream("libx264", rate=RATE, options=options | {"b_strategy": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(pictures):
            frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
            for plane, value in zip(frame.planes, colours[number].tolist(), strict=True):
                plane.update(bytes([value]) * (plane.line_size * plane.height))
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    path.with_suffix(".txt").write_text(_table(path))
    return path


def _table(path: Path) -> str:
    with av.open(str(path)) as opened:
        shown = {
            frame.pts: (order, *map(_colour, frame.planes))
            for order, frame in enumerate(opened.decode(video=0))
        }
    lines: list[str] = []
    with av.open(str(path)) as opened:
        stream = opened.streams.video[0]
        converted = BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in opened.demux(stream):
            if packet.size:
                numbers = " ".join(map(str, shown[packet.pts]))
                parts = converted.filter(packet)
                lines.extend(f"{_hash(bytes(part))} {numbers}\n" for part in parts)
    assert len({line.split()[0] for line in lines}) == len(lines), "two packets are alike"
    return "".join(lines)


def _colour(plane: VideoPlane) -> int:
    rows = np.frombuffer(cast("memoryview", plane), np.uint8).reshape(plane.height, plane.line_size)
    (found,) = np.unique(rows[:, : plane.width])
    return int(found)


def _hash(content: bytes) -> int:
    # Headers may come before the last unit, which is the picture.
    found = 2166136261
    for byte in content[content.rindex(b"\0\0\1") :]:
        found = (found ^ byte) * 16777619 % 2**32
    return found
