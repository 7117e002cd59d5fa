"""The paper's frame and text towers at full size, with random weights."""

from __future__ import annotations

import pytest

from vtloc.encoders import load_text_encoder, load_visual_encoder
from vtloc.model import LocalizerConfig, LocalizerNetwork
from vtloc_export.network_export import export_network
from vtloc_export.networks import network_widths

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("precision", ["fp32", "fp16", "compact"])
def test_vit_b_32_is_exported_in_every_precision(precision):
    name = "open_clip:ViT-B-32"
    visual, text = load_visual_encoder(name), load_text_encoder(name)
    localizer = LocalizerNetwork(LocalizerConfig(feature_dim=512, token_dim=512)).eval()
    widths = network_widths(localizer, visual, text)
    # Bounds are checked inside; sizes show that the weights are stored as they should be.
    frames = export_network("visual", visual, widths["visual"], precision)
    words = export_network("text", text, widths["text"], precision)
    parameters = sum(parameter.numel() for parameter in visual.parameters())
    low, high = {"fp32": (4, 4.1), "fp16": (2, 2.05), "compact": (1, 1.2)}[precision]
    assert low * parameters * 0.98 < len(frames.files.content) < high * parameters
    assert words.parity
