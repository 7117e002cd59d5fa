"""QVHighlights' queries in videos seen through captions: the only real moments of a benchmark here.

A caption's sentence vector takes the place of a frame, two seconds each, so this measures the
localizer, the decoding and the scores, and says nothing about the visual network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.study.caption_set import RATE, load_captions
from vtloc.annotations.examples import Example, annotated
from vtloc_runtime import EncodedVideo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vtloc_runtime.bundle.bundle import Bundle


def caption_videos(
    media: Path, scratch: Path, bundle: Bundle
) -> Iterator[tuple[EncodedVideo, list[Example]]]:
    """Every video as the bundle's visual network would have made it, with its queries.

    Args:
        media: The folder with ``qvhighlights_captions`` and ``annotations``.
        scratch: Where the captions' vectors are kept.
        bundle: Whose text network the vectors are of; columns that it does not share stay zero.
    """
    shared = bundle.manifest.shared_space
    if shared is None:
        return
    width = bundle.manifest.networks["visual"].dims["feature"]
    groups: dict[int, list[Example]] = {}
    frames = {}
    for one in load_captions(media, scratch):
        length = len(one.sample.features) / RATE
        spans = [(moment.start, moment.end) for moment in one.sample.moments]
        example = annotated(one.sample.id, f"captions-{one.video}", length, one.query, spans)
        groups.setdefault(one.video, []).append(example)
        frames[one.video] = one.sample.features
    for video, examples in groups.items():
        features = np.zeros((len(frames[video]), width), dtype=np.float32)
        features[:, shared.start : shared.stop] = frames[video]
        times = np.arange(len(features)) / RATE
        yield EncodedVideo(features, times, len(features) / RATE), examples
