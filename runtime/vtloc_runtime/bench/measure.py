"""How fast a bundle runs here: each network, decoding, and the whole, beside the roofline."""

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

from vtloc_runtime.bench.network_cost import NetworkCost, network_cost
from vtloc_runtime.bench.report import BenchReport, StageResult
from vtloc_runtime.bench.roofline import Peak, bound, cpu_peak, gpu_peak
from vtloc_runtime.bench.video import write_bench_video
from vtloc_runtime.bundle.manifest import NETWORK_NAMES, NetworkName
from vtloc_runtime.errors import BackendError, MissingExtraError, UsageError
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.networks.load import open_network, preferred_precision, resolve_device
from vtloc_runtime.networks.replicas import SpreadNetwork
from vtloc_runtime.system.processors import available_processors

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
        batches: Frames or sentences in one run.
        frames: Lengths of the video that the localizer sees.
        tokens: Tokens of a sentence.
        callers: Threads that call at once.
        threads: Threads of one run on the CPU; None takes what the process may use.
        seconds: How long each measurement goes on.
        video: A video for decoding and the whole; None makes one.
        decoder: What decodes it.
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


def bench(
    bundle: Bundle, options: BenchOptions, *, progress: Callable[[str], None] = lambda _: None
) -> BenchReport:
    """Measure a bundle on this machine.

    Args:
        bundle: The bundle.
        options: What to measure.
        progress: Told what is measured next.

    Raises:
        UsageError: An option makes no sense.
        BackendError: The backend cannot serve here.
        EngineError: No TensorRT engine fits this machine.
        VideoError: The video cannot be read.
    """
    _check(options)
    device = resolve_device(options.backend, options.device)
    threads = options.threads or available_processors()
    peak = _peak(device, threads)
    stages: list[StageResult] = []
    notes: list[str] = [] if peak is not None else ["this GPU's peak is not in the table"]
    device_bytes = 0
    precisions: dict[NetworkName, str] = {}
    for name in NETWORK_NAMES:
        chosen = options.precision or preferred_precision(
            bundle, name, backend=options.backend, device=device
        )
        precisions[name] = chosen
        with open_network(
            bundle,
            name,
            backend=options.backend,
            device=device,
            precision=chosen,
            threads=options.threads,
        ) as network:
            backend = network.backend
            for shape in _shapes(network, options):
                progress(f"{name} {shape}")
                stages.append(
                    _measure_network(bundle, network, chosen, shape, options, peak, notes)
                )
            copies = network.copies if isinstance(network, SpreadNetwork) else (network,)
            device_bytes += sum(
                getattr(getattr(copy, "memory", None), "device_bytes", 0) for copy in copies
            )
    with ExitStack() as stack:
        video = options.video
        if video is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            progress("a video to measure with")
            video = write_bench_video(folder)
        progress("the whole, from video to moment")
        stages.extend(_measure_whole(bundle, video, options))
        shown = str(options.video) if options.video else f"{video.name}, made for this"
    return BenchReport(
        bundle=bundle.manifest.name,
        backend=backend,
        precision="/".join(dict.fromkeys(precisions.values())),
        processor=_processor(device),
        callers=options.callers,
        peak=peak,
        stages=tuple(stages),
        host_bytes=_most_memory(),
        device_bytes=device_bytes,
        video=shown,
        notes=tuple(dict.fromkeys(notes)),
    )


@dataclass(frozen=True, slots=True)
class _RunShape:
    """The lengths of one run."""

    batch: int
    frames: int = 0
    tokens: int = 0

    def __str__(self) -> str:
        named = {"batch": self.batch, "frames": self.frames, "tokens": self.tokens}
        return ", ".join(f"{axis} {length}" for axis, length in named.items() if length)


def _check(options: BenchOptions) -> None:
    numbers = (*options.batches, *options.frames, options.tokens, options.callers)
    if min(numbers) < 1 or options.seconds <= 0 or not options.batches or not options.frames:
        raise UsageError("batches, frames, tokens, callers and seconds must be positive")


def _shapes(network: Network, options: BenchOptions) -> Iterator[_RunShape]:
    first = next(iter(network.inputs))
    batches = sorted({network.inputs[first].batch(batch) for batch in options.batches})
    tokens = _within(network, "tokens", options.tokens)
    if network.name == "visual":
        yield from (_RunShape(batch) for batch in batches)
    elif network.name == "text":
        yield from (_RunShape(batch, tokens=tokens) for batch in batches)
    else:
        lengths = sorted({_within(network, "frames", length) for length in options.frames})
        yield from (_RunShape(1, length, tokens) for length in lengths)
        yield _RunShape(batches[-1], lengths[0], tokens)


def _within(network: Network, axis: str, wanted: int) -> int:
    for spec in network.inputs.values():
        if spec.limits is not None and axis in spec.limits:
            low, high = spec.limits[axis]
            return max(low, min(wanted, high))
    return wanted


def _inputs(network: Network, shape: _RunShape) -> dict[str, Array]:
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


def _measure_network(  # noqa: PLR0917 - one measurement's whole surroundings
    bundle: Bundle,
    network: Network,
    precision: str,
    shape: _RunShape,
    options: BenchOptions,
    peak: Peak | None,
    notes: list[str],
) -> StageResult:
    inputs = _inputs(network, shape)
    latencies, wall = _time(lambda: network.run(inputs), options.seconds, options.callers)
    item = {"visual": "frame", "text": "sentence"}.get(network.name, "answer")
    limit = None
    if peak is not None:
        cost = _cost(bundle, network, precision, shape, notes)
        if cost is not None:
            limit = bound(cost, peak, precision=precision, batch=shape.batch)
    return _result(
        network.name,
        str(shape),
        item,
        latencies,
        rate=len(latencies) * shape.batch / wall,
        roofline=None if limit is None else 1 / limit.seconds,
        bound_by="" if limit is None else limit.by,
    )


def _cost(
    bundle: Bundle, network: Network, precision: str, shape: _RunShape, notes: list[str]
) -> NetworkCost | None:
    single = _RunShape(1, shape.frames, shape.tokens)
    name: NetworkName = next(known for known in NETWORK_NAMES if known == network.name)
    try:
        return network_cost(bundle, name, precision, _inputs(network, single))
    except MissingExtraError as error:
        notes.append(f"no roofline: {error}")
        return None


def _measure_whole(bundle: Bundle, video: Path, options: BenchOptions) -> Iterator[StageResult]:
    """Decoding alone, encoding a video, answering about it, and all of it together."""
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

        # Other sentences each time, or the text network would be asked only once.
        counter = iter(range(sys.maxsize))

        def answer() -> None:
            localizer.localize(encoded, f"{_QUERY} {next(counter)}")

        shape = f"{len(encoded)} frames of {length:.0f} s"
        for stage, item, work, amount in (
            ("decode", "video s", decode, length),
            ("answer", "answer", answer, 1.0),
            ("whole", "video s", whole, length),
        ):
            latencies, wall = _time(work, options.seconds, options.callers)
            yield _result(stage, shape, item, latencies, rate=len(latencies) * amount / wall)


def _time(work: Callable[[], object], seconds: float, callers: int) -> tuple[list[float], float]:
    """Latencies of every run and the time they took together, once it has warmed up."""
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


def _result(
    stage: str,
    shape: str,
    item: str,
    latencies: list[float],
    *,
    rate: float,
    roofline: float | None = None,
    bound_by: str = "",
) -> StageResult:
    p50, p90, p99 = (float(ms) for ms in np.percentile(np.array(latencies) * 1000, (50, 90, 99)))
    return StageResult(stage, shape, item, rate, p50, p90, p99, len(latencies), roofline, bound_by)


def _peak(device: str, threads: int) -> Peak | None:
    if device == "cpu":
        return cpu_peak(_cpu_name(), threads)
    return gpu_peak(_processor(device))


def _processor(device: str) -> str:
    if device == "cpu":
        return _cpu_name()
    from vtloc_runtime.networks.tensorrt.api import device_ordinal, import_cuda, open_device

    try:
        # Several GPUs of one run are of a kind.
        first = device.partition(",")[0]
        name = str(open_device(import_cuda(), device_ordinal(first)).name)
    except (MissingExtraError, BackendError):
        # ONNX Runtime on a GPU needs no cuda-core; then the GPU stays without a name.
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
