"""A network that is opened with its first run: what is refused before, and what only then."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.colours import edit_manifest
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.errors import BundleError, NetworkError
from vtloc_runtime.networks.interface import Array, Network
from vtloc_runtime.networks.late_network import LateNetwork
from vtloc_runtime.networks.onnxruntime_backend import load_onnxruntime

FRAMES = {"frames": np.zeros((2, 32, 32, 3), dtype=np.uint8)}


def late(bundle: Path, starts: list[str]) -> tuple[LateNetwork, Network]:
    """A late network that notes its starts, and the same network opened at once."""
    opened = Bundle.open(bundle)
    now = load_onnxruntime(opened, "visual", "fp32")

    def start() -> Network:
        starts.append("visual")
        return load_onnxruntime(opened, "visual", "fp32")

    return LateNetwork("visual", now.backend, opened.variant("visual", "fp32"), start), now


def test_it_gives_what_the_network_gives_and_opens_it_once(colour_bundle: Path) -> None:
    starts: list[str] = []
    waiting, now = late(colour_bundle, starts)
    assert (waiting.name, waiting.backend) == (now.name, now.backend)
    assert {name: spec.dtype for name, spec in waiting.inputs.items()} == {
        name: spec.dtype for name, spec in now.inputs.items()
    }
    assert waiting.outputs.keys() == now.outputs.keys()
    assert starts == []
    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(waiting.run, [FRAMES] * 8)]
    assert starts == ["visual"]
    wanted: dict[str, Array] = now.run(FRAMES)
    for one in found:
        np.testing.assert_array_equal(one["features"], wanted["features"])


def test_closed_before_or_after_its_first_run_it_runs_no_more(colour_bundle: Path) -> None:
    starts: list[str] = []
    for runs in (0, 1):
        network, _ = late(colour_bundle, starts)
        for _ in range(runs):
            network.run(FRAMES)
        network.close()
        network.close()
        with pytest.raises(NetworkError, match="closed"):
            network.run(FRAMES)
    assert starts == ["visual"]


def test_an_altered_file_is_refused_before_any_run(own_bundle: Path) -> None:
    file = own_bundle / "visual.fp32.onnx"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(BundleError, match="altered"):
        load_onnxruntime(Bundle.open(own_bundle), "visual", "fp32", late=True)


def test_a_manifest_that_lies_is_refused_by_every_run(own_bundle: Path) -> None:
    def lie(manifest: dict[str, Any]) -> None:
        manifest["networks"]["visual"]["variants"]["fp32"]["outputs"][0]["shape"] = ["batch", 4]

    edit_manifest(own_bundle, lie)
    network = load_onnxruntime(Bundle.open(own_bundle), "visual", "fp32", late=True)
    for _ in range(2):
        with pytest.raises(BundleError, match="manifest says"):
            network.run(FRAMES)
