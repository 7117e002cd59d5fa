"""Calibration judges itself on videos that it did not see, and says so in JSON and pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.scores.plots import plot_scores
from vtloc_calibration.scores.report import ScoredAnswer, Target, calibrate_scores


def answers(
    count: int = 400, absent: int = 200, *, seed: int = 0, apart: float = 0.35
) -> list[ScoredAnswer]:
    """Answers whose raw score claims too much; absent sentences score lower by ``apart``."""
    random = np.random.default_rng(seed)
    found = []
    for index in range(count + absent):
        present = index < count
        raw = float(np.clip(random.normal(0.7 if present else 0.7 - apart, 0.12), 0, 1))
        right = present and random.random() < raw**2
        overlap = float(random.uniform(0.5, 1) if right else random.uniform(0, 0.5) * present)
        found.append(
            ScoredAnswer(
                video=f"v{index % 40}", query=f"q{index}", present=present, raw=raw,
                overlap=overlap, start=0.0, end=1.0,
            )
        )  # fmt: skip
    return found


def test_the_error_falls_on_videos_that_the_fit_did_not_see() -> None:
    report = calibrate_scores(answers())
    assert report.error_before > 0.12
    assert report.error_after < report.error_before / 2
    assert report.brier_after < report.brier_before
    assert sum(one.count for one in report.bins_after) == report.present == 400


def test_the_threshold_keeps_its_promise_where_it_was_chosen_and_nearly_elsewhere() -> None:
    report = calibrate_scores(answers(), target=Target("keep", 0.9))
    assert report.chosen_on is not None
    assert report.held_out is not None
    assert report.chosen_on.kept >= 0.9
    assert report.held_out.kept == pytest.approx(0.9, abs=0.05)
    assert report.held_out.rejected > 0.85


def test_a_precision_can_be_asked_for() -> None:
    report = calibrate_scores(answers(), target=Target("precision", 0.6))
    assert report.chosen_on is not None
    assert report.chosen_on.precision >= 0.6
    with pytest.raises(CalibrationError, match="the best is"):
        calibrate_scores(answers(), target=Target("precision", 1.0))


def test_without_a_target_nothing_is_ever_turned_away() -> None:
    report = calibrate_scores(answers(absent=0), target=Target("never"))
    assert report.threshold is None
    assert (report.chosen_on, report.held_out, report.curve) == (None, None, None)


def test_absent_sentences_do_not_change_the_probability_of_present_ones() -> None:
    with_them, without = calibrate_scores(answers()), calibrate_scores(answers()[:400])
    assert with_them.calibration.probability == without.calibration.probability


def test_the_report_is_json_without_nan() -> None:
    report = calibrate_scores(answers())
    text = json.dumps(report.to_json(), allow_nan=False)
    assert json.loads(text)["calibration"]["threshold"] == report.threshold
    assert json.loads(text)["curve"]["area"] == pytest.approx(0.97, abs=0.03)
    json.dumps(report.summary(), allow_nan=False)


def test_too_few_sentences_are_refused() -> None:
    with pytest.raises(CalibrationError, match="19 sentences"):
        calibrate_scores(answers(count=19))


@pytest.mark.parametrize("absent", [0, 200])
def test_the_plot_is_a_picture(tmp_path: Path, absent: int) -> None:
    file = tmp_path / "new" / "scores.svg"
    plot_scores(calibrate_scores(answers(absent=absent)), file)
    assert "<svg" in file.read_text(encoding="utf-8")


def with_margins(found: list[ScoredAnswer], *, seed: int = 3) -> list[ScoredAnswer]:
    """The same answers, with margins that tell presence better than their scores do."""
    random = np.random.default_rng(seed)
    return [replace(one, margin=float(random.normal(0.3 * one.present, 0.08))) for one in found]


def test_margins_decide_about_presence_where_every_answer_has_one() -> None:
    plain = calibrate_scores(answers(apart=0.1))
    report = calibrate_scores(with_margins(answers(apart=0.1)), target=Target("keep", 0.95))
    assert (plain.evidence, report.evidence) == ("score", "margin")
    assert report.calibration.threshold is None
    assert report.calibration.probability == plain.calibration.probability
    assert report.held_out is not None
    assert plain.held_out is not None
    assert report.held_out.kept == pytest.approx(0.95, abs=0.03)
    assert report.held_out.rejected > 0.95 > plain.held_out.rejected
    assert report.curve is not None
    assert report.curve_of_scores is not None
    assert report.curve.area > report.curve_of_scores.area
    assert report.summary()["presence_by"] == "margin"


def test_one_answer_without_a_margin_leaves_presence_to_scores() -> None:
    some = with_margins(answers())
    some[0] = replace(some[0], margin=None)
    report = calibrate_scores(some)
    assert report.evidence == "score"
    assert report.calibration.threshold == report.threshold
