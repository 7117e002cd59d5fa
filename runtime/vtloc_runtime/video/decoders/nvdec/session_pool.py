"""NVDEC's sessions between films: kept for the next film of the same kind, within a bound.

Making a session allocates its pictures on the GPU, which takes longer than a short film does.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from vtloc_runtime.video.decoders.nvdec.session import NvdecSession


class SessionKind(NamedTuple):
    """What streams must share to use the same session, one after the other.

    Attributes:
        codec: FFmpeg's name of the codec.
        depth: Bits of a sample.
        headers: The sequence header: the size of pictures, and how many of them are kept for
            reference. NVDEC makes room for those once.
    """

    codec: str
    depth: int
    headers: bytes


class SessionPool:
    """Sessions of one GPU; safe to use from several threads.

    Args:
        most: Sessions that exist at once, as long as no more are in use; the one that waited
            longest makes room. 0 keeps none.
    """

    def __init__(self, most: int = 0) -> None:
        self.most = most
        self._waiting: list[NvdecSession] = []
        self._used = 0
        self._lock = threading.Lock()

    def take(
        self, kind: SessionKind, make: Callable[[], NvdecSession], *, where: str
    ) -> NvdecSession:
        """A session of a kind: one that waits, or a new one.

        Args:
            kind: Which kind.
            make: Makes a new one.
            where: The video's name.

        Raises:
            VideoError: None can be made.
            DeviceLostError: The GPU has failed.
        """
        with self._lock:
            # The last to come back first, so that the others grow old.
            known = next((one for one in reversed(self._waiting) if one.kind == kind), None)
            if known is not None:
                self._waiting.remove(known)
            self._used += 1
            surplus = self._surplus()
        for one in surplus:
            one.close()
        if known is not None:
            known.where = where
            return known
        try:
            return make()
        except BaseException:
            with self._lock:
                self._used -= 1
            raise

    def give_back(self, session: NvdecSession) -> None:
        """Keep a session for the next film, or close it."""
        reusable = self.most > 0 and session.settle()
        with self._lock:
            self._used -= 1
            if reusable:
                self._waiting.append(session)
            surplus = self._surplus()
        if not reusable:
            session.close()
        for one in surplus:
            one.close()

    def _surplus(self) -> list[NvdecSession]:
        """Waiting sessions that are too many, taken out; one that is being made counts as used."""
        excess = max(0, self._used + len(self._waiting) - self.most)
        surplus = self._waiting[:excess]
        del self._waiting[:excess]
        return surplus
