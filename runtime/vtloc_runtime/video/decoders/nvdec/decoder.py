"""Decoding on the GPU, picture for picture what the processor would have decoded.

Packets, times, and which packets are needed are the reader's business, as ever; NVDEC decodes
those packets and nothing else. FFmpeg decodes the first picture along with it: that one says how
the video's pictures are to be read, and NVDEC's must equal it in every bit, or the video is
refused.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from vtloc_runtime.video.decoders.nvdec.annexb import CodedPackets
from vtloc_runtime.video.decoders.nvdec.api import DEPTHS, open_nvdec, refusal, require_codec
from vtloc_runtime.video.decoders.nvdec.session import (
    DevicePicture,
    NvdecSession,
    PictureFormat,
    Surface,
)
from vtloc_runtime.video.decoders.nvdec.session_pool import SessionKind

if TYPE_CHECKING:
    import av
    from av.packet import Packet
    from av.video.stream import VideoStream

_FIELDS_FIRST = 2  # FFmpeg's numbers: 0 unknown, 1 progressive, above that the orders of fields
_REMEMBERED_PACKETS = 256


class _PacketMetadata(NamedTuple):
    """What a picture takes over from its packet."""

    pts: int | None
    dts: int | None
    duration: int
    opaque: object


class NvdecDecoder:
    """Decodes one pass's packets on a GPU.

    Args:
        stream: The stream; its decoder must not be open yet.
        decoder: Which GPU: ``"nvdec"`` or ``"nvdec:N"``.
        where: The video's name.

    Raises:
        MissingExtraError: A package is not installed.
        BackendError: There is no such GPU.
        VideoError: NVDEC does not decode videos of this kind as the processor does.
    """

    def __init__(self, stream: VideoStream, decoder: str, *, where: str) -> None:
        self._context = stream.codec_context
        self._codec = self._context.codec.canonical_name
        self._where = where
        require_codec(self._codec, where=where)
        self._api = open_nvdec(decoder)
        self._packets = CodedPackets(stream)
        self._session: NvdecSession | None = None
        self._headers: bytes | None = None
        self._format: PictureFormat | None = None
        self._compared = False
        self._held: list[Surface] = []
        self._marks: OrderedDict[int, _PacketMetadata] = OrderedDict()
        self._token = 0
        self._restarted = True
        self._skipping = False
        pixels = self._context.pix_fmt
        if pixels is not None:
            self._require(pixels, self._context.width, self._context.height)

    def decode(self, packet: Packet[VideoStream] | None) -> list[DevicePicture]:
        """Decode a packet and return the pictures that are ready; None flushes the decoder.

        Raises:
            VideoError: NVDEC does not decode this video as the processor does.
            av.FFmpegError: The packet is damaged.
        """
        if packet is None:
            return self._drain()
        mark = _PacketMetadata(packet.pts, packet.dts, packet.duration or 0, packet.opaque)
        data = self._packets.convert(packet)
        if self._skipping and self._packets.unreferenced(data):
            return []
        headers = self._packets.headers(data)
        pictures = []
        if headers is not None and headers != self._headers:
            if self._headers is not None:
                # Pictures may have another size from here on; NVDEC would scale them to the old.
                pictures = self._drain()
                self._forget()
            self._headers = headers
        if self._format is None:
            self._learn(packet)
        self._token += 1
        if not packet.is_discard:
            # Edit lists cut pictures out that others need.
            self._marks[self._token] = mark
        while len(self._marks) > _REMEMBERED_PACKETS:
            self._marks.popitem(last=False)
        return pictures + self._take(self._decode_data(data))

    def skip_unreferenced(self, skip: bool) -> None:
        """Set whether non-reference pictures are skipped from now on."""
        self._skipping = skip

    def restart(self) -> None:
        """Flush the decoder; the next packet must be a place where decoding can start."""
        if self._session is not None and not self._restarted:
            self._session.drain()
        self._marks.clear()
        self._held.clear()
        self._restarted = True
        self._context.flush_buffers()

    def close(self) -> None:
        """Release what is held on the GPU."""
        self._held.clear()
        self._forget()
        self._context.flush_buffers()

    def _decode_data(self, data: bytes) -> list[Surface]:
        if self._session is None:
            pixels = self._format.pixels if self._format is not None else self._context.pix_fmt
            if pixels is None:
                raise refusal("its pixel format is not known before it is decoded", self._where)
            kind = SessionKind(
                self._codec, DEPTHS[pixels], self._headers or self._packets.parameters
            )
            self._session = self._api.sessions_kept.take(
                kind,
                lambda: NvdecSession(self._api, kind, where=self._where),
                where=self._where,
            )
            self._restarted = True
        if self._restarted:
            data = self._packets.restart(data)
        self._restarted = False
        return self._session.decode(data, self._token)

    def _drain(self) -> list[DevicePicture]:
        surfaces: list[Surface] = []
        if self._session is not None and not self._restarted:
            surfaces = self._session.drain()
        if self._format is None and self._token:
            self._learn_format(self._context.decode(None))
            self._context.flush_buffers()
        pictures = self._take(surfaces)
        self._marks.clear()
        self._held.clear()
        self._restarted = True
        return pictures

    def _learn(self, packet: Packet[VideoStream]) -> None:
        """Let FFmpeg decode too, until its first picture comes out."""
        if self._learn_format(self._context.decode(packet)):
            self._context.flush_buffers()

    def _learn_format(self, pictures: list[av.VideoFrame]) -> bool:
        if not pictures:
            return False
        first = pictures[0]
        if first.interlaced_frame or self._context.field_order >= _FIELDS_FIRST:
            raise refusal("NVDEC would not show its fields woven", self._where)
        self._require(first.format.name, first.width, first.height)
        self._format, self._compared = PictureFormat(first), False
        return True

    def _require(self, pixels: str, width: int, height: int) -> None:
        self._api.require(self._codec, pixels, width, height, where=self._where)

    def _take(self, surfaces: list[Surface]) -> list[DevicePicture]:
        """Pictures from surfaces, with what their packets say of them."""
        self._held += surfaces
        if self._format is None:
            return []
        surfaces, self._held = self._held, []
        pictures = []
        for surface in surfaces:
            mark = self._marks.pop(surface.token, None)
            # A second picture from one packet has no time of its own.
            if mark is not None:
                picture = DevicePicture(self._format, *mark, surface)
                self._compare(picture)
                pictures.append(picture)
        return pictures

    def _compare(self, picture: DevicePicture) -> None:
        """Compare NVDEC's picture with FFmpeg's, once for each time that the format was learned."""
        if self._compared or picture.picture_format.mark != picture.opaque:
            return
        self._compared = True
        picture.fetch()
        if not picture.picture_format.shows_first():
            raise refusal("NVDEC's pictures differ from those of FFmpeg's decoder", self._where)

    def _forget(self) -> None:
        """End the session; the next packets decide the format again."""
        if self._session is not None:
            self._api.sessions_kept.give_back(self._session)
        self._session = self._format = self._headers = None
