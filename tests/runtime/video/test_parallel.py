"""Threads change nothing but the time it takes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vtloc_runtime.video import open_video, parallel

KINDS = {
    "mp4": {"options": {"g": "60", "bf": "3"}},
    "open groups": {"options": {"x264-params": "open-gop=1:bframes=3:keyint=40:min-keyint=1"}},
    "one group": {"options": {"g": "9999"}},
    "matroska": {"container": "matroska", "options": {"g": "50"}},
    "fragmented": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "transport": {"container": "mpegts", "time_base": Fraction(1, 25)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_the_same_in_any_number_of_threads(
    kind: str, films: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = films.Film(ticks=tuple(range(400)), **KINDS[kind]).make()
    monkeypatch.setattr(parallel, "_LONGEST_PART", 40)
    rate = 9  # more samples than four parts hold
    with open_video(data, films.whole(frames_per_second=rate)) as alone:
        reference = list(alone)
    for workers in (1, 2, 3):
        options = films.whole(frames_per_second=rate, workers=workers)
        with open_video(data, options) as reader:
            frames = list(reader)
        assert [(one.asked, one.time) for one in frames] == [(o.asked, o.time) for o in reference]
        for one, other in zip(frames, reference, strict=True):
            np.testing.assert_array_equal(one.image, other.image)
        assert reader.duration == alone.duration
        assert not reader.warnings


def test_instants_in_threads_still_learn_the_whole_duration(films: object) -> None:
    data = films.Film(ticks=tuple(range(200))).make()
    with open_video(data, films.whole(instants=(0.0, 1.0), workers=2)) as reader:
        assert films.numbers(list(reader)) == [0, 20]
    assert reader.duration == pytest.approx(10.0)
