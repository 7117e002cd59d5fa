"""Pictures beside the answers: read where hostile files do no harm, and never in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import vtloc_runtime.video
from vtloc_runtime.batch.records import FoundMoment, Record
from vtloc_runtime.errors import UsageError
from vtloc_runtime.report import answers
from vtloc_runtime.report.filmstrip import read_filmstrip
from vtloc_runtime.video import reader
from vtloc_runtime.video.isolation.limits import DecoderLimits


def record(video: Path | str, duration: float = 12.0) -> Record:
    return Record(
        id="1",
        video=str(video),
        query="red",
        moments=(FoundMoment(start=0, end=1, score=0.5),),
        duration=duration,
    )


def test_it_shows_the_middle_of_equal_parts(colour_video: Path) -> None:
    strip = read_filmstrip(colour_video, 12.0, count=4)
    # The film shows eight pictures a second, so one comes on at each of these instants.
    assert [picture.time for picture in strip] == [1.5, 4.5, 7.5, 10.5]
    assert all(picture.data_uri.startswith("data:image/jpeg;base64,") for picture in strip)
    # A still is sent once, and shown in every part.
    assert len(read_filmstrip(colour_video, 0.5)) == 16


def test_this_process_decodes_nothing(colour_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("decoded in the main process")

    monkeypatch.setattr(reader.FrameReader, "__init__", refuse)
    monkeypatch.setattr(vtloc_runtime.video, "open_video", refuse)
    (shown,) = answers.group_answers([record(colour_video)])
    assert len(shown.filmstrip) == 16


@pytest.mark.parametrize("error", [ValueError("31 is not a valid Type"), UsageError("busy")])
def test_whatever_goes_wrong_the_answers_are_shown(
    error: Exception, colour_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(answers, "read_filmstrip", fail)
    (shown,) = answers.group_answers([record(colour_video)])
    assert shown.filmstrip == ()
    assert shown.localizations[0].moments


def test_files_that_have_gone_or_changed_cost_only_their_pictures(
    tmp_path: Path, colour_video: Path
) -> None:
    (tmp_path / "words.mp4").write_text("words")
    records = [
        record(tmp_path / "gone.mp4"),
        record(tmp_path / "words.mp4"),
        record(colour_video, duration=1e-6),
        record(colour_video),
    ]
    shown = answers.group_answers(records, DecoderLimits(max_duration=60))
    assert [len(one.filmstrip) for one in shown] == [0, 0, 16]
