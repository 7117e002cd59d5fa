"""Records: the result of each job, one JSON object per line."""

from __future__ import annotations

import math
import os
import re
import stat
import zlib
from typing import TYPE_CHECKING

import msgspec

from vtloc_runtime.errors import BackendError, NetworkError, OutputError, VtlocError
from vtloc_runtime.localize.spans.moments import asked_text
from vtloc_runtime.system.text import ascii_json_controls, unicode_name

if TYPE_CHECKING:
    from vtloc_runtime.batch.job_lists.jobs import Job
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.spans.moments import Localization

_MILLISECONDS = 3
_SCORE_DIGITS = 4
_MICROSECONDS = 6
PASSING_KINDS = frozenset({NetworkError.kind, BackendError.kind})
"""Kinds of errors whose cause is neither the video nor the sentence."""

_LONGEST = 10.0**9
"""Seconds of a video at most; what lies beyond is damage."""

_CHECK = re.compile(rb',"check":"([0-9a-f]{8})"\}')
_CHECK_LENGTH = len(b',"check":"00000000"}')


class FoundMoment(msgspec.Struct, frozen=True, kw_only=True):
    """A moment, in seconds.

    Attributes:
        start: When it begins.
        end: When it ends.
        score: How sure the localizer is, 0 to 1.
    """

    start: float
    end: float
    score: float


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job has no answer.

    Attributes:
        kind: The error's family, such as ``video`` or ``query``.
        what: What went wrong.
        where: The thing concerned.
        remedy: What can be done about it.
    """

    kind: str
    what: str
    where: str | None = None
    remedy: str | None = None


class FileState(msgspec.Struct, frozen=True):
    """Identifies a version of a video file.

    Attributes:
        size: Bytes.
        modified: Time of the last change, seconds since 1970, to the microsecond.
    """

    size: int
    modified: float

    @classmethod
    def read(cls, video: str) -> FileState | None:
        """The state of a file; None if it is not a regular file."""
        try:
            state = os.stat(video)
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(state.st_mode):
            return None
        return cls(state.st_size, round(state.st_mtime_ns / 1e9, _MICROSECONDS))


class QuickLook(msgspec.Struct, frozen=True, kw_only=True):
    """What a quick search has looked at.

    Attributes:
        looks: Pictures that were looked at, keyframes among them.
        frames: Frames of the whole video.
        seen: Where every frame was looked at: first and last second of each stretch. Elsewhere
            keyframes stand for the frames around them.
    """

    looks: int
    frames: int
    seen: tuple[tuple[float, float], ...]


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of one job: moments, or an error.

    Attributes:
        id: The job's id.
        video: The video, as it was given.
        query: The sentence, as it was given; empty where pictures alone asked.
        rewrites: Other wordings of the sentence that were asked with it.
        like: Paths of the pictures that were asked with it.
        run: Fingerprint of everything that answers depend on: bundle, backend, options.
        moments: Best first; empty for "no such moment"; absent if the job failed.
        error: Why the job failed; absent if it did not.
        presence: By how much the sentence stands out from ordinary ones in this video; videos can
            be ranked by it. Absent where the bundle cannot tell.
        duration: The video's length, seconds.
        size: The video file's size, bytes; absent if it is not a file.
        modified: Time of the file's last change, seconds since 1970, to the microsecond.
        backend: The backend and device of the networks.
        warnings: Warnings about the video, the sentence or the answer.
        timings: Seconds spent on the video, by stage; shared by its jobs.
        quick: What was looked at; absent if that is the whole video.
    """

    id: str
    video: str
    query: str
    rewrites: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    run: str = ""
    moments: tuple[FoundMoment, ...] | None = None
    error: Failure | None = None
    presence: float | None = None
    duration: float | None = None
    size: int | None = None
    modified: float | None = None
    backend: str = ""
    warnings: tuple[str, ...] = ()
    timings: dict[str, float] = {}
    quick: QuickLook | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that JSON cannot hold."""
        numbers: list[float | None] = [self.duration, self.modified, *self.timings.values()]
        for moment in self.moments or ():
            numbers += (moment.start, moment.end, moment.score)
        if not all(number is None or math.isfinite(number) for number in numbers):
            raise ValueError("a number is not finite")

    @property
    def asked(self) -> str:
        """The question in one line, for people."""
        return asked_text(self.query, self.rewrites, self.like)

    @property
    def failed(self) -> bool:
        """Whether the job has no answer."""
        return self.error is not None

    def is_outdated(self, now: FileState | None) -> bool:
        """Whether the video file has changed since the record was made.

        A deleted file does not invalidate an answer. A new file invalidates a failure.

        Args:
            now: The file's state now; None if there is no file.
        """
        if now is None:
            return False
        if self.size is None or self.modified is None:
            return self.failed
        return (self.size, self.modified) != (now.size, now.modified)

    @property
    def final(self) -> bool:
        """Whether the outcome is due to the job itself.

        If a network or device failed, the job is repeated.
        """
        return self.error is None or self.error.kind not in PASSING_KINDS


def answer_record(
    job: Job,
    localization: Localization,
    video: EncodedVideo,
    *,
    backend: str,
    run: str,
    timings: dict[str, float],
    state: FileState | None = None,
) -> Record:
    """The record of an answered job, with times in milliseconds.

    Raises:
        NetworkError: A time or score is not finite.
    """
    try:
        return msgspec.structs.replace(
            _asked(job, run, state),
            moments=tuple(
                FoundMoment(
                    start=round(moment.start, _MILLISECONDS),
                    end=round(moment.end, _MILLISECONDS),
                    score=round(moment.score, _SCORE_DIGITS),
                )
                for moment in localization.moments
            ),
            presence=None
            if localization.presence is None
            else round(localization.presence, _SCORE_DIGITS),
            duration=round(video.duration, _MILLISECONDS),
            backend=backend,
            warnings=tuple(map(unicode_name, (*video.warnings, *localization.warnings))),
            timings={stage: round(seconds, _MILLISECONDS) for stage, seconds in timings.items()},
            quick=_quick_look(video),
        )
    except (ValueError, OverflowError) as error:
        raise NetworkError(f"the answer is not valid: {error}", where=job.video) from error


def _quick_look(video: EncodedVideo) -> QuickLook | None:
    if video.seen is None:
        return None
    stretches = video.seen.stretches(video.times, video.duration)
    return QuickLook(
        looks=video.seen.looks,
        frames=len(video),
        seen=tuple((round(a, _MILLISECONDS), round(b, _MILLISECONDS)) for a, b in stretches),
    )


def failure_record(
    job: Job, error: Exception, *, run: str, state: FileState | None = None
) -> Record:
    """The record of a job that failed."""
    return msgspec.structs.replace(_asked(job, run, state), error=describe(error))


def _asked(job: Job, run: str, state: FileState | None) -> Record:
    """What a record says of its job, before the outcome."""
    return Record(
        id=unicode_name(job.id),
        video=unicode_name(job.video),
        query=unicode_name(job.query),
        rewrites=tuple(map(unicode_name, job.rewrites)),
        like=tuple(map(unicode_name, job.like)),
        run=run,
        size=None if state is None else state.size,
        modified=None if state is None else state.modified,
    )


def describe(error: Exception) -> Failure:
    """An error as plain values; unexpected errors have the kind ``internal``."""
    if isinstance(error, MemoryError):
        error = BackendError("there is not enough memory", remedy="Use fewer --workers")
    if isinstance(error, VtlocError):
        return Failure(
            kind=error.kind,
            what=unicode_name(error.what),
            where=None if error.where is None else unicode_name(error.where),
            remedy=None if error.remedy is None else unicode_name(error.remedy),
        )
    what = next(iter(str(error).splitlines()), "") or "no message"
    return Failure(kind="internal", what=unicode_name(f"{type(error).__name__}: {what}"))


def encode_record(record: Record) -> bytes:
    """One line of JSON, its line feed included.

    The last field, ``check``, is the CRC-32 of the line before it. Control characters and line
    separators are escaped.
    """
    content = msgspec.json.encode(record)
    if not content.isascii() or b"\x7f" in content:
        content = ascii_json_controls(content.decode()).encode()
    body = content[:-1]
    return body + b',"check":"%08x"}\n' % zlib.crc32(body)


def decode_record(line: bytes, *, where: object = None, checked: bool = False) -> Record:
    """Read one line back.

    Args:
        line: With or without its line feed.
        where: The file and line, for error messages.
        checked: Refuse lines without a checksum, which another program may have written.

    Raises:
        OutputError: It is not a record, or does not match its checksum.
    """
    line = line.rstrip(b"\r\n")
    check = _CHECK.fullmatch(line, max(0, len(line) - _CHECK_LENGTH))
    whole = check is not None and int(check[1], 16) == zlib.crc32(line[: check.start()])
    if not whole and (checked or check is not None):
        raise OutputError("the line is damaged: its checksum does not match", where=where)
    try:
        record = msgspec.json.decode(line, type=Record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise OutputError(f"the line is not a result: {error}", where=where) from error
    if (fault := _fault(record)) is not None:
        raise OutputError(fault, where=where)
    return record


def _fault(record: Record) -> str | None:
    """What no run would have written; a line may come from somebody else."""
    if (record.moments is None) == (record.error is None):
        return "a result has either moments or an error"
    for moment in record.moments or ():
        if not 0 <= moment.start <= moment.end <= _LONGEST:
            return f"a moment from {moment.start:g} to {moment.end:g} s is not possible"
        if not 0 <= moment.score <= 1:
            return f"a score of {moment.score:g} is not possible"
    if record.duration is not None and not 0 <= record.duration <= _LONGEST:
        return f"a video of {record.duration:g} s is not possible"
    return None


def is_record(line: bytes) -> bool:
    """Whether a line is a record that matches its checksum."""
    try:
        decode_record(line, checked=True)
    except OutputError:
        return False
    return True
