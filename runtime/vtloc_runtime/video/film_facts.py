"""What a film's header says: its frame rate, length, size, sound and timecode."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from vtloc_runtime.video.demuxing.stream_choice import choose_stream

if TYPE_CHECKING:
    from vtloc_runtime.video.demuxing.source import Source
    from vtloc_runtime.video.options import VideoOptions

_MICROSECOND = Fraction(1, 1_000_000)
_RATE = Fraction(25)
_LONGEST_TIMECODE = 32


@dataclass(frozen=True, slots=True)
class FilmFacts:
    """What a film's header says. Headers may be wrong: frames are counted only by reading them.

    Attributes:
        path: The film.
        rate: Frames a second; 25 where the header does not say.
        duration: Seconds; 0 where the header does not say.
        width: Pixels of a picture.
        height: Lines of a picture.
        sound: Whether it has sound.
        timecode: The timecode of its first frame, such as ``01:00:00;00``; empty where it has
            none.
    """

    path: str
    rate: Fraction
    duration: float
    width: int
    height: int
    sound: bool
    timecode: str = ""


def read_facts(source: Source, options: VideoOptions) -> FilmFacts:
    """Read a film's header.

    Args:
        source: The film, open.
        options: Which of its streams is the video.

    Raises:
        VideoError: It is not a video.
    """
    with source.open() as container:
        stream = choose_stream(container, options.stream, source)
        rate = stream.average_rate or stream.guessed_rate or _RATE
        lengths = [0.0]
        if stream.duration and stream.time_base:
            lengths.append(float(stream.duration * stream.time_base))
        elif container.duration:
            lengths.append(float(container.duration * _MICROSECOND))
        tags = [stream.metadata, container.metadata, *(one.metadata for one in container.streams)]
        timecode = next((tag["timecode"] for tag in tags if "timecode" in tag), "")
        duration = max(lengths)
        return FilmFacts(
            source.name,
            Fraction(rate),
            duration if math.isfinite(duration) else 0.0,
            stream.codec_context.width,
            stream.codec_context.height,
            bool(container.streams.audio),
            timecode[:_LONGEST_TIMECODE],
        )
