"""Doubles and small bundles for the exporter's TensorRT tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import small_bundle
from vtloc_runtime.bundle.bundle import Bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return small_bundle.write_small_bundle(tmp_path / "bundle")
