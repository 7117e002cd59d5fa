"""Read headers bit by bit."""

from __future__ import annotations


class BitReader:
    """Reads bits in order.

    Args:
        data: The header; its first byte's highest bit comes first.
    """

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def take(self, count: int) -> int:
        """The next bits, as a number.

        Raises:
            EOFError: More were asked for than there are.
        """
        self._left -= count
        if self._left < 0:
            raise EOFError
        return (self._value >> self._left) & ((1 << count) - 1)
