"""What the machine offers for decoding on the GPU: PyNvVideoCodec, cuda-core, and NVDEC itself.

Nothing here is imported before it is asked for. Names and arguments of every call are held
against the real bindings by a test.
"""

from __future__ import annotations

import importlib
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vtloc_runtime.errors import BackendError, MissingExtraError, UsageError, VideoError
from vtloc_runtime.video.decoders.nvdec import capabilities
from vtloc_runtime.video.decoders.nvdec.session_pool import SessionPool

if TYPE_CHECKING:
    from vtloc_runtime.video.decoders.nvdec.capabilities import DecoderCapabilities

CODECS = {"h264": "H264", "hevc": "HEVC", "vp8": "VP8", "vp9": "VP9", "av1": "AV1"}
"""Codecs whose decoders must all give the same bits, and NVDEC's names for them."""

DEPTHS = {"yuv420p": 8, "yuvj420p": 8, "yuv420p10le": 10, "yuv420p12le": 12}
"""Pixel formats that NVDEC's output holds without loss, and the bits of a sample."""

_NAME = re.compile(r"nvdec(?::(\d+))?$")
ON_PROCESSOR = 'Decode it on the processor: decoder="cpu", or --decoder cpu'


@dataclass(frozen=True, slots=True)
class NvdecApi:
    """NVDEC on one GPU.

    Attributes:
        module: PyNvVideoCodec.
        cuda: The cuda-core module.
        ordinal: Which GPU.
        sessions_kept: Its sessions.
    """

    module: Any
    cuda: Any
    ordinal: int
    sessions_kept: SessionPool = field(default_factory=SessionPool)
    _capabilities: dict[tuple[str, int], DecoderCapabilities] = field(default_factory=dict)

    def device(self) -> Any:
        """The GPU, current on this thread."""
        device = self.cuda.Device(self.ordinal)
        device.set_current()
        return device

    def require(self, codec: str, pixels: str, width: int, height: int, *, where: str) -> None:
        """Refuse a video that NVDEC does not decode, or not bit for bit.

        Args:
            codec: FFmpeg's name of the codec.
            pixels: FFmpeg's name of the pixel format.
            width: Of a picture; 0 where it is not known yet.
            height: Rows of pixels.
            where: The video's name.

        Raises:
            VideoError: It is beyond what NVDEC, or this GPU's, can do.
            BackendError: NVDEC does not answer.
        """
        require_codec(codec, where=where)
        if pixels not in DEPTHS:
            raise refusal(f"NVDEC gives no {pixels} pictures as they are", where)
        found = self._capability(codec, DEPTHS[pixels])
        if not found.supported:
            what = f"this GPU's NVDEC does not decode {codec} with {DEPTHS[pixels]} bits a sample"
            raise refusal(what, where)
        if width and height and not found.take(width, height):
            raise refusal(f"this GPU's NVDEC decodes no {codec} of {width}x{height} pixels", where)

    @property
    def sessions(self) -> int:
        """Sessions that keep the GPU's decoders busy: two a decoder, so that none ever waits.

        Raises:
            BackendError: NVDEC does not answer.
        """
        return 2 * max(1, self._capability("h264", 8).engines)

    def _capability(self, codec: str, depth: int) -> DecoderCapabilities:
        key = (codec, depth)
        if key not in self._capabilities:
            number = int(getattr(self.module.cudaVideoCodec, CODECS[codec]))
            try:
                device = self.cuda.Device(self.ordinal)
                found = capabilities.decoder_capabilities(device, number, depth)
            except Exception as error:  # cuda-core raises its own, undocumented types
                raise _silent_gpu(self.ordinal, error) from error
            self._capabilities[key] = found
        return self._capabilities[key]


_OPENED: dict[int, NvdecApi] = {}
_OPENING = threading.Lock()
_KEEPING = threading.Event()


def keep_sessions() -> None:
    """Have sessions outlive their films in this process, within the bound of each GPU."""
    _KEEPING.set()


def open_nvdec(decoder: str) -> NvdecApi:
    """The GPU decoder that a name means, made once in a process.

    Args:
        decoder: ``"nvdec"``, or ``"nvdec:N"`` for the GPU with that ordinal.

    Raises:
        UsageError: The name is none of these.
        MissingExtraError: A package is not installed.
        BackendError: There is no such GPU, or its driver lacks what decoding needs.
    """
    ordinal = gpu_ordinal(decoder)
    with _OPENING:
        if ordinal not in _OPENED:
            api = NvdecApi(_import_codec(ordinal), _import_cuda(), ordinal)
            try:
                api.device()
            except Exception as error:  # cuda-core raises its own, undocumented types
                raise _silent_gpu(ordinal, error) from error
            if _KEEPING.is_set():
                api.sessions_kept.most = api.sessions
            _OPENED[ordinal] = api
        return _OPENED[ordinal]


_NO_MEMORY = "OUT_OF_MEMORY"


def lost_gpu() -> str | None:
    """What a GPU of this process says that has failed for good; None if none has.

    After an illegal address or a failed launch, every later call of the process fails.
    """
    for api in list(_OPENED.values()):
        try:
            api.device().create_stream().close()
        except Exception as error:  # noqa: BLE001 - cuda-core raises its own, undocumented types
            said = " ".join(str(error).split())[:300] or type(error).__name__
            if _NO_MEMORY not in said:
                return said
    return None


def gpu_ordinal(decoder: str) -> int:
    """The GPU in a decoder's name.

    Raises:
        UsageError: It does not name a decoder on a GPU.
    """
    match = _NAME.match(decoder)
    if match is None:
        raise UsageError(
            f"is unknown: {decoder!r}", where="decoder", remedy="Choose cpu, nvdec or nvdec:N"
        )
    return int(match[1] or 0)


def require_codec(codec: str, *, where: str) -> None:
    """Refuse a codec that NVDEC lacks, or that it decodes with other roundings.

    Raises:
        VideoError: The codec is none of `CODECS`.
    """
    if codec not in CODECS:
        known = ", ".join(CODECS)
        raise refusal(f"NVDEC decodes {known} bit for bit, and not {codec}", where)


def refusal(what: str, where: str) -> VideoError:
    """The error for a video that the GPU cannot decode as the processor does."""
    return VideoError(what, where=where, remedy=ON_PROCESSOR)


def _silent_gpu(ordinal: int, error: Exception) -> BackendError:
    said = " ".join(str(error).split()) or type(error).__name__
    return BackendError(
        f"no NVDEC answers on GPU {ordinal}: {said[:300]}",
        remedy="Check the driver with nvidia-smi (containers need the capability 'video'; without "
        "one, the packages libnvidia-decode and libnvidia-encode), or decode on the processor: "
        "--decoder cpu",
    )


def _import_codec(ordinal: int) -> Any:
    missing = MissingExtraError.for_package(
        "PyNvVideoCodec", extra="decode-gpu", purpose="decoding on the GPU"
    )
    try:
        return importlib.import_module("PyNvVideoCodec")
    except ModuleNotFoundError as error:
        raise missing from error
    except (ImportError, OSError, RuntimeError) as error:
        # It loads the driver's libraries when it is imported.
        raise _silent_gpu(ordinal, error) from error


def _import_cuda() -> Any:
    try:
        return importlib.import_module("cuda.core")
    except ImportError as error:
        raise MissingExtraError.for_package(
            "cuda-core", extra="decode-gpu", purpose="decoding on the GPU"
        ) from error
