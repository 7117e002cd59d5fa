"""A TensorRT network answers as ONNX Runtime does, keeps TensorRT's rules, frees everything."""

from __future__ import annotations

import gc
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import small_bundle, tensorrt_double
from tests.support.tensorrt_double.cuda import DeviceTensor
from vtloc_export.engines.build import EngineOptions, build_engines
from vtloc_export.engines.profiles import default_traffic, parse_traffic
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.engine_file import EngineTarget
from vtloc_runtime.bundle.manifest import NetworkName
from vtloc_runtime.errors import (
    BackendError,
    DeviceLostError,
    EngineError,
    MissingExtraError,
    NetworkError,
)
from vtloc_runtime.networks.load import open_network
from vtloc_runtime.networks.tensorrt.api import import_flavour
from vtloc_runtime.networks.tensorrt.engine_choice import find_engine
from vtloc_runtime.networks.tensorrt.network import load_tensorrt

NETWORKS = ["visual", "text", "localizer"]


def expected(bundle: Bundle, name: NetworkName, precision: str, inputs: dict[str, np.ndarray]):
    file = bundle.variant(name, precision)
    session = onnxruntime.InferenceSession(
        bundle.read(file.file, file.sha256), providers=["CPUExecutionProvider"]
    )
    return dict(
        zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True)
    )


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_engine_answers_as_its_onnx_file_does(gpu, bundle, name, precision) -> None:
    inputs = small_bundle.example_inputs(name, half=precision == "fp16")
    with load_tensorrt(bundle, name, precision) as network:
        assert network.name == name
        assert network.backend == "tensorrt:cuda:0"
        for _ in range(4):
            assert_same(network.run(inputs), expected(bundle, name, precision, inputs))


def test_names_dtypes_and_limits_are_known_before_the_first_call(gpu, bundle) -> None:
    with load_tensorrt(bundle, "localizer", "fp16") as network:
        features = network.inputs["features"]
        assert features.dtype == "float16"
        assert features.shape == ("batch", "frames", small_bundle.WIDTH)
        assert features.limits == {"batch": (1, 8), "frames": (1, 32), "tokens": (1, 16)}
        assert network.outputs["alignment"].shape == ("batch", "tokens", "frames")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    calls=st.lists(
        st.tuples(st.integers(1, 8), st.integers(1, 32), st.integers(1, 16)), min_size=1, max_size=8
    ),
    graphs=st.integers(0, 2),
)
def test_any_sequence_of_shapes_within_the_limits_is_answered_rightly(
    gpu, bundle, calls, graphs
) -> None:
    with load_tensorrt(bundle, "localizer", "fp32", workers=1, graphs=graphs) as network:
        for batch, frames, tokens in calls * 3:
            inputs = small_bundle.example_inputs(
                "localizer", batch=batch, frames=frames, tokens=tokens, seed=batch
            )
            assert_same(network.run(inputs), expected(bundle, "localizer", "fp32", inputs))


def shapes_of(**lengths: Any) -> dict[str, tuple[int, ...]]:
    inputs = small_bundle.example_inputs("localizer", **lengths)
    return {name: array.shape for name, array in inputs.items()}


def test_the_tightest_profile_that_fits_is_taken(gpu, bundle) -> None:
    with load_tensorrt(bundle, "localizer", "fp32", workers=1) as network:
        layout = network._layout
        assert layout.choose_profile(shapes_of(batch=8, frames=16)) == 0
        assert layout.choose_profile(shapes_of(batch=3, frames=17)) == 1
        assert layout.choose_profile(shapes_of(batch=1, frames=4)) == 0


def test_a_batch_that_no_profile_takes_whole_goes_in_turns(gpu, bundle) -> None:
    with load_tensorrt(bundle, "localizer", "fp32", workers=1, graphs=0) as network:
        layout = network._layout
        assert layout.batches(shapes_of(batch=8, frames=16), network="localizer") == [8]
        assert layout.batches(shapes_of(batch=8, frames=17), network="localizer") == [3, 3, 2]
        inputs = small_bundle.example_inputs("localizer", batch=8, frames=17)
        assert_same(network.run(inputs), expected(bundle, "localizer", "fp32", inputs))
        assert gpu.launches["enqueue"] == 3


def test_what_is_below_a_profile_is_padded_to_it(gpu, tmp_path) -> None:
    bundle = small_bundle.write_small_bundle(tmp_path / "bundle")
    base = default_traffic(bundle)
    profiles = ("batch=8,frames=1:2:4,tokens=8", "batch=8,frames=9:9:16,tokens=8")
    traffic = tuple(parse_traffic(text, base) for text in profiles)
    build_engines(bundle, EngineOptions("local", networks=("localizer",), traffic=traffic))
    with load_tensorrt(bundle, "localizer", "fp16") as network:
        assert network.inputs["features"].limits == {
            "batch": (1, 8),
            "frames": (1, 16),
            "tokens": (1, 8),
        }
        for batch, frames, tokens in ((1, 6, 2), (3, 1, 1), (8, 16, 8)):
            inputs = small_bundle.example_inputs(
                "localizer", batch=batch, frames=frames, tokens=tokens, half=True
            )
            assert_same(network.run(inputs), expected(bundle, "localizer", "fp16", inputs))


def test_shapes_go_up_to_buckets_and_never_beyond_the_profile(gpu, bundle) -> None:
    with load_tensorrt(bundle, "localizer", "fp32", workers=1) as network:
        bucket = network._layout.bucket
        assert bucket(shapes_of(batch=3, frames=5, tokens=2), 0)["features"] == (4, 16, 6)
        assert bucket(shapes_of(batch=3, frames=17, tokens=9), 1)["tokens"] == (3, 16, 6)
        assert bucket(shapes_of(batch=5, frames=1, tokens=1), 0)["token_mask"] == (8, 8)
    with load_tensorrt(bundle, "visual", "fp32", workers=1) as network:
        frames = small_bundle.example_inputs("visual", batch=5)["frames"].shape
        assert network._layout.bucket({"frames": frames}, 0) == {"frames": (8, *frames[1:])}


def test_one_row_for_a_whole_batch_is_sent_once(gpu, bundle) -> None:
    inputs = small_bundle.example_inputs("localizer", batch=7, frames=16, tokens=8)
    row = inputs["features"][:1]
    with load_tensorrt(bundle, "localizer", "fp32", workers=1) as network:
        gpu.sent = 0
        shared = np.broadcast_to(row[0], inputs["features"].shape)
        found = network.run(inputs | {"features": shared})
        others = sum(array.nbytes for name, array in inputs.items() if name != "features")
        assert gpu.sent == row.nbytes + others
        wanted = expected(bundle, "localizer", "fp32", inputs | {"features": shared.copy()})
        assert_same(found, wanted)


@pytest.mark.parametrize("graphs", [0, 4])
def test_outputs_that_a_call_does_not_read_stay_on_the_gpu(gpu, bundle, graphs) -> None:
    inputs = small_bundle.example_inputs("localizer", batch=7, frames=16, tokens=8)
    wanted = expected(bundle, "localizer", "fp32", inputs)
    ends = ("end_logits", "start_logits")
    with load_tensorrt(bundle, "localizer", "fp32", workers=1, graphs=graphs) as network:
        # Graphs serve whatever is read: before their capture, at it, and after it.
        for read in (ends, ["alignment"], None, (), ends):
            gpu.fetched = 0
            found = network.run(inputs, read)
            assert_same(found, {name: wanted[name] for name in found})
            assert found.keys() == set(wanted if read is None else read)
            assert gpu.fetched == sum(array.nbytes for array in found.values())
        assert network.memory.graphs == min(graphs, 1)
        assert network.outputs.keys() == wanted.keys()


@pytest.mark.parametrize("backend", ["tensorrt", "onnxruntime"])
def test_an_unknown_output_is_refused_by_name(gpu, bundle, backend) -> None:
    inputs = small_bundle.example_inputs("text")
    with (
        open_network(bundle, "text", backend=backend) as network,
        pytest.raises(NetworkError, match=r"unknown outputs \['tokenz'\].*'sentence', 'tokens'"),
    ):
        network.run(inputs, ["tokens", "tokenz"])


def test_waiting_blocks_and_does_not_spin(gpu, bundle) -> None:
    with load_tensorrt(bundle, "visual", "fp32", workers=3):
        assert gpu.made["waiting event"] == 3
        assert gpu.made["spinning event"] == 0


def test_an_input_order_is_no_other_shape(gpu, bundle) -> None:
    inputs = small_bundle.example_inputs("localizer")
    with load_tensorrt(bundle, "localizer", "fp32", workers=1) as network:
        for _ in range(3):
            network.run(inputs)
            network.run(dict(reversed(inputs.items())))
        assert network.memory.graphs == 1


def test_a_lost_gpu_ends_the_network_and_closing_it_still_returns(gpu, bundle) -> None:
    inputs = small_bundle.example_inputs("text")
    network = load_tensorrt(bundle, "text", "fp32")
    network.run(inputs)
    gpu.lost = True
    for _ in range(2):
        with pytest.raises(DeviceLostError, match="cannot be used by this process") as caught:
            network.run(inputs)
        assert caught.value.exit_code == 6
    network.close()


def test_a_profile_that_cannot_be_set_is_named_as_that(gpu, bundle, monkeypatch) -> None:
    def refuse(self, profile_index: int, stream_handle: int) -> bool:
        self._error("profile: Error Code 3")
        raise RuntimeError("Error in set optimization profile.")

    monkeypatch.setattr(
        sys.modules["tensorrt"].IExecutionContext, "set_optimization_profile_async", refuse
    )
    with pytest.raises(EngineError, match=r"profile 0 could not be set .*Error Code 3"):
        load_tensorrt(bundle, "visual", "fp32")
    gc.collect()
    assert gpu.leaks() == {}


def test_a_machine_without_nvml_serves(bundle) -> None:
    with (
        tensorrt_double.installed(tensorrt_double.Gpu(nvml=False)),
        load_tensorrt(bundle, "visual", "fp32") as network,
    ):
        assert network.run(small_bundle.example_inputs("visual"))


def test_only_the_flavour_that_an_engine_names_is_imported(gpu, bundle) -> None:
    class Refusing(types.ModuleType):
        def __getattr__(self, name: str) -> object:
            raise AssertionError("TensorRT-RTX was touched beside TensorRT")

    with (
        mock.patch.dict(sys.modules, {"tensorrt_rtx": Refusing("tensorrt_rtx")}),
        load_tensorrt(bundle, "visual", "fp32") as network,
    ):
        assert network.backend == "tensorrt:cuda:0"


def test_all_networks_of_a_process_share_one_logger(gpu, bundle) -> None:
    with (
        load_tensorrt(bundle, "visual", "fp32") as one,
        load_tensorrt(bundle, "text", "fp32") as other,
    ):
        assert one._runtime.logger is other._runtime.logger
    with load_tensorrt(bundle, "visual", "fp32") as third:
        assert third._runtime.logger is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 9}, "axis 'batch' takes 1 to 8"),
        ({"frames": 40}, "axis 'frames' takes 1 to 32"),
        ({"tokens": 17}, "axis 'tokens' takes 1 to 16"),
    ],
)
def test_shapes_beyond_the_profiles_are_refused_before_the_engine_sees_them(
    gpu, bundle, change, message
) -> None:
    with load_tensorrt(bundle, "localizer", "fp32") as network:
        with pytest.raises(NetworkError, match=message):
            network.run(small_bundle.example_inputs("localizer", **change))
        assert gpu.launches["enqueue"] == 0


def test_what_is_not_an_array_is_refused(gpu, bundle) -> None:
    with (
        load_tensorrt(bundle, "visual", "fp32") as network,
        pytest.raises(NetworkError, match="neither a numpy array nor a DLPack one"),
    ):
        network.run({"frames": [[1, 2]]})


def test_recurring_shapes_run_as_cuda_graphs(gpu, bundle) -> None:
    inputs = small_bundle.example_inputs("localizer")
    with load_tensorrt(bundle, "localizer", "fp32", workers=1) as network:
        for seed in range(6):
            changed = small_bundle.example_inputs("localizer", seed=seed)
            assert_same(network.run(changed), expected(bundle, "localizer", "fp32", changed))
        # The first call runs, the second runs once more and is captured, the rest are launches.
        assert gpu.launches == {"enqueue": 2, "graph": 4}
        assert network.memory.graphs == 1
        network.run(inputs)
        assert gpu.made["capture"] == 1


def test_graphs_are_bounded_and_contexts_are_handed_on(gpu, bundle) -> None:
    with load_tensorrt(bundle, "localizer", "fp32", workers=1, graphs=2) as network:
        for _ in range(3):
            for batch in (1, 2, 4, 8):
                inputs = small_bundle.example_inputs("localizer", batch=batch)
                assert_same(network.run(inputs), expected(bundle, "localizer", "fp32", inputs))
        assert network.memory.graphs == 2
        assert gpu.live["graph"] == 2
        # Two profiles and two graph slots, however many shapes came.
        assert gpu.made["context"] == 4


def test_a_network_that_cannot_be_captured_runs_on_without_graphs(bundle) -> None:
    with tensorrt_double.installed(tensorrt_double.Gpu(capturable=False)) as gpu:
        inputs = small_bundle.example_inputs("text")
        with load_tensorrt(bundle, "text", "fp32", workers=1) as network:
            for _ in range(5):
                assert_same(network.run(inputs), expected(bundle, "text", "fp32", inputs))
            assert network.memory.graphs == 0
        assert gpu.launches["graph"] == 0
        gc.collect()
        assert gpu.leaks() == {}


def test_tensorrt_rtx_is_told_to_capture_by_itself(tmp_path) -> None:
    bundle = small_bundle.write_small_bundle(tmp_path / "bundle")
    machine = tensorrt_double.Gpu(name="NVIDIA A40", capability=(8, 6))
    with tensorrt_double.installed(machine, rtx=True) as gpu:
        gpu.current.ordinal = gpu.ordinal
        build_engines(bundle, EngineOptions("sm86", backend="tensorrt-rtx"))
        inputs = small_bundle.example_inputs("localizer", half=True)
        with load_tensorrt(bundle, "localizer", "fp16") as network:
            assert network.backend == "tensorrt-rtx:cuda:0"
            for _ in range(4):
                assert_same(network.run(inputs), expected(bundle, "localizer", "fp16", inputs))
        assert gpu.made["WHOLE_GRAPH_CAPTURE context"] == gpu.made["context"] > 0
        assert gpu.launches["graph"] == 0
        assert gpu.leaks() == {}


def test_what_was_timed_on_the_gpu_comes_before_what_was_compiled_ahead(tmp_path) -> None:
    bundle = small_bundle.write_small_bundle(tmp_path / "bundle")
    here = tensorrt_double.Gpu(name="Tesla of some kind", capability=(8, 6))
    for rtx in (True, False):
        with tensorrt_double.installed(here, rtx=rtx) as gpu:
            gpu.current.ordinal = gpu.ordinal
            build_engines(bundle, EngineOptions("sm86", networks=("text",)))
    target = EngineTarget(sm="sm86", gpu=here.name, driver="580.65.06")
    for installed, flavour in (
        ({"tensorrt", "tensorrt-rtx"}, "tensorrt"),
        ({"tensorrt-rtx"}, "tensorrt-rtx"),
    ):
        engine = find_engine(
            bundle,
            "text",
            "fp16",
            version_of=dict.fromkeys(installed, "11.4.0.106").get,
            target=target,
        )
        assert engine.identity.flavour == flavour


def test_what_was_compiled_ahead_is_never_taken_for_an_a100(tmp_path) -> None:
    bundle = small_bundle.write_small_bundle(tmp_path / "bundle")
    with tensorrt_double.installed(rtx=True) as gpu:
        gpu.current.ordinal = gpu.ordinal
        build_engines(bundle, EngineOptions("sm80", backend="tensorrt-rtx"))
        with pytest.raises(EngineError, match=r"whose runtime does not serve this GPU \(sm80\)"):
            load_tensorrt(bundle, "text", "fp16")


def test_contexts_are_made_once(gpu, bundle) -> None:
    with load_tensorrt(bundle, "localizer", "fp32", workers=3, graphs=0) as network:
        made = gpu.made["context"]
        assert made == 3 * 2
        for frames in range(1, 10):
            network.run(small_bundle.example_inputs("localizer", frames=frames))
        assert gpu.made["context"] == made


def test_running_allocates_nothing(gpu, bundle) -> None:
    with load_tensorrt(bundle, "localizer", "fp32", graphs=0) as network:
        before = dict(gpu.made)
        for frames in (1, 16, 3):
            network.run(small_bundle.example_inputs("localizer", frames=frames))
        assert dict(gpu.made) == before


def test_several_threads_run_at_once_and_get_their_own_answers(gpu, bundle) -> None:
    def ask(network, seed: int) -> None:
        inputs = small_bundle.example_inputs("localizer", frames=1 + seed % 5, seed=seed)
        assert_same(network.run(inputs), expected(bundle, "localizer", "fp32", inputs))

    with (
        load_tensorrt(bundle, "localizer", "fp32", workers=3) as network,
        ThreadPoolExecutor(8) as pool,
    ):
        for done in [pool.submit(ask, network, seed) for seed in range(64)]:
            done.result()


def test_frames_on_the_device_are_taken_by_dlpack(gpu, bundle) -> None:
    inputs = small_bundle.example_inputs("visual")
    with load_tensorrt(bundle, "visual", "fp32", workers=1) as network:
        lent = DeviceTensor(gpu, inputs["frames"])
        for _ in range(4):
            found = network.run({"frames": lent})
            assert_same(found, expected(bundle, "visual", "fp32", inputs))
        assert len(lent.waited_for) == 4  # ordered after the lender's work, each time
        lent.free()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"strides": (1, 2, 3, 4)}, "not contiguous"), ({"ordinal": 3}, "lies on cuda:3")],
)
def test_device_frames_that_cannot_be_read_are_refused(gpu, bundle, options, message) -> None:
    frames = small_bundle.example_inputs("visual")["frames"]
    with load_tensorrt(bundle, "visual", "fp32") as network:
        lent = DeviceTensor(gpu, frames, **options)
        with pytest.raises(NetworkError, match=message):
            network.run({"frames": lent})
        assert network.run({"frames": frames}).keys() == {"features"}
        lent.free()


def test_a_device_array_that_cannot_be_lent_is_refused(gpu, bundle) -> None:
    class Unlendable:
        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

    with (
        load_tensorrt(bundle, "visual", "fp32") as network,
        pytest.raises(NetworkError, match="cannot be read by DLPack"),
    ):
        network.run({"frames": Unlendable()})


def test_a_damaged_sidecar_of_another_engine_does_not_matter(gpu, copy_of_bundle) -> None:
    (copy_of_bundle.engines / "another.json").write_text("{")
    with load_tensorrt(copy_of_bundle, "visual", "fp32") as network:
        assert network.run(small_bundle.example_inputs("visual"))
    for sidecar in copy_of_bundle.engines.glob("visual*.json"):
        sidecar.write_text("{")
    with pytest.raises(EngineError, match=r"visual-fp32.*is not JSON"):
        load_tensorrt(copy_of_bundle, "visual", "fp32")


def test_a_dlpack_array_on_the_host_is_an_ordinary_one(gpu, bundle) -> None:
    class Lent:
        def __init__(self, array: np.ndarray) -> None:
            self.array = array

        def __dlpack__(self, **options: Any) -> object:
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return self.array.__dlpack_device__()

    inputs = small_bundle.example_inputs("visual")
    with load_tensorrt(bundle, "visual", "fp32") as network:
        found = network.run({"frames": Lent(inputs["frames"])})
        assert_same(found, expected(bundle, "visual", "fp32", inputs))


@pytest.mark.parametrize("name", NETWORKS)
def test_everything_is_freed(gpu, bundle, name) -> None:
    network = load_tensorrt(bundle, name, "fp32")
    for _ in range(3):
        network.run(small_bundle.example_inputs(name))
    assert gpu.leaks()
    network.close()
    network.close()
    gc.collect()
    assert gpu.leaks() == {}
    with pytest.raises(NetworkError, match="closed"):
        network.run(small_bundle.example_inputs(name))


def test_closing_waits_for_calls_that_run(gpu, bundle) -> None:
    network = load_tensorrt(bundle, "localizer", "fp32", workers=2)
    failures: list[str] = []

    def ask() -> None:
        try:
            for _ in range(50):
                network.run(small_bundle.example_inputs("localizer"))
        except NetworkError as error:
            failures.append(error.what)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    network.close()
    for thread in threads:
        thread.join()
    gc.collect()
    assert set(failures) <= {"the network was closed"}
    assert gpu.leaks() == {}


def test_a_gpu_without_memory_gives_an_error_and_leaks_nothing(bundle) -> None:
    with tensorrt_double.installed(tensorrt_double.Gpu(memory_limit=3000)) as gpu:
        with pytest.raises(EngineError, match=r"does not fit on the GPU.*out of memory"):
            load_tensorrt(bundle, "localizer", "fp32")
        gc.collect()
        assert gpu.leaks() == {}


def test_a_failed_run_names_the_reason_and_the_network_goes_on(gpu, bundle, monkeypatch) -> None:
    inputs = small_bundle.example_inputs("text")
    with load_tensorrt(bundle, "text", "fp32", workers=1, graphs=0) as network:
        context = network._workers[0]._contexts[0]._context
        real = type(context).execute_async_v3
        monkeypatch.setattr(
            type(context), "execute_async_v3", lambda self, _: self._error("Error Code 1: Myelin")
        )
        with pytest.raises(NetworkError, match="could not be started: Error Code 1: Myelin"):
            network.run(inputs)
        monkeypatch.setattr(type(context), "execute_async_v3", real)
        assert_same(network.run(inputs), expected(bundle, "text", "fp32", inputs))


@pytest.fixture
def copy_of_bundle(engines_folder: Path, tmp_path: Path) -> Bundle:
    import shutil

    shutil.copytree(engines_folder, tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


def test_an_altered_plan_is_never_deserialized(gpu, copy_of_bundle) -> None:
    plan = next(copy_of_bundle.engines.glob("visual-fp32*.plan"))
    plan.write_bytes(plan.read_bytes()[:-1] + b"?")
    with pytest.raises(EngineError, match=r"the plan was altered.*--force"):
        load_tensorrt(copy_of_bundle, "visual", "fp32")
    assert gpu.made["engine"] == 0


def test_a_plan_that_does_not_load_gives_the_builders_reason(gpu, copy_of_bundle) -> None:
    import hashlib
    import json

    plan = next(copy_of_bundle.engines.glob("visual-fp32*.plan"))
    plan.write_bytes(b"rubbish")
    sidecar = plan.with_suffix(".json")
    content = json.loads(sidecar.read_text())
    content["plan_sha256"] = hashlib.sha256(b"rubbish").hexdigest()
    sidecar.write_text(json.dumps(content))
    with pytest.raises(EngineError, match="Magic tag does not match"):
        load_tensorrt(copy_of_bundle, "visual", "fp32")
    gc.collect()
    assert gpu.leaks() == {}


def test_a_plan_that_is_not_what_its_sidecar_says_is_refused(gpu, copy_of_bundle) -> None:
    import json

    sidecar = next(copy_of_bundle.engines.glob("visual-fp32*.json"))
    content = json.loads(sidecar.read_text())
    content["identity"]["profiles"][0]["batch"]["max"] = 3
    sidecar.write_text(json.dumps(content))
    with pytest.raises(EngineError, match="not what its sidecar says"):
        load_tensorrt(copy_of_bundle, "visual", "fp32")


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (
            tensorrt_double.Gpu(name="NVIDIA H100", capability=(9, 0)),
            "is for sm80; this GPU is sm90",
        ),
    ],
)
def test_another_machine_is_refused_by_name(bundle, machine, message) -> None:
    with tensorrt_double.installed(machine), pytest.raises(EngineError, match=message):
        load_tensorrt(bundle, "visual", "fp32")


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (
            tensorrt_double.Gpu(name="NVIDIA A30"),
            "was tuned on NVIDIA A100-SXM4-80GB; this GPU is NVIDIA A30",
        ),
        (
            tensorrt_double.Gpu(name="NVIDIA A100-SXM4-80GB MIG 3g.40gb"),
            "was tuned on NVIDIA A100-SXM4-80GB; this GPU is NVIDIA A100-SXM4-80GB MIG",
        ),
        (
            tensorrt_double.Gpu(driver=(590, 1)),
            "was built under driver 580.65.06; this one is 590.01",
        ),
        (tensorrt_double.Gpu(nvml=False), "580.65.06; this one is CUDA 13.0"),
    ],
)
def test_another_driver_or_model_of_the_same_capability_is_a_warning(
    bundle, caplog, machine, message
) -> None:
    with tensorrt_double.installed(machine), load_tensorrt(bundle, "visual", "fp32") as network:
        assert network.run(small_bundle.example_inputs("visual"))
    assert message in caplog.text


def test_of_several_engines_the_one_of_this_gpu_is_taken(tmp_path, caplog) -> None:
    bundle = small_bundle.write_small_bundle(tmp_path / "bundle")
    for name in ("NVIDIA A100-SXM4-40GB", "NVIDIA A30", "NVIDIA A100-SXM4-80GB"):
        with tensorrt_double.installed(tensorrt_double.Gpu(name=name)):
            build_engines(bundle, EngineOptions("local", networks=("text",)))
    with (
        tensorrt_double.installed(tensorrt_double.Gpu(name="NVIDIA A30")),
        load_tensorrt(bundle, "text", "fp16"),
    ):
        assert "tuned on" not in caplog.text


def test_another_tensorrt_is_refused_by_name(bundle) -> None:
    with (
        tensorrt_double.installed(version="10.13.0.35"),
        pytest.raises(
            EngineError, match=r"needs tensorrt 11\.4\.0\.106; 10\.13\.0\.35 is installed"
        ),
    ):
        load_tensorrt(bundle, "visual", "fp32")


def test_engines_of_another_major_say_which_tensorrt_to_install(bundle, monkeypatch) -> None:
    """An engine built by TensorRT 11 under 10, as in ultralytics #24729: one plain refusal."""
    with tensorrt_double.installed(version="10.13.0.35"):
        monkeypatch.setattr("vtloc_runtime.system.nvidia_driver.cuda_version", lambda: (12, 8))
        with pytest.raises(EngineError, match="needs tensorrt") as caught:
            load_tensorrt(bundle, "visual", "fp32")
    assert caught.value.remedy is not None
    assert caught.value.remedy.endswith('pip install "tensorrt-cu12==11.4.0.106"')
    assert "vtloc-export trt" in caught.value.remedy


def test_an_engine_for_another_gpu_is_not_mended_by_another_tensorrt(bundle) -> None:
    other = tensorrt_double.Gpu(name="NVIDIA H100 80GB HBM3", capability=(9, 0))
    with (
        tensorrt_double.installed(other, version="10.13.0.35"),
        pytest.raises(EngineError, match="this GPU is sm90") as caught,
    ):
        load_tensorrt(bundle, "visual", "fp32")
    assert "pip install" not in str(caught.value.remedy)


def test_an_fp16_engine_that_answers_in_fp32_is_refused(gpu, copy_of_bundle, monkeypatch) -> None:
    """The sidecar says FP16, the plan was built from the FP32 file, as in ultralytics #21575."""
    import hashlib
    import json

    sidecar = next(copy_of_bundle.engines.glob("visual-fp16*.json"))
    exact = next(copy_of_bundle.engines.glob("visual-fp32*.plan")).read_bytes()
    (copy_of_bundle.engines / sidecar.with_suffix(".plan").name).write_bytes(exact)
    content = json.loads(sidecar.read_text())
    content |= {"plan_sha256": hashlib.sha256(exact).hexdigest(), "plan_bytes": len(exact)}
    sidecar.write_text(json.dumps(content))
    with pytest.raises(EngineError, match=r"dtype of 'features' is float32, not float16"):
        load_tensorrt(copy_of_bundle, "visual", "fp16")


def test_another_onnx_file_is_refused_by_name(gpu, copy_of_bundle) -> None:
    import json

    sidecar = next(copy_of_bundle.engines.glob("visual-fp32*.json"))
    content = json.loads(sidecar.read_text())
    content["identity"]["onnx_sha256"] = "0" * 64
    sidecar.write_text(json.dumps(content))
    with pytest.raises(EngineError, match="was built from another ONNX file"):
        load_tensorrt(copy_of_bundle, "visual", "fp32")


def test_a_bundle_without_engines_says_how_to_build_them(gpu, tmp_path) -> None:
    bundle = small_bundle.write_small_bundle(tmp_path / "bundle")
    with pytest.raises(EngineError, match=r"no fp16 engine.*vtloc-export trt .* --target sm80"):
        load_tensorrt(bundle, "visual", "fp16")


def test_a_machine_without_tensorrt_says_which_extra_brings_it(bundle, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    for cuda, extra in (((12, 2), "tensorrt-cu12"), ((13, 0), "tensorrt-cu13")):
        monkeypatch.setattr(
            "vtloc_runtime.system.nvidia_driver.cuda_version", lambda found=cuda: found
        )
        with pytest.raises(MissingExtraError, match=rf"\[{extra}\]"):
            load_tensorrt(bundle, "visual", "fp32")


def test_a_tensorrt_that_does_not_load_is_told_from_one_that_is_missing(
    bundle, monkeypatch
) -> None:
    class Broken:
        def find_spec(self, name: str, *_: object) -> object:
            if name == "tensorrt":
                raise RuntimeError("TensorRT libraries are missing")
            return None

    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(MissingExtraError, match=r"does not load: TensorRT libraries are missing"):
        import_flavour("tensorrt")


@pytest.mark.parametrize("device", ["cpu", "cuda:", "cuda:x", "tpu:0"])
def test_a_device_that_is_no_gpu_is_refused(gpu, bundle, device) -> None:
    with pytest.raises(BackendError, match="CUDA devices"):
        load_tensorrt(bundle, "visual", "fp32", device)


def test_a_gpu_that_does_not_answer_is_refused(gpu, bundle) -> None:
    with pytest.raises(BackendError, match="no NVIDIA GPU answers as cuda:4"):
        load_tensorrt(bundle, "visual", "fp32", "cuda:4")
