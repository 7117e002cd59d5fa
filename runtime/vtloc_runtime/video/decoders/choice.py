"""What turns packets into pictures, and which of them was asked for: FFmpeg or NVDEC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

PROCESSOR = "cpu"


class PictureDecoder(Protocol):
    """Decodes a stream's packets, in order."""

    def decode(self, packet: Packet[VideoStream] | None) -> list[Any]:
        """Pictures that come out on this packet; None asks for all that are still inside."""
        ...

    def skip_unreferenced(self, skip: bool) -> None:
        """Whether pictures that nothing refers to may be left out from now on."""
        ...

    def restart(self) -> None:
        """Forget every picture; the next packet must be a start."""
        ...

    def close(self) -> None:
        """Let go of everything."""
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
