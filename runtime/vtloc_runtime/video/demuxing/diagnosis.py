"""Find out why a file cannot be read as a video, and what to do about it."""

from __future__ import annotations

from typing import NamedTuple

from vtloc_runtime.video.containers.mp4 import Mp4File, ReadAt

_HEAD_BYTES = 4096
_ZERO_BYTES = 65_536


class Cause(NamedTuple):
    """A cause.

    Attributes:
        what: What is wrong, to follow the file's name.
        remedy: What can be done.
    """

    what: str
    remedy: str


NOT_A_VIDEO = Cause(
    "is not a video in a format that can be read here",
    "Check that it plays; if it does, convert it to MP4",
)
ENCRYPTED = Cause(
    "is encrypted (DRM)", "Only unprotected videos can be read; get one without encryption"
)
_LEADS_ELSEWHERE = "is refused because it names other files instead of holding a video"
_CUT = "Copy or download it again; a recording that broke off has to be repaired first"

# What a text or file begins with, of formats that open further files by name.
_REFERRING = (
    (b"#EXTM3U", "is an HLS playlist, which {}", "Give the video that it names"),
    (b"ffconcat", "is a list of videos (ffconcat), which {}", "Give the videos one by one"),
    (b"v=0", "is a session description (SDP), which {}", "Record the stream to a file first"),
    (b"MLVI", "is a Magic Lantern recording, which {}", "Convert it to MP4"),
    (b"# VobSub", "is a subtitle index (VobSub), which {}", "Give the video itself"),
    (b"[playlist]", "is a playlist, which {}", "Give the video that it names"),
)
_MARKUP = (
    (b"<mpd", "is a DASH manifest, which {}", "Give the video that it names"),
    (b"<smil", "is a SMIL playlist, which {}", "Give the video that it names"),
    (b"<smoothstreamingmedia", "is a streaming manifest, which {}", "Give the video that it names"),
    (b"<compositionplaylist", "is an IMF playlist, which {}", "Give the video that it names"),
    (b"<svg", "is a drawing (SVG), not a video", "Convert it to a picture"),
    (b"<html", "is a web page, not a video", "Download the video that the page shows"),
    (b"<!doctype html", "is a web page, not a video", "Download the video that the page shows"),
)


def cause_of_refusal(read_at: ReadAt, size: int) -> Cause:
    """Why FFmpeg did not open a file.

    Args:
        read_at: Reads from the file.
        size: Bytes in the file.
    """
    head = read_at(0, _HEAD_BYTES)
    file = Mp4File(read_at, size)
    by_boxes = _mp4(file) if file.recognised else NOT_A_VIDEO
    return _zeros(read_at, head) or _text(head) or by_boxes


def cause_of_no_stream(read_at: ReadAt, size: int) -> Cause:
    """Why a file that FFmpeg opened has no video stream.

    Args:
        read_at: Reads from the file.
        size: Bytes in the file.
    """
    file = Mp4File(read_at, size)
    if file.recognised and not file.has(b"moov"):
        return _mp4(file)
    return Cause("holds no video stream", "Give a file with pictures, not sound only")


def cause_of_no_pictures(read_at: ReadAt) -> Cause:
    """Why no picture comes out of a file that FFmpeg opened.

    Args:
        read_at: Reads from the file.
    """
    head = read_at(0, _HEAD_BYTES)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and b"ANIM" in head[:64]:
        return Cause("is an animated WebP, which FFmpeg cannot decode", "Convert it to GIF or MP4")
    return Cause(
        "holds nothing that can be decoded", "It is damaged or encrypted; check that it plays"
    )


def _zeros(read_at: ReadAt, head: bytes) -> Cause | None:
    if any(head) or any(read_at(0, _ZERO_BYTES)):
        return None
    return Cause("begins with nothing but zero bytes", "Its copy did not finish; copy it again")


def _text(head: bytes) -> Cause | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for mark, what, remedy in _REFERRING:
        if start.startswith(mark):
            return Cause(what.format(_LEADS_ELSEWHERE), remedy)
    if start.startswith(b"<"):
        markup = start.lower()
        for mark, what, remedy in _MARKUP:
            if mark in markup:
                return Cause(what.format(_LEADS_ELSEWHERE), remedy)
    return None


def _mp4(file: Mp4File) -> Cause:
    if file.has(b"moov"):
        damaged = Cause("is an MP4 file whose index (moov) is damaged", _CUT)
        return ENCRYPTED if file.encrypted else damaged
    if file.starts(b"moof"):
        return Cause(
            "is a fragment of an MP4 stream without its initialization segment",
            "Put the initialization segment in front of it, or give the whole stream's file",
        )
    if file.starts(b"mdat") or file.starts(b"moov"):
        return Cause("was cut off before its index (the moov box of MP4)", _CUT)
    return Cause("is an MP4 file without an index (moov)", _CUT)
