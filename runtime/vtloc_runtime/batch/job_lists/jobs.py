"""Jobs: sentences and pictures to find in videos, from the command line or from lists.

A job is one question in one video. Its id is the same in every run, so that an interrupted run can
resume.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vtloc_runtime.batch.job_lists.folder_listing import (
    PICTURE_SUFFIXES,
    VIDEO_SUFFIXES,
    list_videos,
)
from vtloc_runtime.batch.job_lists.job_files import LIST_SUFFIXES, JobLine, is_address, read_list
from vtloc_runtime.errors import JobError, UsageError
from vtloc_runtime.localize.questions.question import Picture, Question
from vtloc_runtime.system.arguments import check_callable, check_kind, check_texts

__all__ = ["VIDEO_SUFFIXES", "Job", "VideoJobs", "group_by_video", "read_jobs", "read_videos"]

_LARGEST_PICTURE = 2**28
"""Largest picture whose content goes into a job's id, bytes."""


@dataclass(frozen=True, slots=True)
class Job:
    """One question to find in one video.

    Attributes:
        id: Stable id of the job, unique within a run.
        video: The video's path or address, as it was given.
        query: The sentence; empty where pictures alone ask.
        rewrites: Other wordings of the sentence.
        like: Paths of pictures that ask with it.
        pictures: The pictures themselves, where they are not the files that ``like`` names.
    """

    id: str
    video: str
    query: str
    rewrites: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()

    @classmethod
    def from_question(cls, video: str, question: Question) -> Self:
        """The job of asking one video a question, with the id that `read_jobs` gives it.

        Args:
            video: The video.
            question: What is asked.
        """
        sources = (picture.source for picture in question.pictures)
        shown = [one if isinstance(one, bytes) else os.fspath(one) for one in sources]
        name = job_id(video, question.sentence, question.rewrites, shown)
        return cls(
            name,
            video,
            question.sentence,
            question.rewrites,
            question.like,
            question.pictures,
        )

    @property
    def question(self) -> tuple[str | Picture, ...]:
        """The question, as ``Localizer.localize`` takes it."""
        pictures = self.pictures or tuple(Picture(path) for path in self.like)
        alone = not self.query and pictures
        return pictures if alone else (self.query, *self.rewrites, *pictures)


@dataclass(frozen=True, slots=True)
class VideoJobs:
    """The jobs that share one video, and so its encoding.

    Attributes:
        video: The video's path or address.
        jobs: The jobs, in their order.
    """

    video: str
    jobs: tuple[Job, ...]


def read_jobs(
    inputs: Sequence[str],
    queries: Sequence[str] = (),
    *,
    rewrites: Sequence[str] = (),
    like: Sequence[str] = (),
    videos: Path | None = None,
    notice: Callable[[str], None] | None = None,
    names: Mapping[str, str] | None = None,
) -> list[Job]:
    """Expand videos, folders, patterns and lists into jobs.

    Args:
        inputs: Paths of videos, folders, patterns such as ``clips/*.mp4``, or lists, as
            ``vtloc_runtime.batch.job_lists.job_files`` reads them.
        queries: Sentences for every video that has no question of its own.
        rewrites: Other wordings of the one sentence.
        like: Pictures that ask with each of these sentences, or alone.
        videos: Folder with the videos of a benchmark's annotations.
        notice: Called with a line about what was skipped.
        names: What to make ids of, where a video's path says nothing.

    A subfolder that cannot be read becomes a job that fails.

    Raises:
        JobError: A list cannot be read, or is empty.
        UsageError: A video has no sentence, a picture does not exist, or wordings are given of
            several sentences; or an argument is of another type.
    """
    check_texts(inputs, "inputs")
    check_texts(queries, "queries")
    check_texts(rewrites, "rewrites")
    check_texts(like, "like")
    if notice is not None:
        check_callable(notice, "notice")
    check_pictures(like)
    check_rewrites(queries, rewrites)
    jobs: list[Job] = []
    given: set[str] = set()
    repeated: Counter[str] = Counter()
    # Long lists name the same videos and sentences over and over.
    known: dict[str, str] = {}
    digests: dict[str, str] = {}
    for line in _lines(inputs, videos, notice):
        own = line.queries or line.like
        asked, pictures = (line.queries, line.like) if own else (tuple(queries), tuple(like))
        wordings = line.rewrites if own else tuple(rewrites)
        if not asked and not pictures:
            raise _no_sentence(line.video, inputs)
        video = known.setdefault(line.video, line.video)
        called = (names or {}).get(video, video)
        for index, query in enumerate(asked or ("",)):
            if line.id is not None:
                name = line.id if len(asked) < 2 else f"{line.id}.{index + 1}"
            elif (name := job_id(called, query, wordings, pictures, digests)) in given:
                repeated[name] += 1
                name = f"{name}-{repeated[name] + 1}"
            if name in given:
                raise JobError(f"two jobs have the id {name!r}", where=video)
            given.add(name)
            sentence = known.setdefault(query, query)
            jobs.append(Job(name, video, sentence, wordings, pictures))
    return jobs


def read_videos(
    inputs: Sequence[str],
    *,
    videos: Path | None = None,
    notice: Callable[[str], None] | None = None,
) -> list[str]:
    """Expand videos, folders, patterns and lists into videos, each once, in order.

    Args:
        inputs: As for ``read_jobs``; sentences in lists are ignored.
        videos: Folder with the videos of a benchmark's annotations.
        notice: Called with a line about what was skipped.

    Raises:
        JobError: A list cannot be read, or names no video.
        UsageError: ``inputs`` is something else than a list of texts.
    """
    check_texts(inputs, "inputs")
    return list(dict.fromkeys(line.video for line in _lines(inputs, videos, notice)))


def input_files(inputs: Iterable[str]) -> Iterator[str]:
    """The lists among the inputs, which no output may replace."""
    return (item for item in inputs if _is_list(item))


def group_by_video(jobs: Iterable[Job]) -> list[VideoJobs]:
    """Group jobs by video, videos in the order of their first job."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        check_kind(job, Job, "a job")
        groups.setdefault(job.video, []).append(job)
    return [VideoJobs(video, tuple(members)) for video, members in groups.items()]


def check_pictures(paths: Sequence[str]) -> None:
    """Refuse pictures that are not files.

    Args:
        paths: Their paths, as they were given with --like.

    Raises:
        UsageError: There is no such file.
    """
    for path in paths:
        if not os.path.isfile(path):
            raise UsageError(
                "the picture does not exist" if not os.path.lexists(path) else "is not a picture",
                where=path,
                remedy="Give --like the path of a JPEG, PNG or WebP file",
            )


def check_rewrites(queries: Sequence[str], rewrites: Sequence[str]) -> None:
    """Refuse wordings that are not those of one sentence.

    Args:
        queries: The sentences.
        rewrites: The wordings.

    Raises:
        UsageError: There is no sentence, or several.
    """
    if rewrites and len(queries) != 1:
        raise UsageError(
            f"rewrites are other wordings of one sentence, and there are {len(queries)}",
            remedy="Give one sentence with them; others are questions of their own",
        )


def job_id(
    video: str,
    query: str,
    rewrites: Sequence[str] = (),
    pictures: Sequence[str | bytes] = (),
    digests: dict[str, str] | None = None,
) -> str:
    """The id of a job that has no name: what it asks, and what its pictures show today.

    Args:
        video: The video, as it was given.
        query: The sentence.
        rewrites: Its other wordings.
        pictures: Paths of its pictures, or their bytes.
        digests: Hashes of pictures by path, so that each is read once.
    """
    digests = {} if digests is None else digests
    shown = (
        hashlib.sha256(one).hexdigest()
        if isinstance(one, bytes)
        else digests.get(one) or _digest(one, digests)
        for one in pictures
    )
    parts = [video, query, *(f"or {text}" for text in rewrites), *(f"like {one}" for one in shown)]
    # Surrogates stand for bytes of file names that are not text.
    content = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(content).hexdigest()[:16]


def _digest(path: str, digests: dict[str, str]) -> str:
    """The hash of a picture's content; its path where that cannot be read as a file's."""
    found = path
    # Reading a device or a pipe might never end; such a picture is refused when it is asked with.
    with contextlib.suppress(OSError, ValueError):
        if os.path.isfile(path) and os.path.getsize(path) <= _LARGEST_PICTURE:
            with open(path, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
    digests[path] = found
    return found


def _no_sentence(video: str, inputs: Sequence[str]) -> UsageError:
    """The error of a video without a sentence, which may have been given without -q."""
    stray = [word for word in inputs if _looks_like_a_sentence(word)]
    if stray and len(stray) < len(inputs):
        meant = shlex.join([word for word in inputs if word not in stray])
        asked = " ".join(f"-q {shlex.quote(word)}" for word in stray)
        remedy = f"Did you mean: vtloc-run {meant} {asked}"
    else:
        remedy = 'Add one with -q "sentence", or a picture with --like PATH'
    return UsageError("no sentence to find", where=video, remedy=remedy)


def _looks_like_a_sentence(word: str) -> bool:
    path = Path(word)
    return not (path.suffix or os.sep in word or is_address(word) or os.path.exists(word))


def _is_list(item: str) -> bool:
    return not is_address(item) and Path(item).suffix.lower() in LIST_SUFFIXES


def _lines(
    inputs: Sequence[str], videos: Path | None, notice: Callable[[str], None] | None
) -> Iterator[JobLine]:
    for item in inputs:
        if is_address(item):
            yield JobLine(item, ())
        elif os.path.isdir(item):
            yield from _folder(item, notice)
        elif _is_list(item):
            yield from read_list(Path(item), videos=videos, notice=notice)
        elif not os.path.lexists(item) and glob.has_magic(item):
            yield from _pattern(item)
        else:
            yield JobLine(item, ())


def _pattern(pattern: str) -> Iterator[JobLine]:
    # A pattern is relative to the current folder, which Path.glob cannot say.
    names = sorted(glob.glob(pattern, recursive=True))
    files = [name for name in names if not os.path.isdir(name)]
    if not files:
        raise JobError(
            "the pattern matches folders only" if names else "no file matches the pattern",
            where=pattern,
        )
    return (JobLine(name, ()) for name in files)


def _folder(folder: str, notice: Callable[[str], None] | None) -> Iterator[JobLine]:
    listing = list_videos(folder)
    pictures = {s: n for s, n in listing.skipped.items() if s in PICTURE_SUFFIXES}
    if not listing.videos and not listing.unreadable:
        others = _counted(listing.skipped)
        raise JobError(
            "the folder holds no video" + (f", but {others}" if others else ""),
            where=folder,
            remedy="In folders, videos are known by their endings: "
            f"{' '.join(sorted(VIDEO_SUFFIXES))}. Name other files one by one",
        )
    if pictures and notice is not None:
        notice(f"{folder}: skipped {_counted(pictures)}; name those that are videos")
    return (JobLine(name, ()) for name in (*listing.videos, *listing.unreadable))


def _counted(skipped: Mapping[str, int]) -> str:
    """File counts by ending, the most frequent first: ``12 .srt, 3 .txt``."""
    ordered = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {suffix or 'without ending'}" for suffix, count in ordered[:8])
