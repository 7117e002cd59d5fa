"""Scores become probabilities: rising, bounded, and closer to the truth than before."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.scores.fit import (
    METHODS,
    Method,
    choose_method,
    cross_validate,
    fit,
    folds_by_group,
    margin_weight,
    probabilities,
    with_margin,
)
from vtloc_calibration.scores.reliability import (
    brier_score,
    expected_calibration_error,
    reliability_bins,
)
from vtloc_runtime.localize.spans.score_calibration import calibrate

SEEDS = st.integers(0, 2**31)


def overconfident(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Answers that are right with the cube of their raw score's probability."""
    random = np.random.default_rng(seed)
    raw = random.uniform(0.02, 0.98, count)
    return raw, random.random(count) < raw**3


def usable(raw: np.ndarray, right: np.ndarray) -> bool:
    return bool(right.any() and not right.all() and raw.min() < raw.max())


@given(SEEDS, st.integers(20, 200), st.sampled_from(METHODS))
@settings(max_examples=60, deadline=None)
def test_a_fitted_map_rises_and_stays_between_0_and_1(
    seed: int, count: int, method: Method
) -> None:
    random = np.random.default_rng(seed)
    raw = random.beta(0.5, 0.5, count).round(random.integers(1, 6))
    right = random.random(count) < 0.2 + 0.6 * raw
    if not usable(raw, right):
        return
    try:
        fitted = fit(raw, right, method=method)
    except CalibrationError as error:
        assert "less often" in str(error)  # noqa: PT017 (chance made the scores worthless)
        return
    assert np.all(np.diff(fitted.raw) > 0)
    assert np.all(np.diff(fitted.probability) >= 0)
    assert 0 <= fitted.probability[0] <= fitted.probability[-1] <= 1
    assert fitted.raw[0] == 0
    assert fitted.raw[-1] == 1


@given(SEEDS, st.sampled_from(METHODS))
@settings(max_examples=20, deadline=None)
def test_different_raw_scores_stay_different(seed: int, method: Method) -> None:
    try:
        fitted = fit(*overconfident(seed, 300), method=method)
    except CalibrationError as error:
        assert "less often" in str(error)  # noqa: PT017 (chance made the scores worthless)
        return
    stated = probabilities(np.linspace(0.05, 0.95, 50), fitted)
    assert np.all(np.diff(stated) > 0)


@given(SEEDS, st.sampled_from(METHODS))
@settings(max_examples=15, deadline=None)
def test_calibration_lowers_the_error_on_answers_it_did_not_see(seed: int, method: Method) -> None:
    fitted = fit(*overconfident(seed, 1000), method=method)
    raw, right = overconfident(seed + 1, 2000)
    before = expected_calibration_error(raw, right)
    after = expected_calibration_error(probabilities(raw, fitted), right)
    assert before > 0.15
    assert after < 0.08


@pytest.mark.parametrize("method", METHODS)
def test_scores_that_are_probabilities_already_hardly_change(method: Method) -> None:
    random = np.random.default_rng(3)
    raw = random.random(5000)
    fitted = fit(raw, random.random(5000) < raw, method=method)
    grid = np.linspace(0.1, 0.9, 9)
    assert np.abs(probabilities(grid, fitted) - grid).max() < 0.06


def test_temperature_finds_the_curve_that_made_the_labels() -> None:
    random = np.random.default_rng(5)
    raw = random.uniform(0.01, 0.99, 20000)
    truth = 1 / (1 + np.exp(-(0.5 * np.log(raw / (1 - raw)) - 1)))
    fitted = fit(raw, random.random(20000) < truth, method="temperature")
    grid = np.array([0.1, 0.5, 0.9])
    wanted = 1 / (1 + np.exp(-(0.5 * np.log(grid / (1 - grid)) - 1)))
    assert probabilities(grid, fitted) == pytest.approx(wanted, abs=0.02)


def test_separable_answers_are_not_called_certain() -> None:
    raw = np.linspace(0.1, 0.9, 40)
    for method in METHODS:
        fitted = fit(raw, raw > 0.5, method=method)
        assert fitted.probability[0] > 0
        assert probabilities([0.9], fitted)[0] < 1
        assert probabilities([0.2], fitted)[0] < 0.2
        assert probabilities([0.8], fitted)[0] > 0.8


def test_the_runtime_applies_the_same_map() -> None:
    fitted = fit(*overconfident(0, 200), method="isotonic")
    raw = np.linspace(0, 1, 31)
    assert [calibrate(float(one), fitted) for one in raw] == list(probabilities(raw, fitted))


@pytest.mark.parametrize(
    ("raw", "right", "reason"),
    [
        (np.linspace(0, 1, 19), np.arange(19) > 9, "too few"),
        (np.linspace(0, 1, 30), np.ones(30), "every answer is right"),
        (np.linspace(0, 1, 30), np.zeros(30), "no answer is right"),
        (np.full(30, 0.4), np.arange(30) > 9, "has the score 0.4"),
        (np.linspace(0, 2, 30), np.arange(30) > 9, "between 0 and 1"),
        (np.full(30, np.nan), np.arange(30) > 9, "finite"),
        (np.linspace(0, 1, 30), np.arange(29) > 9, "shape"),
        ([], [], "no labelled answer"),
    ],
)
def test_answers_that_teach_nothing_are_refused(
    raw: np.ndarray, right: np.ndarray, reason: str
) -> None:
    with pytest.raises(CalibrationError, match=reason):
        fit(raw, right, method="isotonic")


def test_scores_that_mislead_are_refused_by_temperature() -> None:
    raw = np.linspace(0.1, 0.9, 100)
    with pytest.raises(CalibrationError, match="less often"):
        fit(raw, raw < 0.5, method="temperature")


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2), st.integers(2, 9), SEEDS)
def test_a_video_is_never_in_two_folds(groups: list[str], folds: int, seed: int) -> None:
    if len(set(groups)) < 2:
        with pytest.raises(CalibrationError, match="one video"):
            folds_by_group(groups, folds=folds, seed=seed)
        return
    fold = folds_by_group(groups, folds=folds, seed=seed)
    for name in set(groups):
        assert len(set(fold[np.array(groups) == name])) == 1
    assert set(fold) == set(range(min(folds, len(set(groups)))))


def test_the_chosen_method_has_the_lower_held_out_error() -> None:
    raw, right = overconfident(11, 400)
    groups = np.arange(400) // 8
    chosen = choose_method(raw, right, groups)
    tried = [cross_validate(raw, right, groups, method=method) for method in METHODS]
    assert chosen.brier == min(one.brier for one in tried)
    assert expected_calibration_error(chosen.probability, right) < 0.1
    assert chosen.brier < brier_score(raw, right)


def test_the_calibration_error_of_known_answers() -> None:
    stated = np.array([0.95] * 10 + [0.25] * 10)
    right = np.array([True] * 5 + [False] * 5 + [True] * 4 + [False] * 6)
    assert expected_calibration_error(stated, right) == pytest.approx((0.45 + 0.15) / 2)
    assert brier_score([0.0, 1.0, 0.5], [False, True, True]) == pytest.approx(0.25 / 3)


def test_bins_cover_every_answer_once() -> None:
    stated = [0.0, 0.0999, 0.1, 0.5, 0.999, 1.0]
    bins = reliability_bins(stated, [False, True, True, False, True, True])
    assert [one.count for one in bins] == [2, 1, 0, 0, 0, 1, 0, 0, 0, 2]
    assert bins[0].observed == 0.5
    assert np.isnan(bins[2].observed)


def test_a_margin_counts_for_as_much_as_it_tells() -> None:
    chance = np.random.default_rng(0)
    raw, margin = chance.uniform(0.05, 0.95, 4000), chance.normal(0.2, 0.2, 4000)
    odds = np.log(raw / (1 - raw))
    right = chance.random(4000) < 1 / (1 + np.exp(-(0.5 * odds + 3 * margin - 0.4)))
    weight = margin_weight(raw, margin, right)
    assert weight == pytest.approx(6, rel=0.2)
    assert margin_weight(raw, -margin, right) == 0
    calibration = msgspec.structs.replace(
        fit(with_margin(raw, margin, weight), right, method="temperature"), margin_weight=weight
    )
    told = [calibrate(*pair) for pair in zip(raw, [calibration] * 4000, margin, strict=True)]
    assert expected_calibration_error(told, right) < 0.03
    assert told == pytest.approx(
        probabilities(with_margin(raw, margin, weight), calibration), abs=1e-9
    )
    assert calibrate(0.4, calibration) == calibrate(0.4, calibration, 0.0)
