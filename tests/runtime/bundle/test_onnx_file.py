"""Networks whose weights lie elsewhere: only in files that the manifest names, by their hash."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.support.colours import edit_manifest
from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE, Bundle
from vtloc_runtime.bundle.onnx_file import OnnxFile, external_tensors
from vtloc_runtime.errors import BackendError, BundleError
from vtloc_runtime.networks.onnxruntime_backend import OnnxRuntimeNetwork, load_onnxruntime

value = helper.make_tensor_value_info


def external(name: str, location: str, *, offset: Any = 0, length: Any = 8) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", offset), ("length", length)):
        if text is not None:
            tensor.external_data.add(key=key, value=str(text))
    return tensor


def model(nodes: list[Any], initializers: list[Any] = [], **more: Any) -> onnx.ModelProto:  # noqa: B006
    graph = helper.make_graph(
        nodes,
        "graph",
        [value("x", TensorProto.FLOAT, ["batch", 2])],
        [value("y", TensorProto.FLOAT, ["batch", 2])],
        initializers,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, **more
    )


def adding(weight: TensorProto) -> bytes:
    return model([helper.make_node("Add", ["x", "w"], ["y"])], [weight]).SerializeToString()


def nested(weight: TensorProto) -> bytes:
    """In the branch of a condition, in the branch of a condition."""
    constant = helper.make_node("Constant", [], ["c"], value=weight)
    for level in range(2):
        branch = helper.make_graph(
            [constant], f"b{level}", [], [value("c", TensorProto.FLOAT, [2])]
        )
        constant = helper.make_node("If", ["flag"], ["c"], then_branch=branch, else_branch=branch)
    flag = numpy_helper.from_array(np.array(True), "flag")
    return model([constant, helper.make_node("Add", ["x", "c"], ["y"])], [flag]).SerializeToString()


def in_function(weight: TensorProto) -> bytes:
    function = helper.make_function(
        "own", "F", [], ["c"], [helper.make_node("Constant", [], ["c"], value=weight)],
        [helper.make_opsetid("", 18)],
    )  # fmt: skip
    made = model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [numpy_helper.from_array(np.ones(2, np.float32), "w")],
    )
    made.functions.append(function)
    return made.SerializeToString()


def sparse(weight: TensorProto) -> bytes:
    made = model([helper.make_node("Add", ["x", "w"], ["y"])])
    tensor = onnx.SparseTensorProto(values=weight, dims=[2])
    made.graph.sparse_initializer.append(tensor)
    return made.SerializeToString()


def in_list(weight: TensorProto) -> bytes:
    node = helper.make_node("Add", ["x", "x"], ["y"])
    node.attribute.add(name="many", type=onnx.AttributeProto.TENSORS, tensors=[weight])
    return model([node]).SerializeToString()


def in_training(weight: TensorProto) -> bytes:
    made = model([helper.make_node("Add", ["x", "x"], ["y"])])
    made.training_info.add().initialization.initializer.append(weight)
    return made.SerializeToString()


def twice(weight: TensorProto) -> bytes:
    """A second graph that protobuf merges into the first."""
    more = onnx.ModelProto()
    more.graph.initializer.append(weight)
    return model([helper.make_node("Add", ["x", "w"], ["y"])]).SerializeToString() + (
        more.SerializeToString()
    )


PLACES = [adding, nested, in_function, sparse, in_list, in_training, twice]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "location",
    ["own.bin", "/etc/passwd", "../../../etc/passwd", "*/_ORT_MEM_ADDR_/*", "", "a/../own.bin"],
)
def test_a_file_that_nobody_named_is_never_read(
    place: Any, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.bin").write_bytes(b"\0" * 64)
    with pytest.raises(BundleError, match="a file that the manifest does not name"):
        OnnxRuntimeNetwork("visual", place(external("w", location)))


@pytest.mark.parametrize("place", PLACES[1:-1])
def test_only_weights_of_the_graph_may_lie_in_a_file(place: Any) -> None:
    with pytest.raises(BundleError, match="own numbers"):
        OnnxFile(place(external("w", "a.bin")), {"a.bin": b"\0" * 64})


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ({"offset": -1}, "position"),
        ({"offset": "1e3"}, "position"),
        ({"offset": 60}, "beyond"),
        ({"offset": 0, "length": 65}, "beyond"),
        ({"offset": 10**30}, "position"),
    ],
)
def test_weights_lie_inside_their_file(place: dict[str, Any], reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        OnnxFile(adding(external("w", "a.bin", **place)), {"a.bin": b"\0" * 64})


def test_verified_weights_are_used_and_the_folder_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.bin").write_bytes(np.array([7, 7, 7], np.float32).tobytes())
    given = np.array([0, 1, 2], np.float32).tobytes()
    file = OnnxFile(adding(external("w", "a.bin", offset=4)), {"a.bin": given})
    with OnnxRuntimeNetwork("sum", file) as network:
        found = network.run({"x": np.zeros((1, 2), np.float32)})["y"]
    assert found.tolist() == [[1, 2]]


def move_weights(folder: Path, network: str) -> None:
    """Put the weights of a network of a bundle into a file beside it, hashed in the manifest."""
    path = folder / f"{network}.fp32.onnx"
    graph = onnx.load(path)
    content = bytearray()
    for tensor in graph.graph.initializer:
        # Shapes and axes are read while the network is loaded, and stay in it.
        if tensor.data_type != TensorProto.FLOAT:
            continue
        numbers = numpy_helper.to_array(tensor).tobytes()
        name, dims = tensor.name, list(tensor.dims)
        moved = external(name, "weights/w.bin", offset=len(content), length=len(numbers))
        tensor.CopyFrom(moved)
        del tensor.dims[:]
        tensor.dims.extend(dims)
        content += numbers
    path.write_bytes(graph.SerializeToString())
    (folder / "weights").mkdir()
    (folder / "weights" / "w.bin").write_bytes(content)

    def change(manifest: dict[str, Any]) -> None:
        file = manifest["networks"][network]["variants"]["fp32"]
        file["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        file["external"] = [
            {
                "file": "weights/w.bin",
                "sha256": hashlib.sha256(content).hexdigest(),
                "bytes": len(content),
            }
        ]

    edit_manifest(folder, change)


def test_a_bundle_may_keep_weights_beside_its_network(
    own_bundle: Path, colour_bundle: Path
) -> None:
    ids = {"token_ids": np.array([[4, 5]]), "token_mask": np.ones((1, 2), bool)}
    with load_onnxruntime(Bundle.open(colour_bundle), "text", "fp32") as network:
        wanted = network.run(ids)
    move_weights(own_bundle, "text")
    with load_onnxruntime(Bundle.open(own_bundle), "text", "fp32") as network:
        found = network.run(ids)
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    weights = own_bundle / "weights" / "w.bin"
    good = weights.read_bytes()
    for bad in (good[:-1], good + b"\0", b"\1" + good[1:]):
        weights.write_bytes(bad)
        with pytest.raises(BundleError, match=r"altered|bytes"):
            load_onnxruntime(Bundle.open(own_bundle), "text", "fp32")
    weights.unlink()
    with pytest.raises(BundleError, match="missing"):
        Bundle.open(own_bundle)


def test_a_release_that_may_read_other_files_is_refused(
    own_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    move_weights(own_bundle, "text")
    monkeypatch.setattr(onnxruntime, "__version__", "1.26.2")
    bundle = Bundle.open(own_bundle)
    with pytest.raises(BackendError, match=r"ONNX Runtime 1.26.2.*1.27 or later.*gpu-cu13"):
        load_onnxruntime(bundle, "text", "fp32")
    # Networks of one file are nothing to it.
    load_onnxruntime(bundle, "visual", "fp32").close()


@pytest.mark.parametrize("kind", ["Loop", "Scan"])
def test_a_network_that_might_never_end_is_refused(kind: str) -> None:
    content = model([helper.make_node(kind, ["x"], ["y"])]).SerializeToString()
    with pytest.raises(BundleError, match="might never end"):
        OnnxRuntimeNetwork("visual", content)


@pytest.mark.parametrize(
    "content",
    [
        b"\x08\x0a" + b"\xff" * 100,
        b"\x00\x00",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x3a\x05abc",
        b"\x3b\x3c",
        b"....ORTM....",
    ],
)
def test_what_is_no_onnx_file_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match=r"not an ONNX file|not in ONNX"):
        OnnxFile(content)


def test_deep_nesting_ends_in_an_error() -> None:
    content = b""
    for _ in range(20_000):
        # A graph in an attribute of a node of a graph.
        for tag in (0x32, 0x2A, 0x0A):
            size, length = len(content), b""
            while size >= 0x80:
                length += bytes([size & 0x7F | 0x80])
                size >>= 7
            content = bytes([tag]) + length + bytes([size]) + content
        if len(content) > 20_000:
            break
    size = len(content)
    head = bytes([0x3A, size & 0x7F | 0x80, (size >> 7) & 0x7F | 0x80, size >> 14])
    with pytest.raises(BundleError, match="nested deeper"):
        OnnxFile(head + content)


@given(st.binary(max_size=200))
def test_any_bytes_are_walked_or_refused(content: bytes) -> None:
    try:
        external_tensors(content)
    except BundleError:
        return


def test_the_shipped_networks_need_no_other_file() -> None:
    for path in sorted(DEFAULT_BUNDLE.glob("*.onnx")):
        assert external_tensors(path.read_bytes()) == ()
