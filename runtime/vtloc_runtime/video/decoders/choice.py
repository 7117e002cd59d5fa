"""The decoder interface, and the choice between FFmpeg and NVDEC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

PROCESSOR = "cpu"


class PictureDecoder(Protocol):
    """Decodes a stream's packets, in order."""

    def decode(self, packet: Packet[VideoStream] | None) -> list[Any]:
        """Decode a packet and return the pictures that are ready; None flushes the decoder."""
        ...

    def skip_unreferenced(self, skip: bool) -> None:
        """Set whether non-reference pictures are skipped from now on."""
        ...

    def restart(self) -> None:
        """Flush the decoder; the next packet must be a place where decoding can start."""
        ...

    def close(self) -> None:
        """Release all resources."""
        ...


def require_decoder(decoder: str) -> None:
    """Find out whether a decoder can serve here, before any video is opened.

    Args:
        decoder: ``"cpu"``, ``"nvdec"`` or ``"nvdec:N"``.

    Raises:
        UsageError: There is no such decoder.
        MissingExtraError: Its packages are not installed.
        BackendError: There is no such GPU.
    """
    if decoder != PROCESSOR:
        from vtloc_runtime.video.decoders.nvdec.api import open_nvdec

        open_nvdec(decoder)


def open_decoder(stream: VideoStream, decoder: str, *, where: str) -> PictureDecoder:
    """The decoder that was asked for; never another one.

    Args:
        stream: The stream; its options must be set.
        decoder: ``"cpu"``, ``"nvdec"`` or ``"nvdec:N"``.
        where: The video's name.

    Raises:
        VtlocError: It cannot serve.
    """
    if decoder == PROCESSOR:
        from vtloc_runtime.video.decoders.cpu import CpuDecoder

        return CpuDecoder(stream)
    from vtloc_runtime.video.decoders.nvdec.decoder import NvdecDecoder

    return NvdecDecoder(stream, decoder, where=where)
