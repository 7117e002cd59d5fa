"""Asks films, the likeliest first, until no other can be among the best."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import msgspec

from vtloc_runtime.batch.answer import AnswerVideos
from vtloc_runtime.batch.job_lists.jobs import Job, VideoJobs
from vtloc_runtime.localize.limits import check_moments
from vtloc_runtime.system.arguments import check_flags, check_real, check_whole
from vtloc_runtime.system.processors import available_processors
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

if TYPE_CHECKING:
    from vtloc_runtime.batch.results.records import Record
    from vtloc_runtime.batch.workers.worker_pool import PipelineOptions
    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.localize.questions.question import EncodedQuestion, Question
    from vtloc_runtime.video.isolation.chunks import Read

_MOST_FILMS = 10**9
_ROUNDING = 1e-4
"""By how much the presence in a record may differ from the exact one."""


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What a search returns.

    Attributes:
        top: Films to return for each question, at most.
        moments: Moments to return for each film, at most.
        min_score: Leave out moments with a lower score, and films without any other.
        found_only: Leave out films that do not show what is asked for.

    Raises:
        UsageError: An option is of another type, or out of range.
    """

    top: int = 20
    moments: int = 1
    min_score: float = 0.0
    found_only: bool = False

    def __post_init__(self) -> None:
        check_whole(self.top, "top", least=1, most=_MOST_FILMS)
        check_moments(self.moments)
        check_real(self.min_score, "min_score", least=0, most=1)
        check_flags(found_only=self.found_only)

    def keeps(self, record: Record) -> Record | None:
        """The record without what is left out; None if nothing remains."""
        if self.min_score > 0:
            moments = tuple(one for one in record.moments or () if one.score >= self.min_score)
            record = msgspec.structs.replace(record, moments=moments)
        wanted = self.found_only or self.min_score > 0
        return None if wanted and not record.moments else record


@dataclass
class FilmSearch:
    """Asks films, several at a time; a context manager.

    Attributes:
        localizer: Finds moments.
        cache: Keeps encoded films.
        pipeline: Limits of the decoders, for films that have left the cache.
        options: What to return.
        notice: Called with a line for people about each film that cannot be read.
    """

    localizer: Localizer
    cache: FeatureCache
    pipeline: PipelineOptions
    options: SearchOptions
    notice: Callable[[str], None]
    readers: queue.SimpleQueue[Read] = field(default_factory=queue.SimpleQueue)

    def __enter__(self) -> Self:
        count = max(1, available_processors())
        self._decoders = [DecoderProcess(self.pipeline.limits) for _ in range(count)]
        for decoder in self._decoders:
            self.readers.put(decoder.read)
        self._pool = ThreadPoolExecutor(count)
        self._at_once = count
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        for decoder in self._decoders:
            decoder.close()

    def encode(self, asked: Sequence[Question]) -> list[EncodedQuestion]:
        """Encode questions, their pictures too."""
        with self._reader() as read:
            return self.localizer.questions.encode(asked, read)

    def best(self, question: Question, candidates: Sequence[tuple[float, str]]) -> list[Record]:
        """The records of the films with the highest presence.

        Args:
            question: What is asked.
            candidates: An upper bound of each film's presence, and the film; highest first.
        """
        found: list[tuple[float, Record]] = []
        asked = 0
        while asked < len(candidates):
            enough = len(found) >= self.options.top
            if enough and candidates[asked][0] < found[self.options.top - 1][0] - _ROUNDING:
                break
            size = max(self._at_once, self.options.top - len(found))
            part = candidates[asked : asked + size]
            records = self._pool.map(lambda one: self._ask(one[1], question), part)
            for (bound, _), record in zip(part, records, strict=True):
                # Without presence the bound is what films are ranked by.
                presence = bound if record.presence is None else record.presence
                if record.error is None:
                    found.append((presence, record))
                else:
                    self.notice(f"{record.video}: {record.error.what}")
            found.sort(key=lambda one: -one[0])
            asked += len(part)
        kept = (self.options.keeps(record) for _, record in found[: self.options.top])
        return [record for record in kept if record is not None]

    def _ask(self, video: str, question: Question) -> Record:
        work = AnswerVideos(self.options.moments, "", self.cache)
        jobs = VideoJobs(video, (Job.from_question(video, question),))
        with self._reader() as read:
            return work.do(self.localizer, jobs, read)[0]

    @contextmanager
    def _reader(self) -> Iterator[Read]:
        read = self.readers.get()
        try:
            yield read
        finally:
            self.readers.put(read)
