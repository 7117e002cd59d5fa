"""How much of a GPU's memory decoding may take, computed beforehand."""

from __future__ import annotations

_SIZES = {"1080p": (1920, 1088), "4K": (3840, 2160)}
_CONTEXT = 0.5e9
"""A CUDA context with its modules, bytes: what such contexts commonly take."""
_PICTURES = 16 + 4 + 2
"""Pictures of a session: those that others may refer to, those under way, and those handed out."""


def nvdec_memory(sessions: int, size: tuple[int, int], *, depth: int = 8) -> float:
    """What one process with so many sessions takes at most, in GB.

    Args:
        sessions: How many exist at once.
        size: Width and height of their pictures, pixels.
        depth: Bits of a sample.
    """
    width, height = size
    # Luma, and both chromas at half the width and height.
    picture = width * height * 3 / 2 * (1 if depth == 8 else 2)
    return (_CONTEXT + sessions * _PICTURES * picture) / 1e9


def describe_sessions(sessions: int) -> str:
    """What one process with so many sessions takes at most, for people."""
    sizes = ", ".join(
        f"{nvdec_memory(sessions, size):.1f} GB with {name}" for name, size in _SIZES.items()
    )
    count = f"{sessions} session{'' if sessions == 1 else 's'}"
    return f"{count} in one process, at most {sizes}, of the GPU's memory"
