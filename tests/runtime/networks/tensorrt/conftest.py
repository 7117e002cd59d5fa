"""A small bundle with engines for a GPU that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import small_bundle, tensorrt_double
from vtloc_export.engines.build import EngineOptions, build_engines
from vtloc_export.engines.profiles import parse_traffic
from vtloc_runtime.bundle.bundle import Bundle

MANY_SHORT = "batch=1:4:8,frames=1:8:16,tokens=1:4:8"
FEW_LONG = "batch=1:1:3,frames=1:16:32,tokens=1:8:16"


@pytest.fixture(scope="module")
def engines_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Engines of both precisions with two profiles, built through the exporter."""
    folder = tmp_path_factory.mktemp("engines") / "bundle"
    bundle = small_bundle.write_small_bundle(folder)
    traffic = tuple(parse_traffic(text, {}) for text in (MANY_SHORT, FEW_LONG))
    with tensorrt_double.installed():
        for precision in ("fp32", "fp16"):
            build_engines(
                bundle, EngineOptions(target="sm80", precision=precision, traffic=traffic)
            )
    return folder


@pytest.fixture
def bundle(engines_folder: Path) -> Bundle:
    return Bundle.open(engines_folder)


@pytest.fixture
def gpu() -> Iterator[tensorrt_double.Gpu]:
    """The machine that the engines were built for."""
    with tensorrt_double.installed() as machine:
        yield machine
