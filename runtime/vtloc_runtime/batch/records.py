"""What a run leaves behind: one record a job, one JSON object a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from vtloc_runtime.errors import OutputError, VtlocError

if TYPE_CHECKING:
    from vtloc_runtime.batch.jobs import Job
    from vtloc_runtime.localize.encoded_video import EncodedVideo
    from vtloc_runtime.localize.moments import Localization

_MILLISECONDS = 3
_SCORE_DIGITS = 4


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


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of one job: moments, or an error.

    Attributes:
        id: The job's id.
        video: The video, as it was given.
        query: The sentence, as it was given.
        run: What the answers depend on, as a short hash: bundle, backend, options.
        moments: Best first; empty where the sentence describes no moment of the video; absent
            where the job failed.
        error: Why the job failed; absent where it did not.
        duration: The video's length, seconds.
        backend: What ran the networks, and where.
        warnings: What the reader of the answer should know.
        timings: Seconds spent on the video, by stage; its jobs share them.
    """

    id: str
    video: str
    query: str
    run: str = ""
    moments: tuple[FoundMoment, ...] | None = None
    error: Failure | None = None
    duration: float | None = None
    backend: str = ""
    warnings: tuple[str, ...] = ()
    timings: dict[str, float] = {}

    @property
    def failed(self) -> bool:
        """Whether the job has no answer."""
        return self.error is not None


def answer_record(
    job: Job,
    localization: Localization,
    video: EncodedVideo,
    *,
    backend: str,
    run: str,
    timings: dict[str, float],
) -> Record:
    """The record of a job that was answered; times to the millisecond."""
    return Record(
        id=job.id,
        video=job.video,
        query=job.query,
        run=run,
        moments=tuple(
            FoundMoment(
                start=round(moment.start, _MILLISECONDS),
                end=round(moment.end, _MILLISECONDS),
                score=round(moment.score, _SCORE_DIGITS),
            )
            for moment in localization.moments
        ),
        duration=round(video.duration, _MILLISECONDS),
        backend=backend,
        warnings=(*video.warnings, *localization.warnings),
        timings={stage: round(seconds, _MILLISECONDS) for stage, seconds in timings.items()},
    )


def failure_record(job: Job, error: Exception, *, run: str) -> Record:
    """The record of a job that failed."""
    return Record(id=job.id, video=job.video, query=job.query, run=run, error=describe(error))


def describe(error: Exception) -> Failure:
    """An error as plain values; one that nobody foresaw is of the kind ``internal``."""
    if isinstance(error, VtlocError):
        return Failure(kind=error.kind, what=error.what, where=error.where, remedy=error.remedy)
    what = next(iter(str(error).splitlines()), "") or "no message"
    return Failure(kind="internal", what=f"{type(error).__name__}: {what}")


def encode_record(record: Record) -> bytes:
    """One line of JSON, its line feed included."""
    return msgspec.json.encode(_without_surrogates(record)) + b"\n"


def decode_record(line: bytes, *, where: object = None) -> Record:
    """Read one line back.

    Raises:
        OutputError: It is no record.
    """
    try:
        return msgspec.json.decode(line, type=Record)
    except msgspec.MsgspecError as error:
        raise OutputError(f"the line is no result: {error}", where=where) from error


def exit_code(records: Sequence[Record], codes: dict[str, int]) -> int:
    """0 where all jobs were answered, a failure's own code where all failed alike, else 1.

    Args:
        records: Every record of the run.
        codes: Exit code by kind of error.
    """
    kinds = {record.error.kind for record in records if record.error is not None}
    if not kinds:
        return 0
    if len(kinds) == 1 and all(record.failed for record in records):
        return codes.get(kinds.pop(), 1)
    return 1


def _without_surrogates(record: Record) -> Record:
    """File names may hold bytes that are no text; JSON has no place for them."""

    def clean(value: Any) -> Any:
        return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value

    changes = {name: clean(getattr(record, name)) for name in ("id", "video", "query")}
    if record.error is not None:
        error = record.error
        changes["error"] = Failure(
            **{name: clean(getattr(error, name)) for name in error.__struct_fields__}
        )
    return msgspec.structs.replace(record, **changes)
