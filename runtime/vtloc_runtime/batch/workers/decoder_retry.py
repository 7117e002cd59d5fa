"""A second try for a video whose decoder was ended by a signal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from vtloc_runtime.batch.workers.worker_pool import StoppedWorkError
from vtloc_runtime.errors import DecoderLostError

_SIGNAL_DELAY = 0.2
"""Seconds after a decoder's end in which a signal to the whole group reaches this process."""

_Result = TypeVar("_Result")


def retry_lost_decoder(read: Callable[[], _Result], stop: Callable[[], bool] | None) -> _Result:
    """Read a video, and once more if a signal ended its decoder.

    Args:
        read: Reads the video.
        stop: Returns whether the run is being stopped.

    Raises:
        DecoderLostError: The second decoder was ended too.
        StoppedWorkError: The decoder was ended while the run is being stopped.
    """
    try:
        return read()
    except DecoderLostError as error:
        _check_not_stopped(stop, error)
    try:
        return read()
    except DecoderLostError as error:
        _check_not_stopped(stop, error)
        raise


def _check_not_stopped(stop: Callable[[], bool] | None, error: DecoderLostError) -> None:
    # A signal to the whole group ends decoders before this process has heard of it.
    time.sleep(_SIGNAL_DELAY)
    if stop is not None and stop():
        raise StoppedWorkError from error
