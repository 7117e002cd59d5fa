"""One NVDEC session: coded bytes in, pictures out that stay on the GPU until someone wants them."""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from vtloc_runtime.errors import DeviceLostError, VideoError
from vtloc_runtime.video.decoders.nvdec.api import CODECS, DEPTHS, NvdecApi, refusal
from vtloc_runtime.video.picture.orientation import Orientation

if TYPE_CHECKING:
    import av
    from numpy.typing import NDArray

    from vtloc_runtime.video.decoders.nvdec.session_pool import SessionKind

    Samples: TypeAlias = NDArray[np.uint8 | np.uint16]

# The parser may look past the end of what it is given.
_PADDING = bytes(64)


class PictureFormat:
    """How a video's pictures are to be read, as FFmpeg's own decoder says.

    Args:
        first: A picture that FFmpeg decoded; it lends its properties to those that NVDEC decodes,
            and its memory.

    Attributes:
        pixels: FFmpeg's name of the pixel format.
        width: Columns of a picture.
        height: Rows of a picture.
        mark: What the packet of that picture was marked with.
        orientation: How the pictures are turned.
    """

    def __init__(self, first: av.VideoFrame) -> None:
        self.pixels = first.format.name
        self.width, self.height = first.width, first.height
        self.mark: object = first.opaque
        self.orientation = Orientation.from_frame(first)
        self._canvas = first
        self._expected = [plane.copy() for plane in self._planes()]

    def assemble(self, surface: Samples) -> av.VideoFrame:
        """A picture in FFmpeg's layout from NVDEC's two planes, good until the next is assembled.

        Args:
            surface: Luma rows, below them rows of both chromas in turns; samples of more than
                8 bits lie in the high bits.
        """
        columns = (self.width + 1) // 2
        luma, chroma = surface[: self.height, : self.width], surface[self.height :, : 2 * columns]
        shift = 16 - DEPTHS[self.pixels] if surface.dtype == np.uint16 else 0
        self._canvas.make_writable()
        parts = (luma, chroma[:, 0::2], chroma[:, 1::2])
        for plane, samples in zip(self._planes(), parts, strict=True):
            np.right_shift(samples, shift, out=plane)
        return self._canvas

    def shows_first(self) -> bool:
        """Whether the picture last assembled is the one that FFmpeg decoded, bit for bit."""
        equal = all(map(np.array_equal, self._planes(), self._expected))
        self._expected = []
        return equal

    def _planes(self) -> list[Samples]:
        """The canvas's samples, without what lies beyond the picture's edges."""
        dtype = np.dtype(np.uint16 if DEPTHS[self.pixels] > 8 else np.uint8)
        planes: list[Samples] = []
        for plane in self._canvas.planes:
            rows = np.frombuffer(cast("memoryview", plane), dtype=dtype)
            rows = rows.reshape(-1, plane.line_size // dtype.itemsize)
            planes.append(rows[: plane.height, : plane.width])
        return planes


@dataclass(slots=True, eq=False)
class DevicePicture:
    """A decoded picture on the GPU; what FFmpeg's pictures say of themselves, it says too.

    Attributes:
        picture_format: How it is to be read.
        pts: When it comes on screen, ticks.
        dts: When it was decoded, ticks.
        duration: For how long, ticks; 0 where the file does not say.
        opaque: The mark of the packet that it came from.
        surface: Where it lies.
    """

    picture_format: PictureFormat
    pts: int | None
    dts: int | None
    duration: int
    opaque: object
    surface: Surface
    is_corrupt: bool = False

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return self.picture_format.width

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return self.picture_format.height

    def fetch(self) -> av.VideoFrame:
        """The picture in FFmpeg's layout, good until the next of this video is fetched."""
        return self.picture_format.assemble(self.surface.read())


class Surface:
    """The memory of one decoded picture, NVDEC's until the next packet, then ours.

    Args:
        session: The session that decoded it.
        address: Where it lies on the GPU.
        token: The time stamp that it was given.
    """

    def __init__(self, session: NvdecSession, address: int, token: int) -> None:
        self._session: NvdecSession | None = session
        self._address = address
        self._content: Samples | None = None
        self.token = token

    def read(self) -> Samples:
        """The luma rows, and below them the chroma rows."""
        if self._content is None:
            if self._session is None:
                raise RuntimeError("the picture was never fetched, and its memory is gone")
            self._content = self._session.download(self._address)
            self._session = None
        return self._content


class NvdecSession:
    """A decoder on one GPU, of one stream after another; one thread at a time uses it.

    Args:
        api: NVDEC.
        kind: What it decodes.
        where: The video's name.

    Attributes:
        kind: What it decodes.
        where: The name of the video that it decodes at the moment.

    Raises:
        VideoError: NVDEC cannot be opened for this kind.
        DeviceLostError: The GPU has failed.
    """

    def __init__(self, api: NvdecApi, kind: SessionKind, *, where: str) -> None:
        self._api = api
        self.kind = kind
        self.where = where
        self._wide = kind.depth > 8
        self._ended = self._failed = False
        module = api.module
        self._end_of_stream = module.PacketData()
        self._discontinuity = int(module.VideoPacketFlag.DISCONTINUITY)
        self._lent: list[weakref.ref[Surface]] = []
        self._pinned: Any = None
        try:
            device = api.device()
            self._stream = device.create_stream()
        except Exception as error:  # cuda-core raises its own, undocumented types
            if "OUT_OF_MEMORY" in str(error):
                raise refusal("the GPU has no memory left for NVDEC", where) from error
            raise self._lost(error) from error
        try:
            self._decoder = module.CreateDecoder(
                gpuid=api.ordinal,
                codec=getattr(module.cudaVideoCodec, CODECS[kind.codec]),
                usedevicememory=True,
            )
        except Exception as error:  # the bindings raise types of their own
            self._check_alive(error)
            self._stream.close()
            raise refusal(f"NVDEC cannot be opened for it: {_first_line(error)}", where) from error

    def decode(self, data: bytes, token: int) -> list[Surface]:
        """Decode a packet; after :meth:`drain` it begins another stream.

        Args:
            data: What `CodedPackets` made of it.
            token: A number that comes back with its picture.

        Returns:
            Pictures that came out, in the order they are shown.

        Raises:
            VideoError: NVDEC gave up.
            DeviceLostError: The GPU has failed.
        """
        packet = self._api.module.PacketData()
        padded = data + _PADDING
        packet.bsl_data = ctypes.cast(ctypes.c_char_p(padded), ctypes.c_void_p).value or 0
        packet.bsl = len(data)
        packet.pts = token
        if self._ended:
            packet.decode_flag = self._discontinuity
        self._ended = False
        return self._decode(packet)

    def drain(self) -> list[Surface]:
        """Pictures that are still inside; the next packet starts afresh."""
        if self._ended:
            return []
        self._ended = True
        return self._decode(self._end_of_stream)

    def settle(self) -> bool:
        """End the stream; whether the session can decode another one.

        Raises:
            DeviceLostError: The GPU has failed.
        """
        try:
            self.drain()
            self._copy_held()
        except VideoError:
            return False
        return not self._failed

    def download(self, address: int) -> Samples:
        """The surface at an address: luma rows, and chroma rows below."""
        try:
            return self._copy(address)
        except Exception as error:  # cuda-core raises its own, undocumented types
            self._failed = True
            self._check_alive(error)
            what = f"a picture could not be fetched from the GPU: {_first_line(error)}"
            raise refusal(what, self.where) from error

    def _copy(self, address: int) -> Samples:
        cuda, device = self._api.cuda, self._api.device()
        pitch, height = self._decoder.GetWidth(), self._decoder.GetHeight()
        dtype = np.dtype(np.uint16 if self._wide else np.uint8)
        rows = height + (height + 1) // 2
        size = pitch * rows * dtype.itemsize
        if self._pinned is None or self._pinned.size != size:
            self._release(device)
            self._pinned = cuda.LegacyPinnedMemoryResource().allocate(size)
        source = cuda.Buffer.from_handle(address, size, owner=self._decoder)
        source.copy_to(self._pinned, stream=self._stream)
        self._stream.sync()
        memory = (ctypes.c_ubyte * size).from_address(int(self._pinned.handle))
        return np.frombuffer(memory, dtype=dtype).reshape(rows, pitch).copy()

    def close(self) -> None:
        """Fetch what is still wanted, and give everything back."""
        self._copy_held()
        device = self._api.device()
        self._release(device)
        self._stream.close()
        del self._decoder

    def _decode(self, packet: Any) -> list[Surface]:
        self._copy_held()
        module = self._api.module
        try:
            frames = self._decoder.Decode(packet)
        except Exception as error:  # the bindings raise types of their own
            self._failed = True
            self._check_alive(error)
            raise refusal(f"NVDEC gave up: {_first_line(error)}", self.where) from error
        expected = module.Pixel_Format.P016 if self._wide else module.Pixel_Format.NV12
        surfaces = []
        for frame in frames:
            if frame.format != expected:
                self._failed = True
                raise refusal(f"NVDEC gives {frame.format}, not {expected}", self.where)
            surfaces.append(Surface(self, frame.GetPtrToPlane(0), frame.getPTS()))
        self._lent = [weakref.ref(surface) for surface in surfaces]
        return surfaces

    def _copy_held(self) -> None:
        """NVDEC uses its memory again with the next packet: fetch what someone still holds."""
        for reference in self._lent:
            surface = reference()
            if surface is not None:
                surface.read()
        self._lent = []

    def _check_alive(self, cause: Exception) -> None:
        """Find out whether the GPU still answers: after some errors, no call succeeds any more."""
        try:
            self._stream.sync()
        except Exception as error:
            raise self._lost(cause) from error

    def _lost(self, cause: Exception) -> DeviceLostError:
        return DeviceLostError(
            f"the GPU failed and cannot be used by this process any more ({_first_line(cause)})",
            where=f"cuda:{self._api.ordinal}",
            remedy="See what the kernel log says of the GPU (dmesg, Xid), and start again; "
            "finished work is kept",
        )

    def _release(self, device: Any) -> None:
        if self._pinned is not None:
            device.set_current()
            self._pinned.close()
            self._pinned = None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
