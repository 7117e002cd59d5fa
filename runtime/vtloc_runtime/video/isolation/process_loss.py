"""Why a decoder process was lost: an error from its exit code and last words."""

from __future__ import annotations

import signal

from vtloc_runtime.errors import (
    BackendError,
    DecoderLostError,
    DeviceLostError,
    VideoError,
    VtlocError,
)
from vtloc_runtime.video.decoders.nvdec.api import refusal

_LONGEST_WORDS = 300
_FROM_OUTSIDE = {signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGINT}


def lost_with_video(code: int | None, words: str, name: str) -> VideoError:
    """The error of the video that was being read.

    Args:
        code: The process's exit code; None where it closed its connection and lived on.
        words: What it wrote last.
        name: The video.
    """
    if code is None:
        return VideoError(
            "the decoder closed its connection and was stopped",
            where=name,
            remedy="The file is damaged or hostile; do not trust it",
        )
    if code == DeviceLostError.exit_code:
        return refusal(f"decoding it failed: {_plain(words)}", name)
    if -code in _FROM_OUTSIDE:
        return _ended_from_outside(code, name)
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    if said := _plain(words):
        how += f": {said}"
    return VideoError(
        f"decoding it crashed the decoder (ended {how})",
        where=name,
        remedy="The file is damaged or hostile; repair it, or raise --decoder-memory",
    )


def lost_at_start(code: int, words: str) -> VtlocError:
    """The error of a process that ended before its first video.

    Args:
        code: Its exit code.
        words: What it wrote last.
    """
    if -code in _FROM_OUTSIDE:
        return _ended_from_outside(code, None)
    said = _plain(words) or f"it ended with exit code {code}"
    return BackendError(
        f"the decoder process does not start: {said}",
        remedy="See what vtloc-run doctor says about video decoding, or raise --decoder-memory",
    )


def _ended_from_outside(code: int, name: str | None) -> DecoderLostError:
    return DecoderLostError(
        f"the decoder process was ended from outside (by {signal.Signals(-code).name})",
        where=name,
        remedy="Try it again; where memory is short, lower --decoder-memory or --workers",
    )


def _plain(text: str) -> str:
    return "".join(one for one in text if one.isprintable())[:_LONGEST_WORDS]
