"""The gate that every video passes before it is begun: it counts, and it can be shut."""

from __future__ import annotations

from collections import Counter


class Gate:
    """Lives on the driver's machine, so that it outlives every other.

    Ray begins a task again, without end, when its worker is lost. The count tells a video whose
    workers were lost by chance from one that ends them all.
    """

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()
        self._open = True

    def enter(self, number: int) -> int:
        """Ask to begin a task.

        Returns:
            How many times it has been begun, this one included; 0 where it must not be begun.
        """
        # What was begun once is in flight, and is finished even if its first worker was lost.
        if not self._open and number not in self._begun:
            return 0
        self._begun[number] += 1
        return self._begun[number]

    def shut(self) -> set[int]:
        """Let nothing new begin.

        Returns:
            Every task that was begun.
        """
        self._open = False
        return set(self._begun)
