"""Progress of a run in seconds of video: how much, how fast, and how long it will still take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Self

from vtloc_runtime.report.page import format_clock
from vtloc_runtime.system.text import plain

if TYPE_CHECKING:
    from rich.progress import Progress

    from vtloc_runtime.video.isolation.limits import DecoderLimits

_SOON = 1.0


@dataclass
class VideoProgress:
    """How far a run has come, in seconds of video.

    Videos whose length is not known yet count as long as the others on average.

    Attributes:
        videos: Number of videos.
        clock: The time now, seconds.
    """

    videos: int
    clock: Callable[[], float] = time.monotonic
    _lengths: dict[str, float] = field(default_factory=dict)
    _reached: dict[str, float] = field(default_factory=dict)
    _done: dict[str, float] = field(default_factory=dict)
    _begun: float = 0.0

    def __post_init__(self) -> None:
        self._begun = self.clock()

    def set_length(self, video: str, seconds: float) -> None:
        """Note what a video's header says of its length; 0 says nothing."""
        if seconds > 0:
            self._lengths[video] = seconds

    def reach(self, video: str, seconds: float) -> None:
        """Note how far a video has been read."""
        self._reached[video] = seconds

    def finish(self, video: str) -> None:
        """Note that a video is done."""
        reached = self._reached.pop(video, 0.0)
        self._done[video] = max(reached, self._lengths.get(video, 0.0))

    @property
    def finished(self) -> int:
        """Number of videos that are done."""
        return len(self._done)

    @property
    def position(self) -> float:
        """Seconds of video that are done."""
        return sum(self._done.values()) + sum(self._reached.values())

    @property
    def total(self) -> float | None:
        """Seconds of video of the whole run; None as long as no length is known."""
        known = {**self._lengths, **self._done}
        for video, reached in self._reached.items():
            if video in known:
                known[video] = max(known[video], reached)
        if not known:
            return None
        return sum(known.values()) / len(known) * max(self.videos, len(known))

    @property
    def speed(self) -> float | None:
        """Seconds of video done in a second; None at the very beginning."""
        elapsed = self.clock() - self._begun
        if elapsed < _SOON or self.position < _SOON:
            return None
        return self.position / elapsed

    @property
    def remaining(self) -> float | None:
        """Seconds that the rest will take; None while that is unknown."""
        total, speed = self.total, self.speed
        return None if total is None or speed is None else max(0.0, total - self.position) / speed

    def __str__(self) -> str:
        """Position, total, speed and remaining time: ``3:10 of 12:00  45x  0:12 left``."""
        total, speed, remaining = self.total, self.speed, self.remaining
        parts = [_short(self.position) + ("" if total is None else f" of {_short(total)}")]
        parts += [] if speed is None else [f"{speed:.3g}x"]
        parts += [] if remaining is None else [f"{_short(remaining)} left"]
        return "  ".join(parts)


class RunProgress:
    """A progress bar over the videos of a run, on standard error.

    Args:
        videos: The videos.
        shown: Whether to draw the bar.
        limits: Limits of the decoder process that reads the videos' lengths ahead.
    """

    def __init__(
        self, videos: Sequence[str], *, shown: bool, limits: DecoderLimits | None = None
    ) -> None:
        self._bar: Progress | None = None
        self._ahead: _LengthReader | None = None
        if not shown:
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._videos = videos
        self._limits = limits
        self._state = VideoProgress(len(videos))
        # Workers report from their own threads.
        self._lock = threading.Lock()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[state]}", markup=False),
            console=Console(stderr=True),
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task("starting", total=None, state="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._draw(None)
        return self

    def __exit__(self, *_: object) -> None:
        if self._ahead is not None:
            self._ahead.close()
        if self._bar is not None:
            self._bar.stop()

    def reached(self, video: str, seconds: float) -> None:
        """Show how far a video has been read."""
        if self._bar is not None:
            with self._lock:
                self._state.reach(video, seconds)
                if self._ahead is None:
                    # Not before: a run whose videos are all cached starts no decoder.
                    self._ahead = _LengthReader(self._videos, self._note_length, self._limits)
            self._draw(f"{plain(PurePath(video).name)} {format_clock(seconds)}")

    def advance(self, video: str, seconds: float | None = None) -> None:
        """Count a video as done.

        Args:
            video: The video.
            seconds: Its length, where that is known by now.
        """
        if self._bar is not None:
            with self._lock:
                self._state.set_length(video, seconds or 0.0)
                self._state.finish(video)
            self._draw(plain(PurePath(video).name))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hide the bar while something else is printed."""
        if self._bar is not None:
            self._bar.stop()
        yield
        if self._bar is not None:
            self._bar.start()

    def _note_length(self, video: str, seconds: float) -> None:
        with self._lock:
            self._state.set_length(video, seconds)
        self._draw(None)

    def _draw(self, description: str | None) -> None:
        if self._bar is None:
            return
        if description is not None:
            self._bar.update(self._task, description=description)
        with self._lock:
            state = self._state
            count = f"  {state.finished}/{state.videos} videos" if state.videos > 1 else ""
            self._bar.update(
                self._task,
                completed=state.position,
                total=state.total,
                state=f"{state}{count}",
            )


class _LengthReader:
    """Reads the lengths of videos ahead, in a sandboxed process and a thread of its own."""

    def __init__(
        self,
        videos: Sequence[str],
        note: Callable[[str, float], None],
        limits: DecoderLimits | None,
    ) -> None:
        from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

        self._videos = list(videos)
        self._note = note
        self._decoder = DecoderProcess(limits)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="length reader", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for video in self._videos:
            if self._closed.is_set():
                return
            # The run reads the video later, and says what is wrong with it.
            with suppress(Exception):
                self._note(video, self._decoder.describe(video).duration)

    def close(self) -> None:
        """Stop reading."""
        self._closed.set()
        self._decoder.close()
        self._thread.join(timeout=5)


def _short(seconds: float) -> str:
    """A length without tenths: ``1:02:03``."""
    return format_clock(round(seconds)).removesuffix(".0")
