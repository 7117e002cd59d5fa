"""The least that reading can cost: the decoder's calls written down, and made again alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtloc_runtime.video import VideoOptions
from vtloc_runtime.video.demuxing.demux import DemuxPass
from vtloc_runtime.video.demuxing.source import Source
from vtloc_runtime.video.picture.scaling import PictureScaler
from vtloc_runtime.video.sampling.sparse import SparseSampler

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream

    from vtloc_runtime.video.frame import Image


class _RecordingPass(DemuxPass):
    """Writes down what the decoder is asked."""

    script: list[tuple[str, Any]]

    def decode(
        self, packet: av.Packet[VideoStream] | None, *, tolerate: bool = False
    ) -> list[av.VideoFrame]:
        self.script.append(("decode", packet))
        return super().decode(packet, tolerate=tolerate)

    def skip_unreferenced(self, skip: bool) -> None:
        self.script.append(("skip", skip))
        super().skip_unreferenced(skip)

    def restart(self) -> None:
        self.script.append(("restart", None))
        super().restart()


class _RecordingDecode(SparseSampler):
    """Writes down which pictures become frames."""

    scaled: set[int | None]

    def _scale(self, index: int, picture: av.VideoFrame) -> Image:
        self.scaled.add(picture.pts)
        return super()._scale(index, picture)


@dataclass(frozen=True)
class Script:
    """What the decoder was asked for one file.

    Attributes:
        steps: The calls, in order; packets by their number.
        scaled: Presentation times of the pictures that became frames.
        samples: How many frames came of it.
    """

    steps: list[tuple[str, Any]]
    scaled: set[int | None]
    samples: int

    @classmethod
    def read(cls, path: Path) -> Script:
        """Read the file once, and write down what happens."""
        options = VideoOptions()
        recorded = _RecordingPass(Source(path, options), options)
        recorded.script = []
        decode = _RecordingDecode(recorded, options)
        decode.scaled = set()
        samples = sum(1 for _ in decode.frames(options.targets()))
        steps = [
            (kind, value.opaque[0] if kind == "decode" and value is not None else value)
            for kind, value in recorded.script
        ]
        recorded.close()
        return cls(steps, decode.scaled, samples)


def ask(context: av.VideoCodecContext, kind: str, value: Any) -> list[av.VideoFrame]:
    """One call to the decoder."""
    if kind == "decode":
        return context.decode(value)
    if kind == "skip":
        context.skip_frame = "NONREF" if value else "DEFAULT"
    else:
        context.flush_buffers()
    return []


def limit_of(path: Path, script: Script) -> Callable[[], int]:
    """Prepare the limit: the packets in memory, and nothing but the decoder's calls to make."""
    options = VideoOptions()
    fresh = DemuxPass(Source(path, options), options)
    packets = {timed.number: timed.packet for timed in fresh.packets()}
    steps = [
        (kind, packets[value] if kind == "decode" and value is not None else value)
        for kind, value in script.steps
    ]
    context = fresh.stream.codec_context

    def replay() -> int:
        for kind, value in steps:
            ask(context, kind, value)
        context.flush_buffers()
        return script.samples

    return replay


def read_by_script(path: Path, script: Script) -> int:
    """Open and read the file, make the calls, shrink the wanted pictures: no planning at all."""
    options = VideoOptions()
    scaler = PictureScaler(options.preprocessing)
    steps = iter(script.steps)
    with Source(path, options).open() as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        step = next(steps, None)
        for number, packet in enumerate(one for one in container.demux(stream) if one.size):
            while step is not None and not (step[0] == "decode" and (step[1] or 0) > number):
                value = packet if step[0] == "decode" and step[1] is not None else step[1]
                for picture in ask(stream.codec_context, step[0], value):
                    if picture.pts in script.scaled:
                        scaler.scale(picture)
                step = next(steps, None)
        stream.codec_context.flush_buffers()
    return script.samples
