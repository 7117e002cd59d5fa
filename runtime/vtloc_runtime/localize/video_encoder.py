"""A video to features: frames stream through the visual network, a batch at a time."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec
import numpy as np

from vtloc_runtime.errors import NetworkError, VideoError
from vtloc_runtime.localize.encoded_video import EncodedVideo
from vtloc_runtime.localize.frame_dedup import DEFAULT_REUSE, RULE, FrameReuse
from vtloc_runtime.networks.dynamic_batching import FrameCombiner
from vtloc_runtime.networks.interface import check_finite
from vtloc_runtime.networks.replicas import device_count
from vtloc_runtime.video.isolation.chunks import Read, ReadingEnd, read_here

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.bundle.manifest import Preprocessing
    from vtloc_runtime.networks.interface import Network
    from vtloc_runtime.video import VideoOptions

Observer: TypeAlias = Callable[[str, float, int], None]
"""Called at the end of each stage with its name, seconds, and number of items."""

INPUT, OUTPUT = "frames", "features"
_ROWS = 256


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
        observer: Told how long decoding and encoding took.
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
            FrameCombiner(self.run, limit=self._batch, at_once=at_once) if combine else self.run
        )
        self._decoder = decoder
        self._observer = observer

    @property
    def batch(self) -> int:
        """Frames in one run at most."""
        return self._batch

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
            progress: Told the time of the last encoded frame, seconds, after each batch.
            timeout: Seconds, by the wall's clock, after which the video is given up; None does
                as the options say.
            instants: Seconds to look at, ascending, instead of the bundle's own sampling.
            read: Where the decoding happens; in this process by default.

        Raises:
            VideoError: The video cannot be read, shows nothing, or takes too long.
        """
        timer = _Timer()
        features = _Features(self._shared, self._reuse)
        times: list[NDArray[np.float64]] = []
        ending = None
        reading = replace(self.options(options), instants=instants)
        if timeout is not None:
            reading = replace(reading, limits=replace(reading.limits, wall_seconds=timeout))
        began = time.perf_counter()
        for part in read(source, reading, self._batch):
            if isinstance(part, ReadingEnd):
                ending = part
                break
            times.append(part.times)
            with timer:
                features.add(part.images, part.index)
            self._hold_time(began, reading, source)
            notify(progress, float(part.times[-1]))
        if ending is None or not times:
            raise VideoError("the video has no frames", where=source)
        timings = {
            "decode": time.perf_counter() - began - timer.seconds,
            "encode": timer.seconds,
        }
        for stage, seconds in timings.items():
            self._report(stage, seconds, features.frames)
        rows, index = features.table()
        return EncodedVideo(
            rows,
            np.concatenate(times),
            ending.duration,
            self._encoder,
            ending.warnings,
            timings,
            index,
        )

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

    def _hold_time(self, began: float, options: VideoOptions, source: Any) -> None:
        """Encoding takes its time as well, and no reader knows."""
        if time.perf_counter() - began > options.limits.wall_seconds:
            raise VideoError(
                f"takes more than {options.limits.wall_seconds:g} s to read and encode",
                where=source,
                remedy="Raise the timeout, if it is worth the time",
            )

    def _report(self, stage: str, seconds: float, count: int) -> None:
        notify(self._observer, stage, seconds, count)


class _Features:
    """Collects the features of one video; frames that resemble another take its features."""

    def __init__(
        self, run: Callable[[NDArray[np.uint8]], NDArray[np.float32]], reuse: float
    ) -> None:
        self._run = run
        self._reuse = FrameReuse(reuse)
        self._table = np.empty((0, 0), dtype=np.float32)
        self._rows = 0
        self._index: list[NDArray[np.int64]] = []
        self.frames = 0

    def add(self, images: NDArray[np.uint8], index: NDArray[np.int64]) -> None:
        """Add the next frames: pictures ``[M, S, S, 3]``, and which one each shows ``[N]``."""
        fresh: list[int] = []
        rows = np.empty(len(images), dtype=np.int64)
        for number, image in enumerate(images):
            if self._reuse.is_new(image):
                fresh.append(number)
            rows[number] = self._rows + len(fresh) - 1
        self._reuse.release()
        if fresh:
            found = self._run(images if len(fresh) == len(images) else images[fresh])
            self._reserve(self._rows + len(found), found.shape[1])
            self._table[self._rows : self._rows + len(found)] = found
            self._rows += len(found)
        self._index.append(rows[index])
        self.frames += len(index)

    def table(self) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        """Features ``[M, Dv]``, and the row of each frame ``[T]``; nothing can be added later."""
        table = self._table
        # Nobody else holds the table yet.
        table.resize((self._rows, table.shape[1]), refcheck=False)
        return table, None if self._rows == self.frames else np.concatenate(self._index)

    def _reserve(self, rows: int, width: int) -> None:
        """Make room: grown in place, a long video's features never lie in memory twice."""
        if not self._rows:
            self._table = np.empty((max(rows, _ROWS), width), dtype=np.float32)
        elif rows > len(self._table):
            self._table.resize((rows + _ROWS, width), refcheck=False)


class _Timer:
    """Adds up the time spent inside its ``with`` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began
