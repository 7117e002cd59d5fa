"""Frame rates, and the labels that editors give frames: SMPTE timecode."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from vtloc_runtime.errors import UsageError

_NTSC = Fraction(1000, 1001)
_CLOSE = Fraction(1, 200)
_FASTEST = 1000
_DROPPED = {30: 2, 60: 4}
"""Labels that drop-frame timecode leaves out each minute but every tenth, by nominal rate."""
_LABELLED = frozenset({24, 25, 30, 48, 50, 60})
"""Nominal rates that editors have timecode for."""
_LABEL = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)([:;.,])(\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class FrameRate:
    """Frames a second, exactly.

    Attributes:
        value: Such as ``Fraction(24000, 1001)``.
    """

    value: Fraction

    @classmethod
    def parse(cls, value: Fraction | float | str) -> FrameRate:
        """The exact rate that is meant: 23.976 and 29.97 are 24000/1001 and 30000/1001.

        Raises:
            UsageError: It is not a rate from 1 to 1,000.
        """
        try:
            given = Fraction(value)
        except (ValueError, ZeroDivisionError, OverflowError, TypeError) as error:
            raise UsageError(
                f"{value!r} is not a frame rate", remedy="Write 25, 23.976 or 24000/1001"
            ) from error
        if not 1 <= given <= _FASTEST:
            raise UsageError(f"a frame rate of {float(given):g} is out of range")
        whole = Fraction(round(given))
        ntsc = Fraction(round(given / _NTSC)) * _NTSC
        for exact in (whole, ntsc):
            if abs(given - exact) <= _CLOSE:
                return cls(exact)
        return cls(given.limit_denominator(1001))

    @property
    def nominal(self) -> int:
        """Frames that a second of timecode counts: 24 for 23.976."""
        return round(self.value)

    @property
    def may_drop(self) -> bool:
        """Whether its timecode may leave out labels, so that it keeps up with the clock."""
        return self.value != self.nominal and self.nominal in _DROPPED

    @property
    def has_timecode(self) -> bool:
        """Whether editors have timecode for it."""
        exact = self.value in (self.nominal, self.nominal * _NTSC)
        return exact and self.nominal in _LABELLED

    def frames(self, seconds: float) -> int:
        """The frame that comes on screen at a time, the first one being 0."""
        return round(Fraction(seconds) * self.value)

    def seconds(self, frames: int) -> Fraction:
        """When a frame comes on screen."""
        return frames / self.value

    def __str__(self) -> str:
        return f"{float(self.value):.5g}"


@dataclass(frozen=True, slots=True)
class Timecode:
    """Labels of frames, from 00:00:00:00.

    Attributes:
        rate: The frame rate.
        drop: Whether labels are left out so that they keep up with the clock.
    """

    rate: FrameRate
    drop: bool

    @classmethod
    def of_label(cls, label: str, rate: FrameRate) -> tuple[Timecode, int] | None:
        """The timecode that a label is of, and the frame that it names.

        Args:
            label: Such as ``01:00:00;00``; anything but a colon before the frames means drop-frame.
            rate: The frame rate.

        Returns:
            None if there is no such label at that rate.
        """
        found = _LABEL.fullmatch(label)
        if found is None:
            return None
        hours, minutes, seconds, frames = (int(found[part]) for part in (1, 2, 3, 5))
        drop = found[4] != ":"
        if hours > 23 or frames >= rate.nominal or (drop and not rate.may_drop):
            return None
        whole = 60 * hours + minutes
        left_out = (whole - whole // 10) * _DROPPED[rate.nominal] if drop else 0
        return cls(rate, drop), (60 * whole + seconds) * rate.nominal + frames - left_out

    def label(self, frame: int) -> str:
        """The label of a frame; after 24 hours they begin anew."""
        nominal = self.rate.nominal
        if self.drop:
            left_out = _DROPPED[nominal]
            minute = 60 * nominal - left_out
            tens, rest = divmod(frame, 10 * minute + left_out)
            # Every tenth minute has all its labels.
            frame += left_out * (9 * tens + max(0, rest - left_out) // minute)
        seconds, frames = divmod(frame, nominal)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        mark = ";" if self.drop else ":"
        return f"{hours % 24:02d}:{minutes:02d}:{seconds:02d}{mark}{frames:02d}"

    def __str__(self) -> str:
        return "drop-frame" if self.drop else "non-drop-frame"
