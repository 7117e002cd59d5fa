"""Frames of other videos are kept and read back; older bundles told presence by them alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from tests.support.colours import COLOURS, edit_manifest, write_colour_bundle
from vtloc_runtime import Localizer
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import ScoreCalibration
from vtloc_runtime.errors import BundleError
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
from vtloc_runtime.localize.presence.reference_frames import ReferenceFrames


def test_frames_are_kept_in_half_precision_and_read_back() -> None:
    frames = ReferenceFrames.from_features(np.random.default_rng(0).normal(size=(60, 8)))
    again = ReferenceFrames.from_bytes(frames.to_bytes())
    np.testing.assert_allclose(again.frames, frames.frames, atol=1e-3)


def test_frames_without_a_direction_are_left_out() -> None:
    reference = ReferenceFrames.from_features([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(reference.frames, [[0.6, 0.8]])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"nothing of the kind", "no reference frames"),
        (save({"frames": np.ones((3, 3), np.int64)}), "not rows of floating"),
        (save({"frames": np.ones(3, np.float32)}), "not rows of floating"),
        (save({"frames": np.full((3, 3), np.nan, np.float32)}), "no directions"),
        (save({"frames": np.ones((0, 3), np.float32)}), "no directions"),
        (save({"frames": np.zeros((3, 3), np.float32)}), "no directions"),
        (save({"frames": np.full((3, 3), 1e30, np.float32)}), "no directions"),
    ],
)
def test_a_file_that_holds_no_frames_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        ReferenceFrames.from_bytes(content)


@pytest.mark.parametrize(
    "calibration",
    [
        ScoreCalibration(raw=(), probability=()),
        ScoreCalibration(raw=(1.0, 0.0), probability=(0, 1)),
        ScoreCalibration(raw=(0.0, 1.0), probability=(1.0,)),
    ],
)
def test_a_map_that_contradicts_itself_is_refused(
    tmp_path: Path, calibration: ScoreCalibration
) -> None:
    with pytest.raises(BundleError, match="must map"):
        Bundle.open(write_colour_bundle(tmp_path / "b", score_calibration=calibration))


def test_older_bundles_are_read_and_newer_ones_refused(tmp_path: Path) -> None:
    assert Bundle.open(write_colour_bundle(tmp_path / "old", schema=1)).manifest.schema == 1
    with pytest.raises(BundleError, match="schema 5"):
        Bundle.open(write_colour_bundle(tmp_path / "new", schema=5))


@pytest.mark.parametrize("schema", [2, 3])
def test_a_bundle_with_frames_alone_goes_on_answering_without_a_margin(
    tmp_path: Path, schema: int
) -> None:
    content = ReferenceFrames.from_features(np.eye(3)).to_bytes()
    calibration = ScoreCalibration(raw=(0.0, 1.0), probability=(0.0, 1.0), margin_weight=7.0)
    folder = write_colour_bundle(tmp_path / "b", score_calibration=calibration)
    (folder / "reference.safetensors").write_bytes(content)

    def as_before(manifest: dict[str, Any]) -> None:
        manifest["schema"] = schema
        if schema == 2:
            manifest["decoding"]["overlap"] = 0.5
        manifest["score_calibration"]["presence"] = {
            "file": "reference.safetensors",
            "sha256": hashlib.sha256(content).hexdigest(),
            "share": 0.99,
            "threshold": 1.6,
        }

    edit_manifest(folder, as_before)
    red = np.array(COLOURS["red"], dtype=np.float32) / 255 - 0.5
    video = EncodedVideo(np.tile(red, (5, 1)), np.arange(5.0), 5.0)
    with Localizer.open(folder) as localizer:
        shown, absent = localizer.localize(video, ["red", "blue"])
        assert localizer.bundle.manifest.score_calibration is not None
        assert localizer.bundle.manifest.score_calibration.margin_weight == 0
    assert shown.best is not None
    assert absent.best is not None
    assert shown.presence is None
