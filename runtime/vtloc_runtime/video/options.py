"""What a reader is asked for, and how far it goes for a file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from fractions import Fraction
from itertools import count
from typing import Literal

from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.errors import UsageError

DecodeStrategy = Literal["needed", "everything"]
_REMOTE_PROTOCOLS = {"http", "https"}
_LONGEST_DENOMINATOR = 1_000_000
_DECODER = re.compile(r"(cpu|nvdec(:\d+)?)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds against files that ask for more than any real video does.

    Attributes:
        pixels: Most pixels of one decoded picture; 8K with a margin by default.
        smallest_side: Fewest pixels a picture's width and height may have.
        frames: Most frames sampled from one video.
        seconds: Longest video, on its own clock; a day by default.
        decoding_seconds: Longest time that one pass may spend inside the decoder, by the wall's
            clock; endless by default.
        wall_seconds: Longest time that reading the video may take, by the wall's clock, with
            whatever is done between its frames; endless by default.
        expansion: Most pixels decoded for each byte of the file, beyond some seconds of 4K:
            a video that shows next to nothing at enormous size is no video.
        spool_bytes: Most bytes copied to disk from a stream that cannot seek.
    """

    pixels: int = 36_000_000
    smallest_side: int = 8
    frames: int = 500_000
    seconds: float = 24 * 3600.0
    decoding_seconds: float = math.inf
    wall_seconds: float = math.inf
    expansion: float = 32_000.0
    spool_bytes: int = 16 * 2**30

    def __post_init__(self) -> None:
        for field_ in fields(self):
            value = getattr(self, field_.name)
            if not value > 0:
                raise UsageError(f"must be above zero, not {value}", where=field_.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoOptions:
    """How a video is sampled.

    Attributes:
        frames_per_second: Samples a second of the shown clock; frame k is asked at k / rate.
        instants: Ask for these seconds instead, ascending; the rate is then unused.
        preprocessing: How a picture becomes a frame.
        tolerance: A frame may lie this many seconds from its instant if that saves decoding;
            0 gives exactly the frame on screen.
        stream: Which video stream, counted from 0 among the file's video streams; None takes
            the one that a player would.
        workers: Threads that decode ahead of the caller; 0 decodes in the caller's thread.
        decoder: ``cpu``, or ``nvdec`` or ``nvdec:N`` for an NVIDIA GPU, which gives the same frames
            or refuses the video.
        strategy: ``needed`` decodes what the samples need, ``everything`` all of it. Both give
            the same frames.
        protocols: URL schemes that may be opened; none by default.
        timeout: Seconds without any answer after which a remote read is given up.
        limits: Bounds against decompression bombs.
    """

    frames_per_second: float | Fraction = 1.0
    instants: tuple[float, ...] | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    tolerance: float = 0.0
    stream: int | None = None
    workers: int = 0
    decoder: str = "cpu"
    strategy: DecodeStrategy = "needed"
    protocols: tuple[str, ...] = ()
    timeout: float = 30.0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self._check_rate()
        self._check_instants()
        if not 0 <= self.tolerance < math.inf:
            raise UsageError(f"must be zero or more, not {self.tolerance}", where="tolerance")
        if not 0 < self.timeout < math.inf:
            raise UsageError(f"must be above zero, not {self.timeout}", where="timeout")
        if self.stream is not None and self.stream < 0:
            raise UsageError(f"must be zero or more, not {self.stream}", where="stream")
        if self.workers < 0:
            raise UsageError(f"must be zero or more, not {self.workers}", where="workers")
        if not _DECODER.match(self.decoder):
            raise UsageError(
                f"is unknown: {self.decoder!r}",
                where="decoder",
                remedy="Choose cpu, nvdec or nvdec:N",
            )
        if self.strategy not in ("needed", "everything"):
            raise UsageError(f"is unknown: {self.strategy!r}", where="strategy")
        if self.preprocessing.size < 1:
            raise UsageError(f"must be above zero, not {self.preprocessing.size}", where="size")
        if strangers := set(self.protocols) - _REMOTE_PROTOCOLS:
            raise UsageError(
                f"cannot be allowed: {', '.join(sorted(strangers))}",
                where="protocols",
                remedy=f"Choose from {', '.join(sorted(_REMOTE_PROTOCOLS))}",
            )

    def _check_rate(self) -> None:
        rate = self.frames_per_second
        if not 0 < rate < math.inf or self.rate <= 0:
            raise UsageError(f"must be above zero, not {rate}", where="frames_per_second")

    def _check_instants(self) -> None:
        if self.instants is None:
            return
        if not self.instants:
            raise UsageError("names no instant", where="instants")
        if not all(0 <= instant < math.inf for instant in self.instants):
            raise UsageError("must be seconds from zero on", where="instants")
        if any(a > b for a, b in zip(self.instants, self.instants[1:], strict=False)):
            raise UsageError("must be in ascending order", where="instants")

    @property
    def rate(self) -> Fraction:
        """Samples a second as the exact ratio that was meant (0.1 is a tenth)."""
        return Fraction(self.frames_per_second).limit_denominator(_LONGEST_DENOMINATOR)

    def targets(self) -> Iterator[Fraction]:
        """The instants asked for, seconds from the video's start, ascending; may be endless."""
        if self.instants is not None:
            return (
                Fraction(instant).limit_denominator(_LONGEST_DENOMINATOR)
                for instant in self.instants
            )
        rate = self.rate
        return (index / rate for index in count())
