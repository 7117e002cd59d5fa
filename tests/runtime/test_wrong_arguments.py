"""Arguments of another type, or out of range, are refused by name, before any work."""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vtloc_runtime import Bundle, EncodedVideo, Localizer, VtlocError
from vtloc_runtime.batch import (
    FeatureCache,
    Job,
    PipelineOptions,
    group_by_video,
    read_jobs,
    read_videos,
    run_jobs,
)
from vtloc_runtime.errors import UsageError
from vtloc_runtime.library.film_search import SearchOptions
from vtloc_runtime.video import DecoderLimits, DecoderProcess, Limits, VideoOptions, open_video

WRONG: list[Any] = [5, 1.5, True, b"x", {"a": 1}, object(), "\0", ["a", 5], np.zeros(3), open]
NUMBERS: list[Any] = [*WRONG[3:], math.nan, -math.inf, -1]
SWITCHES: list[Any] = [None, 0, 1, "yes", "", [], np.True_]
VIDEO: dict[str, Any] = {
    "rows": np.ones((2, 4), np.float32),
    "times": np.arange(2.0),
    "duration": 2.0,
}

CALLS: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
    "read_jobs(inputs)": (read_jobs, [None, "a.mp4", *WRONG[:6], Path("a")]),
    "read_jobs(queries)": (lambda x: read_jobs(["a.mp4"], x), [None, "a dog", *WRONG]),
    "read_jobs(rewrites)": (lambda x: read_jobs(["a"], ["b"], rewrites=x), [None, "c", *WRONG]),
    "read_jobs(like)": (lambda x: read_jobs(["a"], ["b"], like=x), [None, "c.jpg", *WRONG]),
    "read_jobs(notice)": (lambda x: read_jobs(["a"], ["b"], notice=x), WRONG[:-1]),
    "read_videos(inputs)": (read_videos, [None, "a.mp4", *WRONG]),
    "group_by_video(jobs)": (group_by_video, [["a"], [None], "abc"]),
    "DecoderLimits(memory)": (lambda x: DecoderLimits(memory=x), [None, 1.5, math.inf, *NUMBERS]),
    "DecoderLimits(timeout)": (lambda x: DecoderLimits(timeout=x), [None, 0, math.inf, *NUMBERS]),
    "DecoderLimits(video_timeout)": (lambda x: DecoderLimits(video_timeout=x), [0, *NUMBERS]),
    "DecoderLimits(max_duration)": (lambda x: DecoderLimits(max_duration=x), [0, *NUMBERS]),
    "Limits(pixels)": (lambda x: Limits(pixels=x), [None, 1.5, math.inf, *NUMBERS]),
    "Limits(frames)": (lambda x: Limits(frames=x), [None, 1.5, math.inf, *NUMBERS]),
    "VideoOptions(strategy)": (lambda x: VideoOptions(strategy=x), [None, *WRONG]),
    "PipelineOptions(workers)": (lambda x: PipelineOptions(workers=x), [0, 10**9, 1.5, *NUMBERS]),
    "PipelineOptions(isolated)": (lambda x: PipelineOptions(isolated=x), SWITCHES),
    "PipelineOptions(in_order)": (lambda x: PipelineOptions(in_order=x), SWITCHES),
    "DecoderLimits(sandbox)": (lambda x: DecoderLimits(require_sandbox=x), SWITCHES),
    "SearchOptions(top)": (lambda x: SearchOptions(top=x), [0, 1.5, *NUMBERS]),
    "SearchOptions(moments)": (lambda x: SearchOptions(moments=x), [0, 101, *NUMBERS]),
    "SearchOptions(min_score)": (lambda x: SearchOptions(min_score=x), [1.1, *NUMBERS]),
    "SearchOptions(found_only)": (lambda x: SearchOptions(found_only=x), SWITCHES),
    "PipelineOptions(limits)": (lambda x: PipelineOptions(limits=x), [None, *WRONG]),
    "FeatureCache(folder)": (FeatureCache, [*WRONG[:6], *WRONG[7:]]),
    "EncodedVideo(encoder)": (lambda x: EncodedVideo(**VIDEO, encoder=x), [None, *WRONG[:6]]),
    "EncodedVideo(seen)": (lambda x: EncodedVideo(**VIDEO, seen=x), WRONG),
    "EncodedVideo(sampling)": (lambda x: EncodedVideo(**VIDEO, sampling=x), WRONG),
}


@pytest.mark.parametrize("name", CALLS)
def test_wrong_arguments_are_refused_by_name(name: str) -> None:
    call, values = CALLS[name]
    for value in values:
        with pytest.raises(UsageError) as caught:
            call(value)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("fps", [True, "4", b"x", [4], math.nan]),
        ("observer", [5, "x", []]),
        ("digest", ["", "abc", 5, []]),
        ("precision", ["", 5]),
        ("decoding", ["", 5]),
    ],
)
def test_a_localizer_is_not_opened_with_what_cannot_be_meant(
    option: str, values: list[Any], colour_bundle: Path
) -> None:
    for value in values:
        with pytest.raises(UsageError):
            Localizer.open(colour_bundle, **{option: value})


def test_an_empty_digest_pins_nothing_and_is_refused(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="digest"):
        Bundle.open(colour_bundle, digest="")
    # As with every variable, an empty one counts as not set.
    monkeypatch.setenv("VTLOC_BUNDLE_DIGEST", "")
    Localizer.open(colour_bundle).close()


def test_calls_of_a_localizer_refuse_wrong_arguments(
    colour_bundle: Path, colour_video: Path
) -> None:
    with Localizer.open(colour_bundle) as localizer:
        jobs = group_by_video(read_jobs([str(colour_video)], ["red"]))
        wrong: list[Any] = [5, "x", [], object()]
        for value in wrong:
            for option in ("read", "known", "progress"):
                with pytest.raises(UsageError, match=option):
                    localizer.encode_video(colour_video, **{option: value})
            with pytest.raises(UsageError, match="read"):
                localizer.localize(colour_video, "red", read=value)
            for option in ("quick", "fine", "curve", "alignment"):
                with pytest.raises(UsageError, match=option):
                    localizer.localize(colour_video, "red", **{option: value})
            for option in ("options", "stop", "progress", "fine"):
                with pytest.raises(UsageError, match=option):
                    run_jobs(localizer, jobs, **{option: value})
        with pytest.raises(UsageError, match="entry of videos"):
            run_jobs(localizer, [Job("1", "a.mp4", "red")])  # type: ignore[list-item]
        with pytest.raises(UsageError, match="localizer"):
            run_jobs(None, jobs)  # type: ignore[arg-type]


def test_a_video_is_decoded_where_the_caller_says(colour_bundle: Path, colour_video: Path) -> None:
    with Localizer.open(colour_bundle) as localizer, DecoderProcess() as decoder:
        places: list[object] = []

        def read(source: Any, options: VideoOptions, size: int, **given: Any) -> Any:
            places.append(source)
            return decoder.read(source, options, size, **given)

        for how in ({}, {"quick": True}, {"fine": True}):
            before = len(places)
            assert localizer.localize(colour_video, "red", read=read, **how).moments
            assert len(places) > before


def test_no_limit_of_seconds_is_a_limit_too(colour_video: Path) -> None:
    options = VideoOptions(limits=Limits(seconds=math.inf))
    with DecoderProcess() as decoder:
        assert list(decoder.read(str(colour_video), options, 8))
    assert len(list(open_video(colour_video, options))) == 12


def test_encoded_videos_are_copied_and_pickled(colour_bundle: Path, colour_video: Path) -> None:
    with Localizer.open(colour_bundle) as localizer:
        video = localizer.encode_video(colour_video)
        again = pickle.loads(pickle.dumps(video))
        assert localizer.localize(again, "red") == localizer.localize(video, "red")


def test_bytes_that_no_name_holds_are_a_video_error(colour_bundle: Path) -> None:
    with Localizer.open(colour_bundle) as localizer:
        for name in ("\ud800.mp4", "a\0b", "", os.fsdecode(b"\xff.mp4")):
            with pytest.raises(VtlocError):
                localizer.encode_video(name)
