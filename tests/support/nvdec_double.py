"""A double of PyNvVideoCodec's core decoder, for machines without a GPU.

It takes what the real one takes and no more, keeps its rules (marked units, memory that the next
packet overwrites, time stamps that come back, pictures scaled to the first size where it changes,
fields blended), and decodes with FFmpeg. `installed(...)` puts it in the place of the module.
"""

# ruff: noqa: N802 - the names of the real library

from __future__ import annotations

import contextlib
import ctypes
import sys
import types
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, cast
from unittest import mock

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from tests.support import tensorrt_double
from tests.support.tensorrt_double import Gpu, RuleBroken
from tests.support.tensorrt_double.gpu import POISON, Allocation

A100 = {("h264", 8), ("hevc", 8), ("hevc", 10), ("hevc", 12), ("vp8", 8), ("vp9", 8), ("vp9", 10)}
"""Codecs and bits a sample that an A100's NVDEC decodes in 4:2:0, after NVIDIA's matrix."""
ADA = A100 | {("av1", 8), ("av1", 10)}

_SOFTWARE = {"h264": "h264", "hevc": "hevc", "vp8": "vp8", "vp9": "vp9", "av1": "libdav1d"}
_START_CODES = (b"\x00\x00\x01", b"\x00\x00\x00\x01")
_DISCONTINUITY = 4


class PyNvVCException(Exception):  # noqa: N818 - the real name
    """What the library raises."""


class PyNvVCExceptionUnsupported(Exception):  # noqa: N818 - the real name
    """What the library raises where the GPU cannot."""


class PacketData:
    """A packet, whose bytes lie at an address."""

    __slots__ = ("bsl", "bsl_data", "decode_flag", "pts")

    def __init__(self) -> None:
        self.bsl = self.bsl_data = self.decode_flag = self.pts = 0


@dataclass(frozen=True)
class DecodedFrame:
    """A picture on the GPU."""

    address: int
    token: int
    format: IntEnum

    def GetPtrToPlane(self, arg0: int) -> int:
        assert arg0 == 0
        return self.address

    def getPTS(self) -> int:
        return self.token


def _enum(name: str, members: dict[str, int]) -> Any:
    return IntEnum(name, members)


def make_module(gpu: Gpu, supported: set[tuple[str, int]]) -> types.ModuleType:
    """A module like ``PyNvVideoCodec``, on a GPU that decodes what is supported."""
    module: Any = types.ModuleType("PyNvVideoCodec")
    codecs = {"H264": 4, "HEVC": 8, "VP8": 9, "VP9": 10, "AV1": 11, "MPEG2": 1}
    module.cudaVideoCodec = _enum("cudaVideoCodec", codecs)
    chroma = {"Monochrome": 0, "420": 1, "422": 2, "444": 3}
    module.cudaVideoChromaFormat = _enum("cudaVideoChromaFormat", chroma)
    module.Pixel_Format = _enum("Pixel_Format", {"NV12": 3, "YUV444": 4, "P016": 5})
    flags = {"ENDOFSTREAM": 1, "TIMESTAMP": 2, "DISCONTINUITY": _DISCONTINUITY, "ENDOFPICTURE": 8}
    module.VideoPacketFlag = _enum("VideoPacketFlag", flags)
    module.PacketData, module.DecodedFrame = PacketData, DecodedFrame
    module.PyNvVCException = PyNvVCException
    module.PyNvVCExceptionUnsupported = PyNvVCExceptionUnsupported

    def CreateDecoder(
        gpuid: int = 0,
        codec: IntEnum = module.cudaVideoCodec.H264,
        cudacontext: int = 0,
        cudastream: int = 0,
        usedevicememory: bool = False,
    ) -> PyNvDecoder:
        _check_ordinal(gpu, gpuid)
        if cudacontext or cudastream or not usedevicememory:
            raise RuleBroken("the double decodes to device memory on the default stream alone")
        return PyNvDecoder(gpu, module, codec.name.lower(), supported)

    module.CreateDecoder = CreateDecoder
    module.PyNvDecoder = PyNvDecoder
    return module


def _check_ordinal(gpu: Gpu, ordinal: int) -> None:
    if not gpu.has(ordinal):
        raise PyNvVCException("GPU ordinal out of range. Should be within [0, 0]")


class PyNvDecoder:
    """A decoding session."""

    def __init__(self, gpu: Gpu, module: Any, codec: str, supported: set[tuple[str, int]]) -> None:
        self._gpu, self._module, self._codec, self._supported = gpu, module, codec, supported
        self._software = self._open()
        self._blocks: list[Allocation] = []
        self._waiting: list[av.VideoFrame] = []
        self._size: tuple[int, int] | None = None
        self._ended = False
        self._format = module.Pixel_Format.NV12
        gpu.born("decoder")
        weakref.finalize(self, _destroy, gpu, self._blocks)

    def Decode(self, arg0: PacketData) -> list[DecodedFrame]:
        for block in self._blocks:
            block.content[:] = POISON
        if not arg0.bsl:
            out = self._pictures(None)
            self._software, self._ended = self._open(), True
            pictures, self._waiting = self._waiting + out, []
        else:
            pictures = self._take(arg0)
        return [self._store(index, picture) for index, picture in enumerate(pictures)]

    def GetWidth(self) -> int:
        assert self._size is not None
        return (self._size[0] + 1) // 2 * 2

    def GetHeight(self) -> int:
        assert self._size is not None
        return self._size[1]

    def _take(self, packet: PacketData) -> list[av.VideoFrame]:
        data = ctypes.string_at(packet.bsl_data, packet.bsl)
        if self._codec in {"h264", "hevc"} and not data.startswith(_START_CODES):
            raise RuleBroken("the parser finds no unit without a start code")
        if self._ended and not packet.decode_flag & _DISCONTINUITY:
            raise RuleBroken("a stream went on after its end without a word about it")
        self._ended = False
        coded = av.Packet(data)
        coded.pts = packet.pts
        # Pictures come out one packet later than they might.
        self._waiting += self._pictures(coded)
        given, self._waiting = self._waiting[:-1], self._waiting[-1:]
        return given

    def _open(self) -> VideoCodecContext:
        context = av.CodecContext.create(_SOFTWARE[self._codec], "r")
        assert isinstance(context, VideoCodecContext)
        context.thread_count = 1
        return context

    def _pictures(self, coded: av.Packet | None) -> list[av.VideoFrame]:
        try:
            # What is damaged is covered up without a word.
            return self._software.decode(coded)
        except av.FFmpegError:
            return []

    def _store(self, index: int, picture: av.VideoFrame) -> DecodedFrame:
        depth = picture.format.components[0].bits
        if (self._codec, depth) not in self._supported:
            raise PyNvVCExceptionUnsupported("Codec not supported on this GPU")
        if self._size is None:
            self._size = picture.width, picture.height
        if self._size != (picture.width, picture.height):
            width, height = self._size
            picture = picture.reformat(width=width, height=height)
        pixel_format = self._module.Pixel_Format
        self._format = pixel_format.P016 if depth > 8 else pixel_format.NV12
        content = self._surface(picture, depth).view(np.uint8).reshape(-1)
        if index == len(self._blocks):
            current = getattr(self._gpu.current, "ordinal", None)
            self._gpu.current.ordinal = self._gpu.ordinal
            self._blocks.append(self._gpu.allocate(content.size, "device"))
            self._gpu.current.ordinal = current
        self._blocks[index].content[:] = content
        assert picture.pts is not None
        return DecodedFrame(self._blocks[index].address, picture.pts, self._format)

    def _surface(self, picture: av.VideoFrame, depth: int) -> np.ndarray:
        dtype = np.dtype(np.uint16 if depth > 8 else np.uint8)
        pitch, height = self.GetWidth(), self.GetHeight()
        surface = np.full((height + (height + 1) // 2, pitch), POISON, dtype)
        planes = []
        for plane in picture.planes:
            rows = np.frombuffer(cast("memoryview", plane), dtype).reshape(
                -1, plane.line_size // dtype.itemsize
            )
            planes.append(rows[: plane.height, : plane.width] << (16 - depth if depth > 8 else 0))
        luma, blue, red = planes
        surface[:height, : luma.shape[1]] = luma
        surface[height:, 0 : 2 * blue.shape[1] : 2] = blue
        surface[height:, 1 : 2 * red.shape[1] : 2] = red
        if picture.interlaced_frame:
            surface[1:height:2] = surface[0 : height - 1 : 2]
        return surface


def _destroy(gpu: Gpu, blocks: list[Allocation]) -> None:
    gpu.gone("decoder")
    current = getattr(gpu.current, "ordinal", None)
    gpu.current.ordinal = gpu.ordinal
    for block in blocks:
        gpu.free(block)
    gpu.current.ordinal = current


@contextlib.contextmanager
def installed(
    gpu: Gpu | None = None, *, supported: set[tuple[str, int]] | None = None
) -> Iterator[Gpu]:
    """Stand in for ``PyNvVideoCodec`` and ``cuda.core``, on a machine with this GPU.

    Args:
        gpu: The machine.
        supported: Codecs and bits a sample that its NVDEC decodes; an A100's by default.
    """
    from vtloc_runtime.video.decoders.nvdec import api as nvdec_api
    from vtloc_runtime.video.decoders.nvdec import capabilities
    from vtloc_runtime.video.decoders.nvdec.capabilities import DecoderCapabilities

    known = A100 if supported is None else supported
    with tensorrt_double.installed(gpu) as machine:
        module = make_module(machine, known)

        def ask(device: Any, codec: int, depth: int) -> DecoderCapabilities:
            name = module.cudaVideoCodec(codec).name.lower()
            engines = machine.engines if machine.has(device.device_id) else 0
            return DecoderCapabilities(
                (name, depth) in known, engines, (48, 4096), (16, 4096), 65536
            )

        modules = mock.patch.dict(sys.modules, {"PyNvVideoCodec": module})
        opened = mock.patch.dict(nvdec_api._OPENED, clear=True)
        asked = mock.patch.object(capabilities, "decoder_capabilities", ask)
        with modules, opened, asked:
            yield machine
