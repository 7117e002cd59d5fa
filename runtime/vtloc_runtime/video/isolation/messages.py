"""Messages between a decoder process and its parent.

Each message is a header (the request's number, the length of what follows) and MessagePack. The
bytes of a picture, and the times of keyframes, follow their message without a header: their length
is known. Requests are
pickled, because they come from the parent, and carry the video's descriptor beside them.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import msgspec

HEADER = struct.Struct("!QI")
"""Number of the request, and bytes of the message."""

REQUEST = struct.Struct("!QQ")
"""The same before a request, which may carry a sequence of pictures."""

NEW_LINE = 0
"""Number of the request that carries another line, for videos that are read at the same time."""

LONGEST_MESSAGE = 2**16
"""Bytes of a message at most, pictures apart."""

LARGEST_PIECE = 2**20
"""Bytes of a clip that follow one message at most."""

MOST_WARNINGS = 32
LONGEST_TEXT = 500
"""Bounds of what a decoder may say about a video."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The process is ready for its first video; its number is 0.

    Attributes:
        held: Layers of the sandbox that are in force, with a detail each.
        missing: Those that are not, with the reason.
    """

    held: dict[str, str]
    missing: dict[str, str]


class Picture(msgspec.Struct, frozen=True, tag="picture"):
    """A frame unlike the one before it; ``S * S * 3`` bytes follow.

    Attributes:
        time: When it came on screen, seconds.
    """

    time: float


class Again(msgspec.Struct, frozen=True, tag="again"):
    """Frames equal to the one before them.

    Attributes:
        time: When they came on screen, seconds.
        count: How many.
    """

    time: float
    count: int


class End(msgspec.Struct, frozen=True, tag="end"):
    """The video has been read; times of keyframes and of hidden cuts follow, float64 each.

    Attributes:
        duration: When the last frame leaves the screen, seconds.
        warnings: What the reader had to say.
        near_limit: Whether the process came close to its limit of memory.
        period: Seconds from one picture to the next as the header says, or 0.
        keyframes: How many times of keyframes follow.
        hidden_cuts: How many times follow those, of scenes that seem to begin between keyframes.
    """

    duration: float
    warnings: list[str]
    near_limit: bool
    period: float = 0.0
    keyframes: int = 0
    hidden_cuts: int = 0


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    """The video cannot be read.

    Attributes:
        what: What went wrong.
        remedy: What can be done.
        near_limit: Whether the process came close to its limit of memory.
    """

    what: str
    remedy: str | None
    near_limit: bool


class Facts(msgspec.Struct, frozen=True, tag="facts"):
    """What a film's header says.

    Attributes:
        rate: Frames a second, numerator and denominator.
        duration: Seconds.
        width: Pixels of a picture.
        height: Lines of a picture.
        sound: Whether it has sound.
        timecode: The timecode of its first frame.
    """

    rate: tuple[int, int]
    duration: float
    width: int
    height: int
    sound: bool
    timecode: str


class Piece(msgspec.Struct, frozen=True, tag="piece"):
    """The next bytes of a clip; they follow.

    Attributes:
        size: How many.
    """

    size: int


class ClipEnd(msgspec.Struct, frozen=True, tag="clip-end"):
    """A clip has been sent.

    Attributes:
        start: The time of its first picture, seconds.
        end: When its last picture leaves the screen, seconds.
    """

    start: float
    end: float


Message: TypeAlias = Ready | Picture | Again | End | Refusal | Facts | Piece | ClipEnd
