"""A sentence that a video does not show gets no moment, judged by how close frames come to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.colours import COLOURS, edit_manifest, write_colour_bundle
from vtloc_runtime import Localizer
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import PresenceTest, ScoreCalibration
from vtloc_runtime.errors import BundleError
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo, FrameFeatures
from vtloc_runtime.localize.presence.absence import PresenceCheck, ReferenceFrames
from vtloc_runtime.networks.interface import Array
from vtloc_runtime.networks.onnxruntime_backend import OnnxRuntimeNetwork

NAMES = list(COLOURS)


def colour(name: str) -> np.ndarray:
    return np.array(COLOURS[name], dtype=np.float32) / 255 - 0.5


def shown(*scenes: tuple[str, int]) -> EncodedVideo:
    features = np.concatenate([np.tile(colour(name), (count, 1)) for name, count in scenes])
    return EncodedVideo(features, np.arange(float(len(features))), float(len(features)))


def write_bundle(folder: Path, reference: ReferenceFrames, *, threshold: float = 1.6) -> Bundle:
    """The bundle of colours, which compares with frames of every colour."""
    content = reference.to_bytes()
    test = PresenceTest(
        file="reference.safetensors",
        sha256=hashlib.sha256(content).hexdigest(),
        share=0.5,
        threshold=threshold,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / test.file).write_bytes(content)
    calibration = ScoreCalibration(raw=(0.0, 1.0), probability=(0.0, 1.0), presence=test)
    return Bundle.open(write_colour_bundle(folder, score_calibration=calibration))


@pytest.fixture
def every_colour() -> ReferenceFrames:
    return ReferenceFrames.from_features(np.stack([colour(name) for name in NAMES]))


def test_what_a_video_does_not_show_is_not_searched_for(
    tmp_path: Path, every_colour: ReferenceFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    run = OnnxRuntimeNetwork.run

    def counting(
        network: OnnxRuntimeNetwork, inputs: Mapping[str, Array], outputs: Any = None
    ) -> dict[str, Array]:
        if network.name == "localizer":
            asked.append(len(inputs["tokens"]))
        return run(network, inputs, outputs)

    monkeypatch.setattr(OnnxRuntimeNetwork, "run", counting)
    video = shown(("red", 5), ("green", 4), ("red", 3))
    bundle = write_bundle(tmp_path / "b", every_colour)
    with Localizer.open(bundle, decoding="joint") as localizer:
        answers = localizer.localize(video, ["blue", "green", "yellow"])
        assert [bool(answer.moments) for answer in answers] == [False, True, False]
        assert asked == [1]
        assert not localizer.localize(video, "blue").moments
        assert asked == [1]
        # Its words are aligned with the frames all the same.
        assert localizer.localize(video, "blue", alignment=True).alignment is not None
        assert asked == [1, 1]


def test_what_the_video_shows_is_found_and_what_it_does_not_is_not(
    tmp_path: Path, every_colour: ReferenceFrames
) -> None:
    video = shown(("red", 5), ("green", 4), ("red", 3))
    with Localizer.open(write_bundle(tmp_path / "b", every_colour)) as localizer:
        found, absent = localizer.localize(video, ["green", "blue"], moments=3)
    assert found.best is not None
    assert (found.best.start, found.best.end) == (5.0, 9.0)
    assert absent.moments == ()
    assert found.presence is not None
    assert absent.presence is not None
    assert found.presence >= 1.6 > absent.presence


def test_the_best_there_is_can_be_asked_for(tmp_path: Path, every_colour: ReferenceFrames) -> None:
    bundle = write_bundle(tmp_path / "b", every_colour).always_answering()
    with Localizer.open(bundle) as localizer:
        answer = localizer.localize(shown(("red", 5), ("green", 4)), "blue")
    assert answer.best is not None
    assert answer.presence is not None


def test_another_way_of_decoding_is_not_judged(
    tmp_path: Path, every_colour: ReferenceFrames
) -> None:
    bundle = write_bundle(tmp_path / "b", every_colour)
    with Localizer.open(bundle, decoding="similarity") as localizer:
        assert localizer.localize(shown(("red", 5), ("green", 4)), "blue").best is not None


def test_a_sentence_close_to_everything_needs_closer_frames() -> None:
    frames = np.eye(4, dtype=np.float32)
    near_all, near_one = np.ones(4), np.array([1.0, 0, 0, 0])
    check = PresenceCheck(ReferenceFrames.from_features(frames), 0.5, 0.2)
    assert check.reference.mark(near_all) == pytest.approx(0.5)
    assert check.reference.mark(near_one) == pytest.approx(0.0)
    assert check.shows(check.margin([0.1, 0.4], near_one, 1))
    assert not check.shows(check.margin([0.1, 0.4], near_all, 1))
    assert PresenceCheck(check.reference, 0.5, None).shows(-1.0)


def test_the_mark_rises_with_the_looks_of_the_video() -> None:
    reference = ReferenceFrames.from_features(np.random.default_rng(0).normal(size=(200, 16)))
    sentence = np.random.default_rng(1).normal(size=16)
    marks = [reference.mark(sentence, looks=looks) for looks in (1, 3, 10, 100, 1e4, 1e6)]
    assert marks == sorted(set(marks))
    cosines = reference.frames @ (sentence / np.linalg.norm(sentence))
    assert marks[0] == pytest.approx(float(np.median(cosines)))


def test_absent_sentences_are_turned_away_as_often_in_films_of_every_length() -> None:
    """Unrelated frames, however many: the same share of them passes for the moment."""
    chance = np.random.default_rng(0)

    def frames(count: int) -> np.ndarray:
        return ReferenceFrames.from_features(chance.laplace(size=(count, 32))).frames

    reference = ReferenceFrames(frames(512)).fitted(frames(100))
    assert reference.tail < 0  # No cosine exceeds 1, so the tail ends.
    check = PresenceCheck(reference, 0.5, 0.0)
    accepted = []
    for length in (10, 30, 60, 250, 1000, 3600):
        taken = []
        for sentence in frames(30):
            for _ in range(4):
                rows = frames(length)
                margin = check.margin(rows @ sentence, sentence, reference.looks(rows))
                taken.append(check.shows(margin))
        accepted.append(float(np.mean(taken)))
    assert max(accepted) - min(accepted) < 0.2
    assert 0.35 < float(np.mean(accepted)) < 0.65


def test_frames_that_were_seen_before_are_no_new_look() -> None:
    chance = np.random.default_rng(0)
    reference = ReferenceFrames.from_features(chance.normal(size=(300, 128)))
    shots = chance.normal(size=(7, 128))
    assert reference.looks(shots[:1]) == 1
    assert reference.looks(shots) == 7
    assert reference.looks(np.repeat(shots, 500, axis=0)) == 7
    assert reference.looks(np.tile(shots, (500, 1))) == 7
    noisy = np.tile(shots, (500, 1)) + 0.03 * chance.normal(size=(3500, 128))
    assert reference.looks(noisy) == 7
    assert reference.looks(FrameFeatures(shots, np.tile(np.arange(7), 900))) == 7
    assert reference.looks(np.zeros((40, 128))) == 1


def test_frames_that_all_differ_are_as_many_looks_as_frames() -> None:
    chance = np.random.default_rng(0)
    reference = ReferenceFrames.from_features(chance.normal(size=(300, 384)))
    assert reference.looks(chance.normal(size=(5000, 384))) == 5000


def test_a_shot_that_changes_slowly_is_a_few_looks() -> None:
    chance = np.random.default_rng(0)
    reference = ReferenceFrames.from_features(chance.normal(size=(300, 128)))
    first, last = chance.normal(size=(2, 128))
    share = np.linspace(0, 1, 400)[:, None]
    assert 2 <= reference.looks((1 - share) * first + share * last) < 8


def test_frames_are_kept_in_half_precision_and_read_back() -> None:
    frames = ReferenceFrames.from_features(np.random.default_rng(0).normal(size=(60, 8)))
    assert frames.fitted(np.eye(8)).tail == 0  # Too few sentences to tell.
    frames = frames.fitted(np.random.default_rng(1).normal(size=(100, 8)))
    again = ReferenceFrames.from_bytes(frames.to_bytes())
    np.testing.assert_allclose(again.frames, frames.frames, atol=1e-3)
    assert again.tail == pytest.approx(frames.tail)
    assert frames.tail != 0


def test_frames_without_a_direction_are_left_out() -> None:
    reference = ReferenceFrames.from_features([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(reference.frames, [[0.6, 0.8]])
    assert reference.mark([0.0, 0.0]) == 0.0
    assert ReferenceFrames.from_features(np.zeros((2, 3))).mark([1.0, 0, 0]) == 0.0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"nothing of the kind", "no reference frames"),
        (ReferenceFrames(np.full((3, 3), np.nan, np.float32)).to_bytes(), "rows of finite"),
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
        share=0.5,
        threshold=0.0,
    )
    calibration = ScoreCalibration(raw=(0.0, 1.0), probability=(0.0, 1.0), presence=test)
    with pytest.raises(BundleError, match=reason):
        Localizer.open(write_colour_bundle(bundle.path, score_calibration=calibration))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shared_space": None}, "shared space"),
        ({"score_calibration": ScoreCalibration(raw=(), probability=())}, "must map"),
        ({"score_calibration": ScoreCalibration(raw=(1.0, 0.0), probability=(0, 1))}, "must map"),
        ({"score_calibration": ScoreCalibration(raw=(0.0, 1.0), probability=(1.0,))}, "must map"),
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


def test_older_bundles_are_read_and_newer_ones_refused(
    tmp_path: Path, every_colour: ReferenceFrames
) -> None:
    assert Bundle.open(write_colour_bundle(tmp_path / "old", schema=1)).manifest.schema == 1
    with pytest.raises(BundleError, match="schema 4"):
        Bundle.open(write_colour_bundle(tmp_path / "new", schema=4))
    bundle = write_bundle(tmp_path / "b", every_colour)

    def as_before(manifest: dict[str, Any]) -> None:
        manifest["schema"] = 2
        manifest["decoding"]["overlap"] = 0.5
        manifest["score_calibration"]["presence"] |= {"share": 0.99, "threshold": -0.1}

    edit_manifest(bundle.path, as_before)
    opened = Bundle.open(bundle.path)
    assert opened.presence is not None
    # What one frame in a hundred exceeds, one video of forty frames in three does.
    assert opened.presence.share == pytest.approx(0.669, abs=1e-3)
    with Localizer.open(opened) as localizer:
        assert localizer.localize(shown(("red", 5), ("green", 4)), "green").best is not None


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
