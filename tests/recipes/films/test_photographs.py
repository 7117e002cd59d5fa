"""Films of photographs: as long as asked, readable, and the same wherever they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from recipes.films.photographs import Shot, write_video
from vtloc_runtime.errors import OutputError
from vtloc_runtime.video import open_video

SHOTS = [
    Shot(np.random.default_rng(number).integers(0, 255, (300, 400, 3), np.uint8), 1.5)
    for number in range(2)
]


@contextmanager
def processors(count: int) -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(allowed)[:count]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_film_lasts_as_long_as_its_shots(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", SHOTS)
    with open_video(tmp_path / "film.mp4") as video:
        assert len(list(video)) == 3
        assert video.duration == pytest.approx(3.0)


def test_the_seed_moves_the_camera(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        write_video(tmp_path / name, SHOTS, seed=seed)
    one, same, other = ((tmp_path / name).read_bytes() for name in ("one", "same", "other"))
    assert one == same
    assert one != other


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processors cannot be chosen")
def test_the_number_of_processors_changes_no_picture(tmp_path: Path) -> None:
    write_video(tmp_path / "all.mp4", SHOTS)
    with processors(1):
        write_video(tmp_path / "one.mp4", SHOTS)
    assert (tmp_path / "all.mp4").read_bytes() == (tmp_path / "one.mp4").read_bytes()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="missing"):
        write_video(tmp_path / "missing" / "film.mp4", SHOTS)
