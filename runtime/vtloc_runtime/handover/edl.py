"""Moments as an edit decision list (CMX 3600).

Written here, because OpenTimelineIO's adapter writes drop-frame timecode at 29.97 and 59.94
whatever the films have.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from vtloc_runtime.errors import UsageError
from vtloc_runtime.handover.cuts import TITLE, timecodes

if TYPE_CHECKING:
    from vtloc_runtime.handover.cuts import Cut
    from vtloc_runtime.handover.timecode import FrameRate

_REEL = 8
_MOST = 9999


def write_edl(cuts: Sequence[Cut], rate: FrameRate) -> bytes:
    """An edit decision list; its timecode is drop-frame if that of the films is.

    Raises:
        UsageError: There is no timecode at that rate, some films have drop-frame timecode and
            others do not, or there are too many moments.
    """
    if not rate.has_timecode:
        raise UsageError(
            f"an EDL has no timecode for {rate} frames a second",
            remedy="Choose a rate with --rate, such as 25 or 29.97",
        )
    if len(cuts) > _MOST:
        raise UsageError(f"an EDL holds {_MOST} moments, and there are {len(cuts)}")
    found = timecodes(cuts, rate)
    if len(found) > 1:
        raise UsageError(
            "some films have drop-frame timecode and others do not; an EDL has one of them",
            remedy="Write an EDL for each, or choose --format otio or fcpxml",
        )
    (timecode,) = found
    mode = "DROP FRAME" if timecode.drop else "NON-DROP FRAME"
    lines = [f"TITLE: {TITLE}, {rate} {timecode}", f"FCM: {mode}"]
    reels = _reels(cuts)
    offset = 0
    for number, cut in enumerate(cuts, start=1):
        zero = cut.first_frame(rate)
        length = cut.end - cut.start
        times = (zero + cut.start, zero + cut.end, offset, offset + length)
        labels = " ".join(map(timecode.label, times))
        lines += [
            "",
            f"{number:03d}  {reels[cut.path]:{_REEL}} V     C        {labels}",
            f"* FROM CLIP NAME:  {cut.name}",
            f"* FROM CLIP: {cut.address}",
            f"* COMMENT: {cut.text}",
        ]
        offset += length
    return "\n".join([*lines, ""]).encode("ascii", "replace")


def is_edl(beginning: bytes) -> bool:
    """Whether a file that begins so was written by ``write_edl``."""
    return beginning.startswith(f"TITLE: {TITLE}".encode())


def _reels(cuts: Sequence[Cut]) -> dict[str, str]:
    """The reel of each film: the first letters and digits of its name, numbered where alike."""
    reels: dict[str, str] = {}
    for cut in cuts:
        if cut.path in reels:
            continue
        letters = (one for one in PurePath(cut.name).stem if one.isascii() and one.isalnum())
        reel = name = "".join(letters)[:_REEL] or "AX"
        number = 1
        while reel in reels.values():
            number += 1
            reel = f"{name[: _REEL - len(str(number))]}{number}"
        reels[cut.path] = reel
    return reels
