"""Sample frames from videos: what a player shows at each requested instant, with exact times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtloc_runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from vtloc_runtime.bundle.manifest import Preprocessing
    from vtloc_runtime.video.frame import Frame, Image
    from vtloc_runtime.video.frame_sequence import FrameSequence
    from vtloc_runtime.video.isolation.chunks import FrameChunk, Read, ReadingEnd, read_here
    from vtloc_runtime.video.isolation.decoder_process import DecoderProcess
    from vtloc_runtime.video.isolation.limits import DecoderLimits
    from vtloc_runtime.video.options import Limits, VideoOptions
    from vtloc_runtime.video.reader import FrameReader, VideoSource, open_video

__all__ = [
    "DecoderLimits",
    "DecoderProcess",
    "Frame",
    "FrameChunk",
    "FrameReader",
    "FrameSequence",
    "Image",
    "Limits",
    "Preprocessing",
    "Read",
    "ReadingEnd",
    "VideoOptions",
    "VideoSource",
    "open_video",
    "read_here",
]

_HOMES = {
    "Preprocessing": "vtloc_runtime.bundle.manifest",
    "Frame": "vtloc_runtime.video.frame",
    "Image": "vtloc_runtime.video.frame",
    "FrameSequence": "vtloc_runtime.video.frame_sequence",
    "FrameChunk": "vtloc_runtime.video.isolation.chunks",
    "Read": "vtloc_runtime.video.isolation.chunks",
    "ReadingEnd": "vtloc_runtime.video.isolation.chunks",
    "read_here": "vtloc_runtime.video.isolation.chunks",
    "DecoderProcess": "vtloc_runtime.video.isolation.decoder_process",
    "DecoderLimits": "vtloc_runtime.video.isolation.limits",
    "Limits": "vtloc_runtime.video.options",
    "VideoOptions": "vtloc_runtime.video.options",
    "FrameReader": "vtloc_runtime.video.reader",
    "VideoSource": "vtloc_runtime.video.reader",
    "open_video": "vtloc_runtime.video.reader",
}

# Hidden from type checkers, for which it would make every name valid.
if not TYPE_CHECKING:
    __getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
