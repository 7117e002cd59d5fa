"""Spans of frames in seconds, and how long they may be."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.colours import COLOURS, write_colour_bundle
from vtloc_runtime import Localizer
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import ScoreCalibration, Windows
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
from vtloc_runtime.localize.spans import span_times
from vtloc_runtime.localize.spans.decoding import Span


def test_a_span_lasts_until_its_last_frame_leaves_the_screen() -> None:
    times = [0.0, 1.0, 2.1, 3.0]
    moments = span_times.to_moments([Span(1, 2, 0.9), Span(3, 3, 0.8)], times, 3.6)
    assert [(m.start, m.end, m.score) for m in moments] == [(1.0, 3.0, 0.9), (3.0, 3.6, 0.8)]


def test_samples_of_one_frame_share_its_whole_time() -> None:
    times = [0.0, 0.0, 0.0, 3.0, 3.0]
    moments = span_times.to_moments([Span(1, 1, 0.5), Span(3, 4, 0.5)], times, 5.5)
    assert [(m.start, m.end) for m in moments] == [(0.0, 3.0), (3.0, 5.5)]


def test_fractions_of_frames_lie_between_their_times() -> None:
    (moment,) = span_times.to_moments([Span(0.5, 1.5, 0.5)], [0.0, 2.0, 4.0], 6.0)
    assert (moment.start, moment.end) == (1.0, 5.0)


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=12).map(sorted),
    st.floats(0, 120),
    st.data(),
)
def test_moments_stay_in_order_and_in_the_video(
    times: list[float], duration: float, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(times) - 1))
    last = data.draw(st.integers(first, len(times) - 1))
    (moment,) = span_times.to_moments([Span(first, last, 0.5)], times, duration)
    assert 0 <= moment.start <= moment.end <= max(duration, times[-1])


def test_calibration_maps_scores_and_drops_what_is_no_moment() -> None:
    calibration = ScoreCalibration(raw=(0.2, 0.6), probability=(0.1, 0.9), threshold=0.5)
    spans = [Span(0, 0, 0.5), Span(1, 1, 0.3), Span(1, 1, 0.99)]
    moments = span_times.to_moments(spans, [0.0, 1.0], 2.0, calibration=calibration)
    assert [moment.score for moment in moments] == pytest.approx([0.7, 0.9])


def test_samples_of_one_frame_share_it_out_where_moments_would_overlap() -> None:
    spans = [Span(0, 1, 0.5), Span(2, 3, 0.4)]
    moments = span_times.to_moments(spans, [0.0, 0.0, 0.0, 3.0], 4.0)
    assert [(m.start, m.end) for m in moments] == [(0.0, 2.0), (2.0, 4.0)]


def test_a_moment_lasts_no_longer_than_it_may() -> None:
    held = np.zeros(80_000)
    (moment,) = span_times.to_moments([Span(100, 249, 0.5)], held, 80_000.0, longest=150.0)
    assert (moment.start, moment.end) == (100.0, 250.0)
    (moment,) = span_times.to_moments([Span(0, 0, 0.5)], [2.0], 80_000.0, longest=150.0)
    assert (moment.start, moment.end) == (2.0, 152.0)


@st.composite
def uneven_videos(draw: st.DrawFn) -> EncodedVideo:
    """Videos of a few frames of two colours, each on screen for any time."""
    gaps = draw(st.lists(st.sampled_from([0.0, 0.04, 1.0, 2.5, 40.0, 900.0]), max_size=30))
    names = draw(st.lists(st.sampled_from(["red", "green"]), min_size=len(gaps) + 1,
                          max_size=len(gaps) + 1))  # fmt: skip
    features = np.array([COLOURS[name] for name in names], dtype=np.float32) / 255 - 0.5
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    return EncodedVideo(features, times, float(times[-1]) + draw(st.floats(0, 5000)))


STRATEGIES = ("joint", "argmax", "soft", "similarity", "combined")


@pytest.fixture(scope="module")
def localizers(tmp_path_factory: pytest.TempPathFactory) -> list[Localizer]:
    folder = write_colour_bundle(
        tmp_path_factory.mktemp("bundle"), windows=Windows(frames=8, overlap=4, seconds=20.0)
    )
    bundle = Bundle.open(folder)
    return [Localizer.open(bundle, decoding=strategy) for strategy in STRATEGIES]


@given(uneven_videos(), st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_no_answer_is_longer_or_shares_a_second_whatever_the_frame_times(
    localizers: list[Localizer], video: EncodedVideo, count: int
) -> None:
    for localizer in localizers:
        answer = localizer.localize(video, "green", moments=count)
        assert answer.moments
        ordered = sorted(answer.moments, key=lambda one: (one.start, one.end))
        assert all(0 <= one.start <= one.end <= video.duration for one in ordered)
        assert all(one.end - one.start <= 20.0 + 1e-6 for one in ordered)
        assert all(one.end <= after.start + 1e-6 for one, after in pairwise(ordered))


def test_frames_close_together_make_a_long_span_beside_a_long_pause(tmp_path: Path) -> None:
    """How many frames a span may hold follows their own times, not the video's mean."""
    names = ["red"] * 5 + ["green"] * 12 + ["red"] * 5
    features = np.array([COLOURS[name] for name in names], dtype=np.float32) / 255 - 0.5
    times = np.append(np.arange(21.0), 5000.0)
    bundle = write_colour_bundle(tmp_path, windows=Windows(seconds=20.0))
    with Localizer.open(bundle, decoding="similarity") as localizer:
        best = localizer.localize(EncodedVideo(features, times, 5001.0), "green").best
    assert best is not None
    assert (best.start, best.end) == (5.0, 17.0)


def test_without_seconds_a_moment_is_as_long_as_a_window(tmp_path: Path) -> None:
    manifest = Bundle.open(
        write_colour_bundle(tmp_path, windows=Windows(frames=40, overlap=20))
    ).manifest
    assert span_times.longest_moment(manifest) == 40 / manifest.frames_per_second
    times = np.arange(0.0, 300.0, 2.0)
    longest = 40 / manifest.frames_per_second
    assert span_times.longest_span(times, 300.0, manifest) == round(longest / 2)
    reach = span_times.span_reach(times, 300.0, manifest)
    assert reach[0] == round(longest / 2)
    assert reach[-1] == len(times)
