"""Reading films whose pictures show their numbers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import films
from vtloc_runtime.video import open_video

# An encoder that would write its settings to standard error.
os.environ.setdefault("SVT_LOG", "1")


@pytest.fixture(scope="session")
def read() -> Callable[..., list[int]]:
    """Samples a source and reads the numbers."""

    def sample(source: Any, **options: Any) -> list[int]:
        with open_video(source, films.whole(**options)) as reader:
            return films.numbers(list(reader))

    return sample
