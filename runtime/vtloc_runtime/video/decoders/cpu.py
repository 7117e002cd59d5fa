"""FFmpeg's own decoder, on the processor."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av
    from av.packet import Packet
    from av.video.stream import VideoStream


class CpuDecoder:
    """FFmpeg's own decoder.

    Args:
        stream: The stream.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._context = stream.codec_context

    def decode(self, packet: Packet[VideoStream] | None) -> list[av.VideoFrame]:
        """Pictures that come out on this packet; None asks for all that are still inside."""
        return self._context.decode(packet)

    def skip_unreferenced(self, skip: bool) -> None:
        """Whether pictures that nothing refers to may be left out from now on."""
        self._context.skip_frame = "NONREF" if skip else "DEFAULT"

    def restart(self) -> None:
        """Forget every picture; the next packet must be a start."""
        self._context.flush_buffers()

    def close(self) -> None:
        """Let go of the pictures inside."""
        self._context.flush_buffers()
