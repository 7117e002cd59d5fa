"""What the service does for people and programs: find moments, search and describe videos."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from vtloc_runtime.batch.workers.worker_pool import PipelineOptions
from vtloc_runtime.errors import BackendError, UsageError
from vtloc_runtime.library.search import Library, SearchOptions
from vtloc_runtime.serve.recent_videos import RecentVideos
from vtloc_runtime.system.processors import available_processors
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess
from vtloc_runtime.video.isolation.limits import DecoderLimits

if TYPE_CHECKING:
    from vtloc_runtime.batch.results.records import Record
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.localize.spans.moments import Localization
    from vtloc_runtime.report.filmstrip import Filmstrip
    from vtloc_runtime.serve.folders import ServedFolders, ServedVideo
    from vtloc_runtime.video.isolation.chunks import Read

MOST_QUERIES = 64
"""Sentences of one request."""
LONGEST_QUERY = 2000
"""Characters of one sentence."""

_RECENT = 256 * 2**20
_LISTED = 10.0
"""Seconds after which the folders are looked at again before a search."""
_STRIPES = 64


@dataclass(frozen=True, slots=True)
class VideoAnswers:
    """What was found in one video.

    Attributes:
        video: The video's name.
        duration: Its length, seconds.
        answers: One for each sentence.
        warnings: Warnings from reading it.
        encoded: The video as the localizer sees it.
    """

    video: str
    duration: float
    answers: tuple[Localization, ...]
    warnings: tuple[str, ...]
    encoded: EncodedVideo = field(repr=False)


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """What was found in all videos.

    Attributes:
        query: The sentence.
        records: The answer of each video, the one that shows it most clearly first; ``video`` is
            the video's name.
        searched: Number of videos that were searched.
        waiting: Number of videos that are not indexed yet.
        unreadable: Number of videos that cannot be read.
    """

    query: str
    records: tuple[Record, ...]
    searched: int
    waiting: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class VideoDescription:
    """A video that can be asked about.

    Attributes:
        video: Its name.
        size: Bytes.
        duration: Seconds; None before it was first encoded.
        problem: Why it cannot be read; None if it can, or was not tried.
    """

    video: str
    size: int
    duration: float | None = None
    problem: str | None = None


class Service:
    """Answers questions about the videos of some folders. Safe to use from several threads.

    Args:
        localizer: Finds the moments.
        folders: The videos.
        cache: Where encoded videos are kept.
        limits: Limits of each decoder process.
        timeout: Seconds that one video may take to read and encode.
        decoders: Decoder processes; None means one for each processor.
    """

    def __init__(
        self,
        localizer: Localizer,
        folders: ServedFolders,
        cache: FeatureCache,
        *,
        limits: DecoderLimits | None = None,
        timeout: float = 300.0,
        decoders: int | None = None,
    ) -> None:
        self.localizer = localizer
        self.folders = folders
        self._cache = cache
        self._timeout = timeout
        self._recent = RecentVideos(_RECENT)
        self._reading = [threading.Lock() for _ in range(_STRIPES)]
        self._limits = limits or DecoderLimits()
        self._decoders = [
            DecoderProcess(self._limits) for _ in range(decoders or available_processors())
        ]
        self._readers: queue.SimpleQueue[Read] = queue.SimpleQueue()
        for decoder in self._decoders:
            self._readers.put(decoder.read)
        self._closed = threading.Event()
        self._roots = sorted(folders.roots.values())
        self._library: Library | None = None
        self._paths: dict[str, str] = {}
        self._updating = threading.Lock()
        self._updated = 0.0

    def find(
        self, video: str, queries: Sequence[str], *, moments: int = 1, evidence: bool = False
    ) -> VideoAnswers:
        """Find moments in one video.

        Args:
            video: The video's name.
            queries: Sentences, at most `MOST_QUERIES`.
            moments: Moments to return for each sentence, at most.
            evidence: Whether to say, too, why each moment was chosen: similarity and alignment.

        Raises:
            UnknownVideoError: There is no such video.
            VideoError: It cannot be read in time.
            QueryError: A sentence cannot be searched for.
            UsageError: There are too many sentences, or they are too long.
        """
        check_queries(queries)
        for query in queries:
            self.localizer.check_query(query)
        with self.folders.open(video) as opened:
            encoded = self._encoded(opened)
        networks = self.localizer.bundle.manifest.networks
        answers = self.localizer.localize(
            encoded,
            list(queries),
            moments=moments,
            alignment=evidence and "localizer" in networks,
            curve=evidence,
        )
        return VideoAnswers(video, encoded.duration, tuple(answers), encoded.warnings, encoded)

    def pictures(self, video: str, instants: Sequence[float]) -> Filmstrip:
        """Read pictures of a video.

        Args:
            video: The video's name.
            instants: When, seconds.

        Raises:
            UnknownVideoError: There is no such video.
            VideoError: It cannot be read.
        """
        from vtloc_runtime.report.filmstrip import read_filmstrip

        with self.folders.open(video) as opened, self._reader() as read:
            return read_filmstrip(opened.file, instants, read=read)

    def search(
        self, query: str, options: SearchOptions | None = None, *, wait: float = 1.0
    ) -> SearchAnswer:
        """Search all videos.

        Args:
            query: A sentence.
            options: What to return.
            wait: Seconds to wait for new videos to be encoded; the rest is done meanwhile.

        Raises:
            BackendError: The bundle cannot rank videos.
            QueryError: The sentence cannot be searched for.
            UsageError: The sentence is too long.
        """
        check_queries([query])
        self.localizer.check_query(query)
        library = self.update(wait=wait)
        names = {path: name for name, path in self._paths.items()}
        (found,) = library.search([query], options)
        return SearchAnswer(
            query,
            tuple(
                msgspec.structs.replace(record, video=names[record.video])
                for record in found
                if record.video in names
            ),
            searched=len(library.films) - len(library.failures),
            waiting=len(library.waiting),
            unreadable=len(library.failures),
        )

    def update(self, *, wait: float = 0.0) -> Library:
        """Bring the index up to date, in a thread of its own.

        Args:
            wait: Seconds to wait for it.

        Raises:
            BackendError: The bundle cannot rank videos.
        """
        with self._updating:
            if self._library is None:
                self._library = self._open_library()
            library = self._library
            thread = None
            if time.monotonic() - self._updated > _LISTED:
                self._updated = float("inf")
                thread = threading.Thread(target=self._update, args=(library,), daemon=True)
                thread.start()
        if thread is not None:
            thread.join(wait)
        return library

    def describe(self, video: str) -> VideoDescription:
        """Describe one video.

        Raises:
            UnknownVideoError: There is no such video.
        """
        with self.folders.open(video) as opened:
            film = None if self._library is None else self._library.films.get(opened.path)
            known = self._recent.get(video, opened.state)
            duration = known.duration if known is not None else film and film.duration
            problem = film.failure.what if film is not None and film.failure else None
            return VideoDescription(video, opened.state.size, duration or None, problem)

    def close(self) -> None:
        """End the decoders, and with them whatever is being read."""
        self._closed.set()
        for decoder in self._decoders:
            decoder.close()

    def _encoded(self, opened: ServedVideo) -> EncodedVideo:
        known = self._recent.get(opened.name, opened.state)
        if known is not None:
            return known
        # Of several requests for one video, one reads it.
        with self._reading[hash(opened.name) % _STRIPES]:
            known = self._recent.get(opened.name, opened.state)
            if known is not None:
                return known
            encoded = self._cache.fetch(
                opened.path,
                self.localizer.encoder.signature,
                lambda: self._encode(opened),
                stop=self._closed.is_set,
            )
            self._recent.keep(opened.name, opened.state, encoded)
            return encoded

    def _encode(self, opened: ServedVideo) -> EncodedVideo:
        with self._reader() as read:
            return self.localizer.encode_video(opened.file, timeout=self._timeout, read=read)

    @contextmanager
    def _reader(self) -> Iterator[Read]:
        if self._closed.is_set():
            raise BackendError("the service is stopping")
        read = self._readers.get()
        try:
            yield read
        finally:
            self._readers.put(read)

    def _open_library(self) -> Library:
        pipeline = PipelineOptions(workers=1, limits=self._limits, cache=self._cache)
        # Not the index of the same folders elsewhere, where links count.
        places = ["served", *self._roots]
        return Library(
            places, self.localizer, self._cache, pipeline=pipeline, listing=self._listing
        )

    def _listing(self) -> list[str]:
        self._paths = {
            name: path
            for name, path in self.folders.paths().items()
            if any(path.startswith(root + os.sep) for root in self._roots)
        }
        return list(self._paths.values())

    def _update(self, library: Library) -> None:
        try:
            library.update(stop=self._closed.is_set)
        finally:
            self._updated = time.monotonic()


def check_queries(queries: Sequence[str]) -> None:
    """Refuse a request with too many sentences, or too long ones.

    Raises:
        UsageError: It has.
    """
    if not 1 <= len(queries) <= MOST_QUERIES:
        raise UsageError(f"{len(queries)} sentences were given; give 1 to {MOST_QUERIES}")
    longest = max(map(len, queries))
    if longest > LONGEST_QUERY:
        raise UsageError(f"a sentence has {longest} characters; at most {LONGEST_QUERY} are read")
