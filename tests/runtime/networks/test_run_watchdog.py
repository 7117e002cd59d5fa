"""Runs that take too long are asked to stop, and only those."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from vtloc_runtime.errors import NetworkError
from vtloc_runtime.networks.onnxruntime_backend import OnnxRuntimeNetwork
from vtloc_runtime.networks.run_watchdog import RunWatchdog


def test_only_what_is_still_under_way_is_stopped() -> None:
    watchdog = RunWatchdog()
    stopped = threading.Event()
    with watchdog.watch(60, pytest.fail) as long, watchdog.watch(0.05, stopped.set) as short:
        assert stopped.wait(10)
    with watchdog.watch(0.05, pytest.fail):
        pass
    time.sleep(0.1)
    assert (long.expired, short.expired) == (False, True)


def chain(products: int, size: int) -> bytes:
    """A network of many products, each of which takes its time."""
    nodes = [
        helper.make_node("MatMul", [f"x{step}", "w"], [f"x{step + 1}"]) for step in range(products)
    ]
    shape = [size, size]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"x{products}", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.eye(size, dtype=np.float32), "w")],
    )
    opset = helper.make_opsetid("", 18)
    return helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()


def test_a_run_that_takes_too_long_is_an_error() -> None:
    content = chain(300, 512)
    picture = {"x0": np.ones((512, 512), np.float32)}
    with OnnxRuntimeNetwork("visual", content, threads=1, timeout=0.2) as network:
        began = time.monotonic()
        with pytest.raises(NetworkError, match=r"stopped after 0\.2 s"):
            network.run(picture)
        assert time.monotonic() - began < 10
    # Another network of the process is not concerned.
    with OnnxRuntimeNetwork("visual", chain(2, 8), threads=1) as network:
        assert network.run({"x0": np.ones((8, 8), np.float32)})["x2"].sum() == 64
