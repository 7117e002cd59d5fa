"""Decoder processes that crash or hang on one video, as a fault in a codec would have them do."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtloc_runtime.video.isolation import launch

_MAIN = "from vtloc_runtime.video.isolation.decoder_child import main\n"


def crash_on(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every decoder that is started from here on read address zero at a video's first frame.

    Args:
        video: The video, known by its size.
        monkeypatch: Takes it back.
    """
    _fault_on(video, "ctypes.string_at(0)", monkeypatch)


def hang_on(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every decoder that is started from here on wait for ever at a video's first frame.

    Args:
        video: The video, known by its size.
        monkeypatch: Takes it back.
    """
    _fault_on(video, "threading.Event().wait()", monkeypatch)


def _fault_on(video: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty = f"""
import ctypes, threading
import vtloc_runtime.video.isolation.decoder_child as child
read = child._read
def meet(outbox, source, options):
    if getattr(source, "_size", 0) == {video.stat().st_size}:
        {fault}
    return read(outbox, source, options)
child._read = meet
"""
    monkeypatch.setattr(launch, "_BOOT", launch._BOOT.replace(_MAIN, faulty + _MAIN))
