"""One network on several devices: runs go where there is least to do, and nothing else changes."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vtloc_runtime.errors import BackendError, NetworkError
from vtloc_runtime.networks.interface import Array, Network, TensorSpec, choose_outputs
from vtloc_runtime.networks.load import resolve_device
from vtloc_runtime.networks.replicas import ReplicatedNetwork, device_count


class Doubling(Network):
    """Doubles its input, once it is let; counts its runs."""

    def __init__(self, ordinal: int, *, longest: int = 8) -> None:
        self.name = "visual"
        self.backend = f"onnxruntime:cuda:{ordinal}"
        self.inputs = {"x": TensorSpec("x", "float32", ("batch",), {"batch": (1, longest)})}
        self.outputs = {"y": TensorSpec("y", "float32", ("batch",))}
        self.let = threading.Event()
        self.let.set()
        self.runs = 0
        self.open = True

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        self.runs += 1
        self.let.wait()
        if np.isnan(inputs["x"]).any():
            raise NetworkError("not a number")
        read = choose_outputs(self.outputs, outputs, network=self.name)
        return {name: value for name, value in {"y": 2 * inputs["x"]}.items() if name in read}

    def close(self) -> None:
        self.open = False


def test_runs_one_after_another_are_shared_out_evenly() -> None:
    copies = [Doubling(0), Doubling(1), Doubling(2)]
    with ReplicatedNetwork(copies) as network:
        for number in range(9):
            found = network.run({"x": np.array([number], np.float32)})
            assert found["y"].tolist() == [2 * number]
    assert [copy.runs for copy in copies] == [3, 3, 3]
    assert not any(copy.open for copy in copies)


def test_a_busy_device_is_passed_over() -> None:
    copies = [Doubling(0), Doubling(1)]
    network = ReplicatedNetwork(copies)
    copies[0].let.clear()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(network.run, {"x": np.ones(1, np.float32)})
        while copies[0].runs == 0:
            pass
        for _ in range(4):
            network.run({"x": np.ones(1, np.float32)})
        assert [copy.runs for copy in copies] == [1, 4]
        copies[0].let.set()
        held.result()
    network.run({"x": np.ones(1, np.float32)})
    assert [copy.runs for copy in copies] == [2, 4]


def test_a_run_that_fails_leaves_its_device_free() -> None:
    copies = [Doubling(0), Doubling(1)]
    network = ReplicatedNetwork(copies)
    for _ in range(4):
        with pytest.raises(NetworkError, match="not a number"):
            network.run({"x": np.array([np.nan], np.float32)})
    assert [copy.runs for copy in copies] == [2, 2]


def test_it_says_where_it_runs() -> None:
    network = ReplicatedNetwork([Doubling(0), Doubling(3)])
    assert network.backend == "onnxruntime:cuda:0,cuda:3"
    assert (network.name, device_count(network), device_count(Doubling(0))) == ("visual", 2, 1)
    assert network.inputs["x"].limits == {"batch": (1, 8)}


def test_engines_with_other_profiles_do_not_serve_together() -> None:
    with pytest.raises(NetworkError, match="differs between onnxruntime:cuda:0 and"):
        ReplicatedNetwork([Doubling(0), Doubling(1, longest=4)])


@pytest.mark.parametrize("devices", ["cuda:0,cuda:1", "cuda,cuda:3", "cuda:7"])
def test_several_gpus_are_named_with_commas(devices: str) -> None:
    for backend in ("onnxruntime", "tensorrt"):
        assert resolve_device(backend, devices) == devices


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ("cuda:0,cuda:0", "named twice"),
        ("cuda,cuda:0", "named twice"),
        ("cpu,cuda:0", "does not run on the device"),
        ("cpu,cpu", "does not run on the device"),
        ("cuda:0,", "does not run on the device"),
        ("cuda:0,tpu", "does not run on the device"),
    ],
)
def test_devices_that_make_no_sense_together_are_refused(devices: str, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        resolve_device("onnxruntime", devices)
