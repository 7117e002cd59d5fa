"""A video of which only some frames were looked at; the others take the features of near ones."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Self

import numpy as np

from vtloc_runtime.localize.encoding.encoded_video import (
    EncodedVideo,
    EvenSampling,
    FrameFeatures,
    SeenFrames,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from vtloc_runtime.video.isolation.chunks import ReadingEnd

FULL_GROUP = 0.98
"""A group of pictures shorter than this share of the longest ends because the scene changes."""

REGULAR = 3
"""As many groups of full length come from an encoder that counts pictures; fewer, of scenes that
happen to last equally long."""

APART = 4.0
"""Seconds that keyframes lie apart where no scene begins: of more, some are passed over."""


class Sketch:
    """What has been seen of a video so far.

    Args:
        rows: ``[K, Dv]`` float32, the features of keyframes.
        times: ``[K]`` float64, when each came on screen, seconds, rising.
        cuts: ``[K]`` bool, which of them begin another scene.
        duration: When the last frame leaves the screen, seconds.
        rate: Frames a second of the whole video.
        sampling: How the whole video is sampled.
        encoder: Hash of the visual network.
        warnings: What the reader had to say.
    """

    def __init__(
        self,
        rows: NDArray[np.float32],
        times: NDArray[np.float64],
        cuts: NDArray[np.bool_],
        *,
        duration: float,
        rate: Fraction,
        sampling: EvenSampling | None = None,
        encoder: str = "",
        warnings: Sequence[str] = (),
    ) -> None:
        self._rows = [rows]
        self._count = len(rows)
        self._keyframes, self._cuts = times, cuts
        self._duration = duration
        self._rate = rate
        self._sampling = sampling
        self._encoder = encoder
        self._warnings = tuple(warnings)
        self._asked = frame_instants(duration, rate)
        self._times = self._asked.copy()
        self._row_of = np.full(len(self._asked), -1, dtype=np.int64)
        # A keyframe that comes on screen at the very instant of a frame is that frame.
        near = np.minimum(np.searchsorted(times, self._asked), len(times) - 1)
        same = times[near] == self._asked
        self._row_of[same] = near[same]

    @classmethod
    def from_video(cls, video: EncodedVideo, rate: Fraction) -> Self | None:
        """What a quick search has left; None where the video was not searched quickly."""
        seen = video.seen
        if seen is None or video.index is None:
            return None
        sketch = cls(
            np.asarray(video.rows[: len(seen.keyframes)], dtype=np.float32),
            seen.keyframes,
            seen.cuts,
            duration=video.duration,
            rate=rate,
            sampling=video.sampling,
            encoder=video.encoder,
            warnings=video.warnings,
        )
        if len(sketch) != len(video):
            return None
        frames = np.flatnonzero(seen.frames)
        rows = np.asarray(video.rows[video.index[frames]], dtype=np.float32)
        sketch.add(frames, rows, video.times[frames])
        return sketch

    def __len__(self) -> int:
        return len(self._asked)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """``[T]``, which frames were looked at."""
        return self._row_of >= 0

    def group(self, frame: int) -> range:
        """The frames around one, as far as the keyframes that were looked at before and after."""
        place = int(np.searchsorted(self._keyframes, self._asked[frame], side="right"))
        first, stop = 0, len(self)
        if place:
            first = int(np.searchsorted(self._asked, self._keyframes[place - 1]))
        if place < len(self._keyframes):
            stop = int(np.searchsorted(self._asked, self._keyframes[place]))
        return range(min(first, frame), max(stop, frame + 1))

    def after(self, seconds: NDArray[np.float64]) -> NDArray[np.intp]:
        """The frames that are sampled next after some seconds, ascending, without those seen."""
        places = np.minimum(np.searchsorted(self._asked, seconds), len(self) - 1)
        return np.unique(places[~self.seen[places]])

    def parts(self, frames: NDArray[np.intp], least: int) -> list[tuple[Fraction, ...]]:
        """When some frames are sampled, seconds, in parts that begin with a group.

        Args:
            frames: ``[N]``, which ones, ascending.
            least: Frames of a part, at least.
        """
        group = np.searchsorted(self._keyframes, self._asked[frames], side="right")
        parts: list[list[Fraction]] = [[]]
        for place, frame in enumerate(frames):
            if len(parts[-1]) >= least and group[place] != group[place - 1]:
                parts.append([])
            parts[-1].append(int(frame) / self._rate)
        return [tuple(part) for part in parts]

    def add(
        self,
        frames: NDArray[np.intp],
        rows: NDArray[np.float32],
        times: NDArray[np.float64],
    ) -> None:
        """Add frames that were looked at.

        Args:
            frames: ``[N]``, which ones, ascending.
            rows: ``[N, Dv]`` float32.
            times: ``[N]``, when each came on screen, seconds.
        """
        self._row_of[frames] = self._count + np.arange(len(frames))
        self._times[frames] = times
        self._rows.append(rows)
        self._count += len(frames)

    def encoded(self) -> EncodedVideo:
        """The video as far as it was seen; the whole video once every frame was.

        A frame that was not looked at takes the features of the nearest picture that was, but
        never across a keyframe that begins another scene.
        """
        table = np.concatenate(self._rows)
        shown = np.minimum.accumulate(self._times[::-1])[::-1]
        duration = max(self._duration, float(shown[-1]))
        if self.seen.all():
            return EncodedVideo(
                table[self._row_of],
                shown,
                duration,
                self._encoder,
                self._warnings,
                sampling=self._sampling,
            )
        return EncodedVideo(
            table,
            shown,
            duration,
            self._encoder,
            self._warnings,
            index=np.where(self.seen, self._row_of, self._nearest()),
            seen=SeenFrames(self.seen, self._keyframes, self._cuts),
            sampling=self._sampling,
        )

    def _nearest(self) -> NDArray[np.int64]:
        """``[T]``, the row of the picture near each frame that stands for it."""
        frames = np.flatnonzero(self.seen)
        known = len(self._keyframes)
        times = np.concatenate([self._keyframes, self._asked[frames]])
        rows = np.concatenate([np.arange(known), self._row_of[frames]])
        order = np.argsort(times, kind="stable")
        times, rows = times[order], rows[order]
        place = np.searchsorted(times, self._asked, side="right")
        before, after = np.maximum(place - 1, 0), np.minimum(place, len(times) - 1)
        # The next keyframe, and whether it begins another scene.
        following = np.searchsorted(self._keyframes, self._asked, side="right")
        last = np.minimum(following, known - 1)
        another = (following < known) & self._cuts[last] & (times[after] >= self._keyframes[last])
        nearer = times[after] - self._asked < self._asked - times[before]
        return np.asarray(rows[np.where(nearer & ~another, after, before)], dtype=np.int64)


def frame_instants(duration: float, rate: Fraction) -> NDArray[np.float64]:
    """``[T]``, when the frames of a whole video are sampled, seconds.

    Args:
        duration: When the last frame leaves the screen, seconds.
        rate: Frames a second.
    """
    end = Fraction(duration)
    count = max(1, -int(-end * rate // 1))
    return np.array([number / float(rate) for number in range(count)])


def begin_scenes(keyframes: NDArray[np.float64], duration: float) -> NDArray[np.bool_]:
    """``[K]``, which keyframes are taken to begin another scene.

    Those that come early do, and all of a video in which no length comes again and again.

    Args:
        keyframes: ``[K]``, seconds, rising.
        duration: When the last frame leaves the screen, seconds.
    """
    gaps = np.diff(keyframes, append=duration)
    # The last keyframe is followed by the video's end.
    groups = gaps[:-1]
    full = groups >= FULL_GROUP * gaps.max(initial=0.0)
    early = ~full | (full.sum() < REGULAR)
    return np.append(False, early)[: len(keyframes)]


def even_sampling(rate: Fraction, outline: ReadingEnd) -> EvenSampling:
    """How a video is sampled at a rate.

    Args:
        rate: Frames a second.
        outline: What its reader knew at the end.
    """
    keyframes = outline.keyframes
    scenes = keyframes[begin_scenes(keyframes, outline.duration)]
    return EvenSampling(float(1 / rate), outline.period, scenes)


def chosen_keyframes(
    keyframes: NDArray[np.float64], duration: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The keyframes to look at first, and which of them are taken to begin another scene.

    Encoders begin a group of pictures early where the scene changes. Those keyframes are all
    looked at, of the others as many as lie some seconds apart.

    Args:
        keyframes: ``[K]``, seconds, rising.
        duration: When the last frame leaves the screen, seconds.
    """
    cuts = begin_scenes(keyframes, duration)
    chosen: list[int] = []
    for place, (second, cut) in enumerate(zip(keyframes, cuts, strict=True)):
        if cut or not chosen or second - keyframes[chosen[-1]] >= APART:
            chosen.append(place)
    return keyframes[chosen], cuts[chosen]


def sum_over_neighbours(video: EncodedVideo, measure: Callable[[FrameFeatures], float]) -> float:
    """How much a video changes in all, of which only some frames may have been seen.

    Frames that took another's features seem to show no change. They are counted as changing as
    much as neighbours that were seen within one group of pictures do. Without that, a video that
    was searched quickly would seem shorter and quieter than it is: sentences would be found
    present in it too easily, and it would be cut into too many pieces.

    Args:
        video: The video.
        measure: The sum of what neighbours differ by, over frames in the order of the video.
    """
    seen, index = video.seen, video.index
    total = measure(video.table)
    if seen is None or index is None:
        return total
    both = seen.frames[1:] & seen.frames[:-1]
    group = np.searchsorted(seen.keyframes, video.times, side="right")
    together = both & (group[1:] == group[:-1])
    changes = pairs = 0.0
    edges = np.flatnonzero(np.diff(together.astype(np.int8), prepend=0, append=0))
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        changes += measure(FrameFeatures(video.rows[index[first : stop + 1]]))
        pairs += stop - first
    still = float((~both & (index[1:] == index[:-1])).sum())
    return total + (still * changes / pairs if pairs else 0.0)
