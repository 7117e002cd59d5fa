"""The interface of sampling strategies, and what those that read a pass of the file share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction

    from vtloc_runtime.video.demuxing.demux import DemuxPass
    from vtloc_runtime.video.demuxing.timestamps import DisplayClock
    from vtloc_runtime.video.frame import Frame
    from vtloc_runtime.video.options import VideoOptions


class Sampler(Protocol):
    """A sampling strategy."""

    @property
    def duration(self) -> float:
        """When the last picture leaves the screen, seconds on the shown clock."""
        ...

    @property
    def end(self) -> int | None:
        """The same as a tick."""
        ...

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded."""
        ...

    def frames(self, targets: Iterator[Fraction]) -> Iterator[Frame]:
        """The frame on screen at each of some ascending instants, up to the video's end."""
        ...

    def finish(self) -> None:
        """Read the rest of the file without decoding it."""
        ...

    def close(self) -> None:
        """Stop, and give back what is held."""
        ...


class PassSampler(ABC):
    """A sampling strategy over one pass of the file, which belongs to the caller.

    Args:
        stream_pass: The pass, at its start.
        options: What to sample.
        clock: The video's clock, where it is known before the first picture.
    """

    def __init__(
        self, stream_pass: DemuxPass, options: VideoOptions, clock: DisplayClock | None = None
    ) -> None:
        self._pass = stream_pass
        self._options = options
        self._clock = clock

    @property
    @abstractmethod
    def end(self) -> int | None:
        """The tick at which the last picture leaves the screen."""

    @property
    def duration(self) -> float:
        """When the last picture leaves the screen, seconds on the shown clock."""
        end = self.end
        return 0.0 if self._clock is None or end is None else self._clock.seconds(end)

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded."""
        return self._pass.stats.damaged

    def close(self) -> None:  # noqa: B027 - most strategies hold nothing of their own
        """Give back what the strategy itself holds."""
