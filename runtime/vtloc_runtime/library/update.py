"""Bring an index up to date with the films of a library: encode what is new, drop what is gone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from vtloc_runtime.batch.encode import encode_with_retry
from vtloc_runtime.batch.results.records import PASSING_KINDS, describe
from vtloc_runtime.batch.workers.lost_backend import end_on_lost_backend
from vtloc_runtime.batch.workers.worker_pool import PipelineOptions, StoppedWorkError, run_tasks
from vtloc_runtime.errors import BundleError, DecoderLostError, DeviceLostError, VideoError
from vtloc_runtime.library.catalogue import Film, film_name
from vtloc_runtime.library.feature_table import pack
from vtloc_runtime.library.index import Addition, LibraryIndex, Snapshot
from vtloc_runtime.localize.encoding.file_identity import FileState

if TYPE_CHECKING:
    from vtloc_runtime.batch.run import Progress
    from vtloc_runtime.library.ranking import Ranking
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.video.isolation.chunks import Read

_MOST_PENDING = 64 * 2**20
"""Bytes of new frames after which the index is written."""
_LONGEST_PENDING = 20.0
"""Seconds after which it is written."""
_SETTLED = 2 * 10**9
"""Nanoseconds after a change in which another could leave no trace."""


@dataclass(frozen=True, slots=True)
class FilmReader:
    """Turns films into entries of an index; films that are in the feature cache are not decoded.

    Attributes:
        localizer: Encodes the films.
        cache: Keeps encoded films.
        ranking: Says what the index needs to know of a film.
    """

    localizer: Localizer
    cache: FeatureCache
    ranking: Ranking

    def entry(
        self,
        video: str,
        known: Snapshot,
        read: Read,
        *,
        progress: Progress | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Addition:
        """The entry of one film; an error becomes its entry.

        Raises:
            StoppedWorkError: The decoder was ended while the work is being stopped.
            DeviceLostError: The GPU failed, and no more films can be encoded.
            BundleError: The network cannot be opened.
        """
        name, state = film_name(video), file_state(video)
        try:
            key = self.cache.key(video, self.localizer.encoder.signature, stop=stop)
            if key is not None and key in known.by_key:
                # A copy, or a new name.
                same = known.by_key[key]
                return Addition(msgspec.structs.replace(same, name=name, state=state))
            encoded = self._encode(video, key, read, progress, stop)
            return self._found(encoded, name, state, key or "")
        except (StoppedWorkError, DeviceLostError, BundleError):
            raise
        except Exception as error:  # noqa: BLE001 - one film's failure must not end the update
            lost = isinstance(error, DecoderLostError) or not isinstance(error, VideoError)
            failure = describe(error)
            return Addition(Film(name=name, state=None if lost else state, failure=failure))

    def _found(
        self, encoded: EncodedVideo, name: str, state: FileState | None, key: str
    ) -> Addition:
        ordinary = self.ranking.ordinary(encoded)
        film = Film(
            name=name,
            state=state,
            key=key,
            middle=0.0 if ordinary is None else ordinary.middle,
            above=0.0 if ordinary is None else ordinary.above,
            below=0.0 if ordinary is None else ordinary.below,
            frames=len(encoded),
            duration=encoded.duration,
        )
        nearest = None if ordinary is None else ordinary.nearest
        return Addition(film, pack(self.ranking.frames(encoded), nearest))

    def _encode(
        self,
        video: str,
        key: str | None,
        read: Read,
        progress: Progress | None,
        stop: Callable[[], bool] | None,
    ) -> EncodedVideo:
        if stop is not None and stop():
            raise StoppedWorkError
        if key is None:
            # Reading it gives the better error, if there is one.
            next(read(video, self.localizer.encoder.options(), 1), None)
            raise VideoError("a library holds files only", where=video)
        encoded = self.cache.get(key)
        if encoded is None:
            encoded = encode_with_retry(
                self.localizer, video, progress=progress, read=read, stop=stop
            )
            self.cache.put(key, encoded)
        return encoded


def file_state(video: str) -> FileState | None:
    """The state of a file; None if it is gone, or changed so recently that it may change again."""
    try:
        state = FileState.from_stat(os.stat(video))
    except (OSError, ValueError):
        return None
    settled = time.time_ns() - max(state.changed, state.modified) > _SETTLED
    return state if settled else None


@dataclass(frozen=True, slots=True)
class Update:
    """How an index differs from the films of a library.

    Attributes:
        videos: The films as they were listed.
        films: The entry of each film that is up to date, by the film as it was listed.
        changed: Films that are new or have changed.
        gone: Entries of films that are not listed any more.
    """

    videos: Sequence[str]
    films: dict[str, Film]
    changed: list[str]
    gone: list[Film]

    @classmethod
    def between(cls, snapshot: Snapshot, videos: Sequence[str]) -> Update:
        """Compare an index with a listing.

        Args:
            snapshot: The index.
            videos: The films of the library.
        """
        films: dict[str, Film] = {}
        changed: list[str] = []
        listed: set[str] = set()
        for video in videos:
            name = film_name(video)
            listed.add(name)
            film = snapshot.films.get(name)
            if film is not None and film.state is not None and film.state == file_state(video):
                films[video] = film
            else:
                changed.append(video)
        gone = [film for film in snapshot.films.values() if film.name not in listed]
        return cls(videos, films, changed, gone)


@dataclass(slots=True)
class _Pending:
    """Entries that are not written yet."""

    additions: list[Addition] = field(default_factory=list)
    size: int = 0
    since: float = field(default_factory=time.monotonic)

    def add(self, addition: Addition) -> None:
        self.additions.append(addition)
        self.size += 0 if addition.block is None else addition.block.nbytes

    @property
    def due(self) -> bool:
        return self.size > _MOST_PENDING or time.monotonic() - self.since > _LONGEST_PENDING


def update_index(
    index: LibraryIndex,
    snapshot: Snapshot,
    update: Update,
    reader: FilmReader,
    *,
    pipeline: PipelineOptions,
    progress: Progress | None = None,
    done: Callable[[str], None] | None = None,
    written: Callable[[Snapshot], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Snapshot:
    """Bring an index up to date. What was done is kept if the update is stopped.

    Args:
        index: The index.
        snapshot: What it holds.
        update: What to change.
        reader: Reads the films.
        pipeline: How films are processed.
        progress: Called with a film and the time of its last encoded frame.
        done: Called with each film that was read.
        written: Called with the index whenever a part of the update is in it.
        stop: Called before each film; once it returns True, no more films are started.

    Returns:
        The index after that.

    Raises:
        OutputError: The index or the cache cannot be written.
        BackendError: The backend fails again and again.
    """

    def work(video: str, read: Read) -> tuple[str, Addition]:
        return video, reader.entry(video, snapshot, read, progress=progress, stop=stop)

    tasks = run_tasks(work, update.changed, pipeline, stop=stop)
    results = end_on_lost_backend(
        tasks, lambda result: result[1].film.failure, kinds=PASSING_KINDS | {"output"}
    )
    pending = _Pending()
    try:
        with closing(results):
            for video, addition in results:
                pending.add(addition)
                if done is not None:
                    done(video)
                if pending.due:
                    snapshot = index.commit(pending.additions)
                    pending = _Pending()
                    if written is not None:
                        written(snapshot)
    finally:
        # Those that are gone go last: they may be there under new names.
        if pending.additions or update.gone:
            snapshot = index.commit(pending.additions, gone=update.gone)
    return snapshot
