"""What the service does for people and programs: find moments, search and describe videos."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import msgspec

from vtloc_runtime.batch.workers.worker_pool import PipelineOptions
from vtloc_runtime.errors import BackendError
from vtloc_runtime.library.search import Library
from vtloc_runtime.serve.answers import SearchAnswer, VideoAnswers, VideoDescription
from vtloc_runtime.serve.recent_videos import RecentVideos
from vtloc_runtime.serve.request_bounds import check_request
from vtloc_runtime.system.processors import available_processors
from vtloc_runtime.video.isolation.chunks import read_here
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess
from vtloc_runtime.video.isolation.limits import DecoderLimits

if TYPE_CHECKING:
    from vtloc_runtime.library.film_search import SearchOptions
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.localize.questions.question import Query
    from vtloc_runtime.report.filmstrip import Filmstrip
    from vtloc_runtime.serve.folders import ServedFolders, ServedVideo
    from vtloc_runtime.video.isolation.chunks import Read

_RECENT = 256 * 2**20
_LISTED = 10.0
"""Seconds after which the folders are looked at again before a search."""
_STRIPES = 64


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
        self._settled = threading.Event()

    def find(
        self,
        video: str,
        queries: Sequence[str],
        *,
        rewrites: Sequence[str] = (),
        like: Sequence[str] = (),
        moments: int = 1,
        evidence: bool = False,
    ) -> VideoAnswers:
        """Find moments in one video.

        Args:
            video: The video's name.
            queries: Sentences, at most ``request_bounds.MOST_QUERIES``.
            rewrites: Other wordings of the one sentence.
            like: Names of pictures that ask with each sentence, or alone.
            moments: Moments to return for each sentence, at most.
            evidence: Whether to say, too, why each moment was chosen: similarity and alignment.

        Raises:
            UnknownVideoError: There is no such video.
            VideoError: It cannot be read in time.
            UnknownPictureError: There is no such picture.
            QueryError: A sentence or a picture cannot be searched for.
            UsageError: There are too many sentences, or they are too long.
        """
        asked = self._questions(queries, rewrites, like)
        with self.folders.open(video) as opened:
            encoded = self._encoded(opened)
        networks = self.localizer.bundle.manifest.networks
        with ExitStack() as stack:
            # Pictures are untrusted as videos are.
            read = stack.enter_context(self._reader()) if like else read_here
            answers = self.localizer.localize(
                encoded,
                asked,
                moments=moments,
                alignment=evidence and "localizer" in networks,
                curve=evidence,
                read=read,
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
        self,
        query: str | None,
        options: SearchOptions | None = None,
        *,
        rewrites: Sequence[str] = (),
        like: Sequence[str] = (),
        wait: float = 1.0,
    ) -> SearchAnswer:
        """Search all videos.

        Args:
            query: A sentence; None where pictures alone ask.
            options: What to return.
            rewrites: Other wordings of the sentence.
            like: Names of pictures that ask with it, or alone.
            wait: Seconds to wait for new videos to be encoded; the rest is done meanwhile.

        Raises:
            BackendError: The bundle cannot rank videos.
            UnknownPictureError: There is no such picture.
            QueryError: The sentence or a picture cannot be searched for.
            UsageError: The sentence is too long.
        """
        asked = self._questions([] if query is None else [query], rewrites, like)
        library = self.update(wait=wait)
        names = {path: name for name, path in self._paths.items()}
        # Counted first, so that no video is taken for searched that came in meanwhile.
        unreadable, waiting = len(library.failures), len(library.waiting)
        searched = len(library.films) - unreadable
        (found,) = library.search(asked, options)
        return SearchAnswer(
            query or "",
            tuple(
                msgspec.structs.replace(record, video=names[record.video])
                for record in found
                if record.video in names
            ),
            searched=searched,
            waiting=waiting,
            unreadable=unreadable,
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
            begun = time.monotonic() - self._updated > _LISTED
            if begun:
                self._updated = float("inf")
                self._settled.clear()
                threading.Thread(target=self._update, args=(library,), daemon=True).start()
        if begun:
            self._settled.wait(wait)
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
        self._settled.set()
        for decoder in self._decoders:
            decoder.close()

    def _questions(
        self, queries: Sequence[str], rewrites: Sequence[str], like: Sequence[str]
    ) -> list[Query]:
        """The questions of a request.

        Raises:
            UnknownPictureError: There is no such picture.
            QueryError: A sentence or a picture cannot be searched for.
            UsageError: There are too many of them, or a sentence is too long.
        """
        check_request(queries, rewrites, like)
        pictures = tuple(map(self.folders.read_picture, like))
        asked: list[Query] = [(query, *rewrites, *pictures) for query in queries]
        asked = asked or [pictures]
        for question in asked:
            self.localizer.check_query(question)
        return asked

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
            self._settled.set()
