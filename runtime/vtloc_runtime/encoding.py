"""A video to features: frames stream through the visual network, a batch at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vtloc_runtime.errors import NetworkError, VideoError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_runtime.manifest import Manifest
    from vtloc_runtime.networks.contract import Network
    from vtloc_runtime.video import Frame, VideoOptions

Observer: TypeAlias = Callable[[str, float, int], None]
"""Told of each stage as it ends: its name, the seconds it took, how many things it did."""

INPUT, OUTPUT = "frames", "features"


@dataclass(frozen=True, slots=True, eq=False)
class EncodedVideo:
    """A video as the localizer sees it; encode once, ask as often as you like.

    Attributes:
        features: ``[T, Dv]`` float32, one row a frame.
        times: ``[T]`` float64, when each frame came on screen, seconds.
        duration: The video's end on the same clock, seconds.
        encoder: Hash of the visual network that made the features; empty where unknown.
        warnings: What the reader of the video had to say.
        timings: Seconds spent decoding and encoding.
    """

    features: NDArray[np.float32]
    times: NDArray[np.float64]
    duration: float
    encoder: str = ""
    warnings: tuple[str, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.times.shape != self.features.shape[:1]:
            raise NetworkError(
                f"{self.features.shape} features do not belong to {self.times.shape} times"
            )
        if not len(self.times):
            raise VideoError("the video shows no frame")

    def __len__(self) -> int:
        return len(self.times)


class VideoEncoder:
    """Runs the visual network over videos; safe to call from several threads.

    Args:
        network: The visual network.
        manifest: Its bundle's manifest.
        encoder: Hash of the network's file.
        batch: Frames in one run at most.
        observer: Told how long decoding and encoding took.
    """

    def __init__(
        self,
        network: Network,
        manifest: Manifest,
        *,
        encoder: str,
        batch: int,
        observer: Observer | None = None,
    ) -> None:
        self._network = network
        self._manifest = manifest
        self._encoder = encoder
        self._batch = batch_limit(network, INPUT, batch)
        self._observer = observer

    @property
    def batch(self) -> int:
        """Frames in one run at most."""
        return self._batch

    def options(self, options: VideoOptions | None = None) -> VideoOptions:
        """How to read a video for this network: the caller's wishes, the bundle's sampling."""
        from vtloc_runtime.video import VideoOptions

        return replace(
            options or VideoOptions(),
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
    ) -> EncodedVideo:
        """Read a video and encode its frames; at most one batch of pictures is held.

        Args:
            source: Whatever ``vtloc_runtime.video.open_video`` takes.
            options: How to read it; sampling and preprocessing come from the bundle.
            progress: Told the time of the last encoded frame, seconds, after each batch.

        Raises:
            VideoError: The video cannot be read, or shows nothing.
        """
        from vtloc_runtime.video import open_video

        timer = _Timer()
        features: list[NDArray[np.float32]] = []
        times: list[float] = []
        began = time.perf_counter()
        with open_video(source, self.options(options)) as reader:
            for frames in _batches(reader, self._batch):
                times.extend(frame.time for frame in frames)
                with timer:
                    features.append(self.run(np.stack([frame.image for frame in frames])))
                if progress is not None:
                    progress(times[-1])
            duration, warnings = reader.duration, tuple(reader.warnings)
        if not features:
            raise VideoError("the video shows no frame", where=source)
        timings = {
            "decode": time.perf_counter() - began - timer.seconds,
            "encode": timer.seconds,
        }
        for stage, seconds in timings.items():
            self._report(stage, seconds, len(times))
        return EncodedVideo(
            np.concatenate(features),
            np.asarray(times, dtype=np.float64),
            float(duration),
            self._encoder,
            warnings,
            timings,
        )

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode one batch of pictures.

        Args:
            images: ``[B, S, S, 3]`` uint8, RGB.

        Returns:
            ``[B, Dv]`` float32.
        """
        features = self._network.run({INPUT: images})[OUTPUT]
        return np.asarray(features, dtype=np.float32)

    def _report(self, stage: str, seconds: float, count: int) -> None:
        if self._observer is not None:
            self._observer(stage, seconds, count)


def batch_limit(network: Network, name: str, wanted: int) -> int:
    """The largest batch, up to ``wanted``, that an input's first axis takes."""
    spec = network.inputs[name]
    axis = spec.shape[0]
    if isinstance(axis, int):
        return axis
    if spec.limits is not None and axis in spec.limits:
        return max(1, min(wanted, spec.limits[axis][1]))
    return max(1, wanted)


def _batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    source = iter(frames)
    while batch := list(islice(source, size)):
        yield batch


class _Timer:
    """Adds up the time spent inside its ``with`` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began
