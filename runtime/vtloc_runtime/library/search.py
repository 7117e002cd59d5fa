"""Search a library: the films that show a sentence most clearly, and the moments in them."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

import vtloc_runtime
from vtloc_runtime.batch.job_lists.jobs import read_videos
from vtloc_runtime.batch.workers.worker_pool import PipelineOptions
from vtloc_runtime.errors import OutputError
from vtloc_runtime.library.closest import closest_cosines
from vtloc_runtime.library.film_search import FilmSearch, SearchOptions
from vtloc_runtime.library.index import LibraryIndex, Snapshot
from vtloc_runtime.library.ranking import Ranking
from vtloc_runtime.library.update import FilmReader, Update, update_index
from vtloc_runtime.localize.questions.question import read_questions

if TYPE_CHECKING:
    from pathlib import Path

    from vtloc_runtime.batch.results.records import Failure, Record
    from vtloc_runtime.batch.run import Progress
    from vtloc_runtime.library.catalogue import Film
    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.localize.questions.question import Query

FOLDER = "libraries"
"""The folder of indexes, in the folder of the feature cache."""

_AT_ONCE = 16
"""Questions that share a pass over the index."""


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
        with FilmSearch(
            self._localizer,
            self._cache,
            self._pipeline,
            chosen,
            self._notice,
        ) as search:
            encoded = search.encode(asked)
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
                    yield search.best(question.question, candidates)


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
