"""Every command on a bundle of two encoders, without a localizer."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.calibration.conftest import entry_line
from tests.support.colour_bank import COLOUR_BANK
from tests.support.colours import SIZE, write_colour_bundle
from tests.support.command_line import invoke
from tests.support.quantizable import mean_colour
from vtloc_calibration.bundle_edit import store_variant
from vtloc_calibration.cli.main import app
from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.samples.samples import Samples
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import SentenceBankEntry
from vtloc_runtime.errors import UsageError
from vtloc_runtime.localize.localizer import Localizer

Videos = list[tuple[Path, list[str]]]


@pytest.fixture
def encoders(tmp_path: Path) -> Bundle:
    """Two encoders whose visual network has weights, and a bank."""
    folder = tmp_path / "encoders"
    folder.mkdir()
    content = COLOUR_BANK.to_bytes()
    (folder / "bank").write_bytes(content)
    entry = SentenceBankEntry(
        file="bank", sha256=hashlib.sha256(content).hexdigest(), threshold=0.0
    )
    bundle = Bundle.open(write_colour_bundle(folder, localizer=False, sentence_bank=entry))
    visual = mean_colour(SIZE).SerializeToString()
    return store_variant(bundle, "visual", "fp32", visual, like="fp32")


def test_it_is_sampled_and_written_in_int8(
    encoders: Bundle, striped_videos: Videos, striped_labels: Path, tmp_path: Path
) -> None:
    folder, out = striped_videos[0][0].parent, tmp_path / "samples.safetensors"
    common = ("--labels", striped_labels, "--videos", folder)
    shown = invoke(
        app, "samples", encoders.path, *common, "--out", out, "--network-precision", "fp32"
    )
    assert "localizer" not in shown
    assert set(Samples.load(out).calls) == {"visual", "text"}
    assert "localizer" not in Samples.load(out).summary
    invoke(app, "int8", encoders.path, "--samples", out, *common, "--ranges", "minmax")
    opened = Bundle.open(encoders.path)
    assert {"int8"} <= opened.manifest.networks["visual"].variants.keys()
    with Localizer.open(opened, precision="int8", threads=1) as localizer:
        path, names = striped_videos[0]
        best = localizer.localize(path, names[1]).best
    assert best is not None
    assert (best.start, best.end) == pytest.approx((4, 8), abs=0.5)


def test_a_network_that_it_lacks_is_named(
    encoders: Bundle, striped_samples: Samples, tmp_path: Path
) -> None:
    striped_samples.save(tmp_path / "samples.safetensors")
    command = ("--samples", tmp_path / "samples.safetensors", "--network", "localizer")
    for name in ("int8", "sensitivity"):
        with pytest.raises(UsageError, match="no network named localizer"):
            invoke(app, name, encoders.path, *command)


def test_samples_of_another_bundle_may_lack_a_network(
    weighted_bundle: Bundle, striped_samples: Samples, tmp_path: Path
) -> None:
    calls = dict(striped_samples.calls)
    del calls["localizer"]
    Samples(calls, striped_samples.summary).save(tmp_path / "samples.safetensors")
    with pytest.raises(CalibrationError, match="no inputs of the localizer network"):
        invoke(app,
            "sensitivity", weighted_bundle.path, "--samples", tmp_path / "samples.safetensors",
            "--network", "localizer",
        )  # fmt: skip


def test_its_scores_are_calibrated(
    encoders: Bundle, striped_videos: Videos, tmp_path: Path
) -> None:
    folder, labels = striped_videos[0][0].parent, tmp_path / "labels.jsonl"
    lines = [
        entry_line(7 * index + place, path.name, query, [[first, first + 4.0]])
        for index, (path, names) in enumerate(striped_videos)
        # The last sentence says nothing, so that some answers are wrong.
        for place, (first, query) in enumerate(
            [
                *((4.0 * turn, name) for turn, name in enumerate(names)),
                *((4.0 * turn, f"a {name} screen") for turn, name in enumerate(names)),
                (4.0, "a the screen"),
            ]
        )
    ]
    labels.write_text("\n".join(lines))
    invoke(app, "scores", encoders.path, "--labels", labels, "--videos", folder)
    assert Bundle.open(encoders.path).manifest.score_calibration is not None
    with Localizer.open(encoders.path, threads=1) as localizer:
        path, names = striped_videos[0]
        best = localizer.localize(path, names[0]).best
    assert best is not None
    assert 0 <= best.score <= 1


def test_frames_of_videos_are_kept_beside_the_bank(
    encoders: Bundle, striped_videos: Videos, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("vtloc_calibration.scores.reference.LEAST_REFERENCE", 50)
    folder = striped_videos[0][0].parent
    broken = tmp_path / "broken.mp4"
    broken.write_text("not a video")
    invoke(app, "reference", encoders.path, folder, "--dry-run")
    assert Bundle.open(encoders.path).digest == encoders.digest
    assert "left out" in invoke(app, "reference", encoders.path, folder, broken)
    bank = Bundle.open(encoders.path).manifest.sentence_bank
    assert bank is not None
    assert bank.reference is not None
    with Localizer.open(encoders.path, threads=1) as localizer:
        path, names = striped_videos[0]
        assert localizer.localize(path, names[0]).presence is not None


def test_too_few_frames_and_bundles_without_a_bank_are_refused(
    encoders: Bundle, weighted_bundle: Bundle, striped_videos: Videos
) -> None:
    folder = striped_videos[0][0].parent
    with pytest.raises(CalibrationError, match="100 are needed"):
        invoke(app, "reference", encoders.path, folder)
    with pytest.raises(CalibrationError, match="no sentence bank"):
        invoke(app, "reference", weighted_bundle.path, folder)
