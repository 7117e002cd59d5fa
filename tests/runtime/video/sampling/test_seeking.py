"""Instants that lie far apart are read by jumping, and show what the whole file shows."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tests.support import films
from tests.support.coded_films import CODECS
from vtloc_runtime.video import open_video
from vtloc_runtime.video.sampling import seeking

JUMPING = ("h264 with B-frames", "h264 open groups", "h264 matroska", "hevc open groups", "vp9")


@pytest.mark.parametrize("kind", CODECS)
def test_frames_are_those_of_the_whole_file(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = films.Film(ticks=tuple(range(400)), **CODECS[kind]).make()
    monkeypatch.setattr(seeking, "_WORTH_A_JUMP", Fraction(2))
    with open_video(data, films.whole(frames_per_second=5)) as whole:
        frames = list(whole)
    for wanted in ([3, 4, 40, 41, 60, 95], [50], [0, 99], list(range(30, 60)), [2, 2, 70]):
        instants = tuple(frames[place].asked for place in wanted if place < len(frames))
        with open_video(data, films.whole(instants=instants)) as reader:
            found = list(reader)
        assert [one.time for one in found] == [frames[place].time for place in wanted]
        for one, place in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one.image, frames[place].image)
        assert reader.duration == pytest.approx(whole.duration)
        assert reader.warnings == whole.warnings


def test_instants_past_the_end_give_nothing() -> None:
    data = films.Film(ticks=tuple(range(400)), options={"g": "40"}).make()
    with open_video(data, films.whole(instants=(1.0, 15.0, 25.0, 3000.0))) as reader:
        assert films.numbers(list(reader)) == [20, 300]


@pytest.mark.parametrize("kind", JUMPING)
def test_what_lies_between_is_not_decoded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = films.Film(ticks=tuple(range(1000)), **CODECS[kind]).make()
    decoded = _count_decoded(monkeypatch)
    with open_video(data, films.whole(instants=(0.0, 45.0))) as reader:
        list(reader)
    assert len(decoded) < 150


@pytest.mark.parametrize("kind", CODECS)
def test_keyframes_come_once_each_with_their_own_times(kind: str) -> None:
    data = films.Film(ticks=tuple(range(400)), **CODECS[kind]).make()
    with open_video(data, films.whole(frames_per_second=1, strategy="outline")) as outline:
        assert list(outline) == []
    with open_video(data, films.whole(frames_per_second=20)) as whole:
        frames = {round(one.time, 3): one for one in whole}
    assert outline.duration == pytest.approx(whole.duration)
    if not len(outline.keyframes):
        return
    instants = tuple(float(second) for second in outline.keyframes)
    with open_video(data, films.whole(instants=instants, strategy="keyframes")) as reader:
        found = list(reader)
    # Where pictures are refreshed little by little, hardly any can be decoded by itself.
    assert len(found) == len(instants) or "refresh" in kind
    for one in found:
        assert abs(one.time - one.asked) < 0.5
        np.testing.assert_array_equal(one.image, frames[round(one.time, 3)].image)


def test_a_keyframe_costs_one_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    data = films.Film(ticks=tuple(range(1000)), options={"g": "100", "sc_threshold": "0"}).make()
    decoded = _count_decoded(monkeypatch)
    instants = tuple(range(0, 50, 5))
    with open_video(data, films.whole(instants=instants, strategy="keyframes")) as reader:
        assert films.numbers(list(reader)) == list(range(0, 1000, 100))
    assert len(decoded) < 20


@pytest.mark.parametrize("kind", ["h264 transport stream", "mpeg4 avi", "motion jpeg"])
def test_the_outline_of_a_file_without_an_index_names_no_keyframe(kind: str) -> None:
    data = films.Film(ticks=tuple(range(100)), **CODECS[kind]).make()
    with open_video(data, films.whole(strategy="outline")) as reader:
        assert list(reader) == []
    if kind != "motion jpeg":
        assert not len(reader.keyframes)
    assert reader.duration == pytest.approx(5.0, abs=0.1)


def _count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    from vtloc_runtime.video.demuxing.demux import DemuxPass

    decoded: list[int] = []
    decode = DemuxPass.decode

    def counting(self: DemuxPass, packet: Any, **options: Any) -> Any:
        if packet is not None:
            decoded.append(1)
        return decode(self, packet, **options)

    monkeypatch.setattr(DemuxPass, "decode", counting)
    return decoded
