"""Encode the videos of a run, or take them from the feature cache."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtloc_runtime.batch.records import Failure, describe
from vtloc_runtime.batch.worker_pool import StoppedWorkError
from vtloc_runtime.errors import DecoderLostError, DeviceLostError, VideoError
from vtloc_runtime.system.text import unicode_name
from vtloc_runtime.video.isolation.chunks import Read, read_here

if TYPE_CHECKING:
    from vtloc_runtime.batch.run import Progress
    from vtloc_runtime.errors import ClusterError
    from vtloc_runtime.localize.encoded_video import EncodedVideo
    from vtloc_runtime.localize.feature_cache import FeatureCache
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.localize.video_encoder import VideoEncoder

_SIGNAL_DELAY = 0.2
"""Seconds after a decoder's end in which a signal to the whole group reaches this process."""


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
        return encode_with_retry(localizer, video, progress=progress, read=read, stop=stop)

    if cache is None:
        return encode()
    return cache.fetch(video, localizer.encoder.signature, encode)


def encode_with_retry(
    localizer: Localizer,
    video: str,
    *,
    progress: Progress | None = None,
    read: Read = read_here,
    stop: Callable[[], bool] | None = None,
) -> EncodedVideo:
    """Encode a video, and try once more if a signal ended its decoder.

    Args:
        localizer: Encodes the video.
        video: A path or an address.
        progress: Called with the video and the time of the last encoded frame, seconds; its errors
            are ignored.
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

    for last in (False, True):
        try:
            return localizer.encode_video(video, progress=report, read=read)
        except DecoderLostError as error:
            # A signal to the whole group ends decoders before this process has heard of it.
            time.sleep(_SIGNAL_DELAY)
            if stop is not None and stop():
                raise StoppedWorkError from error
            if last:
                raise
    raise AssertionError("unreachable")


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
        except (StoppedWorkError, DeviceLostError):
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
