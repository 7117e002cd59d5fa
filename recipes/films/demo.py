"""Write a film of well-known photographs, for the demo: ``python -m recipes.films.demo FILE``."""

from __future__ import annotations

import sys
from pathlib import Path

from recipes.films.photographs import Shot, write_video
from vtloc_runtime.errors import MissingExtraError, VtlocError

SHOTS = (("astronaut", 7.0), ("coffee", 6.0), ("chelsea", 9.0), ("rocket", 6.0))
"""Names of scikit-image's photographs, and the seconds that each is shown."""


def compose(path: Path) -> None:
    """Write the film: an astronaut, a cup of coffee, a cat, a rocket.

    Args:
        path: Where the ``.mp4`` goes; its folder is made if need be.

    Raises:
        MissingExtraError: scikit-image, which carries the photographs, is not installed.
        OutputError: The film cannot be written there.
    """
    try:
        from skimage import data
    except ImportError as error:
        raise MissingExtraError.of("skimage", extra="demo", purpose="The demo's film") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, [Shot(getattr(data, name)(), seconds) for name, seconds in SHOTS])


if __name__ == "__main__":
    try:
        compose(Path(sys.argv[1]))
    except VtlocError as failure:
        sys.exit(str(failure))
