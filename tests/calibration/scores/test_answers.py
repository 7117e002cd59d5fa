"""Answers come with margins of presence, and are kept and read back with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.colour_bank import EVERY_DIRECTION, banked
from tests.support.colours import COLOURS
from vtloc_calibration.bundle_edit import share_variant, store_scores
from vtloc_calibration.scores.answers import (
    Answers,
    ask,
    ask_encoded,
    read_answers,
    without_calibration,
    write_answers,
)
from vtloc_calibration.scores.labelled import LabelledQuery, read_labelled
from vtloc_calibration.scores.report import Target, calibrate_scores
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
from vtloc_runtime.localize.localizer import Localizer

Videos = list[tuple[Path, list[str]]]
NAMES = list(COLOURS)


def colour(name: str) -> np.ndarray:
    return np.array(COLOURS[name], dtype=np.float32) / 255 - 0.5


def encoded(number: int) -> tuple[EncodedVideo, list[LabelledQuery]]:
    """Two colours with some noise; one sentence for what is shown, one for what is not."""
    random = np.random.default_rng(number)
    first, second, strange = random.permutation(NAMES)[:3]
    features = np.repeat(np.stack([colour(first), colour(second)]), [6, 9], axis=0)
    noise = random.normal(0, random.uniform(0.05, 0.7), features.shape)
    video, name = Path(f"{number}.mp4"), str(number)
    return (
        EncodedVideo((features + noise).astype(np.float32), np.arange(15.0), 15.0),
        [
            LabelledQuery(video, name, f"the {first} screen", ((0.0, 6.0),)),
            LabelledQuery(video, name, f"a {strange} screen", ()),
        ],
    )


@pytest.fixture
def banked_bundle(tmp_path: Path) -> Bundle:
    """The bundle of colours with a bank of sentences, which a test may change."""
    folder = tmp_path / "banked"
    return Bundle.open(banked(folder, EVERY_DIRECTION, localizer=True, mean_weight=0.0))


@pytest.fixture
def found(banked_bundle: Bundle) -> Answers:
    with Localizer.open(without_calibration(banked_bundle)) as localizer:
        return ask_encoded(localizer, (encoded(number) for number in range(60)))


def test_what_is_shown_has_the_larger_margin(found: Answers) -> None:
    margins = np.array([one.margin for one in found.answers], dtype=np.float64)
    present = np.array([one.present for one in found.answers])
    assert margins[present].mean() > margins[~present].mean() + 0.1


def test_a_bundle_without_a_bank_gives_no_margin(
    colour_bundle: Bundle, striped_videos: Videos, striped_labels: Path
) -> None:
    labelled = read_labelled(striped_labels, videos=striped_videos[0][0].parent)
    with Localizer.open(without_calibration(colour_bundle), precision="fp32") as localizer:
        answers = ask(localizer, labelled)
    assert all(one.margin is None for one in answers.answers)


def test_answers_are_kept_and_read_back(found: Answers, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    write_answers(found, file)
    assert read_answers(file) == found.answers


def test_the_runtime_turns_away_what_calibration_says(
    found: Answers, banked_bundle: Bundle
) -> None:
    report = calibrate_scores(found.answers, target=Target("keep", 0.9))
    changed = store_scores(
        banked_bundle,
        report.calibration,
        measured=report.summary(),
        least_margin=report.least_margin,
    )
    assert changed.manifest.sentence_bank is not None
    assert changed.manifest.sentence_bank.threshold == report.threshold
    kept: dict[bool, list[bool]] = {True: [], False: []}
    with Localizer.open(changed) as localizer:
        for number in range(60):
            video, queries = encoded(number)
            for query in queries:
                answer = localizer.localize(video, query.query)
                kept[query.present].append(bool(answer.moments))
    assert np.mean(kept[True]) == pytest.approx(0.9, abs=0.03)
    assert np.mean(kept[False]) < 0.7


def test_two_precisions_may_share_a_file(weighted_bundle: Bundle) -> None:
    before = set(weighted_bundle.files())
    shared = share_variant(weighted_bundle, "text", "int8", like="fp32")
    assert set(shared.files()) == before
    assert shared.variant("text", "int8") == shared.variant("text", "fp32")
    with Localizer.open(shared, precision="fp32") as localizer:
        assert localizer.localize(encoded(1)[0], "red").best is not None
