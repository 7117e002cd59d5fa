"""The evidence of an answer: the localizer's own curve and alignment, short enough for a page."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from vtloc_runtime import Localization, Localizer
from vtloc_runtime.localize.encoding.feature_cache import FeatureCache
from vtloc_runtime.localize.spans.moments import Alignment, SimilarityCurve
from vtloc_runtime.report.evidence import gather_evidence, read_evidence


def test_it_is_what_the_localizer_says(
    colour_bundle: Path, colour_video: Path, tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path / "cache")
    with Localizer.open(colour_bundle) as localizer:
        encoded = localizer.encode_video(colour_video)
        key = cache.key(str(colour_video), localizer.encoder.signature)
        assert key is not None
        cache.put(key, encoded)
        found = read_evidence(
            localizer, str(colour_video), {"green": "green", "a red": "a red"}, cache
        )
        answer = localizer.localize(encoded, "green", curve=True, alignment=True)
    assert answer.curve is not None
    assert answer.alignment is not None
    assert found.times == pytest.approx(encoded.times, abs=1e-3)
    green = found.sentences["green"]
    assert green.curve is not None
    assert green.curve == pytest.approx(answer.curve.values, abs=1e-4)
    # The film is green from 4 to 7 seconds.
    assert [round(value) for value in green.curve] == [0] * 4 + [1] * 3 + [0] * 5
    weights = np.frombuffer(base64.b64decode(green.weights), np.uint8)
    assert weights.shape == (len(green.words) * len(found.times),)
    assert weights / 255 == pytest.approx(
        np.clip(answer.alignment.weights, 0, 1).ravel(), abs=1 / 255
    )
    assert found.sentences["a red"].words == ("a", "red")


def test_a_video_that_is_not_cached_has_none(
    colour_bundle: Path, colour_video: Path, tmp_path: Path
) -> None:
    with Localizer.open(colour_bundle) as localizer:
        found = read_evidence(
            localizer, str(colour_video), {"green": "green"}, FeatureCache(tmp_path / "cache")
        )
    assert found.times == ()
    assert not found.sentences


def test_a_long_video_keeps_its_peaks() -> None:
    times = np.arange(7200.0)
    curve = np.zeros(7200)
    curve[5000] = 0.75
    weights = np.zeros((2, 7200), dtype=np.float32)
    weights[1, 5000] = 1.0
    answer = Localization(
        "a dog",
        (),
        curve=SimilarityCurve(times, curve),
        alignment=Alignment(("a", "dog"), times, weights),
    )
    found = gather_evidence(times, {"a dog": answer})
    assert len(found.times) == 600
    shown = found.sentences["a dog"]
    assert shown.curve is not None
    assert max(shown.curve) == 0.75
    place = shown.curve.index(0.75)
    assert found.times[place] <= 5000 < found.times[place + 1]
    levels = np.frombuffer(base64.b64decode(shown.weights), np.uint8).reshape(2, 600)
    assert levels[1, place] == 255
    assert levels.sum() == 255


def test_a_bundle_without_a_shared_space_has_no_curve() -> None:
    found = gather_evidence(np.arange(3.0), {"a dog": Localization("a dog", ())})
    assert found.sentences["a dog"].curve is None
    assert found.sentences["a dog"].words == ()
