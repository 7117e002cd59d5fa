"""Half precision: declared by policy, true to it, and refused where it cannot hold."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn
from torch.nn import functional

from vtloc_export.errors import ExportError
from vtloc_export.graph.tracing import export_graph, typed_network
from vtloc_export.parity.comparison import (
    SMALL,
    check,
    compare,
    range_calls,
    reference_evaluate,
    torch_evaluate,
)
from vtloc_export.parity.probes import Lengths, probes
from vtloc_export.precision.activation_ranges import activation_ranges, check_ranges
from vtloc_export.precision.graph_check import check_half_precision, value_types, violations
from vtloc_export.precision.islands import Islands, written_attention
from vtloc_export.precision.policy import POLICIES

NETWORKS = ("visual", "text", "localizer")


def test_a_softmax_that_half_precision_rounds_away_is_an_island():
    # Two to the eleventh and one more: halves tell them apart no longer, their sum even less.
    values = torch.full((4096,), 20.0).half()
    with Islands():
        mean = torch.mean(values * 100)
        normed = functional.layer_norm(torch.tensor([3e4, -3e4, 3e4, 0.0]).half(), (4,))
    assert mean == 2000
    assert mean.dtype == torch.float16
    assert torch.isfinite(normed).all()


@pytest.mark.parametrize("masking", ["none", "boolean", "added", "causal"])
def test_attention_written_out_gives_pytorchs_numbers(masking):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 6, 8)
    mask = torch.rand(2, 1, 6, 6) > 0.3
    mask[..., 0] = True
    choices: dict[str, dict[str, Any]] = {
        "none": {},
        "boolean": {"attn_mask": mask},
        "added": {"attn_mask": torch.randn(2, 1, 6, 6)},
        "causal": {"is_causal": True},
    }
    options = choices[masking]
    expected = functional.scaled_dot_product_attention(query, key, value, **options)
    torch.testing.assert_close(written_attention(query, key, value, **options), expected)


def test_halving_leaves_the_callers_network_alone(modules):
    typed = typed_network("text", modules["text"], half=True)
    assert all(weight.dtype == torch.float32 for weight in modules["text"].parameters())
    kinds = {name: weight.dtype for name, weight in typed.network.named_parameters()}
    assert {kind for name, kind in kinds.items() if "LayerNorm" in name} == {torch.float32}
    assert {kind for name, kind in kinds.items() if "LayerNorm" not in name} == {torch.float16}


@pytest.mark.parametrize("network", NETWORKS)
def test_every_node_of_a_half_graph_keeps_to_the_policy(half_graphs, network):
    check_half_precision(half_graphs[network], POLICIES[network])
    types = value_types(half_graphs[network].graph)
    islands = {node.op_type for node in half_graphs[network].graph.node
               if types.get(node.output[0]) == "FLOAT"}  # fmt: skip
    assert "Softmax" in islands
    assert "LayerNormalization" in islands


@pytest.mark.parametrize("network", NETWORKS)
def test_an_fp32_graph_is_not_taken_for_half_precision(graphs, network):
    with pytest.raises(ExportError, match="breaks its precision policy"):
        check_half_precision(graphs[network], POLICIES[network])


def test_a_single_fp32_weight_in_a_half_graph_is_found(half_graphs):
    model = onnx.ModelProto()
    model.CopyFrom(half_graphs["localizer"])
    weight = next(item for item in model.graph.initializer if item.name.startswith("head.hidden.w"))
    wide = numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float32), weight.name)
    weight.CopyFrom(wide)
    found = list(violations(model, POLICIES["localizer"]))
    assert [item.where for item in found] == [f"weight {weight.name}"]


def test_a_lost_island_is_found(half_graphs):
    model = onnx.ModelProto()
    model.CopyFrom(half_graphs["text"])
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    for value in model.graph.value_info:
        if value.name == softmax.output[0]:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    found = list(violations(model, POLICIES["text"]))
    assert ["FP32 island" in item.what for item in found] == [True]
    assert "Softmax" in found[0].where


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("outliers", [False, True])
def test_true_half_arithmetic_stays_close(modules, half_graphs, widths, network, outliers):
    reference = torch_evaluate(modules[network], network)
    shapes = (Lengths(2, frames=9, tokens=5, padded=True),)
    for evaluate in (
        reference_evaluate(half_graphs[network]),
        torch_evaluate(typed_network(network, modules[network], half=True), network),
    ):
        tried = probes(network, widths[network], shapes, outliers=outliers)
        for parity in compare(network, evaluate, reference, tried):
            assert parity.worst.cosine > 0.9999, parity


def test_weights_with_outliers_stay_within_half_precision(modules, widths):
    """Trained transformers have a few channels far above the rest, in weights and states."""
    module: Any = copy.deepcopy(modules["localizer"])
    with torch.no_grad():
        module.frame_projection.weight[::16] *= 30
        module.fusion.merge.weight[:, ::16] *= 30
    reference = torch_evaluate(module, "localizer")
    half = torch_evaluate(typed_network("localizer", module, half=True), "localizer")
    tried = probes("localizer", widths["localizer"], outliers=True)
    for parity in compare("localizer", half, reference, tried):
        assert parity.worst.cosine > 0.999, parity


@pytest.mark.parametrize("half", [False, True])
def test_a_network_keeps_its_numbers_and_flags(half):
    network = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    typed = typed_network("localizer", network, half=half, spared=["0"])
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
        copied = typed.network.state_dict()[name]
        # Large networks fit into memory once: what stays in FP32 is the network's own.
        assert (copied.data_ptr() == tensor.data_ptr()) == (copied.dtype == torch.float32)
    assert network.training
    assert not typed.network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not any(parameter.requires_grad for parameter in typed.parameters())
    assert not network[0]._forward_hooks


def test_ranges_name_the_loudest_layer(modules, widths):
    typed = typed_network("localizer", modules["localizer"], half=True)
    ranges = activation_ranges(typed, range_calls("localizer", widths["localizer"]))
    assert ranges == tuple(sorted(ranges, key=lambda item: item.share, reverse=True))
    assert any(item.layer.startswith("frame_projection") for item in ranges)
    check_ranges(ranges, network="localizer")


def test_an_overflow_is_refused_by_name(modules, widths):
    module: Any = copy.deepcopy(modules["localizer"])
    with torch.no_grad():
        module.routing.vote.weight *= 1e5
        module.routing.vote.weight.clamp_(-6e4, 6e4)
    typed = typed_network("localizer", module, half=True)
    ranges = activation_ranges(typed, range_calls("localizer", widths["localizer"]))
    with pytest.raises(ExportError, match=r"routing.* overflows"):
        check_ranges(ranges, network="localizer")


def test_a_value_that_comes_too_close_is_refused():
    class Loud(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(50_000.0))

        def forward(self, values):
            return values * self.gain

    typed = typed_network("localizer", Loud(), half=True)
    ranges = activation_ranges(typed, [(torch.ones(1).half(),)])
    with pytest.raises(ExportError, match=r"mul reaches 4.998e\+04"):
        check_ranges(ranges, network="localizer")


def test_a_spared_module_computes_in_single_precision(modules, widths):
    spared = ("head.hidden", "multiscale")
    typed = typed_network("localizer", modules["localizer"], half=True, spared=spared)
    kinds = {name: weight.dtype for name, weight in typed.network.named_parameters()}
    assert kinds["head.hidden.weight"] == torch.float32
    assert kinds["head.output.weight"] == torch.float16
    graph = export_graph(typed, "localizer", widths["localizer"])
    policy = POLICIES["localizer"].sparing(spared)
    check_half_precision(graph, policy)
    with pytest.raises(ExportError, match="breaks its precision policy"):
        check_half_precision(graph, POLICIES["localizer"])
    tried = probes("localizer", widths["localizer"], SMALL["localizer"])
    reference = torch_evaluate(modules["localizer"], "localizer")
    rounded = compare("localizer", reference_evaluate(graph), reference, tried)
    check(rounded, network="localizer", precision="fp16", against="ONNX's evaluator")


def test_what_is_no_module_cannot_be_spared(modules):
    for name in ("input", "head.hidden.weight", ""):
        with pytest.raises(ExportError, match="not a separate module"):
            typed_network("localizer", modules["localizer"], half=True, spared=(name,))
