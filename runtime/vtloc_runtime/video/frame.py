"""A sampled picture and its time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""A picture as ``uint8 [S, S, 3]``, RGB."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What a player shows at one instant.

    Attributes:
        image: ``uint8 [S, S, 3]``, RGB.
        time: When the picture comes on screen, seconds on the shown clock.
        asked: The instant it was sampled for; the picture is on screen then.
    """

    image: Image
    time: float
    asked: float
