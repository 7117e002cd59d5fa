"""Clips of the moments: which, under what names, and how they are cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from vtloc_runtime.errors import OutputError, VideoError
from vtloc_runtime.handover.file_names import CLIP_TEMPLATE, fill_template, unique_names
from vtloc_runtime.video.cutting import CutOptions, Muxer

if TYPE_CHECKING:
    from pathlib import Path

    from vtloc_runtime.batch.results.records import Record
    from vtloc_runtime.handover.folder import OutputFolder
    from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

_MUXERS: Mapping[str, tuple[Muxer, str]] = {
    ".mp4": ("mp4", ".mp4"),
    ".m4v": ("mp4", ".mp4"),
    ".mov": ("mov", ".mov"),
    ".webm": ("webm", ".webm"),
}
_ANY: tuple[Muxer, str] = ("matroska", ".mkv")
_ENCODED: tuple[Muxer, str] = ("mp4", ".mp4")


@dataclass(frozen=True, slots=True)
class ClipJob:
    """A clip to cut.

    Attributes:
        video: The film's path.
        name: The clip's file name.
        options: What to cut.
    """

    video: str
    name: str
    options: CutOptions


@dataclass(frozen=True, slots=True)
class ClipOutcome:
    """What became of a clip.

    Attributes:
        job: The clip that was wanted.
        path: Where it was written; None if it was not.
        error: Why it was not; None if it was.
    """

    job: ClipJob
    path: Path | None = None
    error: VideoError | OutputError | None = None


def plan_clips(
    records: Sequence[Record],
    *,
    template: str = CLIP_TEMPLATE,
    exact: bool = False,
    paths: Mapping[str, str] | None = None,
) -> list[ClipJob]:
    """A clip for each moment, in the order of the records.

    Args:
        records: The records.
        template: The clips' names; `CLIP_FIELDS` in braces.
        exact: Encode again, so that each clip begins and ends with the right frame.
        paths: The path of a video by its name in the records, where the two differ.

    Raises:
        UsageError: The template cannot be filled.
    """
    found = [
        (record, rank, moment)
        for record in records
        for rank, moment in enumerate(record.moments or (), start=1)
    ]
    named = unique_names(
        fill_template(
            template,
            {
                "film": PurePath(record.video).stem,
                "query": record.asked,
                "rank": rank,
                "start": f"{moment.start:.3f}",
                "end": f"{moment.end:.3f}",
                "score": f"{moment.score:.2f}",
                "id": record.id,
            },
        )
        for record, rank, moment in found
    )
    jobs = []
    for (record, _, moment), name in zip(found, named, strict=True):
        video = (paths or {}).get(record.video, record.video)
        muxer, suffix = _ENCODED if exact else _MUXERS.get(PurePath(video).suffix.lower(), _ANY)
        options = CutOptions(moment.start, moment.end, exact=exact, muxer=muxer)
        jobs.append(ClipJob(video, f"{name}{suffix}", options))
    return jobs


def cut_clips(
    jobs: Sequence[ClipJob], folder: OutputFolder, decoder: DecoderProcess
) -> Iterator[ClipOutcome]:
    """Cut clips one after the other; what fails costs its own clip.

    Args:
        jobs: The clips.
        folder: Where they go.
        decoder: The process that reads the films.
    """
    for job in jobs:
        try:
            folder.check(job.name)
            clip = decoder.cut(job.video, job.options)
            yield ClipOutcome(job, folder.write(job.name, clip.content))
        except (VideoError, OutputError) as error:
            yield ClipOutcome(job, error=error)
