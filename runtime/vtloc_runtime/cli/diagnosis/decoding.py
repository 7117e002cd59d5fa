"""Which videos can be decoded, in which sandbox, and whether a GPU can."""

from __future__ import annotations

from vtloc_runtime.cli.diagnosis.findings import Finding
from vtloc_runtime.errors import VtlocError
from vtloc_runtime.system.installation import install_command
from vtloc_runtime.system.nvidia_driver import installed_version

_DECODERS = ("h264", "hevc", "vp9", "av1", "mpeg4", "mpeg2video", "vp8", "prores")


def video_decoding() -> Finding:
    """PyAV, and the decoders that it brings."""
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


def decoder_sandbox() -> Finding:
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


def gpu_decoding() -> Finding:
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
