"""Limits of decoder processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vtloc_runtime.system.arguments import check_flags, check_real, check_whole

if TYPE_CHECKING:
    from vtloc_runtime.video import VideoOptions

_MOST_MEMORY = 2**60
_SHORTEST = 0.001
LONGEST = 1e9
"""Seconds of a limit at most."""


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

    Raises:
        UsageError: A value is of another type, or out of range; the message names it.
    """

    memory: int = 4 * 2**30
    timeout: float = 120.0
    video_timeout: float | None = None
    max_duration: float | None = None
    require_sandbox: bool = False

    def __post_init__(self) -> None:
        check_whole(self.memory, "memory", least=0, most=_MOST_MEMORY)
        check_real(self.timeout, "timeout", least=_SHORTEST, most=LONGEST)
        for name in ("video_timeout", "max_duration"):
            if (value := getattr(self, name)) is not None:
                check_real(value, name, least=_SHORTEST, most=LONGEST)
        check_flags(require_sandbox=self.require_sandbox)

    def narrow(self, options: VideoOptions) -> VideoOptions:
        """Apply these limits to a video's options."""
        limits = options.limits
        if self.video_timeout is not None:
            wall = min(limits.wall_seconds, self.video_timeout)
            limits = replace(limits, wall_seconds=wall)
        if self.max_duration is not None:
            limits = replace(limits, seconds=self.max_duration)
        return options if limits is options.limits else replace(options, limits=limits)
