"""A tiny localizer with tiny encoders, and the bundle that they become."""

from __future__ import annotations

import pytest
import torch

from tests.support import tiny_encoders
from tests.support.tiny_checkpoint import CONFIG
from vtloc.encoders import load_text_encoder, load_visual_encoder
from vtloc.model import LocalizerNetwork, save_checkpoint
from vtloc_export.bundle_export import export_bundle
from vtloc_export.graph.tracing import export_graph, typed_network
from vtloc_export.networks import network_widths
from vtloc_export.options import ExportOptions


@pytest.fixture(scope="session")
def encoder_names(tmp_path_factory):
    """Names of a tiny frame encoder and a tiny text encoder of one width."""
    clip = tiny_encoders.register_tiny_clip(tmp_path_factory.mktemp("clip"))
    bert = tiny_encoders.write_tiny_bert(tmp_path_factory.mktemp("bert"))
    return f"open_clip:{clip}", f"hf:{bert}"


@pytest.fixture(scope="session")
def modules(encoder_names):
    """The three networks in PyTorch."""
    torch.manual_seed(3)
    visual, text = encoder_names
    return {
        "visual": load_visual_encoder(visual),
        "text": load_text_encoder(text),
        "localizer": LocalizerNetwork(CONFIG).eval(),
    }


@pytest.fixture(scope="session")
def widths(modules):
    return network_widths(modules["localizer"], modules["visual"], modules["text"])


@pytest.fixture(scope="session")
def graphs(modules, widths):
    """FP32 graphs of all three networks."""
    return {
        name: export_graph(typed_network(name, module), name, widths[name])
        for name, module in modules.items()
    }


@pytest.fixture(scope="session")
def half_graphs(modules, widths):
    """FP16 graphs of all three networks."""
    return {
        name: export_graph(typed_network(name, module, half=True), name, widths[name])
        for name, module in modules.items()
    }


@pytest.fixture(scope="session")
def checkpoint(modules, encoder_names, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    visual, text = encoder_names
    save_checkpoint(
        path,
        modules["localizer"],
        visual_encoder=visual,
        text_encoder=text,
        metadata={"license": "CC0-1.0", "training_data": "nothing", "frames_per_second": "2"},
    )
    return path


@pytest.fixture(scope="session")
def bundle(tiny_bundle):
    return tiny_bundle


@pytest.fixture(scope="session")
def tiny_bundle(checkpoint, tmp_path_factory):
    """A bundle in every precision, as the command makes it."""
    out = tmp_path_factory.mktemp("bundles") / "tiny"
    options = ExportOptions(precisions=("fp32", "fp16", "compact"), lint=False)
    return export_bundle(checkpoint, out, options).bundle
