"""Groups a run's records by video for the report, with a filmstrip of each video."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vtloc_runtime.localize.moments import Localization, Moment
from vtloc_runtime.report.filmstrip import Thumbnail, read_filmstrip
from vtloc_runtime.report.page import VideoAnswers
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vtloc_runtime.batch.records import Record
    from vtloc_runtime.video.isolation.chunks import Read
    from vtloc_runtime.video.isolation.limits import DecoderLimits


def group_answers(
    records: Iterable[Record], limits: DecoderLimits | None = None
) -> list[VideoAnswers]:
    """Group records by video; a job that failed shows its error as a warning.

    Args:
        records: The records, in the order of the report.
        limits: Limits of the decoder process that reads the filmstrips.
    """
    videos: dict[str, list[Record]] = {}
    for record in records:
        videos.setdefault(record.video, []).append(record)
    with DecoderProcess(limits) as decoder:
        return [_answers(video, found, decoder.read) for video, found in videos.items()]


def _answers(video: str, records: list[Record], read: Read) -> VideoAnswers:
    duration = next((record.duration for record in records if record.duration), 0.0)
    return VideoAnswers(
        video,
        duration,
        tuple(_localization(record) for record in records),
        _filmstrip(video, duration, read),
    )


def _localization(record: Record) -> Localization:
    moments = tuple(Moment(found.start, found.end, found.score) for found in record.moments or ())
    failure = () if record.error is None else (record.error.what,)
    return Localization(
        record.query,
        moments,
        (*failure, *record.warnings),
        rewrites=record.rewrites,
        like=record.like,
    )


def _filmstrip(video: str, duration: float, read: Read) -> tuple[Thumbnail, ...]:
    if duration <= 0:
        return ()
    try:
        return read_filmstrip(video, duration, read=read)
    except Exception:
        # Show the answers even if the file cannot be read any more.
        if os.environ.get("VTLOC_DEBUG"):
            raise
        return ()
