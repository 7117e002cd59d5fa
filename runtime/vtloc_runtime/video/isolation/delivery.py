"""The parent's side of requests that are not for frames: a film's facts, and clips of it."""

from __future__ import annotations

import math
from fractions import Fraction

from vtloc_runtime.video.cutting import LARGEST_CLIP, Clip
from vtloc_runtime.video.film_facts import FilmFacts
from vtloc_runtime.video.isolation.channel import NonsenseError
from vtloc_runtime.video.isolation.exchange import Exchange, checked_text
from vtloc_runtime.video.isolation.messages import LARGEST_PIECE, ClipEnd, Facts, Piece

_LARGEST_SIDE = 2**20
_FASTEST = 1000


class Delivery(Exchange):
    """Receives the facts of a film, or a clip of it, and checks them."""

    def facts(self) -> FilmFacts:
        """The facts of a film.

        Raises:
            VideoError: The film cannot be read.
            DeadlineError, NonsenseError, OSError, EOFError: As for ``Conversation.parts``.
        """
        message = self.receive(self.deadline())
        if not isinstance(message, Facts):
            raise self.refusal(message)
        numerator, denominator = message.rate
        plausible = (
            denominator > 0
            and 0 < numerator <= _FASTEST * denominator
            and max(numerator, denominator) < 2**31
            and 0 <= message.duration < math.inf
            and 0 <= message.width < _LARGEST_SIDE
            and 0 <= message.height < _LARGEST_SIDE
        )
        if not plausible:
            raise NonsenseError("a film with impossible facts was described")
        self.over = True
        return FilmFacts(
            self._name,
            Fraction(numerator, denominator),
            message.duration,
            message.width,
            message.height,
            message.sound,
            checked_text(message.timecode),
        )

    def clip(self) -> Clip:
        """A clip.

        Raises:
            VideoError: The film cannot be read, or cut.
            DeadlineError, NonsenseError, OSError, EOFError: As for ``Conversation.parts``.
        """
        content = bytearray()
        while True:
            deadline = self.deadline()
            message = self.receive(deadline)
            if isinstance(message, Piece):
                if not 0 < message.size <= LARGEST_PIECE:
                    raise NonsenseError(f"a piece of {message.size} bytes was announced")
                if len(content) + message.size > LARGEST_CLIP:
                    raise NonsenseError(f"a clip of more than {LARGEST_CLIP} bytes was sent")
                room = bytearray(message.size)
                self._channel.receive_into(memoryview(room), deadline)
                content += room
            elif isinstance(message, ClipEnd):
                if not (content and -math.inf < message.start <= message.end < math.inf):
                    raise NonsenseError("a clip ends before it begins")
                self.over = True
                return Clip(bytes(content), message.start, message.end)
            else:
                raise self.refusal(message)
