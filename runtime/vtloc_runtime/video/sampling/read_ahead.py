"""Decode in a background thread, a few frames ahead of the caller."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from vtloc_runtime.video.sampling.channel import Channel, PartEnd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction

    import numpy as np
    from numpy.typing import NDArray

    from vtloc_runtime.video.frame import Frame
    from vtloc_runtime.video.sampling.sampler import Sampler

_AHEAD_FRAMES = 16


class ReadAheadSampler:
    """Runs another sampler in a background thread, a few frames ahead.

    Args:
        sampler: What to run; nothing else may touch it meanwhile.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._channel = Channel(_AHEAD_FRAMES)
        self._thread: threading.Thread | None = None

    @property
    def duration(self) -> float:
        """When the last picture leaves the screen, seconds on the shown clock."""
        return self._sampler.duration

    @property
    def end(self) -> int | None:
        """The same as a tick."""
        return self._sampler.end

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded."""
        return self._sampler.damaged

    @property
    def keyframes(self) -> NDArray[np.float64]:
        """The keyframes of the file's index, seconds; empty where instants were asked for."""
        return self._sampler.keyframes

    def frames(self, targets: Iterator[Fraction]) -> Iterator[Frame]:
        """The frame on screen at each of some ascending instants, up to the video's end."""
        self._thread = threading.Thread(target=self._run, args=(targets,), daemon=True)
        self._thread.start()
        while not isinstance(item := self._channel.take(), PartEnd):
            yield item

    def finish(self) -> None:
        """Nothing is left to do: the thread reads to the end."""

    def close(self) -> None:
        """Stop the thread."""
        self._channel.close()
        if self._thread is not None:
            self._thread.join()

    def _run(self, targets: Iterator[Fraction]) -> None:
        try:
            for frame in self._sampler.frames(targets):
                if not self._channel.put(frame):
                    return
            self._sampler.finish()
            self._channel.put(PartEnd(ended=True, lost=False))
        except BaseException as error:  # noqa: BLE001 - it is raised again in the taker's thread
            self._channel.put(error)
