"""What is closed at the end of a ``with`` block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType


class Closing(Protocol):
    """Closes itself where a ``with`` block ends, however it ends."""

    def close(self) -> None:
        """Give back what is held; a second call does nothing."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
