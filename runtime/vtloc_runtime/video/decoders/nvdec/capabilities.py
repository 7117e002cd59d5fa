"""What a GPU's NVDEC decodes, asked of the driver itself.

PyNvVideoCodec's own question always goes to the first GPU, whichever one is named.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

_CHROMA_420 = 1


@dataclass(frozen=True, slots=True)
class DecoderCapabilities:
    """What one GPU does with one codec and depth, in 4:2:0.

    Attributes:
        supported: Whether it decodes it at all.
        engines: Decoders that work at once.
        width: Smallest and largest width of a picture, pixels.
        height: Smallest and largest height, pixels.
        blocks: Most blocks of 16 x 16 pixels.
    """

    supported: bool
    engines: int = 0
    width: tuple[int, int] = (0, 0)
    height: tuple[int, int] = (0, 0)
    blocks: int = 0

    def take(self, width: int, height: int) -> bool:
        """Whether pictures of a size are within the limits."""
        blocks = (width + 15) // 16 * ((height + 15) // 16)
        return (
            self.width[0] <= width <= self.width[1]
            and self.height[0] <= height <= self.height[1]
            and blocks <= self.blocks
        )


class _Capabilities(ctypes.Structure):
    """NVIDIA's ``CUVIDDECODECAPS``."""

    _fields_ = (
        ("codec", ctypes.c_int),
        ("chroma", ctypes.c_int),
        ("extra_bits", ctypes.c_uint),
        ("reserved", ctypes.c_uint * 3),
        ("supported", ctypes.c_ubyte),
        ("engines", ctypes.c_ubyte),
        ("formats", ctypes.c_ushort),
        ("widest", ctypes.c_uint),
        ("highest", ctypes.c_uint),
        ("most_blocks", ctypes.c_uint),
        ("narrowest", ctypes.c_ushort),
        ("lowest", ctypes.c_ushort),
        ("histogram", ctypes.c_ubyte),
        ("counter_bits", ctypes.c_ubyte),
        ("bins", ctypes.c_ushort),
        ("more", ctypes.c_uint * 10),
    )


def decoder_capabilities(device: Any, codec: int, depth: int) -> DecoderCapabilities:
    """Ask the driver.

    Args:
        device: The GPU, a cuda-core device; it becomes current on this thread.
        codec: NVDEC's number of the codec.
        depth: Bits of a sample.

    Raises:
        OSError: The driver has no NVDEC here, or refuses to answer.
    """
    device.set_current()
    asked = _Capabilities(codec=codec, chroma=_CHROMA_420, extra_bits=depth - 8)
    code = ctypes.CDLL("libnvcuvid.so.1").cuvidGetDecoderCaps(ctypes.byref(asked))
    if code != 0:
        raise OSError(f"NVDEC says nothing of itself (CUDA error {code})")
    return DecoderCapabilities(
        bool(asked.supported),
        int(asked.engines),
        (int(asked.narrowest), int(asked.widest)),
        (int(asked.lowest), int(asked.highest)),
        int(asked.most_blocks),
    )
