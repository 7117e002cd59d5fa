"""Sample frames from videos: what a player shows at each requested instant, with exact times.

FFmpeg is loaded with the reader, not with the options: a process that only passes options on to a
decoder process never loads it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vtloc_runtime.video.frame import Frame, Image
from vtloc_runtime.video.frame_sequence import FrameSequence
from vtloc_runtime.video.options import Limits, VideoOptions

if TYPE_CHECKING:
    from vtloc_runtime.video.reader import FrameReader, VideoSource, open_video

__all__ = [
    "Frame",
    "FrameReader",
    "FrameSequence",
    "Image",
    "Limits",
    "VideoOptions",
    "VideoSource",
    "open_video",
]

_OF_READER = ("FrameReader", "VideoSource", "open_video")


def __getattr__(name: str) -> Any:
    if name in _OF_READER:
        return getattr(import_module("vtloc_runtime.video.reader"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
