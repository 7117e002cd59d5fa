"""Threads change nothing but the time it takes."""

from __future__ import annotations

from fractions import Fraction
from itertools import count
from typing import Any

import numpy as np
import pytest

from tests.support import films
from vtloc_runtime.video import open_video
from vtloc_runtime.video.sampling import parallel

KINDS: dict[str, dict[str, Any]] = {
    "mp4": {"options": {"g": "60", "bf": "3"}},
    "open groups": {"options": {"x264-params": "open-gop=1:bframes=3:keyint=40:min-keyint=1"}},
    "one group": {"options": {"g": "9999"}},
    "matroska": {"container": "matroska", "options": {"g": "50"}},
    "fragmented": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "ten bits": {"pixels": "yuv420p10le", "options": {"g": "30"}},
    "webm": {"container": "webm", "codec": "libvpx-vp9", "options": {"cpu-used": "8", "g": "40"}},
    "transport": {"container": "mpegts", "time_base": Fraction(1, 25)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_the_same_in_any_number_of_threads(
    kind: str, monkeypatch: pytest.MonkeyPatch
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


def test_instants_in_threads_still_learn_the_whole_duration() -> None:
    data = films.Film(ticks=tuple(range(200))).make()
    with open_video(data, films.whole(instants=(0.0, 1.0), workers=2)) as reader:
        assert films.numbers(list(reader)) == [0, 20]
    assert reader.duration == pytest.approx(10.0)


def test_a_part_begins_with_a_group_of_pictures_where_one_is_near() -> None:
    instants = [Fraction(second) for second in range(64)]
    starts = [Fraction(place * 25, 3) for place in range(8)]  # every 8 1/3 s
    parts = list(parallel._parts(iter(instants), starts, 48))
    assert [one for part in parts for one in part] == instants
    # A quarter of the longest part is enough; then the next group is waited for.
    assert [part[0] for part in parts] == [0, 17, 34, 50]


def test_parts_without_an_index_are_of_one_length() -> None:
    instants = [Fraction(second) for second in range(100)]
    parts = list(parallel._parts(iter(instants), [], 48))
    assert [len(part) for part in parts] == [48, 48, 4]


def test_the_parts_of_an_endless_list_come_one_by_one() -> None:
    parts = parallel._parts((Fraction(second) for second in count()), [Fraction(0)], 20)
    assert [len(next(parts)) for _ in range(3)] == [20, 20, 20]
