"""Check whether a file held what its header promised, and whether all of it was read."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, cast

import av

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from vtloc_runtime.video.demuxing.source import Source

_WORTH_SAYING = 1.0
_DURATION_ESTIMATED = {"mpegts", "mpeg"}
_MOST_TAIL_PACKETS = 100_000
_MAGIC_BYTES, _BYTES_BEHIND = 8, 2**20
_MXF_KEY, _MXF_KEY_BYTES = b"\x06\x0e\x2b\x34", 14
_MICROSECOND = Fraction(1, 1_000_000)
_CLOCK = re.compile(r"(\d{1,4}):(\d\d):(\d\d(?:\.\d{1,12})?)\Z")


def another_follows(source: Source, position: int) -> bool:
    """Whether a file begins again behind a position: recordings were joined there.

    Args:
        source: The file.
        position: Where the last packet that was read ended, bytes.
    """
    magic = source.read_at(0, _MAGIC_BYTES)
    if magic.startswith(_MXF_KEY):
        # All keys of MXF begin alike; this long, it is that of a header, which a footer's is not.
        magic = source.read_at(0, _MXF_KEY_BYTES)
    behind = source.read_at(position, _BYTES_BEHIND) if position else b""
    return len(magic) >= _MAGIC_BYTES and magic in behind


def missing_seconds(container: InputContainer, stream: VideoStream, end: Fraction) -> float | None:
    """Seconds missing compared with the header, None if too few to report.

    Args:
        container: The file, read to its end; it is read again from ``end`` on where sound may last
            longer than the pictures.
        stream: The video stream.
        end: When the last picture leaves the screen, seconds of the container's time.
    """
    promised = _promised_end(container, stream)
    if promised is None:
        return None
    missing = float(promised - end)
    if missing <= _WORTH_SAYING or _others_go_on(container, end, promised):
        return None
    return missing


def _promised_end(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """When the pictures end by the file's header, None where it does not say."""
    if _DURATION_ESTIMATED & set(container.format.name.split(",")):
        return None
    start = Fraction(cast("int | None", container.start_time) or 0) * _MICROSECOND
    duration = Fraction(container.duration or 0) * _MICROSECOND
    if stream.duration and stream.time_base:
        start = (stream.start_time or 0) * stream.time_base
        duration = stream.duration * stream.time_base
    if not duration:
        return None
    # Live formats and Matroska count the duration from zero, not from the start.
    end = duration if duration > start else start + duration
    own = _clock_seconds(stream.metadata.get("DURATION"))
    return end if own is None else min(own, end)


def _others_go_on(container: InputContainer, end: Fraction, promised: Fraction) -> bool:
    """Whether sound or subtitles, not pictures, last as long as the header says."""
    if len(container.streams) == 1:
        return False
    latest = Fraction(0)
    try:
        container.seek(max(0, int(end / _MICROSECOND)))
        for packet in islice(container.demux(), _MOST_TAIL_PACKETS):
            if packet.pts is not None and packet.time_base is not None:
                latest = max(latest, (packet.pts + (packet.duration or 0)) * packet.time_base)
    except (av.FFmpegError, OSError, ValueError, IndexError, OverflowError):
        return False
    return float(promised - latest) <= _WORTH_SAYING


def _clock_seconds(text: str | None) -> Fraction | None:
    """Seconds of ``HH:MM:SS.fraction``, None where the text is something else."""
    match = _CLOCK.match(text or "")
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
