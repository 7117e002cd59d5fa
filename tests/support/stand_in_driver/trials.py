"""What is tried on the stand-in drivers, each in a process of its own; results go out as JSON."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tests.support import small_bundle
from tests.support.stand_in_driver import machine

TRAFFIC = ("batch=1:4:8,frames=1:8:16,tokens=1:4:8", "batch=1:1:3,frames=1:16:32,tokens=1:8:16")


def engines(*precisions: str) -> Any:
    """A small bundle with engines, built through the exporter."""
    from vtloc_export.engines.build import EngineOptions, build_engines
    from vtloc_export.engines.profiles import parse_traffic

    bundle = small_bundle.write_small_bundle(Path(tempfile.mkdtemp()) / "bundle")
    traffic = tuple(parse_traffic(text, {}) for text in TRAFFIC)
    for precision in precisions:
        build_engines(bundle, EngineOptions("sm80", precision=precision, traffic=traffic))
    return bundle


def check(network: Any, bundle: Any, precision: str, inputs: dict[str, Any], **given: Any) -> None:
    """Hold an answer to ONNX Runtime's."""
    import onnxruntime

    file = bundle.variant(network.name, precision)
    session = onnxruntime.InferenceSession(bundle.read(file.file, file.sha256))
    names = [output.name for output in session.get_outputs()]
    found = network.run({**inputs, **given})
    for name, array in zip(names, session.run(None, inputs), strict=True):
        np.testing.assert_array_equal(found[name], array)


def networks(capturable: str) -> dict[str, Any]:
    """Every network, many shapes, several threads; then nothing may be left."""
    import cuda.core

    from vtloc_runtime.networks.tensorrt.network import load_tensorrt

    driver = machine.install(capturable=capturable == "capturable")
    bundle = engines("fp32", "fp16")
    before = driver.counts()
    graphs = 0
    for name in ("visual", "text", "localizer"):
        for precision in ("fp32", "fp16"):
            with load_tensorrt(bundle, name, precision) as network:
                for seed in range(4):
                    half = precision == "fp16"
                    inputs = small_bundle.example_inputs(name, half=half, seed=seed)
                    check(network, bundle, precision, inputs)
                graphs += network.memory.graphs
    generator = np.random.default_rng(0)
    with load_tensorrt(bundle, "localizer", "fp32", workers=1, graphs=2) as network:
        for _ in range(40):
            batch, frames, tokens = (int(generator.integers(1, most)) for most in (9, 17, 9))
            inputs = small_bundle.example_inputs(
                "localizer", batch=batch, frames=frames, tokens=tokens, seed=batch
            )
            check(network, bundle, "fp32", inputs)
    with (
        load_tensorrt(bundle, "localizer", "fp32", workers=3) as network,
        ThreadPoolExecutor(8) as pool,
    ):

        def ask(seed: int) -> None:
            inputs = small_bundle.example_inputs("localizer", frames=1 + seed % 5, seed=seed)
            check(network, bundle, "fp32", inputs)

        list(pool.map(ask, range(48)))
    gc.collect()
    after = driver.counts()
    return {
        "cuda_core": cuda.core.__version__,
        "graphs": graphs,
        "left": {name: after[name] - before[name] for name in machine.LIVING},
        "spinning_calls": after["spinning_waits"] - before["spinning_waits"],
        "blocking_waits": after["blocking_waits"],
        "double": +driver.live,
        "errors": [repr(error) for error in driver.errors],
    }


def lost_gpu() -> dict[str, Any]:
    """A GPU that fails for good: the network says so, at every call, and still closes."""
    from vtloc_runtime.errors import DeviceLostError
    from vtloc_runtime.networks.tensorrt.network import load_tensorrt

    driver = machine.install()
    bundle = engines("fp32")
    network = load_tensorrt(bundle, "text", "fp32")
    inputs = small_bundle.example_inputs("text")
    network.run(inputs)
    driver.lose()
    said = []
    for _ in range(2):
        try:
            network.run(inputs)
        except DeviceLostError as error:
            said.append(error.what)
    network.close()
    return {"said": said}


def described() -> dict[str, Any]:
    """What the machine is called where NVML is missing."""
    from vtloc_runtime.networks.tensorrt.api import describe_device, import_cuda, open_device

    cuda = import_cuda()
    target = describe_device(cuda, open_device(cuda, 0))
    return {"sm": target.sm, "gpu": target.gpu, "driver": target.driver}


def lent_arrays() -> dict[str, Any]:
    """Arrays of another library, some of which begin inside their memory."""
    from vtloc_runtime.errors import NetworkError
    from vtloc_runtime.networks.tensorrt.network import load_tensorrt

    machine.install()
    bundle = engines("fp32")
    inputs = small_bundle.example_inputs("visual")
    found: dict[str, Any] = {}
    with load_tensorrt(bundle, "visual", "fp32", workers=1) as network:
        for offset in (0, 32, 256):
            lent = _Lent(inputs["frames"], offset=offset)
            check(network, bundle, "fp32", inputs, frames=lent)
            found[str(offset)] = lent.freed
        try:
            network.run({"frames": _Lent(inputs["frames"], device=1)})
        except NetworkError as error:
            found["other"] = error.what
    return found


def several_gpus() -> dict[str, Any]:
    """Two GPUs share out the calls of one localizer."""
    from vtloc_export.engines.build import EngineOptions, build_engines
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.localizer import Localizer

    driver = machine.install()
    bundle = small_bundle.write_small_bundle(Path(tempfile.mkdtemp()) / "bundle")
    build_engines(bundle, EngineOptions("sm80", precision="fp16"))
    generator = np.random.default_rng(0)
    videos = [
        EncodedVideo(
            generator.normal(size=(length, small_bundle.WIDTH)).astype(np.float32),
            np.arange(length, dtype=float),
            float(length),
        )
        for length in (5, 9, 40, 90, 12, 33)
    ]
    queries = ["a cat walks", "a person sits in the room", "the room"]
    with (
        Localizer.open(bundle, backend="tensorrt", device="cuda:0,cuda:1") as both,
        ThreadPoolExecutor(6) as pool,
    ):
        expected = [both.localize(video, queries) for video in videos]
        found = list(pool.map(lambda video: both.localize(video, queries), videos * 6))
        backend = both.backend
    return {
        "backend": backend,
        "same": found == expected * 6,
        "runs": sorted(driver.runs.values()),
        "errors": [repr(error) for error in driver.errors],
    }


def traffic() -> dict[str, Any]:
    """Calls and copies that one sentence about a video costs once shapes recur."""
    from vtloc_export.engines.build import EngineOptions, build_engines
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.localizer import Localizer

    driver = machine.install()
    bundle = small_bundle.write_small_bundle(Path(tempfile.mkdtemp()) / "bundle")
    build_engines(bundle, EngineOptions("sm80", precision="fp16"))
    video = EncodedVideo(
        np.random.default_rng(0).normal(size=(30, small_bundle.WIDTH)).astype(np.float32),
        np.arange(30.0), 30.0,
    )  # fmt: skip
    words = ["a", "person", "cat", "walks", "sits", "the", "room", "in", "across"]
    results = {}
    with Localizer.open(bundle, backend="tensorrt") as localizer:
        for sentences in (1, 18):
            for turn in range(6):
                before = driver.counts()
                queries = [
                    f"{words[turn]} {words[n % 9]} {words[n // 9]} x{n}" for n in range(sentences)
                ]
                localizer.localize(video, queries)
                after = driver.counts()
            results[str(sentences)] = {name: after[name] - before[name] for name in after}
    return results


def films(*paths: str) -> dict[str, Any]:
    """The real PyNvVideoCodec, through the reader: the processor's frames at the same times."""
    from dataclasses import replace

    from vtloc_runtime.video import VideoOptions, open_video

    decoding = ctypes.CDLL("libnvcuvid.so.1")
    counts = (ctypes.c_int * 6)()
    found: dict[str, Any] = {"same": [], "frames": []}
    for path in paths:
        for rate in (1.0, 5.0, 25.0):
            options = VideoOptions(frames_per_second=rate)
            with open_video(path, options) as reader:
                expected = list(reader)
            with open_video(path, replace(options, decoder="nvdec")) as reader:
                frames = list(reader)
            found["frames"].append(len(frames))
            found["same"].append(
                [(frame.asked, frame.time) for frame in frames]
                == [(frame.asked, frame.time) for frame in expected]
                and all(
                    np.array_equal(frame.image, other.image)
                    for frame, other in zip(frames, expected, strict=True)
                )
            )
    gc.collect()
    decoding.stand_in_decoding(counts)
    names = ("parsers", "decoders", "made", "mapped", "ends", "breaks")
    return found | dict(zip(names, counts, strict=True))


def shared_decoding(workers: str, *paths: str) -> dict[str, Any]:
    """Films through a GPU's one process, several at once; what became of each."""
    from vtloc_runtime.batch.workers.worker_pool import PipelineOptions, run_tasks
    from vtloc_runtime.errors import VideoError
    from vtloc_runtime.video import VideoOptions, open_video
    from vtloc_runtime.video.isolation.decoder_process import DecoderLimits

    options = VideoOptions(frames_per_second=5.0)

    def work(path: str, read: Any) -> tuple[str, str]:
        with open_video(path, options) as reader:
            expected = [(frame.time, frame.image) for frame in reader]
        found = []
        try:
            for part in read(path, options, 8):
                if hasattr(part, "images"):
                    found += list(zip(part.times, part.images, strict=True))
        except VideoError as error:
            return path, str(error)
        same = len(found) == len(expected) and all(
            time == other and np.array_equal(image, picture)
            for (time, image), (other, picture) in zip(found, expected, strict=True)
        )
        return path, "same" if same else f"differs: {len(found)} frames, not {len(expected)}"

    pipeline = PipelineOptions(
        workers=int(workers), decoder=os.environ.get("DECODER", "nvdec"),
        device=os.environ.get("DEVICE"), limits=DecoderLimits(timeout=5.0),
    )  # fmt: skip
    outcomes = dict(run_tasks(work, list(paths), pipeline))
    trace = Path(os.environ["CUDA_STAND_IN_TRACE"])
    made = [line.split() for line in trace.read_text().splitlines()] if trace.exists() else []
    processes: dict[str, int] = {}
    for what, process in made:
        if what == "decoder":
            processes[process] = processes.get(process, 0) + 1
    return {
        "outcomes": [outcomes[path] for path in paths],
        "processes": list(processes.values()),
        "reconfigured": sum(what == "reconfigured" for what, _ in made),
    }


class _Device(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int), ("index", ctypes.c_int))


class _Type(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("axes", ctypes.c_int),
        ("type", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    pass


_DELETER = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _DELETER))


class _Lent:
    """Bytes on the GPU that begin some way into their memory, as slices do."""

    def __init__(self, array: np.ndarray, *, offset: int = 0, device: int = 0) -> None:
        import cuda.core

        gpu = cuda.core.Device(0)
        gpu.set_current()
        self._stream = gpu.create_stream()
        self._buffer = gpu.allocate(array.nbytes + offset, stream=self._stream)
        ctypes.memmove(int(self._buffer.handle) + offset, array.ctypes.data, array.nbytes)
        self._array, self._offset, self._device = array, offset, device
        self._kept: list[Any] = []
        self.freed = 0

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self._device

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Any:
        managed = _Managed()
        tensor = managed.tensor
        tensor.data, tensor.offset = int(self._buffer.handle), self._offset
        tensor.device, tensor.type = _Device(2, self._device), _Type(1, 8, 1)
        tensor.axes = self._array.ndim
        shape = (ctypes.c_int64 * self._array.ndim)(*self._array.shape)
        strides = (ctypes.c_int64 * self._array.ndim)(*self._array.strides)
        tensor.shape, tensor.strides = shape, strides

        def free(_: Any) -> None:
            self.freed += 1

        managed.deleter = _DELETER(free)
        self._kept += [managed, shape, strides, managed.deleter]
        capsule = ctypes.pythonapi.PyCapsule_New
        capsule.restype = ctypes.py_object
        capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return capsule(ctypes.addressof(managed), b"dltensor", None)


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(globals()[sys.argv[1]](*sys.argv[2:])) + "\n")
