"""A sentence that a video does not show gets no moment, told by how close frames come to it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.colours import COLOURS, write_colour_bundle
from vtloc_runtime import Localizer
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import PresenceTest, ScoreCalibration
from vtloc_runtime.errors import BundleError
from vtloc_runtime.localize.absence import PresenceCheck, ReferenceFrames, margin
from vtloc_runtime.localize.encoded_video import EncodedVideo

NAMES = list(COLOURS)


def colour(name: str) -> np.ndarray:
    return np.array(COLOURS[name], dtype=np.float32) / 255 - 0.5


def shown(*scenes: tuple[str, int]) -> EncodedVideo:
    features = np.concatenate([np.tile(colour(name), (count, 1)) for name, count in scenes])
    return EncodedVideo(features, np.arange(float(len(features))), float(len(features)))


def write_bundle(folder: Path, reference: ReferenceFrames, *, threshold: float = -0.1) -> Bundle:
    """The bundle of colours, which compares with frames of every colour."""
    content = reference.to_bytes()
    test = PresenceTest(
        file="reference.safetensors",
        sha256=hashlib.sha256(content).hexdigest(),
        share=0.99,
        threshold=threshold,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / test.file).write_bytes(content)
    calibration = ScoreCalibration(raw=(0.0, 1.0), probability=(0.0, 1.0), presence=test)
    return Bundle.open(write_colour_bundle(folder, score_calibration=calibration))


@pytest.fixture
def every_colour() -> ReferenceFrames:
    return ReferenceFrames.of(np.stack([colour(name) for name in NAMES]))


def test_what_the_video_shows_is_found_and_what_it_does_not_is_not(
    tmp_path: Path, every_colour: ReferenceFrames
) -> None:
    video = shown(("red", 5), ("green", 4), ("red", 3))
    with Localizer.open(write_bundle(tmp_path / "b", every_colour)) as localizer:
        found, absent = localizer.localize(video, ["green", "blue"], moments=3)
    assert found.best is not None
    assert (found.best.start, found.best.end) == (5.0, 9.0)
    assert absent.moments == ()


def test_the_best_there_is_can_be_asked_for(tmp_path: Path, every_colour: ReferenceFrames) -> None:
    bundle = write_bundle(tmp_path / "b", every_colour).always_answering()
    with Localizer.open(bundle) as localizer:
        assert localizer.localize(shown(("red", 5), ("green", 4)), "blue").best is not None


def test_another_way_of_decoding_is_not_judged(
    tmp_path: Path, every_colour: ReferenceFrames
) -> None:
    bundle = write_bundle(tmp_path / "b", every_colour)
    with Localizer.open(bundle, decoding="similarity") as localizer:
        assert localizer.localize(shown(("red", 5), ("green", 4)), "blue").best is not None


def test_a_sentence_close_to_everything_needs_closer_frames() -> None:
    frames = np.eye(4, dtype=np.float32)
    near_all, near_one = np.ones(4), np.array([1.0, 0, 0, 0])
    check = PresenceCheck(ReferenceFrames.of(frames), 0.5, 0.2)
    assert check.reference.mark(near_all, share=0.5) == pytest.approx(0.5)
    assert check.reference.mark(near_one, share=0.5) == pytest.approx(0.0)
    assert check.shows([0.1, 0.4], near_one)
    assert not check.shows([0.1, 0.4], near_all)


def test_frames_are_kept_in_half_precision_and_read_back() -> None:
    frames = ReferenceFrames.of(np.random.default_rng(0).normal(size=(20, 8)))
    again = ReferenceFrames.from_bytes(frames.to_bytes())
    np.testing.assert_allclose(again.frames, frames.frames, atol=1e-3)


def test_frames_without_a_direction_are_left_out() -> None:
    reference = ReferenceFrames.of([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(reference.frames, [[0.6, 0.8]])
    assert reference.mark([0.0, 0.0]) == 0.0
    assert ReferenceFrames.of(np.zeros((2, 3))).mark([1.0, 0, 0]) == 0.0


@given(
    curve=st.lists(st.floats(-1, 1), min_size=1, max_size=20),
    mark=st.floats(-1, 1),
    shift=st.floats(0, 1),
)
def test_a_margin_rises_with_the_closest_frame_and_falls_with_the_mark(
    curve: list[float], mark: float, shift: float
) -> None:
    plain = margin(curve, mark)
    assert margin([*curve, max(curve) + shift], mark) >= plain
    assert margin(curve, mark + shift) <= plain
    assert margin(sorted(curve), mark) == plain


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"nothing of the kind", "no reference frames"),
        (ReferenceFrames(np.full((3, 3), np.nan, np.float32)).to_bytes(), "no finite rows"),
        (ReferenceFrames(np.eye(5, dtype=np.float32)).to_bytes(), "width 5"),
    ],
)
def test_a_file_that_is_no_reference_is_refused(
    tmp_path: Path, every_colour: ReferenceFrames, content: bytes, reason: str
) -> None:
    bundle = write_bundle(tmp_path / "b", every_colour)
    (bundle.path / "reference.safetensors").write_bytes(content)
    with pytest.raises(BundleError, match="altered"):
        Localizer.open(bundle)
    test = PresenceTest(
        file="reference.safetensors",
        sha256=hashlib.sha256(content).hexdigest(),
        share=0.99,
        threshold=0.0,
    )
    calibration = ScoreCalibration(raw=(0.0, 1.0), probability=(0.0, 1.0), presence=test)
    with pytest.raises(BundleError, match=reason):
        Localizer.open(write_colour_bundle(bundle.path, score_calibration=calibration))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shared_space": None}, "shared space"),
        ({"score_calibration": ScoreCalibration(raw=(), probability=())}, "no map"),
        ({"score_calibration": ScoreCalibration(raw=(1.0, 0.0), probability=(0, 1))}, "no map"),
        ({"score_calibration": ScoreCalibration(raw=(0.0, 1.0), probability=(1.0,))}, "no map"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    tmp_path: Path, every_colour: ReferenceFrames, changes: dict[str, Any], reason: str
) -> None:
    manifest = write_bundle(tmp_path / "b", every_colour).manifest
    kept = {"score_calibration": manifest.score_calibration, **changes}
    with pytest.raises(BundleError, match=reason):
        Bundle.open(write_colour_bundle(tmp_path / "b", **kept))


def test_a_lost_reference_is_missed_when_the_bundle_is_opened(
    tmp_path: Path, every_colour: ReferenceFrames
) -> None:
    bundle = write_bundle(tmp_path / "b", every_colour)
    (bundle.path / "reference.safetensors").unlink()
    with pytest.raises(BundleError, match="missing"):
        Bundle.open(bundle.path)


def test_older_bundles_are_read_and_newer_ones_refused(tmp_path: Path) -> None:
    assert Bundle.open(write_colour_bundle(tmp_path / "old", schema=1)).manifest.schema == 1
    with pytest.raises(BundleError, match="schema 3"):
        Bundle.open(write_colour_bundle(tmp_path / "new", schema=3))


def test_the_command_can_be_told_to_answer_always(
    tmp_path: Path, every_colour: ReferenceFrames, colour_video: Path
) -> None:
    from typer.testing import CliRunner

    from vtloc_runtime.cli.find import app

    bundle = write_bundle(tmp_path / "b", every_colour)
    asked = [str(colour_video), "-q", "magenta", "--bundle", str(bundle.path), "--json", "--quiet"]
    given = []
    for options in ([], ["--always-answer"]):
        result = CliRunner().invoke(app, [*asked, *options])
        assert result.exit_code == 0, result.output
        given.append(json.loads(result.stdout.splitlines()[-1])["moments"])
    assert given[0] == []
    assert len(given[1]) == 1
