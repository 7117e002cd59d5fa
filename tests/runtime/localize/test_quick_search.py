"""A quick search looks at a part of the video, and finds what an exact one finds."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.support.colours import COLOURS, write_colour_bundle, write_colour_video
from vtloc_runtime.batch.encode import encode_cached, encode_quickly_cached
from vtloc_runtime.batch.workers.worker_pool import PipelineOptions, run_tasks
from vtloc_runtime.localize import quick_search
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo, SeenFrames
from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
from vtloc_runtime.localize.encoding.feature_file import decode_entry, encode_entry
from vtloc_runtime.localize.encoding.frame_encoder import FrameEncoder
from vtloc_runtime.localize.encoding.sketch import (
    Sketch,
    begin_scenes,
    chosen_keyframes,
    frame_instants,
    sum_over_neighbours,
)
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.localize.quick_search import contenders, look_until_settled
from vtloc_runtime.localize.spans.moments import Localization, Moment
from vtloc_runtime.video import VideoOptions, open_video
from vtloc_runtime.video.isolation.chunks import Reading, read_here
from vtloc_runtime.video.sampling.keyframe_index import KeyframeIndex

SCENES = [
    ("red", 61), ("blue", 34), ("yellow", 83), ("green", 17), ("magenta", 70), ("red", 35)
]  # fmt: skip


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colour_video(tmp_path_factory.mktemp("f") / "film.mp4", SCENES, group=10)


@pytest.fixture(scope="module")
def localizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Localizer.open(write_colour_bundle(tmp_path_factory.mktemp("b")), threads=1) as opened:
        yield opened


class CountingRead:
    """Reads here, and counts the frames."""

    def __init__(self) -> None:
        self.frames = 0

    def __call__(self, source: Any, options: VideoOptions, size: int) -> Reading:
        for part in read_here(source, options, size):
            self.frames += len(getattr(part, "times", ()))
            yield part


@pytest.mark.parametrize("query", ["green", "the screen turns blue", "yellow"])
def test_it_finds_the_exact_moment_from_a_part_of_the_frames(
    localizer: Localizer, film: Path, query: str
) -> None:
    read = CountingRead()
    video = localizer.encode_quickly(film, [query], read=read)
    assert video.seen is not None
    assert read.frames < 0.7 * len(video)
    exact = localizer.localize(film, query)
    assert localizer.localize(video, query).best == exact.best
    assert localizer.localize(film, query, quick=True).best == exact.best


def write_textured_video(path: Path, scenes: list[tuple[str, float]], **options: str) -> Path:
    """Colours with a photograph's worth of detail, four pictures a second, by x264."""
    chance = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.width = stream.height = 96
        stream.pix_fmt = "yuv420p"
        stream.options = dict(options)
        for colour, seconds in scenes:
            detail = chance.integers(-60, 60, (96, 96, 3))
            picture = np.clip(np.array(COLOURS[colour]) + detail, 0, 255).astype(np.uint8)
            for _ in range(round(seconds * 4)):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_video_whose_scenes_begin_between_keyframes_is_looked_at_whole(
    localizer: Localizer, tmp_path: Path
) -> None:
    # Keyframes come at fixed distances only.
    scenes = [(colour, 7.0) for colour in ("red", "blue", "green", "yellow") * 3] + [("red", 7.0)]
    path = write_textured_video(tmp_path / "fixed.mp4", scenes, g="40", sc_threshold="0")
    with open_video(path, VideoOptions(strategy="outline")) as outline:
        list(outline)
    # One of the twelve cuts falls on a keyframe.
    cuts = [7.0 * number for number in range(1, 13) if number != 10]
    np.testing.assert_allclose(outline.hidden_cuts, cuts, atol=1.0)
    assert localizer.encode_quickly(path, ["green"]).seen is None


def test_a_scene_that_begins_just_after_a_keyframe_is_found(
    localizer: Localizer, tmp_path: Path
) -> None:
    scenes = [("red", 60.0), ("blue", 2.0), ("green", 6.0), ("red", 65.0)]
    scenes += [(colour, 20.0) for colour in ("yellow", "red") * 4]
    # The encoder may place no keyframe within four seconds after another.
    path = write_textured_video(tmp_path / "film.mp4", scenes, g="40", keyint_min="16")
    outline = localizer.encoder.outline(path)
    assert not ((outline.keyframes > 60.5) & (outline.keyframes < 67.5)).any()
    np.testing.assert_allclose(outline.hidden_cuts, [62.0], atol=1.0)
    video = localizer.encode_quickly(path, ["green"])
    assert video.seen is not None
    assert localizer.localize(video, "green").best == localizer.localize(path, "green").best


@pytest.mark.parametrize("isolated", [False, True])
def test_workers_that_share_a_search_find_the_same_bits(
    localizer: Localizer, film: Path, monkeypatch: pytest.MonkeyPatch, isolated: bool
) -> None:
    monkeypatch.setattr(quick_search, "_PART", 8)
    alone = localizer.encode_quickly(film, ["green"])
    readers = set()
    both = threading.Event()

    def work(path: Path, read: Any) -> EncodedVideo:
        return localizer.encode_quickly(path, ["green"], read=read)

    encode = FrameEncoder.encode

    def recorded(own: Any, source: Any, reading: Any, limit: Any, read: Any, **named: Any) -> Any:
        if reading.instants is not None:
            readers.add(threading.current_thread().name)
            if len(readers) == 2:
                both.set()
            # A part may be done before the other worker wakes; hold it until there are two.
            both.wait(30)
        return encode(own, source, reading, limit, read, **named)

    monkeypatch.setattr(FrameEncoder, "encode", recorded)
    for video in run_tasks(work, [film], PipelineOptions(workers=2, isolated=isolated)):
        np.testing.assert_array_equal(video.rows, alone.rows)
        np.testing.assert_array_equal(video.index, alone.index)
        np.testing.assert_array_equal(video.times, alone.times)
        assert video.seen is not None
        assert alone.seen is not None
        np.testing.assert_array_equal(video.seen.frames, alone.seen.frames)
    assert len(readers) == 2


@pytest.mark.parametrize(
    ("start", "end", "inside"),
    [(105.0, 155.0, [*range(100, 160)]), (105.0, 205.0, [*range(100, 115), *range(195, 210)])],
    ids=["whole up to a minute", "near its ends where it is longer"],
)
def test_a_candidate_is_looked_at(start: float, end: float, inside: list[int]) -> None:
    video = sketch([10.0 * number for number in range(40)], [False] * 40, 400.0)
    keyframes = video.seen

    def look(frames: np.ndarray) -> bool:
        video.add(frames, np.zeros((len(frames), 1), np.float32), frames.astype(np.float64))
        return True

    def ask(_: EncodedVideo, __: int) -> list[Localization]:
        return [Localization("anything", (Moment(start, end, 1.0),))]

    assert look_until_settled(video, ask, look, moments=1)
    seen = np.flatnonzero(video.seen & ~keyframes)
    assert seen.tolist() == [frame for frame in inside if frame % 10]


@pytest.mark.parametrize(
    ("scores", "wanted", "kept"),
    [
        ([0.6, 0.55, 0.2], 1, 2),
        ([0.9, 0.6, 0.55, 0.2], 2, 3),
        ([0.9, 0.6], 1, 1),
        ([0.1, 0.1, 0.1], 1, 3),
        ([1.0, 0.9, 0.0], 1, 1),
        ([0.0, 0.0], 1, 2),
        ([0.5], 3, 1),
        ([], 1, 0),
    ],
)
def test_moments_that_score_far_less_than_those_wanted_are_not_looked_at(
    scores: list[float], wanted: int, kept: int
) -> None:
    found = [Moment(float(place), place + 1.0, score) for place, score in enumerate(scores)]
    assert contenders(found, wanted) == found[:kept]


def test_frames_that_were_looked_at_are_the_true_ones(localizer: Localizer, film: Path) -> None:
    whole = localizer.encode_video(film)
    video = localizer.encode_quickly(film, ["green"])
    assert video.seen is not None
    assert (len(video), video.duration) == (len(whole), whole.duration)
    seen = video.seen.frames
    np.testing.assert_allclose(video.features[seen], whole.features[seen], atol=0.02)
    np.testing.assert_array_equal(video.times[seen], whole.times[seen])
    stretches = video.seen.stretches(video.times, video.duration)
    assert any(first <= 178 and last >= 195 for first, last in stretches)


def test_what_was_looked_at_is_kept_and_an_exact_run_adds_only_the_rest(
    localizer: Localizer, film: Path, tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path)
    once, twice, rest, again = (CountingRead() for _ in range(4))
    quick = encode_quickly_cached(localizer, str(film), ["green"], cache=cache, read=once)
    encode_quickly_cached(localizer, str(film), ["green"], cache=cache, read=twice)
    assert (once.frames > 0, twice.frames) == (True, 0)
    assert quick.seen is not None
    whole = encode_cached(localizer, str(film), cache=cache, read=rest)
    assert whole.seen is None
    assert rest.frames == len(whole) - quick.seen.frames.sum()
    exact = localizer.encode_video(film)
    np.testing.assert_array_equal(whole.times, exact.times)
    np.testing.assert_array_equal(whole.begins, exact.begins)
    np.testing.assert_allclose(whole.features, exact.features, atol=0.02)
    assert (
        encode_quickly_cached(localizer, str(film), ["red"], cache=cache, read=again).seen is None
    )
    assert again.frames == 0


@pytest.mark.parametrize(
    ("name", "scenes", "group"),
    [
        ("short.mp4", [("red", 9), ("green", 8)], 4),
        ("one-group.mp4", [("red", 60), ("green", 40)], 1000),
        ("no-index.avi", [("red", 60), ("green", 40)], 10),
    ],
)
def test_a_video_that_keyframes_tell_too_little_of_is_encoded_whole(
    localizer: Localizer, tmp_path: Path, name: str, scenes: Any, group: float
) -> None:
    film = write_colour_video(tmp_path / name, scenes, group=group)
    video = localizer.encode_quickly(film, ["green"])
    assert video.seen is None
    assert localizer.localize(video, "green") == localizer.localize(film, "green")


def test_bytes_are_encoded_whole(localizer: Localizer, film: Path) -> None:
    assert localizer.encode_quickly(film.read_bytes(), ["green"]).seen is None


def test_cuts_between_keyframes_are_told_in_seconds_of_the_files_clock() -> None:
    tick = Fraction(1001, 30000)
    index = KeyframeIndex((0, 3000), (Fraction(0), 3000 * tick))
    packets = [(0, 100, True), (30, 60, False), (31, 70, False), (60, 10, False)]
    packets += [(3000, 100, True), (3015, 51, False), (3045, 50, False)]
    found = index.hidden_cuts(packets, VideoOptions(), tick)
    np.testing.assert_allclose(found, [1.001, 3015 * 1001 / 30000])


def sketch(keyframes: list[float], cuts: list[bool], duration: float) -> Sketch:
    rows = np.arange(len(keyframes), dtype=np.float32)[:, None]
    return Sketch(rows, np.array(keyframes), np.array(cuts), duration=duration, rate=Fraction(1))


def test_a_frame_takes_the_features_of_the_nearest_keyframe() -> None:
    video = sketch([0.0, 10.0], [False, False], 12.0).encoded()
    assert video.features[:, 0].tolist() == [0] * 6 + [1] * 6


def test_no_frame_takes_features_from_another_scene() -> None:
    video = sketch([0.0, 10.0], [False, True], 12.0).encoded()
    assert video.features[:, 0].tolist() == [0] * 10 + [1] * 2


def test_a_sketch_survives_the_cache_and_goes_on() -> None:
    first = sketch([0.0, 10.5, 20.0], [False, True, False], 25.0)
    first.add(np.array([4, 5]), np.array([[7], [8]], np.float32), np.array([3.9, 5.0]))
    stored = b"".join(bytes(part) for part in encode_entry(first.encoded(), "key"))
    again = Sketch.from_video(decode_entry(stored, "key"), Fraction(1))
    assert again is not None
    for one in (first, again):
        one.add(np.array([12]), np.array([[9]], np.float32), np.array([12.0]))
    np.testing.assert_array_equal(again.seen, first.seen)
    np.testing.assert_array_equal(again.encoded().features, first.encoded().features)
    np.testing.assert_array_equal(again.encoded().times, first.encoded().times)


def test_the_frames_of_a_group_stay_in_one_part() -> None:
    one = sketch([0.0, 10.0, 20.0, 30.0], [False] * 4, 40.0)
    frames = np.array([1, 2, 3, 8, 9, 11, 12, 25, 26, 31])
    assert one.parts(frames, 4) == [(1, 2, 3, 8, 9), (11, 12, 25, 26), (31,)]
    assert one.parts(frames, 1) == [(1, 2, 3, 8, 9), (11, 12), (25, 26), (31,)]


def test_frames_after_some_seconds_are_those_sampled_next() -> None:
    one = sketch([0.0, 10.0], [False, False], 12.0)
    assert one.after(np.array([3.2, 3.9, 7.0, 10.0, 11.5])).tolist() == [4, 7, 11]


def test_keyframes_that_lie_close_are_passed_over_unless_a_scene_begins() -> None:
    keyframes = np.array([0.0, 2.0, 4.0, 5.0, 7.0, 9.0, 9.5])
    chosen, cuts = chosen_keyframes(keyframes, 10.0)
    assert chosen.tolist() == [0.0, 4.0, 5.0, 9.0, 9.5]
    assert cuts.tolist() == [False, False, True, False, True]


def test_keyframes_begin_scenes_unless_they_come_at_full_distance() -> None:
    regular = np.array([0.0, 4.0, 8.0, 12.0])
    assert begin_scenes(regular, 14.0).tolist() == [False, False, False, False]
    cut = np.array([0.0, 4.0, 8.0, 9.5, 13.5])
    assert begin_scenes(cut, 14.0).tolist() == [False, False, False, True, False]
    # The end shows that a group may be longer.
    assert begin_scenes(regular, 17.0).tolist() == [False, True, True, True]


def test_scenes_may_last_equally_long() -> None:
    assert begin_scenes(np.array([0.0, 4.0, 8.0]), 12.0).tolist() == [False, True, True]
    # Nearly the same length is not what an encoder that counts pictures makes.
    near = np.array([0.0, 4.0, 7.9, 11.7, 15.6])
    assert begin_scenes(near, 19.0).tolist() == [False, True, True, True, True]
    assert begin_scenes(np.array([0.0, 5.0]), 10.0).tolist() == [False, True]
    assert begin_scenes(np.empty(0), 10.0).tolist() == []


def test_frames_end_before_the_video_does() -> None:
    assert frame_instants(3.0, Fraction(1)).tolist() == [0, 1, 2]
    assert frame_instants(3.01, Fraction(1)).tolist() == [0, 1, 2, 3]
    assert frame_instants(0.0, Fraction(1)).tolist() == [0]
    assert frame_instants(1.0, Fraction(5, 2)).tolist() == [0, 0.4, 0.8]


def test_frames_that_were_not_seen_are_counted_as_changing_like_those_that_were() -> None:
    chance = np.random.default_rng(0)
    frames = 200
    features = chance.normal(0, 1, (frames, 4)).astype(np.float32)

    def changes(part: Any) -> float:
        return float(np.abs(np.diff(part[:], axis=0)).sum())

    keyframes = np.arange(0, frames, 10)
    seen = np.zeros(frames, dtype=bool)
    seen[keyframes] = seen[60:110] = True
    index = np.where(seen, np.arange(frames), keyframes[np.arange(frames) // 10])
    video = EncodedVideo(
        features,
        np.arange(frames, dtype=float),
        float(frames),
        index=index,
        seen=SeenFrames(seen, keyframes.astype(float), np.zeros(len(keyframes), dtype=bool)),
    )
    whole = changes(features)
    assert changes(video.table) < 0.6 * whole
    assert sum_over_neighbours(video, changes) == pytest.approx(whole, rel=0.1)
