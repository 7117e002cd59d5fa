"""Doubles and small bundles for the exporter's TensorRT tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "doubles"))

import small_bundle

from vtloc_runtime.bundle import Bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return small_bundle.write_small_bundle(tmp_path / "bundle")
