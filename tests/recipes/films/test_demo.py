"""The demo's films are written where its commands expect them."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.films.demo import SHOTS, compose, copy_street
from vtloc_runtime.video import open_video


def test_the_film_of_photographs_shows_each_for_its_seconds(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the film's photographs come with scikit-image")
    compose(tmp_path / "demo" / "photographs.mp4")
    with open_video(tmp_path / "demo" / "photographs.mp4") as reader:
        frames = list(reader)
    assert len(frames) == sum(seconds for _, seconds in SHOTS) == 28


def test_the_street_film_lasts_ten_seconds(tmp_path: Path) -> None:
    copy_street(tmp_path / "street.mp4")
    with open_video(tmp_path / "street.mp4") as reader:
        frames = list(reader)
    assert len(frames) == 10
    assert reader.duration == pytest.approx(10, abs=0.1)
