"""The bank of ordinary sentences: read safely, and what it tells about presence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save
from typer.testing import CliRunner

from tests.support.colour_bank import EVERY_DIRECTION, banked
from tests.support.colours import COLOURS, write_colour_bundle, write_colour_video
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import ReferenceEntry, SharedSpace
from vtloc_runtime.cli.find import app
from vtloc_runtime.errors import BundleError
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.localize.presence.bank_presence import (
    NEAREST,
    WEIGHT,
    BankPresence,
    likelihood,
)
from vtloc_runtime.localize.presence.reference_frames import ReferenceFrames
from vtloc_runtime.localize.presence.sentence_bank import SentenceBank

WIDTH = 32
SHARED = SharedSpace(start=0, stop=WIDTH)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def random_bank(seed: int = 0, count: int = 200) -> SentenceBank:
    random = np.random.default_rng(seed)
    return SentenceBank.of_vectors(random.normal(size=(count, WIDTH)), np.zeros(WIDTH))


def frames(seed: int, count: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, WIDTH))).astype(np.float32)


def test_it_is_read_back_as_it_was_written() -> None:
    bank = random_bank()
    read = SentenceBank.from_bytes(bank.to_bytes())
    assert read.sentences == pytest.approx(bank.sentences, abs=1e-3)
    assert read.mean == pytest.approx(bank.mean)


GOOD: dict[str, np.ndarray] = {
    "sentences": np.ones((3, 4), np.float16),
    "mean": np.ones(4, np.float32),
}
BAD: dict[str, dict[str, np.ndarray]] = {
    "no sentences": {"mean": GOOD["mean"]},
    "no mean": {"sentences": GOOD["sentences"]},
    "not finite": {**GOOD, "mean": np.full(4, np.nan, np.float32)},
    "infinite": {**GOOD, "sentences": np.full((3, 4), np.inf, np.float16)},
    "integers": {**GOOD, "sentences": np.ones((3, 4), np.int64)},
    "another width": {**GOOD, "mean": np.ones(5, np.float32)},
    "one axis": {**GOOD, "sentences": np.ones(4, np.float16)},
    "empty": {**GOOD, "sentences": np.ones((0, 4), np.float16)},
    "one sentence": {**GOOD, "sentences": np.eye(4, dtype=np.float32)[:1]},
    "no directions": {**GOOD, "sentences": np.zeros((3, 4), np.float16)},
    "too long": {**GOOD, "sentences": np.full((3, 4), 1e30, np.float32)},
    "longer than any": {**GOOD, "sentences": np.full((3, 4), 1e300)},
}


@pytest.mark.parametrize("tensors", BAD.values(), ids=BAD.keys())
def test_what_is_no_bank_is_refused(tensors: dict[str, np.ndarray]) -> None:
    with pytest.raises(BundleError, match="sentence bank"):
        SentenceBank.from_bytes(save(tensors))


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\0" * 8])
def test_bytes_that_are_no_file_are_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match="no sentence bank"):
        SentenceBank.from_bytes(content)


def test_sentences_without_a_direction_are_left_out() -> None:
    rows = np.vstack([np.zeros(WIDTH), np.ones(WIDTH)])
    assert len(SentenceBank.of_vectors(rows, np.zeros(WIDTH)).sentences) == 1


def test_a_sentence_that_a_frame_shows_stands_out() -> None:
    rows = frames(1, 50)
    ordinary = BankPresence(random_bank()).in_video(rows, SHARED)
    shown = unit(rows[7] + 0.3 * frames(2, 1)[0])
    assert ordinary.margin(rows @ shown) > 2
    absent = unit(np.random.default_rng(3).normal(size=(200, WIDTH)))
    margins = [ordinary.margin(rows @ one) for one in absent]
    assert np.mean(np.array(margins) >= 1) == pytest.approx(0.1, abs=0.06)
    assert np.median(margins) == pytest.approx(0, abs=0.3)


def test_a_margin_is_what_it_is_by_hand() -> None:
    bank = SentenceBank.of_vectors(np.eye(2), np.zeros(2))
    ordinary = BankPresence(bank).in_video(np.array([[3.0, 0.0]]), SharedSpace(start=0, stop=2))
    # The frame is the first sentence: that reaches 1, and the other 0 - 0.75 * 1.
    assert ordinary.nearest == pytest.approx([0.75])
    assert ordinary.middle == pytest.approx(0.125)
    assert ordinary.above == pytest.approx(0.825 - 0.125)
    assert ordinary.below == pytest.approx(0.125 - -0.575)
    assert ordinary.margin(np.array([1.0])) == pytest.approx((0.25 - 0.125) / 0.7)
    assert ordinary.margin(np.array([1.0]), mark=0.1) == pytest.approx((0.15 - 0.125) / 0.7)


@given(
    count=st.integers(2, 40),
    length=st.integers(1, 30),
    seed=st.integers(0, 999),
    same=st.booleans(),
)
def test_the_scale_is_what_the_plainest_program_finds(
    count: int, length: int, seed: int, same: bool
) -> None:
    bank, seen = random_bank(seed, count), frames(seed + 1, length)
    if same:
        # A frame may come equally close to several sentences.
        bank.sentences[count // 2 :] = bank.sentences[: count - count // 2]
    cosines = unit(seen) @ bank.sentences.T
    nearest = min(NEAREST, count - 1)
    reached = np.empty_like(cosines)
    for frame, row in enumerate(cosines):
        for sentence, cosine in enumerate(row):
            others = np.sort(np.delete(row, sentence))[-nearest:]
            reached[frame, sentence] = cosine - WEIGHT * others.mean()
    low, middle, high = np.quantile(reached.max(axis=0), (0.1, 0.5, 0.9))
    found = BankPresence(bank).in_video(seen, SHARED)
    assert [found.middle, found.above, found.below] == pytest.approx(
        [middle, high - middle, middle - low], abs=1e-6
    )
    expected = WEIGHT * np.sort(cosines, axis=1)[:, -nearest:].mean(axis=1)
    assert found.nearest == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("compared", [False, True], ids=["bank", "bank and reference"])
def test_false_acceptance_is_flat_from_10_to_3600_frames(
    threshold: float, *, compared: bool
) -> None:
    """Sentences like the bank's, none of them shown, in films whose shots differ in length."""
    reference = ReferenceFrames.from_features(frames(7, 512)) if compared else None
    presence = BankPresence(random_bank(count=600), None, reference, mark_weight=1.0)
    absent = unit(np.random.default_rng(3).normal(size=(400, WIDTH))).astype(np.float32)
    marks = [presence.mark(one) for one in absent]
    passed = []
    for count in (10, 30, 60, 250, 1000, 3600):
        shares = []
        for seed in range(6):
            shots = frames(10 + seed, count)
            rows = np.repeat(shots, np.arange(count) % 4 + 1, axis=0)[:count]
            ordinary = presence.in_video(rows, SHARED)
            found = [
                ordinary.margin(rows @ one, mark) for one, mark in zip(absent, marks, strict=True)
            ]
            shares.append(np.mean(np.array(found) >= threshold))
        passed.append(float(np.mean(shares)))
    assert max(passed) - min(passed) <= (0.06 if threshold == 0 else 0.03)
    # Nine in ten of the bank's own sentences have a margin of -1, half of 0, one in ten of 1.
    assert np.mean(passed) == pytest.approx(0.5 - 0.4 * threshold, abs=0.04)


def test_a_video_of_one_look_decides_alike_however_long() -> None:
    presence = BankPresence(random_bank())
    rows = frames(1, 1)
    vector = frames(5, 1)[0]
    once = presence.in_video(rows, SHARED).margin(rows @ vector)
    still = np.repeat(rows, 500, axis=0)
    assert presence.in_video(still, SHARED).margin(still @ vector) == pytest.approx(once, abs=1e-4)


def test_frames_that_resemble_every_sentence_count_less() -> None:
    bank = random_bank()
    common = unit(bank.sentences.sum(axis=0))
    rows = np.vstack([frames(1, 20), common]).astype(np.float32)
    ordinary = BankPresence(bank).in_video(rows, SHARED)
    assert ordinary.nearest[-1] > ordinary.nearest[:-1].mean()


def test_reference_frames_lower_a_sentence_that_comes_close_to_every_video() -> None:
    random = np.random.default_rng(0)
    # Every video leans towards one direction, and so does the sentence.
    lean = np.eye(WIDTH)[0]
    videos = [unit(random.normal(size=(40, WIDTH)) + 2 * lean).astype(np.float32) for _ in "abcd"]
    sentence = unit(random.normal(size=WIDTH) + 4 * lean).astype(np.float32)
    plain = BankPresence(random_bank())
    beside = BankPresence(random_bank(), None, ReferenceFrames.from_features(np.vstack(videos[1:])))
    curve = (videos[0] @ sentence).astype(np.float64)
    before = plain.in_video(videos[0], SHARED).margin(curve)
    after = beside.in_video(videos[0], SHARED).margin(curve, beside.mark(sentence))
    assert after < before


@given(st.floats(-10, 10))
def test_the_likelihood_rises_within_0_and_1(margin: float) -> None:
    assert 0 <= likelihood(margin) <= 1
    assert likelihood(margin) <= likelihood(margin + 0.5)
    assert likelihood(1.0) == 0.5


def test_a_degenerate_bank_tells_finite_margins() -> None:
    same = SentenceBank.of_vectors(np.ones((3, WIDTH)), np.zeros(WIDTH))
    rows = frames(1, 4)
    margin = BankPresence(same).in_video(rows, SHARED).margin(rows @ frames(2, 1)[0])
    assert -10 <= margin <= 10


def test_a_video_is_looked_at_once() -> None:
    presence = BankPresence(random_bank())
    rows = frames(1, 10)
    first = presence.in_video(rows, SHARED)
    assert presence.in_video(rows, SHARED) is first
    assert presence.in_video(rows.copy(), SHARED) is not first


def colours(*scenes: tuple[str, int]) -> EncodedVideo:
    shown = np.repeat([COLOURS[name] for name, _ in scenes], [n for _, n in scenes], axis=0)
    features = (shown / 255 - 0.5).astype(np.float32)
    return EncodedVideo(features, np.arange(len(features), dtype=float), float(len(features)))


def test_a_bundle_with_a_bank_tells_presence_and_scores(tmp_path: Path) -> None:
    folder = banked(tmp_path / "banked", threshold=0.0)
    with Localizer.open(folder, threads=1) as localizer:
        found, absent = localizer.localize(colours(("red", 5), ("yellow", 5)), ["yellow", "blue"])
    assert found.best is not None
    assert 0 <= found.best.score <= 1
    assert absent.moments == ()
    assert found.presence is not None
    assert absent.presence is not None
    assert found.presence > 0 > absent.presence


def test_always_answering_answers_what_is_absent(tmp_path: Path) -> None:
    opened = Bundle.open(banked(tmp_path / "banked", threshold=0.0)).always_answering()
    with Localizer.open(opened, threads=1) as localizer:
        assert localizer.localize(colours(("red", 5), ("yellow", 5)), "blue").best is not None


def test_a_bank_is_part_of_the_bundle(tmp_path: Path) -> None:
    folder = banked(tmp_path / "banked")
    assert "bank.safetensors" in Bundle.open(folder).files()
    (folder / "bank.safetensors").write_bytes(b"altered")
    with pytest.raises(BundleError, match="altered"):
        Localizer.open(folder, threads=1)
    (folder / "bank.safetensors").unlink()
    with pytest.raises(BundleError, match="missing"):
        Bundle.open(folder)


def test_a_bank_of_another_width_is_refused(tmp_path: Path) -> None:
    folder = banked(tmp_path / "banked", random_bank())
    with pytest.raises(BundleError, match="the sentence bank has the width 32"):
        Localizer.open(folder, threads=1)


def test_reference_frames_of_another_width_are_refused(tmp_path: Path) -> None:
    content = ReferenceFrames.from_features(frames(0, 9)).to_bytes()
    entry = ReferenceEntry(file="frames", sha256=hashlib.sha256(content).hexdigest())
    folder = banked(tmp_path / "banked", reference=entry)
    (folder / "frames").write_bytes(content)
    with pytest.raises(BundleError, match="reference frames of width 32"):
        Localizer.open(folder, threads=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of colours with its localizer, whose presence a bank tells."""
    folder = tmp_path_factory.mktemp("trained") / "colours"
    return banked(folder, EVERY_DIRECTION, localizer=True, mean_weight=0.0, threshold=1.0)


def test_a_trained_bundle_turns_away_what_its_video_does_not_show(trained: Path) -> None:
    video = colours(("red", 5), ("green", 4), ("red", 3))
    with Localizer.open(trained, threads=1) as localizer:
        found, absent = localizer.localize(video, ["green", "blue"], moments=3)
    assert found.best is not None
    assert (found.best.start, found.best.end) == (5.0, 9.0)
    assert absent.moments == ()
    assert found.presence is not None
    assert absent.presence is not None
    assert found.presence >= 1 > absent.presence


def test_another_way_of_decoding_is_not_judged(trained: Path) -> None:
    with Localizer.open(trained, threads=1, decoding="argmax") as localizer:
        assert localizer.localize(colours(("red", 5), ("green", 4)), "blue").best is not None


def test_scores_of_trained_boundaries_do_not_take_the_likelihood(
    trained: Path, tmp_path: Path
) -> None:
    plain = write_colour_bundle(tmp_path / "plain")
    video = colours(("red", 5), ("green", 4))
    with Localizer.open(plain, threads=1) as without, Localizer.open(trained, threads=1) as beside:
        scores = [one.localize(video, "green").best for one in (without, beside)]
    assert scores[0] == scores[1]


def test_the_command_can_be_told_to_answer_always(trained: Path, tmp_path: Path) -> None:
    film = write_colour_video(tmp_path / "film.mp4", [("red", 5), ("green", 4)])
    asked = [str(film), "-q", "magenta", "--bundle", str(trained), "--json", "--quiet"]
    given = []
    for options in ([], ["--always-answer"]):
        result = CliRunner().invoke(app, [*asked, *options])
        assert result.exit_code == 0, result.output
        given.append(json.loads(result.stdout.splitlines()[-1])["moments"])
    assert given[0] == []
    assert len(given[1]) == 1
