"""Files as people really have them: each ends in features or in one clear error."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from vtloc_runtime.errors import VideoError
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.video.isolation.decoder_process import DecoderLimits, DecoderProcess

pytestmark = pytest.mark.media

_FOLDER = Path(os.environ.get("VTLOC_TEST_MEDIA", "none")) / "videos"
_FILES = sorted(_FOLDER.iterdir()) if _FOLDER.is_dir() else []
_TEXT = {".md", ".jsonl", ".txt", ".json"}


@pytest.fixture(scope="module")
def decoder():
    with DecoderProcess(DecoderLimits(timeout=300)) as process:
        yield process


@pytest.mark.parametrize("path", _FILES or [None], ids=lambda path: path.name if path else "none")
def test_every_file_ends_in_features_or_one_clear_error(
    media: Path, path: Path, colour_bundle: Path, decoder: DecoderProcess
) -> None:
    with Localizer.open(colour_bundle, threads=1) as localizer:
        failure = None
        try:
            video = localizer.encode_video(str(path), read=decoder.read)
        except VideoError as error:
            failure = str(error)
        if failure is not None:
            assert str(path) in failure
            assert len(failure.splitlines()) == 1
            assert "Traceback" not in failure
            return
        assert path.suffix not in _TEXT
        assert np.isfinite(video.features).all()
        assert (np.diff(video.times) >= 0).all()
        assert 0 <= video.times[0] <= video.times[-1] <= video.duration
        for moment in localizer.localize(video, "a red screen", moments=2).moments:
            assert 0 <= moment.start <= moment.end <= video.duration + 1e-9
