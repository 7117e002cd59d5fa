"""Measure a bundle on this machine: each network, decoding, and the whole."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.bench.report import BenchReport, RunShape, StageResult
from vtloc_runtime.bench.video import write_bench_video
from vtloc_runtime.errors import BackendError, MissingExtraError, UsageError
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.networks.load import Placement, open_network
from vtloc_runtime.networks.replicas import ReplicatedNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.networks.interface import Array, Network

_WARM_UP = 3
_FEWEST = 5
_QUERY = "a person walks across the room"


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure, and for how long.

    Attributes:
        backend: ``"onnxruntime"`` or ``"tensorrt"``.
        device: The device; None takes the backend's first.
        precision: The precision; None takes the best for the device.
        batches: Batch sizes, in frames or sentences.
        frames: Video lengths for the localizer network, in frames.
        tokens: Tokens of a sentence.
        callers: Threads that call the network at the same time.
        threads: CPU threads for one run; None takes all that the process may use.
        seconds: How long to repeat each measurement.
        video: A video to decode and search; None makes one.
        decoder: The video decoder.
    """

    backend: str = "onnxruntime"
    device: str | None = None
    precision: str | None = None
    batches: tuple[int, ...] = (1, 8, 32)
    frames: tuple[int, ...] = (64, 256)
    tokens: int = 16
    callers: int = 1
    threads: int | None = None
    seconds: float = 2.0
    video: Path | None = None
    decoder: str = "cpu"


def measure(
    bundle: Bundle, options: BenchOptions, *, progress: Callable[[str], None] = lambda _: None
) -> BenchReport:
    """Measure a bundle on this machine.

    Args:
        bundle: The bundle.
        options: What to measure.
        progress: Called with the name of each measurement before it starts.

    Raises:
        UsageError: An option is out of range.
        BackendError: The backend cannot serve here.
        EngineError: No TensorRT engine fits this machine.
        VideoError: The video cannot be read.
    """
    _check(options)
    placement = Placement.choose(
        bundle, backend=options.backend, device=options.device, precision=options.precision
    )
    stages: list[StageResult] = []
    device_bytes = 0
    for name, precision in placement.precisions.items():
        with open_network(
            bundle,
            name,
            backend=options.backend,
            device=placement.device,
            precision=precision,
            threads=options.threads,
        ) as network:
            backend = network.backend
            for shape in _shapes(network, options):
                progress(f"{name} {shape}")
                stages.append(_measure_network(network, precision, shape, options))
            replicas = network.copies if isinstance(network, ReplicatedNetwork) else (network,)
            device_bytes += sum(
                getattr(getattr(replica, "memory", None), "device_bytes", 0) for replica in replicas
            )
    with ExitStack() as stack:
        video = options.video
        if video is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            progress("the making of a video")
            video = write_bench_video(folder)
        progress("the whole, from video to moment")
        stages.extend(_measure_whole(bundle, video, options))
        shown = str(options.video) if options.video else f"{video.name}, made for this"
    return BenchReport(
        bundle=bundle.manifest.name,
        backend=backend,
        precision="/".join(dict.fromkeys(placement.precisions.values())),
        processor=_processor(placement.device),
        callers=options.callers,
        stages=tuple(stages),
        host_bytes=_most_memory(),
        device_bytes=device_bytes,
        video=shown,
    )


def _check(options: BenchOptions) -> None:
    numbers = (*options.batches, *options.frames, options.tokens, options.callers)
    if min(numbers) < 1 or options.seconds <= 0 or not options.batches or not options.frames:
        raise UsageError("batches, frames, tokens, callers and seconds must be positive")


def _shapes(network: Network, options: BenchOptions) -> Iterator[RunShape]:
    first = next(iter(network.inputs))
    batches = sorted({network.inputs[first].batch(batch) for batch in options.batches})
    tokens = _within(network, "tokens", options.tokens)
    if network.name == "visual":
        yield from (RunShape(batch) for batch in batches)
    elif network.name == "text":
        yield from (RunShape(batch, tokens=tokens) for batch in batches)
    else:
        lengths = sorted({_within(network, "frames", length) for length in options.frames})
        yield from (RunShape(1, length, tokens) for length in lengths)
        yield RunShape(batches[-1], lengths[0], tokens)


def _within(network: Network, axis: str, wanted: int) -> int:
    for spec in network.inputs.values():
        if spec.limits is not None and axis in spec.limits:
            low, high = spec.limits[axis]
            return max(low, min(wanted, high))
    return wanted


def example_inputs(network: Network, shape: RunShape) -> dict[str, Array]:
    """Random inputs of a network.

    Args:
        network: The network.
        shape: The lengths of the run.

    Returns:
        An array for each input, of the shape and dtype that the network declares.
    """
    generator = np.random.default_rng(0)
    lengths = {"batch": shape.batch, "frames": shape.frames, "tokens": shape.tokens}
    inputs: dict[str, Array] = {}
    for name, spec in network.inputs.items():
        size = tuple(axis if isinstance(axis, int) else lengths[axis] for axis in spec.shape)
        dtype = np.dtype(spec.dtype)
        if dtype == np.bool_:
            inputs[name] = np.ones(size, bool)
        elif dtype.kind in "iu":
            # The first ids exist in every vocabulary; pixels take the whole range.
            highest = 256 if dtype == np.uint8 else 10
            inputs[name] = generator.integers(0, highest, size).astype(dtype)
        else:
            inputs[name] = generator.standard_normal(size).astype(dtype)
    return inputs


def _measure_network(
    network: Network, precision: str, shape: RunShape, options: BenchOptions
) -> StageResult:
    inputs = example_inputs(network, shape)
    latencies, wall = _time(lambda: network.run(inputs), options.seconds, options.callers)
    item = {"visual": "frame", "text": "sentence"}.get(network.name, "answer")
    return StageResult.summarize(
        network.name,
        str(shape),
        item,
        latencies,
        rate=len(latencies) * shape.batch / wall,
        precision=precision,
        run_shape=shape,
    )


def _measure_whole(bundle: Bundle, video: Path, options: BenchOptions) -> Iterator[StageResult]:
    """Decoding alone, answering a sentence, and the whole."""
    from vtloc_runtime.video import open_video

    with Localizer.open(
        bundle,
        backend=options.backend,
        device=options.device,
        precision=options.precision,
        threads=options.threads,
        decoder=options.decoder,
    ) as localizer:
        encoded = localizer.encode_video(video)
        length = encoded.duration
        reading = localizer.encoder.options()

        def decode() -> None:
            with open_video(video, reading) as reader:
                for _ in reader:
                    pass

        def whole() -> None:
            localizer.localize(localizer.encode_video(video), _QUERY)

        # A new sentence each time, because sentences are encoded once.
        counter = iter(range(sys.maxsize))

        def answer() -> None:
            localizer.localize(encoded, f"{_QUERY} {next(counter)}")

        shape = f"{len(encoded)} frames of {length:.0f} s"
        for stage, item, work, amount in (
            ("decode", "video s", decode, length),
            ("answer", "answer", answer, 1.0),
            ("whole", "video s", whole, length),
        ):
            spent = _processor_seconds()
            latencies, wall = _time(work, options.seconds, options.callers)
            spent = _processor_seconds() - spent
            minutes = (len(latencies) + _WARM_UP) * amount / 60
            yield StageResult.summarize(
                stage,
                shape,
                item,
                latencies,
                rate=len(latencies) * amount / wall,
                processor_seconds=spent / minutes if item == "video s" else None,
            )


def _time(work: Callable[[], object], seconds: float, callers: int) -> tuple[list[float], float]:
    """Latencies of every run after a warm-up, and the time of all, seconds."""
    for _ in range(_WARM_UP):
        work()

    def call_for(deadline: float) -> list[float]:
        latencies: list[float] = []
        while time.perf_counter() < deadline or len(latencies) < _FEWEST:
            started = time.perf_counter()
            work()
            latencies.append(time.perf_counter() - started)
        return latencies

    started = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        done = [pool.submit(call_for, started + seconds) for _ in range(callers)]
        latencies = [latency for part in done for latency in part.result()]
    return latencies, time.perf_counter() - started


def _processor_seconds() -> float:
    """Processor time of this process and of the children that have ended, seconds."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _processor(device: str) -> str:
    if device == "cpu":
        return _cpu_name()
    from vtloc_runtime.networks.tensorrt.api import device_ordinal, import_cuda, open_device

    try:
        # Several GPUs of one run are of a kind.
        first = device.partition(",")[0]
        name = str(open_device(import_cuda(), device_ordinal(first)).name)
    except (MissingExtraError, BackendError):
        # ONNX Runtime does not need cuda-core, which knows the GPU's name.
        return device
    return name


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "CPU"
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else "CPU"


def _most_memory() -> int:
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
