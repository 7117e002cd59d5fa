"""Limits of decoder processes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vtloc_runtime.errors import UsageError

if TYPE_CHECKING:
    from vtloc_runtime.video import VideoOptions


@dataclass(frozen=True, slots=True)
class DecoderLimits:
    """Limits of a decoder process for one video.

    Attributes:
        memory: Bytes of address space; 0 sets no limit.
        timeout: Seconds without a new frame after which the video is given up.
        video_timeout: Seconds, by the wall's clock, after which the video is given up, whatever
            came of it; None does as the video's own options say, which set no limit by default.
        max_duration: Longest video, seconds; None does as the video's own options say, 24 hours
            by default.
        require_sandbox: Refuse to decode where a layer of the sandbox is missing.
    """

    memory: int = 4 * 2**30
    timeout: float = 120.0
    video_timeout: float | None = None
    max_duration: float | None = None
    require_sandbox: bool = False

    def __post_init__(self) -> None:
        if self.memory < 0:
            raise UsageError(f"must be zero or more, not {self.memory}", where="memory")
        if not 0 < self.timeout < math.inf:
            raise UsageError(f"must be above zero, not {self.timeout}", where="timeout")

    def narrow(self, options: VideoOptions) -> VideoOptions:
        """Apply these limits to a video's options."""
        limits = options.limits
        if self.video_timeout is not None:
            wall = min(limits.wall_seconds, self.video_timeout)
            limits = replace(limits, wall_seconds=wall)
        if self.max_duration is not None:
            limits = replace(limits, seconds=self.max_duration)
        return options if limits is options.limits else replace(options, limits=limits)
