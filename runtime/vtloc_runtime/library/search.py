"""Search a library: the films that show a sentence most clearly, and the moments in them."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import msgspec
import numpy as np

import vtloc_runtime
from vtloc_runtime.batch.answer import AnswerVideos
from vtloc_runtime.batch.job_lists.jobs import Job, VideoJobs, read_videos
from vtloc_runtime.batch.workers.worker_pool import PipelineOptions
from vtloc_runtime.errors import OutputError
from vtloc_runtime.library.closest import closest_cosines
from vtloc_runtime.library.index import LibraryIndex, Snapshot
from vtloc_runtime.library.ranking import Ranking
from vtloc_runtime.library.update import FilmReader, Update, update_index
from vtloc_runtime.localize.questions.question import read_questions
from vtloc_runtime.system.processors import available_processors
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

if TYPE_CHECKING:
    from pathlib import Path

    from vtloc_runtime.batch.results.records import Failure, Record
    from vtloc_runtime.batch.run import Progress
    from vtloc_runtime.library.catalogue import Film
    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.localize.questions.question import EncodedQuestion, Query, Question
    from vtloc_runtime.video.isolation.chunks import Read

FOLDER = "libraries"
"""The folder of indexes, in the folder of the feature cache."""

_AT_ONCE = 16
"""Questions that share a pass over the index."""

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
    """

    top: int = 20
    moments: int = 1
    min_score: float = 0.0
    found_only: bool = False

    def keeps(self, record: Record) -> Record | None:
        """The record without what is left out; None if nothing remains."""
        if self.min_score > 0:
            moments = tuple(one for one in record.moments or () if one.score >= self.min_score)
            record = msgspec.structs.replace(record, moments=moments)
        wanted = self.found_only or self.min_score > 0
        return None if wanted and not record.moments else record


class Library:
    """Films that are searched together. Safe to use from several threads.

    Args:
        places: What the library is known by: its folders, lists or films.
        localizer: Encodes films and finds moments.
        cache: Keeps encoded films; the index lies beside them.
        pipeline: How films are encoded.
        listing: Lists the films; None takes every film that ``places`` name.
        notice: Called with lines for people: files that were skipped, an index that was repaired.

    Raises:
        BackendError: The bundle's encoders share no space, so films cannot be ranked.
    """

    def __init__(
        self,
        places: Sequence[str],
        localizer: Localizer,
        cache: FeatureCache,
        *,
        pipeline: PipelineOptions | None = None,
        listing: Callable[[], list[str]] | None = None,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        self._listing = listing or (lambda: read_videos(places, notice=self._notice))
        self._localizer = localizer
        self._cache = cache
        self._pipeline = pipeline or PipelineOptions()
        self._notice = notice or (lambda _line: None)
        self._ranking = Ranking(localizer.bundle)
        self._reader = FilmReader(localizer, cache, self._ranking)
        signature = _signature(localizer, self._ranking)
        self._index = LibraryIndex(
            _index_folder(cache, places, signature),
            signature,
            self._ranking.width,
            notice=self._notice,
        )
        # One value, so that a search in another thread sees films and frames that belong together.
        self._state = (self._index.read(), Update([], {}, [], []))
        self._updating = threading.Lock()

    @property
    def folder(self) -> Path:
        """Where the index lies."""
        return self._index.folder

    @property
    def films(self) -> dict[str, Film]:
        """The films that were found at the last update, those that cannot be read included."""
        return self._state[1].films

    @property
    def waiting(self) -> list[str]:
        """Films that are not in the index yet: an update is in progress, or was stopped."""
        return self._state[1].changed

    @property
    def failures(self) -> dict[str, Failure]:
        """Why films cannot be read, by film."""
        return {video: film.failure for video, film in self.films.items() if film.failure}

    def changes(self) -> Update:
        """List the films, and compare them with the index.

        Raises:
            JobError: The library cannot be listed.
        """
        return Update.between(self._state[0], self._listing())

    def update(
        self,
        changes: Update | None = None,
        *,
        progress: Progress | None = None,
        done: Callable[[str], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        """Bring the index up to date: encode what is new or has changed, drop what is gone.

        Args:
            changes: What `changes` gave a moment ago; None looks again.
            progress: Called with a film and the time of its last encoded frame, from any thread.
            done: Called with each film that was read.
            stop: Called before each film; once it returns True, the rest is left for later.

        Raises:
            JobError: The library cannot be listed.
            OutputError: The index or the cache cannot be written.
            BackendError: The backend fails again and again.
        """
        with self._updating:
            snapshot = self._state[0]
            update = changes or self.changes()
            # Searches in other threads need not wait for what is new.
            self._state = snapshot, update

            def show(part: Snapshot) -> None:
                self._state = part, _outcome(part, update)

            if update.changed or update.gone:
                snapshot = update_index(
                    self._index,
                    snapshot,
                    update,
                    self._reader,
                    pipeline=self._pipeline,
                    progress=progress,
                    done=done,
                    written=show,
                    stop=stop,
                )
            show(snapshot)
            self._check_cache()

    def _check_cache(self) -> None:
        """Say so if the cache cannot hold what answers come from."""
        width = self._localizer.bundle.manifest.networks["visual"].dims.get("feature", 0)
        rows = self._state[0].catalogue.live_rows()
        needed = rows * width * np.dtype(np.float32).itemsize
        if needed > self._cache.bound:
            self._notice(
                f"the films' features take {needed / 2**30:.1f} GiB and the cache holds "
                f"{self._cache.bound / 2**30:.1f}: a film that is found may have to be encoded "
                "again. Raise --cache-size"
            )

    def search(
        self,
        queries: Query | Iterable[Query],
        options: SearchOptions | None = None,
    ) -> Iterator[list[Record]]:
        """Search the films that are in the index.

        Args:
            queries: One question, or several in a list, as ``Localizer.localize`` takes them.
            options: What to return.

        Yields:
            The records of one question, the film that shows it most clearly first. Each is the
            answer that asking the film alone gives.

        Raises:
            QueryError: A sentence cannot be searched for, or a picture cannot be read.
            FeatureError: The index is damaged.
        """
        chosen = options or SearchOptions()
        asked, _ = read_questions(queries)
        snapshot, update = self._state
        films = [(video, film) for video, film in update.films.items() if film.rows is not None]
        entries = [film for _, film in films]
        ranges = [film.rows for _, film in films if film.rows is not None]
        with _Questions(
            self._localizer,
            self._cache,
            self._pipeline,
            chosen,
            self._notice,
        ) as questions:
            encoded = questions.encode(asked)
            for top in range(0, len(encoded), _AT_ONCE):
                part = encoded[top : top + _AT_ONCE]
                vectors = [self._ranking.vector(one) for one in part]
                cosines = closest_cosines(snapshot.table, ranges, np.array(vectors))
                for row, question in enumerate(part):
                    bounds = self._ranking.bounds(question, cosines[row], entries)
                    candidates = [
                        (float(bounds[number]), films[number][0])
                        for number in np.argsort(-bounds, kind="stable")
                    ]
                    yield questions.best(question.question, candidates)


@dataclass
class _Questions:
    """Asks films, several at a time."""

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


def _outcome(snapshot: Snapshot, before: Update) -> Update:
    """The films of the listing after an update."""
    after = Update.between(snapshot, before.videos)
    films = dict(after.films)
    waiting = []
    for video in after.changed:
        # What changed a moment ago, or failed for a passing reason, has no lasting entry.
        film = snapshot.entry(video)
        if film is not None and video in before.changed:
            films[video] = film
        else:
            waiting.append(video)
    return Update(before.videos, films, waiting, after.gone)


def _signature(localizer: Localizer, ranking: Ranking) -> str:
    # Another version may judge presence in another way.
    parts = (vtloc_runtime.__version__, localizer.encoder.signature, ranking.parts)
    return msgspec.json.encode(parts).decode()


def _index_folder(cache: FeatureCache, places: Sequence[str], signature: str) -> Path:
    """Where the index of these films lies, for this bundle.

    Raises:
        OutputError: A place cannot be named.
    """
    state = hashlib.sha256(signature.encode())
    try:
        for place in places:
            state.update(b"\0" + os.fsencode(os.path.realpath(place)))
    except ValueError as error:
        raise OutputError(f"the library cannot be named: {error}") from error
    return cache.folder / FOLDER / state.hexdigest()[:32]
