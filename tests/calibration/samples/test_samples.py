"""Samples are what the networks are given in production; too few or too plain ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.samples.coverage import check_coverage, coverage
from vtloc_calibration.samples.recorder import Amount
from vtloc_calibration.samples.samples import SampledVideo, Samples, draw_samples
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import NetworkName
from vtloc_runtime.localize.localizer import Localizer

Videos = list[tuple[Path, list[str]]]
SENTENCES = ("red", "a green screen", "the screen turns blue", "yellow", "a cyan screen", "magenta")


def sources(videos: Videos) -> list[SampledVideo]:
    return [
        SampledVideo(path, tuple(f"{start} {query}" for query in SENTENCES))
        for (path, _), start in zip(videos, ("a", "the", "", "screen", "turns", "a the"))  # noqa: B905 - as many as there are
    ]


@pytest.fixture(scope="module")
def samples(colour_bundle: Bundle, striped_videos: Videos) -> Samples:
    return draw_samples(colour_bundle, sources(striped_videos), seed=1)


def test_every_network_is_recorded_as_the_runtime_calls_it(samples: Samples) -> None:
    assert samples.frames.dtype == np.uint8
    assert samples.frames.shape == (72, 32, 32, 3)
    assert {call["token_ids"].dtype for call in samples.calls["text"]} == {np.dtype(np.int64)}
    call = samples.calls["localizer"][0]
    assert call["features"].shape == (4, 12, 3)
    assert call["frame_mask"].all()


def test_recorded_frames_are_the_ones_that_are_encoded(
    samples: Samples, colour_bundle: Bundle, striped_videos: Videos
) -> None:
    with Localizer.open(colour_bundle) as localizer:
        features = localizer.encode_video(striped_videos[0][0]).features
        again = localizer.encoder.run(samples.frames[:12])
    assert np.array_equal(np.sort(again, axis=0), np.sort(features, axis=0))


def test_the_same_seed_draws_the_same_samples(
    samples: Samples, colour_bundle: Bundle, striped_videos: Videos
) -> None:
    few = Amount(frames=40, frames_per_video=8, calls=5)
    drawn = [
        draw_samples(colour_bundle, sources(striped_videos), amount=few, seed=seed)
        for seed in (3, 3, 4)
    ]
    digests = [one.summary["sha256"] for one in drawn]
    assert digests[0] == digests[1] != digests[2]
    assert len(drawn[0].frames) == 40
    assert len(drawn[0].calls["localizer"]) == 5


def test_the_summary_says_what_is_covered(samples: Samples) -> None:
    summary = samples.summary
    assert summary["videos"] == [f"video{index}.mp4" for index in range(6)]
    assert summary["seconds"] == pytest.approx(72, abs=0.1)
    assert summary["frames"]["count"] == 72
    assert summary["sentences"]["distinct"] >= 30
    low, middle, high = summary["frames"]["brightness"]
    assert low < middle < high


def test_samples_come_back_from_their_file(samples: Samples, tmp_path: Path) -> None:
    path = tmp_path / "new" / "samples.safetensors"
    samples.save(path)
    loaded = Samples.load(path)
    assert loaded.summary == samples.summary
    assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) == samples.summary
    for network, calls in samples.calls.items():
        assert len(loaded.calls[network]) == len(calls)
        for one, other in zip(calls, loaded.calls[network], strict=True):
            assert {name: array.tobytes() for name, array in one.items()} == {
                name: array.tobytes() for name, array in other.items()
            }


def test_frames_come_in_batches(samples: Samples) -> None:
    sizes = [len(call["frames"]) for call in samples.batches("visual", size=20)]
    assert sizes == [20, 20, 20, 12]


def test_a_file_that_holds_no_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="cannot read"):
        Samples.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not at all")
    with pytest.raises(CalibrationError, match="cannot read"):
        Samples.load(tmp_path / "bad.safetensors")


def test_an_unreadable_video_is_named_and_left_out(
    colour_bundle: Bundle, striped_videos: Videos, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    drawn = draw_samples(
        colour_bundle, [*sources(striped_videos), SampledVideo(broken, ("red",))], seed=1
    )
    assert list(drawn.summary["unreadable"]) == ["broken.mp4"]
    assert "broken.mp4" not in drawn.summary["videos"]


def test_too_few_videos_are_refused(colour_bundle: Bundle, striped_videos: Videos) -> None:
    with pytest.raises(CalibrationError, match="2 readable videos"):
        draw_samples(colour_bundle, sources(striped_videos)[:2])


@pytest.mark.parametrize(
    ("frames", "sentences", "features", "reason"),
    [
        ("noise", 4, "noise", "4 distinct sentences"),
        ("same", 9, "noise", "only 1 of 40 frames differ"),
        ("plain", 9, "noise", "show nothing"),
        ("noise", 9, "same", "tells nothing apart"),
        ("noise", 9, "nan", "not all finite"),
        ("few", 9, "noise", "9 frames"),
    ],
)
def test_samples_that_represent_nothing_are_refused(
    frames: str, sentences: int, features: str, reason: str
) -> None:
    random = np.random.default_rng(0)
    pictures = {
        "noise": random.integers(0, 256, (40, 16, 16, 3)),
        "same": np.repeat(random.integers(0, 256, (1, 16, 16, 3)), 40, axis=0),
        "plain": np.ones((40, 16, 16, 3)) * random.integers(0, 256, (40, 1, 1, 3)),
        "few": random.integers(0, 256, (9, 16, 16, 3)),
    }[frames].astype(np.uint8)
    vectors = {
        "noise": random.normal(size=(1, 5, 3)),
        "same": np.ones((1, 5, 3)),
        "nan": np.full((1, 5, 3), np.nan),
    }[features].astype(np.float32)
    calls: dict[NetworkName, list[dict[str, np.ndarray]]] = {
        "visual": [{"frames": one[None]} for one in pictures],
        "text": [
            {"token_ids": np.array([[index, 7]]), "token_mask": np.array([[True, True]])}
            for index in range(sentences)
        ],
        "localizer": [
            {
                "features": vectors,
                "frame_mask": np.ones((1, 5), dtype=bool),
                "tokens": random.normal(size=(1, 2, 3)).astype(np.float32),
                "token_mask": np.ones((1, 2), dtype=bool),
            }
        ],
    }
    with pytest.raises(CalibrationError, match=reason):
        check_coverage({"videos": ["a", "b", "c"], **coverage(calls)})
