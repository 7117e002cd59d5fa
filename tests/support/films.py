"""Films with their frame numbers burned in, so that a test can read which frame it was given."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer

from recipes.films.priority import kept_priority
from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.video import Frame, VideoOptions

CELLS = 4
BITS = CELLS * CELLS - 4


def numbered_picture(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A picture ``[H, W, 3]`` that shows ``number`` in black and white cells.

    The corner cells mark which way up it is: white, black, black, black.
    """
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    corners = {(0, 0): 1, (0, CELLS - 1): 0, (CELLS - 1, 0): 0, (CELLS - 1, CELLS - 1): 0}
    cells = np.zeros((CELLS, CELLS))
    rest = iter(bits)
    for row in range(CELLS):
        for column in range(CELLS):
            corner = corners.get((row, column))
            cells[row, column] = next(rest) if corner is None else corner
    rows = np.arange(height) * CELLS // height
    columns = np.arange(width) * CELLS // width
    gray = (cells[rows][:, columns] * 200 + 25).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def read_number(image: np.ndarray) -> int:
    """The number that a picture shows; fails where it lies on its side."""
    side = image.shape[0] / CELLS
    centres = ((np.arange(CELLS) + 0.5) * side).astype(int)
    cells = image.mean(axis=2)[centres][:, centres] > 125
    assert cells[0, 0]
    assert not cells[0, -1]
    assert not cells[-1, 0]
    assert not cells[-1, -1]
    corners = {(0, 0), (0, CELLS - 1), (CELLS - 1, 0), (CELLS - 1, CELLS - 1)}
    order = [(r, c) for r in range(CELLS) for c in range(CELLS) if (r, c) not in corners]
    return sum(int(cells[place]) << bit for bit, place in enumerate(order))


def numbers(frames: Sequence[Frame]) -> list[int]:
    """The numbers that sampled frames show."""
    return [read_number(frame.image) for frame in frames]


def add_video_stream(
    out: OutputContainer,
    codec: str,
    rate: int | Fraction,
    size: tuple[int, int],
    *,
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> av.VideoStream:
    """Add a video stream; PyAV's own types allow any kind where a variable names the codec."""
    stream = out.add_stream(codec, rate=rate, options=options)
    assert isinstance(stream, av.VideoStream)
    stream.width, stream.height = size
    stream.pix_fmt = pixels
    return stream


@dataclass(frozen=True)
class Film:
    """How to make a test file.

    Attributes:
        ticks: When each frame comes on screen.
        time_base: Seconds in a tick.
        first_number: The number of the first frame.
    """

    ticks: tuple[int, ...] = tuple(range(60))
    time_base: Fraction = Fraction(1, 20)
    codec: str = "libx264"
    container: str = "mp4"
    size: tuple[int, int] = (64, 48)
    pixels: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    first_number: int = 0
    sound_from: float | None = None

    def make(self) -> bytes:
        """The file's bytes."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "film"
            self._write(path)
            return path.read_bytes()

    @kept_priority()
    def _write(self, path: Path) -> None:
        options = self.container_options
        with av.open(str(path), "w", self.container, container_options=options) as out:
            sound = out.add_stream("mp2", rate=16000) if self.sound_from is not None else None
            stream = add_video_stream(
                out,
                self.codec,
                1 / self.time_base,
                self.size,
                pixels=self.pixels,
                options=self.options,
            )
            stream.codec_context.time_base = self.time_base
            stream.codec_context.thread_count = 1
            if sound is not None and self.sound_from is not None:
                _add_sound(out, sound, self.sound_from)
            for number, tick in enumerate(self.ticks, start=self.first_number):
                picture = numbered_picture(number, *self.size)
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame = frame.reformat(format=self.pixels)
                frame.pts, frame.time_base = tick, self.time_base
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))

    def save(self, folder: Path, name: str | None = None) -> Path:
        """The file, written to a folder."""
        path = folder / (name or f"film.{self.container}")
        path.write_bytes(self.make())
        return path

    def on_screen(self, instant: Fraction) -> int:
        """The number that a player shows at an instant."""
        shown = [
            number
            for number, tick in enumerate(self.ticks, start=self.first_number)
            if (tick - self.ticks[0]) * self.time_base <= instant
        ]
        return shown[-1]


def _add_sound(out: OutputContainer, stream: av.AudioStream, start: float) -> None:
    for block in range(20):
        samples = np.zeros((1, 1152), dtype=np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 16000
        frame.pts = int(start * 16000) + block * 1152
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def encrypted() -> bytes:
    """An MP4 of one picture, encrypted as films under licence are."""
    target = io.BytesIO()
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "00112233445566778899aabbccddeeff",
        "encryption_kid": "00112233445566778899aabbccddeeff",
    }
    with av.open(target, "w", "mp4", options=options) as out:
        stream = add_video_stream(out, "libx264", 20, (64, 64))
        out.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        out.mux(stream.encode(None))
    return target.getvalue()


def whole(**options: Any) -> VideoOptions:
    """Options under which the whole picture stays visible."""
    return VideoOptions(preprocessing=Preprocessing(size=64, resize="squash"), **options)
