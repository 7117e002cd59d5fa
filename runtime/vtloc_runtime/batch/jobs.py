"""What to find where: sentences and videos, from the command line or from lists.

A job is one sentence in one video. Its id stays the same from run to run, so that a run that was
cut off can go on.
"""

from __future__ import annotations

import glob
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vtloc_runtime.batch.job_files import LIST_SUFFIXES, VIDEO_SUFFIXES, JobLine, read_list
from vtloc_runtime.errors import JobError, UsageError

__all__ = ["VIDEO_SUFFIXES", "Job", "VideoJobs", "group_by_video", "read_jobs", "read_videos"]


@dataclass(frozen=True, slots=True)
class Job:
    """One sentence to find in one video.

    Attributes:
        id: Stable name of the job, unique within a run.
        video: The video's path or address, as it was given.
        query: The sentence.
    """

    id: str
    video: str
    query: str


@dataclass(frozen=True, slots=True)
class VideoJobs:
    """The jobs that share one video, and so its encoding.

    Attributes:
        video: The video's path or address.
        jobs: In the order in which they were asked.
    """

    video: str
    jobs: tuple[Job, ...]


def read_jobs(
    inputs: Sequence[str], queries: Sequence[str] = (), *, videos: Path | None = None
) -> list[Job]:
    """Expand videos, folders, patterns and lists into jobs.

    Args:
        inputs: Paths of videos, folders of them, patterns such as ``clips/*.mp4``, or lists, as
            ``vtloc_runtime.batch.job_files`` reads them.
        queries: Sentences for every video that brings none of its own.
        videos: Where the videos of a benchmark's annotations lie.

    Raises:
        JobError: A list cannot be read, or says nothing that could be searched for.
        UsageError: A video comes without a sentence.
    """
    jobs: list[Job] = []
    given: Counter[str] = Counter()
    repeated: Counter[tuple[str, str]] = Counter()
    for line in _lines(inputs, videos):
        asked = line.queries or tuple(queries)
        if not asked:
            raise UsageError(
                "no sentence to look for", where=line.video, remedy='Add one with -q "sentence"'
            )
        for index, query in enumerate(asked):
            if line.id is None:
                repeated[line.video, query] += 1
                name = _job_id(line.video, query, repeated[line.video, query])
            else:
                name = line.id if len(asked) == 1 else f"{line.id}.{index + 1}"
            given[name] += 1
            if given[name] > 1:
                raise JobError(f"the id {name!r} stands twice", where=line.video)
            jobs.append(Job(name, line.video, query))
    return jobs


def read_videos(inputs: Sequence[str], *, videos: Path | None = None) -> list[str]:
    """Expand videos, folders, patterns and lists into videos, each once, in order.

    Args:
        inputs: As ``read_jobs`` takes them; sentences in lists are passed over.
        videos: Where the videos of a benchmark's annotations lie.

    Raises:
        JobError: A list cannot be read, or names no video.
    """
    return list(dict.fromkeys(line.video for line in _lines(inputs, videos)))


def group_by_video(jobs: Iterable[Job]) -> list[VideoJobs]:
    """Put jobs of one video together, videos in the order of their first job."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.video, []).append(job)
    return [VideoJobs(video, tuple(members)) for video, members in groups.items()]


def _job_id(video: str, query: str, occurrence: int) -> str:
    # Surrogates stand for bytes of file names that are no text.
    content = f"{video}\0{query}".encode("utf-8", "surrogatepass")
    name = hashlib.sha256(content).hexdigest()[:16]
    return name if occurrence == 1 else f"{name}-{occurrence}"


def _lines(inputs: Sequence[str], videos: Path | None) -> Iterator[JobLine]:
    for item in inputs:
        path = Path(item)
        if path.is_dir():
            yield from _folder(path)
        elif path.suffix.lower() in LIST_SUFFIXES:
            yield from read_list(path, videos=videos)
        elif not path.exists() and glob.has_magic(item):
            # A pattern is relative to where the user stands, which Path.glob cannot say.
            found = sorted(glob.glob(item, recursive=True))  # noqa: PTH207 - see above
            if not found:
                raise JobError("no file matches the pattern", where=item)
            yield from (JobLine(name, ()) for name in found if Path(name).is_file())
        else:
            yield JobLine(item, ())


def _folder(folder: Path) -> Iterator[JobLine]:
    try:
        files = sorted(
            file
            for file in folder.rglob("*")
            if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()
        )
    except OSError as error:
        raise JobError(f"cannot list the folder: {error.strerror}", where=folder) from error
    if not files:
        raise JobError(
            "the folder holds no video",
            where=folder,
            remedy=f"Videos are told by their endings: {' '.join(sorted(VIDEO_SUFFIXES))}",
        )
    return (JobLine(str(file), ()) for file in files)
