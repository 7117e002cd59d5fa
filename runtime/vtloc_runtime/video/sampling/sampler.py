"""The interface of sampling strategies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction

    import numpy as np
    from numpy.typing import NDArray

    from vtloc_runtime.video.frame import Frame


class Sampler(Protocol):
    """A sampling strategy."""

    @property
    def duration(self) -> float:
        """When the last picture leaves the screen, seconds on the shown clock."""
        ...

    @property
    def end(self) -> int | None:
        """The same as a tick."""
        ...

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded."""
        ...

    @property
    def keyframes(self) -> NDArray[np.float64]:
        """The keyframes of the file's index, seconds; empty where instants were asked for."""
        ...

    def frames(self, targets: Iterator[Fraction]) -> Iterator[Frame]:
        """The frame on screen at each of some ascending instants, up to the video's end."""
        ...

    def finish(self) -> None:
        """Read the rest of the file without decoding it."""
        ...

    def close(self) -> None:
        """Stop, and give back what is held."""
        ...
