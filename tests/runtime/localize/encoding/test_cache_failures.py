"""The feature cache on a disk that fails at any call."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from tests.support.failing_calls import failing_disk
from vtloc_runtime.errors import OutputError
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
from vtloc_runtime.localize.encoding.feature_cache import FeatureCache


@pytest.mark.parametrize("lasting", [False, True])
def test_whatever_call_fails_an_entry_is_whole_or_not_there(tmp_path: Path, lasting: bool) -> None:
    features = np.ones((4, 3), dtype=np.float32)
    encoded = EncodedVideo(features, np.arange(4.0), 4.0, "e" * 64)
    for number in count(1):
        cache = FeatureCache(tmp_path / str(number))
        with failing_disk(number, lasting=lasting) as disk, suppress(OutputError):
            cache.put("ab" * 32, encoded)
        kept = cache.get("ab" * 32)
        assert kept is None or np.array_equal(kept.features, features)
        assert not list(cache.folder.rglob(".*"))
        cache.put("ab" * 32, encoded)
        assert cache.get("ab" * 32) is not None
        if not disk.reached:
            return
