"""Choose which of a file's video streams to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from vtloc_runtime.errors import VideoError
from vtloc_runtime.video.demuxing.diagnosis import cause_of_no_stream

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

    from vtloc_runtime.video.demuxing.source import Source


def choose_stream(container: InputContainer, wanted: int | None, source: Source) -> VideoStream:
    """The stream to read.

    A stream that moves goes before cover art, thumbnails and single pictures. Among several that
    move, FFmpeg's own rule decides (``av_find_best_stream``: the default stream, then the one
    with more pictures and bits); among stills the default one, then the largest.

    Args:
        container: The open file.
        wanted: Its number among the file's video streams, from 0; None to choose.
        source: What it was opened from.

    Raises:
        VideoError: The file has no such stream, or FFmpeg here has no decoder for it.
    """
    streams, where = container.streams.video, source.name
    if not streams:
        cause = cause_of_no_stream(source.read_at, source.size)
        raise VideoError(cause.what, where=where, remedy=cause.remedy)
    if wanted is None:
        chosen = _best(container, list(streams))
    elif wanted < len(streams):
        chosen = streams[wanted]
    else:
        raise VideoError(
            f"has {len(streams)} video streams; there is no stream {wanted}",
            where=where,
            remedy=f"Choose one from 0 to {len(streams) - 1}",
        )
    if not _decodable(chosen):
        raise VideoError(
            "is in a format that FFmpeg has no decoder for here",
            where=where,
            remedy="Convert it to H.264, HEVC, VP9 or AV1",
        )
    return chosen


def _best(container: InputContainer, streams: list[VideoStream]) -> VideoStream:
    candidates = [stream for stream in streams if _decodable(stream)] or streams
    moving = [stream for stream in candidates if not _still(stream)]
    if moving:
        best = container.streams.best("video")
        if best is not None and any(stream.index == best.index for stream in moving):
            return cast("VideoStream", best)
    return max(moving or candidates, key=_preference)


def _decodable(stream: VideoStream) -> bool:
    return cast("VideoCodecContext | None", stream.codec_context) is not None


def _still(stream: VideoStream) -> bool:
    return stream.frames == 1 or _is_cover_art(stream)


def _is_cover_art(stream: VideoStream) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def _preference(stream: VideoStream) -> tuple[bool, bool, int, int]:
    from av.stream import Disposition

    context = cast("VideoCodecContext | None", stream.codec_context)
    return (
        not _is_cover_art(stream),
        bool(stream.disposition & Disposition.default),
        context.width * context.height if context is not None else 0,
        -stream.index,
    )
