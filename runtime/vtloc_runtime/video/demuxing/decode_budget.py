"""Limit how much a file may decode to, by its size and length.

A real video pays for its pictures with bytes: a film at 4K and 60 pictures a second that shows a
still screen has some 20 bytes or more for each picture of 12 megabytes. Animations (GIF, APNG),
whose every picture is copied whole, pay with bytes and with seconds on screen. A file of a few
kilobytes that unfolds into hundreds of gigabytes of pictures is refused as soon as it is that far
ahead of what it has paid for. The count does not depend on how fast the machine is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtloc_runtime.errors import VideoError

if TYPE_CHECKING:
    import av

_FREE_BYTES = 3 * 10**9
_FILM_BYTES_PER_FILE_BYTE = 10**6
_ANIMATION_BYTES_PER_FILE_BYTE = 5 * 10**4
_ANIMATION_BYTES_PER_SECOND = 2 * 10**8
_ANIMATIONS = frozenset({"gif", "apng", "webp", "flic", "anm", "ansi"})
_PACKET_OVERHEAD = 16
_NO_DEPTH = 12
"""BitReader in a pixel where the decoder does not say: 4:2:0 of 8 bits."""


class DecodeBudget:
    """Counts what one pass decodes against what it may decode.

    Args:
        codec: FFmpeg's name of the codec.
        pixels: The most pixels of a picture.
        where: The file's name.
    """

    def __init__(self, codec: str, pixels: int, *, where: str) -> None:
        self._pixels = pixels
        self._where = where
        self._left = float(_FREE_BYTES)
        self._per_byte, self._per_second = _FILM_BYTES_PER_FILE_BYTE, 0
        if codec in _ANIMATIONS:
            self._per_byte = _ANIMATION_BYTES_PER_FILE_BYTE
            self._per_second = _ANIMATION_BYTES_PER_SECOND

    def pay(self, packet_bytes: int, seconds: float) -> None:
        """Count a packet that goes to the decoder.

        Args:
            packet_bytes: Its size.
            seconds: How long its picture stays on screen.
        """
        paid = (packet_bytes + _PACKET_OVERHEAD) * self._per_byte + seconds * self._per_second
        # Nothing is saved up: a large picture at the start must not pay for a bomb behind it.
        self._left = min(self._left + paid, float(_FREE_BYTES))

    def spend(self, width: int, height: int, pixel_format: av.VideoFormat | None) -> None:
        """Count a picture that came out of it.

        Raises:
            VideoError: The pictures are far larger than a file of this size can mean.
        """
        self._left -= picture_bytes(width, height, pixel_format)
        if self._left < 0:
            raise VideoError(
                "decodes to far more pictures than a file of its size can hold",
                where=self._where,
                remedy="It may be malicious; if you trust it, convert it to another format",
            )

    def check(self, width: int, height: int) -> None:
        """Refuse a picture above the limit of pixels.

        Raises:
            VideoError: It is.
        """
        if width * height > self._pixels:
            raise VideoError(
                f"has pictures of {width}x{height} pixels, more than the limit of {self._pixels}",
                where=self._where,
                remedy="Raise Limits.pixels if the video is meant to be that large",
            )


def picture_bytes(width: int, height: int, pixel_format: av.VideoFormat | None) -> int:
    """Bytes that a decoded picture takes."""
    bits = pixel_format.padded_bits_per_pixel if pixel_format is not None else _NO_DEPTH
    return width * height * bits // 8
