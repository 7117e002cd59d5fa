"""A video as the localizer sees it: the features of its frames, and when each was on screen."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.errors import FeatureError, NetworkError, UsageError, VideoError
from vtloc_runtime.system.arguments import check_kind, check_text

if TYPE_CHECKING:
    from numpy.typing import NDArray


_SAME = 1e-6
"""Seconds within which two times are one."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameFeatures:
    """The features of frames; frames that share features hold them once.

    Slicing gives the features of those frames as an array; ``len`` counts the frames.

    Attributes:
        rows: ``[M, Dv]``, the features that differ.
        index: ``[T]`` int64, the row of each frame; None: each frame has its own.
    """

    rows: NDArray[np.floating]
    index: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.rows if self.index is None else self.index)

    def __getitem__(self, part: slice) -> NDArray[np.floating]:
        return self.rows[part] if self.index is None else self.rows[self.index[part]]


@dataclass(frozen=True, slots=True, eq=False)
class SeenFrames:
    """What was looked at of a video that was searched quickly.

    Attributes:
        frames: ``[T]`` bool, which frames were looked at.
        keyframes: ``[K]`` float64, when the keyframes that were looked at came on screen, seconds;
            the first K rows of the video are theirs.
        cuts: ``[K]`` bool, which of them are taken to begin another scene.
    """

    frames: NDArray[np.bool_]
    keyframes: NDArray[np.float64]
    cuts: NDArray[np.bool_]

    @property
    def looks(self) -> int:
        """How many pictures were looked at."""
        return int(self.frames.sum()) + len(self.keyframes)

    def stretches(self, times: NDArray[np.float64], duration: float) -> list[tuple[float, float]]:
        """Where every frame was looked at, seconds: from each first frame to the next unseen one.

        Args:
            times: ``[T]``, when each frame came on screen, seconds.
            duration: The video's end, seconds.
        """
        edges = np.flatnonzero(np.diff(self.frames.astype(np.int8), prepend=0, append=0))
        ends = np.append(times, duration)
        pairs = zip(edges[::2], edges[1::2], strict=True)
        return [
            (float(ends[first]), float(ends[stop])) for first, stop in pairs if stop - first > 1
        ]


@dataclass(frozen=True, slots=True, eq=False)
class EvenSampling:
    """How a video was sampled, and what its file tells of the pictures between samples.

    Attributes:
        step: Seconds between samples; frame k was asked at k times as many.
        period: Seconds from one picture to the next; 0: unknown.
        scenes: ``[C]`` float64, when keyframes came on screen that seem to begin a scene, seconds,
            rising.

    Raises:
        FeatureError: A number is not finite or too small, or the scenes do not rise.
    """

    step: float
    period: float
    scenes: NDArray[np.float64]

    def __post_init__(self) -> None:
        scenes = self.scenes
        rising = scenes.ndim == 1 and np.isfinite(scenes).all() and (np.diff(scenes) > 0).all()
        if not (0 < self.step < math.inf and 0 <= self.period < math.inf and rising):
            raise FeatureError("the video's sampling makes no sense")

    def begins(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """``[T]``, when what each frame shows is taken to begin, never after its own time.

        What a frame shows may have begun with any picture since the sample before it. A keyframe
        that begins a scene there is where; otherwise the middle is least wrong. A picture that is
        on screen for several samples began when it came on.

        Args:
            times: ``[T]`` float64, when each frame came on screen, seconds.
        """
        shown = times[1:]
        # The frame before was on screen until then at least.
        before = np.maximum(np.arange(len(times) - 1) * self.step, times[:-1])
        found = np.minimum(shown, (before + self.period + shown) / 2)
        if len(self.scenes):
            place = np.searchsorted(self.scenes, shown + _SAME, side="right") - 1
            scene = np.minimum(self.scenes[np.maximum(place, 0)], shown)
            found = np.where((place >= 0) & (scene > before + _SAME), scene, found)
        still = np.diff(times) == 0
        held = still | np.append(still[1:], False)
        return np.append(times[0], np.where(held, shown, found))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class EncodedVideo:
    """A video as the localizer sees it; encode once, ask as often as you like.

    Attributes:
        rows: ``[M, Dv]`` float32, the features of the frames that were encoded.
        times: ``[T]`` float64, when each frame came on screen, seconds; it never falls.
        duration: The video's end on the same clock, seconds.
        encoder: Hash of the visual network that made the features; empty where unknown.
        warnings: What the reader of the video had to say.
        timings: Seconds spent decoding and encoding.
        index: ``[T]`` int64, the row of each frame; None: each frame has its own.
        seen: What was looked at, where that is not every frame: the others took the features of
            near ones.
        sampling: How the frames were sampled; None: unknown, and each is taken to show what
            begins at its own time.

    Raises:
        UsageError: Something is of another type.
        NetworkError: There are not as many features as times.
        FeatureError: Times fall, a time or the duration is not finite or is negative, or an index
            names a row that is not there.
        VideoError: There is no frame.
    """

    rows: NDArray[np.floating]
    times: NDArray[np.float64]
    duration: float
    encoder: str = ""
    warnings: tuple[str, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)
    index: NDArray[np.int64] | None = None
    seen: SeenFrames | None = None
    sampling: EvenSampling | None = None

    def __post_init__(self) -> None:
        self._check_types()
        if self.rows.ndim != 2 or self.times.shape != (len(self.table),):
            raise NetworkError(
                f"{self.rows.shape} features do not belong to {self.times.shape} times"
            )
        if not len(self.times):
            raise VideoError("the video has no frames")
        if self.index is not None and not (
            self.index.min() >= 0 and self.index.max() < len(self.rows)
        ):
            raise FeatureError(f"a frame's features are not among the {len(self.rows)} rows")
        times = self.times
        if not np.isfinite(times).all() or (np.diff(times) < 0).any() or times[0] < 0:
            raise FeatureError("the frame times must be increasing seconds, 0 or more")
        if not (math.isfinite(self.duration) and self.duration >= times[-1]):
            raise FeatureError(
                f"the duration, {self.duration:g} s, must be a number of seconds not before the "
                f"last frame, at {times[-1]:g} s"
            )

    @property
    def table(self) -> FrameFeatures:
        """The features of all frames, those that frames share held once."""
        return FrameFeatures(self.rows, self.index)

    @property
    def begins(self) -> NDArray[np.float64]:
        """``[T]`` float64, when what each frame shows is taken to begin, seconds."""
        return self.times if self.sampling is None else self.sampling.begins(self.times)

    @property
    def features(self) -> NDArray[np.floating]:
        """``[T, Dv]`` float32, one row a frame; copied where frames share features."""
        return self.table[:]

    def __len__(self) -> int:
        return len(self.times)

    def __repr__(self) -> str:
        return (
            f"EncodedVideo({len(self)} frames, {self.rows.shape[1]} features each, "
            f"{self.duration:.2f} s, encoder={self.encoder[:12]!r})"
        )

    def _check_types(self) -> None:
        # Programs build these by hand, whatever the annotations say.
        rows: object = self.rows
        times: object = self.times
        index: object = self.index
        duration: object = self.duration
        for name, array in (("features", rows), ("times", times)):
            if not (isinstance(array, np.ndarray) and array.dtype.kind == "f"):
                raise UsageError(f"the {name} of a video are a NumPy array of floating numbers")
        if index is not None and not (
            isinstance(index, np.ndarray) and index.dtype.kind in "iu" and index.ndim == 1
        ):
            raise UsageError("the index of a video is a NumPy array of whole numbers, [T]")
        check_text(self.encoder, "encoder")
        for name, kind in (("seen", SeenFrames), ("sampling", EvenSampling)):
            if (given := getattr(self, name)) is not None:
                check_kind(given, kind, name)
        if isinstance(duration, bool) or not isinstance(duration, numbers.Real):
            raise UsageError(f"the duration of a video is seconds, not {duration!r:.60}")
