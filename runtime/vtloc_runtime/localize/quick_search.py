"""A first answer from keyframes, and then from true frames around the best candidates.

Features of keyframes stand for the frames around them. The best candidates get their true frames:
as far around their ends as the keyframes next to them, and some inside. With those, other
candidates may be better; so it goes on until nothing new is wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vtloc_runtime.localize.encoding.parted_encoding import FileMark, Instants
from vtloc_runtime.localize.encoding.sketch import Sketch, chosen_keyframes, even_sampling
from vtloc_runtime.localize.spans.score_calibration import log_odds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.encoding.frame_encoder import EncodedFrames
    from vtloc_runtime.localize.encoding.video_encoder import VideoEncoder
    from vtloc_runtime.localize.spans.moments import Localization, Moment
    from vtloc_runtime.video import VideoOptions
    from vtloc_runtime.video.isolation.chunks import Read

Ask: TypeAlias = Callable[["EncodedVideo", int], "Sequence[Localization]"]
"""Finds so many moments of each sentence, whether or not they are taken to be shown."""
Look: TypeAlias = Callable[["NDArray[np.intp]"], bool]
"""Looks at some frames and adds them to the sketch; whether the video shows all of them."""

_CANDIDATES = 5
"""Moments of each sentence that are looked at closely, at most, unless more are wanted."""
_MARGIN = 0.6
"""How much less than the last moment wanted one may score, in log-odds, to be looked at closely."""

_ROUNDS = 6
_NEARLY_ALL = 0.7
_LONGEST_GROUP = 30.0
"""Mean seconds between keyframes beyond which they tell too little of a video."""
_HIDDEN = 0.1
"""Scenes that begin between keyframes, for each keyframe, beyond which these tell too little."""
_SHORT = 60.0
"""Seconds of a video that is looked at whole."""
_WHOLE = 60
"""Frames of a candidate that is looked at whole."""
_INSIDE = 10
"""Frames of a longer one that are looked at from either end; keyframes stand for those between."""
_LATE = 0.2
"""Seconds by which a scene may begin later than the file's index says."""
_PART = 32
"""Frames that one worker looks at together, at least."""


class QuickEncoder:
    """Encodes as much of a video as some sentences need.

    Args:
        encoder: Encodes frames.
        source: A path; what cannot be opened several times is encoded whole.
        options: How to read it.
        read: Where the decoding happens.
    """

    def __init__(
        self, encoder: VideoEncoder, source: Any, options: VideoOptions | None, read: Read
    ) -> None:
        self._encoder = encoder
        self._source = source
        self._options = options
        self._read = read
        self._mark = FileMark.from_source(source)
        self._timings: Counter[str] = Counter()

    def search(self, ask: Ask, *, moments: int, known: EncodedVideo | None) -> EncodedVideo:
        """Look until the answers stand.

        Args:
            ask: Finds candidates.
            moments: Moments that are wanted of each sentence.
            known: What an earlier quick search has seen of the same video.

        Returns:
            The video as far as it was seen; the whole video where it is short, has no index of
            keyframes, or nearly all of it would be needed.

        Raises:
            VideoError: The video cannot be read.
        """
        sketch = None if known is None else Sketch.from_video(known, self._encoder.rate)
        sketch = sketch or self._begin()
        if sketch is None:
            return self._whole()

        def look(frames: NDArray[np.intp]) -> bool:
            return self._look(sketch, frames)

        if not look_until_settled(sketch, ask, look, moments=moments):
            return self._rest(sketch)
        return replace(sketch.encoded(), timings=dict(self._timings))

    def complete(self, known: EncodedVideo) -> EncodedVideo:
        """The whole video, of which an earlier quick search has seen some.

        Raises:
            VideoError: The video cannot be read.
        """
        sketch = Sketch.from_video(known, self._encoder.rate)
        return self._whole() if sketch is None else self._rest(sketch)

    def _begin(self) -> Sketch | None:
        """The keyframes; None where they cannot stand for the video."""
        if self._mark is None:
            return None
        outline = self._encoder.outline(self._source, self._options, read=self._read)
        few = len(outline.keyframes) * _LONGEST_GROUP < outline.duration
        if outline.duration <= _SHORT or few:
            return None
        keyframes, cuts = chosen_keyframes(outline.keyframes, outline.duration)
        if len(outline.hidden_cuts) > max(int(cuts.sum()), _HIDDEN * len(outline.keyframes)):
            return None
        seconds = tuple(map(float, keyframes))
        parts = [seconds[first : first + _PART] for first in range(0, len(seconds), _PART)]
        frames = self._encode(parts, keyframes=True)
        if len(frames) != len(keyframes):
            return None
        sketch = Sketch(
            _rows(frames),
            frames.times,
            cuts,
            duration=outline.duration,
            rate=self._encoder.rate,
            sampling=even_sampling(self._encoder.rate, outline),
            encoder=self._encoder.hash,
            warnings=outline.warnings,
        )
        # Encoders place no keyframe where a scene begins just after another keyframe.
        hidden = sketch.after(outline.hidden_cuts + _LATE)
        return sketch if not len(hidden) or self._look(sketch, hidden) else None

    def _look(self, sketch: Sketch, wanted: NDArray[np.intp]) -> bool:
        frames = self._encode(sketch.parts(wanted, _PART), keyframes=False)
        if len(frames) != len(wanted) or FileMark.from_source(self._source) != self._mark:
            return False
        sketch.add(wanted, _rows(frames), frames.times)
        return True

    def _rest(self, sketch: Sketch) -> EncodedVideo:
        """Look at all that was not seen yet."""
        if not self._look(sketch, np.flatnonzero(~sketch.seen)):
            return self._whole()
        return replace(sketch.encoded(), timings=dict(self._timings))

    def _whole(self) -> EncodedVideo:
        return self._encoder.encode(self._source, self._options, read=self._read)

    def _encode(self, parts: Sequence[Instants], *, keyframes: bool) -> EncodedFrames:
        frames = self._encoder.look(
            self._source, parts, self._options, keyframes=keyframes, read=self._read
        )
        self._timings.update(frames.timings)
        return frames


def _rows(frames: EncodedFrames) -> NDArray[np.float32]:
    return frames.rows if frames.index is None else frames.rows[frames.index]


def look_until_settled(sketch: Sketch, ask: Ask, look: Look, *, moments: int) -> bool:
    """Look at more and more frames until the answers stand.

    Args:
        sketch: What has been seen; ``look`` adds to it.
        ask: Finds candidates.
        look: Looks at frames.
        moments: Moments that are wanted of each sentence.

    Returns:
        Whether it came to an end; False where nearly all frames would be needed, or some could
        not be read.
    """
    count = max(_CANDIDATES, moments + 1)
    for _ in range(_ROUNDS):
        video = sketch.encoded()
        wanted = np.zeros(len(sketch), dtype=bool)
        for answer in ask(video, count):
            for moment in contenders(answer.moments, moments):
                first = int(np.searchsorted(video.times, moment.start))
                last = int(np.searchsorted(video.times, moment.end)) - 1
                _want(sketch, wanted, first, max(first, last))
        missing = np.flatnonzero(wanted & ~sketch.seen)
        if not len(missing):
            return True
        if int(sketch.seen.sum()) + len(missing) > _NEARLY_ALL * len(sketch):
            return False
        if not look(missing):
            return False
    return True


def contenders(found: Sequence[Moment], wanted: int) -> list[Moment]:
    """Those of the moments found that may be among the best ones in truth.

    Keyframes tell a moment's score nearly, so that one which scores far less is left out.

    Args:
        found: Moments of one sentence, best first.
        wanted: How many are asked for.
    """
    bar = min((log_odds(moment.score) for moment in found[:wanted]), default=0.0) - _MARGIN
    return [moment for moment in found if log_odds(moment.score) >= bar]


def _want(sketch: Sketch, wanted: NDArray[np.bool_], first: int, last: int) -> None:
    """Mark the frames of a candidate near its ends, and those around them."""
    inside = _WHOLE if last - first < _WHOLE else _INSIDE
    wanted[first : min(first + inside, last + 1)] = True
    wanted[max(first, last + 1 - inside) : last + 1] = True
    for frame in (first - 1, first, last, last + 1):
        group = sketch.group(min(max(frame, 0), len(sketch) - 1))
        wanted[group.start : group.stop] = True
