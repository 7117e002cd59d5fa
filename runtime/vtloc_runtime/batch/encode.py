"""Encode the videos of a run, or take them from the feature cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtloc_runtime.batch.results.records import Failure, describe
from vtloc_runtime.batch.workers.decoder_retry import retry_lost_decoder
from vtloc_runtime.batch.workers.worker_pool import StoppedWorkError
from vtloc_runtime.errors import BundleError, DeviceLostError, OutputError, VideoError
from vtloc_runtime.system.text import unicode_name
from vtloc_runtime.video.isolation.chunks import Read, read_here

if TYPE_CHECKING:
    from vtloc_runtime.batch.run import Progress
    from vtloc_runtime.errors import ClusterError
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
    from vtloc_runtime.localize.encoding.video_encoder import VideoEncoder
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.localize.questions.question import Query, Question

_SKETCH = "\0sketch"
"""Ends the signature of videos that were searched quickly."""

_WORTH_KEEPING = 0.1
"""Share of the frames from which on an exact run only looks at the rest."""


def encode_cached(
    localizer: Localizer,
    video: str,
    *,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
    read: Read = read_here,
    stop: Callable[[], bool] | None = None,
) -> EncodedVideo:
    """Encode a video, or take it from the cache.

    Args:
        localizer: Encodes the video.
        video: A path or an address.
        cache: Where encoded videos are kept.
        progress: Called with the video and the time of the last encoded frame, seconds.
        read: Decodes the video.
        stop: Returns whether the run is being stopped.

    Raises:
        VideoError: The video cannot be read.
        StoppedWorkError: The decoder was ended while the run is being stopped.
    """

    def encode() -> EncodedVideo:
        known = None if cache is None else _seen_quickly(cache, localizer, video)
        return encode_with_retry(
            localizer, video, progress=progress, known=known, read=read, stop=stop
        )

    if cache is None:
        return encode()
    return cache.fetch(video, localizer.encoder.signature, encode)


def encode_quickly_cached(
    localizer: Localizer,
    video: str,
    queries: Sequence[Query | Question],
    *,
    moments: int = 1,
    cache: FeatureCache | None = None,
    read: Read = read_here,
    stop: Callable[[], bool] | None = None,
) -> EncodedVideo:
    """Encode as much of a video as some sentences need, or take it from the cache.

    What was looked at is kept, and later searches, quick or not, look only at the rest.

    Args:
        localizer: Encodes the video.
        video: A path or an address.
        queries: The questions.
        moments: Moments that are wanted of each sentence.
        cache: Where encoded videos are kept.
        read: Decodes the video.
        stop: Returns whether the run is being stopped.

    Raises:
        VideoError: The video cannot be read.
        StoppedWorkError: The decoder was ended while the run is being stopped.
    """

    def encode(known: EncodedVideo | None) -> EncodedVideo:
        return retry_lost_decoder(
            lambda: localizer.encode_quickly(
                video, queries, moments=moments, known=known, read=read
            ),
            stop,
        )

    if cache is None:
        return encode(None)
    signature = localizer.encoder.signature
    key = cache.key(video, signature, stop=stop)
    if key is None:
        return encode(None)
    whole = cache.get(key)
    if whole is not None:
        return whole
    sketch = cache.key(video, signature + _SKETCH, stop=stop)
    encoded = encode(None if sketch is None else cache.get(sketch))
    # The file may have changed while it was being read.
    if sketch is not None and cache.key(video, signature, stop=stop) == key:
        with suppress(OutputError):
            cache.put(key if encoded.seen is None else sketch, encoded)
    return encoded


def _seen_quickly(cache: FeatureCache, localizer: Localizer, video: str) -> EncodedVideo | None:
    """What quick searches have seen of a video, if it is worth having."""
    key = cache.key(video, localizer.encoder.signature + _SKETCH)
    known = None if key is None else cache.get(key)
    if known is None or known.seen is None:
        return None
    return known if known.seen.frames.mean() >= _WORTH_KEEPING else None


def encode_with_retry(
    localizer: Localizer,
    video: str,
    *,
    progress: Progress | None = None,
    known: EncodedVideo | None = None,
    read: Read = read_here,
    stop: Callable[[], bool] | None = None,
) -> EncodedVideo:
    """Encode a video, and try once more if a signal ended its decoder.

    Args:
        localizer: Encodes the video.
        video: A path or an address.
        progress: Called with the video and the time of the last encoded frame, seconds; its errors
            are ignored.
        known: What a quick search has seen of it.
        read: Decodes the video.
        stop: Returns whether the run is being stopped.

    Raises:
        VideoError: The video cannot be read.
        StoppedWorkError: The decoder was ended while the run is being stopped.
    """

    def report(seconds: float) -> None:
        if progress is not None:
            with suppress(Exception):
                progress(video, seconds)

    return retry_lost_decoder(
        lambda: localizer.encode_video(video, progress=report, known=known, read=read), stop
    )


@dataclass(frozen=True, slots=True)
class EncodeOutcome:
    """What encoding one video gave.

    Attributes:
        video: The video, as it was given.
        frames: Number of frames; 0 if it failed.
        duration: The video's length, seconds.
        cached: Whether the cache held it already.
        warnings: Warnings from reading it.
        error: Why it could not be encoded; None if it was.
    """

    video: str
    frames: int = 0
    duration: float = 0.0
    cached: bool = False
    warnings: tuple[str, ...] = ()
    error: Failure | None = None


@dataclass(frozen=True, slots=True)
class EncodeVideos:
    """The work of ``vtloc-run encode``: put each video into a cache.

    Attributes:
        cache: Where encoded videos are kept.
    """

    cache: FeatureCache

    def do(
        self,
        localizer: Localizer,
        task: str,
        read: Read,
        *,
        progress: Progress | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> EncodeOutcome:
        """Encode one video unless it is in the cache; errors become the outcome.

        Raises:
            StoppedWorkError: The decoder was ended while the run is being stopped.
            DeviceLostError: The GPU failed, and no more videos can be encoded.
            BundleError: The network cannot be opened.
        """
        try:
            key = _key(self.cache, task, localizer.encoder, read)
            encoded = self.cache.get(key)
            cached = encoded is not None
            if encoded is None:
                encoded = encode_with_retry(
                    localizer, task, progress=progress, read=read, stop=stop
                )
                self.cache.put(key, encoded)
        except (StoppedWorkError, DeviceLostError, BundleError):
            raise
        except Exception as error:  # noqa: BLE001 - one video's failure must not end the run
            return EncodeOutcome(unicode_name(task), error=describe(error))
        duration = round(encoded.duration, 3)
        warnings = tuple(map(unicode_name, encoded.warnings))
        return EncodeOutcome(unicode_name(task), len(encoded), duration, cached, warnings)

    def give_up(self, task: str, error: ClusterError) -> EncodeOutcome:
        """The outcome of a video whose workers were all lost."""
        return EncodeOutcome(unicode_name(task), error=describe(error))


def _key(cache: FeatureCache, video: str, encoder: VideoEncoder, read: Read) -> str:
    """The video's name in the cache.

    Raises:
        VideoError: It is not a file, or cannot be read.
    """
    key = cache.key(video, encoder.signature)
    if key is None:
        # Reading it gives the better error, if there is one.
        next(read(video, encoder.options(), 1), None)
        raise VideoError("only files can be encoded in advance", where=video)
    return key
