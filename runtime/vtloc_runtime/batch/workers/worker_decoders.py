"""The decoder of each worker: NVDEC's sessions on every GPU, and processors.

Workers take videos as they finish, so each decoder does as much as it can. A processor's worker
has a process of its own; those of one GPU share a process.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from vtloc_runtime.errors import BackendError, MissingExtraError, VideoError
from vtloc_runtime.localize.questions.picture_encoder import PICTURE_INSTANTS
from vtloc_runtime.system.closing import Closing
from vtloc_runtime.system.processors import available_processors
from vtloc_runtime.video.decoders.choice import PROCESSOR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from vtloc_runtime.video import VideoOptions
    from vtloc_runtime.video.isolation.chunks import Read, Reading
    from vtloc_runtime.video.isolation.decoder_process import DecoderProcess
    from vtloc_runtime.video.isolation.gpu_decoder_process import GpuDecoderProcess
    from vtloc_runtime.video.isolation.limits import DecoderLimits

AUTO = "auto"


def worker_decoders(
    decoder: str, device: str | None = None, workers: int | None = None
) -> list[str]:
    """The decoder of each worker.

    NVDEC gets two workers for each decoding engine and no more: a session takes some of the GPU's
    memory, and two keep an engine busy.

    Args:
        decoder: ``"cpu"``; ``"nvdec"``, on the GPUs that run the networks; ``"nvdec:N"``; or
            ``"auto"``: NVDEC if it is available, and all processors.
        device: Where the networks run, such as ``"cuda:0,cuda:1"``.
        workers: Maximum number of workers; None means one for each processor, and for ``auto``
            NVDEC's in addition.

    Raises:
        UsageError: The decoder is unknown.
        MissingExtraError: NVDEC is asked for, and a package is missing.
        BackendError: NVDEC is asked for, and not available.
    """
    processors = available_processors()
    if decoder == PROCESSOR:
        return [PROCESSOR] * (workers or processors)
    if decoder != AUTO:
        sessions = _sessions(decoder, device)
        return sessions[: workers or processors]
    try:
        sessions = _sessions("nvdec", device)
    except (MissingExtraError, BackendError):
        sessions = []
    return (sessions + [PROCESSOR] * processors)[: workers or None]


def _sessions(decoder: str, device: str | None) -> list[str]:
    """Sessions on all GPUs, taken from each GPU in turn."""
    from vtloc_runtime.video.decoders.nvdec.api import gpu_ordinal, open_nvdec

    ordinals = [gpu_ordinal(decoder)]
    if decoder == "nvdec" and device is not None and device.startswith("cuda"):
        ordinals = [int(one.partition(":")[2] or 0) for one in device.split(",")]
    counts = [open_nvdec(f"nvdec:{ordinal}").sessions for ordinal in ordinals]
    turns = islice(cycle(ordinals), max(counts) * len(ordinals))
    left = dict(zip(ordinals, counts, strict=True))
    found = []
    for ordinal in turns:
        if left[ordinal]:
            left[ordinal] -= 1
            found.append(f"nvdec:{ordinal}")
    return found


def open_readers(
    decoders: Sequence[str | None],
    limits: DecoderLimits,
    stack: ExitStack,
    *,
    fallback: bool = False,
    start: bool = False,
) -> list[Read]:
    """A reader for each worker, which decodes in other processes.

    Args:
        decoders: The decoder of each worker; None leaves it to the options of each video.
        limits: Limits of each decoder process.
        stack: Ends the processes.
        fallback: Decode a video that NVDEC refuses on the processor, which gives the same frames.
        start: Start all processes now, rather than with their first videos.

    Raises:
        BackendError: A process does not start, or lacks a sandbox that is required.
    """
    shared: dict[str, GpuDecoderProcess] = {}
    readers: list[Read] = []
    for decoder in decoders:
        if decoder is None or decoder == PROCESSOR:
            process = stack.enter_context(_LateDecoder(limits))
            if start:
                process.start()
            read: Read = process.read
        else:
            if decoder not in shared:
                from vtloc_runtime.video.isolation.gpu_decoder_process import GpuDecoderProcess

                shared[decoder] = stack.enter_context(GpuDecoderProcess(limits))
                if start:
                    shared[decoder].start()
            read = shared[decoder].read
        readers.append(read if decoder is None else decode_with(read, decoder, fallback=fallback))
    return readers


class _LateDecoder(Closing):
    """A decoder process whose code is loaded with its first video: not if all are cached.

    Args:
        limits: How far it may go.
    """

    def __init__(self, limits: DecoderLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._process: DecoderProcess | None = None
        self._closed = False

    def start(self) -> None:
        """Start the process now."""
        self._loaded().start()

    def read(self, source: Any, options: VideoOptions, size: int) -> Reading:
        """Read a video, as `DecoderProcess.read` does."""
        return self._loaded().read(source, options, size)

    def close(self) -> None:
        """End the process; a reading in progress fails."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.close()

    def _loaded(self) -> DecoderProcess:
        from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

        with self._lock:
            if self._process is None:
                self._process = DecoderProcess(self._limits)
                if self._closed:
                    self._process.close()
            return self._process


def describe_decoders(decoders: Sequence[str | None]) -> str:
    """What decodes, and the most that it takes of each GPU's memory, by arithmetic."""
    from vtloc_runtime.video.decoders.nvdec.memory import describe_sessions

    counts = Counter(decoder or PROCESSOR for decoder in decoders)
    processors = counts.pop(PROCESSOR, 0)
    parts = [f"{name}: {describe_sessions(count)}" for name, count in counts.items()]
    if processors:
        parts.append(f"processors: {processors} at once")
    return "; ".join(parts)


def decode_with(read: Read, decoder: str, *, fallback: bool = False) -> Read:
    """Read videos with one decoder.

    Args:
        read: Decodes the video, here or in another process.
        decoder: The decoder.
        fallback: Decode a video that NVDEC refuses on the processor, which gives the same frames.
    """

    def reading(source: Any, options: VideoOptions, size: int) -> Reading:
        if options.instants == PICTURE_INSTANTS:
            # A picture that asks, which NVDEC does not decode.
            yield from read(source, replace(options, decoder=PROCESSOR), size)
            return
        given = 0
        try:
            for part in read(source, replace(options, decoder=decoder), size):
                yield part
                given += 1
        except VideoError as error:
            if not fallback or decoder == PROCESSOR or not _refused(error):
                raise
            # The chunks are the same, so skip those that were returned.
            again = read(source, replace(options, decoder=PROCESSOR), size)
            yield from islice(again, given, None)

    return reading


def _refused(error: VideoError) -> bool:
    from vtloc_runtime.video.decoders.nvdec.api import ON_PROCESSOR

    return error.remedy == ON_PROCESSOR
