"""Options for sampling a video, and limits for reading it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from numbers import Real
from typing import Literal, get_args

from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.errors import UsageError
from vtloc_runtime.system.arguments import check_whole
from vtloc_runtime.system.processors import MOST_WORKERS

DecodeStrategy = Literal["needed", "everything", "keyframes", "outline"]
_REMOTE_PROTOCOLS = ("http", "https")
_LARGEST_SIZE = 4096
_LARGEST_COUNT = 2**60
_LONGEST_DENOMINATOR = 1_000_000
_DECODER = re.compile(r"(cpu|nvdec(:\d{1,3})?)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits that protect against files larger than any real video.

    A file that passes one is refused with a `VideoError`, as early as its timestamps show it.

    Attributes:
        pixels: Most pixels of one decoded picture; 8K by default.
        frames: Most frames sampled from one video.
        seconds: Longest video, in seconds of its own clock; a day by default.
        decoding_seconds: Longest time that one pass may spend inside the decoder, in seconds of
            real time; unlimited by default.
        wall_seconds: Longest time that reading the video may take, in seconds of real time, with
            what the caller does between its frames; unlimited by default.

    Raises:
        UsageError: A bound is not a number above zero.
    """

    pixels: int = 36_000_000
    frames: int = 500_000
    seconds: float = 24 * 3600.0
    decoding_seconds: float = math.inf
    wall_seconds: float = math.inf

    def __post_init__(self) -> None:
        for name in ("pixels", "frames"):
            check_whole(getattr(self, name), name, least=1, most=_LARGEST_COUNT)
        for name in ("seconds", "decoding_seconds", "wall_seconds"):
            # Infinity is no limit.
            value = _number(getattr(self, name), name)
            if not value > 0:
                raise UsageError(f"must be above zero, not {value}", where=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoOptions:
    """How a video is sampled.

    Attributes:
        frames_per_second: Samples a second of the video; frame k is asked at k / rate.
        instants: Ask for these seconds instead, ascending; the rate is then unused.
        preprocessing: How a picture becomes a frame.
        stream: Which video stream, counted from 0 among the file's video streams; None takes
            the one that a player would.
        workers: Threads that decode ahead of the caller; 0 decodes in the caller's thread.
        decoder: ``cpu``, or ``nvdec`` or ``nvdec:N`` for an NVIDIA GPU, which gives the same frames
            or refuses the video.
        strategy: ``needed`` decodes what the samples need, ``everything`` all of it. Both give
            the same frames. ``keyframes`` gives for each instant the last keyframe before it,
            each one once: far less work, and not the frame on screen. ``outline`` gives no frame:
            the reader then knows ``keyframes`` and ``duration``. The last two need a file with an
            index of keyframes, and give nothing for others.
        protocols: URL schemes that may be opened, ``http`` and ``https``; none by default.
        timeout: Seconds without an answer after which a remote read fails.
        limits: Bounds against hostile and damaged files.

    Raises:
        UsageError: A value is of the wrong type, or outside what is allowed.
    """

    frames_per_second: float | Fraction = 1.0
    instants: tuple[float | Fraction, ...] | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
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
        if not 0 < _number(self.timeout, "timeout") < math.inf:
            raise UsageError(f"must be above zero, not {self.timeout}", where="timeout")
        check_whole(self.workers, "workers", least=0, most=MOST_WORKERS)
        if self.stream is not None:
            check_whole(self.stream, "stream", least=0, most=_LARGEST_COUNT)
        if not _is_text(self.decoder) or not _DECODER.match(self.decoder):
            raise UsageError(
                f"is unknown: {self.decoder!r}",
                where="decoder",
                remedy="Choose cpu, nvdec or nvdec:N",
            )
        if not _is_text(self.strategy) or self.strategy not in get_args(DecodeStrategy):
            raise UsageError(
                f"is unknown: {self.strategy!r}",
                where="strategy",
                remedy="Choose needed, everything, keyframes or outline",
            )
        if not isinstance(self.limits, Limits):
            raise UsageError("must be Limits", where="limits")
        self._check_preprocessing()
        self._check_protocols()

    def _check_preprocessing(self) -> None:
        wanted = self.preprocessing
        if not isinstance(wanted, Preprocessing):
            raise UsageError("must be a Preprocessing", where="preprocessing")
        check_whole(wanted.size, "preprocessing.size", least=1, most=_LARGEST_SIZE)
        for name, known in (
            ("resize", ("shorter-side", "squash")),
            ("interpolation", ("bicubic", "bilinear")),
        ):
            if getattr(wanted, name) not in known:
                raise UsageError(
                    f"is unknown: {getattr(wanted, name)!r}",
                    where=f"preprocessing.{name}",
                    remedy=f"Choose {' or '.join(known)}",
                )

    def _check_protocols(self) -> None:
        if not isinstance(self.protocols, tuple | list | set | frozenset):
            raise UsageError(
                f"must be a tuple of schemes, not {self.protocols!r}", where="protocols"
            )
        unknown = [name for name in self.protocols if name not in _REMOTE_PROTOCOLS]
        if unknown:
            raise UsageError(
                f"cannot be allowed: {', '.join(sorted(map(str, unknown)))}",
                where="protocols",
                remedy=f"Choose from {', '.join(sorted(_REMOTE_PROTOCOLS))}",
            )

    def _check_rate(self) -> None:
        rate = _number(self.frames_per_second, "frames_per_second")
        if not 0 < rate < math.inf or self.rate <= 0:
            raise UsageError(f"must be above zero, not {rate}", where="frames_per_second")

    def _check_instants(self) -> None:
        if self.instants is None:
            return
        if not isinstance(self.instants, tuple | list):
            raise UsageError(f"must be a tuple of seconds, not {self.instants!r}", where="instants")
        if not self.instants:
            raise UsageError("must name at least one second", where="instants")
        if not all(0 <= _number(instant, "instants") < math.inf for instant in self.instants):
            raise UsageError("must be seconds, zero or more", where="instants")
        if any(a > b for a, b in zip(self.instants, self.instants[1:], strict=False)):
            raise UsageError("must be in ascending order", where="instants")

    @property
    def rate(self) -> Fraction:
        """Samples a second as the exact ratio that was meant (0.1 is a tenth)."""
        return _ratio(self.frames_per_second)

    def targets(self) -> Iterator[Fraction]:
        """The instants asked for, seconds from the video's start, ascending; may be endless."""
        if self.instants is not None:
            return (_ratio(instant) for instant in self.instants)
        rate = self.rate
        return (index / rate for index in count())


def _ratio(value: float | Fraction) -> Fraction:
    exact = value if isinstance(value, Fraction) else Fraction(float(value))
    return exact.limit_denominator(_LONGEST_DENOMINATOR)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _number(value: object, name: str) -> float:
    """A real number that is one, as a float."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UsageError(f"must be a number, not {value!r}", where=name)
    try:
        number = float(value)
    except (OverflowError, ValueError):
        number = math.inf
    if math.isnan(number):
        raise UsageError("must be a number, not NaN", where=name)
    return number
