"""Every name and call that the code uses exists in the real libraries, and in no other form.

The code is read, not run: each expression that holds an object of TensorRT or cuda-core is listed
with its class, and each attribute and call on it is compared with TensorRT-RTX, TensorRT 10's
stubs, TensorRT's own bindings and cuda-core's stubs. So are the doubles.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from tests.support import real_bindings, tensorrt_double
from tests.support.real_bindings import Library

ROOT = Path(__file__).parents[3]
RUNTIME = ROOT / "runtime" / "vtloc_runtime"
EXPORT = ROOT / "export" / "vtloc_export"

MODULE = "the module"
TENSORRT = {
    RUNTIME / "networks" / "tensorrt" / "api.py": {"api.module": MODULE, "trt": MODULE},
    RUNTIME / "networks" / "tensorrt" / "network.py": {
        "api.module": MODULE,
        "runtime": "Runtime",
    },
    RUNTIME / "networks" / "tensorrt" / "layout.py": {
        "api.module": MODULE,
        "cuda_engine": "ICudaEngine",
    },
    RUNTIME / "networks" / "tensorrt" / "worker.py": {"loaded.engine": "ICudaEngine"},
    RUNTIME / "networks" / "tensorrt" / "context.py": {
        "trt": MODULE,
        "engine": "ICudaEngine",
        "self._context": "IExecutionContext",
        "config": "IRuntimeConfig",
    },
    EXPORT / "engines" / "progress.py": {"api.module": MODULE},
    EXPORT / "engines" / "target.py": {"api.module": MODULE},
    EXPORT / "engines" / "builder.py": {
        "trt": MODULE,
        "self._trt": MODULE,
        "flags": "BuilderFlag",
        "trt.BuilderFlag": "BuilderFlag",
        "self._trt_builder": "Builder",
        "network": "INetworkDefinition",
        "parser": "OnnxParser",
        "fault": "ParserError",
        "config": "IBuilderConfig",
        "profile": "IOptimizationProfile",
        "cache": "ITimingCache",
    },
}
CUDA = {
    RUNTIME / "networks" / "tensorrt" / "api.py": {
        "cuda": MODULE,
        "cuda.system": MODULE,
        "device": "Device",
    },
    RUNTIME / "networks" / "tensorrt" / "network.py": {"self._cuda": MODULE},
    RUNTIME / "networks" / "tensorrt" / "memory.py": {
        "self._cuda": MODULE,
        "device": "Device",
        "self._pinned": "Buffer",
        "self._device": "Buffer",
        "self._cuda.Buffer": "Buffer",
        "source": "Buffer",
        "buffer": "Buffer",
        "view": "StridedMemoryView",
        "self._cuda.utils.StridedMemoryView": "StridedMemoryView",
        "cuda.utils.StridedMemoryView": "StridedMemoryView",
        "stream": "Stream",
    },
    RUNTIME / "networks" / "tensorrt" / "worker.py": {
        "loaded.cuda": MODULE,
        "device": "Device",
        "self._stream": "Stream",
        "self._scratch": "Buffer",
        "builder": "GraphBuilder",
        "slot.graph": "Graph",
    },
    RUNTIME / "networks" / "tensorrt" / "context.py": {
        "stream": "Stream",
        "self._stream": "Stream",
        "scratch": "Buffer",
    },
    RUNTIME / "networks" / "tensorrt" / "cuda_graphs.py": {"self.graph": "Graph"},
    RUNTIME / "video" / "decoders" / "nvdec" / "api.py": {"self.cuda": MODULE, "device": "Device"},
    RUNTIME / "video" / "decoders" / "nvdec" / "session.py": {
        "cuda": MODULE,
        "device": "Device",
        "self._stream": "Stream",
        "self._pinned": "Buffer",
        "cuda.Buffer": "Buffer",
        "source": "Buffer",
    },
}
NVDEC = {
    RUNTIME / "video" / "decoders" / "nvdec" / "api.py": {"self.module": MODULE},
    RUNTIME / "video" / "decoders" / "nvdec" / "session.py": {
        "module": MODULE,
        "self._api.module": MODULE,
        "module.VideoPacketFlag": "VideoPacketFlag",
        "module.Pixel_Format": "Pixel_Format",
        "packet": "PacketData",
        "self._decoder": "PyNvDecoder",
        "frame": "DecodedFrame",
    },
}
RTX_ONLY = {
    "ComputeCapability",
    "num_compute_capabilities",
    "set_compute_capability",
    "CudaGraphStrategy",
    "cuda_graph_strategy",
}
# Names of a module that are neither classes nor functions of their own in its stubs.
SUBMODULES = {"utils", "system", "__version__"}


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Library | None]:
    return {
        "tensorrt-rtx": real_bindings.tensorrt_rtx(),
        "tensorrt 10": real_bindings.tensorrt_stubs(),
        "tensorrt": real_bindings.tensorrt_bindings(tmp_path_factory.mktemp("hollow")),
        "cuda-core": real_bindings.cuda_core(),
        "pynvvideocodec": real_bindings.pynvvideocodec(tmp_path_factory.mktemp("driver")),
    }


def library(libraries: dict[str, Library | None], name: str) -> Library:
    found = libraries[name]
    if found is None:
        pytest.skip(f"{name} is not installed, nor can it be read here")
    return found


def uses(file: Path, receivers: dict[str, str]) -> list[tuple[str, str, ast.Call | None]]:
    """Every (class, attribute, call) in a file, on the receivers that hold foreign objects."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return [
        (receivers[ast.unparse(node.value)], node.attr, calls.get(id(node)))
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in receivers
    ]


def faults(file: Path, receivers: dict[str, str], real: Library, *, leave: set[str]) -> list[str]:
    found = []
    for owner, name, call in uses(file, receivers):
        if name in leave:
            continue
        where = f"{file.name}: {owner}.{name}"
        if owner == MODULE:
            if name not in real.names:
                found.append(f"{where} is not in {real.title}")
                continue
            members = real.classes.get(real_bindings.FUNCTIONS, {})
            if name not in members:
                continue
        else:
            members = real.classes[owner]
        if name not in members:
            found.append(f"{where} is not in {real.title}")
        elif call is not None and members[name]:
            positional = len(call.args)
            keywords = {keyword.arg for keyword in call.keywords if keyword.arg}
            starred = any(isinstance(argument, ast.Starred) for argument in call.args)
            if not starred and not any(p.accept(positional, keywords) for p in members[name]):
                found.append(f"{where} takes {members[name]} in {real.title}: {ast.unparse(call)}")
    return found


@pytest.mark.parametrize("name", ["tensorrt-rtx", "tensorrt 10", "tensorrt"])
@pytest.mark.parametrize("file", TENSORRT, ids=lambda file: file.name)
def test_the_code_uses_tensorrt_as_it_is(libraries, name: str, file: Path) -> None:
    leave = SUBMODULES | (set() if name == "tensorrt-rtx" else RTX_ONLY)
    assert faults(file, TENSORRT[file], library(libraries, name), leave=leave) == []


@pytest.mark.parametrize("file", CUDA, ids=lambda file: file.name)
def test_the_code_uses_cuda_core_as_it_is(libraries, file: Path) -> None:
    assert faults(file, CUDA[file], library(libraries, "cuda-core"), leave=SUBMODULES) == []


@pytest.mark.parametrize("file", NVDEC, ids=lambda file: file.name)
def test_the_code_uses_pynvvideocodec_as_it_is(libraries, file: Path) -> None:
    assert faults(file, NVDEC[file], library(libraries, "pynvvideocodec"), leave=set()) == []


def test_names_that_the_code_makes_up_are_pynvvideocodec_s(libraries) -> None:
    from vtloc_runtime.video.decoders.nvdec.api import CODECS

    real = library(libraries, "pynvvideocodec")
    assert set(CODECS.values()) <= real.classes["cudaVideoCodec"].keys()
    assert "420" in real.classes["cudaVideoChromaFormat"]
    file = real_bindings.pynvvideocodec_file()
    assert file is not None
    compiled = file.read_bytes()
    answers = ("supported", "width_min", "width_max", "height_min", "height_max", "mb_num_max")
    assert [key for key in answers if key.encode() not in compiled] == []


def test_the_double_of_nvdec_offers_what_the_real_one_does(libraries) -> None:
    import sys

    from tests.support import nvdec_double

    real = library(libraries, "pynvvideocodec")
    with nvdec_double.installed():
        module = sys.modules["PyNvVideoCodec"]
        taken = set(inspect.signature(module.CreateDecoder).parameters)
        overloads = real.classes[real_bindings.FUNCTIONS]["CreateDecoder"]
        assert any(taken <= set(overload.names) for overload in overloads)
        assert set(module.PacketData.__slots__) <= real.classes["PacketData"].keys()
        for owner in ("PyNvDecoder", "DecodedFrame"):
            offered = {name for name in vars(getattr(module, owner)) if name[0].isupper()}
            assert offered <= real.classes[owner].keys(), owner
        assert "format" in real.classes["DecodedFrame"]


def test_the_lists_of_receivers_are_alive() -> None:
    for table in (TENSORRT, CUDA, NVDEC):
        for file, receivers in table.items():
            text = {
                ast.unparse(node.value)
                for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
                if isinstance(node, ast.Attribute)
            }
            assert set(receivers) <= text, f"{file.name}: {set(receivers) - text}"


def test_names_of_version_10_that_version_11_dropped_stay_out(libraries) -> None:
    gone = {"FP16", "BF16", "INT8", "OBEY_PRECISION_CONSTRAINTS", "IInt8Calibrator"}
    assert gone & library(libraries, "tensorrt 10").classes["BuilderFlag"].keys()
    for file, receivers in TENSORRT.items():
        assert not gone & {name for _, name, _ in uses(file, receivers)}


DOUBLED = {
    "tensorrt": [
        "Runtime",
        "ICudaEngine",
        "IExecutionContext",
        "Builder",
        "OnnxParser",
        "IProgressMonitor",
    ],
    "cuda-core": ["Device", "Buffer", "LegacyPinnedMemoryResource"],
}


@pytest.mark.parametrize("name", ["tensorrt-rtx", "tensorrt 10", "tensorrt", "cuda-core"])
def test_the_double_offers_nothing_that_the_real_library_does_not(libraries, name: str) -> None:
    import sys

    real = library(libraries, name)
    kind = "cuda-core" if name == "cuda-core" else "tensorrt"
    with tensorrt_double.installed():
        module = sys.modules["cuda.core" if kind == "cuda-core" else "tensorrt"]
        for owner in DOUBLED[kind]:
            for member, value in vars(getattr(module, owner)).items():
                if member.startswith("_") or member == "compute":
                    continue
                assert member in real.classes[owner], f"{owner}.{member} is not in {real.title}"
                if not inspect.isfunction(value) or not real.classes[owner][member]:
                    continue
                taken = [p for p in inspect.signature(value).parameters if p != "self"]
                assert any(
                    set(taken) <= {*overload.names, *overload.keyword_only}
                    for overload in real.classes[owner][member]
                ), f"{owner}.{member}{taken} against {real.classes[owner][member]}"


def test_a_call_that_does_not_fit_would_be_found(libraries) -> None:
    real = library(libraries, "tensorrt-rtx")
    fitting = real.classes["IExecutionContext"]["execute_async_v3"]
    assert any(overload.accept(1, ()) for overload in fitting)
    assert not any(overload.accept(0, ()) for overload in fitting)
    assert not any(overload.accept(1, ("priority",)) for overload in fitting)
