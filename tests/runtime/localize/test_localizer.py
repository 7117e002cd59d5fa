"""The localizer end to end, on a bundle whose answers are known beforehand."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.colours import COLOURS, edit_manifest, write_colour_bundle
from vtloc_runtime.bundle.manifest import ScoreCalibration, Windows
from vtloc_runtime.errors import (
    BackendError,
    BundleError,
    FeatureError,
    NetworkError,
    QueryError,
    UsageError,
    VideoError,
    VtlocError,
)
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.localize.questions.tokenizer import QueryTokenizer
from vtloc_runtime.localize.spans.moments import Localization


@pytest.fixture
def localizer(colour_bundle: Path) -> Any:
    with Localizer.open(colour_bundle, threads=1) as opened:
        yield opened


def encoded(*scenes: tuple[str, int]) -> EncodedVideo:
    """Features as the visual network would make them: one frame a second."""
    features = [
        np.array(COLOURS[colour]) / 255 - 0.5 for colour, frames in scenes for _ in range(frames)
    ]
    return EncodedVideo(
        np.array(features, dtype=np.float32),
        np.arange(len(features), dtype=np.float64),
        float(len(features)),
    )


def test_it_finds_the_moment_of_a_video_file(localizer: Localizer, colour_video: Path) -> None:
    answer = localizer.localize(colour_video, "the screen turns green")
    assert isinstance(answer, Localization)
    assert answer.best is not None
    assert (answer.best.start, answer.best.end) == pytest.approx((4.0, 7.0), abs=0.13)
    assert answer.best.score > 0.9


def test_a_video_is_encoded_once_for_many_sentences(
    localizer: Localizer, colour_video: Path
) -> None:
    video = localizer.encode_video(colour_video)
    assert video.features.shape == (12, 3)
    assert video.features.dtype == np.float32
    assert video.times.tolist() == pytest.approx(range(12), abs=0.13)
    assert video.duration == pytest.approx(12, abs=0.13)
    answers = localizer.localize(video, ["red", "blue", "green", "red"])
    spans = [(a.best.start, a.best.end) for a in answers if a.best]
    expected = [(0, 4), (7, 12), (4, 7), (0, 4)]
    assert [pytest.approx(span, abs=0.13) for span in expected] == spans


def test_batches_change_no_feature(colour_bundle: Path, colour_video: Path) -> None:
    found = []
    for batch in (1, 5, 64):
        with Localizer.open(colour_bundle, batch=batch) as localizer:
            found.append(localizer.encode_video(colour_video).features)
    assert all(np.array_equal(found[0], other) for other in found)


def test_company_changes_no_answer(localizer: Localizer) -> None:
    video = encoded(("red", 5), ("cyan", 4), ("blue", 9))
    queries = ["a red screen", "cyan", "the screen turns blue", "red"]
    together = localizer.localize(video, queries)
    assert together == [localizer.localize(video, query) for query in queries]
    assert [answer.query for answer in together] == queries


def test_exchanging_the_sentence_changes_the_moment(localizer: Localizer) -> None:
    video = encoded(("red", 5), ("blue", 5))
    red, blue = localizer.localize(video, ["red", "blue"])
    assert red.best != blue.best


def test_several_moments_come_best_first(localizer: Localizer) -> None:
    video = encoded(("red", 3), ("blue", 3), ("red", 4), ("green", 2))
    answer = localizer.localize(video, "red", moments=2)
    assert {(m.start, m.end) for m in answer.moments} == {(0.0, 3.0), (6.0, 10.0)}
    assert answer.moments[0].score >= answer.moments[1].score


@pytest.mark.parametrize("decoding", ["joint", "argmax", "similarity"])
def test_every_decoding_finds_a_plain_moment(colour_bundle: Path, decoding: Any) -> None:
    with Localizer.open(colour_bundle, decoding=decoding) as localizer:
        answer = localizer.localize(encoded(("red", 6), ("green", 3), ("red", 7)), "green")
    assert answer.best is not None
    assert (answer.best.start, answer.best.end) == (6.0, 9.0)


def test_windows_give_the_answer_of_the_whole(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "b", windows=Windows(frames=45, overlap=20))
    video = encoded(("red", 33), ("green", 9), ("blue", 40), ("yellow", 30))
    with Localizer.open(bundle) as localizer:
        for query, span in (("green", (33, 42)), ("blue", (42, 82)), ("yellow", (82, 112))):
            best = localizer.localize(video, query).best
            assert best is not None
            assert (best.start, best.end) == span


def test_a_moment_is_no_longer_than_the_bundle_allows(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "b", windows=Windows(frames=20, overlap=6))
    video = encoded(("red", 50), ("green", 9), ("red", 50))
    for decoding in ("joint", "argmax", "soft", "similarity", "combined"):
        with Localizer.open(bundle, decoding=decoding) as localizer:
            for query in ("red", "green", "blue"):
                for moment in localizer.localize(video, query, moments=5).moments:
                    assert moment.end - moment.start <= 20


def test_the_alignment_says_which_word_a_frame_has_to_do_with(localizer: Localizer) -> None:
    video = encoded(("red", 6), ("green", 4))
    plain, told = (
        localizer.localize(video, "a green screen", alignment=wanted) for wanted in (False, True)
    )
    assert plain == told
    assert plain.alignment is None
    assert "alignment" not in told.to_json()
    assert told.alignment is not None
    assert told.alignment.words == ("a", "green", "screen")
    assert told.alignment.weights.shape == (3, 10)
    assert told.alignment.times.tolist() == video.times.tolist()
    green = told.alignment.weights[1]
    assert green[6:].min() > green[:6].max()


def test_half_precision_answers_alike(colour_bundle: Path) -> None:
    video = encoded(("red", 5), ("cyan", 4), ("blue", 9))
    with Localizer.open(colour_bundle, precision="fp16") as localizer:
        best = localizer.localize(video, "cyan").best
    assert best is not None
    assert (best.start, best.end) == (5.0, 9.0)


def test_calibration_turns_scores_into_probabilities(tmp_path: Path) -> None:
    calibration = ScoreCalibration(raw=(0.0, 1.0), probability=(0.0, 0.5), threshold=0.4)
    bundle = write_colour_bundle(tmp_path / "b", score_calibration=calibration)
    video = encoded(("red", 5), ("green", 5))
    with Localizer.open(bundle) as localizer:
        found, absent = localizer.localize(video, ["green", "a the"])
        assert found.best is not None
        assert 0.4 <= found.best.score <= 0.5
        # No such moment is an answer, not an error.
        assert absent.moments == ()
        assert absent.best is None
    with Localizer.open(bundle, decoding="argmax") as localizer:
        # The calibration was fitted on another way of decoding, so it is left out.
        best = localizer.localize(video, "green").best
        assert best is not None
        assert best.score > 0.5


def test_threads_share_one_localizer(localizer: Localizer, colour_video: Path) -> None:
    expected = localizer.localize(colour_video, ["red", "green", "blue"], moments=2)
    answers: list[Any] = []

    def work() -> None:
        answers.append(localizer.localize(colour_video, ["red", "green", "blue"], moments=2))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 4


def test_an_observer_is_told_of_every_stage(colour_bundle: Path, colour_video: Path) -> None:
    stages: list[tuple[str, int]] = []

    def observe(stage: str, seconds: float, count: int) -> None:
        assert seconds >= 0
        stages.append((stage, count))

    with Localizer.open(colour_bundle, observer=observe) as localizer:
        localizer.localize(colour_video, ["red", "blue"])
    assert stages == [("decode", 12), ("encode", 12), ("localize", 2)]


def test_sentences_are_remembered_within_a_bound(colour_bundle: Path) -> None:
    video = encoded(("red", 2), ("blue", 2))
    with Localizer.open(colour_bundle, kept_sentences=2) as localizer:
        first = localizer.localize(video, ["red", "blue", "a red", "a blue"])
        assert localizer.localize(video, ["red", "blue", "a red", "a blue"]) == first
        assert len(localizer._sentences._known) == 2


def test_a_sentence_is_tokenized_once(colour_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenized: list[object] = []
    tokenize = QueryTokenizer.tokenize

    def count(tokenizer: QueryTokenizer, query: str) -> object:
        tokenized.append(query)
        return tokenize(tokenizer, query)

    monkeypatch.setattr(QueryTokenizer, "tokenize", count)
    with Localizer.open(colour_bundle) as localizer:
        for _ in range(2):
            localizer.check_query("a red screen")
            localizer.localize(encoded(("red", 4)), ["a red screen", "blue"])
    assert tokenized == ["a red screen", "blue"]


def test_a_warning_about_the_sentence_reaches_the_answer(localizer: Localizer) -> None:
    answer = localizer.localize(encoded(("red", 2)), "red " * 100)
    assert "longer than 12 tokens" in answer.warnings[0]


def test_no_sentence_gives_no_answer(localizer: Localizer) -> None:
    assert localizer.localize(encoded(("red", 2)), []) == []


def test_one_frame_is_enough(localizer: Localizer) -> None:
    best = localizer.localize(encoded(("red", 1)), "red").best
    assert best is not None
    assert (best.start, best.end) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"bundle": "/no/such/bundle"}, BundleError),
        ({"backend": "openvino"}, BackendError),
        ({"device": "tpu"}, BackendError),
        ({"precision": "int2"}, BundleError),
        ({"decoding": "guess"}, UsageError),
    ],
)
def test_what_cannot_be_opened_says_why(
    colour_bundle: Path, arguments: dict[str, Any], error: type[VtlocError]
) -> None:
    with pytest.raises(error) as caught:
        Localizer.open(**{"bundle": colour_bundle, **arguments})
    assert caught.value.remedy


def test_similarity_needs_a_shared_space(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "b", shared_space=None)
    with pytest.raises(BackendError, match="share"):
        Localizer.open(bundle, decoding="similarity")


def test_a_missing_file_of_the_bundle_is_named(own_bundle: Path) -> None:
    (own_bundle / "text.fp32.onnx").unlink()
    with pytest.raises(BundleError, match=r"text\.fp32\.onnx"):
        Localizer.open(own_bundle)


def test_features_of_another_encoder_are_refused(localizer: Localizer) -> None:
    wide = EncodedVideo(np.zeros((2, 5), np.float32), np.arange(2.0), 2.0)
    stranger = EncodedVideo(np.zeros((2, 3), np.float32), np.arange(2.0), 2.0, encoder="f" * 64)
    for video in (wide, stranger):
        with pytest.raises(FeatureError, match="another network"):
            localizer.localize(video, "red")


def test_features_without_a_frame_are_no_video() -> None:
    with pytest.raises(VideoError, match="no frame"):
        EncodedVideo(np.zeros((0, 3), np.float32), np.zeros(0), 0.0)
    with pytest.raises(NetworkError, match="belong"):
        EncodedVideo(np.zeros((2, 3), np.float32), np.zeros(3), 0.0)


def test_bad_questions_are_refused_before_the_video_is_read(localizer: Localizer) -> None:
    with pytest.raises(QueryError, match="empty"):
        localizer.localize("/no/such/video", " ")
    with pytest.raises(UsageError, match="0 moments"):
        localizer.localize("/no/such/video", "red", moments=0)


@pytest.mark.parametrize("content", [None, b"", b"not a video at all, only words"])
def test_what_is_no_video_is_refused(
    localizer: Localizer, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "film.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VideoError) as caught:
        localizer.localize(path, "red")
    assert "film.mp4" in str(caught.value)


def test_values_that_are_not_finite_are_refused(localizer: Localizer) -> None:
    video = EncodedVideo(np.full((2, 3), np.nan, np.float32), np.arange(2.0), 2.0)
    with pytest.raises(NetworkError, match="not finite"):
        localizer.localize(video, "red")


def test_a_closed_localizer_says_so(colour_bundle: Path) -> None:
    localizer = Localizer.open(colour_bundle)
    localizer.close()
    localizer.close()
    with pytest.raises(NetworkError, match="closed"):
        localizer.localize(encoded(("red", 1)), "red")


def test_a_manifest_of_another_schema_is_refused(own_bundle: Path) -> None:
    edit_manifest(own_bundle, lambda manifest: manifest.update(schema=99))
    with pytest.raises(BundleError, match="schema 99"):
        Localizer.open(own_bundle)


@pytest.mark.parametrize(
    "option",
    [
        {"threads": 0}, {"threads": -1}, {"threads": 10**9}, {"threads": 1.5}, {"threads": True},
        {"batch": 0}, {"batch": -1}, {"batch": "a"}, {"batch": 2**40},
        {"reuse": -1}, {"reuse": float("nan")}, {"reuse": "2"}, {"reuse": 256},
        {"kept_sentences": -1}, {"kept_sentences": 1.0}, {"run_timeout": 0},
        {"run_timeout": float("inf")}, {"decoding": 3}, {"precision": 3}, {"device": 5},
        {"backend": 5},
        {"decoder": b"cpu"}, {"digest": "x"}, {"bundle": 5}, {"bundle": ""},
    ],
    ids=str,
)  # fmt: skip
def test_an_option_that_cannot_be_meant_is_named(
    colour_bundle: Path, option: dict[str, Any]
) -> None:
    with pytest.raises(UsageError) as caught:
        Localizer.open(**{"bundle": colour_bundle, **option})
    (name,) = option
    assert name in str(caught.value)


@pytest.mark.parametrize("moments", [0, -1, 101, 10**9, 1.5, float("nan"), "3", True, None])
def test_a_number_of_moments_that_cannot_be_meant_is_refused(
    localizer: Localizer, moments: Any
) -> None:
    with pytest.raises(UsageError, match="moments"):
        localizer.localize(encoded(("red", 2)), "red", moments=moments)


@pytest.mark.parametrize("queries", [None, 5, b"red", {"red": 1}, [None], [b"red"], object()])
def test_what_is_no_sentence_is_refused(localizer: Localizer, queries: Any) -> None:
    with pytest.raises(QueryError, match="a sentence is text, not"):
        localizer.localize(encoded(("red", 2)), queries)


ROWS = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([[1]], [0], 1.0), UsageError, "features"),
        ((ROWS.astype(int), np.arange(2.0), 2.0), UsageError, "features"),
        ((ROWS.astype(complex), np.arange(2.0), 2.0), UsageError, "features"),
        ((ROWS, np.array(["a", "b"]), 2.0), UsageError, "times"),
        ((ROWS, np.arange(2), 2.0), UsageError, "times"),
        ((ROWS, np.arange(2.0), "5"), UsageError, "duration"),
        ((ROWS, np.arange(2.0), None), UsageError, "duration"),
        ((ROWS, np.array([0.0, np.nan]), 2.0), FeatureError, "increasing seconds"),
        ((ROWS, np.array([0.0, np.inf]), np.inf), FeatureError, "increasing seconds"),
        ((ROWS, np.array([1.0, 0.0]), 2.0), FeatureError, "increasing seconds"),
        ((ROWS, np.array([-1.0, 0.0]), 2.0), FeatureError, "increasing seconds"),
        ((ROWS, np.arange(2.0), float("nan")), FeatureError, "duration"),
        ((ROWS, np.arange(2.0), float("inf")), FeatureError, "duration"),
        ((ROWS, np.arange(2.0), 0.5), FeatureError, "duration"),
        (
            (ROWS, np.arange(2.0), 2.0, "", (), {}, np.array([0, 2])),
            FeatureError,
            "the 2 rows",
        ),
        (
            (ROWS, np.arange(2.0), 2.0, "", (), {}, np.array([-1, 0])),
            FeatureError,
            "the 2 rows",
        ),
        (
            (ROWS, np.arange(2.0), 2.0, "", (), {}, np.array([0.0, 1.0])),
            UsageError,
            "whole",
        ),
        ((ROWS, np.arange(2.0), 2.0, "", (), {}, np.array([0])), NetworkError, "do not belong"),
    ],
)
def test_an_encoded_video_agrees_with_itself(
    arguments: Any, error: type[VtlocError], words: str
) -> None:
    with pytest.raises(error, match=words):
        EncodedVideo(*arguments)


def test_an_encoded_video_is_shown_without_its_arrays() -> None:
    shown = repr(encoded(("red", 500)))
    assert shown == "EncodedVideo(500 frames, 3 features each, 500.00 s, encoder='')"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("decoding", ["joint", "similarity"])
def test_features_that_are_not_finite_are_no_answer(
    tmp_path: Path, bad: float, decoding: str
) -> None:
    """Above all they are not "no such moment"."""
    calibration = ScoreCalibration(raw=(0.0, 1.0), probability=(0.0, 1.0), threshold=0.9)
    bundle = write_colour_bundle(tmp_path / "b", score_calibration=calibration)
    video = encoded(("red", 4), ("blue", 4))
    video.rows[5] = bad
    with (
        Localizer.open(bundle, decoding=decoding) as localizer,
        pytest.raises(NetworkError, match="not finite"),
    ):
        localizer.localize(video, "red")


def test_frames_that_share_features_hold_them_once(localizer: Localizer) -> None:
    plain = encoded(("red", 40), ("green", 30), ("blue", 50))
    rows, index = np.unique(plain.rows, axis=0, return_inverse=True)
    shared = EncodedVideo(
        rows, plain.times, plain.duration, index=index.reshape(-1).astype(np.int64)
    )
    assert shared.rows.shape == (3, 3)
    assert np.array_equal(shared.features, plain.features)
    queries = ["red", "the screen turns green", "blue"]
    assert localizer.localize(shared, queries, moments=2) == (
        localizer.localize(plain, queries, moments=2)
    )


def test_a_still_picture_is_encoded_and_kept_once(localizer: Localizer) -> None:
    from vtloc_runtime.video import FrameSequence

    still = np.zeros((1, 32, 32, 3), np.uint8).repeat(300, axis=0)
    video = localizer.encode_video(FrameSequence(still, np.arange(300.0)))
    assert len(video) == 300
    assert video.rows.shape == (2, 3)  # once in each part
    assert video.features.shape == (300, 3)


def test_sentences_are_remembered_within_bytes_too(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vtloc_runtime.localize.questions.text_encoder.MOST_KEPT_BYTES", 500)
    with Localizer.open(colour_bundle) as localizer:
        for count in range(1, 10):
            localizer.localize(encoded(("red", 2)), "red " * count)
        sentences = localizer._sentences
        kept = sum(sentence.nbytes for sentence in sentences._known.values())
        assert 0 < kept == sentences._bytes <= 500
