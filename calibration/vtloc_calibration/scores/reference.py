"""Frames of the videos that a bundle will be asked about, so that presence is judged better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vtloc_calibration.errors import CalibrationError
from vtloc_runtime.errors import VideoError
from vtloc_runtime.localize.presence.reference_frames import ReferenceFrames
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

if TYPE_CHECKING:
    from vtloc_runtime.localize.localizer import Localizer

FRAMES = 512
"""Frames that are drawn, in all."""

LEAST_REFERENCE = 100
"""Of fewer, one in a hundred is no frame to speak of."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnReference:
    """Reference frames, and where they come from.

    Attributes:
        frames: The frames.
        videos: How many videos they were drawn from.
        unreadable: Why each other video could not be read, by its path.
    """

    frames: ReferenceFrames
    videos: int
    unreadable: dict[str, str]


def draw_reference(
    localizer: Localizer,
    videos: Sequence[str],
    *,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> DrawnReference:
    """Draw frames evenly from videos; of very many videos, from some.

    Args:
        localizer: Encodes the videos.
        videos: Paths; they are decoded in a process of their own.
        seed: The same videos and seed give the same frames.
        progress: Called with the number of videos done.

    Raises:
        CalibrationError: The frames are too few to tell anything, or frames and sentences share
            no space.
    """
    shared = localizer.bundle.manifest.shared_space
    if shared is None:
        raise CalibrationError(
            "frames and sentences of the bundle share no space", where=localizer.bundle.path
        )
    random = np.random.default_rng(seed)
    chosen = sorted(random.permutation(len(videos))[:FRAMES])
    each = -(-FRAMES // max(1, len(chosen)))
    unreadable: dict[str, str] = {}
    drawn = []
    with DecoderProcess() as decoder:
        for done, index in enumerate(chosen, start=1):
            try:
                encoded = localizer.encode_video(videos[index], read=decoder.read)
            except VideoError as error:
                unreadable[videos[index]] = str(error)
            else:
                places = np.linspace(0, len(encoded) - 1, min(each, len(encoded)))
                rows = encoded.features[np.unique(places.round().astype(np.int64))]
                drawn.append(rows[:, shared.start : shared.stop])
            if progress is not None:
                progress(done)
    found = ReferenceFrames.from_features(np.concatenate(drawn)) if drawn else None
    if found is None or len(found.frames) < LEAST_REFERENCE:
        count = 0 if found is None else len(found.frames)
        raise CalibrationError(
            f"the videos give {count} frames; {LEAST_REFERENCE} are needed",
            remedy="Give more or longer videos, like the ones that will be asked about",
        )
    return DrawnReference(found, len(drawn), unreadable)
