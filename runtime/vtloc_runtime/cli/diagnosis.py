"""What this machine can run, and why not the rest: found by trying, not by guessing."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE_DIGEST, Bundle
from vtloc_runtime.bundle.user_folder import bundle_for
from vtloc_runtime.errors import VtlocError
from vtloc_runtime.localize.presence.comparison import Comparison
from vtloc_runtime.networks.onnxruntime_package import (
    FIRST_WITH_EXTERNAL_DATA,
    import_onnxruntime,
    release,
)
from vtloc_runtime.networks.tensorrt.engine_choice import list_engines
from vtloc_runtime.system.installation import install_command
from vtloc_runtime.system.nvidia_driver import (
    OLDEST_CUDA,
    cuda_builds,
    cuda_version,
    installed_version,
)
from vtloc_runtime.system.processors import (
    INT8_INSTRUCTIONS,
    available_processors,
    processor_instructions,
)

if TYPE_CHECKING:
    from pathlib import Path

State = Literal["ok", "absent", "problem"]

_DECODERS = ("h264", "hevc", "vp9", "av1", "mpeg4", "mpeg2video", "vp8", "prores")
_SERVICES = (("onnxruntime", "cpu"), ("onnxruntime", "cuda"), ("tensorrt", "cuda"))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What it is.
        state: ``ok``; ``absent``, where only some work needs it; ``problem``, to be fixed.
        detail: What was found.
        remedy: What can be done about it.
    """

    subject: str
    state: State
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A way to run the bundle here, tried out.

    Attributes:
        backend: Which backend.
        device: On which device.
        serves: Whether it answered.
        detail: The precisions that ran, or why it cannot serve.
        remedy: What can be done about it.
    """

    backend: str
    device: str
    serves: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was found.

    Attributes:
        findings: Parts of the machine and of the installation.
        services: Ways to run the bundle.
    """

    findings: tuple[Finding, ...]
    services: tuple[Service, ...]

    @property
    def serves(self) -> bool:
        """Whether anything here can run the bundle."""
        return any(service.serves for service in self.services)

    def to_json(self) -> dict[str, Any]:
        """The diagnosis as plain JSON values."""
        return asdict(self)


def diagnose(bundle: str | Path | None = None, *, digest: str | None = None) -> Diagnosis:
    """Look at the machine, the installed packages and a bundle.

    Args:
        bundle: The bundle's directory; None looks at the one that ships with the project.
        digest: The digest that the bundle must have; None takes any.
    """
    findings = [_machine(), *_packages(), _driver(), *_builds(), _video_decoding(), _sandbox()]
    findings.append(_gpu_decoding())
    opened, bundle_findings = _bundle(bundle, digest)
    services = () if opened is None else tuple(_try(opened, *place) for place in _SERVICES)
    return Diagnosis((*findings, *bundle_findings), services)


def _machine() -> Finding:
    instructions = processor_instructions()
    detail = (
        f"{platform.system()} {platform.machine()}, {available_processors()} processors, "
        f"{', '.join(instructions) or 'instructions unknown'}"
    )
    if not INT8_INSTRUCTIONS & set(instructions):
        detail += "; no INT8 instructions, so int8 saves memory but no time"
    return Finding("processor", "ok", detail)


def _packages() -> Iterator[Finding]:
    yield Finding("python", "ok", platform.python_version())
    yield _onnxruntime()
    for package, names, extra, purpose in (
        ("tensorrt", ("tensorrt-cu12", "tensorrt-cu13"), "tensorrt", "engines on NVIDIA GPUs"),
        (
            "tensorrt-rtx",
            ("tensorrt-rtx-cu13",),
            "tensorrt-rtx",
            "engines for RTX GPUs, and compile checks without a GPU",
        ),
        ("cuda-core", ("cuda-core",), "tensorrt", "running engines"),
        ("opentimelineio", ("opentimelineio",), "editing", "--format otio"),
        ("matplotlib", ("matplotlib",), "plot", "--plot"),
    ):
        found = [f"{name} {is_there}" for name in names if (is_there := installed_version(name))]
        if found:
            yield Finding(package, "ok", ", ".join(found))
        else:
            remedy = install_command(extra)
            yield Finding(package, "absent", f"only needed for {purpose}", remedy)


def _builds() -> Iterator[Finding]:
    """Packages that were built for another CUDA than the driver runs, or for each other's."""
    driver, builds = cuda_version(), list(cuda_builds())
    majors = {build.cuda for build in builds if build.package.startswith("tensorrt")}
    if len(majors) > 1:
        yield Finding(
            "tensorrt",
            "problem",
            "tensorrt-cu12 and tensorrt-cu13 are both installed; they overwrite each other's files",
            f"pip uninstall tensorrt-cu12 tensorrt-cu13 tensorrt, then "
            f"{install_command('tensorrt')}",
        )
    if driver is None:
        return
    runs = f"CUDA {driver[0]}.{driver[1]}"
    if builds and driver < OLDEST_CUDA:
        yield Finding(
            "NVIDIA driver",
            "problem",
            f"it runs {runs}; TensorRT's packages need CUDA 12.2",
            "Update the driver to 535 or later",
        )
        return
    for build in builds:
        if build.cuda > driver[0]:
            yield Finding(
                build.package,
                "problem",
                f"{build.version} is built for CUDA {build.cuda}; the driver runs {runs}",
                f"{install_command(build.extra)}, or update the driver to 580",
            )


def _onnxruntime() -> Finding:
    builds = {
        name: found
        for name in ("onnxruntime", "onnxruntime-gpu")
        if (found := installed_version(name))
    }
    named = " and ".join(f"{name} {found}" for name, found in builds.items())
    if len(builds) > 1:
        return Finding(
            "onnxruntime",
            "problem",
            f"{named} are both installed; they overwrite each other's files",
            "pip uninstall onnxruntime onnxruntime-gpu, then install the one you want",
        )
    if not builds:
        return Finding("onnxruntime", "absent", "needed on processors", install_command("cpu"))
    try:
        onnxruntime = import_onnxruntime(extra="cpu", purpose="running on processors")
        providers = ", ".join(onnxruntime.get_available_providers())
    except (VtlocError, ImportError, AttributeError, OSError) as error:
        return Finding(
            "onnxruntime",
            "problem",
            f"{named} does not load: {error}",
            "pip uninstall onnxruntime onnxruntime-gpu, then install the one you want",
        )
    detail = f"{named}: {providers}"
    if release(onnxruntime.__version__) < FIRST_WITH_EXTERNAL_DATA:
        detail += "; bundles with external data need 1.27 or later"
    return Finding("onnxruntime", "ok", detail)


def _driver() -> Finding:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Finding("NVIDIA driver", "absent", "only needed for GPUs", "Install NVIDIA's driver")
    number, count = ctypes.c_int(0), ctypes.c_int(0)
    code = driver.cuInit(0)
    if code != 0:
        return Finding(
            "NVIDIA driver",
            "problem",
            f"the driver is installed but does not start (CUDA error {code})",
            "See whether nvidia-smi answers, and whether this container was given a GPU",
        )
    driver.cuDriverGetVersion(ctypes.byref(number))
    driver.cuDeviceGetCount(ctypes.byref(count))
    names = ", ".join(_gpu(driver, index) for index in range(count.value)) or "no GPU"
    cuda = f"CUDA {number.value // 1000}.{number.value % 1000 // 10}"
    return Finding("NVIDIA driver", "ok" if count.value else "problem", f"{cuda}: {names}")


def _gpu(driver: Any, index: int) -> str:
    name = ctypes.create_string_buffer(96)
    major, minor = ctypes.c_int(0), ctypes.c_int(0)
    driver.cuDeviceGetName(name, len(name), index)
    # Attributes 75 and 76 are the two numbers of the compute capability.
    driver.cuDeviceGetAttribute(ctypes.byref(major), 75, index)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), 76, index)
    return f"{name.value.decode(errors='replace')} (sm{major.value}{minor.value})"


def _video_decoding() -> Finding:
    try:
        import av
    except (ImportError, OSError) as error:
        return Finding(
            "video decoding", "problem", f"PyAV does not load: {error}", "pip install av"
        )
    libraries = ".".join(str(part) for part in av.library_versions.get("libavcodec", ()))
    missing = [name for name in _DECODERS if name not in av.codecs_available]
    detail = f"PyAV {av.__version__}, libavcodec {libraries}"
    if missing:
        remedy = "Install PyAV's own wheel, which brings every decoder: pip install av"
        return Finding("video decoding", "problem", f"{detail}; no {', '.join(missing)}", remedy)
    return Finding("video decoding", "ok", f"{detail}: {', '.join(_DECODERS)}")


def _sandbox() -> Finding:
    """Whether a decoder process starts, and what holds around it."""
    from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

    try:
        with DecoderProcess() as decoder:
            report = decoder.start()
    except VtlocError as error:
        return Finding("decoder sandbox", "problem", error.what, error.remedy or "")
    if report.complete:
        return Finding("decoder sandbox", "ok", str(report))
    remedy = "Hostile videos are safer on a kernel with Landlock (5.13) and seccomp"
    return Finding("decoder sandbox", "absent", str(report), remedy)


def _gpu_decoding() -> Finding:
    """Whether NVDEC answers: the package loads nowhere but beside a driver."""
    subject, found = "GPU decoding", installed_version("pynvvideocodec")
    if found is None:
        remedy = install_command("decode-gpu")
        return Finding(subject, "absent", "only needed for --decoder nvdec", remedy)
    from vtloc_runtime.video.decoders.choice import require_decoder

    try:
        require_decoder("nvdec")
    except VtlocError as error:
        detail = f"pynvvideocodec {found}, which is only needed for --decoder nvdec: {error.what}"
        return Finding(subject, "absent", detail, error.remedy or "")
    from vtloc_runtime.video.decoders.nvdec.api import open_nvdec
    from vtloc_runtime.video.decoders.nvdec.memory import describe_sessions

    takes = describe_sessions(open_nvdec("nvdec").sessions)
    detail = f"pynvvideocodec {found}: NVDEC answers; {takes}"
    return Finding(subject, "ok", detail)


def _bundle(path: str | Path | None, digest: str | None) -> tuple[Bundle | None, list[Finding]]:
    try:
        bundle = Bundle.open(path, digest=digest)
        for network in bundle.manifest.networks.values():
            for variant in network.variants.values():
                bundle.onnx(variant)
        bundle.tokenizer()
        Comparison.of_bundle(bundle)
    except VtlocError as error:
        detail = f"{error.where}: {error.what}" if error.where else error.what
        return None, [Finding("bundle", "problem", detail, error.remedy or "")]
    precisions = {
        name: "/".join(sorted(network.variants))
        for name, network in bundle.manifest.networks.items()
    }
    detail = ", ".join(f"{name} {found}" for name, found in precisions.items())
    findings = [Finding("bundle", "ok", f"{bundle.manifest.name}, every hash right: {detail}")]
    findings.append(Finding("bundle digest", "ok", _digest(bundle)))
    findings.append(_engines(bundle))
    return bundle, findings


def _engines(bundle: Bundle) -> Finding:
    """What TensorRT would run, and what was compiled ahead of time and runs on no A100 or H100."""
    build = f"vtloc-export trt {bundle.path}"
    try:
        made = bundle_for(bundle, "tensorrt")
        engines = list_engines(made)
    except VtlocError as error:
        return Finding("engines", "absent", f"only needed for TensorRT: {error.what}", build)
    if not engines:
        return Finding("engines", "absent", "only needed for TensorRT", build)
    ahead = [one for one in engines if one.identity.flavour == "tensorrt-rtx"]
    names = ", ".join(engine.plan_path.name for engine in engines)
    note = "; those named rtx were compiled ahead of time, for RTX GPUs" if ahead else ""
    return Finding("engines", "ok", f"{names} in {made.engines}{note}")


def _digest(bundle: Bundle) -> str:
    if bundle.pinned:
        return f"{bundle.digest}, as asked for"
    shipped = bundle.digest == DEFAULT_BUNDLE_DIGEST
    return f"{bundle.digest}{', as it was shipped' if shipped else ''}"


def _try(bundle: Bundle, backend: str, device: str) -> Service:
    """Open the bundle in one way and ask it two sentences, unequal so that one is padded."""
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.localizer import Localizer

    size = bundle.manifest.preprocessing.size
    try:
        with Localizer.open(bundle, backend=backend, device=device) as localizer:
            features = localizer.encoder.run(np.zeros((2, size, size, 3), dtype=np.uint8))
            video = EncodedVideo(features, np.arange(2.0), 2.0)
            localizer.localize(video, ["a door", "a person opens the door of a car"])
            return Service(backend, device, serves=True, detail=f"answered on {localizer.backend}")
    except VtlocError as error:
        detail = f"{error.where}: {error.what}" if error.where else error.what
        return Service(backend, device, serves=False, detail=detail, remedy=error.remedy or "")
    except Exception as error:
        if os.environ.get("VTLOC_DEBUG"):
            raise
        detail = f"{type(error).__name__}: {error}"
        return Service(backend, device, serves=False, detail=detail)
