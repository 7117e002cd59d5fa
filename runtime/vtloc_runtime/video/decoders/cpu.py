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
        """Decode a packet and return the pictures that are ready; None flushes the decoder."""
        return self._context.decode(packet)

    def skip_unreferenced(self, skip: bool) -> None:
        """Set whether non-reference pictures are skipped from now on."""
        self._context.skip_frame = "NONREF" if skip else "DEFAULT"

    def restart(self) -> None:
        """Flush the decoder; the next packet must be a place where decoding can start."""
        self._context.flush_buffers()

    def close(self) -> None:
        """Release the decoder's pictures."""
        self._context.flush_buffers()
