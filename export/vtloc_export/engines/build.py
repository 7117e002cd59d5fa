"""ONNX to TensorRT: the engines of a bundle, built once and found again."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import msgspec

from vtloc_export.engines.builder import Plan, PlanRequest, build_plan, reads_timing_cache
from vtloc_export.engines.profiles import (
    Traffic,
    check_traffic,
    network_profiles,
    runtime_traffic,
)
from vtloc_export.engines.progress import SilentProgress
from vtloc_export.engines.target import BackendChoice, EngineBuilder, choose_builder
from vtloc_export.precision.graph_check import LEAST_HALF, half_share
from vtloc_runtime import __version__
from vtloc_runtime.bundle.engine_file import (
    ENGINE_SCHEMA_VERSION,
    LOG_SUFFIX,
    PLAN_SUFFIX,
    SIDECAR_SUFFIX,
    Engine,
    EngineIdentity,
    EngineSettings,
    EngineSidecar,
    engine_stem,
)
from vtloc_runtime.bundle.manifest import NETWORK_NAMES, NetworkName
from vtloc_runtime.errors import EngineError, OutputError, UsageError
from vtloc_runtime.system.atomic_write import atomic_write
from vtloc_runtime.system.output_check import check_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vtloc_export.engines.progress import BuildProgress
    from vtloc_runtime.bundle.bundle import Bundle


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What to build, for which machine, and how.

    Attributes:
        target: A compute capability such as ``"sm80"``, or ``"local"``.
        backend: Which TensorRT flavour; ``"auto"`` takes TensorRT where its GPU is the target.
        precision: Which variant of the networks.
        networks: Which networks; empty takes all that the bundle has.
        traffic: The expected traffic, a profile each; empty takes what the runtime sends.
        settings: The builder's settings.
        timing_cache: A file that keeps tactic timings between builds.
        force: Build again what is there already.
    """

    target: str
    backend: BackendChoice = "auto"
    precision: str = "fp16"
    networks: tuple[NetworkName, ...] = ()
    traffic: tuple[Traffic, ...] = ()
    settings: EngineSettings = field(default_factory=EngineSettings)
    timing_cache: Path | None = None
    force: bool = False


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What became of one network.

    Attributes:
        engine: The engine.
        built: Whether it was built now; otherwise it was found.
        reason: Why it was built.
    """

    engine: Engine
    built: bool
    reason: str = ""


def build_engines(
    bundle: Bundle, options: EngineOptions, *, progress: BuildProgress | None = None
) -> tuple[EngineReport, ...]:
    """Build the engines of a bundle, or find those that were built already.

    An engine is found only where the ONNX file, the builder and its version, the GPU,
    the profiles and the settings are all the same, and the plan is whole.

    Args:
        bundle: The bundle; its ``engines`` folder takes the plans.
        options: What to build.
        progress: Who listens; None shows nothing.

    Raises:
        EngineError: A network cannot be built for the target, and why.
        BundleError: The bundle lacks the precision, or a file of it was altered.
        UsageError: The target or the traffic is invalid.
        OutputError: The bundle's folder cannot be written, or the timing cache is an input or
            another file.
    """
    progress = progress or SilentProgress()
    check_traffic(bundle, options.traffic)
    names = _networks(bundle, options)
    for name in names:
        bundle.variant(name, options.precision)
    builder = choose_builder(options.backend, options.target)
    if options.timing_cache is not None and builder.capability is not None:
        raise UsageError(
            "TensorRT-RTX times nothing ahead of time, so a timing cache has no use",
            where="--timing-cache",
        )
    cache = _read_timing_cache(options)
    _check_timing_cache(bundle, builder, options, cache)
    settings = options.settings
    if settings.frozen_timings:
        settings = msgspec.structs.replace(
            settings, timing_cache_sha256=hashlib.sha256(cache or b"").hexdigest()
        )
    reports = []
    for name in names:
        file = bundle.variant(name, options.precision)
        identity = EngineIdentity(
            network=name,
            precision=options.precision,
            onnx_sha256=file.sha256,
            flavour=builder.api.flavour,
            version=builder.api.version,
            target=builder.target,
            profiles=network_profiles(
                file.inputs, options.traffic or runtime_traffic(bundle, name)
            ),
            settings=settings,
        )
        found, reason = _find(bundle, identity)
        if found is not None and not options.force:
            reports.append(EngineReport(found, built=False))
            continue
        model = bundle.onnx(file).single("building an engine")
        if options.precision == "fp16":
            _require_half(model, where=f"{name} {options.precision}")
        request = PlanRequest(
            title=f"{name} {options.precision}",
            model=model,
            network=file,
            profiles=identity.profiles,
            settings=settings,
            timing_cache=cache,
        )
        engine, cache = _build(bundle, builder, identity, request, progress)
        if options.timing_cache is not None and cache is not None and not settings.frozen_timings:
            _write_atomically(options.timing_cache, cache)
        reports.append(EngineReport(engine, built=True, reason=reason or "it was asked for"))
    return tuple(reports)


def _networks(bundle: Bundle, options: EngineOptions) -> tuple[NetworkName, ...]:
    """The networks to build, in the order in which they run."""
    for name in options.networks:
        if name not in bundle.manifest.networks:
            raise UsageError(
                f"the bundle has no {name} network",
                where="--network",
                remedy=f"It has {', '.join(bundle.manifest.networks)}",
            )
    wanted = options.networks or tuple(bundle.manifest.networks)
    return tuple(name for name in NETWORK_NAMES if name in wanted)


def _find(bundle: Bundle, identity: EngineIdentity) -> tuple[Engine | None, str]:
    """The engine of this identity, or why there is none."""
    path = _path(bundle, identity, SIDECAR_SUFFIX)
    if not path.exists():
        return None, "there was none"
    try:
        engine = Engine.open(path)
        # An engine runs under any driver that its TensorRT does; --force times it again.
        here = msgspec.structs.replace(identity.target, driver=engine.identity.target.driver)
        wanted = msgspec.structs.replace(identity, target=here)
        if differences := wanted.differences(engine.identity):
            return None, "it differed: " + "; ".join(differences)
        engine.read_plan()
    except EngineError as error:
        return None, error.what
    return engine, ""


def _build(
    bundle: Bundle,
    builder: EngineBuilder,
    identity: EngineIdentity,
    request: PlanRequest,
    progress: BuildProgress,
) -> tuple[Engine, bytes | None]:
    progress.start(f"{request.title} for {identity.target.sm}")
    with _kept_log(_path(bundle, identity, LOG_SUFFIX)) as record:
        record(f"{identity.flavour} {identity.version}, {identity.target}")
        plan = build_plan(builder, request, progress=progress, record=record)
    return _write(bundle, identity, request, plan), plan.timing_cache


def _write(bundle: Bundle, identity: EngineIdentity, request: PlanRequest, plan: Plan) -> Engine:
    plan_path = _path(bundle, identity, PLAN_SUFFIX)
    sidecar_path = _path(bundle, identity, SIDECAR_SUFFIX)
    sidecar = EngineSidecar(
        schema=ENGINE_SCHEMA_VERSION,
        identity=identity,
        plan=plan_path.name,
        plan_sha256=plan.sha256,
        plan_bytes=len(plan.content),
        inputs=request.network.inputs,
        outputs=request.network.outputs,
        build_seconds=round(plan.seconds, 3),
        created_by=f"vtloc-export {__version__}",
    )
    # The sidecar goes first and comes last: a plan is never described by another one's.
    with _writing(sidecar_path):
        sidecar_path.unlink(missing_ok=True)
    _write_atomically(plan_path, plan.content)
    _write_atomically(sidecar_path, msgspec.json.format(msgspec.json.encode(sidecar), indent=2))
    return Engine(sidecar_path, sidecar)


def _path(bundle: Bundle, identity: EngineIdentity, suffix: str) -> Path:
    stem = engine_stem(identity.network, identity.precision, identity.flavour, identity.target)
    return bundle.engines / f"{stem}{suffix}"


def _read_timing_cache(options: EngineOptions) -> bytes | None:
    path = options.timing_cache
    if path is None:
        if options.settings.frozen_timings:
            raise EngineError(
                "frozen timings need a timing cache", remedy="Name the file with --timing-cache"
            )
        return None
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if options.settings.frozen_timings:
            raise EngineError("there is no such timing cache", where=path) from None
        return b""
    except OSError as error:
        raise EngineError(f"cannot read the timing cache: {error.strerror}", where=path) from error


def _require_half(content: bytes, *, where: str) -> None:
    """Refuse a network that is called FP16 and whose weights are FP32: its engine would be, too."""
    try:
        import onnx
    except ImportError:
        # The export has looked, too; building itself needs nothing but TensorRT.
        return
    share = half_share(onnx.load_from_string(content))
    if share < LEAST_HALF:
        raise EngineError(
            f"the network is called FP16, and {1 - share:.0%} of its weights are FP32: the engine "
            "would compute in FP32",
            where=where,
            remedy="Export the bundle again with: vtloc-export onnx CHECKPOINT --precision fp16",
        )


def _check_timing_cache(
    bundle: Bundle, builder: EngineBuilder, options: EngineOptions, content: bytes | None
) -> None:
    """Refuse to update a file that holds something other than timings."""
    path = options.timing_cache
    if path is None or content is None:
        return
    if not options.settings.frozen_timings:
        inputs = [("the bundle", bundle.path)]
        check_output(path, inputs=inputs, ours=lambda _: reads_timing_cache(builder, content))
    elif not reads_timing_cache(builder, content):
        raise EngineError(
            "the file holds no timings that TensorRT can read",
            where=path,
            remedy="Name the file that an earlier build wrote with --timing-cache",
        )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write the file: {error.strerror}",
            where=path,
            remedy="Copy the bundle to a folder that can be written",
        ) from error


@contextlib.contextmanager
def _kept_log(path: Path) -> Iterator[Callable[[str], None]]:
    """A file that takes the builder's log line by line, and is kept however the build ends."""
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8", buffering=1)
    with file:
        yield lambda line: _write_line(file, line)


def _write_line(file: TextIO, line: str) -> None:
    # TensorRT calls this from its own code, which no exception may cross.
    with contextlib.suppress(OSError):
        file.write(f"{line}\n")


def _write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(content)
