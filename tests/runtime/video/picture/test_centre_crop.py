"""Only the part that the centre is scaled from is scaled, and the picture is the same."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.video import FrameSequence, VideoOptions, open_video
from vtloc_runtime.video.picture import centre_crop as window
from vtloc_runtime.video.picture.centre_crop import CentreCropper, Extent
from vtloc_runtime.video.picture.scaling import PictureScaler

FORMATS = (
    "yuv420p", "yuv422p", "yuv444p", "yuvj420p", "nv12", "yuv420p10le", "p010le", "yuva420p",
    "gbrp", "yuv411p", "rgb24",
)  # fmt: skip


def landscape(width: int, height: int, pixels: str) -> av.VideoFrame:
    """A picture full of detail that shrinking does not hide."""
    generator = np.random.default_rng(width)
    small = generator.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(small, "rgb24")
    return frame.reformat(width=width, height=height, format=pixels, interpolation="BICUBIC")


@given(
    stored=st.integers(16, 8000),
    shrink=st.fractions(1, 20, max_denominator=50),
    size=st.integers(1, 400),
    step=st.sampled_from([1, 2, 4]),
)
def test_a_part_lies_on_whole_pixels_and_well_around_the_centre(
    stored: int, shrink: Fraction, size: int, step: int
) -> None:
    scaled = max(1, int(stored / shrink))
    size = min(size, scaled)
    part = Extent.around_centre(stored, scaled, size, step)
    ratio = Fraction(stored, scaled)
    end, scaled_end = part.start + part.length, part.scaled_start + part.scaled_length
    assert part.start % step == 0
    assert end % step == 0 or end == stored
    assert abs(part.start - part.scaled_start * ratio) <= Fraction(1, 16)
    assert abs(end - scaled_end * ratio) <= Fraction(1, 16)
    # Two pixels of the kernel on either side, except where the picture itself ends.
    assert part.scaled_start == 0 or part.scaled_start <= (scaled - size) // 2 - 3
    assert scaled_end == scaled or scaled_end >= (scaled + size + 1) // 2 + 3


@pytest.mark.parametrize("pixels", FORMATS)
@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (641, 360), (1918, 802)])
def test_the_picture_is_that_of_scaling_all_of_it(
    pixels: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = landscape(*size, pixels)
    part = PictureScaler(Preprocessing()).scale(frame)
    monkeypatch.setattr(window, "_WORTHWHILE_PIXELS", 10**9)
    whole = PictureScaler(Preprocessing()).scale(frame)
    away = np.abs(part.astype(int) - whole)
    assert away.max() <= 3
    assert away.mean() < 0.1


def test_a_wide_picture_is_cut_and_a_small_one_left_alone() -> None:
    cutter = CentreCropper(224)
    wide = landscape(1280, 720, "yuv420p")
    part, place = cutter.cut(wide, (398, 224))
    assert (part.width, part.height) == (place.columns.length, 720)
    assert part.width < 0.7 * 1280
    small = landscape(320, 240, "yuv420p")
    assert cutter.cut(small, (298, 224))[0] is small
    assert cutter.cut(wide, (398, 224))[0].width == part.width


def test_a_named_matrix_and_range_stay_named() -> None:
    frame = landscape(1280, 720, "yuv420p")
    frame.colorspace, frame.color_range = 5, 2
    part, _ = CentreCropper(224).cut(frame, (398, 224))
    assert (part.colorspace, part.color_range) == (5, 2)


def test_squashing_needs_all_of_the_picture() -> None:
    picture = np.zeros((720, 1280, 3), np.uint8)
    picture[:, :640] = 255
    options = VideoOptions(preprocessing=Preprocessing(resize="squash"))
    (frame,) = open_video(FrameSequence(picture[None], [0.0]), options)
    assert frame.image[:, :110].min() > 250
    assert frame.image[:, 114:].max() < 5
