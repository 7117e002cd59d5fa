"""A video to features: frames stream through the visual network, a batch at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec
import numpy as np

from vtloc_runtime.errors import NetworkError, VideoError
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo, EvenSampling
from vtloc_runtime.localize.encoding.frame_dedup import DEFAULT_REUSE, RULE
from vtloc_runtime.localize.encoding.frame_encoder import EncodedFrames, FrameEncoder, TimeLimit
from vtloc_runtime.localize.encoding.parted_encoding import (
    Instants,
    SharedRead,
    encode_parts,
    look_at_parts,
    read_outline,
)
from vtloc_runtime.localize.encoding.sketch import even_sampling
from vtloc_runtime.networks.dynamic_batching import DynamicBatcher
from vtloc_runtime.networks.interface import check_finite
from vtloc_runtime.networks.replicas import device_count
from vtloc_runtime.system.arguments import check_callable
from vtloc_runtime.video.isolation.chunks import Read, ReadingEnd, read_here

if TYPE_CHECKING:
    from fractions import Fraction

    from numpy.typing import NDArray

    from vtloc_runtime.bundle.manifest import Preprocessing
    from vtloc_runtime.networks.interface import Network
    from vtloc_runtime.video import VideoOptions
    from vtloc_runtime.video.options import DecodeStrategy

Observer: TypeAlias = Callable[[str, float, int], None]
"""Called at the end of each stage with its name, seconds, and number of items."""

INPUT, OUTPUT = "frames", "features"


def notify(callback: Callable[..., object] | None, *values: object) -> None:
    """Call an observer or a progress callback, if there is one; its failure is a warning.

    An answer is not lost to an error of a callback.
    """
    if callback is None:
        return
    try:
        callback(*values)
    except Exception as error:  # noqa: BLE001 - it is somebody else's code
        warnings.warn(f"a callback failed: {type(error).__name__}: {error}", stacklevel=2)


class Sampling(Protocol):
    """How videos become frames; a bundle's manifest is one."""

    @property
    def frames_per_second(self) -> float:
        """Frames sampled per second of video."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """How a decoded picture becomes a frame."""
        ...


class VideoEncoder:
    """Runs the visual network over videos; safe to call from several threads.

    Args:
        network: The visual network.
        manifest: How videos are sampled: the manifest of its bundle.
        encoder: Hash of the network's file.
        batch: Frames in one run at most.
        reuse: Most grey levels by which a block of a frame may differ from the last encoded one
            for both to share features; 0 shares among equal frames only.
        combine: Let threads that encode at the same time share batches. Worth it on a GPU; on a
            CPU it would only make answers depend on company.
        decoder: What decodes videos where the caller does not say.
        observer: Called with the time that decoding and encoding took.
    """

    def __init__(
        self,
        network: Network,
        manifest: Sampling,
        *,
        encoder: str,
        batch: int,
        reuse: float = DEFAULT_REUSE,
        combine: bool = False,
        decoder: str = "cpu",
        observer: Observer | None = None,
    ) -> None:
        self._network = network
        self._manifest = manifest
        self._encoder = encoder
        self._batch = network.inputs[INPUT].batch(batch)
        self._reuse = reuse
        at_once = 2 * device_count(network)
        self._shared = (
            DynamicBatcher(self.run, limit=self._batch, at_once=at_once) if combine else self.run
        )
        self._frames = FrameEncoder(self._shared, reuse, self._batch)
        self._decoder = decoder
        self._observer = observer

    @property
    def batch(self) -> int:
        """Frames in one run at most."""
        return self._batch

    @property
    def rate(self) -> Fraction:
        """Frames sampled per second of video."""
        return self.options().rate

    @property
    def hash(self) -> str:
        """Hash of the network's file."""
        return self._encoder

    @property
    def signature(self) -> str:
        """What features depend on beside the video, for caches of them."""
        manifest = self._manifest
        parts = (
            self._encoder,
            manifest.frames_per_second,
            manifest.preprocessing,
            self._reuse and (RULE, self._reuse),
        )
        return msgspec.json.encode(parts).decode()

    @property
    def decoder(self) -> str:
        """What decodes videos where a call does not say."""
        return self._decoder

    def options(self, options: VideoOptions | None = None) -> VideoOptions:
        """How to read a video for this network: the caller's wishes, the bundle's sampling."""
        from vtloc_runtime.video import VideoOptions

        return replace(
            options or VideoOptions(decoder=self._decoder),
            frames_per_second=self._manifest.frames_per_second,
            instants=None,
            preprocessing=self._manifest.preprocessing,
        )

    def encode(
        self,
        source: Any,
        options: VideoOptions | None = None,
        *,
        progress: Callable[[float], None] | None = None,
        timeout: float | None = None,
        instants: tuple[float, ...] | None = None,
        read: Read = read_here,
    ) -> EncodedVideo:
        """Read a video and encode its frames; at most one batch of pictures is held.

        Args:
            source: Whatever ``vtloc_runtime.video.open_video`` takes.
            options: How to read it; sampling and preprocessing come from the bundle.
            progress: Called with the time of the last encoded frame, seconds, after each batch.
            timeout: Seconds, by the wall's clock, after which the video is given up; None does
                as the options say.
            instants: Seconds to look at, ascending, instead of the bundle's own sampling.
            read: Where the decoding happens; in this process by default.

        Raises:
            VideoError: The video cannot be read, shows nothing, or takes too long.
        """
        check_callable(read, "read")
        reading = replace(self.options(options), instants=instants)
        if timeout is not None:
            reading = replace(reading, limits=replace(reading.limits, wall_seconds=timeout))
        limit = TimeLimit(reading, source)
        report = partial(notify, progress)
        frames = None
        if isinstance(read, SharedRead) and instants is None:
            frames = encode_parts(self._frames, source, reading, limit, read, progress=report)
        if frames is None:
            frames = self._frames.encode(
                source, reading, limit, read, progress=lambda last, _: report(last)
            )
        if not len(frames):
            raise VideoError("the video has no frames", where=source)
        sampling = None if instants else even_sampling(self.rate, frames.ending)
        return self._video(frames, sampling)

    def look(
        self,
        source: Any,
        parts: Sequence[Instants],
        options: VideoOptions | None = None,
        *,
        keyframes: bool = False,
        read: Read = read_here,
    ) -> EncodedFrames:
        """Encode what a video shows at some instants.

        Args:
            source: Whatever ``vtloc_runtime.video.open_video`` takes.
            parts: The instants, seconds, ascending. Workers may read and encode parts apart; which
                do makes no difference.
            options: How to read it; sampling and preprocessing come from the bundle.
            keyframes: Take the last keyframe before each instant instead, each once.
            read: Where the decoding happens.

        Raises:
            VideoError: The video cannot be read, or takes too long.
        """
        strategy: DecodeStrategy = "keyframes" if keyframes else "needed"
        reading = replace(self.options(options), strategy=strategy)
        limit = TimeLimit(reading, source)
        return look_at_parts(self._frames, source, parts, reading, limit, read=read)

    def outline(
        self, source: Any, options: VideoOptions | None = None, *, read: Read = read_here
    ) -> ReadingEnd:
        """The length of a video and its keyframes, found without decoding it.

        Args:
            source: Whatever ``vtloc_runtime.video.open_video`` takes.
            options: How to read it; sampling and preprocessing come from the bundle.
            read: Where the decoding happens.

        Raises:
            VideoError: The video cannot be read.
        """
        reading = self.options(options)
        return read_outline(self._frames, source, reading, TimeLimit(reading, source), read)

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode one batch of pictures.

        Args:
            images: ``[B, S, S, 3]`` uint8, RGB.

        Returns:
            ``[B, Dv]`` float32.

        Raises:
            NetworkError: The run failed, gave another shape, or gave features that are not finite.
        """
        features = self._network.run({INPUT: images})[OUTPUT]
        if features.ndim != 2 or len(features) != len(images):
            raise NetworkError(
                f"{len(images)} frames gave features of the shape {features.shape}",
                where=self._network.name,
            )
        check_finite(features, what="features", network=self._network.name)
        return np.asarray(features, dtype=np.float32)

    def _video(self, frames: EncodedFrames, sampling: EvenSampling | None) -> EncodedVideo:
        for stage, seconds in frames.timings.items():
            self._report(stage, seconds, len(frames))
        return EncodedVideo(
            frames.rows,
            frames.times,
            frames.ending.duration,
            self._encoder,
            frames.ending.warnings,
            frames.timings,
            frames.index,
            sampling=sampling,
        )

    def _report(self, stage: str, seconds: float, count: int) -> None:
        notify(self._observer, stage, seconds, count)
