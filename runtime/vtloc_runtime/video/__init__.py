"""A video as frames: what a player shows at each wanted instant, decoding no more than it must."""

from vtloc_runtime.video.frame import Frame, Image
from vtloc_runtime.video.frame_sequence import FrameSequence
from vtloc_runtime.video.options import Limits, VideoOptions
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
