"""Exported graphs: right for every shape, named as in PyTorch, silent about their maker."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vtloc.model import LocalizerNetwork
from vtloc_export.errors import ExportError, ParityError
from vtloc_export.graph.compact_weights import compact_graph
from vtloc_export.graph.parameter_names import read_parameters
from vtloc_export.graph.polygraphy_checks import lint
from vtloc_export.graph.tracing import OPSET, export_graph, typed_network
from vtloc_export.parity.comparison import check, compare, onnxruntime_evaluate, torch_evaluate
from vtloc_export.parity.measures import Bound
from vtloc_export.parity.probes import Lengths, probes
from vtloc_export.signatures import SIGNATURES

NETWORKS = ("visual", "text", "localizer")


@pytest.mark.parametrize("network", NETWORKS)
def test_a_graph_gives_pytorchs_numbers_for_every_shape(modules, graphs, widths, network):
    evaluate = onnxruntime_evaluate(graphs[network].SerializeToString())
    reference = torch_evaluate(modules[network], network)
    parities = compare(network, evaluate, reference, probes(network, widths[network]))
    check(parities, network=network, precision="fp32", against="ONNX Runtime")


@pytest.mark.parametrize("network", NETWORKS)
def test_inputs_and_outputs_are_what_the_signature_says(graphs, widths, network):
    signature, graph = SIGNATURES[network], graphs[network].graph
    for values, tensors in ((graph.input, signature.inputs), (graph.output, signature.outputs)):
        for value, tensor in zip(values, tensors, strict=True):
            entry = tensor.entry(widths[network], "fp32")
            dims = value.type.tensor_type.shape.dim
            assert value.name == entry.name
            assert tuple(dim.dim_param or dim.dim_value for dim in dims) == entry.shape


@pytest.mark.parametrize("network", NETWORKS)
def test_a_graph_says_nothing_about_its_maker(graphs, network):
    content = graphs[network].SerializeToString()
    assert b".py" not in content
    assert b"/home" not in content
    assert b"Traceback" not in content
    assert graphs[network].opset_import[0].version == OPSET


def test_frames_are_cast_before_they_are_transposed(graphs):
    """TensorRT refuses to transpose uint8."""
    consumers = [node.op_type for node in graphs["visual"].graph.node if "frames" in node.input]
    assert "Transpose" not in consumers
    assert "Cast" in consumers


def test_padding_of_a_batch_changes_no_answer(graphs, widths):
    evaluate = onnxruntime_evaluate(graphs["localizer"].SerializeToString())
    (probe,) = probes("localizer", widths["localizer"], (Lengths(1, frames=10, tokens=4),))
    alone: dict[str, np.ndarray] = evaluate(probe.inputs)
    padded = {
        "features": np.pad(probe.inputs["features"], ((0, 0), (0, 5), (0, 0)), constant_values=9),
        "frame_mask": np.pad(probe.inputs["frame_mask"], ((0, 0), (0, 5))),
        "tokens": np.pad(probe.inputs["tokens"], ((0, 0), (0, 3), (0, 0)), constant_values=9),
        "token_mask": np.pad(probe.inputs["token_mask"], ((0, 0), (0, 3))),
    }
    together: dict[str, np.ndarray] = evaluate(padded)
    for name in ("start_logits", "end_logits"):
        np.testing.assert_allclose(together[name][:, :10], alone[name], atol=1e-4)
        assert (together[name][:, 10:] < -1000).all()
    np.testing.assert_allclose(together["alignment"][:, :4, :10], alone["alignment"], atol=1e-4)


def test_a_tiny_constant_survives_the_export():
    """It keeps the length of a zero vector from dividing by zero."""

    class Unit(torch.nn.Module):
        def forward(self, frames):
            wide = frames.float()
            return wide * torch.rsqrt(wide.square().sum(dim=-1, keepdim=True) + 1e-12)

    graph = export_graph(typed_network("visual", Unit()), "visual", {"size": 4, "feature": 3})
    evaluate = onnxruntime_evaluate(graph.SerializeToString())
    (zeros,) = evaluate({"frames": np.zeros((1, 4, 4, 3), np.uint8)}).values()
    assert (zeros == 0).all()


def test_padding_holds_zeros_in_every_probe(widths):
    for probe in probes("localizer", widths["localizer"], outliers=True):
        inputs: dict[str, np.ndarray] = dict(probe.inputs)
        assert not inputs["features"][~inputs["frame_mask"]].any()
        assert not inputs["tokens"][~inputs["token_mask"]].any()


@pytest.mark.parametrize("kind", ["graphs", "half_graphs"])
def test_another_sentence_gives_another_answer(request, widths, kind):
    half = kind == "half_graphs"
    graph = request.getfixturevalue(kind)["localizer"]
    evaluate = onnxruntime_evaluate(graph.SerializeToString(), half=half)
    (probe,) = probes("localizer", widths["localizer"], (Lengths(1, frames=16, tokens=5),))
    inputs: dict[str, np.ndarray] = dict(probe.inputs)
    first: dict[str, np.ndarray] = evaluate(inputs)
    second: dict[str, np.ndarray] = evaluate({**inputs, "tokens": inputs["tokens"][:, ::-1] * -1.0})
    assert np.abs(first["start_logits"] - second["start_logits"]).max() > 1e-2
    assert np.abs(first["alignment"] - second["alignment"]).max() > 1e-2


@pytest.mark.parametrize("kind", ["fp32", "compact", "fp16"])
def test_pytorchs_weights_can_be_read_back(modules, graphs, half_graphs, kind):
    graph = half_graphs["localizer"] if kind == "fp16" else graphs["localizer"]
    if kind == "compact":
        graph = compact_graph(graph, "localizer")
    found, wanted = read_parameters(graph), modules["localizer"].state_dict()
    assert found.keys() == wanted.keys()
    near = {"fp32": 0.0, "compact": 2e-2, "fp16": 1e-3}[kind]
    for name, weight in wanted.items():
        assert (found[name] - weight).abs().max() <= near * weight.abs().max().clamp_min(1e-3)
    LocalizerNetwork(modules["localizer"].config).load_state_dict(found)


def test_a_graph_without_names_cannot_be_read_back(graphs):
    import onnx

    bare = onnx.ModelProto()
    bare.CopyFrom(graphs["localizer"])
    del bare.metadata_props[:]
    with pytest.raises(ExportError, match="does not name its parameters"):
        read_parameters(bare)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_compact_graph_is_small_and_close(modules, graphs, widths, network):
    plain = graphs[network].SerializeToString()
    compact = compact_graph(graphs[network], network)
    content = compact.SerializeToString()
    stored = [item for item in compact.graph.initializer if item.data_type == 1]
    assert all(np.prod(item.dims) < 256 or item.name.endswith(".scale") for item in stored)
    assert len(content) < len(plain)
    reference = torch_evaluate(modules[network], network)
    tried = probes(network, widths[network])
    parities = compare(network, onnxruntime_evaluate(content), reference, tried)
    check(parities, network=network, precision="compact", against="ONNX Runtime")


def test_of_a_compact_table_only_the_rows_that_are_looked_up_are_widened():
    from onnx import TensorProto, helper, numpy_helper

    chance = np.random.default_rng(0)
    table = chance.normal(size=(50, 16)).astype(np.float32)
    shared = chance.normal(size=(20, 16)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "rows"], ["looked up"], name="words"),
            helper.make_node("Gather", ["shared", "rows"], ["tied"], name="tied words"),
            helper.make_node("Add", ["looked up", "tied"], ["sum"]),
            helper.make_node("Gemm", ["sum", "shared"], ["out"], transB=1),
        ],
        "words",
        [helper.make_tensor_value_info("rows", TensorProto.INT64, ["batch"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 20])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(shared, "shared")],
    )
    plain = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    compact = compact_graph(plain, "text")
    (widened,) = [node for node in compact.graph.node if node.output[0] == "looked up.widened"]
    assert widened.input[0] == "looked up.int8"
    # One that is multiplied with, too, is widened as a whole.
    assert any(node.output[0] == "shared" for node in compact.graph.node)
    rows = {"rows": np.array([3, 19, 0], dtype=np.int64)}
    found: dict[str, np.ndarray] = onnxruntime_evaluate(compact.SerializeToString())(rows)
    wanted: dict[str, np.ndarray] = onnxruntime_evaluate(plain.SerializeToString())(rows)
    moved = np.linalg.norm(found["out"] - wanted["out"])
    assert moved <= 0.02 * np.linalg.norm(wanted["out"])


def test_a_weight_that_is_not_finite_is_refused(graphs):
    import onnx
    from onnx import numpy_helper

    broken = onnx.ModelProto()
    broken.CopyFrom(graphs["localizer"])
    item = next(item for item in broken.graph.initializer if item.name.startswith("head.hidden.w"))
    array = numpy_helper.to_array(item).copy()
    array.flat[0] = np.inf
    item.CopyFrom(numpy_helper.from_array(array, item.name))
    with pytest.raises(ExportError, match="not finite"):
        compact_graph(broken, "localizer")


def test_a_broken_promise_names_the_output(modules, graphs, widths):
    evaluate = onnxruntime_evaluate(graphs["visual"].SerializeToString())

    def off(inputs):
        outputs: dict[str, np.ndarray] = evaluate(inputs)
        return {name: output * 1.01 for name, output in outputs.items()}

    reference = torch_evaluate(modules["visual"], "visual")
    parities = compare("visual", off, reference, probes("visual", widths["visual"]))
    with pytest.raises(ParityError, match=r"features differs .* relative L2 0\.01"):
        check(parities, network="visual", precision="fp32", against="a test")
    check(parities, network="visual", precision="fp32", against="a test", bound=Bound(0.02, 0.99))


def test_padding_that_comes_out_as_real_is_refused(modules, graphs, widths):
    evaluate = onnxruntime_evaluate(graphs["localizer"].SerializeToString())

    def leaking(inputs):
        return {name: np.zeros_like(output) for name, output in evaluate(inputs).items()}

    reference = torch_evaluate(modules["localizer"], "localizer")
    with pytest.raises(ParityError, match="padding comes out"):
        compare("localizer", leaking, reference, probes("localizer", widths["localizer"]))


def test_polygraphy_finds_nothing_wrong(graphs, tmp_path):
    path = tmp_path / "localizer.onnx"
    path.write_bytes(graphs["localizer"].SerializeToString())
    assert lint(path) == ()


def test_polygraphy_finds_a_broken_graph(graphs, tmp_path):
    import onnx

    broken = onnx.ModelProto()
    broken.CopyFrom(graphs["visual"])
    node = next(node for node in broken.graph.node if node.op_type == "MatMul")
    node.input[1] = "nowhere"
    path = tmp_path / "broken.onnx"
    path.write_bytes(broken.SerializeToString())
    assert lint(path)


def test_a_network_that_cannot_be_traced_is_an_export_error(widths):
    class Undecided(torch.nn.Module):
        def forward(self, frames):
            return frames.float().mean() if frames.sum() > 0 else frames.float()

    with pytest.raises(ExportError, match="cannot trace"):
        export_graph(typed_network("visual", Undecided()), "visual", widths["visual"])


@pytest.mark.parametrize("half", [False, True])
def test_equal_parameters_too_large_to_share_keep_their_own_names(half):
    class Wide(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = torch.nn.Conv2d(3, 2048, 4, bias=False)
            self.norms = torch.nn.Sequential(torch.nn.LayerNorm(2048), torch.nn.LayerNorm(2048))

        def forward(self, frames):
            pixels = frames.permute(0, 3, 1, 2).to(self.patches.weight.dtype)
            return self.norms(self.patches(pixels).flatten(1))

    typed = typed_network("visual", Wide(), half=half)
    graph = export_graph(typed, "visual", {"size": 4, "feature": 2048})
    names = [item.name for item in graph.graph.initializer]
    assert len(set(names)) == len(names)
    assert {"norms.0.bias", "norms.1.bias"} <= set(names)
    for name, read in read_parameters(graph).items():
        assert torch.equal(read, typed.network.state_dict()[name].float())
