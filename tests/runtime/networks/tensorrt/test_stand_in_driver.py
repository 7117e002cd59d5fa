"""The real cuda-core under the runtime, on a stand-in for the driver; TensorRT is the double.

``VTLOC_TEST_CUDA_CORES`` may name folders with other versions of cuda-core, separated by colons;
``make test-drivers`` installs the lowest that the extras allow.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import stand_in_driver

# It is imported in other processes alone; importing it changes what tests of bindings read.
pytestmark = pytest.mark.skipif(
    not stand_in_driver.has_package("cuda-core"), reason="cuda-core is not installed"
)

OTHERS = [Path(name) for name in os.environ.get("VTLOC_TEST_CUDA_CORES", "").split(":") if name]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_in_driver.compiled(tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("packages", [None, *OTHERS], ids=str)
def test_networks_answer_and_leave_nothing_behind(libraries: Path, packages: Path | None) -> None:
    found = stand_in_driver.run(libraries, "networks", "capturable", packages=packages)
    assert found["errors"] == []
    assert set(found["left"].values()) == {0}
    assert found["graphs"] == 6
    # Waits for answers block; only opening and closing a network spins.
    assert found["blocking_waits"] > found["spinning_calls"]


@pytest.mark.parametrize("packages", [None, *OTHERS], ids=str)
def test_an_invalidated_capture_answers_all_the_same(
    libraries: Path, packages: Path | None
) -> None:
    found = stand_in_driver.run(libraries, "networks", "never", packages=packages)
    assert found["errors"] == []
    assert set(found["left"].values()) == {0}
    assert found["graphs"] == 0


@pytest.mark.parametrize("packages", [None, *OTHERS], ids=str)
def test_lent_arrays_are_read_from_where_they_begin(libraries: Path, packages: Path | None) -> None:
    found = stand_in_driver.run(libraries, "lent_arrays", packages=packages)
    # Each was asked for twice, for its shape and for its bytes, and given back.
    assert [found[offset] for offset in ("0", "32", "256")] == [2, 2, 2]
    assert found["other"] == "an input lies on cuda:1, the engine runs on cuda:0"


def test_a_lost_gpu_is_named_and_the_network_still_closes(libraries: Path) -> None:
    found = stand_in_driver.run(libraries, "lost_gpu")
    assert len(found["said"]) == 2
    assert all("CUDA_ERROR_ILLEGAL_ADDRESS" in said for said in found["said"])


def test_a_container_without_nvml_is_described_by_its_cuda_version(libraries: Path) -> None:
    found = stand_in_driver.run(libraries, "described", version=12020)
    assert found == {"sm": "sm80", "gpu": "NVIDIA A100-SXM4-80GB", "driver": "CUDA 12.2"}


def test_two_gpus_share_the_work(libraries: Path) -> None:
    found = stand_in_driver.run(libraries, "several_gpus", devices=2)
    assert found["errors"] == []
    assert found["backend"] == "tensorrt:cuda:0,cuda:1"
    assert found["same"]
    assert len(found["runs"]) == 2


def test_a_sentence_costs_two_launches_and_the_features_once(libraries: Path) -> None:
    found = stand_in_driver.run(libraries, "traffic")
    for sentences in ("1", "18"):
        # Text and localizer: a graph and a wait each, six inputs, four outputs: the alignment,
        # which nobody reads here, stays on the GPU.
        counted = found[sentences]
        assert (counted["launches"], counted["runs"], counted["blocking_waits"]) == (2, 0, 2)
        assert (counted["copies_up"], counted["copies_down"]) == (6, 4)
    # Thirty frames of six halves cross once, not once a sentence.
    assert found["18"]["bytes_up"] < 18 * 32 * 6 * 2
